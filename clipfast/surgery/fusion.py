"""Several maps of one thing made one: depths, scales, or models of different input sizes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from clipfast.errors import ShapeError
from clipfast.types import Floats

__all__ = ["fuse_maps", "shares_of"]


def fuse_maps(maps: Sequence[Floats], weights: Sequence[float] | None = None) -> Floats:
    """Return the weighted mean of maps.

    Similarities of one path are averaged as they are: their levels mean the same at every depth and scale. Maps of
    different paths or models do not share a level; bring them to one by `unit_range` first.

    Args:
        maps: Arrays of one shape.
        weights: One for each, positive; None counts all alike. They are divided by their sum.

    Returns:
        The mean, float32.

    Raises:
        ShapeError: If there is no map, shapes differ, or weights do not fit.

    >>> fuse_maps([np.zeros((1, 2), np.float32), np.ones((1, 2), np.float32)], weights=[1, 3]).tolist()
    [[0.75, 0.75]]
    """
    if not maps or len({each.shape for each in maps}) > 1:
        raise ShapeError(f"maps must be one or more of one shape; got {[each.shape for each in maps]}. Resize them.")
    fused = np.zeros(maps[0].shape, np.float32)
    for each, share in zip(maps, shares_of(weights, len(maps)), strict=True):
        fused += np.float32(share) * each
    return fused


def shares_of(weights: Sequence[float] | None, count: int) -> list[float]:
    """Return weights divided by their sum; without any, equal shares.

    Raises:
        ShapeError: If there are not `count` of them, or one is not positive and finite.

    >>> shares_of([1, 3], 2), shares_of(None, 2)
    ([0.25, 0.75], [0.5, 0.5])
    """
    values = [1.0] * count if weights is None else [float(weight) for weight in weights]
    if len(values) != count or not all(0 < value < float("inf") for value in values):
        raise ShapeError(f"weights must be {count} positive numbers, one for each; got {values}.")
    return [value / sum(values) for value in values]
