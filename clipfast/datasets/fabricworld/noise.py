"""Smooth random fields and soft edges, in NumPy alone.

Lengths are in units of a frame that is 224 units wide at any resolution. What is drawn from the generator depends on
the frame and not on the pixels, so one seed is one picture, sampled finer or coarser.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["FRAME", "Field", "blur", "fraction", "ramp", "smooth_noise"]

Field: TypeAlias = NDArray[np.float64]

FRAME = 224.0
_SHARPNESS = -0.75  # of the cubic kernel; the usual -0.5 gives visibly softer threads


def fraction(x: Field) -> Field:
    """Return the part after the point, in [0, 1), for negative numbers too."""
    fractional: Field = x - np.floor(x)
    return fractional


def ramp(x: Field, start: float, end: float) -> Field:
    """Return 0 before `start`, 1 after `end`, and a straight line between."""
    return np.clip((x - start) / (end - start), 0.0, 1.0)


def smooth_noise(rng: np.random.Generator, size: int, across: float, down: float | None = None) -> Field:
    """Draw a field of normal numbers, one per `across` x `down` units, joined by cubic interpolation.

    Args:
        rng: Where the numbers come from.
        size: Pixels along each side.
        across: Distance of neighbouring numbers from left to right, in units.
        down: The same from top to bottom; `across` if left out.

    Returns:
        Mean 0 and variance somewhat below 1, (size, size).
    """
    columns, rows = _cells(across), _cells(down or across)
    lattice = rng.standard_normal((rows, columns))
    field: Field = _cubic_weights(rows, size) @ lattice @ _cubic_weights(columns, size).T
    return field


def blur(image: Field, sigma: float) -> Field:
    """Blur both sides of (h, w) or (h, w, c) with a Gaussian of `sigma` pixels; edges are repeated."""
    radius = max(1, round(3 * sigma))
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    taps /= taps.sum()
    for axis in (0, 1):
        length = image.shape[axis]
        widths = [(radius, radius) if each == axis else (0, 0) for each in range(image.ndim)]
        padded = np.moveaxis(np.pad(image, widths, mode="edge"), axis, 0)
        total = taps[0] * padded[:length]
        for shift in range(1, len(taps)):
            total += taps[shift] * padded[shift : shift + length]
        image = np.moveaxis(total, 0, axis)
    return image


def _cells(spacing: float) -> int:
    return max(2, int(FRAME / spacing) + 2)


@lru_cache(maxsize=256)
def _cubic_weights(cells: int, size: int) -> Field:
    """Return the matrix (size, cells) that stretches `cells` numbers over `size` pixels, edges repeated."""
    centres = (np.arange(size) + 0.5) * cells / size - 0.5
    first = np.floor(centres).astype(np.int64) - 1
    weights = np.zeros((size, cells))
    for offset in range(4):
        column = np.clip(first + offset, 0, cells - 1)
        np.add.at(weights, (np.arange(size), column), _cubic(np.abs(centres - first - offset)))
    weights.setflags(write=False)  # shared by every caller of the cache
    return weights


def _cubic(distance: Field) -> Field:
    """Return Keys' kernel at distances of 0 to 2 cells."""
    a = _SHARPNESS
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = a * (((distance - 5) * distance + 8) * distance - 4)
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))
