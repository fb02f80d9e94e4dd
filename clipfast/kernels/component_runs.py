"""Run-based union-find behind `clipfast.kernels.components`: scan, join, number, write.

A run is a stretch of foreground in one row. The design follows "Light Speed Labeling" (Lacassagne and Zavidovique,
2011) and the published union-find over runs with word scans (kornia-rs, pull request 1033):

1. scan: a run takes the label of a run that it touches in the row above, or a new one; labels that meet are joined.
   Areas and boxes are gathered by label on the way. The smaller label is always the root.
2. join: labels that meet across the border of two stripes.
3. number: labels are made in raster order, so counting the roots in order numbers components by their first pixel.
4. write: every row once, background included.

Masks of one size are one tall image whose rows `y % height == 0` touch nothing above. It is cut into stripes that only
its shape decides, each worked on by one thread, so no result depends on the number of threads.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from clipfast.kernels.bits import Words, count_bits, find_edges
from clipfast.types import Ints

__all__ = ["Labels", "Stats", "collect", "count_runs", "join_stripes", "number_roots", "scan", "sum_scores", "write"]

Labels: TypeAlias = NDArray[np.int32]
# One row a label: area, left, top, right, bottom; top and bottom count rows of the tall image.
Stats: TypeAlias = NDArray[np.int32]

_ONE = np.uint64(1)
_LAST = np.uint64(63)
_LANES = 16  # int32 in the widest vector: runs are written in whole vectors, whose surplus the next run overwrites


@njit(cache=True, nogil=True)
def count_runs(words: Words, runs: Ints) -> None:
    """Write how many runs each row has, (rows,)."""
    for y in range(len(words)):
        carry = np.uint64(0)
        found = 0
        for j in range(words.shape[1]):
            word = words[y, j]
            found += count_bits(word & ~((word << _ONE) | carry))
            carry = word >> _LAST
        runs[y] = found


@njit(cache=True, nogil=True)
def _find(parent: Labels, label: int) -> int:
    """Return the root of `label`, halving the path to it."""
    while parent[label] != label:
        parent[label] = parent[parent[label]]
        label = parent[label]
    return label


@njit(cache=True, nogil=True)
def _join(parent: Labels, left: int, right: int) -> int:
    """Put two roots in one component and return its root, the smaller."""
    if left < right:
        parent[right] = left
        return left
    parent[left] = right
    return right


@njit(cache=True, nogil=True)
def scan(words: Words, shape: tuple[int, int, int], reach: int, labels: Labels, parent: Labels, stats: Stats) -> int:
    """Label the runs of one stripe, from label 0 on; return how many labels were made.

    Args:
        words: The stripe's rows.
        shape: Height and width of one mask, and the stripe's first row in the tall image.
        reach: How far past its ends a run touches runs of the next row.
        labels: Receives the label of each run, in raster order.
        parent: Receives the union-find forest; as long as there are runs is enough.
        stats: Receives area and box by label; complete once labels are joined.
    """
    height, width, first = shape
    above, here = np.empty(width + 3, dtype=np.int32), np.empty(width + 3, dtype=np.int32)
    count = 0
    begin, end = 0, 0  # labels[begin:end] belong to the row above
    for row in range(len(words)):
        y = first + row
        runs = find_edges(words[row], width, here)
        if row == 0 or y % height == 0:
            above[:2] = 2**31 - 1  # the sentinel of an empty row
        touching = 0
        for run in range(runs):
            start, stop = here[2 * run], here[2 * run + 1]
            while above[2 * touching + 1] <= start - reach:
                touching += 1
            if above[2 * touching] < stop + reach:
                label = _find(parent, labels[begin + touching])
                while above[2 * touching + 2] < stop + reach:
                    touching += 1
                    other = _find(parent, labels[begin + touching])
                    if other != label:
                        label = _join(parent, label, other)
                stats[label, 0] += stop - start
                stats[label, 1] = min(stats[label, 1], start)
                stats[label, 3] = max(stats[label, 3], stop)
                stats[label, 4] = y + 1
            else:
                label = count
                count += 1
                parent[label] = label
                stats[label, 0], stats[label, 1], stats[label, 2] = stop - start, start, y
                stats[label, 3], stats[label, 4] = stop, y + 1
            labels[end + run] = label
        above, here = here, above
        begin, end = end, end + runs
    return count


@njit(cache=True, nogil=True)
def sum_scores(words: Words, scores: NDArray[Any], labels: Labels, sums: NDArray[np.float64]) -> None:
    """Add the scores under each run of a stripe to its label, in raster order; `scores` is (rows, w)."""
    width = scores.shape[1]
    edges = np.empty(width + 3, dtype=np.int32)
    label = 0
    for y in range(len(words)):
        runs = find_edges(words[y], width, edges)
        for run in range(runs):
            sums[labels[label]] += _sum_run(scores[y], edges[2 * run], edges[2 * run + 1])
            label += 1


@njit(cache=True, nogil=True)
def _sum_run(row: NDArray[Any], start: int, stop: int) -> float:
    """Return the sum of a run: four sums side by side, which do not wait for each other, and what is left."""
    a, b, c, d = 0.0, 0.0, 0.0, 0.0
    whole = start + ((stop - start) & -4)
    for x in range(start, whole, 4):
        a += np.float64(row[x])  # named, for without compilation NumPy would keep float32
        b += np.float64(row[x + 1])
        c += np.float64(row[x + 2])
        d += np.float64(row[x + 3])
    total = (a + b) + (c + d)
    for x in range(whole, stop):
        total += np.float64(row[x])
    return total


@njit(cache=True, nogil=True)
def join_stripes(
    words: Words, width: int, reach: int, above_labels: Labels, here_labels: Labels, parent: Labels
) -> None:
    """Join the labels that meet between two rows; the labels are those of all stripes."""
    above, here = np.empty(width + 3, dtype=np.int32), np.empty(width + 3, dtype=np.int32)
    find_edges(words[0], width, above)
    runs = find_edges(words[1], width, here)
    touching = 0
    for run in range(runs):
        while above[2 * touching + 1] <= here[2 * run] - reach:
            touching += 1
        near = touching
        while above[2 * near] < here[2 * run + 1] + reach:
            left, right = _find(parent, above_labels[near]), _find(parent, here_labels[run])
            if left != right:
                _join(parent, left, right)
            near += 1


@njit(cache=True, nogil=True)
def number_roots(parent: Labels) -> int:
    """Replace each label's parent by the number of its component, from 0 in the order of roots; return the count."""
    count = 0
    for label in range(len(parent)):
        if parent[label] == label:
            parent[label] = count
            count += 1
        else:
            parent[label] = parent[parent[label]]  # the parent is smaller: it has its number already
    return count


@njit(cache=True, nogil=True)
def collect(numbers: Labels, stats: Stats, height: int, areas: Ints, boxes: Ints, offsets: Ints) -> None:
    """Bring areas and boxes of labels together by component, and number components from 1 within each mask.

    Args:
        numbers: The component of each label among all masks, from 0; receives it within its mask, from 1.
        stats: Area and box of each label, in rows of the tall image.
        height: Rows of one mask.
        areas: Receives pixels, (count,).
        boxes: Receives tight boxes xyxy within their mask, (count, 4).
        offsets: Receives where the components of each mask begin, (n + 1,).
    """
    seen, mask, above = 0, 0, 0  # `above` rows lie in the masks before
    offsets[0] = 0
    for label in range(len(numbers)):
        number = numbers[label]
        while stats[label, 2] >= above + height:  # labels are made from the top down
            mask += 1
            above += height
            offsets[mask] = seen
        numbers[label] = number - offsets[mask] + 1
        if number == seen:  # a root: every other label of its component is larger
            seen += 1
            areas[number] = stats[label, 0]
            boxes[number, 0], boxes[number, 1] = stats[label, 1], stats[label, 2] - above
            boxes[number, 2], boxes[number, 3] = stats[label, 3], stats[label, 4] - above
        else:
            areas[number] += stats[label, 0]
            boxes[number, 0] = min(boxes[number, 0], stats[label, 1])
            boxes[number, 2] = max(boxes[number, 2], stats[label, 3])
            boxes[number, 3] = max(boxes[number, 3], stats[label, 4] - above)
    offsets[mask + 1 :] = seen


@njit(cache=True, nogil=True)
def write(words: Words, values: Labels, labels: Labels, out: Labels) -> None:
    """Write one stripe of the result; nothing beyond it is touched.

    Args:
        words: The stripe's rows.
        values: What to write for each label, (labels of the stripe,).
        labels: The label of each run, in raster order.
        out: The stripe of the result, (rows, w), C-contiguous.
    """
    rows, width = out.shape
    flat = out.ravel()
    edges, last = np.empty(width + 3, dtype=np.int32), np.empty(width + _LANES, dtype=np.int32)
    first = 0
    for y in range(rows):
        runs = find_edges(words[y], width, edges)
        if (y + 1) * width + _LANES <= rows * width:
            _write_row(edges, runs, values, labels[first : first + runs], flat[y * width :], width)
        else:  # the surplus would leave the stripe
            _write_row(edges, runs, values, labels[first : first + runs], last, width)
            out[y] = last[:width]
        first += runs


@njit(cache=True, nogil=True)
def _write_row(edges: NDArray[np.int32], runs: int, values: Labels, labels: Labels, row: Labels, width: int) -> None:
    """Write background and runs from left to right; up to 15 elements beyond `width` are overwritten."""
    x = 0
    for run in range(runs):
        start, stop = edges[2 * run], edges[2 * run + 1]
        for i in range(x, x + _whole_vectors(start - x)):
            row[np.uint64(i)] = 0  # unsigned: no check for indices from the end, which would prevent vectors
        value = values[labels[run]]
        for i in range(start, start + _whole_vectors(stop - start)):
            row[np.uint64(i)] = value
        x = stop
    for i in range(x, x + _whole_vectors(width - x)):
        row[np.uint64(i)] = 0


@njit(cache=True, nogil=True)
def _whole_vectors(length: int) -> int:
    """Round up to a multiple of `_LANES`, so that the compiler leaves no loop over single elements."""
    return (length + _LANES - 1) & -_LANES
