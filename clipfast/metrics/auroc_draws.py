"""AUROC of many resamples of images at once: what intervals of few-shot figures are made of.

A resample counts image i some w_i times, so with P the matrix of pairs (1 where an anomalous image scores above an
intact one, one half where they are equal) its AUROC is w+ P w- / (|w+| |w-|): two products for all resamples, and no
sorting. The mean over several score vectors of the same images, such as those of several seeds, is that of the mean P.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clipfast.errors import ShapeError, UndefinedMetricError
from clipfast.metrics.ranking_inputs import as_labels
from clipfast.metrics.resampling import require_resamples, seeded

__all__ = ["AurocDraws", "LabelWeights"]

Doubles = NDArray[np.float64]
_MOST_PAIRS = 1 << 26


@dataclass(frozen=True, slots=True, eq=False)
class LabelWeights:
    """How often each image is in each resample; both labels keep their number of images.

    Figures of the same images that share the weights are paired: their draws may be subtracted.

    Attributes:
        labels: 0 intact, 1 anomalous, (n,).
        anomalous: Counts of the anomalous images, (b, n+).
        intact: Counts of the others, (b, n-).
    """

    labels: NDArray[np.bool_]
    anomalous: Doubles
    intact: Doubles

    @classmethod
    def of(cls, labels: ArrayLike, *, seed: int, resamples: int = 2000) -> LabelWeights:
        """Draw the resamples.

        Raises:
            ShapeError: Labels are not 0 and 1, (n,), or `resamples` is less than 100.
            UndefinedMetricError: One of the labels is missing.
        """
        require_resamples(resamples, 100, 2000)
        marks = as_labels(np.asarray(labels)).astype(bool)
        if marks.ndim != 1:
            raise ShapeError(f"labels must be (n,), one an image; got {marks.shape}.")
        counts = int(marks.sum()), int((~marks).sum())
        if not min(counts):
            raise UndefinedMetricError(
                f"AUROC needs anomalous and intact images; got {counts[0]} anomalous and {counts[1]} intact ones."
            )
        rng = seeded(seed)
        drawn = [rng.multinomial(count, np.full(count, 1 / count), resamples).astype(np.float64) for count in counts]
        return cls(marks, drawn[0], drawn[1])


@dataclass(frozen=True, slots=True, eq=False)
class AurocDraws:
    """An AUROC and its values on resamples.

    Attributes:
        estimate: Of the images as they are.
        draws: Of the resamples, (b,).
    """

    estimate: float
    draws: Doubles

    @classmethod
    def of(cls, weights: LabelWeights, scores: ArrayLike) -> AurocDraws:
        """Compute it for scores (n,), or its mean for several scores of the same images, (s, n).

        Raises:
            ShapeError: Scores do not fit the labels, are not finite, or there are too many pairs of images.

        >>> weights = LabelWeights.of([0, 0, 1, 1], seed=0, resamples=100)
        >>> AurocDraws.of(weights, [0.1, 0.4, 0.4, 0.8]).estimate
        0.875
        """
        rows = np.atleast_2d(np.asarray(scores, np.float64))
        marks = weights.labels
        if rows.ndim != 2 or rows.shape[1] != len(marks) or not len(rows) or not np.isfinite(rows).all():
            raise ShapeError(f"scores must be finite, ({len(marks)},) or (s, {len(marks)}); got {np.shape(scores)}.")
        shape = weights.anomalous.shape[1], weights.intact.shape[1]
        if shape[0] * shape[1] > _MOST_PAIRS:
            raise ShapeError(
                f"{shape[0]} anomalous and {shape[1]} intact images make more than {_MOST_PAIRS:,} pairs. Take "
                "DeLong's interval (clipfast.metrics.delong)."
            )
        above = np.zeros(shape)
        for row in rows:
            high, low = row[marks][:, None], row[~marks][None, :]
            above += (high > low) + 0.5 * (high == low)
        above /= len(rows)
        draws = np.einsum("bj,bj->b", weights.anomalous @ above, weights.intact) / above.size
        return cls(float(above.mean()), draws)
