"""Where exactly a picture was cut: a crop that is known to 1.7 % of the side is moved until threads lie on threads.

Correlation of fine cloth is lost when one picture lies half a thread beside the other. Both pictures are parted into
5 x 5 blocks on 120 pixels a side, each block of one is correlated with the other at 49 places around, and of all ways
in which the four edges of the crop may be moved by up to 3 pixels the one with the highest sum is taken: the model of
what can have happened is as small as that, and 25 blocks decide about four numbers.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from clipfast.retrieval.overlay import Crop, Grey, Scale

__all__ = ["FINE", "aligned"]

FINE = Scale(10)
_BLOCKS = 5
_REACH = 3  # pixels
_HALVES = 2 * _REACH * 2 + 1  # places at half pixels
_ROUNDS = 2


def aligned(cut: Grey, crop: Crop, whole: Grey) -> Crop:
    """Move the edges of a crop so that what is left of one picture lies on the other.

    Args:
        cut: Luminance, (192, 192).
        crop: What is cut off it, nearly.
        whole: The other picture, (192, 192).

    Returns:
        The crop, with no edge outside of the picture.
    """
    laid = _inner(FINE.detail(whole)[0])
    for _ in range(_ROUNDS):
        places = _block_places(_inner(FINE.detail(cut, crop)[0]), laid)
        rows, columns = _best_ends(places)
        moved = _moved(crop[0], rows), _moved(crop[1], columns)
        if moved == crop:
            break
        crop = moved
    return crop


def _inner(detail: Grey) -> Grey:
    margin = (FINE.side - FINE.inner) // 2
    return detail[margin:-margin, margin:-margin]


def _block_places(one: Grey, other: Grey) -> Grey:
    """Correlate every block at all places around, in half pixels, (5, 5, 13, 13)."""
    size = FINE.inner // _BLOCKS
    padded = np.pad(one, _REACH)
    around = range(2 * _REACH + 1)
    found = np.empty((_BLOCKS, _BLOCKS, len(around), len(around)), np.float32)
    for down in around:
        for right in around:
            product = padded[down : down + FINE.inner, right : right + FINE.inner] * other
            found[:, :, down, right] = product.reshape(_BLOCKS, size, _BLOCKS, size).sum(axis=(1, 3))
    powers = [(each * each).reshape(_BLOCKS, size, _BLOCKS, size).sum(axis=(1, 3)) for each in (one, other)]
    power = np.sqrt(powers[0] * powers[1])[:, :, None, None]
    found = np.divide(found, power, out=np.zeros_like(found), where=power > 0)
    between = _between()
    places: Grey = between @ found @ between.T
    return places


def _best_ends(places: Grey) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return by how many pixels the two ends of rows, and of columns, are best moved."""
    ends, at = _models()
    total = np.zeros((len(ends), len(ends)), np.float32)
    for row in range(_BLOCKS):
        for column in range(_BLOCKS):
            total += places[row, column][at[:, row]][:, at[:, column]]
    rows, columns = divmod(int(total.argmax()), len(ends))
    return ends[rows], ends[columns]


def _moved(cut: tuple[float, float], ends: tuple[float, float]) -> tuple[float, float]:
    pixel = (1 - cut[0] - cut[1]) / FINE.inner
    return max(0.0, cut[0] + ends[0] * pixel), max(0.0, cut[1] - ends[1] * pixel)


@lru_cache(maxsize=1)
def _models() -> tuple[list[tuple[float, float]], NDArray[np.int64]]:
    """Return all pairs of how far the two ends move, no move first, and at which place that puts each block."""
    steps = sorted(range(-_REACH, _REACH + 1), key=abs)
    ends = [(float(begin), float(end)) for begin in steps for end in steps]
    middles = (np.arange(_BLOCKS) + 0.5) / _BLOCKS
    moves = np.array([begin * (1 - middles) + end * middles for begin, end in ends])
    return ends, np.rint(2 * (moves + _REACH)).astype(np.int64)


@lru_cache(maxsize=1)
def _between() -> Grey:
    """Return what reads 7 places at half pixels, (13, 7): a windowed sinc with rows that sum to 1."""
    apart = np.subtract.outer(np.linspace(-_REACH, _REACH, _HALVES), np.arange(-_REACH, _REACH + 1))
    weights = np.sinc(apart) * np.where(np.abs(apart) < _REACH, np.cos(np.pi * apart / (2 * _REACH)) ** 2, 0.0)
    rows: Grey = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return rows
