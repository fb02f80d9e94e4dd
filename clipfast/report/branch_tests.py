"""Tests of a report on two branches: what differs, by how much, and whether it could be chance.

Two kinds of units. Intervals of one class's images come from resampling its test images, classes kept in number, all
modes and seeds on the same resamples. Statements about classes in general come from the classes: the mean over shots
and seeds is one value a class, differences are resampled by class, and signs are permuted for the p-value. Within a
family of tests p-values are adjusted after Holm.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from clipfast.anomaly.grid.records import LEVELS, ClassRecord, GridResults, Task
from clipfast.anomaly.modes import MODES
from clipfast.datasets.inspection import GOOD
from clipfast.errors import UndefinedMetricError
from clipfast.metrics import holm_adjusted
from clipfast.metrics.auroc_draws import AurocDraws, LabelWeights
from clipfast.metrics.intervals import BootstrapOptions, bootstrap_interval
from clipfast.metrics.paired import difference_of_draws, permutation_test
from clipfast.report.branch_rows import BranchRow, judging_modes

__all__ = [
    "BranchTest",
    "Ends",
    "ImageIntervals",
    "ModeTest",
    "TaskFigures",
    "class_tests",
    "image_intervals",
    "mode_tests",
    "task_figures",
]

Ends = tuple[float, float | None, float | None]
"""A figure with the ends of its 95 % interval; without them where there are too few units."""

_ROUNDING = 1e-12  # means of the same figures in another order
_OPTIONS = BootstrapOptions(method="percentile", resamples=2000)


@dataclass(frozen=True, slots=True)
class BranchTest:
    """A difference of two figures over classes.

    Attributes:
        name: What is compared, a key such as "memory - semantic, seg".
        first: What the first figure is, for a sentence.
        second: What the second is.
        first_mean: Mean over classes.
        second_mean: Mean over classes.
        difference: First less second.
        low: Lower end of its interval over classes; None for fewer than two classes.
        high: Upper end.
        p_value: Of the permutation test; None for fewer than two classes.
        p_holm: Adjusted over the tests of its family in which anything differs: the comparisons of branches, or the
            modes beside the memory without the oracle. 1 where nothing differs, None without a p-value and of the
            oracle.
        classes: How many.
        differing: In how many of them the two figures differ.
        least: The smallest adjusted p-value that so many classes and tests allow, were all signs to agree; None where
            nothing differs or is tested.
    """

    name: str
    first: str
    second: str
    first_mean: float
    second_mean: float
    difference: float
    low: float | None
    high: float | None
    p_value: float | None
    p_holm: float | None
    classes: int
    differing: int
    least: float | None


@dataclass(frozen=True, slots=True)
class TaskFigures:
    """One task over classes, each the mean over its shots and seeds, with intervals over classes.

    Attributes:
        task: Of images or pixels.
        classes: How many.
        semantic: AUROC of the text branch.
        memory: AUROC of the memory.
        fused: AUROC of the mode that is reported on.
        gap: `BranchRow.branch_gap`.
        gain: `BranchRow.fusion_gain`.
    """

    task: Task
    classes: int
    semantic: Ends
    memory: Ends
    fused: Ends
    gap: Ends
    gain: Ends


@dataclass(frozen=True, slots=True)
class ImageIntervals:
    """Image AUROCs of a class and number of shots, mean over seeds, with 95 % intervals over test images.

    Attributes:
        dataset: Of the grid.
        class_name: Of the class.
        shots: Number of references.
        modes: By mode: figure, lower and upper end.
        ahead: Memory less semantic: figure, ends and p-value; None where the text branch did not run.
    """

    dataset: str
    class_name: str
    shots: int
    modes: dict[str, tuple[float, float, float]]
    ahead: tuple[float, float, float, float] | None


@dataclass(frozen=True, slots=True)
class ModeTest:
    """A mode beside the memory alone, over classes and shots, mean over seeds.

    Attributes:
        task: Of images or pixels.
        mode: A key of `MODES`.
        auroc: Mean over rows.
        wins: Rows in which it is above the memory.
        losses: Rows in which it is below.
        test: Mode less memory, over classes.
    """

    task: Task
    mode: str
    auroc: float
    wins: int
    losses: int
    test: BranchTest


def class_tests(rows: Sequence[BranchRow], fused: str, *, seed: int) -> list[BranchTest]:
    """Compare branches, fusion and tasks over classes, and adjust the p-values together."""
    both = [row for row in rows if row.semantic is not None]
    tests: list[BranchTest] = []
    gaps: dict[str, dict[tuple[str, str], float]] = {}
    for task in LEVELS:
        mine = [row for row in both if row.task == task]
        if not mine:
            continue
        what = "images" if task == "cls" else "pixels"
        memory = _by_class(mine, [row.memory.mean for row in mine])
        semantic = _by_class(mine, [row.semantic.mean for row in mine if row.semantic is not None])
        chosen = _by_class(mine, [row.fused.mean for row in mine])
        better = _by_class(mine, [row.fused.mean - (row.fusion_gain or 0.0) for row in mine])
        gaps[task] = _by_class(mine, [row.branch_gap or 0.0 for row in mine])
        words = f"the AUROC of {what} by the"
        tests += [
            _tested((f"memory - semantic, {task}", f"{words} memory", "that by texts"), memory, semantic, seed),
            _tested((f"{fused} - memory, {task}", f"{words} mode {fused}", "that by the memory"), chosen, memory, seed),
            _tested(
                (f"{fused} - better branch, {task}", f"{words} mode {fused}", "that by the better branch"),
                chosen, better, seed,
            ),
        ]  # fmt: skip
    if len(gaps) == 2 and set(gaps["seg"]) & set(gaps["cls"]):
        shared = sorted(set(gaps["seg"]) & set(gaps["cls"]))
        parts = [{key: gaps[task][key] for key in shared} for task in ("seg", "cls")]
        names = ("gap, seg - cls", "the gap between the branches on pixels", "that on images")
        tests.append(_tested(names, parts[0], parts[1], seed))
    return _with_holm(tests)


def task_figures(rows: Sequence[BranchRow], *, seed: int) -> list[TaskFigures]:
    """Return the table of images beside pixels, of rows that have both branches."""
    found = []
    for task in LEVELS:
        mine = [row for row in rows if row.task == task and row.semantic is not None]
        if not mine:
            continue
        columns = (
            [row.semantic.mean for row in mine if row.semantic is not None],
            [row.memory.mean for row in mine],
            [row.fused.mean for row in mine],
            [row.branch_gap or 0.0 for row in mine],
            [row.fusion_gain or 0.0 for row in mine],
        )
        by_class = [_by_class(mine, column) for column in columns]
        ends = [_ends(list(each.values()), seed) for each in by_class]
        found.append(TaskFigures(task, len(by_class[0]), *ends))
    return found


def mode_tests(results: Iterable[GridResults], *, seed: int) -> list[ModeTest]:
    """Compare every mode that needs no truth, and the oracle's bound, with the memory alone."""
    found: dict[tuple[Task, str], dict[tuple[str, str, int], float]] = {}
    for each in results:
        for row in each.summary:
            if row.class_name is not None:
                task: Task = "cls" if row.level == "image" else "seg"
                key = (each.dataset, row.class_name, row.shots)
                found.setdefault((task, row.mode), {})[key] = row.figures["auroc"].mean
    tests = []
    for task in LEVELS:
        memory = found.get((task, "memory"), {})
        for mode in (*judging_modes(), "auto", "routed", "oracle"):
            mine = found.get((task, mode), {})
            shared = [key for key in mine if key in memory]
            if mode == "memory" or not shared:
                continue
            values = [_means({key: each[key] for key in shared}) for each in (mine, memory)]
            names = (f"{mode} - memory, {task}", f"mode {mode}", "the memory")
            ahead = [mine[key] - memory[key] for key in shared]
            tests.append(
                ModeTest(
                    task,
                    mode,
                    float(np.mean([mine[key] for key in shared])),
                    sum(each > _ROUNDING for each in ahead),
                    sum(each < -_ROUNDING for each in ahead),
                    _tested(names, values[0], values[1], seed),
                )
            )
    # The oracle is above both branches by construction: that is no hypothesis, and the others need not pay for it.
    adjusted = iter(_with_holm([each.test for each in tests if not MODES[each.mode].truth]))
    return [each if MODES[each.mode].truth else replace(each, test=next(adjusted)) for each in tests]


def image_intervals(results: GridResults, modes: Sequence[str], *, seed: int) -> list[ImageIntervals]:
    """Return intervals of image AUROCs by class and shots, over test images; classes without AUROC are left out."""
    found = []
    for number, each in enumerate(results.classes):
        try:
            weights = LabelWeights.of(_labels(each), seed=seed + number, resamples=_OPTIONS.resamples)
        except UndefinedMetricError:
            continue  # the grid says why
        for shots in results.shots:
            cells = [cell for cell in results.select(class_name=each.name, shots=shots) if cell.scores]
            draws = {
                mode: AurocDraws.of(weights, [cell.scores[mode] for cell in cells])
                for mode in dict.fromkeys((*modes, "semantic", "memory"))
                if cells and all(mode in cell.scores for cell in cells)
            }
            if draws:
                found.append(_intervals((results.dataset, each.name, shots), draws))
    return found


def _intervals(head: tuple[str, str, int], draws: dict[str, AurocDraws]) -> ImageIntervals:
    ends = {}
    for mode, each in draws.items():
        low, high = np.quantile(each.draws, (0.025, 0.975)).tolist()
        ends[mode] = (each.estimate, low, high)
    ahead = None
    if "semantic" in draws and "memory" in draws:
        memory, text = draws["memory"], draws["semantic"]
        test = difference_of_draws((memory.estimate, text.estimate), (memory.draws, text.draws), None, _OPTIONS)
        between = test.interval
        if between is not None:
            ahead = (test.difference, between.low, between.high, test.p_value)
    return ImageIntervals(*head, ends, ahead)


def _ends(values: Sequence[float], seed: int) -> Ends:
    """Mean over classes, and its interval."""
    if len(values) < 2:
        return values[0], None, None
    between = bootstrap_interval(np.mean, np.array(values), seed=seed, options=_OPTIONS)
    return between.estimate, between.low, between.high


def _labels(each: ClassRecord) -> list[int]:
    return [int(sample.label != GOOD) for sample in each.samples]


def _by_class(rows: Sequence[BranchRow], values: Sequence[float]) -> dict[tuple[str, str], float]:
    return _means({(row.dataset, row.class_name, row.shots): value for row, value in zip(rows, values, strict=True)})


def _means(values: dict[tuple[str, str, int], float]) -> dict[tuple[str, str], float]:
    """Mean over shots, by class."""
    groups: dict[tuple[str, str], list[float]] = {}
    for (dataset, name, _), value in values.items():
        groups.setdefault((dataset, name), []).append(value)
    return {key: sum(each) / len(each) for key, each in groups.items()}


def _tested(
    names: tuple[str, str, str], first: dict[tuple[str, str], float], second: dict[tuple[str, str], float], seed: int
) -> BranchTest:
    keys = sorted(first)
    one, other = np.array([first[key] for key in keys]), np.array([second[key] for key in keys])
    other = np.where(np.abs(one - other) < _ROUNDING, one, other)
    low = high = p_value = None
    if len(keys) > 1:
        between = bootstrap_interval(np.mean, one - other, seed=seed, options=_OPTIONS)
        low, high = between.low, between.high
        p_value = permutation_test(one, other, seed=seed).p_value
    means = float(one.mean()), float(other.mean())
    difference, differing = float((one - other).mean()), int(np.count_nonzero(one - other))
    return BranchTest(*names, *means, difference, low, high, p_value, None, len(keys), differing, None)


def _with_holm(tests: Sequence[BranchTest]) -> list[BranchTest]:
    """Adjust the tests in which anything differs: two names of one thing are no hypothesis, and cost the others none.

    Which tests these are depends on the sizes of the differences alone, and permuting signs keeps these.
    """
    family = [test.p_value for test in tests if test.p_value is not None and test.differing]
    values = iter(holm_adjusted(family).tolist())
    first = len(family) * min((2.0 ** (1 - test.differing) for test in tests if test.differing), default=1.0)
    adjusted = []
    for test in tests:
        if test.p_value is None:
            adjusted.append(test)
        elif not test.differing:
            adjusted.append(replace(test, p_holm=1.0))
        else:
            least = min(1.0, max(first, 2.0 ** (1 - test.differing)))  # Holm's first step binds all others
            adjusted.append(replace(test, p_holm=next(values), least=least))
    return adjusted
