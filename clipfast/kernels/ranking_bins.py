"""Labelled scores counted into fixed bins: what a ranking needs of a stream that is too long to keep.

A bin is the first bits of a score's pattern, in the order of the scores: bins need no range beforehand, and no count
depends on the order or the grouping of what comes. Each bin also counts the scores that are its lower edge to the last
bit. If all are, as with zeros, ones and all scores of 16 bits, the bin is a tie, and how it ranks is known exactly.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from clipfast.kernels.ranking import Levels, levels_of_counts
from clipfast.kernels.ranking_keys import count_patterns
from clipfast.types import Ints

__all__ = ["BITS", "BinnedScores", "patterns_of", "places_of", "sums_of_shares"]

BITS = range(19, 25)  # 19 tell all float16 apart
_BLOCK = 4096  # items that the nearest cache holds
_UINT16 = 14  # how far a uint16 is shifted: the pattern of a positive float, and 18 bits tell all apart
_INFINITY = 0x7F800000
_SIGN, _ZERO, _TWO = np.uint32(1 << 31), np.uint32(0), np.uint64(2)
_State: TypeAlias = tuple[Ints, Ints, Ints]
"""`counts`, `edges` and `span` of `BinnedScores`."""


@dataclass(slots=True, eq=False)
class BinnedScores:
    """Counts of labelled scores by bin.

    Attributes:
        bits: Leading bits that make a bin, one of `BITS`; memory is at most 24 bytes for each of 2**bits bins.
        counts: Negatives and positives by bin, (2 * 2**bits,) int64.
        edges: How many of them are exactly the lower edge of their bin, (2**bits,) int64.
        span: The first and the last bin that anything has come to, (2,) int64.
    """

    bits: int
    counts: Ints = field(init=False)
    edges: Ints = field(init=False)
    span: Ints = field(init=False)

    def __post_init__(self) -> None:
        self.counts = np.zeros(2 << self.bits, np.int64)  # pages that are never touched take no memory
        self.edges = np.zeros(1 << self.bits, np.int64)
        self.span = np.array([1 << self.bits, -1], np.int64)

    def add(self, labels: NDArray[Any], scores: NDArray[Any], step: int = 1) -> int:
        """Count scores; unless 0 is returned, something was wrong, and the same call with -1 takes all of it back.

        Args:
            labels: 0 and 1, (n,) integer.
            scores: float16, float32, float64, uint8 or uint16, (n,), contiguous.
            step: 1, or -1 to take back.

        Returns:
            How many scores were not finite or beyond float32, and how many blocks held other labels.
        """
        state, shift = (self.counts, self.edges, self.span), 32 - self.bits
        if scores.dtype.itemsize > 2:
            count = _add_singles if scores.dtype == np.float32 else _add_doubles
            with np.errstate(over="ignore"):  # without the compiler, what is beyond float32 would warn
                return int(count(labels, scores.view(f"int{8 * scores.dtype.itemsize}"), shift, step, state))
        if len(labels) and (labels.min() < 0 or labels.max() > 1):
            return 1
        by_pattern = count_patterns(labels, scores)
        values = np.arange(by_pattern.shape[1], dtype=f"uint{8 * scores.dtype.itemsize}").view(scores.dtype)
        came = by_pattern.any(axis=0) & np.isfinite(values)
        _add_counts(by_pattern[:, came] * step, patterns_of(values[came]), shift, state)
        return int(by_pattern[:, ~np.isfinite(values)].sum())

    def merge(self, other: BinnedScores) -> None:
        """Add what another of the same bits has counted."""
        filled = other.filled()
        self.counts[2 * filled] += other.counts[2 * filled]
        self.counts[2 * filled + 1] += other.counts[2 * filled + 1]
        self.edges[filled] += other.edges[filled]
        self.span[:] = min(self.span[0], other.span[0]), max(self.span[1], other.span[1])

    def filled(self) -> Ints:
        """Return the bins that hold anything, ascending."""
        found = np.empty(max(0, int(self.span[1] - self.span[0]) + 1), np.int64)
        return found[: _find_filled(self.counts, self.span, found)]

    def levels(
        self, dtype: np.dtype[Any], weights: NDArray[np.float64] | None = None
    ) -> tuple[Levels, NDArray[np.bool_]]:
        """Return the levels of the scores rounded down to their bins, and which of them are ties, (m,).

        Args:
            dtype: What the scores were.
            weights: Sums of the positives' weights by bin, (2**bits,); each weighs 1 if left out.
        """
        filled = self.filled()
        others, hits = self.counts[2 * filled], self.counts[2 * filled + 1]
        tied = self.edges[filled] == others + hits
        values = _scores_of(filled.astype(np.uint32) << np.uint32(32 - self.bits), dtype)
        levels = levels_of_counts(values, hits, others, hits if weights is None else weights[filled])
        return levels, tied[np.flatnonzero(hits)[::-1]]


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
    """Return the scores whose patterns `_in_order` makes these: the inverse."""
    distance = ordered.astype(np.int64) - (1 << 31)
    if dtype == np.uint16:
        return distance >> _UINT16
    magnitudes = np.abs(distance).astype(np.uint32).view(np.float32)
    return np.copysign(magnitudes, distance.astype(np.float32))


@njit(cache=True, nogil=True)
def _in_order(bits: Any) -> Any:
    """Return a float32's pattern as an unsigned integer in the order of the scores, 2**31 for both zeros.

    Round numbers, whose last bits are 0, keep these on either side of zero: they are edges of bins.
    """
    negative = bits >> 31  # 0 or -1
    return np.uint32(((bits & 0x7FFFFFFF) ^ negative) - negative) ^ _SIGN  # adds 2**31, modulo 2**32


@njit(cache=True, nogil=True)
def _extent(values: NDArray[Any]) -> tuple[Any, Any]:
    """Return the smallest and the largest of integers; NumPy's would look at one after the other."""
    low, high = values[0], values[0]
    for i in range(len(values)):
        low, high = min(low, values[i]), max(high, values[i])
    return low, high


@njit(cache=True, nogil=True)
def _add_singles(labels: NDArray[Any], patterns: NDArray[np.int32], shift: int, step: int, state: _State) -> int:
    """Add `step` to the count of each float32; see `BinnedScores.add`.

    Block by block, because what is wrong or negative is found by vectors first: the loop over plain positive numbers
    then does nothing but count.
    """
    counts, edges, span = state
    bits, rest = np.uint32(shift), np.uint32((1 << shift) - 1)
    wrong = 0
    for begin in range(0, len(patterns), _BLOCK):
        block, some = patterns[begin : begin + _BLOCK], labels[begin : begin + _BLOCK]
        low, high = _extent(block)
        least, most = _extent(some)
        if least < 0 or most > 1:
            wrong += 1
            continue
        if low >= 0 and high < _INFINITY:
            for i in range(len(block)):
                ordered = np.uint32(block[i]) | _SIGN
                place = np.uint64(ordered >> bits)  # unsigned: no look for indices from the end
                counts[_TWO * place + np.uint64(some[i])] += step
                if (ordered & rest) == _ZERO:  # rare, or nearly always: a branch costs little
                    edges[place] += step
            _widen(span, _in_order(low) >> bits, _in_order(high) >> bits)
            continue
        for i in range(len(block)):
            wrong += (block[i] & 0x7FFFFFFF) >= _INFINITY
            ordered = _in_order(block[i])
            place = np.uint64(ordered >> bits)
            counts[_TWO * place + np.uint64(some[i])] += step
            edges[place] += step * ((ordered & rest) == _ZERO)
            _widen(span, place, place)
    return wrong


@njit(cache=True, nogil=True)
def _add_doubles(labels: NDArray[Any], patterns: Ints, shift: int, step: int, state: _State) -> int:
    """Do as `_add_singles` with float64 rounded down; what had to be rounded is no edge."""
    counts, edges, span = state
    bits, rest = np.uint32(shift), np.uint32((1 << shift) - 1)
    scores = patterns.view(np.float64)
    wrong = 0
    for begin in range(0, len(scores), _BLOCK):
        block, some = scores[begin : begin + _BLOCK], labels[begin : begin + _BLOCK]
        least, most = _extent(some)
        if least < 0 or most > 1:
            wrong += 1
            continue
        for i in range(len(block)):
            single = np.float32(block[i])
            wrong += not (abs(single) < np.inf)
            ordered = np.uint32(_in_order(single.view(np.int32)) - np.uint32(single > block[i]))
            place = np.uint64(ordered >> bits)
            counts[_TWO * place + np.uint64(some[i])] += step
            edges[place] += step * ((single == block[i]) & ((ordered & rest) == _ZERO))
            _widen(span, place, place)
    return wrong


@njit(cache=True, nogil=True)
def _add_counts(by_pattern: Ints, patterns: NDArray[np.int32], shift: int, state: _State) -> None:
    """Add the negatives and positives that have these patterns, (2, n), each the edge of a bin."""
    counts, edges, span = state
    for i in range(len(patterns)):
        place = np.uint64(_in_order(patterns[i]) >> np.uint32(shift))
        counts[_TWO * place] += by_pattern[0, i]
        counts[_TWO * place + np.uint64(1)] += by_pattern[1, i]
        edges[place] += by_pattern[0, i] + by_pattern[1, i]
        _widen(span, place, place)


@njit(cache=True, nogil=True)
def _widen(span: Ints, low: Any, high: Any) -> None:
    """Take bins `low` to `high` into the span."""
    span[0], span[1] = min(span[0], np.int64(low)), max(span[1], np.int64(high))


@njit(cache=True, nogil=True)
def _find_filled(counts: Ints, span: Ints, found: Ints) -> int:
    """Write the bins in `span` that hold anything; return how many there are."""
    filled = np.int64(0)
    for place in range(span[0], span[1] + 1):
        if counts[2 * place] | counts[2 * place + 1]:
            found[filled] = place
            filled += 1
    return int(filled)


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
