"""Do two pictures that lie over each other agree everywhere? Decided by detail, place by place.

Photographs of different cloths taken in one place share a table around the swatch, a label, a ruler and a lamp, and
these make most of what a hash or one correlation of the whole sees. They do not make the weave. So what is smooth is
taken out (light, shadow, levels), what is left is brought to the same strength everywhere (an edge of white paper would
outweigh all cloth beside it), and the rest is correlated in 100 windows of a quarter of the side. A copy agrees in
nearly all of them; pictures that share a frame agree at the frame. All but one window in twenty must agree, and half of
the windows must hold some detail: where there is none, nothing is known, and nothing is claimed.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["SIDE", "Detail", "agreement", "detail_of"]

_MARGIN = 2  # pixels that are left for moving one picture over the other
_STEPS, _STEP, _WIDE = 12, 4, 3  # windows begin every 4 pixels and are three steps wide
SIDE = _STEPS * _STEP + 2 * _MARGIN  # pixels a side of what is compared
_FINE, _COARSE, _NEAR = 0.7, 2.0, 2.0  # sigmas: noise goes, light goes, strength is measured over so much
_SOFT = 0.5  # levels below which detail is not made stronger
_LEAST = 0.3  # levels (standard deviation) from which there is detail
_HALF = 0.5  # of a window's pixels, and of all windows, that must hold detail
_DIFFERENT = 0.05  # share of windows that need not agree: a scratch, a finger
_MOVES = (-1, 0, 1)

Doubles = NDArray[np.float64]
Detail = tuple[Doubles, NDArray[np.bool_]]


def detail_of(grey: Doubles) -> Detail:
    """Return the detail of a picture at equal strength, and where there is any.

    Args:
        grey: Luminance in levels of 255, (52, 52).
    """
    fine, coarse, near = _blur(_FINE), _blur(_COARSE), _blur(_NEAR)
    rest = grey
    for _ in range(2):  # twice: once leaves the bend of a lamp's spot
        rest = rest - coarse @ rest @ coarse.T
    rest = fine @ rest @ fine.T
    strength = np.sqrt(near @ (rest * rest) @ near.T)
    return rest / (strength + _SOFT), strength > _LEAST


def agreement(one: Detail, other: Detail) -> float:
    """Return how well two pictures agree where they agree least, -1 to 1; -1 where there is too little to compare.

    One is moved over the other by up to a pixel in either direction, and the best place counts.
    """
    inner = slice(_MARGIN, SIDE - _MARGIN)
    mine, held = one[0][inner, inner], one[1][inner, inner]
    theirs, there = _moved(other[0]), _moved(other[1])
    telling = _windows((held | there).astype(np.float64)) > _HALF * (_STEP * _WIDE) ** 2
    power = np.sqrt(_windows(mine * mine) * _windows(theirs * theirs))
    found = np.divide(_windows(mine * theirs), power, out=np.zeros_like(power), where=power > 0)
    enough = telling.mean(axis=(-2, -1)) >= _HALF
    if not enough.any():
        return -1.0
    # The share of the windows that tell something, without sorting each place by itself: the others come last.
    ordered = np.sort(np.where(telling, found, 2.0)[enough].reshape(int(enough.sum()), -1), axis=1)
    places = np.rint(_DIFFERENT * (telling[enough].sum(axis=(-2, -1)) - 1)).astype(np.int64)
    return float(ordered[np.arange(len(ordered)), places].max())


def _moved(picture: NDArray[Any]) -> NDArray[Any]:
    """Return the inner part at all nine places, (9, 48, 48)."""
    inner = SIDE - 2 * _MARGIN
    starts = [(_MARGIN + down, _MARGIN + right) for down in _MOVES for right in _MOVES]
    return np.stack([picture[top : top + inner, left : left + inner] for top, left in starts])


def _windows(values: Doubles) -> Doubles:
    """Sum over every window, (..., 48, 48) to (..., 10, 10)."""
    rows = _in_windows()
    summed: Doubles = rows @ values @ rows.T
    return summed


@lru_cache(maxsize=1)
def _in_windows() -> Doubles:
    """Return which pixels of one axis are in which window, (10, 48)."""
    begins = _STEP * np.arange(_STEPS - _WIDE + 1)[:, None]
    pixels = np.arange(_STEPS * _STEP)
    return ((pixels >= begins) & (pixels < begins + _STEP * _WIDE)).astype(np.float64)


@lru_cache(maxsize=8)
def _blur(sigma: float) -> Doubles:
    """Return the matrix that blurs one axis, with rows that sum to 1 at the border too, (52, 52)."""
    apart = np.subtract.outer(np.arange(SIDE), np.arange(SIDE))
    weights = np.exp(-(apart**2) / (2 * sigma**2))
    rows: Doubles = weights / weights.sum(axis=1, keepdims=True)
    return rows
