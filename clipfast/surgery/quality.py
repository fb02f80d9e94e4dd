"""How well the boxes of a map fit, percentile by percentile: the owner's table of heat-map quality."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipfast.surgery.boxes import rank_values

__all__ = ["activated_shares", "best_overlaps", "shares_above"]

Doubles = NDArray[np.float64]


def best_overlaps(found: Sequence[Doubles], truths: Doubles) -> tuple[Doubles, Doubles]:
    """Return how well each set of boxes finds the ground truths.

    Args:
        found: Boxes xyxy of each percentile, (d, 4) each.
        truths: Ground truths that count, (m, 4), at least one.

    Returns:
        The highest IoU of any box with any ground truth, (k,); and the sum over ground truths of the highest IoU of
        any box, (k,). Without boxes both are 0.

    >>> best_overlaps([np.array([[0.0, 0, 2, 2], [5, 5, 6, 6]])], np.array([[0.0, 0, 2, 4], [5, 5, 6, 6]]))
    (array([1.]), array([1.5]))
    """
    from clipfast.kernels import box_iou

    best, total = np.zeros(len(found)), np.zeros(len(found))
    for at, boxes in enumerate(found):
        if len(boxes):
            each = box_iou(truths, boxes).max(axis=1)
            best[at], total[at] = each.max(), each.sum()
    return best, total


def activated_shares(heat: NDArray[Any], percentiles: Sequence[float]) -> Doubles:
    """Return which share of a map lies at or above each percentile, before any cleaning, (k,).

    >>> activated_shares(np.arange(100.0).reshape(10, 10), [75, 95]).tolist()
    [0.25, 0.05]
    """
    return shares_above(heat, rank_values(heat, percentiles))


def shares_above(heat: NDArray[Any], levels: Doubles) -> Doubles:
    """Return which share of a map lies at or above each threshold, (k,); thresholds are values of the map."""
    counts = [np.count_nonzero(heat >= level) for level in levels.astype(heat.dtype)]
    return np.array(counts, np.float64) / heat.size
