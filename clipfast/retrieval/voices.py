"""From scores to probabilities: one temperature for each voice, so that rules, cosines and heads speak on one scale.

A voice gives every fabric a score. Scores of different kinds cannot be added: rules say .3 to 1, cosines of photos .65
to .86 whoever is right. `softmax(score / T)` with a temperature fitted on answers that are known makes each a
probability that the fabric is the right one; a voice that is often wrong then speaks softly by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipfast.errors import ShapeError, UndefinedMetricError
from clipfast.metrics import apply_temperature

__all__ = ["Voice", "shares_of", "smoothed_temperature"]

Doubles = NDArray[np.float64]

_STEPS = 200
_NOTHING = 1e6
"""Temperature, in units of the largest difference of scores, of a voice that knows nothing: all but equal shares."""


def shares_of(scores: Doubles, temperature: float) -> Doubles:
    """Return softmax(scores / T) of each row, (n, c); of a single column it is 1, of no row nothing."""
    if not len(scores) or scores.shape[1] == 1:
        return np.ones(scores.shape)
    return apply_temperature(scores, temperature)


def smoothed_temperature(labels: NDArray[Any], scores: NDArray[Any], *, virtual: float = 1.0) -> float:
    """Find the temperature that makes softmax(scores / T) most likely, with one imagined answer among the real ones.

    Where every answer is right, or every one of few, plain temperature scaling (`metrics.fit_temperature`) has no
    minimum: an ever smaller T is ever better. Here `virtual` further answers are imagined whose true class is any, each
    alike, as Platt does for two classes; that always leaves a doubt, and vanishes as answers grow many. Where the right
    fabric scores no higher than the average, T is so large that all shares are equal.

    Args:
        labels: True columns, (n,) integers.
        scores: (n, c) finite numbers, c at least 2.
        virtual: How many answers to imagine, above 0.

    Returns:
        T > 0.

    Raises:
        UndefinedMetricError: There is no row.
        ShapeError: Shapes do not fit, a score is not finite, or a label is out of range.

    >>> round(smoothed_temperature(np.array([0, 1, 0]), np.eye(2)[[0, 1, 0]]), 2)  # all right: sure, not certain
    0.51
    """
    rows, truth = _checked(labels, scores)
    rows = rows - rows.max(axis=1, keepdims=True)
    scale = -float(rows.min())
    if scale == 0:
        return 1.0  # equal scores say the same at every temperature
    rows /= scale
    true = rows[np.arange(len(rows)), truth]

    def slope(inverse: float) -> float:
        """Return the derivative of the loss by 1 / T; the loss is convex in it."""
        weights = np.exp(inverse * rows)
        expected = (weights * rows).sum(axis=1) / weights.sum(axis=1)
        return float((expected - true).sum() + virtual * (expected - rows.mean(axis=1)).mean())

    if slope(0.0) >= 0:
        return _NOTHING * scale
    low, high = 0.0, 1.0
    while slope(high) < 0:
        low, high = high, 2 * high
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
        if high - low <= 1e-12 * high:
            break
    return scale / max(high, 1 / _NOTHING)


def _checked(labels: NDArray[Any], scores: NDArray[Any]) -> tuple[Doubles, NDArray[np.int64]]:
    rows, truth = np.asarray(scores, np.float64), np.asarray(labels)
    if rows.ndim != 2 or rows.shape[1] < 2 or truth.shape != rows.shape[:1] or truth.dtype.kind not in "iu":
        raise ShapeError(
            f"scores must be (n, c) with two columns or more and labels (n,) integers; got {rows.shape} and "
            f"{truth.shape} {truth.dtype}."
        )
    if not len(rows):
        raise UndefinedMetricError("a temperature needs at least one answer; got none.")
    if not np.isfinite(rows).all():
        raise ShapeError("scores must be finite; give fabrics that a voice does not know no column.")
    if truth.min() < 0 or truth.max() >= rows.shape[1]:
        raise ShapeError(f"labels must be in 0 ... {rows.shape[1] - 1}; got {truth.min()} ... {truth.max()}.")
    return rows, truth.astype(np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Voice:
    """What one of rules, bank and head says of the fabrics that it knows, for some pictures.

    Attributes:
        names: Its fabrics, (k,).
        scores: Of each picture, (n, k).
        temperature: That makes probabilities of them; 1 for scores that are logarithms of probabilities.
    """

    names: tuple[str, ...]
    scores: Doubles
    temperature: float

    def probs(self, entries: Sequence[str], owners: Mapping[str, str]) -> Doubles:
        """Return the probability of every entry, (n, c); 0 where the voice knows none of what the entry stands for.

        Args:
            entries: What is to be told apart.
            owners: The entry that a fabric belongs to; a fabric that is not there is an entry itself. The probability
                of an entry is the sum over its fabrics.
        """
        shares = shares_of(self.scores, self.temperature)
        columns = {entry: at for at, entry in enumerate(entries)}
        found = np.zeros((len(self.scores), len(entries)))
        for at, name in enumerate(self.names):
            found[:, columns[owners.get(name, name)]] += shares[:, at]
        return found
