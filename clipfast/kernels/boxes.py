"""Boxes that say the same: drop all but the best (NMS), or merge them into one.

Both walk through the boxes from the highest score down. The first that nobody has taken takes all later ones whose
overlap with it is greater than the threshold; comparisons of one box with all later ones go through vectors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from clipfast.errors import ShapeError
from clipfast.kernels.array_inputs import as_array
from clipfast.kernels.overlap import box_areas, require_boxes
from clipfast.types import Ints

__all__ = ["MergedBoxes", "merge_boxes", "non_maximum_suppression"]


@dataclass(frozen=True, slots=True, eq=False)
class MergedBoxes:
    """Clusters of boxes, from the highest score down.

    Attributes:
        boxes: The merged box of each cluster, xyxy, (k, 4); float32 of float32 and float16 boxes, otherwise float64.
        scores: The highest score in each cluster, (k,), in the type of the scores.
        best: Which box has it, (k,) int64; `classes[best]` are the classes of the merged boxes.
        cluster: The cluster of every box, (n,) int64.
    """

    boxes: NDArray[Any]
    scores: NDArray[Any]
    best: Ints
    cluster: Ints


def non_maximum_suppression(
    boxes: ArrayLike,
    scores: ArrayLike,
    iou_threshold: float,
    *,
    classes: ArrayLike | None = None,
    pixel_offset: Literal[0, 1] = 0,
) -> Ints:
    """Keep each box that overlaps no kept box of a higher score by more than a threshold (greedy NMS).

    Args:
        boxes: xyxy, (n, 4), with x1 <= x2 and y1 <= y2, of any memory layout.
        scores: Real numbers, (n,); of equal scores the box that comes first goes first.
        iou_threshold: From 0 to 1; a box whose overlap is equal to it stays.
        classes: Integers, (n,): only boxes of one class compete. None is one class.
        pixel_offset: How boxes are measured, as in `box_iou`.

    Returns:
        Indices of the boxes kept, from the highest score down, (k,) int64; without ties those of
        `torchvision.ops.nms`, and with `classes` those that NMS of each class alone keeps.

    Raises:
        ShapeError: If boxes are wrong as `box_iou` says; if scores are not n real and finite numbers or classes not n
            integers; if the threshold lies outside 0 to 1.

    >>> boxes = np.array([[0, 0, 2, 2], [0, 0, 2, 3], [5, 5, 6, 6]])
    >>> non_maximum_suppression(boxes, np.array([0.8, 0.9, 0.1]), 0.5).tolist()
    [1, 2]
    """
    ranks = as_array("scores", scores)
    order, taker = _take(as_array("boxes", boxes), ranks, iou_threshold, classes, pixel_offset)
    return _by_score(order[taker == np.arange(len(taker))], ranks)


def merge_boxes(
    boxes: ArrayLike,
    scores: ArrayLike,
    iou_threshold: float,
    *,
    classes: ArrayLike | None = None,
    pixel_offset: Literal[0, 1] = 0,
) -> MergedBoxes:
    """Merge boxes that `non_maximum_suppression` would drop into the box that they would be dropped for.

    A cluster is a kept box and the boxes that it is the first to suppress. Its merged box is the mean of their
    coordinates weighted with their scores (as box voting and weighted boxes fusion do: Gidaris and Komodakis, 2015;
    Solovyev et al., 2021), computed in float64 and never outside what the coordinates span. If all scores of a cluster
    are 0, they count alike. Unlike weighted boxes fusion, a cluster does not move while it grows, and its score is that
    of its best box.

    Args:
        boxes: xyxy, (n, 4), with x1 <= x2 and y1 <= y2, of any memory layout.
        scores: Real numbers that are not negative, (n,); of equal scores the box that comes first goes first.
        iou_threshold: From 0 to 1; a box whose overlap is equal to it stays apart.
        classes: Integers, (n,): only boxes of one class are merged. None is one class.
        pixel_offset: How boxes are measured, as in `box_iou`.

    Returns:
        Merged boxes, their scores and who went where; `best` is what `non_maximum_suppression` keeps.

    Raises:
        ShapeError: As `non_maximum_suppression` does, and if a score is negative.

    >>> merged = merge_boxes(np.array([[0.0, 0, 2, 2], [0, 0, 2, 4], [5, 5, 6, 6]]), np.array([0.3, 0.1, 0.2]), 0.4)
    >>> merged.boxes.tolist(), merged.cluster.tolist()
    ([[0.0, 0.0, 2.0, 2.5], [5.0, 5.0, 6.0, 6.0]], [0, 0, 1])
    """
    corners, weights = as_array("boxes", boxes), as_array("scores", scores)
    order, taker = _take(corners, weights, iou_threshold, classes, pixel_offset)
    if weights.size and weights.min() < 0:
        raise ShapeError(f"scores must not be negative, for they are weights; got {weights.min()}. Add a constant.")
    best = _by_score(order[taker == np.arange(len(taker))], weights)
    cluster_of_best = np.empty(len(corners), np.int64)
    cluster_of_best[best] = np.arange(len(best))
    cluster = np.empty(len(corners), np.int64)
    cluster[order] = cluster_of_best[order[taker]]
    dtype = np.float32 if corners.dtype.kind == "f" and corners.dtype.itemsize <= 4 else np.float64
    merged = np.empty((len(best), 4), np.float64)
    _weigh(corners.astype(np.float64, order="C"), weights.astype(np.float64), cluster, best, merged)
    return MergedBoxes(merged.astype(dtype), weights[best], best, cluster)


def _take(
    boxes: NDArray[Any],
    scores: NDArray[Any],
    iou_threshold: float,
    classes: ArrayLike | None,
    pixel_offset: int,
) -> tuple[Ints, NDArray[np.int32]]:
    """Return the boxes by class and descending score, and for each which of them, counted in that order, takes it."""
    checked = require_boxes(boxes, "boxes")
    if pixel_offset not in {0, 1}:
        raise ShapeError(f"pixel_offset must be 0 or 1; got {pixel_offset!r}.")
    if scores.shape != (len(boxes),) or scores.dtype.kind not in "biuf" or not np.isfinite(scores).all():
        raise ShapeError(f"scores must be {len(boxes)} real and finite numbers; got {scores.dtype} {scores.shape}.")
    if np.asarray(iou_threshold).dtype.kind not in "biuf" or not 0 <= iou_threshold <= 1:  # also refuses NaN
        raise ShapeError(f"iou_threshold must lie from 0 to 1; got {iou_threshold!r}.")
    if classes is None:
        order = _descending(scores)
        starts = np.array([0, len(boxes)], np.int64)
    else:
        kinds = as_array("classes", classes)
        if kinds.shape != (len(boxes),) or kinds.dtype.kind not in "biu":
            raise ShapeError(f"classes must be {len(boxes)} integers; got {kinds.dtype} {kinds.shape}.")
        order = _descending(scores)
        order = order[np.argsort(kinds[order], kind="stable")]
        starts = np.concatenate([[0], np.flatnonzero(np.diff(kinds[order])) + 1, [len(boxes)]]).astype(np.int64)
    offset = checked.dtype.type(pixel_offset)
    # The largest value of the boxes' type that is not greater than the threshold: nothing lies between the two.
    threshold = checked.dtype.type(iou_threshold)
    if float(threshold) > iou_threshold:
        threshold = np.nextafter(threshold, checked.dtype.type(-1))
    taker = np.full(len(boxes), -1, np.int32)
    areas = box_areas(checked, pixel_offset, "boxes")[order]
    _take_in_turn(np.ascontiguousarray(checked[order].T), areas, offset, threshold, starts, taker)
    return order, taker


def _descending(scores: NDArray[Any]) -> Ints:
    """Return indices from the highest score down, equal ones in their order."""
    backwards: Ints = len(scores) - 1 - np.argsort(scores[::-1], kind="stable")[::-1]
    return backwards


def _by_score(chosen: Ints, scores: NDArray[Any]) -> Ints:
    """Return indices from the highest score down, of equal ones the lowest index first."""
    chosen = np.sort(chosen)
    return chosen[_descending(scores[chosen])]


@njit(cache=True, nogil=True, error_model="numpy")  # a check for zero before each division would prevent vectors
def _take_in_turn(
    columns: NDArray[Any],
    areas: NDArray[Any],
    offset: Any,
    threshold: Any,
    starts: Ints,
    taker: NDArray[np.int32],
) -> None:
    """Let each box that is free take itself and all later ones that overlap it by more than the threshold.

    Args:
        columns: Coordinates of the boxes, (4, n).
        areas: Their areas, (n,).
        offset: The pixel offset, in their type.
        threshold: In their type.
        starts: Where the groups begin within which boxes compete, and the end.
        taker: Receives who takes each box; -1 before.
    """
    x1, y1, x2, y2 = columns[0], columns[1], columns[2], columns[3]
    zero = offset - offset
    for group in range(len(starts) - 1):
        for i in range(starts[group], starts[group + 1]):
            if taker[i] >= 0:
                continue
            taker[i] = i
            left, top, right, bottom, area = x1[i], y1[i], x2[i], y2[i], areas[i]
            for j in range(i + 1, starts[group + 1]):
                begin, end = x1[j] if x1[j] > left else left, x2[j] if x2[j] < right else right
                width = end - begin + offset
                begin, end = y1[j] if y1[j] > top else top, y2[j] if y2[j] < bottom else bottom
                height = end - begin + offset
                common = (width if width > zero else zero) * (height if height > zero else zero)
                union = area + areas[j] - common
                iou = common / union if union > zero else zero
                taker[j] = i if (taker[j] < 0) & (iou > threshold) else taker[j]


@njit(cache=True, nogil=True)
def _weigh(
    boxes: NDArray[np.float64], scores: NDArray[np.float64], cluster: Ints, best: Ints, merged: NDArray[np.float64]
) -> None:
    """Write the mean box of each cluster, (k, 4), weighted with scores in parts of the cluster's best."""
    weights = np.zeros(len(best))
    low, high = boxes[best], boxes[best]
    merged[:] = 0.0
    for i in range(len(boxes)):
        into = cluster[i]
        highest = scores[best[into]]
        weight = scores[i] / highest if highest > 0 else 1.0
        weights[into] += weight
        for side in range(4):
            merged[into, side] += weight * boxes[i, side]
            low[into, side] = min(low[into, side], boxes[i, side])
            high[into, side] = max(high[into, side], boxes[i, side])
    for into in range(len(best)):
        for side in range(4):
            mean = merged[into, side] / weights[into]
            merged[into, side] = min(max(mean, low[into, side]), high[into, side])
