"""The figures of merit of a ranking, each a few sums over its `Levels`, and the bounds of those that were binned.

A level of binned scores says how many positives and negatives a bin holds, not how they are mixed inside it. Every
order inside the bins gives a figure between the two bounds; the levels themselves give the figure of scores rounded to
their bins, which lies between them too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipfast.kernels.ranking import Levels

__all__ = [
    "auroc",
    "auroc_bounds",
    "average_precision",
    "average_precision_bounds",
    "best_f1",
    "best_f1_bound",
    "region_overlap",
    "region_overlap_bounds",
    "trapezoid_precision",
    "trapezoid_precision_bounds",
]

_Floats64 = NDArray[np.float64]


def auroc(levels: Levels) -> float:
    """Return P(positive > negative) + P(equal) / 2, an exact ratio of integers rounded once."""
    lower = 2 * levels.negatives - levels.above - levels.upto
    return _pairs(levels.hits, lower) / (2 * levels.positives * levels.negatives)


def auroc_bounds(levels: Levels) -> tuple[float, float]:
    """Return the areas when every positive lies below, or above, the negatives of its bin."""
    pairs = levels.positives * levels.negatives
    low = _pairs(levels.hits, levels.negatives - levels.upto)
    high = _pairs(levels.hits, levels.negatives - levels.above)
    return low / pairs, high / pairs


def average_precision(levels: Levels) -> float:
    """Return the step sum of precision over recall (scikit-learn's average precision)."""
    found = np.cumsum(levels.hits)
    return float((levels.hits * (found / (found + levels.upto))).sum() / levels.positives)


def average_precision_bounds(levels: Levels) -> tuple[float, float]:
    """Return bounds over every order inside the bins.

    The j-th positive of a bin has at least the precision of j positives below all negatives of the bin, for ties only
    add positives to its threshold, and at most that of all positives of the bin above its negatives.
    """
    found = np.cumsum(levels.hits)
    before = found - levels.hits
    low = _sum_of_shares(before, levels.hits, levels.upto)
    high = float((levels.hits * (found / (found + levels.above))).sum())
    return low / levels.positives, high / levels.positives


def trapezoid_precision(levels: Levels) -> float:
    """Return the area under straight lines between the points (recall, precision), from (0, 1)."""
    found = np.cumsum(levels.hits)
    heights = _share(found - levels.hits, levels.above) + _share(found, levels.upto)
    return float((levels.hits * heights).sum() / (2 * levels.positives))


def trapezoid_precision_bounds(levels: Levels) -> tuple[float, float]:
    """Return bounds over every order inside the bins: all precisions of a bin lie between those of its two corners."""
    found = np.cumsum(levels.hits)
    low = float((levels.hits * _share(found - levels.hits, levels.upto)).sum())
    high = float((levels.hits * _share(found, levels.above)).sum())
    return low / levels.positives, high / levels.positives


def best_f1(levels: Levels) -> tuple[float, float]:
    """Return the largest F1 over thresholds, and the highest threshold that has it (score >= threshold is positive)."""
    found = np.cumsum(levels.hits)
    scores = 2 * found / (found + levels.upto + levels.positives)
    best = int(np.argmax(scores))
    return float(scores[best]), float(levels.scores[best])


def best_f1_bound(levels: Levels) -> float:
    """Return what no threshold inside a bin can pass: all positives of the bin found before its negatives."""
    found = np.cumsum(levels.hits)
    return float((2 * found / (found + levels.above + levels.positives)).max())


def region_overlap(levels: Levels, total: float, limit: float) -> float:
    """Return the mean overlap of regions over false positive rates from 0 to `limit`.

    Args:
        levels: Their weights are what a pixel adds to the sum of overlaps.
        total: The sum of all weights: how many regions there are, in the unit of the weights.
        limit: In (0, 1].
    """
    end = limit * levels.negatives
    after = np.minimum(np.cumsum(levels.weights) / total, 1.0)
    before = np.concatenate(([0.0], after[:-1]))
    rise = _widths(levels.above, levels.upto, end)
    height = before + (after - before) * (rise / np.maximum(levels.upto - levels.above, 1) / 2)
    return float(((rise * height).sum() + _flat_area(levels, after, end)) / end)


def region_overlap_bounds(levels: Levels, total: float, limit: float) -> tuple[float, float]:
    """Return bounds over every order inside the bins: the curve rises, so it stays in the box of each bin."""
    end = limit * levels.negatives
    after = np.minimum(np.cumsum(levels.weights) / total, 1.0)
    before = np.concatenate(([0.0], after[:-1]))
    rise = _widths(levels.above, levels.upto, end)
    flat = _flat_area(levels, after, end)
    return float(((rise * before).sum() + flat) / end), float(((rise * after).sum() + flat) / end)


def _pairs(left: NDArray[np.int64], right: NDArray[np.int64]) -> int:
    """Return the sum of products, in Python's integers where int64 might overflow."""
    if int(left.sum()) * int(right.max(initial=0)) < 1 << 62:
        return int(np.dot(left, right))
    return int(np.dot(left.astype(object), right.astype(object)))


def _share(found: NDArray[np.int64], false: NDArray[np.int64]) -> _Floats64:
    """Return precision; with nothing predicted it is 1, where the curve begins."""
    predicted = found + false
    share: _Floats64 = np.where(predicted == 0, 1.0, found / np.maximum(predicted, 1))
    return share


def _sum_of_shares(before: NDArray[np.int64], hits: NDArray[np.int64], false: NDArray[np.int64]) -> float:
    """Return a lower bound of the sum over bins of (before + j) / (before + j + false) for j from 1 to hits.

    Each bin is cut into at most 32 steps, each as low as its first term; bins of up to 32 positives are summed exactly.
    """
    steps = 32
    total = np.zeros(len(hits))
    for step in range(steps):
        first, end = hits * step // steps, hits * (step + 1) // steps
        found = before + first + 1
        total += (end - first) * (found / (found + false))
    return float(total.sum())


def _widths(starts: NDArray[Any], ends: NDArray[Any], end: float) -> _Floats64:
    """Return how much of each range lies below `end`."""
    widths: _Floats64 = np.minimum(ends, end) - np.minimum(starts, end)
    return widths


def _flat_area(levels: Levels, after: _Floats64, end: float) -> float:
    """Return the area below `end` where only negatives are passed, between levels and after the last."""
    starts, ends = levels.upto, np.append(levels.above[1:], levels.negatives)
    return float((_widths(starts, ends, end) * after).sum())
