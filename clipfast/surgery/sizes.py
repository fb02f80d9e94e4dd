"""Sizes that callers give: two whole numbers, checked before anything of that size is made."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from clipfast.errors import ShapeError

__all__ = ["require_size_hw"]

_MOST_PIXELS = 1 << 27  # of a map: half a gigabyte


def require_size_hw(name: str, size_hw: object) -> tuple[int, int]:
    """Return a size, (height, width).

    Raises:
        ShapeError: It is not two whole numbers from 1, or has more than 134,217,728 pixels.

    >>> require_size_hw("size_hw", [30, np.int64(40)])
    (30, 40)
    """
    sides = list(size_hw) if isinstance(size_hw, Sequence | np.ndarray) and not isinstance(size_hw, str) else []
    whole = all(isinstance(side, int | np.integer) and not isinstance(side, bool) and side >= 1 for side in sides)
    if len(sides) != 2 or not whole:
        raise ShapeError(f"{name} must be two whole numbers (height, width), positive; got {size_hw!r}.")
    height, width = int(sides[0]), int(sides[1])
    if height * width > _MOST_PIXELS:
        raise ShapeError(f"{name} must have at most {_MOST_PIXELS:,} pixels; got {height:,} x {width:,}. Take fewer.")
    return height, width
