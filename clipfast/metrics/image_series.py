"""Figures of a set of images as functions of how often each image counts, so that many share one set of resamples.

A bootstrap over images only changes how often each image occurs. A figure that is a ratio of sums over images, or an
average precision whose matches lie within images, then needs no new matching: weights are enough. All figures of an
evaluation, and all their differences, come from one matrix of weights.

A resample holds fewer different images than the data set. Average precision of fewer images is higher, the more so the
fewer images a class has, so plain percentiles may lie wholly above the figure itself. Draws are therefore moved by the
difference of their mean from the figure ("centred percentile"), and ends are kept within what is possible. In a
simulation of 100 images in 12 classes, 95 % intervals held the expected mAP in 96 % of 150 repetitions; percentiles in
88 %, the basic bootstrap in 87 %. With three images a class all three are too short (84, 83 and 74 %).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from clipfast.errors import ShapeError, UndefinedMetricError
from clipfast.metrics.detection import AveragePrecision
from clipfast.metrics.detection_data import Detections, GroundTruths
from clipfast.metrics.intervals import BootstrapOptions, Interval
from clipfast.metrics.paired import PairedDifference, difference_of_draws
from clipfast.metrics.resampling import bootstrap_ends, require_resamples, seeded
from clipfast.types import Ints

__all__ = [
    "DrawnFigure",
    "ImageSeries",
    "PrecisionSeries",
    "RatioSeries",
    "drawn_figure",
    "image_weights",
    "series_difference",
    "series_interval",
]

Doubles = NDArray[np.float64]
_CHUNK = 4_000_000  # elements of weighted outcomes held at once


def image_weights(images: int, resamples: int, seed: int) -> Doubles:
    """Draw resamples of images and return how often each image occurs in each, (resamples, images) float64.

    Raises:
        UndefinedMetricError: If there are fewer than two images.
        ShapeError: If the number of resamples is less than 100, or the seed is not an integer from 0.

    >>> image_weights(5, 100, seed=0).sum(axis=1).min()
    np.float64(5.0)
    """
    require_resamples(resamples, 100, 1000)
    if images < 2:
        raise UndefinedMetricError(f"an interval needs at least two images; got {images}.")
    rng = seeded(seed)
    weights = np.empty((resamples, images))
    for row in weights:
        row[:] = np.bincount(rng.integers(0, images, images), minlength=images)
    return weights


@dataclass(frozen=True, slots=True, eq=False)
class RatioSeries:
    """A mean over things that lie in images, such as maps or boxes.

    Attributes:
        sums: Sum of the figure over what lies in each image, (n,) float64.
        counts: How many lie in it, (n,) float64.
    """

    sums: Doubles
    counts: Doubles

    @classmethod
    def of(cls, values: NDArray[Any], images: Ints, count: int) -> RatioSeries:
        """Sum up values (k,), of which value `i` lies in image `images[i]`; NaN values do not count."""
        kept = ~np.isnan(values)
        sums = np.bincount(images[kept], values[kept].astype(np.float64), minlength=count).astype(np.float64)
        return cls(sums, np.bincount(images[kept], minlength=count).astype(np.float64))

    @property
    def images(self) -> int:
        """How many images."""
        return len(self.sums)

    def at(self, weights: Doubles) -> Doubles:
        """Return the mean for each row of weights (b, n), (b,); NaN where nothing counts."""
        counts = weights @ self.counts
        means: Doubles = np.divide(weights @ self.sums, counts, out=np.full(len(weights), np.nan), where=counts > 0)
        return means

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return what `from_arrays` takes."""
        return {"sums": self.sums, "counts": self.counts}

    @classmethod
    def from_arrays(cls, held: Mapping[str, NDArray[Any]]) -> RatioSeries:
        """Make it again.

        Raises:
            ShapeError: If the arrays are not two of one length.
        """
        if set(held) != {"sums", "counts"} or held["sums"].shape != held["counts"].shape or held["sums"].ndim != 1:
            raise ShapeError(f"a ratio must have sums and counts, (n,) each; got {sorted(held)}.")
        return cls(held["sums"].astype(np.float64), held["counts"].astype(np.float64))


@dataclass(frozen=True, slots=True, eq=False)
class PrecisionSeries:
    """Mean average precision at one IoU threshold, by every point of the curve (VOC 2010).

    Attributes:
        image: Image of each detection that counts, (d,) int64.
        kind: Its class, (d,) int64, rising; within a class scores fall.
        right: Whether it is a true positive, (d,) bool.
        positives: Ground truths that count, by class and image, (c, n) float64.
    """

    image: Ints
    kind: Ints
    right: NDArray[np.bool_]
    positives: Doubles

    @classmethod
    def of(
        cls, result: AveragePrecision, at: int, truths: GroundTruths, detections: Detections, count: int
    ) -> PrecisionSeries:
        """Take the outcomes of an evaluation at one of its thresholds; images must be numbered 0 to count - 1."""
        names = result.classes.tolist()
        number = {name: i for i, name in enumerate(names)}
        kind = np.array([number[name] for name in detections.classes.tolist()], np.int64)
        order = np.lexsort((-detections.scores, kind))  # stable: equal scores in input order, as in the evaluation
        order = order[result.outcomes[at][order] != -1]
        positives = np.zeros((len(names), count))
        counted = ~truths.spared()
        truth_kind = np.array([number[name] for name in truths.classes.tolist()], np.int64)
        np.add.at(positives, (truth_kind[counted], truths.images[counted].astype(np.int64)), 1)
        image = detections.images.astype(np.int64)
        return cls(image[order], kind[order], result.outcomes[at][order] == 1, positives)

    @property
    def images(self) -> int:
        """How many images."""
        return int(self.positives.shape[1])

    def at(self, weights: Doubles) -> Doubles:
        """Return the mean over classes that have a ground truth, for each row of weights (b, n), (b,)."""
        out = np.full(len(weights), np.nan)
        step = max(1, _CHUNK // max(1, len(self.image), self.images))
        for begin in range(0, len(weights), step):
            out[begin : begin + step] = self._mean(weights[begin : begin + step])
        return out

    def _mean(self, weights: Doubles) -> Doubles:
        total, classes = np.zeros(len(weights)), np.zeros(len(weights))
        edges = np.searchsorted(self.kind, np.arange(len(self.positives) + 1))
        for kind, present in enumerate(self.positives):
            truths = weights @ present
            rows = slice(int(edges[kind]), int(edges[kind + 1]))
            counted = weights[:, self.image[rows]]
            hits = counted * self.right[rows]
            found, seen = np.cumsum(hits, axis=1), np.cumsum(counted, axis=1)
            precision = np.divide(found, seen, out=np.zeros_like(found), where=seen > 0)
            # Copies of one detection follow each other; the envelope of the last of them is that of all.
            envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
            area = (hits * envelope).sum(axis=1)
            total += np.divide(area, truths, out=np.zeros(len(weights)), where=truths > 0)
            classes += truths > 0
        mean: Doubles = np.divide(total, classes, out=np.full(len(weights), np.nan), where=classes > 0)
        return mean

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return what `from_arrays` takes."""
        return {"image": self.image, "kind": self.kind, "right": self.right, "positives": self.positives}

    @classmethod
    def from_arrays(cls, held: Mapping[str, NDArray[Any]]) -> PrecisionSeries:
        """Make it again.

        Raises:
            ShapeError: If shapes or numbers do not fit each other.
        """
        if set(held) != {"image", "kind", "right", "positives"} or held["positives"].ndim != 2:
            raise ShapeError(f"a precision must have image, kind, right and positives (c, n); got {sorted(held)}.")
        image, kind, right = held["image"].astype(np.int64), held["kind"].astype(np.int64), held["right"].astype(bool)
        classes, images = held["positives"].shape
        fits = image.shape == kind.shape == right.shape and image.ndim == 1
        if not fits or (
            len(image) and not (image.min() >= 0 and image.max() < images and kind.min() >= 0 and kind.max() < classes)
        ):
            raise ShapeError("image, kind and right must be (d,) and number the rows and columns of positives.")
        return cls(image, kind, right, held["positives"].astype(np.float64))


ImageSeries: TypeAlias = RatioSeries | PrecisionSeries


@dataclass(frozen=True, slots=True, eq=False)
class DrawnFigure:
    """A figure and its values on resamples: drawn once, read for its interval and for every difference.

    Attributes:
        estimate: Of all images.
        draws: Of the resamples, moved so that their mean is the estimate, (b,) float64.
        lowest: What the figure can be at least.
        highest: At most.
        images: How many there are.
    """

    estimate: float
    draws: Doubles
    lowest: float
    highest: float
    images: int

    def interval(self, confidence: float = 0.95) -> Interval:
        """Return the centred percentile interval."""
        options = BootstrapOptions("percentile", max(100, len(self.draws)), confidence)
        low, high = bootstrap_ends(self.draws, self.estimate, None, options.confidence)
        return Interval(self.estimate, max(low, self.lowest), min(high, self.highest), confidence, _METHOD)

    def less(self, other: DrawnFigure, confidence: float = 0.95) -> PairedDifference:
        """Compare with another figure of the same images, drawn by the same weights.

        The p-value is 2 / 2^n at least: with n images no exact test could give less, whatever resamples say.
        """
        options = BootstrapOptions("percentile", max(100, len(self.draws)), confidence)
        found = difference_of_draws((self.estimate, other.estimate), (self.draws, other.draws), None, options)
        least = 2.0 ** max(1 - self.images, -1000)
        return replace(found, p_value=max(found.p_value, least), method=f"paired bootstrap, {_METHOD}")


def drawn_figure(series: ImageSeries, weights: Doubles, *, within: tuple[float, float] | None = None) -> DrawnFigure:
    """Return a figure of all images, and its values on resamples of them.

    Args:
        series: The figure.
        weights: Of `image_weights`.
        within: What the figure can be at least and at most, such as (0, 1) of a share: an interval does not reach
            beyond. None takes what is known of the kind of series.

    Raises:
        UndefinedMetricError: If the figure does not exist for the images or for a resample.
        ShapeError: If the weights are of another number of images.
    """
    return DrawnFigure(*_centred(series, weights), *(within or _RANGES[type(series)]), weights.shape[1])


def series_interval(series: ImageSeries, weights: Doubles, confidence: float = 0.95) -> Interval:
    """Return a figure and its centred percentile interval over resampled images.

    Raises:
        UndefinedMetricError: If the figure does not exist for the images or for a resample.
        ShapeError: If the weights are of another number of images.

    >>> series = RatioSeries(np.arange(100.0), np.ones(100))
    >>> found = series_interval(series, image_weights(100, 1000, seed=0))
    >>> found.estimate, round(found.low), round(found.high)
    (49.5, 44, 55)
    """
    return drawn_figure(series, weights).interval(confidence)


def series_difference(
    first: ImageSeries, second: ImageSeries, weights: Doubles, confidence: float = 0.95
) -> PairedDifference:
    """Compare two figures of the same images on the same resamples, centred as in `series_interval`.

    Raises:
        UndefinedMetricError: If one does not exist for the images or for a resample.
        ShapeError: If the weights are of another number of images.
    """
    return drawn_figure(first, weights).less(drawn_figure(second, weights), confidence)


def _centred(series: ImageSeries, weights: Doubles) -> tuple[float, Doubles]:
    """Return the figure of all images, and its draws moved so that their mean is the figure."""
    if weights.ndim != 2 or weights.shape[1] != series.images:
        raise ShapeError(f"weights must be (b, {series.images}), a column an image; got {weights.shape}.")
    estimate, draws = float(series.at(np.ones((1, series.images)))[0]), series.at(weights)
    if np.isnan(estimate) or np.isnan(draws).any():
        raise UndefinedMetricError(
            f"the figure must exist for all images and for every resample; it does not for {np.isnan(draws).sum()} of "
            f"{len(draws)}. Take more images."
        )
    if draws.min() == draws.max():  # rounding of the mean would move equal draws
        return estimate, np.full(len(draws), estimate)
    return estimate, draws - (draws.mean() - estimate)


_METHOD = "centred percentile"
_RANGES: dict[type, tuple[float, float]] = {RatioSeries: (-np.inf, np.inf), PrecisionSeries: (0.0, 1.0)}
