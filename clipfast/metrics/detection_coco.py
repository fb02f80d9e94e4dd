"""The twelve numbers of COCO's detection evaluation (github.com/cocodataset/cocoapi, `pycocotools/cocoeval.py`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipfast.errors import UndefinedMetricError
from clipfast.kernels.detection_precision import average_precisions
from clipfast.kernels.matching import (
    ASIDE,
    COUNTS,
    CROWD,
    IGNORED,
    TRUE_POSITIVE,
    match_coco,
    overlapping_pairs,
)
from clipfast.metrics.detection import RECALLS
from clipfast.metrics.detection_data import Detections, GroundTruths
from clipfast.metrics.detection_matching import Groups, group
from clipfast.types import Ints

__all__ = ["CocoScores", "coco_average_precision_score"]

Doubles = NDArray[np.float64]
Bools = NDArray[np.bool_]

# Written as COCO computes them, so that an IoU equal to COCO's falls on the same side. The IoU itself may differ in its
# last bit: pycocotools measures x, y, width, height, of which xyxy holds x + width rounded; whole pixels are exact.
THRESHOLDS = np.linspace(0.5, 0.95, 10)
SIZES: dict[str, tuple[float, float]] = {
    "all": (0.0, 1e10),
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e10),
}
MOST = 100  # detections of one class in one image; the rest is dropped


@dataclass(frozen=True, slots=True, eq=False)
class CocoScores:
    """COCO's summary of a detector; `float(result)` is `ap`. NaN where no ground truth has the size asked for.

    Attributes:
        ap: Mean over classes with ground truths and over the IoU thresholds 0.50, 0.55, ..., 0.95.
        ap_50: At IoU 0.50 only.
        ap_75: At IoU 0.75 only.
        ap_small: Ground truths of at most 32² pixels.
        ap_medium: Ground truths between 32² and 96² pixels.
        ap_large: Ground truths of at least 96² pixels.
        ar_1: Mean recall with the best detection of each class in each image.
        ar_10: With the best 10.
        ar_100: With the best 100.
        ar_small: With the best 100, ground truths of at most 32² pixels.
        ar_medium: With the best 100, between 32² and 96² pixels.
        ar_large: With the best 100, at least 96² pixels.
        by_class: Average precision at each threshold, (10, c) float64; NaN where a class has no ground truth.
        thresholds: IoU thresholds, (10,) float64.
        classes: Names of all classes of detections and ground truths, ascending, (c,).
    """

    ap: float
    ap_50: float
    ap_75: float
    ap_small: float
    ap_medium: float
    ap_large: float
    ar_1: float
    ar_10: float
    ar_100: float
    ar_small: float
    ar_medium: float
    ar_large: float
    by_class: Doubles
    thresholds: Doubles
    classes: NDArray[Any]

    def __float__(self) -> float:
        return self.ap


def coco_average_precision_score(ground_truths: GroundTruths, detections: Detections) -> CocoScores:
    """Average precision and recall by COCO's rules: other matching than VOC's, ten thresholds, three sizes.

    A detection takes the free ground truth of its image and class that it overlaps most (the last of equals), so it may
    take the second best. Ground truths that are `difficult` are COCO's crowds: any number of detections may lie in one,
    all of them ignored, and the overlap is the share of the detection's own area. For each size, ground truths of other
    `areas` and unmatched detections of other sizes are ignored. The best 100 detections of a class in an image count;
    equal scores go by image, ascending, and then in input order. Precision is read at 101 recalls.

    Where an IoU lies exactly on a threshold, pycocotools, which keeps x, y, width and height, may round it to the other
    side than xyxy does, so that a match is lost or won; boxes of whole pixels agree.

    Args:
        ground_truths: The boxes to be found. For COCO's own numbers pass its `area` as `areas`: that of the mask.
        detections: Boxes with scores; images and classes are matched to those of `ground_truths` by name.

    Returns:
        The twelve numbers, and average precision per class and threshold.

    Raises:
        UndefinedMetricError: If no ground truth counts.
        ShapeError: If names of images or classes differ in type.

    >>> boxes = np.array([[0, 0, 10, 10], [20, 20, 30, 30]])
    >>> found = Detections.from_images([boxes + [0, 0, 0, 3]], [np.array([0.9, 0.8])])
    >>> scores = coco_average_precision_score(GroundTruths.from_images([boxes]), found)
    >>> round(scores.ap, 3), scores.ap_75, scores.ap_large
    (0.6, 1.0, nan)
    """
    crowd = ground_truths.spared()
    groups = group(ground_truths, detections, ties="image")
    if crowd.all():
        raise UndefinedMetricError(
            f"average precision needs a ground truth that is no crowd; got {len(crowd)} ground truths, "
            "none of which counts. Evaluate images with labels."
        )
    candidates = _candidates(ground_truths, detections, groups)
    sizes = {size: _evaluate(candidates, groups, *limits) for size, limits in SIZES.items()}
    precision = {size: found.precision for size, found in sizes.items()}
    recall = {size: _mean(found.recall[MOST]) for size, found in sizes.items()}
    return CocoScores(
        ap=_mean(precision["all"]),
        ap_50=_mean(precision["all"][0]),
        ap_75=_mean(precision["all"][5]),
        ap_small=_mean(precision["small"]),
        ap_medium=_mean(precision["medium"]),
        ap_large=_mean(precision["large"]),
        ar_1=_mean(sizes["all"].recall[1]),
        ar_10=_mean(sizes["all"].recall[10]),
        ar_100=recall["all"],
        ar_small=recall["small"],
        ar_medium=recall["medium"],
        ar_large=recall["large"],
        by_class=precision["all"],
        thresholds=THRESHOLDS.copy(),
        classes=groups.labels,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Candidates:
    """Pairs that may match, the same for every size.

    Detections are rows of `order`, which leaves out those past the best `MOST`; ground truths are in group order.
    """

    order: Ints
    places: Ints  # 0 for the best detection of its class and image, by detection in input order
    areas: Doubles
    starts: Ints
    truths: Ints
    overlaps: Doubles
    crowd: Bools
    truth_areas: Doubles
    truth_classes: Ints


@dataclass(frozen=True, slots=True, eq=False)
class _Evaluated:
    """Average precision (10, c), and recall (10, c) by how many detections count; NaN without a ground truth."""

    precision: Doubles
    recall: dict[int, Doubles]


def _candidates(truths: GroundTruths, detections: Detections, groups: Groups) -> _Candidates:
    """List the pairs of the best detections of each group that overlap enough for the lowest threshold."""
    places = _places(groups.keys)
    kept = places < MOST
    order = groups.order[kept]
    boxes, truth_boxes = detections.boxes[order], truths.boxes[groups.truth_order]
    crowd = truths.spared()[groups.truth_order]
    starts, pairs, overlaps = overlapping_pairs(
        groups.keys[kept], boxes, groups.truth_keys, truth_boxes, crowd, float(THRESHOLDS[0])
    )
    by_input = np.empty(len(places), dtype=np.int64)
    by_input[groups.order] = places
    return _Candidates(
        order=order,
        places=by_input,
        areas=_areas(boxes),
        starts=starts,
        truths=pairs,
        overlaps=overlaps,
        crowd=crowd,
        truth_areas=_areas(truth_boxes) if truths.areas is None else truths.areas[groups.truth_order],
        truth_classes=groups.truth_classes[groups.truth_order],
    )


def _evaluate(candidates: _Candidates, groups: Groups, least: float, largest: float) -> _Evaluated:
    """Match at every threshold, setting aside what is smaller than `least` or larger than `largest`."""
    other_size = (candidates.truth_areas < least) | (candidates.truth_areas > largest)
    status = np.where(candidates.crowd, CROWD, np.where(other_size, ASIDE, COUNTS)).astype(np.int8)
    outside = (candidates.areas < least) | (candidates.areas > largest)
    positives = np.bincount(candidates.truth_classes[status == COUNTS], minlength=len(groups.labels))
    precision = np.empty((len(THRESHOLDS), len(positives)))
    hits = {most: np.zeros(precision.shape) for most in (1, 10, MOST)}
    kinds = np.repeat(np.arange(len(positives)), np.diff(groups.starts))
    outcomes = np.full(len(candidates.places), IGNORED, dtype=np.int8)
    for row, threshold in enumerate(THRESHOLDS):
        outcomes[candidates.order] = match_coco(
            candidates.starts, candidates.truths, candidates.overlaps, status, outside, float(threshold)
        )
        precision[row], _, _ = average_precisions(
            groups.ranked, groups.starts, outcomes, positives, RECALLS["coco_101"]
        )
        right = np.flatnonzero(outcomes[groups.ranked] == TRUE_POSITIVE)
        places = candidates.places[groups.ranked[right]]
        for most, counts in hits.items():
            counts[row] = np.bincount(kinds[right[places < most]], minlength=len(positives))
    there = np.where(positives > 0, positives, np.nan)
    return _Evaluated(precision, {most: counts / there for most, counts in hits.items()})


def _places(keys: Ints) -> Ints:
    """Number the rows of each group from 0; rows of a group are neighbours."""
    rows = np.arange(len(keys))
    begins = np.ones(len(keys), dtype=np.bool_)
    begins[1:] = keys[1:] != keys[:-1]
    return rows - np.maximum.accumulate(np.where(begins, rows, 0))


def _areas(boxes: Doubles) -> Doubles:
    areas: Doubles = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return areas


def _mean(values: Doubles) -> float:
    """Return the mean over what is defined, NaN if nothing is."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")
