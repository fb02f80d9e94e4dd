"""Does one classifier answer more of the same questions right than another? McNemar's exact test."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipfast.errors import ShapeError, UndefinedMetricError
from clipfast.metrics.intervals import Interval, require_confidence
from clipfast.metrics.paired import PairedDifference

__all__ = ["mcnemar_interval", "mcnemar_test"]


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


def mcnemar_interval(more: int, less: int, total: int, confidence: float = 0.95) -> Interval:
    """Return the exact interval of a gain in the share of right answers, from the questions that changed.

    Of the `more + less` questions that one of two systems alone answers right, the share that fell to the first has
    Clopper and Pearson's interval (1934); a gain is twice that share less one, times how many questions changed. Its
    lower end is above 0 exactly where the one-sided McNemar test at (1 - confidence) / 2 says that the first is better.

    Args:
        more: Questions that the first system alone answers right.
        less: Questions that the second system alone answers right.
        total: All questions.
        confidence: In (0, 1).

    Raises:
        ShapeError: Counts that cannot be.
        UndefinedMetricError: There is no question.

    >>> found = mcnemar_interval(9, 1, 50)
    >>> round(found.estimate, 2), round(found.low, 3), round(found.high, 3)
    (0.16, 0.022, 0.199)
    """
    from scipy.special import betaincinv

    require_confidence(confidence)
    if min(more, less) < 0 or more + less > total:
        raise ShapeError(f"more and less must be counts of {total} questions; got {more} and {less}.")
    if not total:
        raise UndefinedMetricError("an interval of a gain needs at least one question; got none.")
    changed, tail = more + less, (1 - confidence) / 2
    low = float(betaincinv(more, less + 1, tail)) if more else 0.0
    high = float(betaincinv(more + 1, less, 1 - tail)) if less else 1.0
    scale = changed / total
    ends = (2 * low - 1) * scale + 0.0, (2 * high - 1) * scale + 0.0  # no -0 where nothing changed
    return Interval((more - less) / total, *ends, confidence, "McNemar, exact")
