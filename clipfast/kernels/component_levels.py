"""The components of a score map at descending levels, from one ordering of its pixels.

Lowering a threshold only adds pixels. They are sorted once into the levels between thresholds. From the highest level
down, each pixel joins the components around it; areas, boxes and sums of joined components are brought together
(union-find, as for component trees: Najman and Couprie, "Building the component tree in quasi-linear time", 2006).

Two things keep that short. Components are numbered as they arise, so the forest is as small as the number of maxima.
And of the neighbours that are there, those side by side are joined already: the 8 neighbours as a bit mask say by table
which of them to ask, mostly one.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from clipfast.types import Ints

__all__ = ["FloatArray", "components_of_levels"]

FloatArray: TypeAlias = NDArray[np.float64]
_BLOCK = 256  # pixels whose levels are searched for side by side

_Forest: TypeAlias = tuple[NDArray[np.int32], NDArray[np.int32], FloatArray]
"""By component: its parent; pixels, left, top, right, bottom and first pixel of roots; the sum of roots."""

# The neighbours clockwise from the upper left, (down, right): bit i of a mask is neighbour i.
_AROUND = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))


def components_of_levels(
    scores: NDArray[Any], thresholds: FloatArray, reach: int
) -> list[tuple[Ints, Ints, FloatArray]]:
    """Return areas, boxes and sums of the components of `scores >= threshold`, from the highest threshold down.

    Args:
        scores: float32 or float64, (h, w), finite, C-contiguous.
        thresholds: Ascending, without repetition, (k,).
        reach: 0 for connectivity 4, 1 for 8.
    """
    height, width = scores.shape
    pixels, starts = np.empty(scores.size, np.int32), np.zeros(len(thresholds) + 2, np.int64)
    _sort_by_level(scores.ravel(), thresholds, pixels, starts)
    owner = np.full((height + 2, width + 2), -1, np.int32)  # the component of each pixel; -1: not there yet
    most = scores.size  # components: pages that are not touched cost nothing
    forest: _Forest = (np.empty(most, np.int32), np.empty((most, 6), np.int32), np.empty(most, np.float64))
    ask, count, alive, levels = _whom_to_ask(reach), 0, np.empty(0, np.int64), []
    for level in range(len(thresholds)):
        added = _add_pixels(pixels[starts[level] : starts[level + 1]], scores, ask, owner.ravel(), forest, count)
        alive = np.concatenate([alive, np.arange(count, added)])
        count = added
        alive = alive[forest[0][alive] == alive]
        alive = alive[np.argsort(forest[1][alive, 5])]  # by first pixel; no two are equal
        stats = forest[1][alive].astype(np.int64)
        levels.append((stats[:, 0], stats[:, 1:5], forest[2][alive]))
    return levels


@lru_cache(maxsize=2)
def _whom_to_ask(reach: int) -> NDArray[np.uint8]:
    """Return, for each mask of neighbours that are there, a mask of one neighbour from each group among them.

    Neighbours that touch each other around the pixel are one group, for they were joined when the later one came. With
    connectivity 4, a group counts only if it touches the pixel.
    """
    table = np.zeros(256, np.uint8)
    far = 2 if reach else 1  # the squared distance within which pixels touch
    for mask in range(256):
        left = [step for bit, step in enumerate(_AROUND) if mask >> bit & 1]
        while left:
            group = [left.pop(0)]
            for member in group:  # grows while it is walked
                near = [s for s in left if (s[0] - member[0]) ** 2 + (s[1] - member[1]) ** 2 <= far]
                group += near
                left = [step for step in left if step not in near]
            touching = [step for step in group if step[0] ** 2 + step[1] ** 2 <= far]
            if touching:
                table[mask] |= np.uint8(1 << _AROUND.index(touching[0]))
    table.flags.writeable = False
    return table


@njit(cache=True, nogil=True)
def _sort_by_level(scores: NDArray[Any], thresholds: FloatArray, pixels: NDArray[np.int32], starts: Ints) -> None:
    """Sort pixels by the highest threshold that they reach, from high to low, and within it in raster order.

    Args:
        scores: (pixels,).
        thresholds: Ascending, without repetition, (k,).
        pixels: Receives the sorted pixels; those below every threshold come last.
        starts: Receives where each level begins, and the end, (k + 2,); zeros before.
    """
    level = np.empty(len(scores), np.int32)
    for first in range(0, len(scores), _BLOCK):
        _find_levels(scores[first : first + _BLOCK], thresholds, level[first : first + _BLOCK])
    for i in range(len(level)):
        starts[level[i] + 1] += 1
    for i in range(1, len(starts)):
        starts[i] += starts[i - 1]
    place = starts.copy()
    for i in range(len(scores)):
        pixels[place[level[i]]] = i
        place[level[i]] += 1


@njit(cache=True, nogil=True)
def _find_levels(scores: NDArray[Any], thresholds: FloatArray, level: NDArray[np.int32]) -> None:
    """Write how many thresholds lie above each score, by binary searches that go side by side, step by step."""
    level[:] = 0  # at first, how many thresholds are reached for certain
    left = len(thresholds)
    while left > 0:
        half = (left + 1) >> 1
        for i in range(len(scores)):
            level[i] += half * (thresholds[np.uint64(level[i] + half - 1)] <= scores[i])
        left -= half
    for i in range(len(scores)):
        level[i] = len(thresholds) - level[i]


@njit(cache=True, nogil=True)
def _add_pixels(
    pixels: NDArray[np.int32],
    scores: NDArray[Any],
    ask: NDArray[np.uint8],
    owner: NDArray[np.int32],
    forest: _Forest,
    count: int,
) -> int:
    """Add pixels to the components around them; return how many components have arisen since the first level.

    Args:
        pixels: In raster order.
        scores: (h, w).
        ask: Which neighbours to join, by mask of those that are there.
        owner: The component of each pixel, with a border of one pixel, ((h + 2) * (w + 2),).
        forest: Parents, statistics and sums by component.
        count: How many components have arisen so far.
    """
    parent, stats, sums = forest
    width = scores.shape[1]
    down = width + 2
    steps = (-down - 1, -down, -down + 1, 1, down + 1, down, down - 1, -1)
    for i in range(len(pixels)):
        y, x = pixels[i] // width, pixels[i] % width
        at = (y + 1) * down + x + 1
        there = 0
        for bit in range(8):
            there |= (owner[at + steps[bit]] >= 0) << bit
        asked = ask[there]
        root = -1
        for bit in range(8):
            if asked >> bit & 1:
                other = _find(parent, owner[at + steps[bit]])
                root = other if root < 0 else _join(forest, root, other)
        if root < 0:
            root = count
            count += 1
            parent[root] = root
            stats[root, 0], stats[root, 1], stats[root, 2] = 0, x, y
            stats[root, 3], stats[root, 4], stats[root, 5] = x + 1, y + 1, pixels[i]
            sums[root] = 0.0
        owner[at] = root
        stats[root, 0] += 1
        stats[root, 1], stats[root, 2] = min(stats[root, 1], x), min(stats[root, 2], y)
        stats[root, 3], stats[root, 4] = max(stats[root, 3], x + 1), max(stats[root, 4], y + 1)
        stats[root, 5] = min(stats[root, 5], pixels[i])
        sums[root] += scores[y, x]
    return count


@njit(cache=True, nogil=True)
def _find(parent: NDArray[np.int32], component: int) -> int:
    """Return the root of a component, halving the path to it."""
    while parent[component] != component:
        parent[component] = parent[parent[component]]
        component = parent[component]
    return component


@njit(cache=True, nogil=True)
def _join(forest: _Forest, one: int, other: int) -> int:
    """Join two roots and return the one of more pixels, of which the other becomes a part."""
    parent, stats, sums = forest
    if one == other:
        return one
    large, small = (one, other) if stats[one, 0] >= stats[other, 0] else (other, one)
    parent[small] = large
    stats[large, 0] += stats[small, 0]
    stats[large, 1] = min(stats[large, 1], stats[small, 1])
    stats[large, 2] = min(stats[large, 2], stats[small, 2])
    stats[large, 3] = max(stats[large, 3], stats[small, 3])
    stats[large, 4] = max(stats[large, 4], stats[small, 4])
    stats[large, 5] = min(stats[large, 5], stats[small, 5])
    sums[large] += sums[small]
    return large
