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
from clipfast.kernels.screening_scan import (
    FACTS,
    Kept,
    exact_scores,
    in_one_row,
    keep_products,
    quantise,
    quantise_queries,
    rank_exactly,
    screen,
)
from clipfast.kernels.stripes import share_out, threads_to_use
from clipfast.types import Floats, Ints

__all__ = ["Found", "RowCodes", "Screened", "ScreenedRows", "codes_shapes", "encode_rows"]

_MOST_COLUMNS = (2**31 - 1) // (127 * 2047)  # sums of products stay within int32
_ROWS_PER_STRIPE = 1 << 14
_FEWEST_ROWS = 1 << 9  # of a stripe, however many queries there are
_QUERIES_PER_SCAN = 64
_SCANNED_FROM = 192  # rows: fewer are looked at exactly straight away
_INSERTED = 64  # hits: more are sorted
_CACHED = 1 << 25  # numbers of rows whose codes stay in a third cache
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
        if not wanted or not len(queries):
            return found

        def answer(part: slice, threads: int | None) -> None:
            for first in range(part.start, part.stop, _QUERIES_PER_SCAN):
                some = slice(first, min(first + _QUERIES_PER_SCAN, part.stop))
                candidates = self._candidates(queries[some], wanted, among, threads)
                self._rank(queries[some], candidates, names, (found.places[some], found.scores[some]))
                found.looked_at[some] = candidates[1][:, 1] - candidates[1][:, 0]

        # Many queries of rows that the third cache holds: each thread takes some queries, and nothing is to be joined.
        threads = threads_to_use(self._threads, length * len(queries) // _ROWS_PER_STRIPE)
        if threads > 1 and len(queries) >= 2 * QUERIES * threads and self.rows.size <= _CACHED:
            _share(lambda part: answer(part, 1), len(queries), threads)
        else:
            answer(slice(0, len(queries)), self._threads)
        return found

    def _rank(
        self, queries: Floats, candidates: tuple[Ints, Ints], names: Ints | None, best: tuple[Ints, Floats]
    ) -> None:
        """Fill the best places and scores from candidates in one row and where those of each query begin and end."""
        flat, spans = candidates
        wanted = best[0].shape[1]
        if wanted <= _INSERTED:
            rank_exactly(self.rows, queries, candidates, _WHOLE if names is None else names, best)
            return
        for query, (begin, end) in enumerate(spans.tolist()):
            places = flat[begin:end]
            scores = exact_scores(self.rows, places, queries[query])
            order = np.lexsort((places if names is None else names[places], -scores))[:wanted]
            best[0][query], best[1][query] = places[order], scores[order]

    def _candidates(self, queries: Floats, k: int, among: Ints | None, threads: int | None) -> tuple[Ints, Ints]:
        """Return the places that may be among the k best, those of one query after the other, and their spans."""
        length = len(self.rows) if among is None else len(among)
        if max(_SCANNED_FROM, 4 * k) >= length:  # few rows, or a good part of them: nothing is gained by looking twice
            spans = np.empty((len(queries), 2), np.int64)
            spans[:] = 0, length
            return np.arange(length) if among is None else among, spans
        if self.codes is None:
            return self._candidates_of_products(queries, k, among)
        asked = _quantised(queries, self._codes.shape[1])
        chosen = _WHOLE if among is None else among
        stripes = min(length * len(queries) // _ROWS_PER_STRIPE, length // max(_FEWEST_ROWS, k))
        kept: dict[int, Kept] = {}

        def scan(part: slice) -> None:
            kept[part.start] = screen(self._codes, self._facts, chosen, (part.start, part.stop), asked, k)

        _share(scan, length, threads_to_use(threads, stripes))
        return _joined([kept[start] for start in sorted(kept)], k)

    def _candidates_of_products(self, queries: Floats, k: int, among: Ints | None) -> tuple[Ints, Ints]:
        """The same from products in single precision: a sum of d terms in any order is off by less than d / 2^24."""
        columns = self.rows.shape[1]
        lengths = np.linalg.norm(queries.astype(np.float64), axis=1)
        # Powers of two: no digit changes, and no product leaves the range of single precision.
        exponents = np.frexp(np.abs(queries).max(axis=1))[1]
        queries = np.ldexp(queries, -exponents[:, None])
        lengths = np.ldexp(lengths, -exponents)
        # Scores so small that they round to one number are tied, although their products here are apart.
        gaps = (columns + 4) * 2.0**-23 * lengths * self._longest_row() + np.ldexp(2.0**-148, -exponents)
        step = max(1, _PRODUCTS // len(queries))
        length = len(self.rows) if among is None else len(among)
        kept: list[Kept] = []
        for first in range(0, length, step):
            part = slice(first, first + step)
            rows = self.rows[part] if among is None else self.rows[among[part]]
            kept.append(keep_products(queries @ rows.T, first, gaps, k))
        flat, spans = _joined(kept, k)
        return flat if among is None else among[flat], spans

    def _longest_row(self) -> float:
        if self._longest is None:
            longest = 0.0
            for first in range(0, len(self.rows), _ROWS_PER_STRIPE):
                part = self.rows[first : first + _ROWS_PER_STRIPE].astype(np.float64)
                longest = max(longest, float(np.einsum("md,md->m", part, part).max()))
            self._longest = float(np.sqrt(longest))
        return self._longest


def _joined(parts: list[Kept], k: int) -> tuple[Ints, Ints]:
    """Return of each query what may be among the k best of all parts together, and where it begins and ends."""
    if len(parts) == 1:
        return in_one_row(parts[0][0], parts[0][1])
    candidates: list[Ints] = []
    ends = [0]
    for query in range(len(parts[0][0])):
        floors = np.concatenate([part[3][query] for part in parts])
        floor = np.partition(floors, len(floors) - k)[len(floors) - k]
        for counts, places, highest, _ in parts:
            inside = highest[query, : counts[query]]
            candidates.append(places[query, : counts[query]][~(inside < floor)])
        ends.append(ends[-1] + sum(map(len, candidates[-len(parts) :])))
    return np.concatenate(candidates), np.column_stack([ends[:-1], ends[1:]])


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
