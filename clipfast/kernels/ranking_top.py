"""Leaving out what a figure up to a false positive rate never looks at: AUPRO to 0.3 ranks three pixels of ten."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from clipfast.kernels.stripes import threads_to_use
from clipfast.types import Ints

__all__ = ["take_top"]

_WORTH_IT = 1 << 20  # items, below which everything is ranked sooner than sifted
_SAMPLE = 1 << 15
_MARGIN = 0.03  # of the false positive rate: what the sample may be wrong by
_MOST = 0.6  # of the items left, above which sifting saves nothing

Labelled = tuple[NDArray[Any], NDArray[Any], NDArray[np.float64]]


def take_top(
    labels: NDArray[Any], scores: NDArray[Any], weights: NDArray[np.float64], rate: float, threads: int | None
) -> Labelled | None:
    """Return the items at or above a score that fewer than `rate` of the negatives lie above, in their order.

    Args:
        labels: 0 and 1, (n,) integer; not checked here.
        scores: float32 or float64, (n,), contiguous.
        weights: One weight per positive, in the order in which they come.
        rate: Share of the negatives that must be among the items, in (0, 1].
        threads: How many threads share the work; the result does not depend on it.

    Returns:
        Labels, scores and the weights of the positives among them; None where it does not pay, or where a score is NaN
        or infinite: the caller then takes everything, and says so.
    """
    if len(scores) < _WORTH_IT or rate + _MARGIN > _MOST:
        return None
    threads = threads_to_use(threads, len(scores))
    stride = max(1, len(scores) // _SAMPLE)
    sample = scores[::stride][labels[::stride] == 0]
    if not len(sample) or not np.isfinite(sample).all():
        return None
    threshold = np.partition(sample, place := int((1 - rate - _MARGIN) * (len(sample) - 1)))[place]
    edges = [len(scores) * part // threads for part in range(threads + 1)]
    first_weights = np.cumsum([0, *(np.count_nonzero(labels[a:b]) for a, b in pairwise(edges))])

    def sift(part: int) -> tuple[Labelled, Ints]:
        some = slice(edges[part], edges[part + 1])
        room = edges[part + 1] - edges[part] + 1  # one place to spare, so that no branch depends on a score
        own = weights[first_weights[part] : first_weights[part + 1]]
        taken = np.empty(room, labels.dtype), np.empty(room, scores.dtype), np.empty(len(own) + 1)
        tally = np.zeros(3, np.int64)
        _sift(labels[some], scores[some], own, threshold, taken, tally)
        return (taken[0][: tally[0]], taken[1][: tally[0]], taken[2][: tally[1]]), tally

    with ThreadPoolExecutor(threads) as pool:
        parts, tallies = zip(*pool.map(sift, range(threads)), strict=True)
    items, positives, wrong = np.sum(tallies, axis=0).tolist()
    negatives = len(labels) - int(first_weights[-1])
    if wrong or not positives or items - positives < rate * negatives:
        return None
    top_labels, top_scores, top_weights = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return top_labels, top_scores, top_weights


@njit(cache=True, nogil=True)
def _sift(
    labels: NDArray[Any],
    scores: NDArray[Any],
    weights: NDArray[np.float64],
    threshold: Any,
    taken: Labelled,
    tally: Ints,
) -> None:
    """Write labels, scores and weights at or above a threshold; tally items, positives and scores not finite."""
    items, positives, seen, wrong = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
    for i in range(len(scores)):
        above = scores[i] >= threshold
        taken[0][items] = labels[i]
        taken[1][items] = scores[i]
        items += above
        wrong += not (abs(scores[i]) < np.inf)
        if labels[i]:  # rare: a region's pixels come in runs
            taken[2][positives] = weights[seen]
            positives += above
            seen += 1
    tally[0], tally[1], tally[2] = items, positives, wrong
