"""`clipfast evalset`: make an evaluation set, and check one."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clipfast.cli.checks import Check, shares_check, show_checks, show_classes
from clipfast.cli.console import JsonOption, note, out, print_json, progress_bar
from clipfast.cli.head import DEFAULT_FOLDER
from clipfast.cli.messages import Speaker, takes_language
from clipfast.cli.workflow_options import RULE, size_text

if TYPE_CHECKING:
    from clipfast.retrieval.evalset import EvalSet, SplitReport

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

_SHOWN = 2
_SHOWN_CONFLICTS = 10


@app.command()
@takes_language()
def make(
    folder: Annotated[Path, typer.Argument(help="Labelled patches: <fabric_id>/<patch>.")] = DEFAULT_FOLDER,
    *,
    split: Annotated[float, typer.Option("--split", help="Share of each class, above 0 and below 1.")] = 0.2,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Chooses the samples.")] = 42,
    output: Annotated[
        Path | None, typer.Option("--output", "--out", help="The JSONL file; default: beside the folder.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a set of another version.")] = False,
    say: Speaker,
    json: JsonOption = False,
) -> None:
    """Choose pictures to evaluate on: the same share of each class; photos and near copies stay on one side."""
    from clipfast.retrieval.evalset import EvalSet, eval_set_beside, make_eval_set

    path = output or eval_set_beside(folder)
    note(say("generating", split=split))
    with progress_bar(say("reading")) as progress:
        made = make_eval_set(folder, split, seed, progress=progress)
    made.save(path, replace=replace)
    written = EvalSet.load(path)
    report = made.report
    if report is None:  # make always leaves one; this tells the type checker
        raise TypeError("make_eval_set gave no report")
    checks = _checks(say, written, made, report, path)
    if json:
        print_json(
            {
                "path": path.as_posix(),
                "samples": len(made),
                "classes": {name: {"total": total, "test": test} for name, (total, test) in report.counts.items()},
                "seed": seed,
                "split": split,
                "version": made.version,
                "kept_together": report.kept_together,
                "skipped": report.skipped,
                "no_photo": report.no_photo,
                "conflicts": report.conflicts,
                "checks": checks,
            }
        )
        return
    _show(say, made, report, path)
    show_checks(checks)


@app.command()
@takes_language()
def verify(
    path: Annotated[Path, typer.Argument(help="The JSONL file.")],
    *,
    say: Speaker,
    json: JsonOption = False,
) -> None:
    """Check that every picture of a set is there and unchanged."""
    from clipfast.retrieval.evalset import EvalSet

    found = EvalSet.load(path)
    found.verify()
    counts = dict(sorted(Counter(sample.label for sample in found.samples).items()))
    checks = [
        Check(say("check_pictures"), True, say("check_pictures_of", count=len(found))),  # else it had failed
        Check(say("check_lines"), True, str(len(found))),
    ]
    if json:
        summary = {"path": path.as_posix(), "samples": len(found), "classes": counts, "version": found.version}
        print_json(summary | {"checks": checks})
        return
    show_classes(say, counts)
    out.print(say("eval_version", version=found.version).strip())
    show_checks(checks)


def _checks(say: Speaker, written: EvalSet, made: EvalSet, report: SplitReport, path: Path) -> list[Check]:
    none = [name for name, (_, test) in report.counts.items() if not test]
    conflicts = [f"{one} = {other}" for one, other in report.conflicts]
    return [
        Check(say("check_written"), written.version == made.version, say("check_read_back", path=path)),
        shares_check(say, "check_every_class", len(report.counts), none),
        Check(say("check_lines"), len(written) == len(made), str(len(written))),
        Check(say("check_no_conflict"), not conflicts, "; ".join(conflicts[:3]) or "0"),
    ]


def _show(say: Speaker, made: EvalSet, report: SplitReport, path: Path) -> None:
    for name, (total, test) in report.counts.items():
        out.print(say("split_line", name=name, total=total, test=test))
    for item in report.skipped:
        out.print(say("skipped", path=item.path, reason=item.reason), style="yellow")
    for one, other in report.conflicts[:_SHOWN_CONFLICTS]:
        out.print(say("conflict", one=one, other=other), style="yellow")
    if (more := len(report.conflicts) - _SHOWN_CONFLICTS) > 0:
        out.print(say("conflicts_more", count=more), style="yellow")
    for name in report.no_photo:
        note(say("no_photo", name=name))
    out.print(RULE)
    out.print(say("saved_eval", path=path))
    out.print(say("eval_samples", count=len(made)))
    out.print(say("head_classes", count=len(report.counts)))
    out.print(say("kept_together", count=report.kept_together))
    out.print(say("eval_version", version=made.version))
    out.print(say("file_size", size=size_text(path)))
    out.print(RULE)
    out.print(say("sample_entries"))
    for line in path.read_text(encoding="utf-8").splitlines()[:_SHOWN]:
        out.print(f"  {line}")
