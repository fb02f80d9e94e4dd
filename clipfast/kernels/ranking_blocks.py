"""Ranking levels of scores that come block by block, where the scores of the positives are known beforehand.

One pass collects the few positives, a second one counts every block among them, so that all scores never lie in memory
together. The counts are those of `rank_levels`, to the last one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipfast.errors import ShapeError, UndefinedMetricError
from clipfast.kernels.ranking import Levels, PositiveScores, pays_for_table, require_finite
from clipfast.kernels.ranking_table import Table, count_sorted
from clipfast.types import Ints

__all__ = ["BlockCounts"]


class BlockCounts:
    """Counts all items, positives too, around the scores of the positives.

    Args:
        found: Scores of the positives, (positives,) float32 or float64, finite, one at least.
        weights: One weight per positive, (positives,).
        items: About how many items will come; it decides how they are counted, not what comes out.

    Raises:
        ShapeError: If a score is NaN or infinite, or of another type.
        UndefinedMetricError: If there is no positive.

    >>> counts = BlockCounts(np.float32([0.4, 0.8]), items=4)
    >>> counts.add(np.float32([0.1, 0.4]))
    >>> counts.add(np.float32([0.4, 0.8]))
    >>> levels = counts.levels()
    >>> levels.above.tolist(), levels.upto.tolist()
    ([0, 0], [0, 1])
    """

    def __init__(self, found: NDArray[Any], weights: NDArray[np.float64] | None = None, *, items: int) -> None:
        if not len(found):
            raise UndefinedMetricError("At least one item must be positive; none is. Nothing can be ranked.")
        if found.dtype not in (np.float32, np.float64):
            raise ShapeError(f"scores must be float32 or float64; got {found.dtype}. Convert them.")
        require_finite(found)
        self._positive = PositiveScores.of(found, weights)
        self._slots: Ints = np.zeros(2 * len(self._positive.distinct) + 1, np.int64)
        self._tabled = pays_for_table(items, len(self._positive.distinct))
        self._table: Table | None = None
        self._items = 0

    def add(self, scores: NDArray[Any]) -> None:
        """Count a block, (n,), contiguous, of the type of the positives.

        Raises:
            ShapeError: If a score is NaN or infinite.
        """
        distinct = self._positive.distinct
        if not len(scores):
            return
        if self._tabled and self._table is None:
            self._table = Table.of(distinct, scores)
            self._tabled = self._table is not None
        if self._table is not None:
            wrong = self._table.count(scores, self._slots) > 0
        else:
            ordered = np.sort(scores)
            wrong = not np.isfinite(ordered[[0, -1]]).all()
            count_sorted(ordered, distinct, self._slots)
        if wrong:
            require_finite(scores)
        self._items += len(scores)

    def levels(self) -> Levels:
        """Return the levels of all that came.

        Raises:
            ShapeError: If a positive was not among what came.
            UndefinedMetricError: If nothing but positives came.
        """
        if (self._slots[1::2] < self._positive.hits).any():
            raise ShapeError("every positive must be among the blocks, too; some did not come. Add every block once.")
        if self._items == self._positive.count:
            raise UndefinedMetricError(
                f"Both classes must occur; all {self._items} items are positive. Nothing can be ranked."
            )
        return self._positive.levels(self._slots)
