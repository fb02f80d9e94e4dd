"""Several tests at once: p-values that stay honest when many pairs are compared."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clipfast.errors import ShapeError

__all__ = ["holm_adjusted"]


def holm_adjusted(p_values: ArrayLike) -> NDArray[np.float64]:
    """Adjust the p-values of a family of tests by Holm's step-down method.

    A test whose adjusted value is at most 0.05 is significant, and with probability 0.95 none of those called so is
    false, however the tests depend on each other (Holm, Scandinavian Journal of Statistics, 1979).

    Args:
        p_values: In [0, 1], (m,).

    Returns:
        Adjusted values in the order given, (m,) float64: the k-th smallest times m - k + 1, made rising, at most 1.

    Raises:
        ShapeError: If `p_values` is not (m,) numbers in [0, 1].

    >>> holm_adjusted([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    given = np.asarray(p_values, dtype=np.float64)
    if given.ndim != 1 or not ((given >= 0) & (given <= 1)).all():  # NaN is in no range
        raise ShapeError(f"p_values must be (m,) numbers in [0, 1]; got {given.tolist()}.")
    order = np.argsort(given, kind="stable")
    steps = given[order] * np.arange(len(given), 0, -1)
    adjusted = np.empty(len(given))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0) if len(given) else steps
    return adjusted
