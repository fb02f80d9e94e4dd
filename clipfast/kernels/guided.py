"""The guided filter: smooths a picture of values, and lets its steps fall where a guide has its edges.

Source: K. He, J. Sun, X. Tang, "Guided Image Filtering", ECCV 2010, and TPAMI 35(6), 2013 (section 3, and 3.4 for a
colour guide). Each window of the guide explains the values by a straight line, q = a I + b; a pixel's result is the
mean line of all windows that hold it. All means are box means by running sums: the time does not depend on the radius.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from clipfast.errors import ShapeError
from clipfast.types import Floats

__all__ = ["guided_filter"]

_Planes: TypeAlias = NDArray[np.float64]  # (k, h, w)
_LEAST_EPS = 1e-6  # below it, the 3 x 3 systems of a colour guide lose their digits


def guided_filter(maps: Floats, guide: Floats, *, radius: int, eps: float = 1e-3) -> Floats:
    """Filter maps with one guide.

    The result is linear in the maps: scaling or shifting them scales or shifts it, and a constant map stays as it is.

    Args:
        maps: Finite values of any range, (..., h, w).
        guide: The picture whose edges count, (h, w) grey or (h, w, 3) colour, usually in [0, 1].
        radius: Of the windows, in pixels, at least 1: a window is 2 radius + 1 pixels wide, less at the border.
        eps: How much variance of the guide counts as flat, at least 1e-6; in squared units of the guide.

    Returns:
        (..., h, w) float32.

    Raises:
        ShapeError: If shapes do not fit, values are not finite, or a number is out of its range.

    >>> guide = np.repeat([[0.0, 0.0, 1.0, 1.0]], 4, axis=0).astype(np.float32)
    >>> guided_filter(np.full((4, 4), 0.3, np.float32), guide, radius=1)[0].tolist() == [np.float32(0.3)] * 4
    True
    """
    _check(maps, guide, radius, eps)
    height, width = maps.shape[-2:]
    channels = np.moveaxis(np.atleast_3d(guide).astype(np.float64), 2, 0)
    lines = _Lines(channels, min(radius, max(height, width)), eps)
    out = np.empty(maps.shape, np.float32)
    for at in np.ndindex(*maps.shape[:-2]):
        out[at] = lines.smooth(maps[at].astype(np.float64))
    return out


def _check(maps: Floats, guide: Floats, radius: int, eps: float) -> None:
    if maps.ndim < 2 or 0 in maps.shape[-2:]:
        raise ShapeError(f"maps must be (..., h, w), not empty; got {maps.shape}.")
    if guide.shape not in (maps.shape[-2:], (*maps.shape[-2:], 3)):
        raise ShapeError(
            f"guide must be {maps.shape[-2:]} or {(*maps.shape[-2:], 3)}, as large as the maps; got {guide.shape}. "
            "Resize one of them."
        )
    if radius < 1 or not _LEAST_EPS <= eps < np.inf:
        raise ShapeError(f"radius must be 1 or more and eps {_LEAST_EPS} or more; got {radius} and {eps}.")
    if not (np.isfinite(maps).all() and np.isfinite(guide).all()):
        raise ShapeError("maps and guide must be finite; got NaN or infinity. Cut off the parts that have no value.")


class _Lines:
    """What depends on the guide alone: in every window its mean, and the inverse of its covariance."""

    def __init__(self, channels: _Planes, radius: int, eps: float) -> None:
        self.channels = channels
        self.radius = radius
        self.means = self.mean(channels)
        count = len(channels)
        covariance = np.empty((count, count, *channels.shape[1:]))
        for i in range(count):
            covariance[i] = self.mean(channels[i] * channels) - self.means[i] * self.means
            covariance[i, i] = np.maximum(covariance[i, i], 0) + eps  # rounding may leave a variance just below 0
        self.inverse = 1 / covariance if count == 1 else _inverse(covariance)

    def mean(self, planes: _Planes) -> _Planes:
        """Return the means of all windows, (k, h, w)."""
        return np.stack([_box_means(np.ascontiguousarray(plane), self.radius) for plane in planes])

    def smooth(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the filtered picture, (h, w); measured from one value, so that a constant leaves only zeros."""
        base = values[0, 0]
        values = values - base
        (mean,) = self.mean(values[None])
        shared = self.mean(self.channels * values) - self.means * mean
        slopes = (self.inverse * shared).sum(axis=1)  # the covariance is symmetric, and so is its inverse
        (offset,) = self.mean((mean - (slopes * self.means).sum(axis=0))[None])
        smooth: NDArray[np.float64] = (self.mean(slopes) * self.channels).sum(axis=0) + offset + base
        return smooth


def _inverse(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Invert symmetric 3 x 3 matrices, (3, 3, h, w), by the cross products of their rows."""
    first, second, third = covariance
    adjugate = np.stack([np.cross(a, b, axis=0) for a, b in ((second, third), (third, first), (first, second))])
    inverse: NDArray[np.float64] = adjugate / (first * adjugate[0]).sum(axis=0)
    return inverse


@njit(cache=True, nogil=True)
def _box_means(values: NDArray[np.float64], radius: int) -> NDArray[np.float64]:
    """Return the mean over the window around every pixel, cut off at the border, (h, w)."""
    height, width = values.shape
    out = np.empty((height, width), dtype=np.float64)
    sums = np.zeros(width, dtype=np.float64)  # of each column, over the rows of the window
    for y in range(min(radius, height)):
        for x in range(width):
            sums[x] += values[y, x]
    for y in range(height):
        if y + radius < height:
            for x in range(width):
                sums[x] += values[y + radius, x]
        if y - radius - 1 >= 0:
            for x in range(width):
                sums[x] -= values[y - radius - 1, x]
        rows = min(y + radius + 1, height) - max(y - radius, 0)
        total = 0.0
        for x in range(min(radius, width)):
            total += sums[x]
        for x in range(width):
            if x + radius < width:
                total += sums[x + radius]
            if x - radius - 1 >= 0:
                total -= sums[x - radius - 1]
            columns = min(x + radius + 1, width) - max(x - radius, 0)
            out[y, x] = total / (rows * columns)
    return out
