"""Do two pictures that lie over each other agree everywhere? Decided by detail, place by place, at two scales.

Photographs of different cloths taken in one place share a table around the swatch, a label, a ruler and a lamp, and
these make most of what a hash or one correlation of the whole sees. They do not make the weave. So what is smooth is
taken out (light, shadow, levels), what is left is brought to the same strength everywhere (an edge of white paper would
outweigh all cloth beside it), and the rest is correlated in 100 windows of a quarter of the side. Threads and their
noise are seen on 96 pixels a side; a window where there is nothing to see (chiffon, a blurred part) is compared on 48.
A copy agrees in nearly all windows; pictures that share a frame agree at the frame. All but one window in
twenty must agree. Half of all windows, and half of those in the middle, must hold some detail: where there is none,
nothing is known, and nothing is claimed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["COARSE", "GRID", "WHOLE", "Crop", "Detail", "Grey", "Scale", "agreement", "taken"]

GRID = 192  # pixels a side of what is kept of a picture
_MARGIN = 2  # pixels that are left for moving one picture over the other
_STEPS, _WIDE = 12, 3  # windows begin at every twelfth of the side and are three steps wide
_FINE, _COARSE, _NEAR = 0.7, 2.0, 2.0  # sigmas: noise goes, light goes, strength is measured over so much
_SOFT = 0.5  # levels below which detail is not made stronger
_HALF = 0.5  # of a window's pixels, of all windows and of those in the middle, that must hold detail
_MIDDLE = slice(3, 7)
_DIFFERENT = 0.05  # share of windows that need not agree: a scratch, a finger
_MOVES = (-1, 0, 1)

Grey = NDArray[np.float32]
Detail = tuple[Grey, Grey]
Crop = tuple[tuple[float, float], tuple[float, float]]
"""Shares of the side that are cut off above and below, and left and right."""

WHOLE: Crop = ((0.0, 0.0), (0.0, 0.0))


@dataclass(frozen=True)
class Scale:
    """One size at which detail is compared.

    Attributes:
        step: Pixels from one window to the next; twelve make the side.
    """

    step: int

    @property
    def inner(self) -> int:
        """Pixels a side of what is compared."""
        return _STEPS * self.step

    @property
    def side(self) -> int:
        """The same with the margin around it."""
        return self.inner + 2 * _MARGIN

    def detail(self, grey: Grey, crop: Crop = WHOLE) -> Detail:
        """Return the detail of a part of a picture at equal strength, and its strength in levels, both (side, side).

        Args:
            grey: Luminance in levels of 255, (192, 192).
            crop: What is cut off.
        """
        fine, coarse, near = (_blur(sigma, self.side) for sigma in (_FINE, _COARSE, _NEAR))
        rest: Grey = taken(grey, crop, self.side)
        for _ in range(2):  # twice: once leaves the bend of a lamp's spot
            rest = rest - _both_ways(coarse, rest)
        rest = _both_ways(fine, rest)
        strength: Grey = np.sqrt(_both_ways(near, rest * rest))
        return rest / (strength + np.float32(_SOFT)), strength

    def correlation(self, one: Detail, other: Detail) -> float:
        """Return how well two pictures agree in all, moved by a pixel at most, -1 to 1."""
        mine, theirs = self._inside(one[0]), self._moved(other[0])
        power = (mine * mine).sum() * (theirs * theirs).sum(axis=(1, 2))
        found = (mine * theirs).sum(axis=(1, 2))
        return float(np.divide(found, np.sqrt(power), out=np.zeros_like(found), where=power > 0).max())

    def windows(self, one: Detail, other: Detail) -> tuple[Grey, Grey]:
        """Return the correlation in every window, (10, 10), at the best of nine places, and how strong the detail is.

        The strength is that of the picture that holds more there, (inner, inner).
        """
        mine, theirs = self._inside(one[0]), self._moved(other[0])
        power = np.sqrt(self._summed(mine * mine) * self._summed(theirs * theirs))
        found = np.divide(self._summed(mine * theirs), power, out=np.zeros_like(power), where=power > 0)
        best = int(found.sum(axis=(1, 2)).argmax())
        return found[best], np.maximum(self._inside(one[1]), self._moved(other[1])[best])

    def telling(self, strength: Grey, least: float) -> NDArray[np.bool_]:
        """Return in which windows half of the pixels hold at least so much detail, (10, 10)."""
        return self._summed((strength > least).astype(np.float32)) > _HALF * (self.step * _WIDE) ** 2

    def _inside(self, picture: NDArray[Any]) -> NDArray[Any]:
        inner = slice(_MARGIN, _MARGIN + self.inner)
        return picture[inner, inner]

    def _moved(self, picture: NDArray[Any]) -> NDArray[Any]:
        """Return the inner part at all nine places."""
        starts = [(_MARGIN + down, _MARGIN + right) for down in _MOVES for right in _MOVES]
        return np.stack([picture[top : top + self.inner, left : left + self.inner] for top, left in starts])

    def _summed(self, values: Grey) -> Grey:
        """Sum over every window, (..., inner, inner) to (..., 10, 10)."""
        return _both_ways(self._in_windows, values)

    @cached_property
    def _in_windows(self) -> Grey:
        """Which pixels of one axis are in which window, (10, inner)."""
        begins = self.step * np.arange(_STEPS - _WIDE + 1)[:, None]
        pixels = np.arange(self.inner)
        return ((pixels >= begins) & (pixels < begins + self.step * _WIDE)).astype(np.float32)


COARSE = Scale(2)
"""Too coarse to decide, because a lamp is seen there; good enough to see that two pictures are not alike."""
_THREADS, _WEAVE = Scale(8), Scale(4)
_CLEAR, _LEAST = 0.6, 0.15  # levels (standard deviation) of detail that encoding does not make, and that it may make


def agreement(one: Callable[[Scale], Detail], other: Callable[[Scale], Detail], side: int) -> float:
    """Return how well two pictures agree where they agree least, -1 to 1; -1 where there is too little to compare.

    A window is decided on 96 pixels where its detail is clear there. Otherwise what is there may be noise of encoding
    in one of the pictures, and the better of 96 and 48 pixels counts.

    Args:
        one: Called with a scale, returns the detail of a picture.
        other: The same of the other.
        side: Pixels of the smaller picture's shorter side; what is finer was never in it.
    """
    found, strength = _WEAVE.windows(one(_WEAVE), other(_WEAVE))
    told = _WEAVE.telling(strength, _LEAST)
    if side >= _THREADS.inner:
        fine, strength = _THREADS.windows(one(_THREADS), other(_THREADS))
        clear, weak = (_THREADS.telling(strength, least) for least in (_CLEAR, _LEAST))
        found = np.where(clear | ~told, fine, np.where(weak, np.maximum(fine, found), found))
        told = told | weak
    if told.mean() < _HALF or told[_MIDDLE, _MIDDLE].mean() < _HALF:
        return -1.0
    ordered = np.sort(found[told])
    return float(ordered[round(_DIFFERENT * (len(ordered) - 1))])


def taken(grey: Grey, crop: Crop, side: int) -> Grey:
    """Scale a part of a picture to a square by area, (192, 192) to (side, side)."""
    rows, columns = (_area_matrix(before, after, side) for before, after in crop)
    return (rows @ grey @ columns.T).astype(np.float32, copy=False)


def _both_ways(axis: Grey, values: Grey) -> Grey:
    """Apply a matrix to rows and columns of pictures, (..., n, n)."""
    return (axis @ values @ axis.T).astype(np.float32, copy=False)


@lru_cache(maxsize=256)
def _area_matrix(before: float, after: float, side: int) -> Grey:
    """Return the matrix that scales what is left of 192 pixels to `side` by area."""
    edges = np.linspace(before * GRID, (1 - after) * GRID, side + 1)
    pixels = np.arange(GRID)
    covered = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    matrix: Grey = (np.clip(covered, 0, None) / (edges[1] - edges[0])).astype(np.float32)
    return matrix


@lru_cache(maxsize=16)
def _blur(sigma: float, side: int) -> Grey:
    """Return the matrix that blurs one axis, with rows that sum to 1 at the border too, (side, side)."""
    apart = np.subtract.outer(np.arange(side), np.arange(side))
    weights = np.exp(-(apart**2) / (2 * sigma**2))
    rows: Grey = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return rows
