"""Connected components under any symmetric 3 x 3 neighbourhood, as `scipy.ndimage.label` takes them.

Pixel by pixel, so several times slower than `label_components`, which is for the two neighbourhoods that people use.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from clipfast.errors import ShapeError
from clipfast.kernels.array_inputs import as_array
from clipfast.kernels.component_runs import number_roots
from clipfast.kernels.components import Components
from clipfast.types import Ints

__all__ = ["label_structure"]

_BEFORE = ((-1, -1), (-1, 0), (-1, 1), (0, -1))  # the neighbours that raster order has visited, (down, right)


def label_structure(mask: ArrayLike, structure: ArrayLike) -> Components:
    """Label the connected components of a mask whose pixels touch the neighbours that `structure` marks.

    Args:
        mask: Bool or integer, (h, w), of any memory layout; what is not zero is foreground.
        structure: Bool or integer, (3, 3), equal to itself turned by 180 degrees; its middle does not matter.

    Returns:
        Labels, areas and boxes, numbered in raster order of the first pixel; an empty mask has no component.

    Raises:
        ShapeError: If `mask` is not two-dimensional, or `structure` not 3 x 3 and symmetric; if either is not bool or
            integer.

    >>> across = np.array([[0, 0, 0], [1, 1, 1], [0, 0, 0]])
    >>> label_structure(np.ones((2, 3), dtype=bool), across).labels.tolist()
    [[1, 1, 1], [2, 2, 2]]
    """
    pixels, neighbours = as_array("mask", mask), as_array("structure", structure)
    if pixels.ndim != 2 or pixels.dtype.kind not in "biu" or pixels.size >= 2**31:
        raise ShapeError(
            f"mask must be bool or integer (h, w) of fewer than 2**31 pixels; got {pixels.dtype} {pixels.shape}. "
            "Threshold scores first: scores > threshold."
        )
    if neighbours.shape != (3, 3) or neighbours.dtype.kind not in "biu":
        raise ShapeError(f"structure must be bool or integer (3, 3); got {neighbours.dtype} {neighbours.shape}.")
    marked = neighbours != 0
    if not np.array_equal(marked, marked[::-1, ::-1]):
        raise ShapeError(
            f"structure must be equal to itself turned by 180 degrees; got {neighbours.tolist()}. "
            "If a pixel touches its neighbour, the neighbour touches the pixel."
        )
    steps = np.array([step for step in _BEFORE if marked[1 + step[0], 1 + step[1]]], np.int64).reshape(-1, 2)
    labels = np.zeros(pixels.shape, np.int32)
    np.not_equal(pixels, 0, out=labels, casting="unsafe")
    parent = np.empty(int(np.count_nonzero(labels)) + 1, np.int32)  # entry 0 is the background
    _label_pixels(labels, steps, parent)
    count = number_roots(parent) - 1
    areas, boxes = np.zeros(count, np.int64), np.empty((count, 4), np.int64)
    _number_pixels(labels, parent, areas, boxes)
    return Components(labels, count, areas, boxes)


@njit(cache=True, nogil=True)
def _label_pixels(labels: NDArray[np.int32], steps: Ints, parent: NDArray[np.int32]) -> None:
    """Number the pixels that are 1 in raster order, and join each to those of its `steps`, (k, 2)."""
    height, width = labels.shape
    count = 0
    parent[0] = 0
    for y in range(height):
        for x in range(width):
            if labels[y, x] == 0:
                continue
            count += 1
            labels[y, x] = count
            parent[count] = count
            root = count
            for step in range(len(steps)):
                above, beside = y + steps[step, 0], x + steps[step, 1]
                if above < 0 or beside < 0 or beside >= width or labels[above, beside] == 0:
                    continue
                other = labels[above, beside]
                while parent[other] != other:
                    parent[other] = parent[parent[other]]
                    other = parent[other]
                parent[max(root, other)] = min(root, other)
                root = min(root, other)


@njit(cache=True, nogil=True)
def _number_pixels(labels: NDArray[np.int32], numbers: NDArray[np.int32], areas: Ints, boxes: Ints) -> None:
    """Replace each pixel's number by its component's, and gather areas and boxes; `areas` holds zeros before."""
    height, width = labels.shape
    for y in range(height):
        for x in range(width):
            label = numbers[labels[y, x]]
            labels[y, x] = label
            if label == 0:
                continue
            if areas[label - 1] == 0:
                boxes[label - 1, 0], boxes[label - 1, 1], boxes[label - 1, 2] = x, y, x + 1
            areas[label - 1] += 1
            boxes[label - 1, 0] = min(boxes[label - 1, 0], x)
            boxes[label - 1, 2] = max(boxes[label - 1, 2], x + 1)
            boxes[label - 1, 3] = y + 1
