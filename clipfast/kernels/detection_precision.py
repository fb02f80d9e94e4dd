"""Average precision of every class from the outcomes of its detections."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from clipfast.kernels.matching import FALSE_POSITIVE, TRUE_POSITIVE
from clipfast.types import Ints

__all__ = ["average_precisions"]

Doubles = NDArray[np.float64]
Outcomes = NDArray[np.int8]


@njit(cache=True, nogil=True)
def _precision_envelope(ranked: Ints, outcomes: Outcomes, envelope: Doubles) -> tuple[int, int]:
    """Write the envelope of the precision at every true positive; return how many are true and how many false.

    Entry `j` becomes the largest precision at which at least `j + 1` ground truths are found.
    """
    hits, misses = 0, 0
    for row in ranked:
        if outcomes[row] == TRUE_POSITIVE:
            hits += 1
            envelope[hits - 1] = hits / (hits + misses)
        elif outcomes[row] == FALSE_POSITIVE:
            misses += 1
    for j in range(hits - 2, -1, -1):
        envelope[j] = max(envelope[j], envelope[j + 1])
    return hits, misses


@njit(cache=True, nogil=True)
def _interpolated_mean(envelope: Doubles, positives: int, grid: Doubles) -> float:
    """Return the area below the envelope, or its mean at the recalls of `grid` where there are any."""
    total = 0.0
    if len(grid) == 0:
        for precision in envelope:
            total += precision
        return total / positives
    j = 0
    for recall in grid:
        while j < len(envelope) and (j + 1) / positives < recall:
            j += 1
        if j == len(envelope):
            break
        total += envelope[j]
    return total / len(grid)


@njit(cache=True, nogil=True)
def average_precisions(
    ranked: Ints, starts: Ints, outcomes: Outcomes, positives: Ints, grid: Doubles
) -> tuple[Doubles, Ints, Ints]:
    """Average precision of every class.

    Args:
        ranked: Detections by class, in each from the highest score to the lowest, (n,) int64.
        starts: Where each class begins in `ranked`, (c + 1,) int64.
        outcomes: Outcome of every detection, (n,) int8.
        positives: Ground truths of each class, (c,) int64.
        grid: Recalls at which precision is read, ascending; none for the area below the envelope.

    Returns:
        Average precision, (c,) float64, NaN where a class has no ground truth; true positives and false positives
        of each class, (c,) int64.
    """
    classes = len(positives)
    precision = np.full(classes, np.nan)
    hits = np.zeros(classes, dtype=np.int64)
    misses = np.zeros(classes, dtype=np.int64)
    envelope = np.empty(len(ranked), dtype=np.float64)
    for c in range(classes):
        hits[c], misses[c] = _precision_envelope(ranked[starts[c] : starts[c + 1]], outcomes, envelope)
        if positives[c] > 0:
            precision[c] = _interpolated_mean(envelope[: hits[c]], positives[c], grid)
    return precision, hits, misses
