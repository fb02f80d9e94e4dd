"""How far off the earlier approximation of branch AUROCs was, beside the exact values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clipfast.anomaly.grid.branches import read_cell_branches
from clipfast.anomaly.grid.directory import GridDirectory
from clipfast.anomaly.grid.plan import Cell
from clipfast.anomaly.grid.records import LEVELS, CellResult, GridResults, LevelResult, Task
from clipfast.anomaly.owner_metrics import approximate_branch_aurocs

__all__ = ["Approximation", "approximations"]


@dataclass(frozen=True, slots=True)
class Approximation:
    """One cell: exact AUROCs of both branches, and `approximate_branch_aurocs` of the same scores.

    Attributes:
        dataset: Of the grid.
        class_name: Of the class.
        shots: Number of references.
        seed: That chose them.
        task: Of images or pixels.
        semantic: Exact.
        memory: Exact.
        semantic_approximate: From the means of raw scores.
        memory_approximate: The same.
    """

    dataset: str
    class_name: str
    shots: int
    seed: int
    task: Task
    semantic: float
    memory: float
    semantic_approximate: float
    memory_approximate: float

    @property
    def error(self) -> float:
        """The larger of both errors."""
        return max(abs(self.semantic_approximate - self.semantic), abs(self.memory_approximate - self.memory))

    @property
    def names_the_other(self) -> bool:
        """Whether it calls the branch weaker that is the stronger one."""
        return (self.semantic - self.memory) * (self.semantic_approximate - self.memory_approximate) < 0


def approximations(results: GridResults, directory: Path) -> list[Approximation]:
    """Return the approximation of every cell: of images from their scores, of pixels where maps were kept.

    Args:
        results: The grid.
        directory: Of this grid, where its branch maps are; where they are not, pixels are left out.

    Raises:
        ArtifactError: Maps are there and damaged.
    """
    found = []
    for cell in results.cells:
        for task, level in LEVELS.items():
            figures = cell.level(level)
            if figures is None or figures.semantic is None or figures.memory is None or "max" not in figures.modes:
                continue
            means = _image_means(cell) if task == "cls" else _pixel_means(results, cell, directory)
            if means is not None:
                found.append(_approximated((results.dataset, cell, task), figures, means))
    return found


def _approximated(
    head: tuple[str, CellResult, Task], figures: LevelResult, means: tuple[float, float]
) -> Approximation:
    dataset, cell, task = head
    exact = tuple(figures.modes[mode].auroc for mode in ("semantic", "memory"))
    guessed = approximate_branch_aurocs(figures.modes["max"].auroc, *means)
    return Approximation(dataset, cell.class_name, cell.shots, cell.seed, task, exact[0], exact[1], *guessed)


def _image_means(cell: CellResult) -> tuple[float, float] | None:
    return _usable(cell.scores[mode] for mode in ("semantic", "memory") if mode in cell.scores)


def _pixel_means(results: GridResults, cell: CellResult, directory: Path) -> tuple[float, float] | None:
    """Means of the raw maps on the patch grid; scaling them up hardly moves a mean."""
    place = GridDirectory(directory)
    named = Cell(cell.class_name, cell.shots, cell.seed)
    if not place.plan_path.is_file() or not place.branches(named).is_file():
        return None
    plan = place.read_plan()
    if plan.sha256 != results.plan:
        return None
    maps = read_cell_branches(place.branches(named), named, plan).maps
    return None if maps.semantic is None else _usable((maps.semantic.pixel, maps.memory.pixel))


def _usable(scores: Iterable[object]) -> tuple[float, float] | None:
    means = [float(np.mean(np.asarray(each, np.float64))) for each in scores]
    return (means[0], means[1]) if len(means) == 2 and max(means) > 0 else None
