"""Patch maps at the size of pixels: bilinear scaling and Gaussian blur as one small matrix along each axis."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from clipfast.anomaly.options import require_number, require_numbers
from clipfast.errors import ShapeError
from clipfast.kernels.spread import spread
from clipfast.types import Floats

__all__ = ["at_size"]

_MOST_PIXELS = 1 << 26
_TRUNCATE = 4.0  # deviations to which the Gaussian is summed, as SciPy does


def at_size(maps: Floats, size_hw: tuple[int, int], sigma: float = 0.0) -> Floats:
    """Scale maps and blur them.

    Scaling is bilinear with half-pixel centres (align_corners=False); the blur is a Gaussian to four deviations,
    mirrored at the edges (SciPy's `gaussian_filter`). Both are linear and separable, so each axis is one matrix.

    Args:
        maps: (n, gh, gw) float32.
        size_hw: The size of the result in pixels.
        sigma: Deviation of the blur in pixels of the result; 0 for none.

    Returns:
        (n, h, w) float32.

    Raises:
        DataError: A size or a deviation that is no number.
        ShapeError: Wrong shape, a size that is not positive or larger than 64 million pixels, or a negative sigma.

    >>> at_size(np.ones((1, 2, 3), np.float32), (4, 6), sigma=1).round(5).max()
    np.float32(1.0)
    """
    if maps.ndim != 3 or not maps.shape[1] or not maps.shape[2]:
        raise ShapeError(f"maps must be (n, gh, gw); got {maps.shape}.")
    require_numbers("size_hw", size_hw, count=2, whole=True)
    require_number("sigma", sigma)
    if min(size_hw) < 1 or size_hw[0] * size_hw[1] > _MOST_PIXELS or not sigma >= 0 or sigma > max(size_hw):
        raise ShapeError(
            f"size_hw must be positive, of {_MOST_PIXELS:,} pixels at most, and sigma from 0 to the longer side; "
            f"got {size_hw} and {sigma}."
        )
    rows = _axis(maps.shape[1], size_hw[0], float(sigma))
    columns = _axis(maps.shape[2], size_hw[1], float(sigma))
    return spread(maps.astype(np.float32, copy=False), rows, columns)


@lru_cache(maxsize=64)
def _axis(old: int, new: int, sigma: float) -> Floats:
    """Weights of scaling and then blurring along one axis, (new, old)."""
    at = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
    low = np.minimum(at.astype(np.int64), max(old - 2, 0))
    weights = np.zeros((new, old))
    weights[np.arange(new), low] = 1 - (at - low)
    if old > 1:
        weights[np.arange(new), low + 1] += at - low
    if sigma:
        radius = int(_TRUNCATE * sigma + 0.5)
        bell = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
        blur = np.zeros((new, new))
        for shift, share in zip(range(-radius, radius + 1), bell / bell.sum(), strict=True):
            place = (np.arange(new) + shift) % (2 * new)
            np.add.at(blur, (np.arange(new), np.where(place < new, place, 2 * new - 1 - place)), share)
        weights = blur @ weights
    out: Floats = weights.astype(np.float32)
    out.flags.writeable = False
    return out
