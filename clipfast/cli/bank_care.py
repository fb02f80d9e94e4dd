"""`clipfast bank check`, `rebuild` and `import`: keeping a bank good, and bringing it to another model."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from clipfast.cli.bank_options import BankFile, BatchOption, MaxPixelsOption, OutFile
from clipfast.cli.bank_summary import (
    bank_checks,
    bank_summary,
    report_summary,
    show_report,
    show_written,
    written_checks,
)
from clipfast.cli.checks import Check, show_checks
from clipfast.cli.clip_options import ClipOptions, takes_clip_options
from clipfast.cli.console import (
    JsonOption,
    note,
    out,
    print_json,
    progress_bar,
)
from clipfast.cli.error_messages import chinese_sentences
from clipfast.cli.messages import Speaker, takes_language
from clipfast.errors import DataError
from clipfast.retrieval.default import DEFAULT_BANK, DEFAULT_FOLDER

if TYPE_CHECKING:
    from clipfast.retrieval import BankCheck, Problem

__all__ = ["check", "import_", "rebuild"]

_LINES_A_FABRIC = 10


@takes_clip_options()
@takes_language()
def check(
    folder: Annotated[
        Path, typer.Argument(help="Folder of fabrics; or a bank, of which vectors alone are checked.")
    ] = DEFAULT_FOLDER,
    *,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 where there is any problem.")] = False,
    batch_size: BatchOption = 32,
    max_pixels: MaxPixelsOption = None,
    say: Speaker,
    clip_options: ClipOptions,
    json: JsonOption = False,
) -> None:
    """Report what is wrong with reference photos: too few, small, blurred, badly lit, copies, confused fabrics.

    Also photos of the evaluation set beside the folder, whatever their names and however they are turned.
    """
    from clipfast.retrieval import FabricBank, check_folder, check_references
    from clipfast.retrieval.bankfolder import is_bank_folder
    from clipfast.retrieval.heldout import find_eval_set
    from clipfast.runtime.images import DEFAULT_MAX_PIXELS

    if folder.is_file() or is_bank_folder(folder):
        bank = FabricBank.load(folder, verify=True)
        with progress_bar(say("bank_comparing")) as progress:
            found = check_references(bank.references, bank.model, eval_set=find_eval_set(folder), progress=progress)
    else:
        with clip_options.load() as clip, progress_bar(say("bank_checking")) as progress:
            found = check_folder(
                clip,
                folder,
                eval_set=find_eval_set(folder),
                batch_size=batch_size,
                max_pixels=max_pixels or DEFAULT_MAX_PIXELS,
                progress=progress,
            )
    checks = _checks(say, found)
    if json:
        print_json({"path": str(folder), "ok": not found.problems, "found": found, "checks": checks})
    else:
        _show_problems(say, found)
        show_checks(checks)
        for sentence in found.unchecked:
            note(say("bank_unchecked", sentence=sentence))
    if strict and found.problems:
        kinds = ", ".join(f"{count} {kind}" for kind, count in Counter(p.kind for p in found.problems).items())
        fabrics = len({problem.fabric for problem in found.problems})
        plural = "" if len(found.problems) == 1 else "s"
        raise DataError(
            f"{folder} has {len(found.problems)} problem{plural} in {fabrics} of {len(found.counts)} fabrics "
            f"({kinds}); mend them, or check without --strict.",
            code="bank_problems",
            folder=folder,
            count=len(found.problems),
            touched=fabrics,
            fabrics=len(found.counts),
            kinds=kinds,
        )


@takes_clip_options()
@takes_language()
def rebuild(
    *,
    bank_path: BankFile = DEFAULT_BANK,
    folder: Annotated[Path, typer.Option("--folder", help="Where the bank's photos lie.")] = DEFAULT_FOLDER,
    out_path: Annotated[Path | None, typer.Option("--out", help="The file to write; default: the same bank.")] = None,
    skip_missing: Annotated[
        bool, typer.Option("--skip-missing", help="Leave out photos that are missing or changed.")
    ] = False,
    batch_size: BatchOption = 32,
    max_pixels: MaxPixelsOption = None,
    say: Speaker,
    clip_options: ClipOptions,
    json: JsonOption = False,
) -> None:
    """Embed a bank's photos again, with another model; a photo that is missing or changed is an error."""
    from clipfast.retrieval import FabricBank, RebuildOptions, rebuild_bank
    from clipfast.runtime.images import DEFAULT_MAX_PIXELS

    old = FabricBank.load(bank_path)
    target = out_path or bank_path
    with clip_options.load() as clip:
        with progress_bar(say("bank_rebuilding")) as progress:
            options = RebuildOptions(skip_missing, batch_size, max_pixels or DEFAULT_MAX_PIXELS, progress)
            bank = rebuild_bank(old.references, clip, folder, options)
        target = bank.save(target)
    report = bank.report
    if report is None:  # a rebuild always leaves one; this tells the type checker
        raise TypeError("rebuild_bank gave no report")
    left_out = len(old) - len(bank)
    checks = bank_checks(say, bank, report, target)
    if json:
        summary = {**bank_summary(bank, target), **report_summary(report), "left_out": left_out, "old_model": old.model}
        print_json(summary | {"checks": checks})
        return
    show_report(say, report, bank)
    if left_out:
        out.print(say("bank_left_out", left=left_out, total=len(old)), style="yellow")
    out.print(say("bank_other_model", old=old.model.name, new=bank.model.name))
    show_written(say, bank, target)
    show_checks(checks)


@takes_clip_options(without=("model",))
@takes_language()
def import_(
    old: Annotated[Path, typer.Argument(help="An .npz with one float array (rows, width) for each fabric.")],
    *,
    model: Annotated[str, typer.Option("--model", help="The model whose artifact made the vectors; it must be named.")],
    out_path: OutFile = DEFAULT_BANK,
    say: Speaker,
    clip_options: ClipOptions,
    json: JsonOption = False,
) -> None:
    """Turn an older file of vectors into a bank; it has no photos, so it cannot be rebuilt with another model."""
    from clipfast.retrieval import BankModel, import_vectors

    if out_path.exists() and old.exists() and out_path.samefile(old):
        raise DataError(
            f"{out_path} is the file to be imported; name another one to write (--out).",
            code="same_file",
            path=out_path,
        )
    with replace(clip_options, model=model).load() as clip:
        found = import_vectors(old, BankModel.of(clip), dim=clip.embed_dim)
    out_path = found.bank.save(out_path)
    checks = written_checks(say, found.bank, out_path, empty=found.empty)
    if json:
        summary = {**bank_summary(found.bank, out_path), "empty": found.empty, "rescaled": found.rescaled}
        print_json(summary | {"checks": checks})
        return
    for fabric, count in found.bank.fabrics.items():
        out.print(say("bank_one_vector" if count == 1 else "bank_vectors", fabric=fabric, count=count))
    for fabric in found.empty:
        out.print(say("bank_no_vector", fabric=fabric), style="yellow")
    for fabric, length in found.rescaled.items():
        out.print(say("bank_rescaled", fabric=fabric, length=length), style="yellow")
    show_written(say, found.bank, out_path)
    show_checks(checks)


def _checks(say: Speaker, found: BankCheck) -> list[Check]:
    loo = found.leave_one_out
    alone = loo.accuracy is None
    share = say("problems_alone") if alone else say("problems_share", share=loo.accuracy, asked=loo.asked)
    checks = []
    for kind in found.checked:
        fabrics = Counter(problem.fabric for problem in found.problems if problem.kind == kind)
        count = say("problems_found", count=fabrics.total()) if fabrics else say("problems_none")
        shown = ", ".join(list(fabrics)[:5]) + (", …" if len(fabrics) > 5 else "")
        where = say("problems_see", names=shown) if fabrics else ""
        checks.append(Check(say(f"problem_{kind}"), not fabrics, (share if kind == "confused" else count) + where))
    return checks


def _line(say: Speaker, problem: Problem) -> str:
    file = problem.path.partition("/")[2]
    if say.lang == "en":
        return f"{problem.kind}: {file}{': ' if file else ''}{problem.detail}"
    how = problem.values.get("how")
    sentence = chinese_sentences()["problems"][problem.kind if how is None else f"{problem.kind}_{how}"]
    return f"{file}{'：' if file else ''}{sentence.format(**problem.values)}"


def _show_problems(say: Speaker, found: BankCheck) -> None:
    fabrics = {fabric: [p for p in found.problems if p.fabric == fabric] for fabric in found.counts}
    touched = sum(map(bool, fabrics.values()))
    table = Table(title=say("problems_title", count=len(found.problems), touched=touched, fabrics=len(fabrics)))
    table.add_column(say("column_bank_fabric"), overflow="fold")
    table.add_column(say("column_bank_photos"), justify="right")
    table.add_column(say("column_bank_problems"), overflow="fold")
    for fabric, problems in fabrics.items():
        lines = [_line(say, problem) for problem in problems]
        more = len(lines) - _LINES_A_FABRIC
        if more > 0:
            lines = [*lines[:_LINES_A_FABRIC], say("problems_more", count=more)]
        if lines:
            table.add_row(fabric, str(found.counts[fabric]), "\n".join(lines))
    if table.row_count:
        out.print(table)
