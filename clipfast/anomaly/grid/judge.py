"""Figures of a grid from raw scores and truth: the second stage, and all of it again.

Cells of one number of shots and one seed are judged together, several at a time: the learned gate of each class is
fitted on the scores of all others.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from clipfast import __version__
from clipfast.anomaly.calibration import Calibration
from clipfast.anomaly.grid.branches import CellBranches, read_cell_branches
from clipfast.anomaly.grid.directory import GridDirectory, Progress, Tally
from clipfast.anomaly.grid.encode import Grid, GridClock, Stamps, require_own
from clipfast.anomaly.grid.figures import ModeClock, image_figures, pixel_figures
from clipfast.anomaly.grid.gates import FoundGate, gates_of_others
from clipfast.anomaly.grid.plan import Cell, PlannedClass, choose_support
from clipfast.anomaly.grid.records import (
    FORMAT_VERSION,
    LEVELS,
    CellResult,
    GridResults,
    Task,
    read_cell,
    write_cell,
    write_results,
)
from clipfast.anomaly.grid.summary import summarise
from clipfast.anomaly.grid.truth import read_truth
from clipfast.datasets.inspection import GOOD
from clipfast.errors import DataError
from clipfast.runtime.session import available_cores
from clipfast.types import Ints

__all__ = ["collect_results", "judge_grid", "recompute_grid"]


def judge_grid(
    grid: Grid, progress: Progress | None = None, *, again: bool = False, threads: int | None = None
) -> list[CellResult]:
    """Compute and write the figures of all cells from raw scores and truth.

    Args:
        grid: Prepared, with raw scores where figures are missing.
        progress: Called with (done, total) cells.
        again: Whether cells that have figures are judged, too.
        threads: Cells judged at a time; None takes the cores of the process. No figure depends on it.

    Returns:
        All cells, in order. What a cell has of a task that is not asked for stays; so do the figures of pixels of a
        class without kept masks where cells are judged again.

    Raises:
        ArtifactError: Raw scores or truth are missing or damaged.
        DataError: The disk is full; or figures would stay that come from other raw scores than those that are there.
    """
    started = time.perf_counter()
    finished = {} if again else grid.finished()
    tally = Tally(len(grid.cells), len(finished), progress)
    groups: dict[tuple[int, int], list[Cell]] = {}
    for cell in grid.cells:
        groups.setdefault((cell.shots, cell.seed), []).append(cell)
    with grid.directory.resumable(tally), ThreadPoolExecutor(threads or available_cores()) as pool:
        for cells in groups.values():
            todo = [cell for cell in cells if cell not in finished]
            if not todo:
                continue
            group = _Group.read(grid, cells, pool, again=again)
            for cell, (result, clock) in zip(todo, pool.map(group.judge, todo), strict=True):
                write_cell(grid.directory.cell(cell), result)
                grid.clock.pixels.add(clock)
                finished[cell] = result
                tally.step()
    grid.clock.judge = time.perf_counter() - started
    return [finished[cell] for cell in grid.cells]


def collect_results(grid: Grid) -> GridResults:
    """Write `grid_results.json` from all cells of the directory, those of earlier runs too, and return it.

    Raises:
        ArtifactError: A cell is damaged, or belongs to another grid.
        DataError: The disk is full.
    """
    found = []
    for cell in grid.directory.found_cells():
        path = grid.directory.cell(cell)
        if path.is_file():
            result = read_cell(path)
            require_own(result, cell, grid.plan, path)
            found.append(result)
    height, width = grid.plan.options.size_hw
    records = []
    for planned in grid.plan.classes:
        path = grid.directory.truth(planned.name)
        truth = read_truth(path, planned, grid.plan.options.size_hw) if path.is_file() else None
        records.append(planned.record(None if truth is None else (truth.empty, truth.lost)))
    results = GridResults(
        format=FORMAT_VERSION,
        kind="anomaly_grid",
        created_by=f"clipfast {__version__}",
        plan=grid.plan.sha256,
        dataset=grid.plan.dataset,
        dataset_format=grid.plan.dataset_format,
        model=grid.plan.model,
        options=grid.plan.options,
        pixels=f"maps of {height} x {width} pixels, scaled from the patch grid bilinearly and blurred with a Gaussian "
        f"of {grid.plan.options.sigma:g} pixels; masks scaled to the same size by the nearest pixel",
        shots=tuple(sorted({cell.shots for cell in found})),
        seeds=tuple(sorted({cell.seed for cell in found})),
        tasks=tuple(task for task in LEVELS if any(cell.level(LEVELS[task]) is not None for cell in found)),
        classes=tuple(records),
        cells=tuple(found),
        summary=summarise(found),
    )
    with grid.directory.resumable(Tally(len(found), len(found))):
        write_results(grid.directory.root, results)
    return results


def recompute_grid(
    directory: Path, progress: Progress | None = None
) -> tuple[GridResults, tuple[Cell, ...], GridClock]:
    """Judge all cells again whose raw scores were kept; nothing is encoded, and neither model nor data are needed.

    Args:
        directory: Of a grid.
        progress: Called with (done, total) cells.

    Returns:
        All results; the cells that could not be judged again, or not of pixels, because raw scores of a class or its
        own masks are missing, whose figures stay if there are any; and where the time went.

    Raises:
        ArtifactError: No grid is there, or a file is damaged.
        DataError: No raw scores are there at all, figures of pixels would stay that come from other raw scores, or the
            disk is full.
    """
    place = GridDirectory(directory)
    plan = place.read_plan()
    cells = list(place.found_cells())
    held = {cell for cell in cells if place.branches(cell).is_file()}
    whole = [cell for cell in cells if all(Cell(each.name, cell.shots, cell.seed) in held for each in plan.classes)]
    if not whole:
        raise DataError(
            f"{directory} holds no branch maps of all classes, so nothing can be computed again. Run the grid again "
            "without --no-keep-maps."
        )
    masked = {each.name for each in plan.classes if place.truth(each.name).is_file()}
    tasks: tuple[Task, ...] = ("cls", "seg") if masked else ("cls",)
    grid = Grid(place, plan, tuple(whole), tasks)
    pixels = any(result.pixel is not None for result in judge_grid(grid, progress, again=True))
    judged = {cell for cell in whole if not pixels or cell.class_name in masked}
    return collect_results(grid), tuple(cell for cell in cells if cell not in judged), grid.clock


@dataclass(frozen=True, slots=True, eq=False)
class _Group:
    """All classes of one number of shots and one seed: what their gates are learned on.

    `again` says that figures of pixels may stay where the masks are gone.
    """

    grid: Grid
    branches: Mapping[str, CellBranches]
    calibrations: Mapping[str, Calibration]
    gates: Mapping[str, FoundGate]
    stamps: Stamps
    again: bool

    @classmethod
    def read(cls, grid: Grid, cells: Sequence[Cell], pool: ThreadPoolExecutor, *, again: bool) -> _Group:
        """Read raw scores, fit scales and learn gates."""
        branches = {
            cell.class_name: read_cell_branches(grid.directory.branches(cell), cell, grid.plan) for cell in cells
        }
        fitted = pool.map(lambda each: each.calibration(grid.plan.options), branches.values())
        calibrations = dict(zip(branches, fitted, strict=True))
        labels = {name: _labels(grid.classes[name]) for name in branches}
        tested = {name: [record.pixels for record in grid.classes[name].test] for name in branches}
        gates = gates_of_others({name: each.maps for name, each in branches.items()}, calibrations, labels, tested)
        return cls(grid, branches, calibrations, gates, Stamps(grid), again)

    def judge(self, cell: Cell) -> tuple[CellResult, ModeClock]:
        """Compute a cell's figures, and say what those of pixels cost."""
        grid, found, gate = self.grid, self.branches[cell.class_name], self.gates[cell.class_name]
        planned, options = grid.classes[cell.class_name], grid.plan.options
        calibration = replace(self.calibrations[cell.class_name], gate=gate.gate)
        image, pixel, clock = None, None, ModeClock()
        scores: dict[str, tuple[float, ...]] = {}
        stored, masks = self._stored(cell), grid.directory.truth(cell.class_name)
        if "cls" in grid.tasks or (stored and stored.image):
            image, scores = image_figures(found.maps, calibration, _labels(planned), gate.why)
        if "seg" in grid.tasks and (masks.is_file() or not self.again):
            truth = read_truth(masks, planned, options.size_hw)
            pixel, clock = pixel_figures(found.maps, calibration, truth.masks, options, gate.why)
        elif stored and stored.pixel:
            if stored.branches != self.stamps.of(cell):
                raise DataError(
                    f"figures of pixels of {cell.class_name}, {cell.stem}, are of other raw scores than those that are "
                    "there, and are not judged again. Run the grid with --tasks cls,seg."
                )
            pixel = stored.pixel
        result = CellResult(
            format=FORMAT_VERSION,
            plan=grid.plan.sha256,
            branches=self.stamps.of(cell) or "",
            class_name=cell.class_name,
            shots=cell.shots,
            seed=cell.seed,
            kind=found.kind,
            evidence=found.evidence,
            support=choose_support(planned, cell).shots,
            image=image,
            pixel=pixel,
            scores=scores,
            notes=found.notes,
        )
        return result, clock

    def _stored(self, cell: Cell) -> CellResult | None:
        """Read the figures that are there, unless all of them are judged again."""
        path, levels = self.grid.directory.cell(cell), set(self.grid.tasks)
        masks = self.grid.directory.truth(cell.class_name).is_file() or not self.again
        if not path.is_file() or (levels == set(LEVELS) and masks):
            return None
        stored = read_cell(path)
        require_own(stored, cell, self.grid.plan, path)
        return stored


def _labels(planned: PlannedClass) -> Ints:
    return np.array([record.label != GOOD for record in planned.test], np.int64)
