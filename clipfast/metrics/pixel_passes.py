"""Many sets of anomaly maps against one set of masks, in two passes, so that no set lies in memory whole.

`pixel_scores` wants all maps of a set at once and finds the regions of the masks each time. Where a dozen ways of
scoring are compared on the same masks, find the regions once (`PixelTruth`), show each way the maps of the pictures
that are anomalous, then the maps of all. The figures are those of `pixel_scores`, to the last bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clipfast.errors import ShapeError, UndefinedMetricError
from clipfast.kernels.ranking import take_positives
from clipfast.kernels.ranking_blocks import BlockCounts
from clipfast.metrics.aupro import PixelScores, pixel_scores_of_levels, region_weights, require_limit
from clipfast.metrics.ranking_inputs import as_labels
from clipfast.types import Floats, Pixels

__all__ = ["PixelPasses", "PixelTruth"]


@dataclass(frozen=True, slots=True, eq=False)
class PixelTruth:
    """Masks and what AUPRO needs of them.

    Attributes:
        masks: 0 and 1, (n, h, w) uint8.
        weights: 1 / area of its region for every anomalous pixel, in raster order, (positives,).
        regions: How many regions there are.
        anomalous: Which pictures hold an anomalous pixel, (n,) bool.
    """

    masks: Pixels
    weights: NDArray[np.float64]
    regions: int
    anomalous: NDArray[np.bool_]

    @classmethod
    def of(cls, masks: ArrayLike, *, threads: int | None = 2) -> PixelTruth:
        """Find the regions.

        Args:
            masks: 1 or True where a picture is anomalous, else 0, (n, h, w); bool or integer.
            threads: How many threads share the work.

        Raises:
            ShapeError: If a mask holds something but 0 and 1, or the shape is another one.
            UndefinedMetricError: If there is no anomalous pixel, or no normal one.
        """
        stack = np.asarray(masks)
        if stack.ndim != 3:
            raise ShapeError(f"masks must be (n, h, w); got {stack.shape}.")
        labels = as_labels(stack)
        weights, regions = region_weights(labels, threads)
        if len(weights) == labels.size:
            raise UndefinedMetricError(f"A pixel must be normal; all {labels.size} are anomalous.")
        plain = labels.astype(np.uint8, copy=False)
        return cls(plain, weights, regions, np.array([mask.any() for mask in plain], np.bool_))


class PixelPasses:
    """One set of maps, shown twice.

    Args:
        truth: The masks.
        limit: Largest false positive rate of AUPRO, in (0, 1].

    >>> masks = np.zeros((2, 4, 4), np.uint8)
    >>> masks[0, 1, 1:3] = 1
    >>> maps = np.zeros((2, 4, 4), np.float32)
    >>> maps[0, 1, 1], maps[0, 1, 3] = 2, 1
    >>> passes = PixelPasses(PixelTruth.of(masks))
    >>> passes.show_anomalous(maps[:1], slice(0, 1))
    >>> passes.show(maps[:1])
    >>> passes.show(maps[1:])
    >>> round(passes.scores().auroc, 4)
    0.7417
    """

    def __init__(self, truth: PixelTruth, *, limit: float = 0.3) -> None:
        require_limit(limit)
        self._truth, self._limit = truth, limit
        self._found: list[Floats] = []
        self._counts: BlockCounts | None = None

    def show_anomalous(self, maps: Floats, pictures: slice | NDArray[np.integer]) -> None:
        """First pass: show the maps of pictures with an anomalous pixel, in order; others may be among them.

        Args:
            maps: Float32, (m, h, w).
            pictures: Their places among the masks.

        Raises:
            ShapeError: Their shape is not that of the masks, or the second pass has begun.
        """
        masks = self._truth.masks[pictures]
        if self._counts is not None or maps.shape != masks.shape or maps.dtype != np.float32:
            raise ShapeError(
                f"maps must be float32 {masks.shape}, shown before the second pass; got {maps.dtype} {maps.shape}."
            )
        flat = np.ascontiguousarray(masks).reshape(-1)
        self._found.append(take_positives(flat, np.ascontiguousarray(maps).reshape(-1), int(np.count_nonzero(flat))))

    def show(self, maps: Floats) -> None:
        """Second pass: show the maps of all pictures, in any order and grouping, each once.

        Raises:
            ShapeError: The first pass has not shown every anomalous pixel, or a score is NaN or infinite.
        """
        if self._counts is None:
            found = np.concatenate([np.empty(0, np.float32), *self._found])
            if len(found) != len(self._truth.weights):
                raise ShapeError(
                    f"{len(self._truth.weights)} anomalous pixels must be shown first; {len(found)} were. "
                    "Call show_anomalous for each picture that holds one."
                )
            self._counts = BlockCounts(found, self._truth.weights, items=self._truth.masks.size)
            self._found.clear()
        self._counts.add(np.ascontiguousarray(maps).reshape(-1))

    def scores(self) -> PixelScores:
        """Return the figures.

        Raises:
            ShapeError: Not every picture was shown.
            UndefinedMetricError: Nothing was shown.
        """
        if self._counts is None:
            raise UndefinedMetricError("Nothing was shown. Call show_anomalous, then show for all pictures.")
        levels = self._counts.levels()
        if levels.positives + levels.negatives != self._truth.masks.size:
            raise ShapeError(
                f"all {self._truth.masks.size} pixels must be shown once; {levels.positives + levels.negatives} were."
            )
        return pixel_scores_of_levels(levels, self._truth.regions, self._limit)
