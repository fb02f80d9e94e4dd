"""Do two ways of sorting the same samples agree? Mutual information and the Rand index, whatever the names."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clipfast.errors import ShapeError, UndefinedMetricError

__all__ = ["adjusted_rand_score", "normalised_mutual_information_score"]

Doubles = NDArray[np.float64]


def normalised_mutual_information_score(first: ArrayLike, second: ArrayLike) -> float:
    """Return the mutual information of two labellings over the mean of their entropies, in [0, 1].

    1 means that each follows from the other; it is not 0 by chance where there are many small groups. Two labellings
    of one group each agree: 1. One of one group beside one of several: 0.

    Args:
        first: Group of each sample, (n,) integers or strings.
        second: The same of the other labelling.

    Raises:
        ShapeError: If they are not (n,) of one length.
        UndefinedMetricError: If there is no sample.

    >>> normalised_mutual_information_score([0, 0, 1, 1], ["b", "b", "a", "a"])
    1.0
    """
    table = _contingency(first, second)
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    if len(rows) == len(columns) == 1:
        return 1.0
    count = table.sum()
    i, j = np.nonzero(table)
    cells = table[i, j]
    shared = float((cells / count * np.log(cells * count / (rows[i] * columns[j]))).sum())
    mean = (_entropy(rows / count) + _entropy(columns / count)) / 2
    return min(max(shared / mean, 0.0), 1.0)


def adjusted_rand_score(first: ArrayLike, second: ArrayLike) -> float:
    """Return the share of pairs that both labellings join or both part, adjusted so that chance gives 0 (Hubert, 1985).

    Arguments and errors as in `normalised_mutual_information_score`; at most 1, and below 0 where they agree less than
    by chance.

    >>> adjusted_rand_score([0, 0, 1, 1], [5, 5, 7, 7]), round(adjusted_rand_score([0, 0, 1, 1], [0, 1, 0, 1]), 3)
    (1.0, -0.5)
    """
    table = _contingency(first, second)
    count = float(table.sum())
    both = float((table * (table - 1)).sum()) / 2
    one, other = (float((sums * (sums - 1)).sum()) / 2 for sums in (table.sum(axis=1), table.sum(axis=0)))
    pairs = count * (count - 1) / 2
    expected = one * other / pairs if pairs else 0.0
    largest = (one + other) / 2
    return 1.0 if largest == expected else (both - expected) / (largest - expected)


def _contingency(first: ArrayLike, second: ArrayLike) -> Doubles:
    left, right = np.asarray(first), np.asarray(second)
    if left.ndim != 1 or left.shape != right.shape:
        raise ShapeError(f"labellings must be (n,) of one length; got {left.shape} and {right.shape}.")
    if left.size == 0:
        raise UndefinedMetricError("two labellings need at least one sample; got none.")
    rows, i = np.unique(left, return_inverse=True)
    columns, j = np.unique(right, return_inverse=True)
    table: Doubles = np.bincount(i * len(columns) + j, minlength=len(rows) * len(columns)).astype(np.float64)
    return table.reshape(len(rows), len(columns))


def _entropy(shares: Doubles) -> float:
    return float(-(shares * np.log(shares)).sum())
