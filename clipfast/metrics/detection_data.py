"""Detections and ground truths of many images as flat arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clipfast.errors import ShapeError
from clipfast.kernels.array_inputs import as_array
from clipfast.kernels.overlap import box_areas
from clipfast.types import Ints

__all__ = ["Detections", "GroundTruths"]

Doubles = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """What a detector found in many images, a row a box. The arrays are copied and read-only.

    Attributes:
        images: Image of every box, (n,), integers or strings of any value.
        classes: Class of every box, (n,), integers or strings of any value.
        boxes: Boxes xyxy in pixels, (n, 4), kept as float64.
        scores: How sure the detector is, higher is surer, (n,), kept as float64.

    Raises:
        ShapeError: If shapes or types differ from these, a number is not finite, a box has x2 < x1 or y2 < y1, or its
            area is too large or too small for float64, as in `box_iou`.

    >>> Detections(np.array(["a.jpg"]), np.array(["knot"]), np.array([[2, 3, 9, 8]]), np.array([0.7])).boxes.tolist()
    [[2.0, 3.0, 9.0, 8.0]]
    """

    images: NDArray[Any]
    classes: NDArray[Any]
    boxes: Doubles
    scores: Doubles

    def __post_init__(self) -> None:
        boxes = _checked_boxes(self.boxes)
        _store(self, boxes=boxes, scores=_checked_numbers("scores", self.scores, len(boxes)))
        _store(self, images=_checked_labels("images", self.images, len(boxes)))
        _store(self, classes=_checked_labels("classes", self.classes, len(boxes)))

    @classmethod
    def from_images(
        cls,
        boxes: Sequence[ArrayLike],
        scores: Sequence[ArrayLike],
        classes: Sequence[ArrayLike] | None = None,
    ) -> Detections:
        """Join lists with one entry an image; images are numbered from 0, and all is one class where none is given.

        >>> Detections.from_images([np.zeros((0, 4)), np.array([[0, 0, 5, 5]])], [np.zeros(0), np.array([0.9])]).images
        array([1])
        """
        parts = _boxes_by_image(boxes)
        images, flat, labels = _joined(parts, classes)
        return cls(images, labels, flat, _one_a_box("scores", scores, parts))


@dataclass(frozen=True, slots=True, eq=False)
class GroundTruths:
    """What is in many images, a row a box. The arrays are copied and read-only.

    Attributes:
        images: Image of every box, (m,), integers or strings, the same names as in `Detections`.
        classes: Class of every box, (m,), integers or strings, the same names as in `Detections`.
        boxes: Boxes xyxy in pixels, (m, 4), kept as float64.
        difficult: Boxes that nobody has to find and nobody is punished for finding, (m,) bool: VOC's `difficult`,
            COCO's `iscrowd`. None are if left out.
        areas: COCO's `area`, (m,), by which it tells small from large: that of the mask where there is one. The area of
            the box if left out; VOC does not use it.

    Raises:
        ShapeError: If shapes or types differ from these, a number is not finite, a box has x2 < x1 or y2 < y1, its
            area is too large or too small for float64, as in `box_iou`, or one of `areas` is negative.
    """

    images: NDArray[Any]
    classes: NDArray[Any]
    boxes: Doubles
    difficult: Bools | None = None
    areas: Doubles | None = None

    def __post_init__(self) -> None:
        boxes = _checked_boxes(self.boxes)
        _store(self, boxes=boxes, images=_checked_labels("images", self.images, len(boxes)))
        _store(self, classes=_checked_labels("classes", self.classes, len(boxes)))
        if self.difficult is not None:
            _store(self, difficult=_checked_flags(self.difficult, len(boxes)))
        if self.areas is not None:
            areas = _checked_numbers("areas", self.areas, len(boxes))
            if (areas < 0).any():
                raise ShapeError(
                    f"areas must not be negative; got {areas.min()}. Leave them out for those of the boxes."
                )
            _store(self, areas=areas)

    @classmethod
    def from_images(
        cls,
        boxes: Sequence[ArrayLike],
        classes: Sequence[ArrayLike] | None = None,
        difficult: Sequence[ArrayLike] | None = None,
        areas: Sequence[ArrayLike] | None = None,
    ) -> GroundTruths:
        """Join lists with one entry an image; images are numbered from 0, and all is one class where none is given."""
        parts = _boxes_by_image(boxes)
        images, flat, labels = _joined(parts, classes)
        flags = None if difficult is None else _one_a_box("difficult", difficult, parts)
        return cls(images, labels, flat, flags, None if areas is None else _one_a_box("areas", areas, parts))

    def spared(self) -> Bools:
        """Return `difficult`, or as many False."""
        return np.zeros(len(self.boxes), dtype=np.bool_) if self.difficult is None else self.difficult


def _store(target: object, **arrays: NDArray[Any]) -> None:
    for name, array in arrays.items():
        array.setflags(write=False)
        object.__setattr__(target, name, array)


def _checked_boxes(boxes: NDArray[Any]) -> Doubles:
    """Return an own float64 copy of boxes (n, 4)."""
    array = as_array("boxes", boxes)
    if array.ndim != 2 or array.shape[1] != 4:
        raise ShapeError(f"boxes must be (n, 4) xyxy; got {array.shape}. Without any, pass np.zeros((0, 4)).")
    if array.dtype.kind not in "iuf":
        raise ShapeError(f"boxes must be numbers; got {array.dtype}. Convert them: boxes.astype(float).")
    copy = np.array(array, dtype=np.float64, order="C")
    if not np.isfinite(copy).all():
        row = int(np.flatnonzero(~np.isfinite(copy).all(axis=1))[0])
        raise ShapeError(f"boxes must be finite; got {copy[row].tolist()} in row {row}. Remove or mend that box.")
    reversed_rows = (copy[:, 2] < copy[:, 0]) | (copy[:, 3] < copy[:, 1])
    if reversed_rows.any():
        row = int(np.flatnonzero(reversed_rows)[0])
        raise ShapeError(
            f"boxes must be xyxy with x1 <= x2 and y1 <= y2; got {copy[row].tolist()} in row {row}. "
            "From x, y, width, height: x2 = x + width, y2 = y + height."
        )
    for pixel_offset in (0, 1):  # which one will be used is not known yet
        box_areas(copy, pixel_offset, "boxes")
    return copy


def _checked_numbers(what: str, values: NDArray[Any], count: int) -> Doubles:
    array = as_array(what, values)
    if array.shape != (count,):
        raise ShapeError(f"{what} must be ({count},), one a box; got {array.shape}.")
    if array.dtype.kind not in "iuf":
        raise ShapeError(f"{what} must be numbers; got {array.dtype}. Convert them: {what}.astype(float).")
    copy = np.array(array, dtype=np.float64)
    if not np.isfinite(copy).all():
        row = int(np.flatnonzero(~np.isfinite(copy))[0])
        raise ShapeError(f"{what} must be finite; got {copy[row]} in row {row}. Remove or mend that box.")
    return copy


def _as_names(what: str, values: Any) -> NDArray[Any]:
    """Return an array, but of no list in which NumPy would turn numbers beside strings into strings."""
    array = as_array(what, values)
    listed = array.dtype.kind == "U" and array.ndim == 1 and isinstance(values, Sequence)
    if listed and not all(isinstance(value, str) for value in values):
        raise ShapeError(f"{what} must be all numbers or all strings; got both. Convert one of them.")
    return array


def _checked_labels(what: str, values: NDArray[Any], count: int) -> NDArray[Any]:
    array = _as_names(what, values)
    if array.shape != (count,):
        raise ShapeError(f"{what} must be ({count},), one a box; got {array.shape}.")
    if count == 0:
        return np.zeros(0, dtype=np.int64)  # an empty list has type float64
    if array.dtype.kind == "U":
        return array.copy()
    if array.dtype.kind not in "iu" or (array.dtype == np.uint64 and array.max() > np.iinfo(np.int64).max):
        raise ShapeError(f"{what} must be integers (int64) or strings; got {array.dtype}. Convert: .astype(str).")
    return np.array(array, dtype=np.int64)


def _checked_flags(values: NDArray[Any], count: int) -> Bools:
    array = as_array("difficult", values)
    if array.shape != (count,):
        raise ShapeError(f"difficult must be ({count},), one a box; got {array.shape}.")
    if array.dtype.kind not in "biu" and count:
        raise ShapeError(f"difficult must be bool or 0 and 1; got {array.dtype}. Convert it: difficult.astype(bool).")
    if array.dtype.kind != "b" and not np.isin(array, (0, 1)).all():
        raise ShapeError("difficult must be bool or 0 and 1; got other integers. Compare first: difficult > 0.")
    return array.astype(np.bool_)


def _boxes_by_image(boxes: Sequence[ArrayLike]) -> list[NDArray[Any]]:
    parts = [as_array(f"boxes of image {image}", part) for image, part in enumerate(boxes)]
    for image, part in enumerate(parts):
        if part.ndim == 0 or (len(part) and part.shape[1:] != (4,)):
            raise ShapeError(
                f"boxes of image {image} must be (n, 4) xyxy; got {part.shape}. A single box is box[None]."
            )
    return parts


def _joined(boxes: list[NDArray[Any]], classes: Sequence[ArrayLike] | None) -> tuple[Ints, NDArray[Any], NDArray[Any]]:
    """Return image numbers, boxes and classes of lists with one entry an image."""
    images = np.repeat(np.arange(len(boxes)), [len(part) for part in boxes])
    labels = np.zeros(len(images), dtype=np.int64) if classes is None else _one_a_box("classes", classes, boxes)
    return images, _concatenated(boxes) if len(images) else np.zeros((0, 4)), labels


def _one_a_box(what: str, values: Sequence[ArrayLike], boxes: list[NDArray[Any]]) -> NDArray[Any]:
    """Join values of which every image must have as many as boxes; equal sums are not enough."""
    if len(values) != len(boxes):
        raise ShapeError(f"{what} must have one entry an image, {len(boxes)}; got {len(values)}.")
    parts = [_as_names(f"{what} of image {image}", part) for image, part in enumerate(values)]
    for image, (part, box) in enumerate(zip(parts, boxes, strict=True)):
        if part.shape != (len(box),) and not (part.ndim and len(part) == len(box) == 0):
            raise ShapeError(f"{what} of image {image} must be ({len(box)},), one a box; got {part.shape}.")
    # By whether they are strings, the first image: NumPy would turn numbers beside strings into strings.
    kinds = {part.dtype.kind == "U": image for image, part in reversed(list(enumerate(parts))) if len(part)}
    if len(kinds) > 1:
        raise ShapeError(
            f"{what} must be numbers in all images or strings in all; got numbers in image {kinds[False]} "
            f"and strings in image {kinds[True]}. Convert one of them."
        )
    return _concatenated(parts)


def _concatenated(parts: list[NDArray[Any]]) -> NDArray[Any]:
    """Join the entries that are not empty, so that an empty list does not set the type."""
    filled = [part for part in parts if len(part)]
    return np.concatenate(filled) if filled else np.zeros(0)
