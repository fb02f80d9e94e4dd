"""Which rows a memory keeps: greedy k-centre, among the rows themselves or in a random projection."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from clipfast.errors import ShapeError
from clipfast.kernels.distance import Coreset, greedy_coreset
from clipfast.types import Floats

__all__ = ["projection_channels", "random_projection", "select_coreset"]

_EPSILON = 0.9  # anomalib's


def select_coreset(
    rows: Floats,
    size: int,
    *,
    seed: int,
    projection: int | Literal["auto"] | None = None,
    covered: Floats | None = None,
) -> Coreset:
    """Choose rows that cover the others.

    Args:
        rows: (m, c) float32.
        size: How many, 1 <= size <= m.
        seed: Of the first row and of the projection.
        projection: Channels in which distances are taken; "auto" is the Johnson-Lindenstrauss bound at 0.9 where it is
            smaller than c; None takes the rows as they are.
        covered: Rows kept earlier, (k, c): the choice goes on from them.

    Raises:
        ShapeError: As in `clipfast.kernels.distance.greedy_coreset`.
    """
    earlier = 0 if covered is None else len(covered)
    channels = projection_channels(len(rows) + earlier, rows.shape[-1]) if projection == "auto" else projection
    if channels is not None:
        matrix = random_projection(rows.shape[-1], channels, seed=seed)
        rows = rows @ matrix
        covered = None if covered is None else covered @ matrix
    return greedy_coreset(rows, size, seed=seed, covered=covered)


def projection_channels(rows: int, channels: int) -> int | None:
    """Return how many channels keep distances of so many rows to within 0.9, or None where that saves nothing.

    >>> projection_channels(20_000, 768), projection_channels(20_000, 192)
    (244, None)
    """
    wanted = int(4 * math.log(max(rows, 2)) / (_EPSILON**2 / 2 - _EPSILON**3 / 3))
    return wanted if wanted < channels else None


def random_projection(channels: int, new: int, *, seed: int) -> Floats:
    """Return a seeded Gaussian projection that keeps squared distances in the mean, (channels, new) float32.

    Raises:
        ShapeError: A number is not positive.
    """
    if channels < 1 or new < 1:
        raise ShapeError(f"a projection needs 1 channel or more on both sides; got {channels} and {new}.")
    drawn = np.random.default_rng([seed, 1]).standard_normal((channels, new), dtype=np.float32)
    matrix: Floats = drawn / np.float32(math.sqrt(new))
    return matrix
