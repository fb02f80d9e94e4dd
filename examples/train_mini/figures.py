"""Figures with intervals, and the rows behind them, so that two models can be compared picture by picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipfast.errors import UndefinedMetricError
from clipfast.metrics.aupro import aupro_score
from clipfast.metrics.detection import voc_average_precision_score
from clipfast.metrics.detection_data import Detections, GroundTruths
from clipfast.metrics.intervals import BootstrapOptions, bootstrap_interval
from clipfast.metrics.ranking import auroc_score

_RESAMPLES = BootstrapOptions(method="percentile", resamples=1000)
_FEW = BootstrapOptions(method="percentile", resamples=200)  # where one statistic takes milliseconds


@dataclass(frozen=True, eq=False)
class Figure:
    """A figure of one model in one world.

    Attributes:
        name: What was measured.
        estimate: The figure; NaN where it does not exist for these pictures.
        low: Lower end of the 95 % bootstrap interval over pictures.
        high: Upper end.
        rows: What the model said of each picture, (n,) or (n, draws); its mean or its AUROC is the figure. Where a
            figure has no rows of its own (mAP, AUPRO), the pictures' numbers.
        labels: Of AUROCs, whether a picture is damaged, (n,); else None.
    """

    name: str
    estimate: float
    low: float
    high: float
    rows: NDArray[Any]
    labels: NDArray[np.bool_] | None = None


@dataclass(frozen=True, eq=False)
class Found:
    """Boxes of one picture: what is there and what was found.

    Attributes:
        boxes: Of objects, (m, 4).
        kinds: Their classes, (m,).
        found: Boxes that were found, (k, 4).
        found_kinds: Their classes, (k,).
        scores: How sure, (k,).
    """

    boxes: NDArray[np.float64]
    kinds: NDArray[np.int64]
    found: NDArray[np.float64]
    found_kinds: NDArray[np.int64]
    scores: NDArray[np.float64]


def share(name: str, rows: Sequence[float] | NDArray[Any]) -> Figure:
    """Return the mean of the rows.

    >>> share("right", [1, 0, 1, 1]).estimate
    0.75
    """
    values = np.asarray(rows, np.float64)
    return _figure(name, np.mean, values, None, _RESAMPLES)


def auroc(name: str, labels: NDArray[np.bool_], scores: NDArray[np.float64]) -> Figure:
    """Return how well scores (n,) tell damaged pictures from intact ones; of scores (n, draws) the mean over draws."""
    return _figure(name, lambda s, y: mean_auroc(y, s), scores, labels, _RESAMPLES)


def mean_auroc(labels: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    """Return the AUROC of scores (n,), or the mean of those of the columns of scores (n, draws).

    >>> mean_auroc(np.array([False, True]), np.array([[0.0, 1.0], [1.0, 0.0]]))
    0.5
    """
    columns = scores.reshape(len(scores), -1).T
    return float(np.mean([auroc_score(labels, np.ascontiguousarray(column)) for column in columns]))


def region_overlap(name: str, masks: NDArray[np.bool_], maps: NDArray[np.float32]) -> Figure:
    """Return the AUPRO of all pictures together; pictures are resampled whole."""

    def statistic(numbers: NDArray[np.int64]) -> float:
        return aupro_score(masks[numbers], maps[numbers])

    return _figure(name, statistic, np.arange(len(masks)), None, _FEW)


def average_precision(name: str, pictures: Sequence[Found], iou: float) -> Figure:
    """Return the mean average precision over classes; pictures are resampled whole."""

    def statistic(numbers: NDArray[np.int64]) -> float:
        chosen = [pictures[int(number)] for number in numbers]
        truths = GroundTruths.from_images([each.boxes for each in chosen], [each.kinds for each in chosen])
        scores, kinds = [each.scores for each in chosen], [each.found_kinds for each in chosen]
        found = Detections.from_images([each.found for each in chosen], scores, kinds)
        return voc_average_precision_score(truths, found, iou_thresholds=iou).mean

    return _figure(name, statistic, np.arange(len(pictures)), None, _FEW)


def _figure(
    name: str,
    statistic: Callable[..., Any],
    rows: NDArray[Any],
    labels: NDArray[np.bool_] | None,
    options: BootstrapOptions,
) -> Figure:
    samples = [rows] if labels is None else [rows, labels]
    try:
        found = bootstrap_interval(statistic, *samples, seed=0, strata=labels, options=options)
    except UndefinedMetricError:  # too few pictures, as in a quick run
        return Figure(name, float("nan"), float("nan"), float("nan"), rows, labels)
    return Figure(name, found.estimate, found.low, found.high, rows, labels)
