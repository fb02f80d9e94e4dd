"""Rankings of streams too long to keep: every figure with an interval that is sure to hold the exact one.

Scores are counted into fixed bins, the first bits of their float32 pattern. What lies in different bins is ranked as it
is; how the scores of one bin are mixed is not known, and the interval spans every possibility (for AUROC its width is
the sum of products of positives and negatives by bin, over all pairs). Bins all of whose scores are their lower edge
add no doubt: scores of 16 bits, and ties such as zeros and ones, are exact. No range of the scores is asked for, and
the result depends neither on the order of what comes nor on how it is cut into updates (AUPRO, a sum of fractions, does
in its last bits). Several threads may feed one stream.

Bins are relative: 2**10 to 2**15 of them for every factor of two (`bits` 19 to 24, less the sign and the eight bits of
the exponent). Scores around zero are told apart finely whatever their scale; scores far from zero, such as 1000.1 and
1000.2, share bins, and the interval says so: subtract the offset first.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clipfast.errors import UndefinedMetricError
from clipfast.kernels.ranking import Levels, require_binary, take_positives
from clipfast.kernels.ranking_bins import patterns_of, places_of
from clipfast.metrics import ranking_curves as curves
from clipfast.metrics.aupro import region_weights, require_limit
from clipfast.metrics.binned_counts import BinnedCounts
from clipfast.metrics.ranking_inputs import as_stacks, flat_pair

__all__ = ["Certified", "PixelStream", "RankingStream", "StreamedPixelScores", "StreamedScores"]


@dataclass(frozen=True, slots=True)
class Certified:
    """A figure of merit and an interval that holds its exact value; `float(figure)` is `value`.

    Attributes:
        value: Of the scores rounded to their bins.
        low: The exact value is not below this, but for the rounding of sums (1e-13).
        high: Nor above this.
    """

    value: float
    low: float
    high: float

    @property
    def width(self) -> float:
        """How far apart the ends are."""
        return self.high - self.low

    def __float__(self) -> float:
        return self.value


@dataclass(frozen=True, slots=True)
class StreamedScores:
    """What `RankingScores` holds, each with its interval.

    Attributes:
        auroc: As in `RankingScores`.
        average_precision: As there.
        aupr: As there.
        f1_max: As there; `value` is the F1 that `f1_max_threshold` really has, so `low` equals it.
        f1_max_threshold: `score >= threshold` is positive.
        positives: How many positives came.
        negatives: How many negatives came.
    """

    auroc: Certified
    average_precision: Certified
    aupr: Certified
    f1_max: Certified
    f1_max_threshold: float
    positives: int
    negatives: int


@dataclass(frozen=True, slots=True)
class StreamedPixelScores(StreamedScores):
    """What `PixelScores` holds, each with its interval; an item is a pixel.

    Attributes:
        aupro: As in `PixelScores`.
        regions: How many anomalous regions came.
    """

    aupro: Certified
    regions: int


class RankingStream:
    """Counts labels and scores as they come, in bounded memory.

    Args:
        bits: Leading bits of the float32 pattern that make a bin, 19 to 24: each more halves the interval. Memory is at
            most 24 bytes for each of 2**bits bins and thread; only bins that scores fall into take any.
        threads: How many threads share an update; no result depends on it. None takes the cores of the process.

    Raises:
        ShapeError: If `bits` or `threads` is out of range.

    >>> stream = RankingStream()
    >>> stream.update([0, 0], [0.1, 0.4])
    >>> stream.update([1, 1], [0.35, 0.8])
    >>> found = stream.result()
    >>> found.auroc, round(found.f1_max_threshold, 2)
    (Certified(value=0.75, low=0.75, high=0.75), 0.35)
    """

    def __init__(self, *, bits: int = 19, threads: int | None = 2) -> None:
        self._counts = BinnedCounts(bits, threads)

    def update(self, labels: ArrayLike, scores: ArrayLike) -> None:
        """Count labels and scores; a batch that is refused leaves the counts as they were.

        Args:
            labels: 1 or True for positives, 0 or False for negatives, of any shape; bool or integer.
            scores: Of the same shape and of one type throughout the stream: float16, float32, float64 or integers,
                finite. float64 is counted by its float32, without loss of certainty.

        Raises:
            ShapeError: If shapes differ, a type is another one, a label is neither 0 nor 1, or a score is NaN or
                infinite, or beyond float32's range.
        """
        self._counts.add(*flat_pair(labels, scores))

    def merge(self, other: RankingStream) -> None:
        """Add what another stream has counted, such as another process's.

        Raises:
            ShapeError: If it has other bits, or scores of another type.
        """
        self._counts.merge(other._counts)

    def result(self) -> StreamedScores:
        """Return every figure of what has come so far.

        Raises:
            UndefinedMetricError: If there is no positive, or no negative.
        """
        return StreamedScores(*_figures(*self._counts.levels()))


class PixelStream:
    """Counts anomaly maps and masks as they come, in bounded memory.

    Args:
        bits: As in `RankingStream`.
        threads: As there.

    >>> stream = PixelStream()
    >>> stream.update([[0, 1, 1, 0]], [[0.1, 0.9, 0.8, 0.2]])
    >>> stream.result().aupro
    Certified(value=1.0, low=1.0, high=1.0)
    """

    def __init__(self, *, bits: int = 19, threads: int | None = 2) -> None:
        self._counts = BinnedCounts(bits, threads)
        self._lock = threading.Lock()
        self._weights = np.zeros(1 << bits)  # 8 bytes a bin, besides the counts
        self._regions = 0

    def update(self, masks: ArrayLike, maps: ArrayLike) -> None:
        """Count the pixels of pictures, whole ones: regions end where their picture does.

        Args:
            masks: 1 or True where a picture is anomalous, else 0, (n, h, w) or (h, w); bool or integer. The size may
                change from call to call.
            maps: Of the same shape; see `RankingStream.update`.

        Raises:
            ShapeError: As `RankingStream.update`.
        """
        stack, scores = as_stacks(masks, maps)
        labels = stack.reshape(-1)
        positives = require_binary(labels)
        weights, regions = np.empty(0), 0
        if positives:  # a batch of normal pictures has no region
            weights, regions = region_weights(stack, self._counts.threads)
        with self._lock:
            self._counts.add(labels, scores.reshape(-1))
            self._regions += regions
            found = places_of(patterns_of(take_positives(labels, scores.reshape(-1), positives)), self._counts.bits)
            np.add.at(self._weights, found, weights)

    def merge(self, other: PixelStream) -> None:
        """Add what another stream has counted.

        Raises:
            ShapeError: If it has other bits, or scores of another type.
        """
        counts = BinnedCounts(other._counts.bits, 1)
        with other._lock:
            counts.merge(other._counts)
            weights, regions = other._weights.copy(), other._regions
        with self._lock:
            self._counts.merge(counts)
            self._weights += weights
            self._regions += regions

    def result(self, *, limit: float = 0.3) -> StreamedPixelScores:
        """Return every figure of what has come so far.

        Args:
            limit: Largest false positive rate of AUPRO, in (0, 1].

        Raises:
            ShapeError: If `limit` is out of range.
            UndefinedMetricError: If there is no anomalous pixel, or no normal one.
        """
        require_limit(limit)
        with self._lock:
            (levels, tied), regions = self._counts.levels(self._weights), self._regions
        low, high = curves.region_overlap_bounds(levels, regions, limit, tied)
        value = curves.region_overlap(levels, regions, limit)
        return StreamedPixelScores(*_figures(levels, tied), aupro=Certified(value, low, high), regions=regions)


def _figures(
    levels: Levels, tied: NDArray[np.bool_]
) -> tuple[Certified, Certified, Certified, Certified, float, int, int]:
    """Return what `StreamedScores` holds, in its order."""
    if not (levels.positives and levels.negatives):
        raise UndefinedMetricError(
            f"Both classes must occur; got {levels.positives} positives among {levels.positives + levels.negatives} "
            "items. Nothing can be ranked."
        )
    best, threshold = curves.best_f1(levels)
    return (
        Certified(curves.auroc(levels), *curves.auroc_bounds(levels, tied)),
        Certified(curves.average_precision(levels), *curves.average_precision_bounds(levels, tied)),
        Certified(curves.trapezoid_precision(levels), *curves.trapezoid_precision_bounds(levels, tied)),
        Certified(best, best, curves.best_f1_bound(levels, tied)),
        threshold,
        levels.positives,
        levels.negatives,
    )
