"""Fabrics that are recognised by a figure in two colours."""

from __future__ import annotations

import numpy as np

from clipfast.datasets.fabricworld.cloth import Cloth, Loom
from clipfast.datasets.fabricworld.noise import Field, fraction, ramp

__all__ = ["gingham", "herringbone", "houndstooth", "polka_dots", "stripes", "tartan"]


def houndstooth(loom: Loom) -> Cloth:
    """Broken checks with teeth: four dark and four light threads both ways, in twill."""
    period = loom.length(16, 44)
    u, v = 4 * fraction(loom.x / period), 4 * fraction(loom.y / period)
    dark_warp, dark_weft = u < 2, v < 2
    tooth = (np.floor(2 * u) + np.floor(2 * v)) % 4 < 2
    figure = np.where(dark_warp == dark_weft, dark_warp, tooth)
    ribs = 1 + 0.06 * np.sin(2 * np.pi * (loom.x + loom.y) / loom.length(3, 5))
    return Cloth(ribs, second=figure.astype(np.float64))


def gingham(loom: Loom) -> Cloth:
    """Even checks in three steps: none, half, full."""
    period = loom.length(16, 56)
    stripes_across, stripes_down = fraction(loom.x / period) < 0.5, fraction(loom.y / period) < 0.5
    return Cloth(loom.sheen(2.5, 4, 0.08), second=0.5 * stripes_across + 0.5 * stripes_down)


def herringbone(loom: Loom) -> Cloth:
    """Zigzag lines, their slant turning with every column."""
    column = loom.length(14, 34)
    zigzag = np.abs(2 * fraction(loom.x / column) - 1) * column
    line = fraction((loom.y + zigzag) / loom.length(5, 9))
    drawn = ramp(line, 0.4, 0.5) * (1 - ramp(line, 0.92, 1.0))
    return Cloth(1 + 0.07 * loom.noise(2), second=drawn * loom.rng.uniform(0.55, 1))


def polka_dots(loom: Loom) -> Cloth:
    """Round dots, every second row shifted by half a step."""
    period = loom.length(20, 56)
    radius = loom.rng.uniform(0.2, 0.34)
    shifted = 0.5 * (np.floor(loom.y / period) % 2)
    u, v = fraction(loom.x / period + shifted) - 0.5, fraction(loom.y / period) - 0.5
    return Cloth(loom.sheen(2.5, 4, 0.04), second=1 - ramp(np.hypot(u, v), radius - 0.03, radius + 0.03))


def stripes(loom: Loom) -> Cloth:
    """Parallel stripes along the warp."""
    across = fraction(loom.x / loom.length(12, 48))
    width = loom.rng.uniform(0.3, 0.6)
    stripe = ramp(across, 0, 0.04) * (1 - ramp(across, width - 0.04, width))
    return Cloth(loom.sheen(2.5, 4, 0.05), second=stripe)


def tartan(loom: Loom) -> Cloth:
    """The same set of bands in warp and weft, crossing in twill."""
    period = loom.length(44, 100)
    warp_on_top = fraction((loom.x + loom.y) / loom.rng.uniform(3, 5)) < 0.5
    bands = np.where(warp_on_top, _sett(loom.x / period), _sett(loom.y / period))
    return Cloth(1 + np.minimum(bands, 0), second=np.maximum(bands, 0))


# Start, end and strength of each band; negative is a band of shadow instead of the second colour.
_BANDS = ((0.1, 0.3, 0.75), (0.55, 0.6, 0.9), (0.66, 0.69, 0.9), (0.8, 0.95, -0.55))


def _sett(x: Field) -> Field:
    across = fraction(x)
    bands = np.zeros_like(across)
    for start, end, strength in _BANDS:
        bands[(across > start) & (across < end)] = strength
    return bands
