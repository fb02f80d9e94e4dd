"""Points for SAM from a heat map: the highest cells as foreground, as many of the lowest as background.

Source: xmed-lab/CLIP_Surgery, clip/clip.py `similarity_map_to_points`, restated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clipfast.arguments import Span, require_number, require_size_hw, require_whole
from clipfast.surgery.box_scores import Doubles, require_map
from clipfast.surgery.heatmap import resize_maps
from clipfast.types import Ints

__all__ = ["Points", "points"]


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """What SAM takes as `point_coords` and `point_labels`.

    Attributes:
        xy: Pixels, x first, (k, 2) int64: positive points from the lowest to the highest of them, then negative ones
            from the very lowest up.
        labels: 1 for positive and 0 for negative, (k,) int64; as many of each.
    """

    xy: Ints
    labels: Ints

    def __len__(self) -> int:
        """Return how many points there are."""
        return len(self.labels)


def points(
    heatmap: ArrayLike, size_hw: tuple[int, int] | None = None, *, threshold: float = 0.8, down_sample: int = 2
) -> Points:
    """Choose points that a promptable segmenter can start from.

    The map is shrunk (bilinear, so that single patches count less) and scaled to 0..1. With n cells at or above the
    threshold, but at most half of all cells, the n highest cells become positive and the n lowest negative points,
    each in the middle of its cell. Equal cells go in raster order.

    Args:
        heatmap: One map, (h, w), real and finite; usually the patch grid as it is, for each cell of what remains after
            shrinking may become a point.
        size_hw: Size of the image in which the points are wanted; None takes that of the map.
        threshold: Of the scaled map, above 0 and at most 1.
        down_sample: The map is shrunk to (h // down_sample, w // down_sample), at least one cell; 1 leaves it.

    Returns:
        Points of one text; join those of several texts with `numpy.concatenate`. A constant map, and one that shrinks
        to a single cell, gives none.

    Raises:
        ShapeError: If the map is not (h, w) real and finite numbers, or another argument is out of range.

    >>> found = points(np.eye(4), (40, 40), down_sample=1)
    >>> found.xy.tolist()[:4], found.labels.tolist()
    ([[5, 5], [15, 15], [25, 25], [35, 35]], [1, 1, 1, 1, 0, 0, 0, 0])
    """
    require_number("threshold", threshold, Span(0, 1, above=True))
    require_whole("down_sample", down_sample, 1)
    values = require_map(heatmap)
    height, width = values.shape if size_hw is None else require_size_hw("size_hw", size_hw)
    rows, columns = (max(side // down_sample, 1) for side in values.shape)
    cells = resize_maps(_unit(values).astype(np.float32), (rows, columns)).ravel()
    count = min(int((_unit(cells) >= threshold).sum()), len(cells) // 2)
    order = np.argsort(cells, kind="stable")
    chosen = np.concatenate([order[len(order) - count :], order[:count]])
    x = np.minimum((chosen % columns + 0.5) * width / columns, width - 1)
    y = np.minimum((chosen // columns + 0.5) * height / rows, height - 1)
    return Points(np.stack([x, y], axis=1).astype(np.int64), np.repeat(np.array([1, 0]), count))


def _unit(values: NDArray[Any]) -> Doubles:
    """Scale to 0..1 in float64, in halves so that no difference of two finite numbers overflows; flat ones become 0."""
    halves = values.astype(np.float64) / 2
    span = halves.max() - halves.min()
    scaled: Doubles = (halves - halves.min()) / (span if span > 0 else 1)
    return scaled
