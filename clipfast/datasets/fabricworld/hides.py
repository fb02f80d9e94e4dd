"""Materials without threads: a hide and a mat of fibres."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from clipfast.datasets.fabricworld.cloth import Cloth, Loom
from clipfast.datasets.fabricworld.noise import Field, ramp

__all__ = ["felt", "leather"]

_SUBPIXELS = 2


def leather(loom: Loom) -> Cloth:
    """Pebbles of unequal size between dark grooves."""
    pitch = loom.length(7, 14)
    nearest, second = _two_nearest(loom, pitch)
    groove = 1 - ramp(second - nearest, 0.0, 0.3)
    shade = 1.06 - 0.2 * nearest - 0.36 * groove + 0.1 * loom.noise(70) + 0.03 * loom.noise(2)
    return Cloth(np.clip(shade, 0.2, 1.3))


def felt(loom: Loom) -> Cloth:
    """Short fibres in every direction, pressed together."""
    count = int(loom.rng.integers(500, 900))
    shade = 0.86 + 0.26 * _fibres(loom, count) + 0.04 * loom.noise(2) + 0.05 * loom.noise(20)
    return Cloth(shade)


def _two_nearest(loom: Loom, pitch: float) -> tuple[Field, Field]:
    """Distances to the nearest and the second nearest of scattered points, in pitches, each (size, size).

    The points lie one in each square of a grid, so that only the nine squares around a pixel have to be looked at.
    """
    x, y = (loom.x - loom.x.min()) / pitch, (loom.y - loom.y.min()) / pitch
    column, row = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    points = loom.grain.uniform(0, 1, (2, int(row.max()) + 3, int(column.max()) + 3))
    nearest = np.full(x.shape, 9.0)
    second = np.full(x.shape, 9.0)
    right, down = x - column, y - row
    for rows in range(3):
        for columns in range(3):
            across = points[0][row + rows, column + columns] + columns - 1 - right
            along = points[1][row + rows, column + columns] + rows - 1 - down
            distance = across * across + along * along
            second = np.minimum(second, np.maximum(distance, nearest))
            nearest = np.minimum(nearest, distance)
    return np.sqrt(nearest), np.sqrt(second)


def _fibres(loom: Loom, count: int) -> Field:
    """Draw bright fibres, (size, size) in 0..1."""
    side = loom.size * _SUBPIXELS
    begin = loom.grain.uniform(-0.02, 1.02, (count, 2)) * side
    direction = loom.grain.uniform(0, 2 * np.pi, count)
    length = loom.grain.uniform(6, 18, count) / 224 * loom.zoom * side
    end = begin + np.stack([np.cos(direction), np.sin(direction)], axis=1) * length[:, None]
    tones = loom.grain.integers(90, 255, count).tolist()
    drawing = Image.new("L", (side, side))
    pen, width = ImageDraw.Draw(drawing), max(1, round(side / 224))
    for line, tone in zip(np.concatenate([begin, end], axis=1).round().astype(int).tolist(), tones, strict=True):
        pen.line(line, fill=tone, width=width)
    return np.asarray(drawing.reduce(_SUBPIXELS), dtype=np.float64) / 255
