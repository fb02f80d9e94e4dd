"""The compiled part of a screened scan: codes of rows, which rows may be among the best, and their exact scores."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from clipfast.kernels.code_products import QUERIES, Codes, QueryCodes, four_rows, two_rows_four_queries
from clipfast.types import Floats, Ints

__all__ = [
    "FACTS",
    "exact_scores",
    "in_one_row",
    "keep_products",
    "quantise",
    "quantise_queries",
    "rank_exactly",
    "screen",
]

FACTS = 4
"""Numbers kept of a row: scale, length of the rest, length of what is kept, length of the row itself."""

_ROW_LEVELS, _QUERY_LEVELS = 127, 2047
_BLOCK = 128  # rows whose codes stay in the second cache
_UP = 1 + 1e-6  # what was computed in floats and must not be too small
_TINY = 1e-12  # of the lengths: the rounding of the double-precision sums themselves
_ROUNDED = 1.2e-7  # scores are float32, and rows whose scores round to one number are tied
_LEAST = 1e-37  # below it float32 loses digits
_LANES = 8
_FEWEST_KEPT = 1024  # places that a scan has room for at first

Kept = tuple[Ints, Ints, NDArray[np.float64], NDArray[np.float64]]
"""Of each query: how many rows were kept (q,), their places and highest products (q, room), its k best lowest ones."""


@njit(cache=True, nogil=True)
def quantise(rows: Floats, centre: Floats, codes: Codes, facts: Floats) -> None:
    """Fill codes, (n, at least d), and facts, (n, FACTS), of rows (n, d) from which `centre`, (d,), is subtracted."""
    columns = rows.shape[1]
    for i in range(rows.shape[0]):
        most = 0.0
        whole = 0.0
        for j in range(columns):
            value = np.float64(rows[i, j])
            most = max(most, abs(value - np.float64(centre[j])))
            whole += value * value
        scale = np.float64(np.float32(most / _ROW_LEVELS * _UP)) if most > _LEAST * _ROW_LEVELS else 0.0
        inverse = 1 / scale if scale > 0 else 0.0
        rest = 0.0
        kept = 0.0
        for j in range(columns):
            value = np.float64(rows[i, j]) - np.float64(centre[j])
            code = np.rint(value * inverse)
            codes[i, j] = np.int8(code)
            rest += (value - scale * code) ** 2
            kept += (scale * code) ** 2
        for j in range(columns, codes.shape[1]):
            codes[i, j] = 0
        facts[i, 0] = scale
        facts[i, 1] = np.sqrt(rest) * _UP + _LEAST
        facts[i, 2] = np.sqrt(kept) * _UP + _LEAST
        facts[i, 3] = np.sqrt(whole) * _UP + _LEAST


@njit(cache=True, nogil=True)
def quantise_queries(queries: Floats, codes: QueryCodes, measures: NDArray[np.float64]) -> None:
    """Fill codes, zeros up to now, and of each query, (q, d), its scale, its length and the length of its rest."""
    for i in range(queries.shape[0]):
        most = 0.0
        length = 0.0
        for j in range(queries.shape[1]):
            value = np.float64(queries[i, j])
            most = max(most, abs(value))
            length += value * value
        scale = most / _QUERY_LEVELS if most > 0 else 1.0
        rest = 0.0
        for j in range(queries.shape[1]):
            value = np.float64(queries[i, j])
            code = np.rint(value / scale)
            codes[i, j] = np.int16(code)
            rest += (value - scale * code) ** 2
        measures[i, 0] = scale
        measures[i, 1] = np.sqrt(length) * _UP
        measures[i, 2] = np.sqrt(rest) * _UP


@njit(cache=True, nogil=True)
def screen(
    codes: Codes,
    facts: Floats,
    chosen: Ints,
    span: tuple[int, int],
    asked: tuple[QueryCodes, NDArray[np.float64]],
    k: int,
) -> Kept:
    """Return which rows may be among the k best of each query.

    Args:
        codes: (m, d), d a multiple of the step.
        facts: (m, FACTS).
        chosen: Places of the rows to look at; empty is all.
        span: The part of `chosen`, or of all rows, that this call scans.
        asked: Codes of the queries, (q, d), rows of zeros up to a multiple of QUERIES if there are several; and of each
            query its scale, its length and the length of its rest, (q, 3).
        k: How many best rows are wanted, at least 1.

    Rows are taken in blocks: products first, in loops that do nothing else, and then, only if one of the block could
    matter, one by one. Chosen rows are read where they stand, several at a time.
    """
    queries, measures = asked
    begin, end = span
    count = len(measures)
    counts, places, highest, floors = _nothing_kept(count, k)
    room = places.shape[1]
    where = np.empty(_BLOCK, np.int64)
    known = np.empty((FACTS, _BLOCK), np.float64)
    products = np.zeros((len(queries), _BLOCK), np.int32)
    about = np.empty(_BLOCK, np.float64)
    off = np.empty(_BLOCK, np.float64)
    for first in range(begin, end, _BLOCK):
        size = min(_BLOCK, end - first)
        for i in range(_BLOCK):
            at = first + min(i, size - 1)
            where[i] = chosen[at] if len(chosen) else at
        for i in range(size):
            for fact in range(FACTS):
                known[fact, i] = facts[where[i], fact]
        _fill(codes, where, size, queries, products)
        for query in range(count):
            scale, length, rest = measures[query]
            floor = floors[query, 0]
            above = 0
            for i in range(size):
                about[i] = scale * known[0, i] * products[query, i]
                off[i] = (
                    (length * known[1, i] + rest * known[2, i]) * _UP
                    + length * (_TINY * known[2, i] + _ROUNDED * known[3, i])
                    + _LEAST
                )
                above += not about[i] + off[i] < floor  # what is not a number must be looked at
            if above == 0:
                continue
            if counts[query] + size > room:
                places, highest, room = _make_room(places, highest, counts, floors)
            counts[query] = _keep(
                where, about, off, size, (places[query], highest[query], floors[query]), counts[query]
            )
    _drop_all(counts, places, highest, floors)
    return counts, places, highest, floors


@njit(cache=True, nogil=True)
def keep_products(products: Floats, first: int, gaps: NDArray[np.float64], k: int) -> Kept:
    """Return what `screen` returns, from products in single precision, (q, n), of rows `first` and on.

    `gaps`, (q,), says how far a product of each query may be from the exact one.
    """
    count, rows = products.shape
    counts, places, highest, floors = _nothing_kept(count, k)
    room = places.shape[1]
    where = np.empty(_BLOCK, np.int64)
    about = np.empty(_BLOCK, np.float64)
    off = np.empty(_BLOCK, np.float64)
    for query in range(count):
        off[:] = gaps[query]
        for begin in range(0, rows, _BLOCK):
            size = min(_BLOCK, rows - begin)
            floor = floors[query, 0] - gaps[query]
            above = 0
            for i in range(size):
                about[i] = products[query, begin + i]
                above += not about[i] < floor
            if above == 0:
                continue
            for i in range(size):
                where[i] = first + begin + i
            if counts[query] + size > room:
                places, highest, room = _make_room(places, highest, counts, floors)
            counts[query] = _keep(
                where, about, off, size, (places[query], highest[query], floors[query]), counts[query]
            )
    _drop_all(counts, places, highest, floors)
    return counts, places, highest, floors


@njit(cache=True, nogil=True)
def exact_scores(rows: Floats, places: Ints, query: Floats) -> Floats:
    """Return products of some rows with a query, summed in double precision in one order, rounded once."""
    sums = np.empty(_LANES, np.float64)
    scores = np.empty(len(places), np.float32)
    for i in range(len(places)):
        scores[i] = _exact(rows[places[i]], query, sums)
    return scores


@njit(cache=True, nogil=True)
def rank_exactly(
    rows: Floats,
    queries: Floats,
    candidates: tuple[Ints, Ints],
    names: Ints,
    best: tuple[Ints, Floats],
) -> None:
    """Fill the best places and scores of each query, (q, k) each, from its candidates, of which there are at least k.

    Candidates are places in one row, and where those of each query begin and end, (q, 2). Equal scores stand in the
    order of `names`, (m,), or, where that is empty, of the places. The time grows with k: it is for small ones.
    """
    flat, spans = candidates
    places, scores = best
    k = places.shape[1]
    called = np.empty(k, np.int64)
    sums = np.empty(_LANES, np.float64)
    for query in range(len(queries)):
        found = 0
        for i in range(spans[query, 0], spans[query, 1]):
            place = flat[i]
            score = _exact(rows[place], queries[query], sums)
            name = names[place] if len(names) else place
            if found == k:
                if score < scores[query, k - 1] or (score == scores[query, k - 1] and name > called[k - 1]):
                    continue
            else:
                found += 1
            at = found - 1
            while at > 0 and (
                scores[query, at - 1] < score or (scores[query, at - 1] == score and called[at - 1] > name)
            ):
                scores[query, at] = scores[query, at - 1]
                places[query, at] = places[query, at - 1]
                called[at] = called[at - 1]
                at -= 1
            scores[query, at] = score
            places[query, at] = place
            called[at] = name


@njit(cache=True, nogil=True)
def in_one_row(counts: Ints, places: Ints) -> tuple[Ints, Ints]:
    """Return the places kept of each query, (q, room), one after another, and where each query's begin and end."""
    flat = np.empty(counts.sum(), np.int64)
    spans = np.empty((len(counts), 2), np.int64)
    end = 0
    for query in range(len(counts)):
        spans[query, 0] = end
        flat[end : end + counts[query]] = places[query, : counts[query]]
        end += counts[query]
        spans[query, 1] = end
    return flat, spans


@njit(cache=True, nogil=True)
def _exact(row: Floats, query: Floats, sums: NDArray[np.float64]) -> np.float32:
    columns = len(row)
    whole = columns - columns % _LANES
    sums[:] = 0.0
    for j in range(0, whole, _LANES):
        for lane in range(_LANES):
            sums[lane] += np.float64(row[j + lane]) * np.float64(query[j + lane])
    total = 0.0
    for lane in range(_LANES):
        total += sums[lane]
    for j in range(whole, columns):
        total += np.float64(row[j]) * np.float64(query[j])
    return np.float32(total)


@njit(cache=True, nogil=True)
def _fill(codes: Codes, where: Ints, size: int, queries: QueryCodes, products: NDArray[np.int32]) -> None:
    """Fill the products of a block with every query; beyond `size` the last row stands again."""
    if len(queries) == 1:
        for i in range(0, size, 4):
            a, b, c, d = four_rows(codes, (where[i], where[i + 1], where[i + 2], where[i + 3]), queries, 0)
            products[0, i] = a
            products[0, i + 1] = b
            products[0, i + 2] = c
            products[0, i + 3] = d
        return
    for first in range(0, len(queries), QUERIES):
        for i in range(0, size, 2):
            a, b, c, d, e, f, g, h = two_rows_four_queries(codes, (where[i], where[i + 1]), queries, first)
            products[first, i] = a
            products[first + 1, i] = b
            products[first + 2, i] = c
            products[first + 3, i] = d
            products[first, i + 1] = e
            products[first + 1, i + 1] = f
            products[first + 2, i + 1] = g
            products[first + 3, i + 1] = h


@njit(cache=True, nogil=True)
def _keep(
    where: Ints,
    about: NDArray[np.float64],
    off: NDArray[np.float64],
    size: int,
    kept: tuple[Ints, NDArray[np.float64], NDArray[np.float64]],
    count: int,
) -> int:
    """Append what may be among the best of one query, raise its floor, and return how many are kept now."""
    places, highest, floor = kept
    for i in range(size):
        high, low = about[i] + off[i], about[i] - off[i]
        if not high < floor[0]:
            places[count] = where[i]
            highest[count] = high
            count += 1
            if low > floor[0]:
                _replace_smallest(floor, low)
    return count


@njit(cache=True, nogil=True)
def _drop(places: Ints, highest: NDArray[np.float64], count: int, floor: float) -> int:
    """Let go of what has fallen below the floor since it was kept, and return how many are left."""
    left = 0
    for i in range(count):
        if not highest[i] < floor:
            places[left] = places[i]
            highest[left] = highest[i]
            left += 1
    return left


@njit(cache=True, nogil=True)
def _drop_all(counts: Ints, places: Ints, highest: NDArray[np.float64], floors: NDArray[np.float64]) -> None:
    """Do so for every query."""
    for query in range(len(counts)):
        counts[query] = _drop(places[query], highest[query], counts[query], floors[query, 0])


@njit(cache=True, nogil=True)
def _nothing_kept(count: int, k: int) -> Kept:
    """Return room for what is kept of each query: how many, their places and highest products, and floors, (q, k).

    Floors are heaps: the smallest of the k best lowest possible products is first.
    """
    room = max(_FEWEST_KEPT, 4 * k)
    counts = np.zeros(count, np.int64)
    places = np.empty((count, room), np.int64)
    highest = np.empty((count, room), np.float64)
    return counts, places, highest, np.full((count, k), -np.inf)


@njit(cache=True, nogil=True)
def _make_room(
    places: Ints, highest: NDArray[np.float64], counts: Ints, floors: NDArray[np.float64]
) -> tuple[Ints, NDArray[np.float64], int]:
    """Drop what has fallen below the floors since; where still more than half is full, give twice the room."""
    _drop_all(counts, places, highest, floors)
    fullest = counts.max()
    room = places.shape[1]
    if 2 * fullest <= room:
        return places, highest, room
    wider = np.empty((len(counts), 2 * room), np.int64)
    higher = np.empty((len(counts), 2 * room), np.float64)
    wider[:, :room] = places
    higher[:, :room] = highest
    return wider, higher, 2 * room


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
