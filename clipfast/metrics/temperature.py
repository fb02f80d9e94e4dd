"""Temperature scaling (Guo et al., On Calibration of Modern Neural Networks, ICML 2017, sec. 4.2)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipfast.errors import ShapeError, UndefinedMetricError
from clipfast.kernels.array_inputs import as_array
from clipfast.metrics.calibration import checked_classes, two_columns

__all__ = ["apply_temperature", "fit_temperature"]

Doubles = NDArray[np.float64]


def fit_temperature(labels: NDArray[Any], logits: NDArray[Any]) -> float:
    """Find the one temperature that makes softmax(logits / T) most likely.

    The log loss is convex in 1 / T, so its only minimum is where the slope is 0; that root is found to rounding.
    Fit on rows that are not used for judging.

    Args:
        labels: True classes, (n,) integers, 0 <= label < c.
        logits: (n, c), or (n,) of class 1 for two classes (sigmoid). CLIP's cosines count as logits too; T is then
            near 0.01, because CLIP multiplies them by 100.

    Returns:
        T > 0; above 1 the logits were too sure.

    Raises:
        UndefinedMetricError: If there is no row; if every true class has its row's largest logit, so that T -> 0 is
            ever better; or if true classes have no larger logits than the average, so that T -> infinity is.
        ShapeError: If shapes or types differ from these, a logit is not finite or a label is out of range.

    >>> logits = np.array([[4.0, 0.0], [4.0, 0.0], [0.0, 4.0], [4.0, 0.0]])
    >>> round(fit_temperature(np.array([0, 0, 1, 1]), logits), 4)  # 4 / T = ln 3: right three times of four
    3.641
    """
    from scipy.optimize import brentq

    rows = two_columns("logits", as_array("logits", logits))
    truth = checked_classes(labels, *rows.shape)
    with np.errstate(over="ignore"):  # the sum below is infinite then
        rows -= rows.max(axis=1, keepdims=True)
    scale = -float(rows.min())
    if not np.isfinite(scale):
        raise ShapeError("logits of one row must differ by a finite number; they do not. Scale them down.")
    rows /= scale or 1.0  # a common shift of a row changes nothing, a common scale only T
    true = rows[np.arange(len(rows)), truth]

    def slope(inverse: float) -> float:
        """Return the derivative of the log loss by 1 / T."""
        weights = np.exp(inverse * rows)
        return float(((weights * rows).sum(axis=1) / weights.sum(axis=1)).mean() - true.mean())

    if slope(0.0) >= 0.0:
        raise UndefinedMetricError(
            "logits of the true classes must be larger than the average logit; they are not, so no finite temperature "
            "is best. Check that columns and labels are in the same order."
        )
    if (true == 0.0).all():
        raise UndefinedMetricError(
            "at least one true class must not have the largest logit; all have, so an ever smaller temperature is "
            "better. Fit on more or on harder rows."
        )
    upper = 1.0
    while slope(upper) < 0.0:
        upper *= 2.0
    return scale / float(brentq(slope, 0.0, upper, xtol=1e-300, rtol=1e-14, maxiter=2000))


def apply_temperature(logits: NDArray[Any], temperature: float = 1.0) -> Doubles:
    """Turn logits into probabilities: softmax(logits / T) of (n, c), the sigmoid of (n,).

    Args:
        logits: (n, c) or (n,), as in `fit_temperature`.
        temperature: T > 0.

    Returns:
        Probabilities of the same shape, float64; rows of (n, c) sum to 1.

    Raises:
        ShapeError: If shapes or types differ from these, a logit is not finite or the temperature not above 0.
        UndefinedMetricError: If there is no row.

    >>> apply_temperature(np.array([[0.0, 0.0], [3.0, 0.0]]), 1e-3).tolist()
    [[0.5, 0.5], [1.0, 0.0]]
    """
    if not (np.isfinite(temperature) and temperature > 0):
        raise ShapeError(f"temperature must be a finite number above 0; got {temperature!r}.")
    given = as_array("logits", logits)
    rows = two_columns("logits", given)
    with np.errstate(over="ignore"):  # -inf is as good: its share is 0
        rows -= rows.max(axis=1, keepdims=True)
        weights = np.exp(rows / temperature)
    probs: Doubles = weights / weights.sum(axis=1, keepdims=True)
    return probs if given.ndim == 2 else probs[:, 1].copy()
