"""Outlines to pixels: whole numbers only, so that every machine fills the same ones."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw

from clipfast.datasets.fabricworld.noise import Field
from clipfast.types import Ints

__all__ = ["fill", "thick_line", "window_around"]

_SUBPIXELS = 4  # along each side, when an outline is filled


def fill(outlines: Sequence[Field], size_hw: tuple[int, int]) -> Field:
    """Return how much of each pixel lies inside any of the outlines, (h, w) in steps of 1/255 from 0 to 1.

    Args:
        outlines: Corners in pixels of the window, (corners, 2) each.
        size_hw: Pixels of the window.
    """
    height, width = size_hw
    drawing = Image.new("L", (width * _SUBPIXELS, height * _SUBPIXELS))
    pen = ImageDraw.Draw(drawing)
    for outline in outlines:
        # Pillow counts from the centre of the first (sub)pixel, we count from its corner.
        pen.polygon([(x, y) for x, y in (outline * _SUBPIXELS - 0.5).tolist()], fill=255)
    return np.asarray(drawing.reduce(_SUBPIXELS), dtype=np.float64) / 255


def thick_line(points: Field, width: float) -> list[Field]:
    """Return outlines that together are a line of that width through the points, (points, 2)."""
    outlines = []
    for first, last in pairwise(points):
        along = (last - first) * (width / 2 / max(float(np.hypot(*(last - first))), 1e-6))
        across = np.array([-along[1], along[0]])
        begin, end = first - 0.4 * along, last + 0.4 * along  # overlap, so that bends leave no gap
        outlines.append(np.stack([begin + across, end + across, end - across, begin - across]))
    return outlines


def window_around(corners: Field, margin: float, size: int) -> tuple[Ints, tuple[int, int]]:
    """Return where the smallest window begins that holds all corners and a margin, and its height and width."""
    first = np.clip(np.floor(corners.min(axis=0) - margin), 0, size).astype(np.int64)
    width, height = (np.clip(np.ceil(corners.max(axis=0) + margin), 0, size).astype(np.int64) - first).tolist()
    return first, (height, width)
