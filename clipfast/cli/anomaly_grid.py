"""`clipfast anomaly grid | recompute | inspect`: many detectors on a data set, every mode judged, exactly."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer
from rich.table import Table

from clipfast.cli.clip_options import ClipOptions, takes_clip_options
from clipfast.cli.console import JsonOption, note, out, print_json, progress_bar

if TYPE_CHECKING:
    from clipfast.anomaly.grid.records import GridResults

__all__ = ["ImageScoreOption", "grid", "inspect", "recompute"]


def _known_format(name: str) -> str:
    from clipfast.datasets.inspection_formats import INSPECTION_FORMATS

    return _one_of(name, tuple(INSPECTION_FORMATS))


def _known_score(name: str) -> str:
    from clipfast.anomaly.options import ImageScore

    return _one_of(name, get_args(ImageScore))


def _known_scale(name: str) -> str:
    from clipfast.anomaly.options import ScaleMethod

    return _one_of(name, get_args(ScaleMethod))


def _known_kind(name: str | None) -> str | None:
    from clipfast.anomaly.options import Kind

    return None if name is None else _one_of(name, get_args(Kind))


def _one_of(name: str, known: tuple[str, ...]) -> str:
    if name not in known:
        raise typer.BadParameter(f"must be one of {', '.join(known)}; got {name!r}")
    return name


ImageScoreOption = Annotated[
    str,
    typer.Option(
        "--image-score",
        callback=_known_score,
        help="Of patch distances: max, top, reweighted or contrast for local faults, mean for changes everywhere.",
    ),
]
Directory = Annotated[Path, typer.Argument(help="The folder that --out of a grid named.")]


@takes_clip_options()
def grid(
    dataset: Annotated[Path, typer.Argument(help="Folder of the data set; of fabricworld any word.")],
    *,
    format: Annotated[  # noqa: A002  # the option's name
        str,
        typer.Option(
            "--format", callback=_known_format, help="mvtec, visa, fabricworld (rendered), textiles, or folder."
        ),
    ] = "mvtec",
    shots: Annotated[str, typer.Option("--shots", help="Numbers of references, with commas between.")] = "1,2,4",
    seeds: Annotated[str, typer.Option("--seeds", help="Seeds that choose them.")] = "0,1,2",
    tasks: Annotated[str, typer.Option("--tasks", help="cls judges images, seg pixels.")] = "cls,seg",
    out_dir: Annotated[Path, typer.Option("--out", help="Where results go; the same folder goes on.")] = Path("grid"),
    classes: Annotated[str | None, typer.Option("--classes", help="Only these, with commas between.")] = None,
    class_name: Annotated[
        str | None, typer.Option("--class", help="What texts call every class; default: its own name.")
    ] = None,
    keep_maps: Annotated[
        bool,
        typer.Option("--keep-maps/--no-keep-maps", help="Keep raw scores and masks, so that recompute can work."),
    ] = True,
    size: Annotated[int, typer.Option("--size", min=16, max=4096, help="Side of maps and masks in pixels.")] = 256,
    sigma: Annotated[float, typer.Option("--sigma", min=0, help="Blur of the maps, in their pixels.")] = 4.0,
    coreset: Annotated[float, typer.Option("--coreset", help="Share of the patches to keep, by k-centre.")] = 1.0,
    image_score: ImageScoreOption = "max",
    calibration: Annotated[
        str, typer.Option("--calibration", callback=_known_scale, help="Scale of the branches: cdf, robust_z.")
    ] = "cdf",
    kind: Annotated[
        str | None, typer.Option("--kind", callback=_known_kind, help="texture, object, logical; default: estimated.")
    ] = None,
    train: Annotated[
        int | None,
        typer.Option("--train", min=1, help="Intact images to choose from, of fabricworld (8) and textiles (500)."),
    ] = None,
    good: Annotated[int, typer.Option("--good", min=0, help="Intact test images of a rendered class.")] = 12,
    each: Annotated[int, typer.Option("--each", min=0, help="Damaged ones of every kind, of a rendered class.")] = 3,
    world_seed: Annotated[int, typer.Option("--world-seed", min=0, help="Of rendered products.")] = 0,
    clip_options: ClipOptions,
    json: JsonOption = False,
) -> None:
    """Fit a detector for every class, number of shots and seed, and judge every mode on the test images.

    Stopped and started again with the same options it goes on where it was.
    """
    from clipfast.anomaly.grid import GridRequest, run_grid
    from clipfast.anomaly.grid.records import GridOptions
    from clipfast.anomaly.options import MemoryOptions
    from clipfast.datasets.inspection_formats import CALLED, InspectionQuery, read_inspection
    from clipfast.runtime.session import available_cores

    wanted = _tasks(tasks)
    query = InspectionQuery(
        classes=None if classes is None else tuple(_words(classes)),
        masks="seg" in wanted,
        train=train,
        good=good,
        each=each,
        seed=world_seed,
        processes=available_cores(),
    )
    data = read_inspection(format, dataset, query)
    called = class_name or CALLED.get(format)
    request = GridRequest(
        "fabricworld" if format == "fabricworld" else dataset.resolve().name,
        format,
        shots=_numbers(shots, "--shots"),
        seeds=_numbers(seeds, "--seeds"),
        tasks=wanted,
        options=GridOptions(
            memory=MemoryOptions(coreset=coreset, image_score=image_score),  # type: ignore[arg-type]  # checked above
            size_hw=(size, size),
            sigma=sigma,
            calibration=calibration,  # type: ignore[arg-type]  # checked above
            kind=kind,  # type: ignore[arg-type]  # checked above
        ),
        called={} if called is None else dict.fromkeys(data, called),
        keep_maps=keep_maps,
    )
    with clip_options.load() as clip, progress_bar("Encoding") as encoding, progress_bar("Judging") as judging:
        results = run_grid(clip, data, out_dir, request, encoding=encoding, judging=judging)
    _finish(results, out_dir, json=json)


def recompute(directory: Directory, *, json: JsonOption = False) -> None:
    """Compute all figures of a grid again from the maps it kept; neither model nor data are needed."""
    from clipfast.anomaly.grid import recompute as again

    with progress_bar("Judging") as judging:
        done = again(directory, judging)
    if done.missing:
        names = ", ".join(sorted({cell.class_name for cell in done.missing}))
        note(f"{len(done.missing)} cells of {names} could not be computed again in full: maps or masks are missing")
    _finish(done.results, directory, json=json)


def inspect(directory: Directory, *, json: JsonOption = False) -> None:
    """List which runs of a grid have figures of both branches, can be computed again, or must run again."""
    from clipfast.anomaly.grid.inspection import inspect_grid

    state = inspect_grid(directory)
    if json:
        print_json(state)
        return
    for problem in state.problems:
        note(problem)
    for task, each in state.tasks.items():
        out.print(each.line(task))
    open_runs = [run for run in state.runs if run.next != "nothing" and state.tasks[run.task].asked]
    if open_runs:
        table = Table("task", "class", "shots", "seed", "what it takes")
        takes = {"recompute": "clipfast anomaly recompute", "run": "clipfast anomaly grid, as before"}
        for run in open_runs:
            table.add_row(run.task, run.class_name, str(run.shots), str(run.seed), takes[run.next])
        out.print(table)
    if not state.results:
        note("grid_results.json is not there: the grid has not come to its end")


def _finish(results: GridResults, directory: Path, *, json: bool) -> None:
    """Write the reports, and print what was found."""
    files = _written(results, directory)
    if json:
        content: dict[str, Any] = {
            "out": directory.as_posix(),
            "files": [file.as_posix() for file in files],
            "cells": len(results.cells),
            "pixels": results.pixels,
            "summary": results.summary,
        }
        print_json(content)
        return
    from clipfast.cli.anomaly_tables import class_table, mode_table

    for task in results.tasks:
        out.print(mode_table(results, task))
        out.print(class_table(results, task))
    for reason in sorted({reason for cell in results.cells for reason in _undefined(cell)}):
        note(reason)
    out.print(f"Wrote {len(results.cells)} cells and {', '.join(file.name for file in files)} to {directory}")


def _written(results: GridResults, directory: Path) -> list[Path]:
    """Return what was written for people and machines, reports included."""
    from clipfast.anomaly.grid.directory import GridDirectory, Tally
    from clipfast.anomaly.grid.records import RESULTS_NAME
    from clipfast.report.branches import write_branch_report

    with GridDirectory(directory).resumable(Tally(len(results.cells), len(results.cells))):
        return [directory / RESULTS_NAME, *write_branch_report(results, directory)]


def _undefined(cell: Any) -> list[str]:
    levels = [level for level in (cell.image, cell.pixel) if level is not None]
    found = [f"{cell.class_name}: {level.undefined}" for level in levels if level.undefined]
    return found + [f"{mode}: {why}" for level in levels for mode, why in level.omitted.items()]


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _numbers(text: str, option: str) -> tuple[int, ...]:
    words = _words(text)
    if not words or not all(word.isdecimal() for word in words):
        raise typer.BadParameter(f"must be whole numbers with commas between; got {text!r}", param_hint=option)
    return tuple(dict.fromkeys(int(word) for word in words))


def _tasks(text: str) -> tuple[Any, ...]:
    from clipfast.anomaly.grid.records import LEVELS

    words = tuple(dict.fromkeys(_words(text)))
    if not words or not set(words) <= set(LEVELS):
        raise typer.BadParameter(f"must be of {', '.join(LEVELS)}; got {text!r}", param_hint="--tasks")
    return words
