"""`clipfast fuse`: fit the weights of rules, bank and head."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from clipfast.cli.checks import Check, show_checks, show_classes
from clipfast.cli.clip_options import ClipOptions, takes_clip_options
from clipfast.cli.console import JsonOption, note, out, print_json, progress_bar
from clipfast.cli.copy_options import NotACopyOption, names_of, show_declared
from clipfast.cli.error_messages import wrong_usage
from clipfast.cli.head import DEFAULT_FOLDER
from clipfast.cli.messages import Speaker, takes_language
from clipfast.cli.voice_options import VoiceOptions, takes_voice_options
from clipfast.cli.workflow_options import found_eval_set

if TYPE_CHECKING:
    from clipfast.retrieval.fused import FittedFusion

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

_BAR = 24
_GOOD_SAMPLES = 50


@app.callback()
def _group() -> None:
    """Fit how much rules, photos and head count."""


@app.command()
@takes_language()
@takes_clip_options()
@takes_voice_options(without=("alpha", "fusion", "models"))
def fit(
    folder: Annotated[Path, typer.Argument(help="Labelled patches: <fabric_id>/<patch>.")] = DEFAULT_FOLDER,
    *,
    exclude: Annotated[
        Path | None, typer.Option("--exclude", help="The evaluation set; default: the one beside the folder.")
    ] = None,
    out_path: Annotated[
        Path | None, typer.Option("--out", help="The file to write; default: CLIPFAST_FUSION, else data/fusion.json.")
    ] = None,
    not_a_copy: NotACopyOption = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the folds.")] = 0,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Also draw the curve over alpha, as PNG (extra report).")
    ] = None,
    say: Speaker,
    voice_options: VoiceOptions,
    clip_options: ClipOptions,
    json: JsonOption = False,
) -> None:
    """Fit alpha and the temperatures on labelled patches that nothing is evaluated on."""
    from clipfast.retrieval.fused import default_fusion_path, fit_fusion

    if plot is not None and plot.suffix.lower() != ".png":
        raise wrong_usage(f"--plot must name a .png file; got {plot}", "plot_png", got=plot)
    path = out_path or default_fusion_path()
    held = found_eval_set(exclude, folder)
    if held is None:
        note(say("no_eval_set", folder=folder))
    with clip_options.load() as clip:
        voices = voice_options.open(clip)
        with progress_bar(say("encoding")) as progress:
            fitted = fit_fusion(
                voices, folder, exclude=held, not_copies=names_of(not_a_copy), seed=seed, progress=progress
            )
    fitted.save(path)
    if plot is not None:
        _draw(say, fitted, plot)
    checks = _checks(say, fitted, path)
    if json:
        drawn = None if plot is None else plot.as_posix()
        print_json({"path": path.as_posix(), "plot": drawn, "fit": fitted, "checks": checks})
        return
    _show(say, fitted, path)
    if plot is not None:
        out.print(say("saved_plot", path=plot))
    show_checks(checks)


def _checks(say: Speaker, fitted: FittedFusion, path: Path) -> list[Check]:
    excluded = str(fitted.excluded) if fitted.eval_version else say("check_excluded_none")
    return [
        Check(say("check_written"), type(fitted).load(path) == fitted, say("check_read_back", path=path)),
        Check(say("check_excluded"), fitted.eval_version is not None, excluded),
        Check(say("check_samples"), fitted.samples >= _GOOD_SAMPLES, str(fitted.samples)),
        Check(say("check_inside"), 0 < fitted.alpha < 1, f"{fitted.alpha:g}"),
    ]


def _show(say: Speaker, fitted: FittedFusion, path: Path) -> None:
    show_classes(say, fitted.counts)
    out.print(_curve(say, fitted))
    share = "" if fitted.head_share is None else say("fit_share", share=fitted.head_share)
    temperatures = {"rules": fitted.rules_temperature, "bank": fitted.bank_temperature}
    out.print(say("fit_chosen", alpha=fitted.alpha, share=share, **temperatures))
    left_out = {"excluded": fitted.excluded, "in_bank": fitted.in_bank, "alone": fitted.not_held_out}
    out.print(say("fit_left_out", **left_out))
    show_declared(say, fitted.seen.declared)
    curve, openset = fitted.judge.confidence, fitted.judge.openset
    if curve is not None:
        out.print(say("fit_confidence", right=curve.right, samples=curve.samples, error=curve.calibration_error))
    if openset.noticed is None:
        out.print(say("fit_no_openset", samples=openset.samples))
    else:
        found = openset.noticed
        values = {"noticed": found.estimate, "low": found.low, "high": found.high, "rate": openset.false_refusals}
        out.print(say("fit_openset", **values))
    out.print(say("saved_fusion", path=path))


def _draw(say: Speaker, fitted: FittedFusion, path: Path) -> None:
    """Draw the curve over α: top-1, top-5 and mean reciprocal rank."""
    from clipfast.report.fonts import drawable
    from clipfast.report.plots import Curve, curve_figure
    from clipfast.storage import atomic_write

    at = [point.alpha for point in fitted.curve]
    curves = [
        Curve("Top@1", at, [point.top1 for point in fitted.curve]),
        Curve("Top@5", at, [point.top5 for point in fitted.curve]),
        Curve("MRR", at, [point.mrr for point in fitted.curve]),
    ]
    title = say("fit_curve", count=fitted.samples)
    if not drawable(title):
        note(say("no_chinese_font"))
        title = Speaker()("fit_curve", count=fitted.samples)
    title = title.rstrip(":：")
    png = curve_figure(curves, title=title, x_label="alpha", y_label="", mark=fitted.alpha)
    with atomic_write(path) as temporary:
        temporary.write_bytes(png)


def _curve(say: Speaker, fitted: FittedFusion) -> Table:
    """Draw the curve over α: figures, and a bar as long as the mean reciprocal rank."""
    table = Table(title=say("fit_curve", count=fitted.samples))
    for name in ("alpha", "Top@1", "Top@5", "MRR", "-ln p"):
        table.add_column(name, justify="right")
    table.add_column("")
    for point in fitted.curve:
        best = point.alpha == fitted.alpha
        figures = (
            f"{point.alpha:.2f}",
            f"{point.top1:.1%}",
            f"{point.top5:.1%}",
            f"{point.mrr:.3f}",
            f"{point.loss:.3f}",
        )
        bar = "█" * round(_BAR * point.mrr) + (" ◀" if best else "")
        table.add_row(*figures, bar, style="bold" if best else None)
    return table
