"""The figures of merit of a ranking, each a few sums over its `Levels`, and the bounds of those that were binned.

A level of binned scores says how many positives and negatives a bin holds, not how they are mixed inside it. Every
order inside the bins gives a figure between the two bounds; the levels themselves give the figure of scores rounded to
their bins, which lies between them too. `tied` marks the levels, (m,), that are known to be one value, not a mixture;
left out, none is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipfast.kernels.ranking import Levels
from clipfast.kernels.ranking_bins import sums_of_shares

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
_Tied = NDArray[np.bool_] | None


def auroc(levels: Levels) -> float:
    """Return P(positive > negative) + P(equal) / 2, an exact ratio of integers rounded once."""
    lower = 2 * levels.negatives - levels.above - levels.upto
    return _pairs(levels.hits, lower) / (2 * levels.positives * levels.negatives)


def auroc_bounds(levels: Levels, tied: _Tied = None) -> tuple[float, float]:
    """Return the areas when every positive lies below, or above, the negatives of its bin."""
    pairs = 2 * levels.positives * levels.negatives
    worst, best = _false_counts(levels, tied)
    low = _pairs(levels.hits, 2 * levels.negatives - levels.upto - worst)
    high = _pairs(levels.hits, 2 * levels.negatives - levels.above - best)
    return low / pairs, high / pairs


def average_precision(levels: Levels) -> float:
    """Return the step sum of precision over recall (scikit-learn's average precision)."""
    found = np.cumsum(levels.hits)
    return float((levels.hits * (found / (found + levels.upto))).sum() / levels.positives)


def average_precision_bounds(levels: Levels, tied: _Tied = None) -> tuple[float, float]:
    """Return bounds over every order inside the bins.

    The j-th positive of a bin has at least the precision of j positives below all negatives of the bin, for ties only
    add positives to its threshold, and at most that of all positives of the bin above its negatives.
    """
    found = np.cumsum(levels.hits)
    _, best = _false_counts(levels, tied)
    low = sums_of_shares(found - levels.hits, levels.hits, levels.upto)
    if tied is not None:
        low = np.where(tied, levels.hits * (found / (found + levels.upto)), low)
    high = levels.hits * (found / (found + best))
    return float(low.sum() / levels.positives), float(high.sum() / levels.positives)


def trapezoid_precision(levels: Levels) -> float:
    """Return the area under straight lines between the points (recall, precision), from (0, 1)."""
    return float((levels.hits * _mean_precisions(levels)).sum() / levels.positives)


def trapezoid_precision_bounds(levels: Levels, tied: _Tied = None) -> tuple[float, float]:
    """Return bounds over every order inside the bins: all precisions of a bin lie between those of its two corners."""
    found = np.cumsum(levels.hits)
    low, high = _share(found - levels.hits, levels.upto), _share(found, levels.above)
    if tied is not None:
        means = _mean_precisions(levels)
        low, high = np.where(tied, means, low), np.where(tied, means, high)
    return float((levels.hits * low).sum() / levels.positives), float((levels.hits * high).sum() / levels.positives)


def best_f1(levels: Levels) -> tuple[float, float]:
    """Return the largest F1 over thresholds, and the highest threshold that has it (score >= threshold is positive)."""
    found = np.cumsum(levels.hits)
    scores = 2 * found / (found + levels.upto + levels.positives)
    best = int(np.argmax(scores))
    return float(scores[best]), float(levels.scores[best])


def best_f1_bound(levels: Levels, tied: _Tied = None) -> float:
    """Return what no threshold inside a bin can pass: all positives of the bin found before its negatives."""
    found = np.cumsum(levels.hits)
    _, best = _false_counts(levels, tied)
    return float((2 * found / (found + best + levels.positives)).max())


def region_overlap(levels: Levels, total: float, limit: float) -> float:
    """Return the mean overlap of regions over false positive rates from 0 to `limit`.

    Args:
        levels: Their weights are what a pixel adds to the sum of overlaps.
        total: The sum of all weights: how many regions there are, in the unit of the weights.
        limit: In (0, 1].
    """
    rise, before, after, flat = _overlap_parts(levels, total, limit * levels.negatives)
    heights = _mean_overlaps(levels, rise, before, after)
    return float(((rise * heights).sum() + flat) / (limit * levels.negatives))


def region_overlap_bounds(levels: Levels, total: float, limit: float, tied: _Tied = None) -> tuple[float, float]:
    """Return bounds over every order inside the bins: the curve rises, so it stays in the box of each bin."""
    end = limit * levels.negatives
    rise, low, high, flat = _overlap_parts(levels, total, end)
    if tied is not None:
        heights = _mean_overlaps(levels, rise, low, high)
        low, high = np.where(tied, heights, low), np.where(tied, heights, high)
    return float(((rise * low).sum() + flat) / end), float(((rise * high).sum() + flat) / end)


def _false_counts(levels: Levels, tied: _Tied) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the most and the fewest negatives that may lie above a positive of each level.

    Of a tie, the other count: the two ends of the step then give what the tie gives.
    """
    if tied is None:
        return levels.upto, levels.above
    return np.where(tied, levels.above, levels.upto), np.where(tied, levels.upto, levels.above)


def _mean_precisions(levels: Levels) -> _Floats64:
    """Return the mean of the precisions at both ends of each level."""
    found = np.cumsum(levels.hits)
    return (_share(found - levels.hits, levels.above) + _share(found, levels.upto)) / 2


def _overlap_parts(levels: Levels, total: float, end: float) -> tuple[_Floats64, _Floats64, _Floats64, float]:
    """Return how far each level goes along the false positives up to `end`, overlap before and after, flat area."""
    after = np.minimum(np.cumsum(levels.weights) / total, 1.0)
    before = np.concatenate(([0.0], after[:-1]))
    return _widths(levels.above, levels.upto, end), before, after, _flat_area(levels, after, end)


def _mean_overlaps(levels: Levels, rise: _Floats64, before: _Floats64, after: _Floats64) -> _Floats64:
    """Return the mean overlap along each level's straight line, as far as it goes."""
    heights: _Floats64 = before + (after - before) * (rise / np.maximum(levels.upto - levels.above, 1) / 2)
    return heights


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


def _widths(starts: NDArray[Any], ends: NDArray[Any], end: float) -> _Floats64:
    """Return how much of each range lies below `end`."""
    widths: _Floats64 = np.minimum(ends, end) - np.minimum(starts, end)
    return widths


def _flat_area(levels: Levels, after: _Floats64, end: float) -> float:
    """Return the area below `end` where only negatives are passed, between levels and after the last."""
    starts, ends = levels.upto, np.append(levels.above[1:], levels.negatives)
    return float((_widths(starts, ends, end) * after).sum())
