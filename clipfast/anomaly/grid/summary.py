"""Figures of a grid over its seeds."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, stdev

from clipfast.anomaly.grid.records import LEVELS, CellResult, ModeFigures, Spread, SummaryRow
from clipfast.anomaly.modes import MODES, Level

__all__ = ["FIGURES", "summarise"]

FIGURES = ("auroc", "average_precision", "aupr", "f1_max", "aupro")
"""What is averaged; a threshold is not."""


def summarise(cells: Sequence[CellResult]) -> tuple[SummaryRow, ...]:
    """Return mean and sample deviation over seeds, by class, shots, level and mode, and of the mean over classes.

    The mean over classes is taken of those classes that have the figure for every seed that any class has.
    """
    rows = []
    shots = sorted({cell.shots for cell in cells})
    names = sorted({cell.class_name for cell in cells})
    for level in LEVELS.values():
        for k in shots:
            for mode in MODES:
                found = {name: _figures(cells, name, k, level, mode) for name in names}
                seeds = sorted({seed for each in found.values() for seed in each})
                whole = [[each[seed] for seed in seeds] for each in found.values() if seeds and set(each) == set(seeds)]
                groups = [*((name, [list(found[name].values())]) for name in names), (None, whole)]
                rows += [
                    SummaryRow(class_name=name, shots=k, level=level, mode=mode, figures=spreads)
                    for name, group in groups
                    if (spreads := _spreads(group))
                ]
    return tuple(rows)


def _figures(cells: Sequence[CellResult], name: str, shots: int, level: Level, mode: str) -> dict[int, ModeFigures]:
    """By seed."""
    found = {}
    for cell in cells:
        result = cell.level(level)
        if cell.class_name == name and cell.shots == shots and result is not None and mode in result.modes:
            found[cell.seed] = result.modes[mode]
    return found


def _spreads(classes: list[list[ModeFigures]]) -> dict[str, Spread]:
    """Of the mean over classes, each with a figure for every seed in the same order."""
    if not classes or not classes[0]:
        return {}
    spreads = {}
    for figure in FIGURES:
        values = [[getattr(each, figure) for each in seeds] for seeds in classes]
        if any(value is None for seeds in values for value in seeds):
            continue
        means = [fmean(column) for column in zip(*values, strict=True)]
        spreads[figure] = Spread(fmean(means), stdev(means) if len(means) > 1 else None, len(means))
    return spreads
