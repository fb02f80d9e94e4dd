"""The best rows by inner product, exactly, from a scan of 8-bit codes: four times fewer bytes than the rows themselves.

From every row the rows' mean is subtracted, which changes all products with a query by the same number. What is left of
a row, `y`, is kept as `s c`, a scale and int8 codes, with the length of the rest, `|y - s c|`; a query `q` as `t g` in
12 bits. Then <q, y> differs from `s t <g, c>` by at most |q| |y - s c| + |q - t g| |s c| (Cauchy-Schwarz). A row whose
highest possible product is below the k-th best lowest possible one cannot be among the k best; the few that remain are
looked at exactly. So the answer is that of a full scan, whatever the rows are: only the time depends on them.

Without codes, products come from a matrix product in single precision, whose rounding is bounded in the same way. In
every case a score is the product summed in double precision and rounded once, so it depends neither on the way, nor on
the number of queries or threads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from clipfast.errors import ShapeError
from clipfast.kernels.code_products import QUERIES, STEP, Codes, QueryCodes
from clipfast.kernels.screening_scan import FACTS, Kept, exact_scores, keep_products, quantise, quantise_queries, screen
from clipfast.kernels.stripes import share_out, threads_to_use
from clipfast.types import Floats, Ints

__all__ = ["Found", "RowCodes", "Screened", "ScreenedRows", "codes_shapes", "encode_rows"]

_MOST_COLUMNS = (2**31 - 1) // (127 * 2047)  # sums of products stay within int32
_ROWS_PER_STRIPE = 1 << 14
_FEWEST_ROWS = 1 << 9  # of a stripe, however many queries there are
_QUERIES_PER_SCAN = 64
_SCANNED_FROM = 192  # rows: fewer are looked at exactly straight away
_PRODUCTS = 1 << 22  # of one matrix product: 16 MB
_WHOLE = np.empty(0, np.int64)
_Number = TypeVar("_Number", bound=np.generic)


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


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """The best rows of several queries.

    Attributes:
        places: Numbers of the rows, best first, (q, k) int64, k at most the number of rows.
        scores: Inner products, summed in double precision, (q, k) float32.
        looked_at: How many rows had to be looked at exactly, of each query, (q,) int64.
    """

    places: Ints
    scores: Floats
    looked_at: Ints


@dataclass(frozen=True, slots=True, eq=False)
class RowCodes:
    """What is kept of rows for screening: a quarter of their memory.

    Attributes:
        codes: (m, d up to a multiple of 32) int8.
        facts: Scale, length of the rest, length of what is kept and of the row, (m, 4) float32.
        centre: What was subtracted from every row, (d,) float32.
    """

    codes: Codes
    facts: Floats
    centre: Floats

    def __len__(self) -> int:
        """How many rows."""
        return len(self.codes)


def codes_shapes(shape: tuple[int, ...]) -> tuple[tuple[int, int], tuple[int, int], tuple[int]]:
    """Return the shapes of codes, facts and centre of rows of a shape (m, d)."""
    count, columns = shape
    return (count, -(-columns // STEP) * STEP), (count, FACTS), (columns,)


def encode_rows(rows: Floats, *, centre: Floats | None = None, threads: int | None = None) -> RowCodes:
    """Encode rows, (m, d) float32, finite; without a `centre` their mean is subtracted."""
    _require_matrix(rows)
    if centre is None:
        centre = np.zeros(rows.shape[1], np.float32)
        if len(rows):
            centre[:] = rows.mean(axis=0, dtype=np.float64)
    codes_shape, facts_shape, _ = codes_shapes(rows.shape)
    made = RowCodes(np.empty(codes_shape, np.int8), np.empty(facts_shape, np.float32), centre)
    source = _read_only(rows)

    def work(part: slice) -> None:
        quantise(source[part], made.centre, made.codes[part], made.facts[part])

    _share(work, len(rows), threads_to_use(threads, len(rows) // _ROWS_PER_STRIPE))
    return made


class ScreenedRows:
    """Rows with their codes. Searching from several threads is safe.

    Args:
        rows: (m, d) float32, finite, d at most 8,260; kept, not copied.
        codes: Their codes, where they are there already; else they are made, and memory grows by a quarter.
        screened: False makes no codes: every search then reads the rows themselves.
        threads: That share a scan; None takes the cores of this process.

    Raises:
        ShapeError: Wrong shape or dtype, or codes of other rows.

    >>> rows = np.eye(3, dtype=np.float32)
    >>> ScreenedRows(rows).best(np.float32([0, 1, 0.5]), 2).places.tolist()
    [1, 2]
    """

    def __init__(
        self, rows: Floats, *, codes: RowCodes | None = None, screened: bool = True, threads: int | None = None
    ) -> None:
        _require_matrix(rows)
        self.rows = _read_only(rows)
        self._threads = threads
        self.codes: RowCodes | None = encode_rows(rows, threads=threads) if screened and codes is None else codes
        if self.codes is not None:
            shapes = self.codes.codes.shape, self.codes.facts.shape, self.codes.centre.shape
            if shapes != codes_shapes(rows.shape):
                raise ShapeError(f"codes must be those of rows {rows.shape}; got {shapes}. Encode the rows again.")
            self._codes, self._facts = _read_only(self.codes.codes), _read_only(self.codes.facts)
        self._longest: float | None = None

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
        found = self.best_of(query[None], k, None if among is None else np.flatnonzero(among))
        return Screened(found.places[0], found.scores[0], int(found.looked_at[0]))

    def best_of(self, queries: Floats, k: int, among: Ints | None = None, names: Ints | None = None) -> Found:
        """Find the `k` best rows of each query; fewer where there are fewer. Input is not checked.

        Args:
            queries: (q, d) float32, finite, C-contiguous.
            k: At least 1.
            among: Places of the rows that may be given, int64, each once; None is all.
            names: Numbers by which equal scores are put in order, (m,) int64; None takes the places.
        """
        length = len(self.rows) if among is None else len(among)
        wanted = min(k, length)
        found = Found(
            np.empty((len(queries), wanted), np.int64),
            np.empty((len(queries), wanted), np.float32),
            np.zeros(len(queries), np.int64),
        )
        if not wanted:
            return found
        # Few rows, or an answer that takes a good part of them: nothing is gained by looking twice.
        everything = (np.arange(length) if among is None else among) if max(_SCANNED_FROM, 4 * k) >= length else None
        for first in range(0, len(queries), _QUERIES_PER_SCAN):
            part = queries[first : first + _QUERIES_PER_SCAN]
            candidates = [everything] * len(part) if everything is not None else self._candidates(part, wanted, among)
            for query, places in enumerate(candidates, first):
                scores = exact_scores(self.rows, places, queries[query])
                order = np.lexsort((places if names is None else names[places], -scores))[:wanted]
                found.places[query], found.scores[query] = places[order], scores[order]
                found.looked_at[query] = len(places)
        return found

    def _candidates(self, queries: Floats, k: int, among: Ints | None) -> list[Ints]:
        """Return of each query the places that may be among the k best, in no order."""
        if self.codes is None:
            return self._candidates_of_products(queries, k, among)
        asked = _quantised(queries, self._codes.shape[1])
        chosen = _WHOLE if among is None else among
        length = len(self.rows) if among is None else len(among)
        stripes = min(length * len(queries) // _ROWS_PER_STRIPE, length // max(_FEWEST_ROWS, k))
        kept: dict[int, Kept] = {}

        def scan(part: slice) -> None:
            kept[part.start] = screen(self._codes, self._facts, chosen, (part.start, part.stop), asked, k)

        _share(scan, length, threads_to_use(self._threads, stripes))
        return _joined([kept[start] for start in sorted(kept)], k)

    def _candidates_of_products(self, queries: Floats, k: int, among: Ints | None) -> list[Ints]:
        """The same from products in single precision: a sum of d terms in any order is off by less than d / 2^24."""
        columns = self.rows.shape[1]
        lengths = np.linalg.norm(queries.astype(np.float64), axis=1)
        # Powers of two: no digit changes, and no product leaves the range of single precision.
        exponents = np.frexp(np.abs(queries).max(axis=1))[1]
        queries = np.ldexp(queries, -exponents[:, None])
        lengths = np.ldexp(lengths, -exponents)
        gaps = (columns + 4) * 2.0**-23 * lengths * self._longest_row()
        step = max(1, _PRODUCTS // len(queries))
        length = len(self.rows) if among is None else len(among)
        kept: list[Kept] = []
        for first in range(0, length, step):
            part = slice(first, first + step)
            rows = self.rows[part] if among is None else self.rows[among[part]]
            kept.append(keep_products(queries @ rows.T, first, gaps, k))
        places = _joined(kept, k)
        return places if among is None else [among[each] for each in places]

    def _longest_row(self) -> float:
        if self._longest is None:
            longest = 0.0
            for first in range(0, len(self.rows), _ROWS_PER_STRIPE):
                part = self.rows[first : first + _ROWS_PER_STRIPE].astype(np.float64)
                longest = max(longest, float(np.einsum("md,md->m", part, part).max()))
            self._longest = float(np.sqrt(longest))
        return self._longest


def _joined(parts: list[Kept], k: int) -> list[Ints]:
    """Return of each query what may be among the k best of all parts together."""
    if len(parts) == 1:
        counts, places, _, _ = parts[0]
        return [places[query, :count] for query, count in enumerate(counts.tolist())]
    candidates = []
    for query in range(len(parts[0][0])):
        floors = np.concatenate([part[3][query] for part in parts])
        floor = np.partition(floors, len(floors) - k)[len(floors) - k]
        found = [part[1][query, : part[0][query]][~(part[2][query, : part[0][query]] < floor)] for part in parts]
        candidates.append(np.concatenate(found))
    return candidates


def _quantised(queries: Floats, width: int) -> tuple[QueryCodes, NDArray[np.float64]]:
    """Return codes, and the scale, the length and the length of the rest of each query."""
    count = len(queries)
    codes = np.zeros((count if count == 1 else -(-count // QUERIES) * QUERIES, width), np.int16)
    measures = np.empty((count, 3))
    quantise_queries(queries, codes, measures)
    return codes, measures


def _share(work: Callable[[slice], None], count: int, threads: int) -> None:
    """Call `work(slice)` for equal parts of so many rows."""
    if threads == 1:
        if count:
            work(slice(0, count))
        return
    edges = [count * i // threads for i in range(threads + 1)]
    parts = [slice(begin, end) for begin, end in pairwise(edges) if end > begin]
    with share_out(threads) as for_each:
        for_each(lambda number: work(parts[number]), len(parts))


def _require_matrix(rows: Floats) -> None:
    if rows.ndim != 2 or rows.dtype != np.float32 or not 1 <= rows.shape[1] <= _MOST_COLUMNS:
        raise ShapeError(f"rows must be (m, d) float32, d 1 to {_MOST_COLUMNS}; got {rows.dtype} {rows.shape}.")


def _read_only(array: NDArray[_Number]) -> NDArray[_Number]:
    """One kind of array, so that a kernel is compiled once for rows in memory and for rows in a mapped file."""
    plain = np.ascontiguousarray(np.asarray(array)).view()
    plain.flags.writeable = False
    return plain
