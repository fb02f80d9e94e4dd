"""Scores as integers of the same order: what counting needs instead of sorting.

The bits of a float, all but the sign flipped where it is negative, order as signed integers like the float itself;
-0.0 counts as 0.0. A score of 16 bits has one of 65,536 patterns, so all of them can be counted.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from clipfast.types import Ints

__all__ = ["SCORE_TYPES", "bits_of", "count_patterns", "keys_of", "scores_of"]

# the integers whose bits are read; floats are signed, so that a shift brings the sign down
SCORE_TYPES = {"uint8": "uint8", "uint16": "uint16", "float16": "int16", "float32": "int32", "float64": "int64"}


def bits_of(scores: NDArray[Any]) -> NDArray[Any]:
    """Return the same memory as integers of the same width."""
    return scores.view(SCORE_TYPES[scores.dtype.name])


def keys_of(scores: NDArray[Any]) -> NDArray[Any]:
    """Return integers of the same width and order as the scores, of any shape; finite scores only.

    >>> keys_of(np.array([-1, -0.0, 0, 1], np.float16)).tolist()
    [-15361, 0, 0, 15360]
    """
    bits = bits_of(scores + scores.dtype.type(0))  # -0.0 + 0.0 is 0.0
    keys: NDArray[Any] = np.where(bits < 0, bits ^ np.iinfo(bits.dtype).max, bits)
    return keys


def scores_of(keys: Ints, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the scores of type `dtype` that have these keys: the inverse of `keys_of`.

    >>> scores_of(np.array([-15361, 0]), np.dtype(np.float16)).tolist()
    [-1.0, 0.0]
    """
    bits = keys.astype(SCORE_TYPES[dtype.name])
    scores: NDArray[Any] = np.where(bits < 0, bits ^ np.iinfo(bits.dtype).max, bits).view(dtype)
    return scores


def count_patterns(labels: NDArray[Any], scores: NDArray[Any]) -> Ints:
    """Count every pattern of scores of 8 or 16 bits, by label, (2, patterns) int64; labels are 0 or 1."""
    width = 8 * scores.dtype.itemsize
    counts = np.zeros((2, 1 << width), np.int64)
    _count_patterns(labels, scores.view(f"uint{width}"), counts)
    return counts


@njit(cache=True, nogil=True)
def _count_patterns(labels: NDArray[Any], patterns: NDArray[Any], counts: Ints) -> None:
    """Add one for each item."""
    for i in range(len(patterns)):
        counts[labels[i], patterns[i]] += 1
