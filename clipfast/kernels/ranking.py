"""What every ranking metric needs of scores and labels: how many negatives lie around each distinct positive score.

The negatives are not sorted where positives are few: the positives are, and every score is counted into its place among
them. Scores of 16 bits are not sorted at all. The counts are integers: the result is exact, ties included, and depends
neither on the order of the items nor on the number of threads.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from clipfast.errors import ShapeError, UndefinedMetricError
from clipfast.kernels.ranking_keys import count_patterns, keys_of, scores_of
from clipfast.kernels.ranking_table import Table, count_sorted
from clipfast.kernels.stripes import threads_to_use
from clipfast.types import Ints

__all__ = [
    "Levels",
    "PositiveScores",
    "count_slots",
    "levels_of_counts",
    "pays_for_table",
    "rank_levels",
    "require_binary",
    "require_finite",
    "take_positives",
]

_SMALL = 1 << 15  # below, sorting everything costs less than a table
_RARE = 32  # items per distinct positive score, below which sorting everything costs less
_WORTH_A_THREAD = 1 << 18


@dataclass(frozen=True, slots=True, eq=False)
class Levels:
    """The distinct scores of positives, highest first, and how many negatives lie above each.

    Attributes:
        scores: Distinct scores that at least one positive has, highest first, (m,) of the scores' type.
        hits: Positives with exactly that score, (m,) int64.
        weights: The sum of their weights, (m,); `hits` where no weights were given.
        above: Negatives with a higher score, (m,) int64.
        upto: Negatives with that score or a higher one, (m,) int64.
        positives: How many positives there are.
        negatives: How many negatives there are.
    """

    scores: NDArray[Any]
    hits: Ints
    weights: NDArray[Any]
    above: Ints
    upto: Ints
    positives: int
    negatives: int


def rank_levels(
    labels: NDArray[Any], scores: NDArray[Any], *, weights: NDArray[np.float64] | None = None, threads: int | None = 2
) -> Levels:
    """Count the negatives around every distinct positive score.

    Args:
        labels: 1 for positives, 0 for negatives, (n,) integer, contiguous.
        scores: float16, float32, float64, uint8 or uint16, (n,), contiguous; they are compared in their own type.
        weights: One weight per positive, in the order in which they come, (positives,).
        threads: How many threads share the counting; the result does not depend on it.

    Raises:
        ShapeError: If a label is neither 0 nor 1, a score is NaN or infinite, or `threads` is not positive.
        UndefinedMetricError: If there is no positive, or no negative.

    >>> levels = rank_levels(np.array([0, 1, 0, 1]), np.array([0.1, 0.4, 0.4, 0.8]))
    >>> levels.scores.tolist(), levels.above.tolist(), levels.upto.tolist()
    ([0.8, 0.4], [0, 0], [0, 1])
    """
    threads = threads_to_use(threads, len(scores) // _WORTH_A_THREAD)
    positives = require_binary(labels)
    if not 0 < positives < len(labels):
        require_finite(scores)
        raise UndefinedMetricError(
            f"Both classes must occur; got {positives} positives among {len(labels)} items. Nothing can be ranked."
        )
    if scores.dtype.itemsize < 4:
        return _levels_of_patterns(labels, scores, weights, positives)
    found = PositiveScores.of(take_positives(labels, scores, positives), weights)
    if not found.finite:
        require_finite(scores)
    return found.levels(count_slots(scores, found.distinct, threads))


@dataclass(frozen=True, slots=True, eq=False)
class PositiveScores:
    """The scores of positives, sorted, before anything is counted among them.

    Attributes:
        distinct: Ascending, each once, (m,); NaN last.
        hits: Positives with exactly that score, (m,) int64.
        weights: The sum of their weights, (m,); `hits` where no weights were given.
        count: How many positives there are.
    """

    distinct: NDArray[Any]
    hits: Ints
    weights: NDArray[Any]
    count: int

    @classmethod
    def of(cls, found: NDArray[Any], weights: NDArray[np.float64] | None = None) -> PositiveScores:
        """Sort scores, one at least, (positives,), and sum up the weights of equal ones."""
        order = None if weights is None else np.argsort(found)
        found = np.sort(found) if order is None else found[order]
        starts = np.flatnonzero(np.concatenate(([True], found[1:] != found[:-1])))
        hits = np.diff(starts, append=len(found))
        sums = hits if weights is None else np.add.reduceat(weights[order], starts)
        return cls(found[starts], hits, sums, len(found))

    @property
    def finite(self) -> bool:
        """Whether no score is NaN or infinite."""
        return bool(np.isfinite(self.distinct[[0, -1]]).all())

    def levels(self, slots: Ints) -> Levels:
        """Return the levels from a count of all items, positives too, by slot; see `count_slots`."""
        others = slots.copy()
        others[1::2] -= self.hits
        higher = np.cumsum(others[::-1])[::-1]  # negatives in a slot and all later ones
        return Levels(
            scores=self.distinct[::-1],
            hits=self.hits[::-1],
            weights=self.weights[::-1],
            above=higher[2::2][::-1],
            upto=higher[1::2][::-1],
            positives=self.count,
            negatives=int(others.sum()),
        )


def count_slots(scores: NDArray[Any], distinct: NDArray[Any], threads: int | None) -> Ints:
    """Count scores by where they lie among distinct values.

    Args:
        scores: float32 or float64, (n,), contiguous.
        distinct: Values of the same type, ascending, each once, finite, (m,), m >= 1.
        threads: How many threads share the counting.

    Returns:
        Counts by slot, (2m + 1,) int64: slot 2k lies below `distinct[k]`, slot 2k + 1 equals it.

    Raises:
        ShapeError: If a score is NaN or infinite, or `threads` is not positive.
    """
    parts = threads_to_use(threads, len(scores) // _WORTH_A_THREAD)
    edges = [len(scores) * part // parts for part in range(parts + 1)]
    table = Table.of(distinct, scores) if pays_for_table(len(scores), len(distinct)) else None

    def count(part: int) -> tuple[Ints, bool]:
        some = scores[edges[part] : edges[part + 1]]
        slots = np.zeros(2 * len(distinct) + 1, np.int64)
        if table is not None:
            return slots, table.count(some, slots) == 0
        ordered = np.sort(some)
        count_sorted(ordered, distinct, slots)
        return slots, bool(np.isfinite(ordered[[0, -1]]).all())

    if parts == 1:
        results = [count(0)]
    else:
        with ThreadPoolExecutor(parts) as pool:
            results = list(pool.map(count, range(parts)))
    if not all(finite for _, finite in results):
        require_finite(scores)
    total: Ints = np.sum([slots for slots, _ in results], axis=0)
    return total


def pays_for_table(items: int, distinct: int) -> bool:
    """Return whether a table of `distinct` values saves time when so many items are counted among them."""
    return items >= max(_SMALL, _RARE * distinct)


def levels_of_counts(scores: NDArray[Any], hits: Ints, others: Ints, weights: NDArray[Any]) -> Levels:
    """Return the levels of counts by score.

    Args:
        scores: Distinct scores, ascending, (b,).
        hits: Positives by score, (b,) int64.
        others: Negatives by score, (b,) int64.
        weights: Sums of the positives' weights by score, (b,).
    """
    kept = np.flatnonzero(hits)[::-1]
    upto = np.cumsum(others[::-1])[::-1][kept]
    return Levels(
        scores=scores[kept],
        hits=hits[kept],
        weights=weights[kept],
        above=upto - others[kept],
        upto=upto,
        positives=int(hits.sum()),
        negatives=int(others.sum()),
    )


def require_binary(labels: NDArray[Any]) -> int:
    """Return how many labels are 1.

    Raises:
        ShapeError: If a label is neither 0 nor 1.
    """
    positives, wrong = _tally(labels)
    if wrong:
        value = labels[(labels != 0) & (labels != 1)][0]
        raise ShapeError(f"labels must be 0 or 1; got {value}. Compare them with the positive class: labels == 255.")
    return int(positives)


def require_finite(scores: NDArray[Any]) -> None:
    """Pass if no score, (n,), is NaN or infinite.

    Raises:
        ShapeError: With how many there are and where the first is.
    """
    wrong = np.flatnonzero(~np.isfinite(scores))
    if len(wrong):
        raise ShapeError(
            f"scores must be finite; got {len(wrong)} NaN or infinite among {len(scores)}, the first at flat index "
            f"{wrong[0]}. Drop these items, or mend what made them."
        )


def take_positives(labels: NDArray[Any], values: NDArray[Any], positives: int) -> NDArray[Any]:
    """Return the values whose label is 1, in their order, (positives,)."""
    bits = values.view(f"uint{8 * values.dtype.itemsize}")  # only moved; Numba has no float16
    taken = np.empty(positives + 1, bits.dtype)
    _take(labels, bits, taken)
    return taken[:-1].view(values.dtype)


def _levels_of_patterns(
    labels: NDArray[Any], scores: NDArray[Any], weights: NDArray[np.float64] | None, positives: int
) -> Levels:
    """Count all values that 8 or 16 bits can have."""
    counts = count_patterns(labels, scores)
    values = np.arange(counts.shape[1], dtype=f"uint{8 * scores.dtype.itemsize}").view(scores.dtype)
    finite = np.isfinite(values)
    if counts[:, ~finite].any():
        require_finite(scores)
    keys = keys_of(values[finite]).astype(np.int64)
    first, last = int(keys.min()), int(keys.max())
    by_key = np.zeros((2, last - first + 1), np.int64)
    for label in range(2):
        np.add.at(by_key[label], keys - first, counts[label, finite])  # 0.0 and -0.0 have one key
    sums: NDArray[Any] = by_key[1]
    if weights is not None:
        found = keys_of(take_positives(labels, scores, positives)).astype(np.int64)
        sums = np.bincount(found - first, weights=weights, minlength=len(sums))
    return levels_of_counts(scores_of(np.arange(first, last + 1), scores.dtype), by_key[1], by_key[0], sums)


@njit(cache=True, nogil=True)
def _tally(labels: NDArray[Any]) -> tuple[int, int]:
    """Count the labels that are 1, and those that are neither 0 nor 1."""
    positives = 0
    wrong = 0
    for i in range(len(labels)):
        positives += labels[i] == 1
        wrong += (labels[i] != 1) & (labels[i] != 0)
    return positives, wrong


@njit(cache=True, nogil=True)
def _take(labels: NDArray[Any], values: NDArray[Any], taken: NDArray[Any]) -> None:
    """Write the values whose label is 1; `taken` has one place to spare, so that no branch depends on a label."""
    found = np.int64(0)  # 0 and uint8 labels would make a uint8 without the compiler
    for i in range(len(labels)):
        taken[found] = values[i]
        found += labels[i]
