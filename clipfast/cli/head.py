"""`clipfast head`: train a linear head on labelled patches."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clipfast.cli.checks import Check, shares_check, show_checks, show_classes
from clipfast.cli.clip_options import ClipOptions, takes_clip_options
from clipfast.cli.console import JsonOption, note, out, print_json, progress_bar
from clipfast.cli.copy_options import NotACopyOption, names_of, show_declared
from clipfast.cli.messages import Speaker, takes_language
from clipfast.cli.workflow_options import RULE, found_eval_set, size_text
from clipfast.errors import DataError

if TYPE_CHECKING:
    from clipfast.export.head_graph import HeadParity
    from clipfast.retrieval.head import HeadReport, LinearHead
    from clipfast.retrieval.heldout import TrainedHead
    from clipfast.runtime.clip import Clip

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

DEFAULT_FOLDER, DEFAULT_HEAD = Path("data/patches/labeled"), Path("data/clip_head.npz")
_GOOD, _GOOD_SAMPLES, _PER_CLASS, _BALANCED = 0.8, 50, 5, 3


@app.callback()
def _group() -> None:
    """Train a linear head; the evaluation set stays out."""


@app.command()
@takes_language()
@takes_clip_options()
def train(
    folder: Annotated[Path, typer.Argument(help="Labelled patches: <fabric_id>/<patch>.")] = DEFAULT_FOLDER,
    *,
    eval_set: Annotated[
        Path | None, typer.Option("--eval-set", help="What to leave out; default: the one beside the folder.")
    ] = None,
    out_path: Annotated[Path, typer.Option("--out", help="The head to write.")] = DEFAULT_HEAD,
    not_a_copy: NotACopyOption = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the folds.")] = 0,
    export_onnx: Annotated[
        Path | None, typer.Option("--export-onnx", help="Also write one ONNX graph from image to class (extra export).")
    ] = None,
    say: Speaker,
    clip_options: ClipOptions,
    json: JsonOption = False,
) -> None:
    """Train on FOLDER without the evaluation set; probabilities are calibrated by cross-validation."""
    from clipfast.datasets.folders import scan_fabrics
    from clipfast.retrieval.head import HeadOptions
    from clipfast.retrieval.heldout import train_head

    if not folder.is_dir():
        scan_fabrics(folder)  # says so, before anything else is said
    with clip_options.load() as clip:
        held = found_eval_set(eval_set, folder)
        if held is None:
            note(say("no_eval_set", folder=folder))
        note(say("training"))
        with progress_bar(say("encoding")) as reading, progress_bar(say("training")) as fitting:
            trained = train_head(
                clip,
                folder,
                eval_set=held,
                not_copies=names_of(not_a_copy),
                seed=seed,
                options=HeadOptions(progress=fitting),
                progress=reading,
            )
        trained.head.save(out_path)
        parity = None if export_onnx is None else _export(clip, trained.head, export_onnx)
    report = trained.head.report
    if report is None:  # fit always leaves one; this tells the type checker
        raise TypeError("LinearHead.fit gave no report")
    checks = _checks(say, trained.head, report, out_path)
    if json:
        print_json(_summary(trained, report, out_path, checks) | _onnx_summary(export_onnx, parity))
        return
    _show(say, trained, report, out_path)
    if export_onnx is not None and parity is not None:
        out.print(say("saved_onnx", path=export_onnx, size=size_text(export_onnx), diff=parity.max_abs_diff))
    show_checks(checks)


def _export(clip: Clip, head: LinearHead, path: Path) -> HeadParity:
    from clipfast.export.head_graph import ClassifierSpec, write_head_graph

    if path.suffix != ".onnx":
        raise DataError(f"--export-onnx must name a .onnx file; got {path}.", code="not_onnx_name", path=path)
    spec = ClassifierSpec(
        tuple(str(name) for name in head.classes),
        (head.weights / head.temperature).astype("float32"),
        (head.bias / head.temperature).astype("float32"),
    )
    return write_head_graph(clip.artifact, spec, path, threads=clip.threads)


def _checks(say: Speaker, head: LinearHead, report: HeadReport, path: Path) -> list[Check]:
    few = [name for name, count in report.counts.items() if count < _PER_CLASS]
    least, most = min(report.counts.values()), max(report.counts.values())
    share = report.accuracy.estimate
    back = type(head).load(path)
    return [
        Check(say("check_written"), back.report == report, say("check_read_back", path=path)),
        Check(say("check_cv"), share > _GOOD, say("check_cv_more", share=share)),
        Check(say("check_balance"), most <= _BALANCED * least, say("check_balance_of", least=least, most=most)),
        shares_check(say, "check_per_class", len(report.counts), few),
        Check(say("check_enough"), report.samples >= _GOOD_SAMPLES, str(report.samples)),
    ]


def _show(say: Speaker, trained: TrainedHead, report: HeadReport, path: Path) -> None:
    out.print(RULE)
    show_classes(say, report.counts)
    if trained.eval_set is not None:
        out.print(say("left_out", count=len(trained.excluded), path=trained.eval_set.path))
    show_declared(say, trained.head.seen.declared)
    for item in trained.skipped:
        out.print(say("skipped", path=item.path, reason=item.reason), style="yellow")
    out.print(RULE)
    out.print(say("saved_head", path=path))
    out.print(say("head_model", strength=report.strength, temperature=trained.head.temperature))
    out.print(say("head_classes", count=len(report.counts)))
    accuracy = report.accuracy
    out.print(say("cv_accuracy", share=accuracy.estimate, low=accuracy.low, high=accuracy.high))
    before, after = report.calibration_error
    out.print(say("calibration", before=before, after=after))
    out.print(say("file_size", size=size_text(path)))


def _summary(trained: TrainedHead, report: HeadReport, path: Path, checks: list[Check]) -> dict[str, Any]:
    return {
        "path": path.as_posix(),
        "samples": report.samples,
        "excluded": len(trained.excluded),
        "accuracy": report.accuracy.estimate,
        "accuracy_interval": [report.accuracy.low, report.accuracy.high],
        "classes": report.counts,
        "per_class": report.per_class,
        "never_held_out": report.never_held_out,
        "strength": report.strength,
        "temperature": trained.head.temperature,
        "calibration_error": report.calibration_error,
        "excluded_paths": trained.excluded,
        "declared": trained.head.seen.declared,
        "eval_set": None if trained.eval_set is None else str(trained.eval_set.path),
        "eval_version": None if trained.eval_set is None else trained.eval_set.version,
        "skipped": trained.skipped,
        "model": trained.head.model,
        "checks": checks,
    }


def _onnx_summary(path: Path | None, parity: HeadParity | None) -> dict[str, Any]:
    if path is None or parity is None:
        return {}
    return {"onnx": {"path": path.as_posix(), "max_abs_diff": parity.max_abs_diff}}
