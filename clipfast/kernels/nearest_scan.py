"""The compiled part of a packed nearest search: which rows may be nearest by bfloat16 products, and which one is."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from clipfast.kernels.bf16_tiles import HALF, QUERIES, ROWS, Words, half_tile, tile
from clipfast.types import Floats, Ints

__all__ = ["GIVEN_UP", "Kept", "keep", "settle"]

GIVEN_UP = -1
"""Stands for a count or a place: so many rows are alike that bfloat16 does not tell them apart."""

Kept: TypeAlias = tuple[Ints, Ints, Floats, Floats]
"""Of each query: how many rows were kept (q,), their places and values (q, room), and what none may be below (q,)."""

_PANELS = 8  # that one tile of queries meets while it lies in the first cache
_ROOM = 8 * ROWS  # places that a query has: to look at more costs as much as a product in single precision
_LANES = 8


@njit(cache=True, nogil=True)
def keep(panels: Words, offsets: Floats, tiles: Words, gaps: NDArray[np.float64], span: tuple[int, int]) -> Kept:
    """Return which rows may have the largest <query, row> + offset.

    Args:
        panels: Packed rows, (p, steps, ROWS).
        offsets: Of the rows, (p, ROWS) float32; -inf bars one.
        tiles: Packed queries, (t, steps, QUERIES).
        gaps: How far a computed value of each query may be from the true one, (q,).
        span: The panels that this call looks at.
    """
    count = len(gaps)
    counts = np.zeros(count, np.int64)
    places = np.empty((count, _ROOM), np.int64)
    about = np.empty((count, _ROOM), np.float32)
    floors = np.full(len(tiles) * QUERIES, np.inf, np.float32)  # no row is kept for what fills the last tile
    floors[:count] = -np.inf
    values = np.empty((QUERIES, ROWS), np.float32)
    for group in range(span[0], span[1], _PANELS):
        for number in range(len(tiles)):
            first = number * QUERIES
            under = floors[first : first + QUERIES]
            for panel in range(group, min(group + _PANELS, span[1])):
                if count - first > HALF:
                    above = tile(panels[panel], tiles[number], offsets[panel], under, values)
                else:
                    above = half_tile(panels[panel], tiles[number], offsets[panel], under, values)
                if not above:
                    continue
                for query in range(first, min(first + QUERIES, count)):
                    found = values[query - first]
                    best = found.max()
                    if best < floors[query] or counts[query] == GIVEN_UP:
                        continue
                    floors[query] = max(floors[query], np.float32(best - 2 * gaps[query]))
                    if counts[query] + ROWS > _ROOM:
                        counts[query] = _drop(places[query], about[query], counts[query], floors[query])
                        if counts[query] + ROWS > _ROOM:
                            counts[query] = GIVEN_UP
                            floors[query] = np.inf
                            continue
                    counts[query] = _add(
                        found, panel * ROWS, floors[query], (places[query], about[query]), counts[query]
                    )
    return counts, places, about, floors[:count]


@njit(cache=True, nogil=True)
def settle(
    rows: Floats, queries: Floats, kept: tuple[Kept, ...], barred: NDArray[np.bool_], nearest: tuple[Ints, Ints]
) -> None:
    """Fill the nearest row of each query, (q,), and how many were looked at exactly, (q,), from what was kept.

    Squared distances are summed in double precision; of equal ones the lowest row is taken. `barred`, (m,) or empty,
    holds rows that are not looked at. A query that a part gave up on gets GIVEN_UP and 0.
    """
    for query in range(len(queries)):
        given_up = False
        for part in kept:
            given_up |= part[0][query] == GIVEN_UP
        if given_up:
            nearest[0][query] = GIVEN_UP
            nearest[1][query] = 0
            continue
        floor = kept[0][3][query]
        for part in kept:
            floor = max(floor, part[3][query])
        least = np.inf
        place = -1
        looked_at = 0
        for counts, places, about, _ in kept:
            for i in range(counts[query]):
                row = places[query, i]
                if about[query, i] < floor or row >= len(rows) or (len(barred) and barred[row]):
                    continue
                looked_at += 1
                apart = _squared_distance(rows[row], queries[query])
                if place < 0 or apart < least or (apart == least and row < place):
                    least = apart
                    place = row
        nearest[0][query] = place
        nearest[1][query] = looked_at


@njit(cache=True, nogil=True)
def _squared_distance(row: Floats, query: Floats) -> float:
    sums = np.zeros(_LANES, np.float64)
    whole = len(row) - len(row) % _LANES
    for j in range(0, whole, _LANES):
        for lane in range(_LANES):
            apart = np.float64(row[j + lane]) - np.float64(query[j + lane])
            sums[lane] += apart * apart
    total = float(sums.sum())
    for j in range(whole, len(row)):
        total += (np.float64(row[j]) - np.float64(query[j])) ** 2
    return total


@njit(cache=True, nogil=True)
def _add(found: Floats, first: int, floor: np.float32, kept: tuple[Ints, Floats], count: int) -> int:
    places, about = kept
    for lane in range(ROWS):
        if not found[lane] < floor:
            places[count] = first + lane
            about[count] = found[lane]
            count += 1
    return count


@njit(cache=True, nogil=True)
def _drop(places: Ints, about: Floats, count: int, floor: np.float32) -> int:
    """Let go of what has fallen below the floor since it was kept, and return how many are left."""
    left = 0
    for i in range(count):
        if not about[i] < floor:
            places[left] = places[i]
            about[left] = about[i]
            left += 1
    return left
