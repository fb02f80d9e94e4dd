"""Components of one score map at many thresholds, from one ordering of its pixels.

How it is done is told in `component_levels`; this file says what comes out and checks what comes in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clipfast.errors import ShapeError
from clipfast.kernels.array_inputs import as_array
from clipfast.kernels.component_levels import FloatArray, components_of_levels
from clipfast.kernels.components import REACH
from clipfast.types import Ints

__all__ = ["ComponentSweep", "sweep_percentiles", "sweep_thresholds"]


@dataclass(frozen=True, slots=True, eq=False)
class ComponentSweep:
    """The components of `scores >= threshold` for every threshold, each numbered in raster order of the first pixel.

    Attributes:
        thresholds: As they were given, or the percentiles' values, (k,) float64.
        offsets: Components of threshold `i` are rows `offsets[i]` to `offsets[i + 1]` of what follows, (k + 1,) int64.
        areas: Pixels of each component, (count,) int64.
        boxes: Tight boxes xyxy in pixels, half-open, (count, 4) int64.
        sums: Sum of the scores of each component, (count,) float64.
    """

    thresholds: FloatArray
    offsets: Ints
    areas: Ints
    boxes: Ints
    sums: FloatArray

    @property
    def counts(self) -> Ints:
        """How many components there are at each threshold, (k,) int64."""
        return np.diff(self.offsets)

    @property
    def means(self) -> FloatArray:
        """Mean score of each component, (count,) float64."""
        return self.sums / self.areas


def sweep_thresholds(scores: ArrayLike, thresholds: ArrayLike, connectivity: Literal[4, 8] = 8) -> ComponentSweep:
    """Find the components of `scores >= threshold` for many thresholds of one map.

    Args:
        scores: Real numbers, (h, w), of any memory layout. float64 and what it holds exactly is compared exactly.
        thresholds: In any order, repeated or not, (k,); compared as float64.
        connectivity: 4 joins pixels that share an edge, 8 also those that share a corner.

    Returns:
        Areas, boxes and sums by threshold, in the order given: what
        `label_components(scores.astype(np.float64) >= threshold)` finds; without `astype`, NumPy 2 would round a
        Python threshold to the type of float32 scores and count a pixel of float32 0.7, which is less than 0.7, at 0.7.
        Sums agree up to the last bits, because they are added in another order (one that the input alone decides).

    Raises:
        ShapeError: If `scores` is not two-dimensional, real and finite, or a sum overflows; if a threshold is NaN or
            `thresholds` is not (k,) numbers; if `connectivity` is unknown.

    >>> found = sweep_thresholds(np.array([[3.0, 1.0, 2.0]]), [2.0, 1.0])
    >>> found.counts.tolist(), found.areas.tolist(), found.sums.tolist()
    ([2, 1], [1, 1, 3], [3.0, 2.0, 6.0])
    """
    values = _checked(scores, connectivity)
    wanted = _numbers("thresholds", thresholds)
    if wanted.ndim != 1 or np.isnan(wanted).any():
        raise ShapeError(f"thresholds must be (k,) numbers, none NaN; got {wanted.shape}: {wanted.tolist()}.")
    return _sweep(values, wanted, REACH[connectivity])


def sweep_percentiles(scores: ArrayLike, percentiles: ArrayLike, connectivity: Literal[4, 8] = 8) -> ComponentSweep:
    """Find the components of `scores >= p-th percentile` for many percentiles of one map.

    Args:
        scores: Real numbers, (h, w), not empty, of any memory layout.
        percentiles: Between 0 and 100, in any order, (k,); their values are those of
            `np.percentile(scores, percentiles, method="linear")`, where all types but float32 are taken as float64.
        connectivity: 4 joins pixels that share an edge, 8 also those that share a corner.

    Returns:
        As `sweep_thresholds` with those values. With percentile 0 every pixel is foreground, with 100 the maxima are.

    Raises:
        ShapeError: As `sweep_thresholds` does; if `scores` is empty, a percentile lies outside 0 to 100, or its value
            cannot be computed because the difference of two scores overflows.

    >>> sweep_percentiles(np.array([[3.0, 1.0, 2.0]]), [50]).thresholds.tolist()
    [2.0]
    """
    values = _checked(scores, connectivity)
    wanted = _numbers("percentiles", percentiles)
    if wanted.ndim != 1 or not ((wanted >= 0) & (wanted <= 100)).all():
        raise ShapeError(f"percentiles must be (k,) numbers from 0 to 100; got {wanted.shape}: {wanted.tolist()}.")
    if not values.size:
        raise ShapeError(f"scores must hold a pixel; got {values.shape}. An empty map has no percentiles.")
    with np.errstate(over="ignore", invalid="ignore"):  # told below
        thresholds = np.percentile(values, wanted, method="linear").astype(np.float64)
    if not np.isfinite(thresholds).all():
        raise ShapeError(f"percentiles must be values that {values.dtype} can hold; got an overflow. Scale the scores.")
    return _sweep(values, thresholds, REACH[connectivity])


def _numbers(name: str, values: ArrayLike) -> FloatArray:
    """Return real numbers as float64."""
    given = as_array(name, values)
    if given.dtype.kind not in "biuf":
        raise ShapeError(f"{name} must be (k,) numbers; got {given.dtype} {given.shape}.")
    return given.astype(np.float64)


def _checked(given: ArrayLike, connectivity: int) -> NDArray[Any]:
    """Return the scores as float32 or float64, C-contiguous and writeable: the types the kernels are compiled for."""
    scores = as_array("scores", given)
    if scores.ndim != 2 or scores.dtype.kind not in "biuf" or scores.size >= 2**31:
        raise ShapeError(
            f"scores must be real numbers (h, w), fewer than 2**31; got {scores.dtype} {scores.shape}. "
            "Pass one map at a time, without a channel axis."
        )
    if connectivity not in REACH:
        raise ShapeError(f"connectivity must be one of {sorted(REACH)}; got {connectivity!r}.")
    values = np.require(scores, np.float32 if scores.dtype == np.float32 else np.float64, ["C", "W"])
    if values.size and not (np.isfinite(values.min()) and np.isfinite(values.max())):
        raise ShapeError("scores must be finite; got NaN or infinity. Replace them first: numpy.nan_to_num.")
    return values


def _sweep(scores: NDArray[Any], thresholds: FloatArray, reach: int) -> ComponentSweep:
    distinct, level_of = np.unique(thresholds, return_inverse=True)
    levels = components_of_levels(scores, distinct, reach)
    if not all(np.isfinite(sums).all() for _, _, sums in levels):
        raise ShapeError("sums of scores must be values that float64 can hold; got an overflow. Scale the scores.")
    chosen = [levels[len(distinct) - 1 - level] for level in level_of.ravel()]
    return ComponentSweep(
        thresholds,
        np.cumsum([0, *(len(areas) for areas, _, _ in chosen)], dtype=np.int64),
        np.concatenate([np.empty(0, np.int64), *(areas for areas, _, _ in chosen)]),
        np.concatenate([np.empty((0, 4), np.int64), *(boxes for _, boxes, _ in chosen)]),
        np.concatenate([np.empty(0), *(sums for _, _, sums in chosen)]),
    )
