"""Boxes of one map from many thresholds at once: each place keeps the threshold at which it stands out most.

A single percentile marks the same share of every map: too much around small objects, a part of large ones. Here the
components of many thresholds are pooled. Each is scored by its contrast: its mean less the mean of what is around it.
Of components that lie on each other, which are mostly the same place at other thresholds, the one of the most contrast
stays (the idea of maximally stable regions, Matas et al., 2002, with contrast for stability).

Contrast tells the right size of a place, but not how sure it is: a speck has more of it than a large object, and a map
of something that is not there has specks as well. The score is therefore the contrast in standard deviations of the
map, times the root of two things together: the height of the peak above the map's mean, which is low where nothing is,
and the root of the place's share of the map. It was chosen among some thirty on 200 rendered pictures, and held on 200
others: `docs/boxes.md`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clipfast.arguments import Span, require_known, require_number, require_numbers, require_type
from clipfast.errors import ShapeError
from clipfast.surgery.box_scores import Doubles, MapSums, require_map
from clipfast.surgery.boxes import Boxes, rank_values
from clipfast.types import Ints

__all__ = ["FUSED_PERCENTILES", "MARGINS", "FusionOptions", "Regions", "checked_fusion", "fused_boxes", "standing_out"]

MARGINS = Span(0, 10, above=True)  # in parts of a box

# Half of the map, then each time 0.7 of the area before, down to one pixel in a hundred.
FUSED_PERCENTILES = tuple(round(100 - 50 * 0.7**step, 3) for step in range(12))


@dataclass(frozen=True, slots=True)
class FusionOptions:
    """How boxes of many thresholds become one list.

    Attributes:
        percentiles: Which thresholds, 0 to 100.
        margin: Width of the frame that a component is compared with, in parts of its box, above 0.
        most_overlap: Boxes whose common area is a larger part than this of the smaller one are one place.
        min_size_hw: Smallest height and width of a box, in pixels of the map, as in `BoxOptions`.
        connectivity: 4 joins pixels that share an edge, 8 also those that share a corner.

    Raises:
        DataError: If the connectivity is neither 4 nor 8.
        ShapeError: If a number is of another type, or out of range.
    """

    percentiles: tuple[float, ...] = FUSED_PERCENTILES
    margin: float = 0.4
    most_overlap: float = 0.5
    min_size_hw: tuple[int, int] = (6, 6)
    connectivity: Literal[4, 8] = 8

    def __post_init__(self) -> None:
        if not require_numbers("percentiles", self.percentiles, Span(0, 100)):
            raise ShapeError("percentiles must name one threshold or more; got none.")
        require_number("margin", self.margin, MARGINS)
        require_number("most_overlap", self.most_overlap, Span(0, 1))
        require_numbers("min_size_hw", self.min_size_hw, Span(0), count=2)
        require_known("connectivity", self.connectivity, (4, 8))


@dataclass(frozen=True, slots=True, eq=False)
class Regions:
    """Sets of pixels, as far as their scores need to know them.

    Attributes:
        boxes: Around each region, xyxy in pixels, half-open, (m, 4).
        areas: Pixels of each, (m,).
        sums: Sum of the map over each, (m,) float64.
    """

    boxes: Ints
    areas: Ints
    sums: Doubles


def fused_boxes(heatmap: ArrayLike, *, options: FusionOptions | None = None) -> Boxes:
    """Find boxes at many percentiles of a heat map and keep, for each place, the one that stands out most.

    Args:
        heatmap: One map, (h, w), real and finite, at the resolution in which the boxes are wanted.
        options: Thresholds, and what counts as one place.

    Returns:
        Boxes from the highest score down. Scores are positive and comparable between maps of one model and path: with
        d the contrast, s the standard deviation, p the height of the peak above the mean of the map and a the share of
        the map, d / s * sqrt(p * sqrt(a)). What is not brighter than what is around it is no box; a constant map has
        none. A positive affine change of the map multiplies scores by the root of its factor and, but for rounding
        where two components stand out alike, leaves the boxes.

    Raises:
        ShapeError: If the map is not (h, w) real and finite numbers.

    >>> heat = np.zeros((60, 60))
    >>> heat[5:25, 30:50] = 1.0  # of two places, a percentile of 90 would mark one
    >>> heat[40:50, 8:20] = 0.5
    >>> fused_boxes(heat).xyxy.tolist()
    [[30.0, 5.0, 50.0, 25.0], [8.0, 40.0, 20.0, 50.0]]
    """
    from clipfast.kernels import sweep_thresholds

    chosen = checked_fusion(options)
    values = require_map(heatmap)
    levels = rank_values(values, chosen.percentiles)
    if values.min() == values.max():
        return Boxes.none()
    sweep = sweep_thresholds(values, np.unique(levels), chosen.connectivity)
    return standing_out(values, Regions(sweep.boxes, sweep.areas, sweep.sums), chosen)


def checked_fusion(options: FusionOptions | None) -> FusionOptions:
    """Return options, the usual ones if None.

    Raises:
        DataError: They are something else.
    """
    return FusionOptions() if options is None else require_type("options", options, FusionOptions, "FusionOptions(...)")


def standing_out(values: NDArray[Any], regions: Regions, options: FusionOptions) -> Boxes:
    """Score regions of one map and keep, of those that lie on each other, the one of the most contrast.

    Args:
        values: The map, (h, w), not constant.
        regions: Of any source: components of thresholds, proposals.
        options: Margin, overlap and smallest size; its percentiles are not used.
    """
    sums = MapSums.of(values)
    contrasts = sums.region_contrasts(regions.boxes, regions.areas, regions.sums, options.margin)
    least_height, least_width = options.min_size_hw
    wide, high = (regions.boxes[:, side + 2] - regions.boxes[:, side] for side in (0, 1))
    fit = np.flatnonzero((wide >= least_width) & (high >= least_height) & (contrasts > 0))
    kept = fit[_one_a_place(regions.boxes[fit], contrasts[fit], options.most_overlap)]
    spread = float(values.std(dtype=np.float64))
    peaks = np.array([values[y1:y2, x1:x2].max() for x1, y1, x2, y2 in regions.boxes[kept].tolist()], np.float64)
    heights = np.maximum(peaks - sums.mean, 0)
    shares = regions.areas[kept] / values.size
    return Boxes.ranked(regions.boxes[kept], contrasts[kept] / spread * np.sqrt(heights * np.sqrt(shares)))


def _one_a_place(boxes: Ints, scores: Doubles, most_overlap: float) -> Ints:
    """Return the boxes that no better box lies on, from the best down.

    NMS by intersection over union would leave a bright spot inside a large object beside the object.
    """
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    left = np.argsort(-scores, kind="stable")
    kept = []
    while len(left):
        best, left = left[0], left[1:]
        kept.append(best)
        sides = np.minimum(boxes[left, 2:], boxes[best, 2:]) - np.maximum(boxes[left, :2], boxes[best, :2])
        common = np.maximum(sides, 0).prod(axis=1)
        left = left[common <= most_overlap * np.minimum(areas[left], areas[best])]
    return np.array(kept, np.int64)
