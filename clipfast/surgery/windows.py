"""Sliding windows: an image larger than the model's input, looked at piece by piece and blended to one map."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clipfast.arguments import Span, require_number, require_size_hw, require_whole
from clipfast.errors import ShapeError
from clipfast.surgery.geometry import Geometry
from clipfast.types import Floats, Ints

__all__ = ["Blend", "Windows", "window_boxes"]

_MOST_WINDOWS = 10_000
_OVERLAPS = Span(0, 0.9)
_FLOOR = 1e-3  # of the weights: a pixel at a window's very edge still counts there if nowhere else


@dataclass(frozen=True, slots=True)
class Windows:
    """How an image is cut into overlapping windows.

    Attributes:
        side: Of a window, in pixels of the image; None takes the model's input size, so that no pixel is scaled. A
            side that the image does not reach is cut to the image's.
        overlap: At least this share of a window is seen by the next one too, 0 to 0.9.

    Raises:
        ShapeError: If a number is of another type, or out of range.
    """

    side: int | None = None
    overlap: float = 0.5

    def __post_init__(self) -> None:
        if self.side is not None:
            require_whole("side", self.side, 1)
        require_number("overlap", self.overlap, _OVERLAPS)


def window_boxes(image_hw: tuple[int, int], side_hw: tuple[int, int], overlap: float = 0.5) -> Ints:
    """Place windows evenly over an image, from edge to edge.

    Args:
        image_hw: Size of the image.
        side_hw: Size of a window; a side longer than the image's is cut to it.
        overlap: At least this share of a window is covered by its neighbour, 0 to 0.9.

    Returns:
        xyxy in pixels, row by row, (m, 4) int64; together they cover every pixel.

    Raises:
        ShapeError: If a number is out of range, or there would be more than 10,000 windows.

    >>> window_boxes((100, 250), (100, 100)).tolist()
    [[0, 0, 100, 100], [50, 0, 150, 100], [100, 0, 200, 100], [150, 0, 250, 100]]
    """
    image_hw, side_hw = require_size_hw("image_hw", image_hw), require_size_hw("side_hw", side_hw)
    require_number("overlap", overlap, _OVERLAPS)
    height, width = (min(side, whole) for side, whole in zip(side_hw, image_hw, strict=True))
    rows, columns = _count(image_hw[0], height, overlap), _count(image_hw[1], width, overlap)
    if rows * columns > _MOST_WINDOWS:
        raise ShapeError(
            f"an image of {image_hw[1]:,} x {image_hw[0]:,} must take at most {_MOST_WINDOWS:,} windows; "
            f"got {rows * columns:,} of {width} x {height}. Choose a larger side or less overlap."
        )
    tops = np.rint(np.linspace(0, image_hw[0] - height, rows)).astype(np.int64)
    lefts = np.rint(np.linspace(0, image_hw[1] - width, columns)).astype(np.int64)
    top, left = (corner.ravel() for corner in np.meshgrid(tops, lefts, indexing="ij"))
    return np.stack([left, top, left + width, top + height], axis=1)


class Blend:
    """Adds the maps of windows, each weighted by a raised cosine that falls from 1 in its middle to its edge.

    Memory is that of the map itself, however many windows there are.
    """

    def __init__(self, image_hw: tuple[int, int], maps: int, size_hw: tuple[int, int]) -> None:
        if min(*size_hw, *image_hw) < 1:
            raise ShapeError(f"sizes must be positive; got {size_hw} and {image_hw}.")
        # The middle of every pixel of the map, in pixels of the image.
        self._at = [(np.arange(new) + 0.5) * old / new for old, new in zip(image_hw, size_hw, strict=True)]
        self._sum = np.zeros((maps, *size_hw), np.float32)
        self._weight = np.zeros(size_hw, np.float32)

    def add(self, window_xyxy: Ints, plan: Geometry, maps: Floats) -> None:
        """Add one window.

        Args:
            window_xyxy: Of `window_boxes`.
            plan: How the window became what the model takes; it must show all of the window.
            maps: What was found in it, (t, gh, gw).
        """
        left, top, right, bottom = (int(edge) for edge in window_xyxy)
        rows, y = _inside(self._at[0], top, bottom)
        columns, x = _inside(self._at[1], left, right)
        weight = np.outer(_cosine(y / (bottom - top)), _cosine(x / (right - left))).astype(np.float32)
        self._sum[:, rows, columns] += weight * plan.sample(maps, y, x)
        self._weight[rows, columns] += weight

    def result(self) -> Floats:
        """Return the blended maps, (t, h, w) float32.

        Raises:
            ShapeError: The windows added so far leave a pixel without value.
        """
        if not self._weight.all():
            raise ShapeError("the windows must cover every pixel; some are missing. Add all of window_boxes().")
        out: Floats = self._sum / self._weight
        return out


def _count(whole: int, side: int, overlap: float) -> int:
    stride = max(1, math.floor(side * (1 - overlap)))
    return math.ceil((whole - side) / stride) + 1


def _inside(at: NDArray[np.float64], start: int, stop: int) -> tuple[slice, NDArray[np.float64]]:
    """Return which middles lie in [start, stop), and where in the window."""
    first, last = np.searchsorted(at, [start, stop])
    return slice(int(first), int(last)), at[first:last] - start


def _cosine(share: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return weights for places 0 to 1 in a window."""
    weight: NDArray[np.float64] = _FLOOR + (1 - _FLOOR) * np.sin(np.pi * share) ** 2
    return weight
