"""Passes over rows in tiles of 16, channel by channel: distance to one centre, minimum and maximum in one."""

from __future__ import annotations

import numpy as np
from numba import njit

from clipfast.types import Floats, Ints

__all__ = ["LANES", "cover", "farthest_of", "gaps_to", "tiled"]

LANES = 16
"""Rows of a tile: one AVX-512 vector, or two or four shorter ones."""

_PART = 32  # channels summed before a tile may be left
_SURELY = np.float32(4.001)  # 2 squared, and a margin far above the rounding of the sums


@njit(cache=True, nogil=True)
def cover(
    tiles: Floats,
    span: tuple[int, int, int],
    centre: Floats,
    gaps: Floats,
    distances: tuple[Floats, Floats],
    marks: tuple[Ints, Ints, Ints],
) -> tuple[np.float32, int]:
    """One pass over the tiles of a stripe: `span` is the first, the end, and the new centre's number.

    Writes nearest squared distances and their centres where the new one is nearer, and each tile's largest one; counts
    tiles that were left out. Returns the stripe's largest and its place.
    """
    nearest, farthest = distances
    owner, ids, tally = marks
    first, end, number = span
    channels = tiles.shape[1]
    sums = np.empty(LANES, np.float32)
    for t in range(first, end):
        near, own = nearest[t], owner[t]
        if len(gaps):
            near_enough = 0
            for lane in range(LANES):
                near_enough += gaps[own[lane]] < _SURELY * near[lane]
            if near_enough == 0:
                tally[0] += 1
                continue
        for lane in range(LANES):
            sums[lane] = 0.0
        channel, nearer = 0, 1
        while channel < channels and nearer:
            stop = min(channel + _PART, channels)
            _add_squares(tiles[t], centre, channel, stop, sums)
            channel = stop
            nearer = 0
            for lane in range(LANES):
                nearer += sums[lane] < near[lane]
        if nearer:
            largest = np.float32(-1.0)
            for lane in range(LANES):
                if sums[lane] < near[lane]:
                    near[lane] = sums[lane]
                    own[lane] = number
                largest = max(largest, near[lane])
            farthest[t] = largest
        elif channel < channels:
            tally[1] += 1
    return farthest_of(farthest, nearest, ids, first, end)


@njit(cache=True, nogil=True)
def farthest_of(farthest: Floats, nearest: Floats, ids: Ints, first: int, end: int) -> tuple[np.float32, int]:
    """Return the largest distance of some tiles, and the place of the lowest row that has it."""
    best, place = np.float32(-2.0), first * LANES
    for t in range(first, end):
        if farthest[t] >= best:
            if farthest[t] > best:
                best, place = farthest[t], -1
            for lane in range(LANES):
                here = t * LANES + lane
                if nearest[t, lane] == best and (place < 0 or ids[here] < ids[place]):
                    place = here
    return best, place


@njit(cache=True, nogil=True)
def _add_squares(tile: Floats, centre: Floats, start: int, stop: int, sums: Floats) -> None:
    """Add the squared differences of channels `start` to `stop` to the sums of a tile's rows."""
    channel = start
    while channel + 4 <= stop:  # four channels for one load and store of the sums
        c0, c1, c2, c3 = centre[channel], centre[channel + 1], centre[channel + 2], centre[channel + 3]
        row0, row1, row2, row3 = tile[channel], tile[channel + 1], tile[channel + 2], tile[channel + 3]
        for lane in range(LANES):
            d0, d1, d2, d3 = row0[lane] - c0, row1[lane] - c1, row2[lane] - c2, row3[lane] - c3
            sums[lane] += (d0 * d0 + d1 * d1) + (d2 * d2 + d3 * d3)
        channel += 4
    while channel < stop:
        row0, c0 = tile[channel], centre[channel]
        for lane in range(LANES):
            d0 = row0[lane] - c0
            sums[lane] += d0 * d0
        channel += 1


@njit(cache=True, nogil=True)
def gaps_to(centres: Floats, count: int, centre: Floats) -> Floats:
    """Return the squared distances of a new centre to the first `count` ones."""
    tiles = (count + LANES - 1) // LANES
    gaps = np.zeros((tiles, LANES), np.float32)
    for t in range(tiles):
        _add_squares(centres[t], centre, 0, centres.shape[1], gaps[t])
    return gaps.reshape(-1)[:count]


def tiled(rows: Floats) -> Floats:
    """Return rows as tiles, (ceil(m / 16), c, 16); lanes beyond the last row are zero."""
    whole = np.zeros((-(-len(rows) // LANES) * LANES, rows.shape[1]), np.float32)
    whole[: len(rows)] = rows
    tiles: Floats = np.ascontiguousarray(whole.reshape(-1, LANES, rows.shape[1]).transpose(0, 2, 1))
    return tiles
