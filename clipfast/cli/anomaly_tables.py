"""Tables of a grid for the terminal."""

from __future__ import annotations

from rich.table import Table

from clipfast.anomaly.grid.records import LEVELS, GridResults, Spread, SummaryRow, Task
from clipfast.anomaly.modes import MODES

__all__ = ["class_table", "mode_table"]

_SHOWN = {"auroc": "AUROC", "average_precision": "AP", "f1_max": "max F1", "aupro": "AUPRO"}
_MODES = ("semantic", "memory", "harmonic", "auto")


def mode_table(results: GridResults, task: Task) -> Table:
    """Every mode: mean over classes, mean and deviation over seeds, in percent."""
    level = LEVELS[task]
    table = Table(title=f"{task.upper()}: mean over classes, {level}s, %")
    table.add_column("shots", justify="right", no_wrap=True, min_width=5)
    table.add_column("mode", no_wrap=True)
    figures = [figure for figure in _SHOWN if figure != "aupro" or level == "pixel"]
    for figure in figures:
        table.add_column(_SHOWN[figure], justify="right", no_wrap=True)
    rows = [row for row in results.summary if row.class_name is None and row.level == level]
    for number, row in enumerate(rows):
        if number and rows[number - 1].shots != row.shots:
            table.add_section()
        table.add_row(str(row.shots), row.mode, *(_percent(row.figures.get(figure)) for figure in figures))
    return table


def class_table(results: GridResults, task: Task) -> Table:
    """AUROC of both branches, one fusion and the default, by class, of the largest number of shots, in percent."""
    level, shots = LEVELS[task], max(results.shots, default=0)
    table = Table(title=f"{task.upper()}: AUROC by class at {shots} shots, %")
    table.add_column("class", no_wrap=True)
    for mode in (*_MODES, "best, in hindsight"):
        table.add_column(mode, justify="right", no_wrap=True)
    for each in results.classes:
        rows = {
            row.mode: row
            for row in results.summary
            if (row.class_name, row.shots, row.level) == (each.name, shots, level)
        }
        if rows:
            cells = [_percent(rows[mode].figures.get("auroc")) if mode in rows else "-" for mode in _MODES]
            table.add_row(each.name, *cells, _best(rows))
    return table


def _best(rows: dict[str, SummaryRow]) -> str:
    """The mode with the highest AUROC of those that need no truth; of equal ones the first of `MODES`."""
    named = [mode for mode in MODES if mode in rows and not MODES[mode].truth and MODES[mode].combine is not None]
    return max(named, key=lambda mode: rows[mode].figures["auroc"].mean, default="-")


def _percent(spread: Spread | None) -> str:
    if spread is None:
        return "-"
    return f"{100 * spread.mean:z.1f}" + ("" if spread.std is None else f"±{100 * spread.std:.1f}")
