"""The figures of an evaluation of localisation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from clipfast.metrics.image_series import ImageSeries

__all__ = ["BoxFit", "Comparison", "Figure", "PathScores", "QualityRow", "Response", "Scores", "ThresholdScores"]


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure and its interval; None where it does not exist."""

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class ThresholdScores:
    """Average precision at one IoU threshold.

    Attributes:
        iou: The threshold.
        map: Mean over classes, every point of the curve (VOC 2010), with its interval.
        map_eleven_point: The same by 11 points (VOC 2007).
        by_class: Average precision by class, every point; None of a class without a ground truth that counts.
        by_class_eleven_point: The same by 11 points.
        true_positives: Boxes that found a ground truth.
        false_positives: Boxes that found none, or one already found.
    """

    iou: float
    map: Figure
    map_eleven_point: float
    by_class: Mapping[str, float | None]
    by_class_eleven_point: Mapping[str, float | None]
    true_positives: int
    false_positives: int


@dataclass(frozen=True, slots=True)
class QualityRow:
    """How well boxes of one percentile fit, over all maps.

    Attributes:
        percentile: Of the map.
        mean_iou: Mean over maps of the highest IoU of any box with any ground truth.
        max_iou: Highest of all.
        truth_iou: Mean over ground truths of the highest IoU of any box.
        boxes: Mean number of boxes a map.
        activated: Mean share of pixels at or above the percentile.
        reached: Maps whose highest IoU is at least 0.5.
    """

    percentile: float
    mean_iou: Figure
    max_iou: float
    truth_iou: Figure
    boxes: float
    activated: float
    reached: int


@dataclass(frozen=True, slots=True)
class Response:
    """Raw similarity inside and outside the ground truth; means and standard deviations are over maps.

    Attributes:
        inside_mean: Mean inside.
        inside_mean_std: Its standard deviation.
        inside_max: Highest inside.
        inside_max_std: Its standard deviation.
        background: Mean outside.
        background_std: Its standard deviation.
        contrast: Inside less background.
        effect: Mean of contrast over the map's own standard deviation: comparable between models.
        area: Mean share of a map that is inside: what energy and pointing would be by chance.
        inverted_share: Share of maps whose background responds more than the inside.
        verdict: "upright" or "inverted" where the interval of `contrast` lies on one side of 0, else "undecided".
    """

    inside_mean: float | None
    inside_mean_std: float | None
    inside_max: float | None
    inside_max_std: float | None
    background: float | None
    background_std: float | None
    contrast: Figure
    effect: float | None
    area: float | None
    inverted_share: float | None
    verdict: str


@dataclass(frozen=True, slots=True)
class BoxFit:
    """How boxes fit that are no matter of a percentile.

    Attributes:
        peak: Mean over maps of the IoU of the box around the map's peak, at 0.6 of its range, with the ground truth
            that it fits best: nothing is chosen, so it compares maps.
        top: The same of the scored box with the highest score.
        every: Mean over ground truths of the highest IoU of any scored box.
    """

    peak: Figure
    top: Figure
    every: Figure


@dataclass(frozen=True, slots=True)
class PathScores:
    """All figures of one path; the last five are None or empty where only boxes were scored."""

    thresholds: tuple[ThresholdScores, ...]
    boxes_per_image: float
    quality: tuple[QualityRow, ...] = ()
    response: Response | None = None
    pointing: Figure | None = None
    energy: Figure | None = None
    fit: BoxFit | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two paths on the same images.

    Attributes:
        metric: "map@0.5", "pointing", "energy", "peak_iou", "top_iou", "box_iou" or "truth_iou@90".
        first: A path.
        second: Another.
        difference: First less second, with its interval.
        p_value: Of the paired bootstrap; None where it does not exist.
        p_holm: Adjusted over all pairs of this metric.
    """

    metric: str
    first: str
    second: str
    difference: Figure
    p_value: float | None
    p_holm: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Figures of an evaluation.

    Attributes:
        paths: By path.
        comparisons: Every pair of paths by every metric.
        series: By path and metric, for paired tests with other runs.
        undefined: How many figures or intervals do not exist.
    """

    paths: Mapping[str, PathScores]
    comparisons: tuple[Comparison, ...]
    series: Mapping[str, Mapping[str, ImageSeries]]
    undefined: int
