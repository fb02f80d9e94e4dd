"""`clipfast anomaly`: fit a detector on a handful of intact images, score others, draw where they differ.

`anomaly_grid` has many detectors at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from clipfast.cli.anomaly_grid import ImageScoreOption, grid, inspect, recompute
from clipfast.cli.clip_options import ClipOptions, takes_clip_options
from clipfast.cli.console import JsonOption, note, out, print_json, progress_bar
from clipfast.errors import DataError, ImageError

if TYPE_CHECKING:
    from clipfast.anomaly import AnomalyDetector

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def _known_mode(name: str) -> str:
    from clipfast.anomaly.modes import MODES

    known = [mode for mode, row in MODES.items() if not row.truth and mode != "learned_gate"]  # that needs a gate
    if name not in known:
        raise typer.BadParameter(f"must be one of {', '.join(known)}; got {name!r}")
    return name


ImageModeOption = Annotated[
    str,
    typer.Option(
        "--image-mode",
        callback=_known_mode,
        help="How image scores are fused: auto, memory, memory_only (texts never run), semantic, max, harmonic, "
        "calibrated_max, calibrated_mean, calibrated_harmonic, earned, gate or routed.",
    ),
]
PixelModeOption = Annotated[
    str, typer.Option("--pixel-mode", callback=_known_mode, help="How maps are fused: the same modes.")
]
AcceptOption = Annotated[
    bool, typer.Option("--accept-precision", help="Use a detector that was fitted with another precision.")
]


@app.command()
@takes_clip_options()
def fit(
    folder: Annotated[Path, typer.Argument(help="Intact images, or an MVTec class folder with train/good.")],
    *,
    shots: Annotated[int | None, typer.Option("--shots", min=1, help="How many of them; default: all.")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Chooses the shots.")] = 0,
    out_path: Annotated[Path, typer.Option("--out", help="The detector file to write.")] = Path("det.npz"),
    class_name: Annotated[
        str | None, typer.Option("--class", help="What is inspected; default: the folder's name.")
    ] = None,
    image_mode: ImageModeOption = "auto",
    pixel_mode: PixelModeOption = "auto",
    coreset: Annotated[float, typer.Option("--coreset", help="Share of the patches to keep, by k-centre.")] = 1.0,
    image_score: ImageScoreOption = "max",
    fpr: Annotated[float, typer.Option("--fpr", help="Rate of false alarms that the threshold aims at.")] = 0.01,
    clip_options: ClipOptions,
    json: JsonOption = False,
) -> None:
    """Fit a detector on intact images and store it with its threshold."""
    from clipfast.anomaly import AnomalyDetector, AnomalyOptions, MemoryOptions, choose_shots, list_normals

    listed = list_normals(folder)
    chosen = choose_shots(listed, len(listed) if shots is None else shots, seed=seed, root=folder)
    name = class_name or _class_of(folder)
    with clip_options.load() as clip, progress_bar("Encoding") as progress:
        memory = MemoryOptions(coreset=coreset, image_score=image_score)  # type: ignore[arg-type]  # checked above
        options = AnomalyOptions(memory=memory, seed=seed, shots_seed=seed, progress=progress)
        detector = AnomalyDetector.fit(
            clip, chosen, class_name=name, image_mode=image_mode, pixel_mode=pixel_mode, options=options
        )
        detector.threshold(fpr)
    detector.save(out_path)
    summary = _summary(detector, out_path)
    if json:
        print_json(summary)
        return
    for line in detector.notes:
        note(line)
    out.print(f"Fitted on {len(chosen)} of {len(listed)} intact images of {name!r}")
    for shot in detector.manifest.shots:
        out.print(f"  {shot.name}")
    out.print(f"   Modes: image {detector.modes.image}, pixel {detector.modes.pixel}; image score {image_score}")
    out.print(f"   NG above {summary['threshold']:.4g}: {summary['coverage']}")
    out.print(f"Saved detector -> {out_path} ({out_path.stat().st_size / 1024:.1f} KB)")


@app.command()
@takes_clip_options()
def score(
    images: Annotated[list[Path], typer.Argument(help="Images, or folders of them.")],
    *,
    detector_path: Annotated[Path, typer.Option("--detector", help="The detector file.")] = Path("det.npz"),
    out_path: Annotated[Path, typer.Option("--out", help="Folder for overlays, masks and scores.json.")] = Path(
        "anomaly"
    ),
    fpr: Annotated[
        float | None, typer.Option("--fpr", help="Another rate of false alarms than the stored one.")
    ] = None,
    accept_precision: AcceptOption = False,
    clip_options: ClipOptions,
    json: JsonOption = False,
) -> None:
    """Score images: OK or NG, a heat map over each, a mask, and both branches' own scores."""
    from clipfast.anomaly import AnomalyDetector
    from clipfast.report.anomalies import ScoreWriter

    listed = _listed(images)
    with clip_options.load() as clip, progress_bar("Scoring") as progress:
        detector = AnomalyDetector.load(detector_path, clip, accept_precision=accept_precision)
        if clip.provider in {"cuda", "tensorrt"}:
            detector.search_on("cuda")  # the memory goes where the model is; TensorRT has no engine for it
        if fpr is not None or detector.decision is None:
            detector.threshold(0.01 if fpr is None else fpr)
        writer = ScoreWriter(detector, out_path)
        try:
            for number, path in enumerate(listed, start=1):
                writer.write(path)
                progress(number, len(listed))
        except ImageError:
            if writer.rows:  # what was paid for is not lost, and no overlay lies there without its numbers
                note(f"{len(writer.rows)} of {len(listed)} images were scored before: {writer.finish().as_posix()}")
            raise
    writer.finish()
    if json:
        print_json({**_summary(detector, detector_path), "out": out_path.as_posix(), "images": writer.rows})
        return
    table = Table("image", "score", "memory", "semantic", "verdict")
    for row in writer.rows:
        verdict = Text(row["verdict"], style="bold red" if row["verdict"] == "NG" else "green")
        semantic = "-" if row["semantic"] is None else f"{row['semantic']:.4g}"
        table.add_row(row["image"], f"{row['score']:.4g}", f"{row['memory']:.4g}", semantic, verdict)
    out.print(table)
    bad = sum(row["verdict"] == "NG" for row in writer.rows)
    decision = _summary(detector, detector_path)
    out.print(f"{bad} of {len(writer.rows)} NG above {decision['threshold']:.4g}: {decision['coverage']}")
    out.print(f"Wrote {out_path}")


def _class_of(folder: Path) -> str:
    """The folder's name; of `denim/train/good` it is denim."""
    named = folder.resolve()
    while named.name in ("good", "train") and named.parent != named:
        named = named.parent
    return named.name


def _listed(paths: list[Path]) -> list[Path]:
    """Files as they are, folders as the images in them."""
    from clipfast.datasets.folders import list_images

    found = [image for path in paths for image in (list_images(path)[0] if path.is_dir() else [path])]
    if not found:
        inner = sorted(each.as_posix() for path in paths for each in path.iterdir() if each.is_dir())
        named = f" Folders inside of it are not searched; name them: {' '.join(inner[:5])}." if inner else ""
        raise DataError(
            f"{', '.join(map(str, paths))} holds no image. Name images, or folders with images in them.{named}"
        )
    return found


def _summary(detector: AnomalyDetector, path: Path) -> dict[str, Any]:
    """Return what a detector is, for `--json`."""
    decision, fitted = detector.decision, detector.fitted
    return {
        "detector": path.as_posix(),
        "class_name": fitted.class_name,
        "image_mode": {"asked": fitted.modes.image, "taken": detector.modes.image},
        "pixel_mode": {"asked": fitted.modes.pixel, "taken": detector.modes.pixel},
        "image_score": fitted.options.memory.image_score,
        "kind": fitted.kind,
        "model": fitted.identity,
        "shots": {"seed": detector.manifest.seed, "images": detector.manifest.shots},
        "rows": len(fitted.bank),
        "threshold": None if decision is None else decision.threshold,
        "pixel_threshold": None if decision is None else decision.pixel_threshold,
        "fpr": None if decision is None else decision.fpr,
        "method": None if decision is None else decision.method,
        "guaranteed_fpr": None if decision is None else decision.guaranteed_fpr,
        "coverage": "" if decision is None else decision.coverage,
        "notes": detector.notes,
    }


app.command()(grid)
app.command()(recompute)
app.command()(inspect)
