"""Average precision of detectors by the rules of PASCAL VOC (algorithms: VOC development kit, `VOCevaldet.m`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clipfast.errors import ShapeError, UndefinedMetricError
from clipfast.kernels.array_inputs import as_array
from clipfast.kernels.detection_precision import average_precisions
from clipfast.kernels.matching import FALSE_POSITIVE, TRUE_POSITIVE, best_overlaps, claimed_before, voc_outcomes
from clipfast.metrics.detection_data import Detections, GroundTruths
from clipfast.metrics.detection_matching import Groups, group
from clipfast.types import Ints

__all__ = ["AveragePrecision", "PrecisionRecall", "voc_average_precision_score"]

Doubles = NDArray[np.float64]
Method: TypeAlias = Literal["every_point", "eleven_point", "coco_101"]

# Recalls at which precision is read. Written as the published scripts write them: linspace(0, 1, 11)[[3, 6, 7]] are one
# rounding above 3/10, 6/10 and 7/10, so a recall of exactly these does not reach its point, there as here.
RECALLS: dict[str, Doubles] = {
    "every_point": np.zeros(0),
    "eleven_point": np.linspace(0.0, 1.0, 11),
    "coco_101": np.linspace(0.0, 1.0, 101),
}


@dataclass(frozen=True, slots=True, eq=False)
class PrecisionRecall:
    """Precision and recall of one class as detections are added from the highest score to the lowest.

    Attributes:
        scores: Score of each detection that counts, falling, (n,) float64.
        precision: Share of the detections so far that are right, (n,) float64, not yet made monotone.
        recall: Share of the ground truths found so far, (n,) float64.
    """

    scores: Doubles
    precision: Doubles
    recall: Doubles


@dataclass(frozen=True, slots=True, eq=False)
class AveragePrecision:
    """Average precision of a detector; `float(result)` is `mean`.

    Attributes:
        mean: mAP: mean over IoU thresholds of the mean over classes with a ground truth that counts.
        by_threshold: mAP at each threshold, (k,) float64.
        by_class: Average precision, (k, c) float64; NaN where a class has no ground truth that counts.
        thresholds: IoU thresholds in the order asked for, (k,) float64.
        classes: Names of all classes of detections and ground truths, ascending, (c,).
        ground_truths: Ground truths of each class that are not difficult, (c,) int64.
        true_positives: (k, c) int64.
        false_positives: (k, c) int64; detections of difficult ground truths are in neither.
        outcomes: Of every detection in input order: 1 true, 0 false, -1 ignored, (k, n) int8.
    """

    mean: float
    by_threshold: Doubles
    by_class: Doubles
    thresholds: Doubles
    classes: NDArray[Any]
    ground_truths: Ints
    true_positives: Ints
    false_positives: Ints
    outcomes: NDArray[np.int8]
    _scores: Doubles
    _groups: Groups

    def __float__(self) -> float:
        return self.mean

    def curve(self, label: int | str | np.generic, threshold: float | None = None) -> PrecisionRecall:
        """Return precision and recall of one class at one of the thresholds, the first if none is named.

        The nearest threshold within 1e-6 is meant, so that those given as float32 are found.

        Raises:
            UndefinedMetricError: If the class has no ground truth that counts: there is no recall.
            ShapeError: If the class or the threshold is not among those of the result.
        """
        at = 0 if threshold is None else _nearest(threshold, self.thresholds)
        kind = _position(label, self.classes)
        if self.ground_truths[kind] == 0:
            raise UndefinedMetricError(f"class {label!r} must have a ground truth that is not difficult; it has none.")
        rows = self._groups.ranked[self._groups.starts[kind] : self._groups.starts[kind + 1]]
        rows = rows[self.outcomes[at][rows] != -1]
        right = np.cumsum(self.outcomes[at][rows] == TRUE_POSITIVE)
        wrong = np.cumsum(self.outcomes[at][rows] == FALSE_POSITIVE)
        return PrecisionRecall(self._scores[rows], right / (right + wrong), right / self.ground_truths[kind])


def voc_average_precision_score(
    ground_truths: GroundTruths,
    detections: Detections,
    *,
    iou_thresholds: float | Sequence[float] | Doubles = 0.5,
    method: Method = "every_point",
    pixel_offset: Literal[0, 1] = 0,
) -> AveragePrecision:
    """Mean average precision by PASCAL VOC's matching, at one IoU threshold or at several in one pass.

    Per class, from the highest score to the lowest (equal scores in input order), a detection is compared with the
    ground truth of its own image and class that it overlaps most (the first of equals). If the IoU reaches the
    threshold it is a true positive the first time and a false positive ever after, even if another ground truth is
    still free; if that ground truth is difficult, the detection is ignored. Else it is a false positive. Difficult
    ground truths are not counted. Classes without a ground truth that counts are left out of the mean.

    Args:
        ground_truths: The boxes to be found. Images in which there are none need not be named.
        detections: Boxes with scores; images and classes are matched to those of `ground_truths` by name.
        iou_thresholds: IoU from which a box counts as found, 0 < t <= 1; one or several.
        method: `every_point` is the area below the envelope of precision over recall (VOC 2010 and later),
            `eleven_point` its mean at the recalls 0, 0.1, ..., 1 (VOC 2007), `coco_101` at COCO's 101 recalls; both
            grids are rounded like those of the published scripts, whose points 0.3, 0.6 and 0.7 lie 1e-16 higher.
        pixel_offset: 0 for half-open boxes as everywhere in clipfast; 1 where x2 and y2 are the last pixel, so that
            widths are x2 - x1 + 1 (VOC's own annotations and scripts).

    Returns:
        The mean, values and counts per class and threshold, and the curves. Without detections it is 0.

    Raises:
        UndefinedMetricError: If no ground truth counts.
        ShapeError: If a threshold, the method or the offset is not one of these, or names differ in type.

    Source: Everingham et al., The PASCAL VOC Challenge, IJCV 2010, sec. 4.2; the values are those of
    github.com/rafaelpadilla/Object-Detection-Metrics, which takes `pixel_offset=1`.

    >>> boxes = np.array([[0, 0, 10, 10], [20, 20, 30, 30], [50, 50, 60, 60]])
    >>> truths = GroundTruths.from_images([boxes[:2], boxes[:1]])
    >>> found = Detections.from_images([boxes[[0, 2]], boxes[:1]], [np.array([0.9, 0.8]), np.array([0.7])])
    >>> result = voc_average_precision_score(truths, found)
    >>> round(result.mean, 4), result.true_positives.tolist(), result.curve(0).recall.round(2).tolist()
    (0.5556, [[2]], [0.33, 0.33, 0.67])
    """
    thresholds = _checked_thresholds(iou_thresholds)
    if method not in RECALLS:
        raise ShapeError(f"method must be one of {sorted(RECALLS)}; got {method!r}.")
    if pixel_offset not in {0, 1}:
        raise ShapeError(f"pixel_offset must be 0 (half-open boxes) or 1 (x2, y2 are pixels); got {pixel_offset!r}.")
    spared = ground_truths.spared()
    groups = group(ground_truths, detections, ties="input")
    positives = np.bincount(groups.truth_classes[~spared], minlength=len(groups.labels))
    if not positives.any():
        raise UndefinedMetricError(
            f"average precision needs a ground truth that is not difficult; got {len(spared)} ground truths, "
            "none of which counts. Evaluate images with labels."
        )
    outcomes = _voc_outcomes(detections, ground_truths, groups, thresholds, float(pixel_offset))
    each = [average_precisions(groups.ranked, groups.starts, row, positives, RECALLS[method]) for row in outcomes]
    by_class = np.stack([precision for precision, _, _ in each])
    by_threshold = by_class[:, positives > 0].mean(axis=1)
    return AveragePrecision(
        mean=float(by_threshold.mean()),
        by_threshold=by_threshold,
        by_class=by_class,
        thresholds=thresholds,
        classes=groups.labels,
        ground_truths=positives,
        true_positives=np.stack([hits for _, hits, _ in each]),
        false_positives=np.stack([misses for _, _, misses in each]),
        outcomes=outcomes,
        _scores=detections.scores,
        _groups=groups,
    )


def _voc_outcomes(
    detections: Detections, truths: GroundTruths, groups: Groups, thresholds: Doubles, pixel_offset: float
) -> NDArray[np.int8]:
    """Return the outcome of every detection in input order at every threshold, (k, n) int8."""
    best, overlaps = best_overlaps(
        groups.keys,
        detections.boxes[groups.order],
        groups.truth_keys,
        truths.boxes[groups.truth_order],
        pixel_offset,
    )
    before = claimed_before(best, overlaps, len(groups.truth_order))
    found = best >= 0
    spared = np.zeros(len(best), dtype=np.bool_)
    spared[found] = truths.spared()[groups.truth_order[best[found]]]
    outcomes = np.empty((len(thresholds), len(best)), dtype=np.int8)
    for row, threshold in enumerate(thresholds):
        outcomes[row, groups.order] = voc_outcomes(overlaps, before, spared, float(threshold))
    return outcomes


def _checked_thresholds(values: ArrayLike) -> Doubles:
    given = np.atleast_1d(as_array("iou_thresholds", values))
    numbers = given.ndim == 1 and len(given) > 0 and given.dtype.kind in "biuf"
    if not numbers or not ((given > 0) & (given <= 1)).all():
        raise ShapeError(
            f"iou_thresholds must be one or several numbers with 0 < t <= 1; got {np.asarray(values).tolist()}."
        )
    return given.astype(np.float64)


def _nearest(wanted: float, known: Doubles) -> int:
    """Return the place of the threshold meant."""
    given = as_array("threshold", wanted)
    if given.ndim == 0 and given.dtype.kind in "iuf":
        distances = np.abs(known - float(given))
        nearest = int(distances.argmin())
        if distances[nearest] <= 1e-6:
            return nearest
    raise ShapeError(f"threshold must be one of {known.tolist()}; got {wanted!r}.")


def _position(wanted: object, known: NDArray[Any]) -> int:
    found = [at for at, name in enumerate(known.tolist()) if name == wanted]
    if not found:
        raise ShapeError(f"class must be one of {known.tolist()}; got {wanted!r}.")
    return found[0]
