"""Charts of a report on two branches, as SVG files that need nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as ET  # elements are built here, nothing is parsed

from clipfast.anomaly.grid.records import Task
from clipfast.report.branch_rows import BranchRow, WeakShare
from clipfast.report.branch_tests import ModeTest
from clipfast.report.svg import dumbbell_chart, save_svg, share_chart

__all__ = ["write_charts"]

_TASKS: tuple[Task, ...] = ("cls", "seg")


def write_charts(
    folder: Path, rows: Sequence[BranchRow], shares: Sequence[WeakShare], modes: Sequence[ModeTest]
) -> list[Path]:
    """Write both branches by class, weak-branch shares, and modes beside the memory; return what was written."""
    charts: dict[str, ET.Element] = {}
    for task in _TASKS:
        both = [row for row in rows if row.task == task and row.semantic is not None]
        if both:
            charts[f"branches_{task}"] = _branches(both)
        beside = [each for each in modes if each.task == task]
        if beside:
            charts[f"modes_{task}"] = _modes(beside)
    if shares:
        charts["weak_shares"] = _shares(shares)
    written = []
    for name, chart in charts.items():
        save_svg(folder / f"{name}.svg", chart)
        written.append(folder / f"{name}.svg")
    return written


def _branches(rows: Sequence[BranchRow]) -> ET.Element:
    """Of the largest number of shots, the widest gap first; classes of several data sets under their name."""
    shots = max(row.shots for row in rows)
    mine = [row for row in rows if row.shots == shots]
    shown = sorted(mine, key=lambda row: (-(row.branch_gap or 0), row.class_name))
    several = len({row.dataset for row in shown}) > 1
    names = [f"{row.dataset} {row.class_name}" if several else row.class_name for row in shown]
    points = [((row.semantic or row.memory).mean, row.memory.mean, row.fused.mean) for row in shown]
    title = f"AUROC of {_what(rows[0].task)}, {shots} {'shot' if shots == 1 else 'shots'}"
    return dumbbell_chart(names, points, ("text branch", "memory", "fused"), title)


def _modes(tests: Sequence[ModeTest]) -> ET.Element:
    """Each mode's mean beside the memory's."""
    names = [each.mode for each in tests]
    points = [(each.test.first_mean, each.test.second_mean) for each in tests]
    return dumbbell_chart(names, points, ("mode", "memory alone"), f"mean AUROC of {_what(tests[0].task)}")


def _what(task: Task) -> str:
    return "images" if task == "cls" else "pixels"


def _shares(shares: Sequence[WeakShare]) -> ET.Element:
    names, parts = [], []
    for share in shares:
        label = share.task.upper() if share.by == "all" else f"{share.task.upper()} {share.by} {share.group}"
        names.append(label)
        equal = share.rows - share.semantic_weak - share.memory_weak
        parts.append((share.semantic_weak, share.memory_weak, equal))
    return share_chart(names, parts, ("text branch weaker", "memory weaker", "equal"))
