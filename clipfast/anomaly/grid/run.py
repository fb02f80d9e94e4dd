"""A grid of detectors from data to `grid_results.json`: classes x shots x seeds x tasks, resumable at any moment.

>>> import clipfast, tempfile
>>> from clipfast.datasets.inspection import fabricworld_classes
>>> from clipfast.datasets.fabricworld import Wishes
>>> holes = Wishes(defects=["hole"], size=64)
>>> data = fabricworld_classes(["denim", "felt"], 0, train=2, good=2, each=1, wishes=holes)
>>> request = GridRequest("fabricworld", "fabricworld", shots=(1,), seeds=(0,), tasks=("cls",))
>>> with tempfile.TemporaryDirectory() as folder:
...     results = run_grid(clipfast.Clip.load("mini"), data, Path(folder), request)
>>> [(cell.class_name, cell.image.anomalous) for cell in results.cells]
[('denim', 1), ('felt', 1)]
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from clipfast.anomaly.grid.directory import GridDirectory, Progress, Tally, write_json_lines
from clipfast.anomaly.grid.encode import Grid, GridClock, GridRequest, encode_grid, prepare_grid
from clipfast.anomaly.grid.judge import collect_results, judge_grid, recompute_grid
from clipfast.anomaly.grid.plan import Cell
from clipfast.anomaly.grid.records import GridResults
from clipfast.datasets.inspection import InspectionClass
from clipfast.provenance import Provenance
from clipfast.types import PatchEncoder

__all__ = ["TIMINGS_NAME", "GridRequest", "Recomputed", "recompute", "run_grid"]

TIMINGS_NAME = "timings.json"


@dataclass(frozen=True, slots=True, eq=False)
class Recomputed:
    """What `recompute` did.

    Attributes:
        results: All of the directory.
        missing: Cells that could not be computed again, or of which pixels could not; their figures stay.
    """

    results: GridResults
    missing: tuple[Cell, ...]


def run_grid(
    clip: PatchEncoder,
    data: Mapping[str, InspectionClass],
    directory: Path,
    request: GridRequest,
    *,
    encoding: Progress | None = None,
    judging: Progress | None = None,
) -> GridResults:
    """Fit, score and judge all cells that are not finished, and write `grid_results.json`.

    Stopped at any moment and called again with the same arguments, it goes on, and the files are those of a run that
    was not stopped, to the byte; only `timings.json` differs.

    Args:
        clip: The encoder.
        data: Classes by name; with masks if "seg" is among the tasks.
        directory: Where everything goes.
        request: What is asked for.
        encoding: Called with (done, total) cells fitted and scored.
        judging: Called with (done, total) cells judged.

    Raises:
        DataError: As `prepare_grid`; or the disk is full.
        ArtifactError: The model does not hold the graph or the blocks, or a file of the directory is damaged.
        FingerprintError: The directory holds a grid of another model.
        ImageError: An image cannot be read.
        ShapeError: Maps would be too large.
    """
    started = time.time()
    grid = prepare_grid(clip, data, directory, request)
    encode_grid(grid, clip, data, encoding)
    judge_grid(grid, judging)
    results = collect_results(grid)
    _note_times(grid.directory, "grid", grid.clock)
    if not request.keep_maps:
        _drop_maps(grid)
    grid.directory.sweep(before=started)
    return results


def recompute(directory: Path, judging: Progress | None = None) -> Recomputed:
    """Compute all figures again from kept maps; see `recompute_grid`."""
    started = time.time()
    place = GridDirectory(directory)
    results, missing, clock = recompute_grid(directory, judging)
    _note_times(place, "recompute", clock)
    place.sweep(before=started)
    return Recomputed(results, missing)


def _drop_maps(grid: Grid) -> None:
    for cell in grid.cells:
        grid.directory.branches(cell).unlink(missing_ok=True)
    for name in grid.classes:
        grid.directory.truth(name).unlink(missing_ok=True)
    folders = [grid.directory.branches(cell).parent for cell in grid.cells]
    for folder in [*folders, grid.directory.root / "branches", grid.directory.root / "truth"]:
        with suppress(OSError):  # not empty: maps of other cells
            folder.rmdir()


def _note_times(place: GridDirectory, what: str, clock: GridClock) -> None:
    """Keep how long the last grid and the last recompute took, beside each other."""
    pixels, path = clock.pixels, place.root / TIMINGS_NAME
    content: dict[str, Any] = {}
    with suppress(OSError, msgspec.MsgspecError):  # none yet, or spoilt: it is no result
        content = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    content[what] = {
        "encode_seconds": clock.encode,
        "judge_seconds": clock.judge,
        "pixels": {
            "judged": pixels.pixels,
            "judged_by_modes": pixels.modes,
            "nanoseconds_a_pixel_and_mode": pixels.nanoseconds,
            "seconds_by_mode": dict(pixels.seconds),
            "shared_seconds": pixels.shared,
        },
        "provenance": Provenance.collect().as_json(),
    }
    with place.resumable(Tally(len(clock.encode), len(clock.encode))):
        write_json_lines(path, content)
