"""What a directory of a grid holds, run by run.

Which have figures of both branches, which can be computed again from kept maps, and which must be fitted and encoded
again.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from clipfast.anomaly.grid.branches import read_cell_branches
from clipfast.anomaly.grid.directory import GridDirectory
from clipfast.anomaly.grid.encode import require_own
from clipfast.anomaly.grid.plan import Cell, GridPlan
from clipfast.anomaly.grid.records import LEVELS, RESULTS_NAME, CellResult, Task, read_cell
from clipfast.anomaly.grid.truth import read_truth
from clipfast.errors import ArtifactError

__all__ = ["GridState", "RunState", "TaskState", "inspect_grid"]

Next = Literal["nothing", "recompute", "run"]


class RunState(msgspec.Struct, frozen=True, kw_only=True):
    """One task of one cell.

    Attributes:
        task: "cls" or "seg".
        class_name: Of the cell.
        shots: Of the cell.
        seed: Of the cell.
        branches: Whether there are figures of both branches.
        undefined: Why no figure exists, such as no damaged test image; else None.
        maps: Whether they can be computed again from kept maps.
        next: What it takes to have figures: nothing, `anomaly recompute`, or the grid again.
    """

    task: Task
    class_name: str
    shots: int
    seed: int
    branches: bool
    undefined: str | None
    maps: bool
    next: Next


class TaskState(msgspec.Struct, frozen=True, kw_only=True):
    """All runs of one task.

    Attributes:
        total: Cells of the directory, each of which may be judged by this task.
        asked: Whether anything was done for the task: figures, or masks for pixels.
        branches: Those with figures of both branches.
        alone: Those with figures of the memory alone, of a model without texts.
        undefined: Those that were judged, and of which no figure exists.
        maps: Those that can be computed again.
        run: Those that have no figures and must run again.
    """

    total: int
    asked: bool
    branches: int
    alone: int
    undefined: int
    maps: int
    run: int

    def line(self, task: Task) -> str:
        """One line for people."""
        parts = [f"{task.upper()} {self.branches}/{self.total} with figures of both branches"]
        if self.alone:
            parts.append(f"{self.alone} of the memory alone")
        if self.undefined:
            parts.append(f"{self.undefined} judged without any figure (undefined)")
        parts.append(f"{self.maps}/{self.total} can be computed again from kept maps")
        parts.append(f"{self.run} must run again" if self.asked else f"{self.run} were not asked for so far")
        return ", ".join(parts)


class GridState(msgspec.Struct, frozen=True, kw_only=True):
    """What a directory holds.

    Attributes:
        tasks: By task.
        runs: By task, class, shots and seed.
        results: Whether grid_results.json is there.
        problems: Files that cannot be used, and why.
    """

    tasks: dict[Task, TaskState]
    runs: tuple[RunState, ...]
    results: bool
    problems: tuple[str, ...]


def inspect_grid(directory: Path) -> GridState:
    """Read every file of a grid and say what it is good for; nothing is changed.

    Raises:
        ArtifactError: No grid is there, or its plan cannot be read.
    """
    place = GridDirectory(directory)
    plan = place.read_plan()
    problems: list[str] = []
    cells = list(place.found_cells())
    results = {cell: _result(place, plan, cell, problems) for cell in cells}
    kept = {cell for cell in cells if _has_maps(place, plan, cell, problems)}
    masked = {each.name for each in plan.classes if _has_truth(place, plan, each.name, problems)}
    runs = tuple(_runs(plan, results, kept, masked))
    tasks = {}
    for task in LEVELS:
        own = [run for run in runs if run.task == task]
        judged = [run for run in own if run.next == "nothing"]
        tasks[task] = TaskState(
            total=len(own),
            asked=bool(judged or (task == "seg" and masked)) or not any(run.next == "nothing" for run in runs),
            branches=sum(run.branches for run in own),
            alone=sum(not run.branches and run.undefined is None for run in judged),
            undefined=sum(run.undefined is not None for run in judged),
            maps=sum(run.maps for run in own),
            run=sum(run.next == "run" for run in own),
        )
    return GridState(tasks=tasks, runs=runs, results=(directory / RESULTS_NAME).is_file(), problems=tuple(problems))


def _runs(
    plan: GridPlan, results: dict[Cell, CellResult | None], kept: set[Cell], masked: set[str]
) -> Iterator[RunState]:
    for task, level in LEVELS.items():
        for cell, result in results.items():
            found = None if result is None else result.level(level)
            whole = all(Cell(each.name, cell.shots, cell.seed) in kept for each in plan.classes)
            maps = whole and (cell.class_name in masked or task == "cls")
            # Figures without the text branch are all that a model without texts gives: nothing would come of it.
            after: Next = "nothing" if found is not None else "recompute" if maps else "run"
            yield RunState(
                task=task,
                class_name=cell.class_name,
                shots=cell.shots,
                seed=cell.seed,
                branches=found is not None and "semantic" in found.modes,
                undefined=None if found is None else found.undefined,
                maps=maps,
                next=after,
            )


def _result(place: GridDirectory, plan: GridPlan, cell: Cell, problems: list[str]) -> CellResult | None:
    path = place.cell(cell)
    if not path.is_file():
        return None
    try:
        result = read_cell(path)
        require_own(result, cell, plan, path)
    except ArtifactError as error:
        problems.append(str(error))
        return None
    return result


def _has_maps(place: GridDirectory, plan: GridPlan, cell: Cell, problems: list[str]) -> bool:
    path = place.branches(cell)
    if not path.is_file():
        return False
    try:
        read_cell_branches(path, cell, plan)
    except ArtifactError as error:
        problems.append(str(error))
        return False
    return True


def _has_truth(place: GridDirectory, plan: GridPlan, name: str, problems: list[str]) -> bool:
    path = place.truth(name)
    planned = next(each for each in plan.classes if each.name == name)
    if not path.is_file():
        return False
    try:
        read_truth(path, planned, plan.options.size_hw)
    except ArtifactError as error:
        problems.append(str(error))
        return False
    return True
