"""Labelled scores counted into bins by several threads: what the streams of `streaming` keep."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipfast.errors import ShapeError, UndefinedMetricError
from clipfast.kernels.ranking import Levels, require_binary, require_finite
from clipfast.kernels.ranking_bins import BITS, BinnedScores
from clipfast.kernels.stripes import share_out, threads_to_use

__all__ = ["BinnedCounts"]

_MOST_THREADS = 8
_WORTH_A_THREAD = 1 << 18  # items; waking a thread takes as long as counting a few ten thousand


class BinnedCounts:
    """Counts of one type of scores; each thread has its own, which are added when levels are asked for.

    Calls from several threads wait for each other.

    Args:
        bits: Leading bits that make a bin, one of `BITS`.
        threads: How many threads share the counting; no result depends on it. None takes the cores of the process.

    Raises:
        ShapeError: If `bits` or `threads` is out of range.
    """

    def __init__(self, bits: int, threads: int | None) -> None:
        if bits not in BITS:
            raise ShapeError(f"bits must be {BITS.start} to {BITS.stop - 1}; got {bits}.")
        self.bits, self.threads = int(bits), threads_to_use(threads, _MOST_THREADS)
        self._lock = threading.Lock()
        self._dtype: np.dtype[Any] | None = None
        self._parts = [BinnedScores(bits)]

    def add(self, labels: NDArray[Any], scores: NDArray[Any]) -> None:
        """Count labels and scores, (n,); what is refused is not counted.

        Raises:
            ShapeError: If a label is neither 0 nor 1, a score not finite, or its type not that of those before.
        """
        if not len(scores):
            return
        with self._lock:
            self._add(labels, scores)

    def _add(self, labels: NDArray[Any], scores: NDArray[Any]) -> None:
        self._require_type(scores.dtype)
        count = max(1, min(self.threads, len(scores) // _WORTH_A_THREAD))
        while len(self._parts) < count:
            self._parts.append(BinnedScores(self.bits))
        edges = [len(scores) * part // count for part in range(count + 1)]

        def add(part: int, step: int = 1) -> int:
            some = slice(edges[part], edges[part + 1])
            return self._parts[part].add(labels[some], scores[some], step)

        wrong = np.zeros(count, np.int64)

        def count_part(part: int) -> None:
            wrong[part] = add(part)

        with share_out(count) as for_each:
            for_each(count_part, count)
        if wrong.any():
            for part in range(count):
                add(part, -1)
            require_binary(labels)
            require_finite(scores)
            raise ShapeError("scores must lie within float32's range, 3.4e38; some do not. Scale them down.")
        self._dtype = scores.dtype

    def merge(self, other: BinnedCounts) -> None:
        """Add what another has counted.

        Raises:
            ShapeError: If it has other bits, or scores of another type.
        """
        if other.bits != self.bits:
            raise ShapeError(f"streams must have the same bits; got {self.bits} and {other.bits}.")
        with other._lock:
            counted, dtype = BinnedScores(self.bits), other._dtype
            counted.merge(other._total())
        if dtype is not None:
            with self._lock:
                self._require_type(dtype)
                self._dtype = dtype
                self._parts[0].merge(counted)

    def levels(self, weights: NDArray[np.float64] | None = None) -> tuple[Levels, NDArray[np.bool_]]:
        """Return the levels, and which of them hold one value; see `BinnedScores.levels`.

        Raises:
            UndefinedMetricError: If nothing has come.
        """
        with self._lock:
            if self._dtype is None:
                raise UndefinedMetricError("Both classes must occur; nothing has come yet. Call update first.")
            return self._total().levels(self._dtype, weights)

    def _require_type(self, dtype: np.dtype[Any]) -> None:
        if self._dtype is not None and self._dtype != dtype:
            raise ShapeError(f"a stream takes scores of one type; got {dtype} after {self._dtype}. Convert them.")

    def _total(self) -> BinnedScores:
        """Bring what the threads have counted together, in the first part."""
        first, *others = self._parts
        for part in others:
            first.merge(part)
        self._parts = [first]
        return first
