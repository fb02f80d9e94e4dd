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
    Check,
    bank_summary,
    report_summary,
    show_checks,
    show_report,
    show_written,
)
from clipfast.cli.clip_options import ClipOptions, takes_clip_options
from clipfast.cli.console import (
    JsonOption,
    note,
    out,
    print_json,
    progress_bar,
)
from clipfast.errors import DataError
from clipfast.retrieval.default import DEFAULT_BANK, DEFAULT_FOLDER

if TYPE_CHECKING:
    from clipfast.retrieval import BankCheck

__all__ = ["check", "import_", "rebuild"]

_LINES_A_FABRIC = 10


@takes_clip_options()
def check(
    folder: Annotated[
        Path, typer.Argument(help="Folder of fabrics; or a bank, of which vectors alone are checked.")
    ] = DEFAULT_FOLDER,
    *,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 where there is any problem.")] = False,
    batch_size: BatchOption = 32,
    max_pixels: MaxPixelsOption = None,
    clip_options: ClipOptions,
    json: JsonOption = False,
) -> None:
    """Report what is wrong with reference photos: too few, small, blurred, badly lit, copies, confused fabrics."""
    from clipfast.retrieval import FabricBank, check_folder, check_references
    from clipfast.retrieval.bankfolder import is_bank_folder
    from clipfast.runtime.images import DEFAULT_MAX_PIXELS

    if folder.is_file() or is_bank_folder(folder):
        bank = FabricBank.load(folder, verify=True)
        with progress_bar("Comparing") as progress:
            found = check_references(bank.references, bank.model, progress=progress)
    else:
        with clip_options.load() as clip, progress_bar("Checking") as progress:
            found = check_folder(
                clip,
                folder,
                batch_size=batch_size,
                max_pixels=max_pixels or DEFAULT_MAX_PIXELS,
                progress=progress,
            )
    checks = _checks(found)
    if json:
        print_json({"path": str(folder), "ok": not found.problems, "found": found, "checks": checks})
    else:
        _show_problems(found)
        show_checks(checks)
        for sentence in found.unchecked:
            note(sentence)
    if strict and found.problems:
        kinds = ", ".join(f"{count} {kind}" for kind, count in Counter(p.kind for p in found.problems).items())
        fabrics = len({problem.fabric for problem in found.problems})
        plural = "" if len(found.problems) == 1 else "s"
        raise DataError(
            f"{folder} has {len(found.problems)} problem{plural} in {fabrics} of {len(found.counts)} fabrics "
            f"({kinds}); mend them, or check without --strict."
        )


@takes_clip_options()
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
    clip_options: ClipOptions,
    json: JsonOption = False,
) -> None:
    """Embed a bank's photos again, with another model; a photo that is missing or changed is an error."""
    from clipfast.retrieval import FabricBank, RebuildOptions, rebuild_bank
    from clipfast.runtime.images import DEFAULT_MAX_PIXELS

    old = FabricBank.load(bank_path)
    target = out_path or bank_path
    with clip_options.load() as clip:
        with progress_bar("Rebuilding") as progress:
            options = RebuildOptions(skip_missing, batch_size, max_pixels or DEFAULT_MAX_PIXELS, progress)
            bank = rebuild_bank(old.references, clip, folder, options)
        target = bank.save(target)
    report = bank.report
    if report is None:  # a rebuild always leaves one; this tells the type checker
        raise TypeError("rebuild_bank gave no report")
    left_out = len(old) - len(bank)
    if json:
        summary = {**bank_summary(bank, target), **report_summary(report), "left_out": left_out, "old_model": old.model}
        print_json(summary)
        return
    show_report(report, bank)
    if left_out:
        out.print(f"Left out {left_out} of {len(old)} photos.", style="yellow")
    out.print(f"Model: {old.model.name} -> {bank.model.name}")
    show_written(bank, target)


@takes_clip_options(without=("model",))
def import_(
    old: Annotated[Path, typer.Argument(help="An .npz with one float array (rows, width) for each fabric.")],
    *,
    model: Annotated[str, typer.Option("--model", help="The model whose artifact made the vectors; it must be named.")],
    out_path: OutFile = DEFAULT_BANK,
    clip_options: ClipOptions,
    json: JsonOption = False,
) -> None:
    """Turn an older file of vectors into a bank; it has no photos, so it cannot be rebuilt with another model."""
    from clipfast.retrieval import BankModel, import_vectors

    if out_path.exists() and old.exists() and out_path.samefile(old):
        raise DataError(f"{out_path} is the file to be imported; name another one to write (--out).")
    with replace(clip_options, model=model).load() as clip:
        found = import_vectors(old, BankModel.of(clip), dim=clip.embed_dim)
    out_path = found.bank.save(out_path)
    if json:
        print_json({**bank_summary(found.bank, out_path), "empty": found.empty, "rescaled": found.rescaled})
        return
    for fabric, count in found.bank.fabrics.items():
        out.print(f"[OK] {fabric}: {count} vector{'' if count == 1 else 's'}")
    for fabric in found.empty:
        out.print(f"[EMPTY] {fabric}: no vector; it is left out", style="yellow")
    for fabric, length in found.rescaled.items():
        out.print(f"[RESCALED] {fabric}: rows must be of length 1; one had {length:.4g}", style="yellow")
    show_written(found.bank, out_path)


def _checks(found: BankCheck) -> list[Check]:
    from clipfast.retrieval.check import PROBLEMS

    loo = found.leave_one_out
    share = "no fabric has two photos" if loo.accuracy is None else f"{loo.accuracy:.1%} of {loo.asked} do"
    checks = []
    for kind in found.checked:
        fabrics = Counter(problem.fabric for problem in found.problems if problem.kind == kind)
        detail = share if kind == "confused" else ("yes" if not fabrics else f"{fabrics.total()} found")
        shown = ", ".join(list(fabrics)[:5]) + (", …" if len(fabrics) > 5 else "")
        checks.append(Check(PROBLEMS[kind], not fabrics, detail + (f" (see {shown})" if fabrics else "")))
    return checks


def _show_problems(found: BankCheck) -> None:
    fabrics = {fabric: [p for p in found.problems if p.fabric == fabric] for fabric in found.counts}
    touched = sum(map(bool, fabrics.values()))
    table = Table(title=f"Problems: {len(found.problems)}, in {touched} of {len(fabrics)} fabrics")
    table.add_column("fabric", overflow="fold")
    table.add_column("photos", justify="right")
    table.add_column("problems", overflow="fold")
    for fabric, problems in fabrics.items():
        lines = [f"{p.kind}: {p.path.partition('/')[2]}{': ' if p.path else ''}{p.detail}" for p in problems]
        more = len(lines) - _LINES_A_FABRIC
        if more > 0:
            lines = [*lines[:_LINES_A_FABRIC], f"and {more} more; --json has all"]
        if lines:
            table.add_row(fabric, str(found.counts[fabric]), "\n".join(lines))
    if table.row_count:
        out.print(table)
