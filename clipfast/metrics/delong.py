"""How sure an AUROC is, and whether two differ: DeLong, DeLong and Clarke-Pearson, Biometrics 1988.

Computed from midranks in O(n log n) (Sun and Xu, IEEE Signal Processing Letters 2014).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipfast.errors import ShapeError, UndefinedMetricError
from clipfast.kernels.array_inputs import as_array
from clipfast.metrics.intervals import Interval, require_confidence
from clipfast.metrics.paired import PairedDifference

__all__ = ["delong_covariance", "delong_interval", "delong_test"]

Doubles = NDArray[np.float64]
_SMALLEST = float(np.finfo(np.float64).tiny)
_ROUNDING = 1e-29  # what rounding alone makes of a variance that is 0


def delong_covariance(labels: NDArray[Any], scores: NDArray[Any]) -> tuple[Doubles, Doubles]:
    """Return the AUROC of each of s systems and their covariance.

    Args:
        labels: 0 or 1, or bool, (n,).
        scores: Of s systems on the same n images, (s, n), higher for positives; ties count half.

    Returns:
        AUROC, (s,) float64, and covariance, (s, s) float64.

    Raises:
        ShapeError: If shapes differ from these, a score is not finite, or a label is not 0 or 1.
        UndefinedMetricError: If there are fewer than two positives or two negatives.

    >>> auroc, covariance = delong_covariance(np.array([0, 0, 1, 1]), np.array([[0.1, 0.4, 0.35, 0.8]]))
    >>> auroc.tolist(), covariance.tolist()
    ([0.75], [[0.125]])
    """
    above, below = _placements(labels, scores)
    return above.mean(axis=1), np.atleast_2d(np.cov(above)) / above.shape[1] + np.cov(below) / below.shape[1]


def delong_interval(labels: NDArray[Any], scores: NDArray[Any], confidence: float = 0.95) -> Interval:
    """Interval of an AUROC: the normal one from DeLong's variance, cut to [0, 1].

    Args:
        labels: 0 or 1, or bool, (n,).
        scores: Of n images, (n,), higher for positives.
        confidence: In (0, 1).

    Returns:
        AUROC and its interval.

    Raises:
        ShapeError: As `delong_covariance`.
        UndefinedMetricError: As `delong_covariance`, and where the variance is 0, as it is when scores separate the
            classes: an interval without width would claim certainty.

    >>> scores, labels = np.array([0.1, 0.4, 0.35, 0.8, 0.2, 0.7]), np.array([0, 0, 1, 1, 0, 1])
    >>> found = delong_interval(labels, scores)
    >>> round(found.estimate, 4), round(found.low, 4), found.high
    (0.8889, 0.5809, 1.0)
    """
    from scipy.special import ndtri

    require_confidence(confidence)
    if np.ndim(scores) != 1:
        raise ShapeError(f"scores must be (n,); got {np.shape(scores)}. For several systems: delong_covariance.")
    auroc, covariance = delong_covariance(labels, np.asarray(scores)[None])
    estimate, variance = float(auroc[0]), float(covariance[0, 0])
    if variance <= _ROUNDING:
        raise UndefinedMetricError(
            f"DeLong's interval needs a variance above 0; AUROC is {estimate:.6g} and the variance 0. "
            "Take more images; a share such as accuracy has wilson_interval."
        )
    half = float(ndtri(0.5 + confidence / 2)) * variance**0.5
    return Interval(estimate, max(0.0, estimate - half), min(1.0, estimate + half), confidence, "delong")


def delong_test(
    labels: NDArray[Any], first: NDArray[Any], second: NDArray[Any], confidence: float = 0.95
) -> PairedDifference:
    """Test whether two systems have the same AUROC on the same images.

    Args:
        labels: 0 or 1, or bool, (n,).
        first: Scores of the first system, (n,), higher for positives.
        second: Scores of the second on the same images, (n,).
        confidence: Of the interval, in (0, 1).

    Returns:
        Difference of the AUROCs, two-sided p-value and normal interval. Systems that rank all pairs alike do not
        differ: the p-value is 1 and the interval has no width.

    Raises:
        ShapeError: As `delong_covariance`.
        UndefinedMetricError: As `delong_covariance`, and where AUROCs differ though their difference has no variance.

    >>> labels = np.arange(40) % 2
    >>> found = delong_test(labels, labels + np.arange(40) % 5, labels + np.arange(40) % 7)
    >>> round(found.difference, 4), round(found.p_value, 3)
    (0.0512, 0.657)
    """
    from scipy.special import ndtr, ndtri

    require_confidence(confidence)
    if np.ndim(first) != 1 or np.shape(first) != np.shape(second):
        raise ShapeError(f"both systems must be (n,) on the same images; got {np.shape(first)} and {np.shape(second)}.")
    above, below = _placements(labels, np.stack([first, second]))
    difference = float(above[0].mean() - above[1].mean())
    # Of the differences, not from the covariance: that would leave its rounding where nothing differs.
    variance = float(np.var(above[0] - above[1], ddof=1) / above.shape[1])
    variance += float(np.var(below[0] - below[1], ddof=1) / below.shape[1])
    if variance <= _ROUNDING:
        if abs(difference) > 1e-12:
            raise UndefinedMetricError(
                f"DeLong's test needs a variance above 0; the difference is {difference:.6g} and its variance 0. "
                "Take more images, or permutation_test on a figure of each image."
            )
        variance, difference = 0.0, 0.0
    error = variance**0.5
    half = float(ndtri(0.5 + confidence / 2)) * error
    return PairedDifference(
        difference=difference,
        p_value=max(2 * float(ndtr(-abs(difference) / error)), _SMALLEST) if error else 1.0,
        interval=Interval(difference, max(-1.0, difference - half), min(1.0, difference + half), confidence, "delong"),
        method="delong",
    )


def _placements(labels: NDArray[Any], scores: NDArray[Any]) -> tuple[Doubles, Doubles]:
    """Return the share of negatives below each positive, (s, p), and of positives above each negative, (s, q)."""
    from scipy.stats import rankdata

    rows, positive = _checked(labels, scores)
    hits, misses = rows[:, positive], rows[:, ~positive]
    count, others = hits.shape[1], misses.shape[1]
    ranks = rankdata(np.concatenate([hits, misses], axis=1), axis=1)
    above = (ranks[:, :count] - rankdata(hits, axis=1)) / others
    below = 1 - (ranks[:, count:] - rankdata(misses, axis=1)) / count
    return above, below


def _checked(labels: NDArray[Any], scores: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    rows, truth = as_array("scores", scores), as_array("labels", labels)
    if rows.ndim != 2 or truth.shape != rows.shape[1:]:
        raise ShapeError(f"scores must be (s, n) and labels (n,); got {rows.shape} and {truth.shape}.")
    if rows.dtype.kind not in "biuf" or not np.isfinite(rows).all():
        raise ShapeError("scores must be finite numbers; some are not. Remove or mend those images.")
    if truth.dtype.kind not in "biuf" or not np.isin(truth, (0, 1)).all():
        raise ShapeError("labels must be 0 or 1, or bool; some are not. Compare first: labels == positive.")
    positive = truth.astype(np.bool_)
    least = min(np.count_nonzero(positive), np.count_nonzero(~positive))
    if least < 2:
        raise UndefinedMetricError(
            f"DeLong's variance needs two positives and two negatives; got {np.count_nonzero(positive)} and "
            f"{np.count_nonzero(~positive)}. Take images of both classes."
        )
    return rows, positive
