"""Connected components of a mask: labels, areas and boxes.

Run-based union-find: each row is cut into runs of foreground, a run is joined to the runs it touches in the row above,
and the pixels are visited only twice. Runs are numbered in raster order and the smaller number is always the root, so a
component's root is its first run, and labels follow from the mask alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray

from clipfast.errors import ShapeError
from clipfast.types import Ints

__all__ = ["Components", "label_components"]

# How far past its ends a run touches runs of the next row: diagonal neighbours count only with connectivity 8.
_REACH = {4: 0, 8: 1}


@dataclass(frozen=True, slots=True, eq=False)
class Components:
    """The connected components of a mask, numbered in raster order of their first pixel.

    Attributes:
        labels: 0 for background, 1 to `count` for the components, (h, w) int32.
        count: How many components there are.
        areas: Pixels of each component, (count,) int64; row `i` belongs to label `i + 1`.
        boxes: Tight boxes xyxy in pixels, half-open, (count, 4) int64.
    """

    labels: NDArray[np.int32]
    count: int
    areas: Ints
    boxes: Ints


def label_components(mask: NDArray[Any], connectivity: Literal[4, 8] = 8) -> Components:
    """Label the connected components of a mask.

    Args:
        mask: Bool or integer, (h, w), of any memory layout; what is not zero is foreground.
        connectivity: 4 joins pixels that share an edge, 8 also those that share a corner.

    Returns:
        Labels, areas and boxes; an empty mask has no component.

    Raises:
        ShapeError: If `mask` is not two-dimensional, is neither bool nor integer, or `connectivity` is unknown.

    >>> found = label_components(np.eye(3, dtype=bool), connectivity=8)
    >>> found.count, found.areas.tolist(), found.boxes.tolist()
    (1, [3], [[0, 0, 3, 3]])
    """
    if mask.ndim != 2:
        raise ShapeError(f"mask must be (h, w); got {mask.shape}. Pass one mask at a time, without a channel axis.")
    if mask.dtype.kind not in "biu":
        raise ShapeError(f"mask must be bool or integer; got {mask.dtype}. Threshold it first: scores > threshold.")
    if connectivity not in _REACH:
        raise ShapeError(f"connectivity must be one of {sorted(_REACH)}; got {connectivity!r}.")
    # A fresh array of one type, layout and flags, whatever came in: the kernel is compiled once.
    foreground = np.empty(mask.shape, dtype=np.bool_)
    np.not_equal(mask, 0, out=foreground)
    labels, areas, boxes = _label_runs(foreground, _REACH[connectivity])
    return Components(labels=labels, count=len(areas), areas=areas, boxes=boxes)


@njit(cache=True, nogil=True)
def _find(parent: NDArray[np.int32], run: int) -> int:
    """Return the root of `run`, halving the path to it."""
    while parent[run] != run:
        parent[run] = parent[parent[run]]
        run = parent[run]
    return run


@njit(cache=True, nogil=True)
def _join(parent: NDArray[np.int32], left: int, right: int) -> None:
    """Put two runs in one component; the earlier root stays root."""
    first, second = _find(parent, left), _find(parent, right)
    if first < second:
        parent[second] = first
    else:
        parent[first] = second


@njit(cache=True, nogil=True)
def _find_runs(foreground: NDArray[np.bool_], starts: NDArray[np.int32], ends: NDArray[np.int32]) -> Ints:
    """Write the half-open column range of every run; return where the runs of each row begin, (h + 1,) int64."""
    height, width = foreground.shape
    offsets = np.zeros(height + 1, dtype=np.int64)
    runs = 0
    for y in range(height):
        x = 0
        while x < width:
            if not foreground[y, x]:
                x += 1
                continue
            starts[runs] = x
            while x < width and foreground[y, x]:
                x += 1
            ends[runs] = x
            runs += 1
        offsets[y + 1] = runs
    return offsets


@njit(cache=True, nogil=True)
def _join_rows(
    offsets: Ints, starts: NDArray[np.int32], ends: NDArray[np.int32], reach: int, parent: NDArray[np.int32]
) -> None:
    """Join every run to the runs it touches in the row above; both rows are walked once, left to right."""
    for y in range(1, len(offsets) - 1):
        above = offsets[y - 1]
        for run in range(offsets[y], offsets[y + 1]):
            while above < offsets[y] and ends[above] + reach <= starts[run]:
                above += 1
            touching = above
            while touching < offsets[y] and starts[touching] < ends[run] + reach:
                _join(parent, touching, run)
                touching += 1


@njit(cache=True, nogil=True)
def _label_runs(foreground: NDArray[np.bool_], reach: int) -> tuple[NDArray[np.int32], Ints, Ints]:
    """Return labels (h, w) int32, areas (count,) int64 and boxes (count, 4) int64 of a C-contiguous mask."""
    height, width = foreground.shape
    most = height * ((width + 1) // 2)  # a row holds the most runs when every second pixel is set
    starts = np.empty(most, dtype=np.int32)
    ends = np.empty(most, dtype=np.int32)
    offsets = _find_runs(foreground, starts, ends)
    parent = np.arange(int(offsets[-1])).astype(np.int32)
    _join_rows(offsets, starts, ends, reach, parent)

    count = 0
    for run in range(len(parent)):
        count += parent[run] == run
    labels = np.zeros((height, width), dtype=np.int32)
    areas = np.zeros(count, dtype=np.int64)
    boxes = np.empty((count, 4), dtype=np.int64)
    index_of = np.empty(len(parent), dtype=np.int32)
    seen = 0
    for y in range(height):
        for run in range(offsets[y], offsets[y + 1]):
            root = _find(parent, run)
            if root == run:  # a component's first run: everything later has a larger number
                index_of[run] = seen
                boxes[seen, 0], boxes[seen, 1] = starts[run], y
                boxes[seen, 2], boxes[seen, 3] = ends[run], y + 1
                seen += 1
            index = index_of[root]
            labels[y, starts[run] : ends[run]] = index + 1
            areas[index] += ends[run] - starts[run]
            boxes[index, 0] = min(boxes[index, 0], starts[run])
            boxes[index, 2] = max(boxes[index, 2], ends[run])
            boxes[index, 3] = y + 1
    return labels, areas, boxes
