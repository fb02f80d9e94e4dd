"""Rows of a report on two branches: one a class, number of shots and task, over seeds, from exact figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from clipfast.anomaly.grid.records import LEVELS, CellResult, GridResults, Spread, SummaryRow, Task
from clipfast.anomaly.modes import MODES

__all__ = ["PREFIXES", "BranchRow", "WeakShare", "Weaker", "branch_rows", "judging_modes", "weak_shares"]

Weaker = Literal["semantic", "memory", "neither"]
_ROUNDING = 1e-12
PREFIXES: dict[Task, str] = {"cls": "i_roc", "seg": "p_roc"}
"""How the owner's tables call an AUROC of images and of pixels."""


@dataclass(frozen=True, slots=True)
class BranchRow:
    """One class, number of shots and task; figures are shares in [0, 1], mean and deviation over seeds.

    Attributes:
        dataset: Of the grid.
        class_name: As the data set calls it.
        kind: Of the class, given or estimated; that of most seeds.
        shots: Number of references.
        task: "cls" judges images, "seg" pixels.
        fused: AUROC of the mode that is reported on.
        semantic: AUROC of the text branch; None where it did not run.
        memory: AUROC of the memory.
        average_precision: Of the fused scores, as the following two.
        f1_max: Best F1.
        aupro: Of pixels; None for images.
        best_mode: With the highest AUROC, of those that need no truth; of equal ones the first of `MODES`.
        best: Its AUROC.
    """

    dataset: str
    class_name: str
    kind: str
    shots: int
    task: Task
    fused: Spread
    semantic: Spread | None
    memory: Spread
    average_precision: Spread
    f1_max: Spread
    aupro: Spread | None
    best_mode: str
    best: Spread

    @property
    def branch_gap(self) -> float | None:
        """How far apart the branches are, |semantic - memory|."""
        return None if self.semantic is None else abs(self.semantic.mean - self.memory.mean)

    @property
    def fusion_gain(self) -> float | None:
        """What fusing gains over the better branch; negative where that branch alone is better."""
        return None if self.semantic is None else self.fused.mean - max(self.semantic.mean, self.memory.mean)

    @property
    def weaker(self) -> Weaker | None:
        """The branch with the lower AUROC."""
        if self.semantic is None:
            return None
        ahead = self.memory.mean - self.semantic.mean
        if abs(ahead) <= _ROUNDING:
            return "neither"
        return "semantic" if ahead > 0 else "memory"

    def owner_keys(self) -> dict[str, float | None]:
        """Return the figures under the owner's keys, in per cent."""
        key = PREFIXES[self.task]
        gap = self.branch_gap
        return {
            key: 100 * self.fused.mean,
            f"{key}_semantic": None if self.semantic is None else 100 * self.semantic.mean,
            f"{key}_memory": 100 * self.memory.mean,
            "gap": None if gap is None else 100 * gap,
        }


@dataclass(frozen=True, slots=True)
class WeakShare:
    """How often the text branch is the weaker one.

    Attributes:
        task: Of the rows.
        by: What they were grouped by: "all", "dataset" or "kind".
        group: Which group.
        rows: How many rows have both branches.
        semantic_weak: Rows whose text branch is the weaker one.
        memory_weak: Rows whose memory is.
        classes: How many classes.
        classes_semantic_weak: Classes whose text branch is weaker in the mean over shots: rows of one class are judged
            on the same images and do not count as independent.
        semantic: Mean AUROC of the text branch.
        memory: Mean AUROC of the memory.
        gap: Mean `branch_gap`.
    """

    task: Task
    by: str
    group: str
    rows: int
    semantic_weak: int
    memory_weak: int
    classes: int
    classes_semantic_weak: int
    semantic: float
    memory: float
    gap: float


def judging_modes() -> list[str]:
    """Return the modes that compute by themselves and need no truth, each once."""
    return [
        name for name, mode in MODES.items() if mode.combine is not None and not mode.truth and name != "memory_only"
    ]


def branch_rows(results: GridResults, fused: str) -> list[BranchRow]:
    """Return a row for each class, number of shots and task whose figures exist, in that order."""
    by_key: dict[tuple[str, int, str], dict[str, SummaryRow]] = {}
    for row in results.summary:
        if row.class_name is not None:
            by_key.setdefault((row.class_name, row.shots, row.level), {})[row.mode] = row
    rows = []
    for task, level in LEVELS.items():
        for each in results.classes:
            for shots in results.shots:
                modes = by_key.get((each.name, shots, level), {})
                if fused in modes and "memory" in modes:
                    kind = _kind(results.select(class_name=each.name, shots=shots))
                    rows.append(_row((results.dataset, each.name, kind, shots, task), modes, fused))
    return rows


def weak_shares(rows: Iterable[BranchRow]) -> list[WeakShare]:
    """Count weaker branches by task: of all rows, by data set, and by kind of class."""
    both = [row for row in rows if row.semantic is not None]
    shares = []
    ways: dict[str, Callable[[BranchRow], str]] = {
        "all": lambda _: "all",
        "dataset": lambda row: row.dataset,
        "kind": lambda row: row.kind,
    }
    for task in LEVELS:
        for by, group_of in ways.items():
            groups: dict[str, list[BranchRow]] = {}
            for row in both:
                if row.task == task:
                    groups.setdefault(group_of(row), []).append(row)
            shares += [_share(task, by, group, groups[group]) for group in sorted(groups)]
    return shares


def _row(head: tuple[str, str, str, int, Task], modes: dict[str, SummaryRow], fused: str) -> BranchRow:
    dataset, class_name, kind, shots, task = head
    chosen = modes[fused].figures
    best = max((name for name in judging_modes() if name in modes), key=lambda name: modes[name].figures["auroc"].mean)
    semantic = modes.get("semantic")
    return BranchRow(
        dataset,
        class_name,
        kind,
        shots,
        task,
        chosen["auroc"],
        None if semantic is None else semantic.figures["auroc"],
        modes["memory"].figures["auroc"],
        chosen["average_precision"],
        chosen["f1_max"],
        chosen.get("aupro"),
        best,
        modes[best].figures["auroc"],
    )


def _share(task: Task, by: str, group: str, rows: Sequence[BranchRow]) -> WeakShare:
    ahead: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        semantic = row.semantic or row.memory
        ahead.setdefault((row.dataset, row.class_name), []).append(row.memory.mean - semantic.mean)
    texts = [row.semantic.mean for row in rows if row.semantic is not None]
    return WeakShare(
        task,
        by,
        group,
        len(rows),
        sum(row.weaker == "semantic" for row in rows),
        sum(row.weaker == "memory" for row in rows),
        len(ahead),
        sum(sum(each) / len(each) > _ROUNDING for each in ahead.values()),
        sum(texts) / len(texts),
        sum(row.memory.mean for row in rows) / len(rows),
        sum(row.branch_gap or 0.0 for row in rows) / len(rows),
    )


def _kind(cells: Sequence[CellResult]) -> str:
    """The kind that most seeds say; of equally many the first by name."""
    counts = Counter(cell.kind for cell in cells)
    return min(counts, key=lambda kind: (-counts[kind], kind))
