"""Small maps spread over many pixels: a matrix along each axis, of which only the weights that are not zero are used.

Scaling up and blurring weigh a handful of neighbouring cells for each pixel. BLAS would multiply by all the zeros
beside them, and wakes its threads for products that are done before these have met.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from clipfast.errors import ShapeError
from clipfast.types import Floats, Ints

__all__ = ["spread"]


def spread(maps: Floats, rows: Floats, columns: Floats) -> Floats:
    """Compute `rows @ map @ columns.T` for each map.

    Sums run in a fixed order in float32: no result depends on how many maps come together or on threads.

    Args:
        maps: (n, gh, gw) float32.
        rows: Weights of the cells of a column, (h, gh) float32.
        columns: Weights of the cells of a row, (w, gw) float32.

    Returns:
        (n, h, w) float32.

    Raises:
        ShapeError: Shapes or types do not fit.

    >>> spread(np.float32([[[1, 3]]]), np.float32([[1], [2]]), np.float32([[1, 0], [0.5, 0.5], [0, 1]])).tolist()
    [[[1.0, 2.0, 3.0], [2.0, 4.0, 6.0]]]
    """
    shapes = maps.shape, rows.shape, columns.shape
    if any(each.dtype != np.float32 for each in (maps, rows, columns)) or [len(shape) for shape in shapes] != [3, 2, 2]:
        raise ShapeError(f"maps (n, gh, gw), rows (h, gh) and columns (w, gw) must be float32; got {shapes}.")
    if not maps.shape[1] or not maps.shape[2] or maps.shape[1:] != (rows.shape[1], columns.shape[1]):
        raise ShapeError(f"rows must be (h, gh) and columns (w, gw) of maps (n, gh, gw); got {shapes}.")
    out = np.empty((len(maps), len(rows), len(columns)), np.float32)
    across = np.ascontiguousarray(columns.T)
    _spread(np.ascontiguousarray(maps), np.ascontiguousarray(rows), across, _used(rows), _used(across), out)
    return out


def _used(weights: Floats) -> Ints:
    """Where the weights of each row that are not zero begin and end, (m, 2); the first alone where all are zero."""
    there = weights != 0
    first = there.argmax(axis=1)
    end = np.where(there.any(axis=1), weights.shape[1] - there[:, ::-1].argmax(axis=1), first + 1)
    return np.stack([first, end], axis=1).astype(np.int64)


@njit(cache=True, nogil=True)
def _spread(maps: Floats, rows: Floats, across: Floats, down_used: Ints, across_used: Ints, out: Floats) -> None:
    """Write the products: first along each row of cells, then whole lines of pixels are weighed and added."""
    cells_down, cells_across = maps.shape[1], maps.shape[2]
    lines = np.empty((cells_down, across.shape[1]), np.float32)
    for m in range(len(maps)):
        lines[:] = 0
        for i in range(cells_down):
            for j in range(cells_across):
                begin, end = across_used[j]
                _add(lines[i, begin:end], across[j, begin:end], maps[m, i, j])
        for y in range(len(rows)):
            begin, end = down_used[y]
            target = out[m, y]
            _weigh(target, lines[begin], rows[y, begin])
            for i in range(begin + 1, end):
                _add(target, lines[i], rows[y, i])


@njit(cache=True, nogil=True)
def _weigh(target: Floats, line: Floats, weight: np.float32) -> None:
    for x in range(len(target)):
        target[x] = weight * line[x]


@njit(cache=True, nogil=True)
def _add(target: Floats, line: Floats, weight: np.float32) -> None:
    for x in range(len(target)):
        target[x] += weight * line[x]
