"""The best rows by inner product, exactly, from a scan of 8-bit codes: four times fewer bytes than the rows themselves.

A row `x` is kept as `s c`, a scale and int8 codes, with the length of the rest, `|x - s c|`; a query `q` as `t g` in 12
bits. Then <q, x> differs from `s t <g, c>` by at most |q| |x - s c| + |q - t g| |s c| (Cauchy-Schwarz). A row whose
highest possible product is below the k-th best lowest possible one cannot be among the k best; the few that remain are
looked at exactly. So the answer is that of a full scan, whatever the rows are: only the time depends on them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numba import njit
from numpy.typing import NDArray

from clipfast.errors import ShapeError
from clipfast.kernels.stripes import share_out, threads_to_use
from clipfast.types import Floats, Ints

__all__ = ["Screened", "ScreenedRows"]

_ROW_LEVELS, _QUERY_LEVELS = 127, 2047
_MOST_COLUMNS = (2**31 - 1) // (_ROW_LEVELS * _QUERY_LEVELS)  # sums of products stay within int32
_ROWS_PER_STRIPE = 1 << 14
_BLOCK = 128  # rows whose codes stay in the second cache
_UP = 1 + 1e-6  # what was computed in floats and must not be too small
_TINY = 1e-12  # of the lengths: the rounding of the double-precision sums themselves

Bounds = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True, slots=True, eq=False)
class Screened:
    """The best rows of one query.

    Attributes:
        places: Numbers of the rows, best first; of equal scores the lowest number first, (k,) int64.
        scores: Inner products, summed in double precision, (k,) float32.
        looked_at: How many rows had to be looked at exactly.
    """

    places: Ints
    scores: Floats
    looked_at: int


class ScreenedRows:
    """Rows with their codes; memory grows by a quarter. Searching from several threads is safe.

    Args:
        rows: (m, d) float32, finite, d at most 8,260; kept, not copied.
        threads: That share a scan; None takes the cores of this process.

    >>> rows = np.eye(3, dtype=np.float32)
    >>> ScreenedRows(rows).best(np.float32([0, 1, 0.5]), 2).places.tolist()
    [1, 2]
    """

    def __init__(self, rows: Floats, *, threads: int | None = None) -> None:
        if rows.ndim != 2 or rows.dtype != np.float32 or not 1 <= rows.shape[1] <= _MOST_COLUMNS:
            raise ShapeError(f"rows must be (m, d) float32, d 1 to {_MOST_COLUMNS}; got {rows.dtype} {rows.shape}.")
        self.rows = np.ascontiguousarray(rows)
        self._threads = threads
        self._codes = np.empty(rows.shape, np.int8)
        self._bounds: Bounds = (np.empty(len(rows)), np.empty(len(rows)), np.empty(len(rows)))
        self._share(
            lambda part: _quantise(self.rows[part], self._codes[part], *(each[part] for each in self._bounds)),
            len(rows),
        )

    def best(self, query: Floats, k: int, among: NDArray[np.bool_] | None = None) -> Screened:
        """Find the `k` rows with the highest inner product; fewer where there are fewer.

        Args:
            query: (d,) float32, finite.
            k: At least 1.
            among: Rows that may be given, (m,); None is all.

        Raises:
            ShapeError: Wrong shape or dtype, or `k` below 1.
        """
        count, columns = self.rows.shape
        if query.shape != (columns,) or query.dtype != np.float32 or not np.isfinite(query).all():
            raise ShapeError(f"query must be ({columns},) finite float32; got {query.dtype} {query.shape}.")
        if k < 1 or (among is not None and (among.shape != (count,) or among.dtype != np.bool_)):
            raise ShapeError(f"k must be at least 1 and among ({count},) booleans; got {k} and {among!r}.")
        chosen = np.arange(count) if among is None else np.flatnonzero(among)
        codes, facts = _quantised_query(query)
        wanted = min(k, max(1, len(chosen)))
        kept: dict[int, tuple[Ints, NDArray[np.float64], NDArray[np.float64]]] = {}

        def scan(part: slice) -> None:
            kept[part.start] = _screen(self._codes, self._bounds, codes, facts, wanted, chosen[part])

        self._share(scan, len(chosen))
        if not kept:
            return Screened(np.empty(0, np.int64), np.empty(0, np.float32), 0)
        places, highest, floors = (np.concatenate([kept[start][i] for start in sorted(kept)]) for i in range(3))
        places = places[highest >= np.sort(floors)[-wanted]]
        scores = _exact(self.rows, places, query)
        order = np.lexsort((places, -scores))[:k]
        return Screened(places[order], scores[order], len(places))

    def _share(self, work: Callable[[slice], None], count: int) -> None:
        """Call `work(slice)` for equal parts of so many rows, each at least as long as a thread is worth."""
        threads = threads_to_use(self._threads, count // _ROWS_PER_STRIPE)
        edges = [count * i // threads for i in range(threads + 1)]
        parts = [slice(begin, end) for begin, end in pairwise(edges) if end > begin]
        with share_out(threads) as for_each:
            for_each(lambda number: work(parts[number]), len(parts))


def _quantised_query(query: Floats) -> tuple[NDArray[np.int16], tuple[float, float, float]]:
    """Codes, and the scale, the length, and the length of the rest."""
    exact = query.astype(np.float64)
    scale = float(np.abs(exact).max()) / _QUERY_LEVELS or 1.0
    codes = np.rint(exact / scale).astype(np.int16)
    rest = float(np.linalg.norm(exact - scale * codes))
    return codes, (scale, float(np.linalg.norm(exact)), rest)


@njit(cache=True, nogil=True)
def _quantise(
    rows: Floats,
    codes: NDArray[np.int8],
    scales: NDArray[np.float64],
    rests: NDArray[np.float64],
    lengths: NDArray[np.float64],
) -> None:
    """Fill codes, scales, lengths of what is left over, and lengths of what is kept."""
    for i in range(rows.shape[0]):
        most = 0.0
        for j in range(rows.shape[1]):
            most = max(most, abs(np.float64(rows[i, j])))
        scale = most / _ROW_LEVELS if most > 0 else 1.0
        rest = 0.0
        kept = 0.0
        for j in range(rows.shape[1]):
            code = np.rint(rows[i, j] / scale)
            codes[i, j] = np.int8(code)
            rest += (rows[i, j] - scale * code) ** 2
            kept += (scale * code) ** 2
        scales[i] = scale
        rests[i] = np.sqrt(rest) * _UP
        lengths[i] = np.sqrt(kept) * _UP


@njit(cache=True, nogil=True)
def _screen(
    codes: NDArray[np.int8],
    bounds: Bounds,
    query: NDArray[np.int16],
    facts: tuple[float, float, float],
    k: int,
    chosen: Ints,
) -> tuple[Ints, NDArray[np.float64], NDArray[np.float64]]:
    """Return which of `chosen` may be among the k best, their highest possible products, and the k best lowest ones.

    Rows are taken in blocks: products first, in loops that do nothing else, and then, only if the best of the block
    could matter, one by one.
    """
    scales, rests, lengths = bounds
    scale, length, rest = facts
    floor = np.full(k, -np.inf)  # a heap: the smallest of the k best lowest possible products is first
    places = np.empty(len(chosen), np.int64)
    highest = np.empty(len(chosen), np.float64)
    gathered = np.empty((_BLOCK, codes.shape[1]), np.int8)
    about = np.empty(_BLOCK, np.float64)
    off = np.empty(_BLOCK, np.float64)
    count = 0
    for begin in range(0, len(chosen), _BLOCK):
        size = min(_BLOCK, len(chosen) - begin)
        first = chosen[begin]
        if chosen[begin + size - 1] - first == size - 1:  # neighbours, read where they stand
            _products(codes, first, size, query, about)
        else:  # copied first: a copy waits for many rows at once, a product for one
            for i in range(size):
                row = chosen[begin + i]
                for j in range(codes.shape[1]):
                    gathered[i, j] = codes[row, j]
            _products(gathered, 0, size, query, about)
        best = -np.inf
        for i in range(size):
            row = chosen[begin + i]
            about[i] *= scale * scales[row]
            off[i] = (length * rests[row] + rest * lengths[row]) * _UP + _TINY * length * lengths[row]
            best = max(best, about[i] + off[i])
        if best < floor[0]:
            continue
        for i in range(size):
            if about[i] + off[i] >= floor[0]:
                places[count] = chosen[begin + i]
                highest[count] = about[i] + off[i]
                count += 1
                if about[i] - off[i] > floor[0]:
                    _replace_smallest(floor, about[i] - off[i])
    return places[:count].copy(), highest[:count].copy(), floor


@njit(cache=True, nogil=True)
def _products(
    codes: NDArray[np.int8], first: int, size: int, query: NDArray[np.int16], out: NDArray[np.float64]
) -> None:
    """Fill the products of so many rows from `first` on."""
    for i in range(size):
        total = np.int32(0)
        for j in range(codes.shape[1]):
            total += np.int32(codes[first + i, j]) * np.int32(query[j])
        out[i] = total


@njit(cache=True, nogil=True)
def _replace_smallest(heap: NDArray[np.float64], value: float) -> None:
    at = 0
    while True:
        child = 2 * at + 1
        if child >= len(heap):
            break
        if child + 1 < len(heap) and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= value:
            break
        heap[at] = heap[child]
        at = child
    heap[at] = value


@njit(cache=True, nogil=True)
def _exact(rows: Floats, places: Ints, query: Floats) -> Floats:
    scores = np.empty(len(places), np.float32)
    for i in range(len(places)):
        total = 0.0
        for j in range(rows.shape[1]):
            total += np.float64(rows[places[i], j]) * np.float64(query[j])
        scores[i] = np.float32(total)
    return scores
