"""The report on two branches as Markdown: tables in the owner's shape, sentences from the tests beside them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from clipfast.anomaly.grid.records import GridResults, Spread, Task
from clipfast.anomaly.modes import MODES
from clipfast.report.branch_approximation import Approximation
from clipfast.report.branch_rows import PREFIXES, BranchRow, WeakShare
from clipfast.report.branch_sentences import (
    approximation_sentence,
    mode_sentences,
    share_sentence,
    sharing_sentences,
    test_sentence,
)
from clipfast.report.branch_tests import BranchTest, Ends, ImageIntervals, ModeTest, TaskFigures
from clipfast.report.tables import markdown_table, number, percent

__all__ = ["BranchFindings", "branch_markdown"]

_LARGEST = 10
_MEANINGS = (
    "All figures are AUROC in per cent unless they say otherwise, computed from each branch's own scores and the "
    "truth; ± is the standard deviation over seeds, [a, b] a 95 % interval. **gap** (branch_gap) is |semantic - "
    "memory|; **gain** (fusion_gain) is the fused figure less that of the better branch. Intervals of one class's "
    "images come from resampling its test images (all seeds and modes on the same resamples); those of means come from "
    "resampling classes, and few classes make them too narrow rather than too wide."
)


@dataclass(frozen=True, slots=True, eq=False)
class BranchFindings:
    """Everything that the report says.

    Attributes:
        results: The grids.
        fused: The mode that stands for the fused figure.
        rows: By grid, task, class and shots.
        shares: Of weaker branches.
        tasks: Images beside pixels.
        tests: Over classes.
        modes: Each mode beside the memory.
        images: Intervals over test images.
        approximations: Cells with the earlier approximation.
        charts: Names of the charts.
    """

    results: Sequence[GridResults]
    fused: str
    rows: Sequence[BranchRow]
    shares: Sequence[WeakShare]
    tasks: Sequence[TaskFigures]
    tests: Sequence[BranchTest]
    modes: Sequence[ModeTest]
    images: Sequence[ImageIntervals]
    approximations: Sequence[Approximation]
    charts: Sequence[str]


def branch_markdown(found: BranchFindings) -> str:
    """Return the report."""
    parts = [_head(found), _findings(found), _tasks(found), _weak(found)]
    parts += [_classes(found, task) for task in ("cls", "seg")]
    parts += [_largest(found), _best(found), _modes(found), _costs(found), _approximation(found), _tests(found)]
    return "\n\n".join(part for part in (*parts, _missing(found)) if part) + "\n"


def _head(found: BranchFindings) -> str:
    lines = [
        f"- {each.dataset} ({each.dataset_format}): {len(each.classes)} classes, shots "
        f"{', '.join(map(str, each.shots))}, seeds {', '.join(map(str, each.seeds))}, {len(each.cells)} detectors; "
        f"model {each.model.name}, {each.model.precision}; pixels: {each.pixels}"
        for each in found.results
    ]
    return "\n".join(["# Branch report", "", *lines, f"- fused: mode `{found.fused}`", "", _MEANINGS])


def _findings(found: BranchFindings) -> str:
    shares = [share_sentence(share) for share in found.shares if share.by == "all"]
    lines = [*shares, *map(test_sentence, found.tests), *mode_sentences(found.modes)]
    if lines:
        lines += [sentence for each in found.results for sentence in sharing_sentences(each.dataset, each.classes)]
    if found.approximations:
        lines.append(approximation_sentence(found.approximations))
    if not lines:
        return "## Findings\n\nNo class has figures of both branches, so nothing can be compared."
    return "## Findings\n\n" + "\n".join(f"- {line}" for line in lines)


def _tasks(found: BranchFindings) -> str:
    if not found.tasks:
        return ""
    weak = {share.task: share for share in found.shares if share.by == "all"}
    rows = []
    for each in found.tasks:
        share = weak[each.task]
        rows.append(
            [
                each.task.upper(), _of(share.semantic_weak, share.rows), _of(share.memory_weak, share.rows),
                _ends(each.semantic), _ends(each.memory), _ends(each.fused), _ends(each.gap), _ends(each.gain),
            ]
        )  # fmt: skip
    headings = ["task", "semantic weak", "memory weak", "semantic", "memory", "fused", "gap", "gain"]
    return f"## Images (CLS) and pixels (SEG)\n\n{markdown_table(headings, rows)}"


def _weak(found: BranchFindings) -> str:
    if not found.shares:
        return ""
    rows = [
        [
            share.task.upper(), share.by, share.group, _of(share.semantic_weak, share.rows),
            _of(share.memory_weak, share.rows), f"{share.classes_semantic_weak}/{share.classes}",
            _hundred(share.semantic), _hundred(share.memory), _hundred(share.gap),
        ]
        for share in found.shares
    ]  # fmt: skip
    headings = ["task", "by", "group", "semantic weak", "memory weak", "classes", "semantic", "memory", "mean gap"]
    table = markdown_table(headings, rows, left=3)
    return f"## Weaker branch by data set, task and kind of class\n\n{table}{_chart(found, 'weak_shares')}"


def _classes(found: BranchFindings, task: Task) -> str:
    mine = [row for row in found.rows if row.task == task]
    if not mine:
        return ""
    key = PREFIXES[task]
    images = {(each.dataset, each.class_name, each.shots): each for each in found.images} if task == "cls" else {}
    rows = []
    for row in mine:
        interval = images.get((row.dataset, row.class_name, row.shots))
        cells = [
            row.dataset, row.class_name, row.kind, row.shots,
            _spread(row.fused, interval, found.fused), _spread(row.semantic, interval, "semantic"),
            _spread(row.memory, interval, "memory"), _hundred(row.branch_gap), _signed(row.fusion_gain),
            row.weaker or "-",
        ]  # fmt: skip
        cells += [_ahead(interval)] if task == "cls" else [_spread(row.aupro)]
        rows.append([*cells, _spread(row.average_precision), _spread(row.f1_max)])
    headings = ["data set", "class", "kind", "shots", key, f"{key}_semantic", f"{key}_memory", "gap", "gain", "weaker"]
    headings += ["memory - semantic" if task == "cls" else "AUPRO", "AP", "max F1"]
    title = "Images by class" if task == "cls" else "Pixels by class"
    return f"## {title}\n\n{markdown_table(headings, rows, left=3)}{_chart(found, f'branches_{task}')}"


def _largest(found: BranchFindings) -> str:
    both = [row for row in found.rows if row.branch_gap is not None]
    shown = sorted(both, key=lambda row: (-(row.branch_gap or 0), row.task, row.class_name, row.shots))[:_LARGEST]
    if not shown:
        return ""
    rows = [
        [
            row.task.upper(), row.dataset, row.class_name, row.kind, row.shots, _spread(row.semantic),
            _spread(row.memory), _hundred(row.branch_gap), row.weaker or "-",
        ]
        for row in shown
    ]  # fmt: skip
    headings = ["task", "data set", "class", "kind", "shots", "semantic", "memory", "gap", "weaker"]
    return f"## The {len(shown)} largest gaps\n\n{markdown_table(headings, rows, left=4)}"


def _best(found: BranchFindings) -> str:
    if not found.rows:
        return ""
    rows = [
        [row.task.upper(), row.dataset, row.class_name, row.shots, row.best_mode, _spread(row.best), _spread(row.fused)]
        for row in found.rows
    ]
    wins = Counter((row.task, row.best_mode) for row in found.rows)
    counted = [f"{task.upper()} {mode} {count}" for (task, mode), count in sorted(wins.items(), key=_most)]
    headings = ["task", "data set", "class", "shots", "best mode", "its AUROC", found.fused]
    note = "Chosen on the test images, so its lead over the others is partly luck; of equal modes the first is named."
    return f"## Best mode by class\n\nWins: {', '.join(counted)}. {note}\n\n{markdown_table(headings, rows, left=3)}"


def _most(item: tuple[tuple[str, str], int]) -> tuple[str, int, str]:
    return item[0][0], -item[1], item[0][1]


def _modes(found: BranchFindings) -> str:
    if not found.modes:
        return ""
    rows = []
    for each in found.modes:
        test = each.test
        rows.append(
            [
                each.task.upper(), each.mode, _hundred(each.auroc), f"{each.wins}/{each.losses}",
                _points(test.difference, test.low, test.high), number(test.p_value), number(test.p_holm),
            ]
        )  # fmt: skip
    headings = ["task", "mode", "mean", "rows above/below memory", "mode - memory", "p", "p (Holm)"]
    charts = "".join(_chart(found, f"modes_{task}") for task in ("cls", "seg"))
    note = (
        "The oracle needs the truth: it bounds what any choice between the branches could reach. It is above the "
        "memory by construction, so it is no hypothesis and stands outside of Holm's family."
    )
    return f"## Modes beside the memory alone\n\n{note}\n\n{markdown_table(headings, rows, left=2)}{charts}"


def _costs(found: BranchFindings) -> str:
    if not found.rows:
        return ""
    rows = []
    for name, mode in MODES.items():
        stands = mode.combine is None
        text = "where it resolves to one that does" if stands else ("yes" if mode.text else "no")
        needs = [
            "scales of the support" if mode.calibrated else "",
            "a gate of other classes" if name == "learned_gate" else "",
            "the truth" if mode.truth else "",
        ]
        rows.append([name, text, ", ".join(filter(None, needs)) or "-", mode.line])
    note = (
        "Measured seconds are in `branch_cost.md`, beside this file where the grid kept its timings: they change from "
        "run to run, and nothing in here does. A detector runs both branches, for comparison, unless its mode is "
        "memory_only."
    )
    return f"## What a mode costs\n\n{note}\n\n{markdown_table(['mode', 'text branch', 'needs', 'what'], rows, left=4)}"


def _approximation(found: BranchFindings) -> str:
    if not found.approximations:
        return ""
    worst = sorted(found.approximations, key=lambda each: (-each.error, each.class_name, each.shots, each.seed))
    rows = [
        [
            each.task.upper(), each.dataset, each.class_name, each.shots, each.seed, _hundred(each.semantic),
            _hundred(each.semantic_approximate), _hundred(each.memory), _hundred(each.memory_approximate),
            _hundred(each.error),
        ]
        for each in worst[:_LARGEST]
    ]  # fmt: skip
    headings = ["task", "data set", "class", "shots", "seed", "semantic", "approx.", "memory", "approx.", "error"]
    note = (
        "`approximate_branch_aurocs`: AUROC of mode max x mean of the branch's raw scores / the larger of both means. "
        f"{approximation_sentence(found.approximations)} The ten worst cells:"
    )
    return f"## The earlier approximation beside the exact values\n\n{note}\n\n{markdown_table(headings, rows, left=3)}"


def _tests(found: BranchFindings) -> str:
    if not found.tests:
        return ""
    rows = [
        [
            test.name, test.classes, _hundred(test.first_mean), _hundred(test.second_mean),
            _points(test.difference, test.low, test.high), number(test.p_value), number(test.p_holm),
        ]
        for test in found.tests
    ]  # fmt: skip
    headings = ["test", "classes", "first", "second", "difference", "p", "p (Holm)"]
    note = "Over classes, each the mean over shots and seeds; p by permuting signs, exact up to 16 classes."
    return f"## Tests\n\n{note}\n\n{markdown_table(headings, rows)}"


def _missing(found: BranchFindings) -> str:
    lines = sorted({line for each in found.results for line in _reasons(each)})
    return "## What is missing\n\n" + "\n".join(f"- {line}" for line in lines) if lines else ""


def _reasons(results: GridResults) -> Iterable[str]:
    for cell in results.cells:
        for level in (cell.image, cell.pixel):
            if level is not None and level.undefined:
                yield f"{results.dataset} {cell.class_name}: {level.undefined}"
            if level is not None:
                yield from (
                    f"{results.dataset} {cell.class_name}, {mode}: {why}" for mode, why in level.omitted.items()
                )
    for each in results.classes:
        if each.empty_masks:
            yield f"{results.dataset} {each.name}: {each.empty_masks} damaged images whose mask holds nothing"
        if each.lost_masks:
            thin = (
                f"{each.lost_masks} damaged images whose mask is too thin for the size of maps, and lost; raise --size"
            )
            yield f"{results.dataset} {each.name}: {thin}"


def _chart(found: BranchFindings, name: str) -> str:
    return f"\n\n![{name}]({name}.svg)" if name in found.charts else ""


def _spread(spread: Spread | None, interval: ImageIntervals | None = None, mode: str = "") -> str:
    if spread is None:
        return "-"
    shown = _hundred(spread.mean) + ("" if spread.std is None else f" ± {100 * spread.std:z.1f}")
    if interval is not None and mode in interval.modes:
        _, low, high = interval.modes[mode]
        shown += f" [{_hundred(low)}, {_hundred(high)}]"
    return shown


def _ahead(interval: ImageIntervals | None) -> str:
    return "-" if interval is None or interval.ahead is None else _points(*interval.ahead[:3])


def _ends(ends: Ends) -> str:
    value, low, high = ends
    return _hundred(value) if low is None or high is None else f"{_hundred(value)} [{_hundred(low)}, {_hundred(high)}]"


def _points(value: float, low: float | None, high: float | None) -> str:
    return _signed(value) if low is None or high is None else f"{_signed(value)} [{_signed(low)}, {_signed(high)}]"


def _hundred(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:z.1f}"


def _signed(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:+z.1f}"


def _of(count: int, rows: int) -> str:
    return f"{count}/{rows} ({percent(count / rows)})"
