"""Labelled scores counted into fixed bins: what a ranking needs of a stream that is too long to keep.

A bin is the first bits of a score's pattern, in the order of the scores: bins need no range beforehand, and no count
depends on the order or the grouping of what comes. Each bin also knows whether all its scores are one value, as zeros
and saturated scores often are: how such a bin ranks is known exactly.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from clipfast.kernels.ranking import Levels, levels_of_counts
from clipfast.kernels.ranking_keys import count_patterns, scores_of
from clipfast.types import Ints

__all__ = ["BITS", "BinnedScores", "patterns_of", "places_of", "sums_of_shares"]

BITS = range(19, 25)  # 19 tell all float16 apart
_MIXED = -1
_UINT16 = 14  # how far a uint16 is shifted: the pattern of a positive float, and 18 bits tell all apart
_SIGN = np.uint32(1 << 31)
_TWO = np.uint64(2)
_State: TypeAlias = tuple[Ints, NDArray[np.int32], Ints]
"""`counts`, `seen` and `span` of `BinnedScores`."""


@dataclass(slots=True, eq=False)
class BinnedScores:
    """Counts of labelled scores by bin.

    Attributes:
        bits: Leading bits that make a bin, one of `BITS`; memory is at most 20 bytes for each of 2**bits bins.
        counts: Negatives and positives by bin, (2 * 2**bits,) int64.
        seen: What has come to a bin: 0 nothing, one value (its remaining bits plus one), -1 several, (2**bits,) int32.
        span: The first and the last bin that anything has come to, (2,) int64.
    """

    bits: int
    counts: Ints = field(init=False)
    seen: NDArray[np.int32] = field(init=False)
    span: Ints = field(init=False)

    def __post_init__(self) -> None:
        self.counts = np.zeros(2 << self.bits, np.int64)  # pages that are never touched take no memory
        self.seen = np.zeros(1 << self.bits, np.int32)
        self.span = np.array([1 << self.bits, -1], np.int64)

    def add(self, labels: NDArray[Any], scores: NDArray[Any], step: int = 1) -> int:
        """Count scores; return how many are not finite or beyond float32, which the caller must then take back.

        Args:
            labels: 0 and 1, (n,) integer; not checked here.
            scores: float16, float32, float64, uint8 or uint16, (n,), contiguous.
            step: -1 takes back what was added, though `seen` and `span` keep it: they may only claim too little.
        """
        state = self.counts, self.seen, self.span
        shift = 32 - self.bits
        if scores.dtype.itemsize > 2:
            count = _add_singles if scores.dtype == np.float32 else _add_doubles
            with np.errstate(over="ignore"):  # without the compiler, what is beyond float32 would warn
                return int(count(labels, scores.view(f"int{8 * scores.dtype.itemsize}"), shift, step, state))
        by_pattern = count_patterns(labels, scores)
        values = np.arange(by_pattern.shape[1], dtype=f"uint{8 * scores.dtype.itemsize}").view(scores.dtype)
        came = by_pattern.any(axis=0) & np.isfinite(values)
        _add_counts(by_pattern[:, came] * step, patterns_of(values[came]), shift, state)
        return int(by_pattern[:, ~np.isfinite(values)].sum())

    def merge(self, other: BinnedScores) -> None:
        """Add what another of the same bits has counted."""
        _merge(self.counts, self.seen, other.counts, other.seen, other.span)
        self.span[:] = min(self.span[0], other.span[0]), max(self.span[1], other.span[1])

    def levels(
        self, dtype: np.dtype[Any], weights: NDArray[np.float64] | None = None
    ) -> tuple[Levels, NDArray[np.bool_]]:
        """Return the levels of the scores rounded down to their bins, and which of them are one value, (m,).

        Args:
            dtype: What the scores were.
            weights: Sums of the positives' weights by bin, (2**bits,); each weighs 1 if left out.
        """
        low, high = int(self.span[0]), int(self.span[1]) + 1
        filled = np.flatnonzero(self.seen[low:high]) + low
        seen = self.seen[filled]
        others, hits = self.counts[2 * filled], self.counts[2 * filled + 1]
        edges = filled.astype(np.uint32) << np.uint32(32 - self.bits)
        values = _scores_of(edges + np.maximum(seen - 1, 0).astype(np.uint32), dtype)
        levels = levels_of_counts(values, hits, others, hits if weights is None else weights[filled])
        return levels, (seen != _MIXED)[np.flatnonzero(hits)[::-1]]


def patterns_of(scores: NDArray[Any]) -> NDArray[np.int32]:
    """Return the bits of the scores as float32, (n,); uint16 become bits of positive floats in the same order.

    float64 is rounded down to float32: the order stays, though some become equal.

    Args:
        scores: float16, float32, float64, uint8 or uint16, (n,), within float32's range.

    >>> patterns_of(np.array([0.0, 1.0], np.float32)).tolist()
    [0, 1065353216]
    """
    if scores.dtype == np.uint16:
        return scores.astype(np.int32) << _UINT16
    single = scores.astype(np.float32, copy=False)
    if scores.dtype == np.float64:
        np.nextafter(single, np.float32(-np.inf), out=single, where=single > scores)
    return single.view(np.int32)


def places_of(patterns: NDArray[np.int32], bits: int) -> NDArray[np.int64]:
    """Return the bin of each score, (n,)."""
    places = np.empty(len(patterns), np.int64)
    _place(patterns, 32 - bits, places)
    return places


def sums_of_shares(before: Ints, hits: Ints, false: Ints) -> NDArray[np.float64]:
    """Return a lower bound, by bin, of the sum of (before + j) / (before + j + false) for j from 1 to hits.

    Each bin is cut into at most 32 steps, each as low as its first term; bins of up to 32 positives are summed exactly.
    """
    sums = np.zeros(len(hits))
    _sum_shares(before, hits, false, sums)
    return sums


def _scores_of(ordered: NDArray[np.uint32], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the scores whose patterns, put in order, are these."""
    if dtype == np.uint16:
        return (ordered ^ _SIGN) >> np.uint32(_UINT16)
    keys = ordered.astype(np.int64) - (1 << 31)
    return scores_of(keys, np.dtype(np.float32))


@njit(cache=True, nogil=True)
def _in_order(bits: Any) -> Any:
    """Return a pattern as an unsigned integer in the order of the scores; -0.0 counts as 0.0."""
    key = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    return np.uint32(key + (key == -1)) ^ _SIGN


@njit(cache=True, nogil=True)
def _note(place: Any, value: Any, seen: NDArray[np.int32], span: Ints) -> None:
    """Note that `value` has come to a bin."""
    before = seen[place]
    if (before != value) & (before != _MIXED):  # rare, so this branch costs next to nothing
        seen[place] = value if before == 0 else _MIXED
        span[0], span[1] = min(span[0], np.int64(place)), max(span[1], np.int64(place))


@njit(cache=True, nogil=True)
def _add_singles(labels: NDArray[Any], patterns: NDArray[np.int32], shift: int, step: int, state: _State) -> int:
    """Add `step` to the count of each float32; return how many are not finite. Labels are 0 and 1."""
    counts, seen, span = state
    wrong = 0
    rest = np.uint32((1 << shift) - 1)
    for i in range(len(patterns)):
        bits = patterns[i]
        ordered = _in_order(bits)
        place = np.uint64(ordered >> np.uint32(shift))  # unsigned: no look for indices from the end
        wrong += (bits & 0x7FFFFFFF) >= 0x7F800000
        counts[_TWO * place + np.uint64(labels[i])] += step
        _note(place, np.int32((ordered & rest) + np.uint32(1)), seen, span)
    return wrong


@njit(cache=True, nogil=True)
def _add_doubles(labels: NDArray[Any], patterns: Ints, shift: int, step: int, state: _State) -> int:
    """Do as `_add_singles` with float64 rounded down; a bin of any that had to be rounded counts as several values."""
    counts, seen, span = state
    wrong = 0
    rest = np.uint32((1 << shift) - 1)
    scores = patterns.view(np.float64)
    for i in range(len(scores)):
        score = scores[i]
        single = np.float32(score)
        wrong += not (abs(single) < np.inf)
        ordered = np.uint32(_in_order(single.view(np.int32)) - np.uint32(single > score))
        place = np.uint64(ordered >> np.uint32(shift))
        counts[_TWO * place + np.uint64(labels[i])] += step
        _note(place, np.int32((ordered & rest) + np.uint32(1)) if single == score else np.int32(_MIXED), seen, span)
    return wrong


@njit(cache=True, nogil=True)
def _add_counts(by_pattern: Ints, patterns: NDArray[np.int32], shift: int, state: _State) -> None:
    """Add the negatives and positives that have these patterns, (2, n)."""
    counts, seen, span = state
    rest = np.uint32((1 << shift) - 1)
    for i in range(len(patterns)):
        ordered = _in_order(patterns[i])
        place = np.uint64(ordered >> np.uint32(shift))
        counts[_TWO * place] += by_pattern[0, i]
        counts[_TWO * place + np.uint64(1)] += by_pattern[1, i]
        _note(place, np.int32((ordered & rest) + np.uint32(1)), seen, span)


@njit(cache=True, nogil=True)
def _merge(counts: Ints, seen: NDArray[np.int32], more: Ints, others: NDArray[np.int32], span: Ints) -> None:
    """Add the counts of the bins in `span`, where anything has come to them."""
    for place in range(span[0], span[1] + 1):
        if others[place] == 0:
            continue
        counts[2 * place] += more[2 * place]
        counts[2 * place + 1] += more[2 * place + 1]
        if seen[place] == 0:
            seen[place] = others[place]
        elif seen[place] != others[place]:
            seen[place] = _MIXED


@njit(cache=True, nogil=True)
def _place(patterns: NDArray[np.int32], shift: int, places: Ints) -> None:
    """Write the bin of each score."""
    for i in range(len(patterns)):
        places[i] = np.int64(_in_order(patterns[i]) >> np.uint32(shift))


@njit(cache=True, nogil=True)
def _sum_shares(before: Ints, hits: Ints, false: Ints, sums: NDArray[np.float64]) -> None:
    for i in range(len(hits)):
        steps = min(hits[i], 32)
        for step in range(steps):
            first, end = hits[i] * step // steps, hits[i] * (step + 1) // steps
            found = before[i] + first + 1
            sums[i] += (end - first) * (found / (found + false[i]))
