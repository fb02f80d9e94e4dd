"""What a map looks like around a box, and how a box moves: the two sides of the refiner's regression."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipfast.surgery.box_scores import Doubles

__all__ = ["moved", "moves", "oriented", "profiles"]


def profiles(values: NDArray[Any], boxes: Doubles, cells: int, reach: float) -> Doubles:
    """Sample a map on a grid over each box and its surroundings, scaled to mean 0 and spread 1.

    Args:
        values: The map, (h, w).
        boxes: xyxy in pixels, (m, 4).
        cells: Samples along each side.
        reach: Side of the grid in sides of the box.

    Returns:
        (m, cells, cells) float64, rows from top to bottom. Bilinear; outside the map its border goes on. Where the map
        is flat, zeros.
    """
    height, width = values.shape
    steps = ((np.arange(cells) + 0.5) / cells - 0.5) * reach
    middle, size = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    x = np.clip(middle[:, :1] + steps * size[:, :1] - 0.5, 0, width - 1)
    y = np.clip(middle[:, 1:] + steps * size[:, 1:] - 0.5, 0, height - 1)
    left, top = np.minimum(x.astype(np.int64), max(width - 2, 0)), np.minimum(y.astype(np.int64), max(height - 2, 0))
    columns, next_columns = left[:, None, :], np.minimum(left + 1, width - 1)[:, None, :]
    rows, next_rows = top[:, :, None], np.minimum(top + 1, height - 1)[:, :, None]
    across, down = (x - left)[:, None, :], (y - top)[:, :, None]
    upper = values[rows, columns] * (1 - across) + values[rows, next_columns] * across
    lower = values[next_rows, columns] * (1 - across) + values[next_rows, next_columns] * across
    seen = upper * (1 - down) + lower * down
    seen = seen - seen.mean(axis=(1, 2), keepdims=True)
    spread = seen.std(axis=(1, 2), keepdims=True)
    out: Doubles = seen / np.where(spread > 0, spread, 1)
    return out


def moves(boxes: Doubles, truths: Doubles) -> Doubles:
    """Return how each box becomes its truth: shift in parts of its width and height, logarithm of the growth, (m, 4).

    >>> moves(np.array([[0.0, 0, 10, 20]]), np.array([[5.0, 0, 15, 20]])).tolist()
    [[0.5, 0.0, 0.0, 0.0]]
    """
    middle, size = _middle_and_size(boxes)
    wanted, wanted_size = _middle_and_size(truths)
    return np.concatenate([(wanted - middle) / size, np.log(wanted_size / size)], axis=1)


def moved(boxes: Doubles, by: Doubles) -> Doubles:
    """Return the boxes after their moves: the inverse of `moves`."""
    middle, size = _middle_and_size(boxes)
    middle, half = middle + by[:, :2] * size, size * np.exp(by[:, 2:]) / 2
    return np.concatenate([middle - half, middle + half], axis=1)


def oriented(seen: Doubles, by: Doubles) -> tuple[Doubles, Doubles]:
    """Return profiles and moves in the eight orientations of the square, (8 m, cells * cells) and (8 m, 4)."""
    inputs, targets = [], []
    for turned in (False, True):
        looks = seen.transpose(0, 2, 1) if turned else seen
        goes = by[:, [1, 0, 3, 2]] if turned else by
        for flip_x in (1, -1):
            for flip_y in (1, -1):
                inputs.append(looks[:, ::flip_y, ::flip_x].reshape(len(seen), -1))
                targets.append(goes * [flip_x, flip_y, 1, 1])
    return np.concatenate(inputs), np.concatenate(targets)


def _middle_and_size(boxes: Doubles) -> tuple[Doubles, Doubles]:
    """Return centres and sizes, (m, 2) each."""
    return (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
