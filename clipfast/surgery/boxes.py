"""Boxes from a heat map: threshold at a percentile, clean the mask, box its components, score them.

The steps are those of the owner's first system (percentile 90, 3 x 3 close and open, 8-connected components wider and
higher than 5 pixels, score = mean of the map in the box). Two things differ on purpose:

* A percentile is a rank here: the threshold is the smallest value of the map not below NumPy's linear percentile. In
  exact arithmetic the mask `map >= threshold` is the same; but it depends on the order of values alone, so no rounding
  of an interpolated threshold can move it, and it stays the same under every increasing change of the map.
* If no component is large enough, there is no box. The original then returned the box around the whole mask, which
  says that something was found where nothing was; `BoxOptions(if_none="whole_mask")` brings that back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clipfast.arguments import Span, require_known, require_number, require_numbers, require_type
from clipfast.surgery.box_scores import Doubles, MapSums, box_means, require_map
from clipfast.types import Ints

__all__ = [
    "PERCENTILES",
    "BoxOptions",
    "BoxScore",
    "Boxes",
    "IfNone",
    "Morphology",
    "boxes",
    "boxes_above",
    "boxes_at",
    "rank_values",
]

Morphology: TypeAlias = Literal["close_open", "none"]
BoxScore: TypeAlias = Literal["mean", "contrast"]
IfNone: TypeAlias = Literal["nothing", "whole_mask"]

PERCENTILES = (75.0, 80.0, 85.0, 90.0, 95.0)  # the owner's quality table

_PERCENTILES, _FROM_0 = Span(0, 100), Span(0)
_FEW = 32  # boxes whose means are taken one by one: a table of running sums costs more than they do

_SCORES: dict[BoxScore, Callable[[MapSums, NDArray[Any]], Doubles]] = {
    "mean": MapSums.means,
    "contrast": MapSums.contrasts,
}


@dataclass(frozen=True, slots=True, eq=False)
class Boxes:
    """Boxes of one map, from the highest score down.

    Attributes:
        xyxy: In pixels of the map, half-open, (m, 4) float64.
        scores: Higher where the map says more, (m,) float64; on the scale of the map.
    """

    xyxy: Doubles
    scores: Doubles

    def __len__(self) -> int:
        """Return how many boxes there are."""
        return len(self.scores)

    @classmethod
    def none(cls) -> Boxes:
        """Return no boxes."""
        return cls(np.empty((0, 4)), np.empty(0))

    @classmethod
    def ranked(cls, xyxy: NDArray[Any], scores: NDArray[Any]) -> Boxes:
        """Put boxes in the order of their scores; equal ones keep their order."""
        order = np.argsort(-scores, kind="stable")
        return cls(xyxy[order].astype(np.float64), scores[order].astype(np.float64))

    def take(self, rows: NDArray[Any] | slice) -> Boxes:
        """Return the chosen rows: indices, a bool for each box, or a slice."""
        return Boxes(self.xyxy[rows], self.scores[rows])


@dataclass(frozen=True, slots=True)
class BoxOptions:
    """How masks become boxes.

    Attributes:
        morphology: "close_open" fills gaps and takes away threads of less than 3 pixels; "none" leaves the mask.
        connectivity: 4 joins pixels that share an edge, 8 also those that share a corner.
        min_size_hw: Smallest height and width of a box, in pixels of the map. The default is meant for maps of some
            224 pixels; on a bare patch grid take (1, 1) and no morphology.
        min_area: Fewest pixels of a component.
        score: "mean" of the map in the box, or "contrast": that mean less the mean of a frame around the box.
        if_none: What to return if no component is large enough: "nothing", or the box around "whole_mask".

    Raises:
        DataError: If a choice is not in its list.
        ShapeError: If a size is negative, or no number.
    """

    morphology: Morphology = "close_open"
    connectivity: Literal[4, 8] = 8
    min_size_hw: tuple[int, int] = (6, 6)
    min_area: int = 0
    score: BoxScore = "mean"
    if_none: IfNone = "nothing"

    def __post_init__(self) -> None:
        choices = (
            ("morphology", self.morphology, get_args(Morphology)),
            ("connectivity", self.connectivity, (4, 8)),
            ("score", self.score, get_args(BoxScore)),
            ("if_none", self.if_none, get_args(IfNone)),
        )
        for name, given, known in choices:
            require_known(name, given, known)
        require_numbers("min_size_hw", self.min_size_hw, _FROM_0, count=2)
        require_number("min_area", self.min_area, _FROM_0)


def boxes(heatmap: ArrayLike, percentile: float = 90.0, *, options: BoxOptions | None = None) -> Boxes:
    """Find the boxes of what lies at or above a percentile of a heat map.

    Args:
        heatmap: One map, (h, w), real and finite, at the resolution in which the boxes are wanted.
        percentile: 0 to 100: 90 marks the highest tenth of the pixels (and all that equal the lowest of them).
        options: How the mask becomes boxes.

    Returns:
        Boxes of the components, from the highest score down; equal scores in raster order of the components' first
        pixels. None if no component is large enough (but see `BoxOptions.if_none`), and none of a constant map, which
        says nothing about any place. A positive affine change of the map changes scores likewise and boxes not at all,
        as long as it keeps different values different.

    Raises:
        ShapeError: If the map is not (h, w) real and finite numbers, or the percentile lies outside 0 to 100.

    >>> heat = np.zeros((40, 40))
    >>> heat[8:20, 10:26] = 1.0
    >>> found = boxes(heat, 90)
    >>> found.xyxy.tolist(), found.scores.tolist()
    ([[10.0, 8.0, 26.0, 20.0]], [1.0])
    """
    require_number("percentile", percentile, _PERCENTILES)
    return boxes_at(heatmap, (percentile,), options=options)[0]


def boxes_at(
    heatmap: ArrayLike, percentiles: Sequence[float] = PERCENTILES, *, options: BoxOptions | None = None
) -> tuple[Boxes, ...]:
    """Find the boxes of several percentiles of one map, each as `boxes` would, with the work shared.

    Args:
        heatmap: As in `boxes`.
        percentiles: In any order, repeated or not.
        options: As in `boxes`.

    Raises:
        ShapeError: As `boxes` does.

    >>> heat = np.add.outer(np.arange(60.0), np.arange(60.0))
    >>> [found.xyxy.tolist() for found in boxes_at(heat, (95, 75))]
    [[[42.0, 42.0, 60.0, 60.0]], [[19.0, 19.0, 60.0, 60.0]]]
    """
    chosen = BoxOptions() if options is None else require_type("options", options, BoxOptions, "BoxOptions(...)")
    values = require_map(heatmap)
    return boxes_above(values, rank_values(values, percentiles), chosen)


def boxes_above(values: NDArray[Any], levels: Doubles, options: BoxOptions) -> tuple[Boxes, ...]:
    """Find the boxes at thresholds that are known: those of `rank_values`, values of the map.

    Args:
        values: Of `require_map`, (h, w).
        levels: Thresholds, (k,).
        options: As in `boxes`.
    """
    if not len(levels) or values.min() == values.max():
        return tuple(Boxes.none() for _ in levels)
    components = (_swept if options.morphology == "none" else _cleaned)(values, levels, options)
    kept = [_large_enough(*each, options) for each in components]
    if options.if_none == "whole_mask":
        every = [corners for corners, _ in components]
        kept = [k if len(k) else _hull(e, values, level) for k, e, level in zip(kept, every, levels, strict=True)]
    table = cache(lambda: MapSums.of(values))

    def scores(corners: NDArray[Any]) -> Doubles:
        if options.score == "mean" and len(corners) <= _FEW:
            return box_means(values, corners)
        return _SCORES[options.score](table(), corners)

    return tuple(Boxes.ranked(corners, scores(corners)) for corners in kept)


def rank_values(values: NDArray[Any], percentiles: Sequence[float]) -> Doubles:
    """Return, for each percentile, the smallest value of a map that is not below NumPy's linear percentile, (k,).

    Raises:
        ShapeError: If a percentile lies outside 0 to 100.

    >>> rank_values(np.array([[3.0, 1.0], [2.0, 5.0]]), [0, 50, 100]).tolist()
    [1.0, 3.0, 5.0]
    """
    wanted = require_numbers("percentiles", percentiles, _PERCENTILES)
    # Multiplied first: the product is exact where the rank is whole, and so is the quotient.
    ranks = [math.ceil(float(percentile) * (values.size - 1) / 100) for percentile in wanted]
    if not ranks:
        return np.empty(0)
    sorted_there = np.partition(values.ravel(), sorted(set(ranks)))
    return sorted_there[ranks].astype(np.float64)


def _swept(values: NDArray[Any], levels: Doubles, options: BoxOptions) -> list[tuple[Ints, Ints]]:
    """Return boxes and areas at each threshold, all from one ordering of the pixels."""
    from clipfast.kernels import sweep_thresholds

    sweep = sweep_thresholds(values, levels, options.connectivity)
    spans = [slice(*sweep.offsets[i : i + 2].tolist()) for i in range(len(levels))]
    return [(sweep.boxes[span], sweep.areas[span]) for span in spans]


def _cleaned(values: NDArray[Any], levels: Doubles, options: BoxOptions) -> list[tuple[Ints, Ints]]:
    """Return boxes and areas at each threshold after morphology, which has to see a mask for each."""
    from clipfast.kernels import label_stack
    from clipfast.kernels.morphology import close_then_open

    masks = close_then_open(values >= levels.astype(values.dtype)[:, None, None])
    return [(each.boxes, each.areas) for each in label_stack(masks, options.connectivity, threads=1)]


def _large_enough(corners: Ints, areas: Ints, options: BoxOptions) -> Ints:
    least_height, least_width = options.min_size_hw
    wide, high = corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1]
    kept: Ints = corners[(wide >= least_width) & (high >= least_height) & (areas >= options.min_area)]
    return kept


def _hull(corners: Ints, values: NDArray[Any], level: float) -> Ints:
    """Return the box around all components, or around the mask before morphology if that left none, (1, 4)."""
    if len(corners):
        return np.concatenate([corners[:, :2].min(axis=0), corners[:, 2:].max(axis=0)])[None]
    rows, columns = np.nonzero(values >= level)
    return np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]])
