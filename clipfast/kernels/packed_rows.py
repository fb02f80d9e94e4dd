"""Exact nearest rows from bfloat16 products: half the bytes and, where the CPU multiplies them, half the time.

Rows and queries are moved by the rows' mean, which changes no distance. Then the nearest row of a query `q` has the
largest <q, y> - |y|^2 / 2. The products are taken from numbers rounded to bfloat16, `y'` and `q'`, and are off by at
most |q| |y - y'| + |q - q'| |y'| (Cauchy-Schwarz) and the rounding of sums in single precision. A row that is behind
the best by more than twice that cannot be the nearest; the few that remain, one or two of 20,000 patches, are compared
in double precision. So the answer is that of a full search. Where so many rows are alike that hundreds remain, or
numbers are so large that products leave single precision, the search gives up on the query and says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from clipfast.kernels.bf16_tiles import QUERIES, ROWS, available, pack
from clipfast.kernels.nearest_scan import GIVEN_UP, Kept, keep, settle
from clipfast.kernels.stripes import share_out, threads_to_use
from clipfast.types import Floats, Ints

__all__ = ["GIVEN_UP", "NearestPlaces", "PackedRows", "available"]

_QUERIES_PER_SCAN = 28 * QUERIES  # whose words stay in a second cache
_TILES_PER_STRIPE = 1 << 6
_WHOLE = np.empty(0, np.bool_)
_LONGEST = 1e15  # length of a row from their mean, of which half the square is still far from the end of float32


@dataclass(frozen=True, slots=True, eq=False)
class NearestPlaces:
    """The nearest row of each query.

    Attributes:
        places: Numbers of the rows, of equally near ones the lowest, (q,) int64; GIVEN_UP where they are not known.
        looked_at: How many rows had to be looked at exactly, (q,) int64.
    """

    places: Ints
    looked_at: Ints


class PackedRows:
    """Rows with their bfloat16 words, half their memory, for CPUs that multiply those. Safe from several threads.

    Args:
        rows: (m, c) float32, finite, C-contiguous, one at least; kept, not copied.
        threads: That share a search; None takes the cores of this process.
    """

    def __init__(self, rows: Floats, *, threads: int | None = None) -> None:
        self.rows = rows
        self._threads = threads
        self._centre = rows.mean(axis=0, dtype=np.float64).astype(np.float32)
        panels = -(-len(rows) // ROWS)
        self._panels = np.zeros((panels, -(-rows.shape[1] // 2), ROWS), np.int32)
        facts = np.zeros((panels * ROWS, 3))

        def work(part: slice) -> None:
            first = slice(part.start * ROWS, part.stop * ROWS)
            pack(rows[first], self._centre, self._panels[part], facts[first])

        _share(work, panels, threads_to_use(threads, panels // _TILES_PER_STRIPE))
        self._rest, self._kept, self._whole = (float(each) for each in facts.max(axis=0))
        offsets = np.full(panels * ROWS, -np.inf, np.float32)
        with np.errstate(over="ignore"):  # of rows so long that they are not searched here
            offsets[: len(rows)] = facts[: len(rows), 2] ** 2 * -0.5
        self._offsets: Floats = offsets.reshape(panels, ROWS)

    def nearest(self, queries: Floats, barred: NDArray[np.bool_] | None = None) -> NearestPlaces:
        """Find the nearest row of each query by Euclidean distance; input is not checked.

        Args:
            queries: (q, c) float32, finite, C-contiguous.
            barred: Rows that must not be taken, (m,); not all of them.
        """
        offsets = self._offsets
        if barred is not None:
            offsets = offsets.copy()
            np.put(offsets, np.flatnonzero(barred), -np.inf)
        places, looked_at = np.full(len(queries), GIVEN_UP), np.zeros(len(queries), np.int64)
        if self._whole > _LONGEST:
            return NearestPlaces(places, looked_at)
        for first in range(0, len(queries), _QUERIES_PER_SCAN):
            some = slice(first, first + _QUERIES_PER_SCAN)
            kept = self._keep(queries[some], offsets)
            unwanted = _WHOLE if barred is None else barred
            settle(self.rows, queries[some], kept, unwanted, (places[some], looked_at[some]))
        return NearestPlaces(places, looked_at)

    def _keep(self, queries: Floats, offsets: Floats) -> tuple[Kept, ...]:
        count, columns = queries.shape
        tiles = np.zeros((-(-count // QUERIES), self._panels.shape[1], QUERIES), np.int32)
        facts = np.empty((count, 3))
        pack(queries, self._centre, tiles, facts)
        rest, rounded, whole = facts.T
        # A sum of d products in single precision, in any order, is off by less than d / 2^24 of the lengths' product.
        sums = (columns + 16) * (2.0**-23 * (rounded * self._kept + self._whole**2) + 2.0**-125)
        gaps = (whole * self._rest + rest * self._kept) * (1 + 1e-9) + sums
        panels = len(self._panels)
        kept: dict[int, Kept] = {}

        def look(part: slice) -> None:
            kept[part.start] = keep(self._panels, offsets, tiles, gaps, (part.start, part.stop))

        _share(look, panels, threads_to_use(self._threads, panels * len(tiles) // _TILES_PER_STRIPE))
        return tuple(kept[start] for start in sorted(kept))


def _share(work: Callable[[slice], None], count: int, threads: int) -> None:
    """Call `work(slice)` for equal parts of so many panels."""
    edges = [count * i // threads for i in range(threads + 1)]
    parts = [slice(begin, end) for begin, end in pairwise(edges)]
    with share_out(threads) as for_each:
        for_each(lambda number: work(parts[number]), len(parts))
