"""Greedy k-centre selection: the farthest row from all that were picked, again and again, with every shortcut exact.

A row's distance to the nearest centre only falls as centres are added, so what is known of it is an upper bound. Rows
stand in a heap by that bound; only the first one is brought up to date, and only as far as it stays first. If it stays
first it is the farthest of all, and picked. (Minoux's lazy greedy, "Accelerated greedy algorithms for maximizing
submodular set functions", 1978, with distances.) Two shortcuts leave further work out without changing a comparison:

- Once a row falls behind the next one, the centres that are still to be compared can wait.
- Squares are summed over parts of the row, and a tile of centres is left as soon as no sum is below the bound.

So one row meets many centres while both are in the cache, where a pass a pick reads all rows again and again. Centres
stand in tiles of 16, channel by channel: sums over channels run in a fixed order in vectors and need no `fastmath`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clipfast.errors import ShapeError
from clipfast.kernels.distance_heap import LANES, pick_farthest
from clipfast.types import Floats, Ints

__all__ = ["Coreset", "greedy_coreset"]

_NOWHERE = np.float32(1e18)  # channels of a centre that is not there yet: its squares are infinite


@dataclass(frozen=True, slots=True, eq=False)
class Coreset:
    """Rows that cover all others.

    Attributes:
        indices: Rows in the order picked, (size,) int64, no row twice.
        radius: The largest distance of any row to the nearest picked one.
        evaluated: Share of the distances that were looked at, in [0, 1]; the rest was left out exactly.
    """

    indices: Ints
    radius: float
    evaluated: float


def greedy_coreset(
    features: Floats,
    size: int,
    *,
    seed: int = 0,
    first: int | None = None,
    covered: Floats | None = None,
) -> Coreset:
    """Pick rows that cover `features` by Euclidean distance (k-centre greedy; PatchCore, section 3.2).

    Each pick is the row farthest from all picked before it; of equal distances the lowest index wins. The first centre
    is in the coreset (anomalib's #3459).

    Args:
        features: (m, c) float32, finite.
        size: How many rows, 1 <= size <= m.
        seed: Chooses the first row.
        first: The first row, instead of the seed's.
        covered: Rows picked earlier, (k, c) float32: the picks go on from there, beginning with the row farthest from
            them; then neither `seed` nor `first` is used.

    Raises:
        ShapeError: Wrong shape, dtype or range, or values that are not finite.

    >>> greedy_coreset(np.float32([[0], [1], [10], [7]]), 3, first=0).indices.tolist()
    [0, 2, 3]
    """
    rows = _checked(features, "features")
    if not 1 <= size <= len(rows):
        raise ShapeError(f"size must be 1 to {len(rows)}, the number of rows; got {size}.")
    start = int(np.random.default_rng(seed).integers(len(rows))) if first is None else first
    if not 0 <= start < len(rows):
        raise ShapeError(f"first must be a row, 0 to {len(rows) - 1}; got {first}.")
    earlier = np.empty((0, rows.shape[1]), np.float32)
    if covered is not None and len(covered):
        earlier, start = _checked(covered, "covered"), -1
        if earlier.shape[1] != rows.shape[1]:
            raise ShapeError(f"covered must be (k, {rows.shape[1]}) like features; got {earlier.shape}.")
    heap = np.arange(len(rows))
    picks = np.empty(size, np.int64)
    if start >= 0:
        earlier, picks[0] = rows[start : start + 1], start
        heap = np.delete(heap, start)
    number = len(earlier) + size - (start >= 0)
    centres = np.full((-(-number // LANES), rows.shape[1], LANES), _NOWHERE, np.float32)
    for at, centre in enumerate(earlier):
        centres[at // LANES, :, at % LANES] = centre
    square, looked_at = pick_farthest(rows, heap, centres, len(earlier), picks[int(start >= 0) :])
    return Coreset(picks, float(np.sqrt(np.float64(square))), min(1.0, looked_at / (len(rows) * number)))


def _checked(rows: Floats, name: str) -> Floats:
    if not isinstance(rows, np.ndarray) or rows.ndim != 2 or not rows.size:
        got = rows.shape if isinstance(rows, np.ndarray) else type(rows).__name__
        raise ShapeError(f"{name} must be rows (m, c), one at least; got {got}. Pass patches.reshape(-1, c).")
    if rows.dtype != np.float32:
        raise ShapeError(f"{name} must be float32; got {rows.dtype}. Pass x.astype(np.float32).")
    if not np.isfinite(rows).all():
        raise ShapeError(f"{name} must be finite; some values are NaN or infinity. Find out where they come from.")
    return np.ascontiguousarray(rows)
