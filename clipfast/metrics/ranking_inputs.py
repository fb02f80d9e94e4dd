"""Labels, masks and scores as the ranking kernels take them: flat, contiguous, of few types."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clipfast.errors import ShapeError
from clipfast.kernels.ranking_keys import SCORE_TYPES

__all__ = ["as_labels", "as_scores", "as_stacks", "flat_pair"]

_EXACT = 1 << 53  # integers up to here are float64


def flat_pair(labels: ArrayLike, scores: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return labels and scores of one shape, flat.

    Raises:
        ShapeError: If the shapes differ, or a type is not one that `as_labels` or `as_scores` takes.
    """
    left, right = _arrays(labels, scores, "labels and scores")
    if left.shape != right.shape:
        raise ShapeError(
            f"labels and scores must have one shape; got {left.shape} and {right.shape}. Give one label per score."
        )
    return as_labels(left).reshape(-1), as_scores(right).reshape(-1)


def as_stacks(masks: ArrayLike, maps: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return masks and maps as contiguous stacks of one shape, (n, h, w); one picture becomes a stack of one.

    Raises:
        ShapeError: If the shapes differ or are not (n, h, w) or (h, w), or a type is not one that `as_labels` or
            `as_scores` takes.
    """
    left, right = _arrays(masks, maps, "masks and maps")
    if left.shape != right.shape or left.ndim not in (2, 3):
        raise ShapeError(
            f"masks and maps must be (n, h, w) or (h, w), of one shape; got {left.shape} and {right.shape}. "
            "Resize the maps to the masks, and drop channel axes."
        )
    shape = (-1, *left.shape[-2:]) if left.size else (0, 1, 1)
    return as_labels(left).reshape(shape), as_scores(right).reshape(shape)


def as_labels(labels: NDArray[Any]) -> NDArray[Any]:
    """Return labels as contiguous uint8, int32 or int64; the values are looked at where they are counted.

    Raises:
        ShapeError: If they are neither bool nor integer.
    """
    if labels.dtype.kind not in "biu" and labels.size:
        raise ShapeError(f"labels must be bool or integers 0 and 1; got {labels.dtype}. Compare them: labels > 0.5.")
    if labels.dtype.kind == "b":
        return np.ascontiguousarray(labels).view(np.uint8)
    if labels.dtype == np.uint8:
        return np.ascontiguousarray(labels)
    narrow = labels.dtype.kind == "i" and labels.dtype.itemsize <= 4
    return np.ascontiguousarray(labels, dtype=np.int32 if narrow else np.int64)


def as_scores(scores: NDArray[Any]) -> NDArray[Any]:
    """Return scores as contiguous float16, float32, float64, uint8 or uint16, without loss.

    Other integers become float64.

    Raises:
        ShapeError: If the type is another one, or an integer has no float64.
    """
    kind = scores.dtype.newbyteorder("=")
    if kind.name in SCORE_TYPES:
        return np.ascontiguousarray(scores, dtype=kind)
    if kind.kind == "b":
        return np.ascontiguousarray(scores).view(np.uint8)
    if kind.kind not in "iu":
        raise ShapeError(f"scores must be float16, float32, float64 or integers; got {scores.dtype}. Convert them.")
    if scores.size and not -_EXACT <= int(scores.min()) <= int(scores.max()) <= _EXACT:
        raise ShapeError("integer scores must lie within 2**53; beyond that float64 merges them. Give their ranks.")
    return np.ascontiguousarray(scores, dtype=np.float64)


def _arrays(left: ArrayLike, right: ArrayLike, names: str) -> tuple[NDArray[Any], NDArray[Any]]:
    if isinstance(left, np.ma.MaskedArray) or isinstance(right, np.ma.MaskedArray):
        raise ShapeError(f"{names} must not be masked arrays: the mask would be ignored. Select first, x.compressed().")
    try:
        return np.asarray(left), np.asarray(right)
    except ValueError as error:
        raise ShapeError(f"{names} must be arrays, or lists of arrays of one size. Resize them first.") from error
