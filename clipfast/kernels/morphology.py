"""Morphology of masks with a 3 x 3 square, in plain NumPy: whole stacks at once, a byte a pixel.

What lies outside the picture is ignored, as OpenCV does by default: a border neither grows into a mask nor eats it.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clipfast.errors import ShapeError
from clipfast.kernels.array_inputs import as_array

__all__ = ["close_then_open", "closing", "dilate", "erode", "opening"]

Masks: TypeAlias = NDArray[np.bool_]


def dilate(masks: ArrayLike) -> Masks:
    """Return where a pixel or one of its eight neighbours is foreground.

    Args:
        masks: Bool or integer, (..., h, w), of any memory layout; what is not zero is foreground.

    Raises:
        ShapeError: If `masks` has less than two axes, or is neither bool nor integer.

    >>> dilate(np.array([[1, 0, 0, 0]])).tolist()
    [[True, True, False, False]]
    """
    return _along(_along(_checked(masks), -2, np.logical_or), -1, np.logical_or)


def erode(masks: ArrayLike) -> Masks:
    """Return where a pixel and all of its neighbours inside the picture are foreground; arguments as of `dilate`.

    >>> erode(np.array([[1, 1, 1, 0]])).tolist()
    [[True, True, False, False]]
    """
    return _along(_along(_checked(masks), -2, np.logical_and), -1, np.logical_and)


def closing(masks: ArrayLike) -> Masks:
    """Fill gaps that the square does not fit into: `dilate`, then `erode`."""
    return erode(dilate(masks))


def opening(masks: ArrayLike) -> Masks:
    """Take away parts that the square does not fit into: `erode`, then `dilate`."""
    return dilate(erode(masks))


def close_then_open(masks: ArrayLike) -> Masks:
    """Fill small gaps first, so that a part with holes survives; then take away what is still thin.

    >>> holed = np.array([[1, 1, 1, 0, 0], [1, 0, 1, 0, 1], [1, 1, 1, 0, 0]])
    >>> close_then_open(np.pad(holed, 1)).astype(int)[1:-1, 1:-1].tolist()
    [[1, 1, 1, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 0, 0]]
    """
    return opening(closing(masks))


def _along(masks: Masks, axis: int, both: np.ufunc) -> Masks:
    """Join each pixel with the one before and the one after it along one of the last two axes."""
    out = masks.copy()
    lines, joined = np.moveaxis(masks, axis, 0), np.moveaxis(out, axis, 0)  # views
    both(joined[1:], lines[:-1], out=joined[1:])
    both(joined[:-1], lines[1:], out=joined[:-1])
    return out


def _checked(masks: ArrayLike) -> Masks:
    given: NDArray[Any] = as_array("masks", masks)
    if given.ndim < 2 or given.dtype.kind not in "biu":
        raise ShapeError(
            f"masks must be bool or integer (..., h, w); got {given.dtype} {given.shape}. Threshold first: scores > t."
        )
    return given.astype(np.bool_, copy=False)
