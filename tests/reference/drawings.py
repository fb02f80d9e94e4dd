"""Masks that are hard on run-based labelling: long borders, late joins, one path through all rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["DRAWINGS", "drawing"]

DRAWINGS = ["columns", "last column", "chessboard", "comb up", "comb down", "snake", "full", "spiral"]


def drawing(name: str, height: int, width: int) -> NDArray[np.bool_]:
    """Draw one of `DRAWINGS`."""
    y, x = np.indices((height, width))
    if name == "columns":
        return np.asarray(x % 2 == 0)
    if name == "last column":
        return np.asarray(x == width - 1)
    if name == "chessboard":
        return np.asarray((x + y) % 2 == 0)
    if name == "comb up":  # teeth that meet in the last row
        return np.asarray((x % 2 == 0) | (y == height - 1))
    if name == "comb down":
        return np.asarray((x % 2 == 0) | (y == 0))
    if name == "snake":  # one path from the first row to the last
        turn = np.where(y % 4 == 1, width - 1, 0)
        return np.asarray((y % 2 == 0) | (x == turn))
    if name == "full":
        return np.ones((height, width), dtype=bool)
    return _spiral(height, width)


def _spiral(height: int, width: int) -> NDArray[np.bool_]:
    """Walk inwards along the walls, two apart."""
    mask = np.zeros((height, width), dtype=bool)
    top, left, bottom, right = 0, 0, height - 1, width - 1
    start = 0
    while top <= bottom and left <= right:
        mask[top, start : right + 1] = True
        mask[top : bottom + 1, right] = True
        mask[bottom, left : right + 1] = True
        mask[min(top + 2, bottom) : bottom + 1, left] = True
        start, top, left, bottom, right = left, top + 2, left + 2, bottom - 2, right - 2
    return mask
