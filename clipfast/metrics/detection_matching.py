"""The order in which detections and ground truths are compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from clipfast.errors import ShapeError
from clipfast.kernels.matching import sort_by_key
from clipfast.metrics.detection_data import Detections, GroundTruths
from clipfast.types import Ints

__all__ = ["Groups", "group"]


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """Detections and ground truths sorted so that one walk pairs those of the same class and image.

    Attributes:
        labels: Names of all classes of either side, ascending, (c,).
        order: Detections by class, then image, then falling score, (n,) int64.
        keys: Number of class and image of `order`, ascending, (n,) int64.
        ranked: Detections by class, then falling score, (n,) int64.
        starts: Where each class begins in `ranked`, (c + 1,) int64.
        truth_order: Ground truths by class, then image, then input order, (m,) int64.
        truth_keys: Number of class and image of `truth_order`, ascending, (m,) int64.
        truth_classes: Position in `labels` of every ground truth in input order, (m,) int64.
    """

    labels: NDArray[Any]
    order: Ints
    keys: Ints
    ranked: Ints
    starts: Ints
    truth_order: Ints
    truth_keys: Ints
    truth_classes: Ints


def group(truths: GroundTruths, detections: Detections, ties: Literal["input", "image"]) -> Groups:
    """Sort both sides; equal scores stay in input order, or go by image and then input order."""
    names, image, truth_image = _numbered("images", detections.images, truths.images)
    labels, kind, truth_kind = _numbered("classes", detections.classes, truths.classes)
    rows = np.arange(len(image))
    if ties == "image":
        rows, _ = sort_by_key(rows, image, len(names))
    falling = rows[np.argsort(-detections.scores[rows], kind="stable")]
    ranked, starts = sort_by_key(falling, kind, len(labels))
    by_image, _ = sort_by_key(falling, image, len(names))
    order, _ = sort_by_key(by_image, kind, len(labels))
    truths_by_image, _ = sort_by_key(np.arange(len(truth_image)), truth_image, len(names))
    truth_order, _ = sort_by_key(truths_by_image, truth_kind, len(labels))
    return Groups(
        labels=labels,
        order=order,
        keys=(kind * len(names) + image)[order],
        ranked=ranked,
        starts=starts,
        truth_order=truth_order,
        truth_keys=(truth_kind * len(names) + truth_image)[truth_order],
        truth_classes=truth_kind,
    )


def _numbered(what: str, found: NDArray[Any], true: NDArray[Any]) -> tuple[NDArray[Any], Ints, Ints]:
    """Return all names of both sides ascending, and the position in them of every row of either side."""
    if len(found) and len(true) and found.dtype.kind != true.dtype.kind:
        raise ShapeError(
            f"{what} of detections and ground truths must be of one type; got {found.dtype} and {true.dtype}. "
            "Use integers in both or strings in both."
        )
    sides = [side for side in (found, true) if len(side)]
    both = np.concatenate(sides) if sides else np.zeros(0, dtype=np.int64)
    if both.dtype.kind == "i" and len(both):
        lowest, span = int(both.min()), int(both.max()) - int(both.min()) + 1
        if span <= 4 * len(both) + 1024:  # a table instead of a sort
            here = np.zeros(span, dtype=np.bool_)
            here[both - lowest] = True
            positions = np.cumsum(here) - 1
            return (
                np.flatnonzero(here) + lowest,
                positions[found.astype(np.int64) - lowest],
                positions[true.astype(np.int64) - lowest],
            )
    names, numbers = np.unique(both, return_inverse=True)
    numbers = numbers.astype(np.int64, copy=False)
    return names, numbers[: len(found)], numbers[len(found) :]
