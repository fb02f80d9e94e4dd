"""A heap of rows by an upper bound of their distance to the nearest centre, brought up to date where it matters."""

from __future__ import annotations

import numpy as np
from numba import njit

from clipfast.types import Floats, Ints

__all__ = ["LANES", "pick_farthest"]

LANES = 16
"""Centres of a tile: one AVX-512 vector, or two or four shorter ones."""

_PART = 64  # channels summed before a tile may be left


@njit(cache=True, nogil=True)
def pick_farthest(rows: Floats, heap: Ints, centres: Floats, count: int, picks: Ints) -> tuple[np.float32, int]:
    """Fill `picks` with the row farthest from all centres, which then is one itself, again and again.

    Args:
        rows: (m, c).
        heap: Rows that may be picked, ascending; it is reordered.
        centres: In tiles, (tiles, c, LANES), the first `count` are there; the others are too far to matter, and filled.
        count: How many centres there are, one at least.
        picks: Rows, in the order picked; is written.

    Returns:
        The largest squared distance that is left to any row, and how many distances were looked at.
    """
    bounds, seen = np.full(len(rows), np.inf, np.float32), np.zeros(len(rows), np.int64)
    sums = np.empty(LANES, np.float32)
    left, looked_at, done = len(heap), 0, 0
    while left:
        row = heap[0]
        if seen[row] < count:
            # Up to date, or no longer first: where it stood as the second, its children stand now.
            behind = np.float32(-1.0)
            for child in range(1, min(3, left)):
                behind = max(behind, bounds[heap[child]])
            while seen[row] < count and bounds[row] >= behind:
                tile = seen[row] // LANES
                bounds[row] = _nearest(rows[row], centres[tile], bounds[row], sums)
                seen[row] = min((tile + 1) * LANES, count)
                looked_at += LANES
        elif done == len(picks):
            break
        else:
            picks[done] = row
            for channel in range(rows.shape[1]):
                centres[count // LANES, channel, count % LANES] = rows[row, channel]
            done, count, left = done + 1, count + 1, left - 1
            heap[0] = heap[left]
        _sink(heap, left, bounds)
    return (bounds[heap[0]] if left else np.float32(0.0)), looked_at


@njit(cache=True, nogil=True)
def _nearest(row: Floats, tile: Floats, bound: np.float32, sums: Floats) -> np.float32:
    """Return the smallest squared distance to a tile's centres, or `bound` if none is below it."""
    channels = len(row)
    for lane in range(LANES):
        sums[lane] = 0.0
    start = 0
    while start < channels:
        stop = min(start + _PART, channels)
        _add_squares(tile, row, start, stop, sums)
        start, nearer = stop, 0
        for lane in range(LANES):
            nearer += sums[lane] < bound
        if nearer == 0:
            return bound
    for lane in range(LANES):
        bound = min(bound, sums[lane])
    return bound


@njit(cache=True, nogil=True)
def _sink(heap: Ints, left: int, bounds: Floats) -> None:
    """Let the first row sink to its place: larger bounds stand above, of equal ones the lower row."""
    place, row = 0, heap[0]
    while 2 * place + 1 < left:
        child = 2 * place + 1
        if child + 1 < left and _above(bounds, heap[child + 1], heap[child]):
            child += 1
        if not _above(bounds, heap[child], row):
            break
        heap[place] = heap[child]
        place = child
    heap[place] = row


@njit(cache=True, nogil=True)
def _above(bounds: Floats, one: int, other: int) -> bool:
    return bounds[one] > bounds[other] or (bounds[one] == bounds[other] and one < other)


@njit(cache=True, nogil=True)
def _add_squares(tile: Floats, row: Floats, start: int, stop: int, sums: Floats) -> None:
    """Add the squared differences of channels `start` to `stop` to the sums of a tile's centres."""
    channel = start
    while channel + 4 <= stop:  # four channels for one load and store of the sums
        c0, c1, c2, c3 = row[channel], row[channel + 1], row[channel + 2], row[channel + 3]
        at0, at1, at2, at3 = tile[channel], tile[channel + 1], tile[channel + 2], tile[channel + 3]
        for lane in range(LANES):
            d0, d1, d2, d3 = at0[lane] - c0, at1[lane] - c1, at2[lane] - c2, at3[lane] - c3
            sums[lane] += (d0 * d0 + d1 * d1) + (d2 * d2 + d3 * d3)
        channel += 4
    while channel < stop:
        at0, c0 = tile[channel], row[channel]
        for lane in range(LANES):
            d0 = at0[lane] - c0
            sums[lane] += d0 * d0
        channel += 1
