"""One scale for all branches: how surprising a raw score would be among intact ones.

Two branches' raw scores cannot be compared: shares of a softmax lie near 0.5 and half cosine distances near 0.1, so
their maximum is nearly always the first and their harmonic mean follows the second. A scale is fitted on scores of the
held-out support and maps each raw score to a positive number that grows with it, strictly, so no ranking by one branch
alone changes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from clipfast.anomaly.options import ScaleMethod
from clipfast.anomaly.semantic import log_odds
from clipfast.errors import ShapeError
from clipfast.kernels.curves import rising_curve
from clipfast.types import Floats

__all__ = ["Scale"]

_KNOTS = 129
_TAIL = 0.9  # quantile from which the tail is an exponential
_PRIOR = 2.0  # scores that the width of the body counts as, for the tail beyond
_FLOOR = 1e-6  # smallest width of a tail, beside the size of the scores


@dataclass(frozen=True, slots=True, eq=False)
class Scale:
    """A fitted scale.

    "cdf": -log of the share of intact scores above x. Between the lowest intact score and their 90 % quantile the share
    is read from the support. Above it falls as an exponential with the mean excess of the scores beyond, drawn towards
    half the distance of that quantile from the median where they are few; below, the value decays to 0. "robust_z":
    softplus((x - median) / (1.4826 * median absolute deviation)).

    Attributes:
        method: Which.
        odds: Whether x is the log-odds of the raw score, as for shares of a softmax.
        knots: Raw scores (after `odds`) where the curve is given, increasing, (k,) float64; for "robust_z" median and
            width.
        values: The curve there, (k,) float64.
        widths: Of the lower and the upper tail.
    """

    method: ScaleMethod
    odds: bool
    knots: np.ndarray[tuple[int], np.dtype[np.float64]]
    values: np.ndarray[tuple[int], np.dtype[np.float64]]
    widths: tuple[float, float]

    @classmethod
    def fit(cls, scores: Floats, method: ScaleMethod = "cdf", *, odds: bool = False) -> Scale:
        """Fit on scores of intact images or patches.

        Args:
            scores: One at least, any shape.
            method: Which scale.
            odds: Whether scores are shares in (0, 1), and are taken as log-odds.

        Raises:
            ShapeError: No score, or one that is not finite.
        """
        if not scores.size or not np.isfinite(scores).all():
            raise ShapeError(f"scores must be finite, one at least; got {scores.shape} with NaN, infinity or nothing.")
        x = np.sort((log_odds(scores) if odds else scores).astype(np.float64), axis=None)
        floor = _FLOOR * max(float(np.abs(x).max()), 1e-12)
        middle = float(np.median(x))
        if method == "robust_z":
            width = max(1.4826 * float(np.median(np.abs(x - middle))), floor)
            return cls(method, odds, np.array([middle, middle + width]), np.array([math.log(2), 0.0]), (width, width))
        count = len(x)
        high = float(np.quantile(x, _TAIL))
        beyond = x[x > high] - high
        # Twenty scores have two beyond their 90 % quantile: the width of the body counts as two more.
        usual = 0.5 * (high - middle)
        upper = max((float(beyond.sum()) + _PRIOR * usual) / (len(beyond) + _PRIOR), floor)
        lower = max(middle - float(x[0]), floor)
        # Places (i - 1/2) / n of the sorted scores, thinned; shares above are 1 - place.
        places = np.unique(np.linspace(0, count - 1, min(count, _KNOTS)).round().astype(np.int64))
        knots, first = np.unique(np.minimum(x[places], high), return_index=True)
        shares = 1 - (places[first] + 0.5) / count
        knots, shares = knots[knots < high], shares[: len(first)][knots < high]
        knots = np.append(knots, high)
        shares = np.append(np.maximum(shares, 1 - _TAIL), 1 - _TAIL)
        values = -np.log(np.minimum(shares, 1 - 0.25 / count))
        # Equal values would make a plateau, so a ranking could change: each step rises a little at least.
        values = np.maximum.accumulate(values) + np.arange(len(values)) * 1e-9
        return cls(method, odds, knots, values, (lower, upper))

    def apply(self, scores: Floats) -> Floats:
        """Map raw scores, any shape, to positive ones; strictly increasing up to float32."""
        x = log_odds(scores) if self.odds else scores.astype(np.float32, copy=False)
        if self.method == "robust_z":
            found: Floats = np.logaddexp(0, (x.astype(np.float64) - self.knots[0]) / self.widths[1]).astype(np.float32)
            return found
        return rising_curve(x, self.knots, self.values, self.widths)
