"""Does one classifier answer more of the same questions right than another? McNemar's exact test."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipfast.errors import ShapeError, UndefinedMetricError
from clipfast.metrics.paired import PairedDifference

__all__ = ["mcnemar_test"]


def mcnemar_test(first: NDArray[Any], second: NDArray[Any]) -> PairedDifference:
    """Compare two systems by the questions that one answers right and the other wrong (McNemar, 1947; exact).

    Under the null hypothesis each of those is as likely to fall to either side, so their number on one side is binomial
    with one half. The p-value is twice the smaller tail, at most 1.

    Args:
        first: Whether the first system was right, (n,) bool, or 0 and 1.
        second: Whether the second was, on the same questions.

    Returns:
        Difference of the shares that are right, and the p-value; no interval.

    Raises:
        ShapeError: The two are not (n,) of one length, or hold something other than 0 and 1.
        UndefinedMetricError: There is no question.

    >>> found = mcnemar_test(np.array([1] * 9 + [0]), np.array([0] * 6 + [1] * 4))
    >>> round(found.difference, 3), found.p_value  # 6 fell to the first and 1 to the second: 2 (1 + 7) / 128
    (0.5, 0.125)
    """
    ours, theirs = np.asarray(first), np.asarray(second)
    if ours.ndim != 1 or ours.shape != theirs.shape:
        raise ShapeError(f"both systems must be (n,), one answer a question; got {ours.shape} and {theirs.shape}.")
    if not len(ours):
        raise UndefinedMetricError("McNemar's test needs at least one question; got none.")
    if not (np.isin(ours, (0, 1)).all() and np.isin(theirs, (0, 1)).all()):
        raise ShapeError("answers must be right (1) or wrong (0); got other values.")
    only_first = int(np.count_nonzero((ours == 1) & (theirs == 0)))
    only_second = int(np.count_nonzero((ours == 0) & (theirs == 1)))
    total, fewer = only_first + only_second, min(only_first, only_second)
    tail = sum(math.comb(total, count) for count in range(fewer + 1))
    p_value = min(1.0, 2 * tail / (1 << total)) if total else 1.0
    return PairedDifference((only_first - only_second) / len(ours), p_value, None, "McNemar, exact")
