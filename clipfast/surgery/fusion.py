"""Several maps of one thing made one: depths, scales, or models of different input sizes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from clipfast.arguments import Span, require_numbers, shown
from clipfast.errors import ShapeError
from clipfast.types import Floats

__all__ = ["fuse_maps", "shares_of"]

_POSITIVE = Span(0, above=True)


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
    listed = isinstance(maps, Sequence | np.ndarray) and len(maps) > 0
    if not listed or not all(isinstance(each, np.ndarray) for each in maps):
        raise ShapeError(f"maps must be one or more arrays; got {shown(maps)}. Pass a list of maps.")
    if len({each.shape for each in maps}) > 1:
        raise ShapeError(f"maps must be of one shape; got {[each.shape for each in maps]}. Resize them.")
    fused = np.zeros(maps[0].shape, np.float32)
    for each, share in zip(maps, shares_of(weights, len(maps)), strict=True):
        fused += np.float32(share) * each
    return fused


def shares_of(weights: Sequence[float] | None, count: int, name: str = "weights") -> list[float]:
    """Return weights divided by their sum; without any, equal shares.

    Raises:
        ShapeError: If there are not `count` of them, or one is not positive and finite.

    >>> shares_of([1, 3], 2), shares_of(None, 2)
    ([0.25, 0.75], [0.5, 0.5])
    """
    if weights is None:
        return [1 / count] * count
    values = [float(weight) for weight in require_numbers(name, weights, _POSITIVE, count=count)]
    return [value / sum(values) for value in values]
