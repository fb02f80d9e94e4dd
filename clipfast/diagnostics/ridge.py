"""A ridge head in closed form: what it says of samples it was not fitted on, and what each of them did to it.

Least squares on one column a class, with an intercept that is not penalised. Leaving a sample out has an exact answer,
so nothing is approximated: `left_out` and `influence` equal refitting without each sample.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clipfast.diagnostics.predictions import Doubles
from clipfast.errors import ShapeError
from clipfast.types import Floats, Ints

__all__ = ["RidgeHead", "influence"]


@dataclass(frozen=True, slots=True, eq=False)
class RidgeHead:
    """A fitted head.

    Attributes:
        weights: (e + 1, c) float64; the last row is the intercept.
        inverse: (X'X + penalty)^-1, (e + 1, e + 1) float64.
        rows: What it was fitted on, with a column of ones, (n, e + 1) float64.
        targets: One column a class, 1 for the label and 0 elsewhere, (n, c) float64.
    """

    weights: Doubles
    inverse: Doubles
    rows: Doubles
    targets: Doubles

    @classmethod
    def fit(cls, rows: Floats | Doubles, labels: Ints, classes: int, *, penalty: float = 1.0) -> RidgeHead:
        """Fit the head.

        Args:
            rows: (n, e).
            labels: (n,), 0 <= label < classes.
            classes: How many.
            penalty: Of squared weights, above 0.

        Raises:
            ShapeError: Shapes do not fit, there is no row, or the penalty is not above 0.
        """
        if rows.ndim != 2 or not len(rows) or labels.shape != (len(rows),) or not penalty > 0:
            raise ShapeError(
                f"rows must be (n, e), labels (n,) and the penalty above 0; got {rows.shape}, {labels.shape}, "
                f"{penalty!r}."
            )
        if int(labels.min()) < 0 or int(labels.max()) >= classes:
            raise ShapeError(f"labels must be in 0 ... {classes - 1}; got {labels.min()} ... {labels.max()}.")
        wide = _with_ones(rows)
        targets = np.eye(classes)[labels]
        penalties = np.full(wide.shape[1], penalty)
        penalties[-1] = 0.0
        inverse: Doubles = np.linalg.inv(wide.T @ wide + np.diag(penalties)).astype(np.float64)
        return cls(inverse @ (wide.T @ targets), inverse, wide, targets)

    def scores(self, rows: Floats | Doubles) -> Doubles:
        """Return one score a class, (n, c)."""
        found: Doubles = _with_ones(rows) @ self.weights
        return found

    def left_out(self) -> Doubles:
        """Return what heads fitted without each sample say of it, (n, c): y - r / (1 - h)."""
        fitted = self.rows @ self.weights
        found: Doubles = self.targets - (self.targets - fitted) / (1 - self.leverage())[:, None]
        return found

    def leverage(self) -> Doubles:
        """Return how much each sample decides about itself, (n,), below 1."""
        found: Doubles = (self.rows @ self.inverse * self.rows).sum(axis=1)
        return np.minimum(found, 1 - 1e-12)


def influence(head: RidgeHead, rows: Floats | Doubles, labels: Ints) -> Doubles:
    """Return how much the mean squared error on other samples grows when a training sample is left out, (n,) float64.

    Negative: the head is better without it. Exact, by the rank-one update of the inverse (Cook and Weisberg, 1982).

    Args:
        head: A fitted head.
        rows: Other samples, (m, e).
        labels: Theirs, (m,).

    Raises:
        ShapeError: Shapes do not fit.
    """
    if rows.ndim != 2 or rows.shape[1] != head.rows.shape[1] - 1 or labels.shape != (len(rows),) or not len(rows):
        raise ShapeError(
            f"rows must be (m, {head.rows.shape[1] - 1}) and labels (m,); got {rows.shape}, {labels.shape}."
        )
    wide = _with_ones(rows)
    errors = np.eye(head.targets.shape[1])[labels] - wide @ head.weights  # (m, c)
    pulls = (head.targets - head.rows @ head.weights) / (1 - head.leverage())[:, None]  # (n, c)
    # Without sample i the errors become errors + reach[:, i] x pulls[i], with reach = wide A X' of shape (m, n). Only
    # its products are needed: nothing here is larger than the samples themselves.
    moved = head.rows @ head.inverse  # X A, (n, e + 1)
    cross = (pulls * (moved @ (wide.T @ errors))).sum(axis=1)
    squares = (pulls**2).sum(axis=1) * (moved @ (wide.T @ wide) * moved).sum(axis=1)
    found: Doubles = (2 * cross + squares) / len(rows)
    return found


def _with_ones(rows: Floats | Doubles) -> Doubles:
    return np.hstack([rows.astype(np.float64), np.ones((len(rows), 1))])
