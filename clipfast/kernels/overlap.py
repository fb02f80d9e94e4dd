"""Intersection over union of all pairs: of boxes, and of masks.

Pairs are computed row by row over columns of coordinates, which LLVM turns into vectors; the divisions cost about as
much as writing the result.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from clipfast.errors import ShapeError
from clipfast.kernels.array_inputs import as_array
from clipfast.kernels.bits import Words, count_bits, pack_rows, words_per_row

__all__ = ["box_areas", "box_iou", "mask_iou", "require_boxes"]


def box_iou(boxes: ArrayLike, others: ArrayLike, *, pixel_offset: Literal[0, 1] = 0) -> NDArray[Any]:
    """Return the intersection over union of every pair of boxes.

    Args:
        boxes: xyxy, (n, 4), with x1 <= x2 and y1 <= y2, of any memory layout.
        others: xyxy, (m, 4).
        pixel_offset: 0 measures boxes as `x2 - x1`, for half-open pixels and for continuous coordinates; 1 as
            `x2 - x1 + 1`, for boxes whose last pixel is inside, as PASCAL VOC's are.

    Returns:
        (n, m), float32 if both are float32 or float16, otherwise float64; computed in that type. Two boxes without
        area have 0 in common, even if they are equal.

    Raises:
        ShapeError: If boxes are not (n, 4) real and finite numbers, if x2 < x1 or y2 < y1, if an area is too large or
            too small for the type, or if `pixel_offset` is unknown.

    >>> box_iou(np.array([[0.0, 0, 2, 2]]), np.array([[1.0, 0, 3, 2], [5, 5, 6, 6]])).round(3).tolist()
    [[0.333, 0.0]]
    """
    if pixel_offset not in {0, 1}:
        raise ShapeError(f"pixel_offset must be 0 or 1; got {pixel_offset!r}.")
    left, right = require_boxes(boxes, "boxes"), require_boxes(others, "others")
    dtype = np.result_type(left, right)
    left, right = left.astype(dtype, copy=False), right.astype(dtype, copy=False)
    areas = box_areas(left, pixel_offset, "boxes"), box_areas(right, pixel_offset, "others")
    iou = np.empty((len(left), len(right)), dtype)
    _pairwise_iou(left, areas[0], np.ascontiguousarray(right.T), areas[1], dtype.type(pixel_offset), iou)
    return iou


def mask_iou(masks: ArrayLike, others: ArrayLike) -> NDArray[np.float64]:
    """Return the intersection over union of every pair of masks.

    Args:
        masks: Bool or integer, (n, h, w), of any memory layout; what is not zero is foreground.
        others: Bool or integer, (m, h, w).

    Returns:
        (n, m) float64, from exact counts of pixels; two masks without foreground have 0 in common.

    Raises:
        ShapeError: If the masks are not three-dimensional, bool or integer, or if their sizes differ.

    >>> mask_iou(np.array([[[1, 1, 0]]]), np.array([[[0, 1, 1]], [[0, 0, 0]]])).round(3).tolist()
    [[0.333, 0.0]]
    """
    left, right = as_array("masks", masks), as_array("others", others)
    for name, given in (("masks", left), ("others", right)):
        if given.ndim != 3 or given.dtype.kind not in "biu":
            raise ShapeError(
                f"{name} must be bool or integer (n, h, w); got {given.dtype} {given.shape}. "
                "Give a single mask an axis: mask[None]."
            )
    if left.shape[1:] != right.shape[1:]:
        raise ShapeError(f"masks and others must have one size; got {left.shape[1:]} and {right.shape[1:]}.")
    iou = np.empty((len(left), len(right)), np.float64)
    _pairwise_mask_iou(_packed(left), _packed(right), iou)
    return iou


def require_boxes(values: ArrayLike, name: str) -> NDArray[Any]:
    """Return boxes as float32 or float64, C-contiguous and writeable: the types the kernels are compiled for.

    Raises:
        ShapeError: If `values` are not (n, 4), real and finite, or x2 < x1 or y2 < y1.
    """
    boxes = as_array(name, values)
    if boxes.ndim != 2 or boxes.shape[1] != 4 or boxes.dtype.kind not in "biuf":
        raise ShapeError(
            f"{name} must be real numbers (n, 4), xyxy; got {boxes.dtype} {boxes.shape}. "
            "No boxes are np.empty((0, 4)); a single box is box[None]."
        )
    single = boxes.dtype.kind == "f" and boxes.dtype.itemsize <= 4
    checked: NDArray[Any] = np.require(boxes, np.float32 if single else np.float64, ["C", "W"])
    state = _state_of(checked)
    if state == _NOT_FINITE:
        raise ShapeError(f"{name} must be finite; got NaN or infinity. Drop such boxes first.")
    if state == _REVERSED:
        raise ShapeError(f"{name} must have x1 <= x2 and y1 <= y2; got a box with x2 < x1 or y2 < y1. Pass xyxy.")
    return checked


def box_areas(boxes: NDArray[Any], pixel_offset: int, name: str) -> NDArray[Any]:
    """Return the area of each checked box, in the type of the boxes.

    Raises:
        ShapeError: If the type cannot hold it: twice the area overflows, or the area of a box with two sides is 0.
    """
    areas = np.empty(len(boxes), boxes.dtype)
    if not _measure(boxes, boxes.dtype.type(pixel_offset), areas):
        raise ShapeError(f"{name} must have areas that {boxes.dtype} can hold; got larger or smaller. Scale them.")
    return areas


def _packed(masks: NDArray[Any]) -> Words:
    """Return one row of words a mask."""
    pixels = masks.shape[1] * masks.shape[2]
    words = np.empty((len(masks), words_per_row(pixels)), np.uint64)
    pack_rows(masks.reshape(len(masks), pixels), words)
    return words


_FINE, _NOT_FINITE, _REVERSED = 0, 1, 2


@njit(cache=True, nogil=True)
def _state_of(boxes: NDArray[Any]) -> int:
    """Return what is wrong with boxes, the worst first."""
    state = _FINE
    for i in range(len(boxes)):
        for side in range(4):
            if not np.isfinite(boxes[i, side]):
                return _NOT_FINITE
        if boxes[i, 2] < boxes[i, 0] or boxes[i, 3] < boxes[i, 1]:
            state = _REVERSED
    return state


@njit(cache=True, nogil=True)
def _measure(boxes: NDArray[Any], offset: Any, areas: NDArray[Any]) -> bool:
    """Write the area of each box; return whether the type can hold them."""
    fine = True
    for i in range(len(boxes)):
        width, height = boxes[i, 2] - boxes[i, 0] + offset, boxes[i, 3] - boxes[i, 1] + offset
        areas[i] = width * height
        lost = areas[i] == 0 and width > 0 and height > 0
        fine &= np.isfinite(areas[i] + areas[i]) and not lost
    return fine


@njit(cache=True, nogil=True, error_model="numpy")  # a check for zero before each division would prevent vectors
def _pairwise_iou(
    boxes: NDArray[Any],
    areas: NDArray[Any],
    columns: NDArray[Any],
    other_areas: NDArray[Any],
    offset: Any,
    iou: NDArray[Any],
) -> None:
    """Write the overlap of every box, (n, 4), with every other, (4, m); `offset` has their type."""
    x1, y1, x2, y2 = columns[0], columns[1], columns[2], columns[3]
    zero = offset - offset
    for i in range(len(boxes)):
        left, top, right, bottom, area = boxes[i, 0], boxes[i, 1], boxes[i, 2], boxes[i, 3], areas[i]
        for j in range(len(other_areas)):
            begin, end = x1[j] if x1[j] > left else left, x2[j] if x2[j] < right else right
            width = end - begin + offset
            begin, end = y1[j] if y1[j] > top else top, y2[j] if y2[j] < bottom else bottom
            height = end - begin + offset
            common = (width if width > zero else zero) * (height if height > zero else zero)
            union = area + other_areas[j] - common
            iou[i, j] = common / union if union > zero else zero


@njit(cache=True, nogil=True)
def _pairwise_mask_iou(masks: Words, others: Words, iou: NDArray[np.float64]) -> None:
    """Write the overlap of every mask, (n, words), with every other, (m, words)."""
    for i in range(len(masks)):
        for j in range(len(others)):
            common, union = 0, 0
            for k in range(masks.shape[1]):
                common += count_bits(masks[i, k] & others[j, k])
                union += count_bits(masks[i, k] | others[j, k])
            iou[i, j] = common / union if union else 0.0
