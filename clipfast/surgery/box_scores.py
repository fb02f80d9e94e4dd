"""How well a box lies on a heat map: means inside it and around it, for many boxes from one table of running sums."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clipfast.errors import ShapeError

__all__ = ["Doubles", "MapSums", "box_means", "require_map"]

Doubles: TypeAlias = NDArray[np.float64]


def require_map(heatmap: ArrayLike) -> NDArray[Any]:
    """Return a heat map as float32 or float64, C-contiguous.

    Raises:
        ShapeError: If it is not (h, w) with a pixel, real and finite.
    """
    try:
        given = np.asarray(heatmap)
    except ValueError as error:
        raise ShapeError("heatmap must be real numbers (h, w); got rows of different lengths.") from error
    if given.ndim != 2 or not given.size or given.dtype.kind not in "biuf":
        raise ShapeError(
            f"heatmap must be real numbers (h, w); got {given.dtype} {given.shape}. "
            "Pass one map at a time: heatmaps(...)[image, text]."
        )
    values = np.ascontiguousarray(given, np.float32 if given.dtype == np.float32 else np.float64)
    if not (np.isfinite(values.min()) and np.isfinite(values.max())):
        raise ShapeError("heatmap must be finite; got NaN or infinity. Replace them first: numpy.nan_to_num.")
    return values


def box_means(values: NDArray[Any], boxes: NDArray[Any]) -> Doubles:
    """Return the mean of a map in each of a few boxes, (m,): what `MapSums.means` gives, without its table.

    Args:
        values: The map, (h, w).
        boxes: xyxy in whole pixels inside the map, not empty, (m, 4).
    """
    means = [values[y1:y2, x1:x2].mean(dtype=np.float64) for x1, y1, x2, y2 in boxes.tolist()]
    return np.array(means, np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class MapSums:
    """Running sums of a map less its mean, so that maps far from 0 lose no digits.

    Attributes:
        table: Sum over all pixels above and to the left, (h + 1, w + 1) float64.
        mean: Of the whole map.
    """

    table: Doubles
    mean: float

    @classmethod
    def of(cls, values: NDArray[Any]) -> MapSums:
        """Sum up a map (h, w)."""
        mean = float(values.mean(dtype=np.float64))
        table = np.zeros((values.shape[0] + 1, values.shape[1] + 1))
        np.cumsum(np.subtract(values, mean, dtype=np.float64), axis=0, out=table[1:, 1:])
        np.cumsum(table[1:, 1:], axis=1, out=table[1:, 1:])
        return cls(table, mean)

    def means(self, boxes: NDArray[Any]) -> Doubles:
        """Return the mean of the map in each box.

        Args:
            boxes: xyxy, half-open, (m, 4); rounded to whole pixels, at least one, inside the map.

        Returns:
            (m,) float64.
        """
        inside = self._pixels(boxes)
        return self.mean + self._totals(inside) / _areas(inside)

    def contrasts(self, boxes: NDArray[Any], margin: float = 0.5) -> Doubles:
        """Return the mean of the map in each box less the mean of a frame around it.

        Args:
            boxes: As in `means`.
            margin: How wide the frame is, in parts of the box's width and height, at least one pixel; what lies
                outside the map does not count.

        Returns:
            (m,) float64; a box that covers the whole map has nothing around it and contrast 0.
        """
        inside = self._pixels(boxes)
        return self._contrast(inside, self._totals(inside), _areas(inside), margin)

    def region_contrasts(self, boxes: NDArray[Any], areas: NDArray[Any], sums: Doubles, margin: float = 0.5) -> Doubles:
        """Return the mean of the map in each region less the mean of everything else in and around its box.

        Args:
            boxes: Boxes around the regions, as in `means`.
            areas: Pixels of each region, (m,), at least 1.
            sums: Sum of the map over each region, (m,).
            margin: As in `contrasts`.
        """
        return self._contrast(self._pixels(boxes), sums - self.mean * areas, areas, margin)

    def _contrast(self, boxes: NDArray[np.int64], totals: Doubles, areas: NDArray[Any], margin: float) -> Doubles:
        reach = np.maximum(np.rint(margin * (boxes[:, 2:] - boxes[:, :2])), 1).astype(np.int64)
        around = self._pixels(np.concatenate([boxes[:, :2] - reach, boxes[:, 2:] + reach], axis=1))
        rest = _areas(around) - areas
        outside = (self._totals(around) - totals) / np.maximum(rest, 1)
        contrast: Doubles = np.where(rest > 0, totals / areas - outside, 0.0)
        return contrast

    def _pixels(self, boxes: NDArray[Any]) -> NDArray[np.int64]:
        """Return boxes in whole pixels inside the map, each with at least one."""
        height, width = (side - 1 for side in self.table.shape)
        size = np.array([width, height])
        whole = np.rint(boxes).astype(np.int64).reshape(-1, 4)
        low = np.clip(whole[:, :2], 0, size - 1)
        return np.concatenate([low, np.clip(whole[:, 2:], low + 1, size)], axis=1)

    def _totals(self, boxes: NDArray[np.int64]) -> Doubles:
        left, top, right, bottom = boxes.T
        total: Doubles = (
            self.table[bottom, right] - self.table[top, right] - self.table[bottom, left] + self.table[top, left]
        )
        return total


def _areas(boxes: NDArray[np.int64]) -> NDArray[np.int64]:
    areas: NDArray[np.int64] = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return areas
