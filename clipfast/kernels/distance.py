"""Greedy k-centre selection: the farthest row from all that were picked, again and again, with every shortcut exact.

One pass a pick: distance to the new centre, minimum and maximum are fused, and nothing is written but what changed. Two
shortcuts leave work out without changing a single comparison:

- A row whose centre `a` lies so far from the new centre `c` that |c - a| >= 2 |row - a| cannot be nearer to `c`
  (triangle inequality; Elkan, "Using the Triangle Inequality to Accelerate k-Means", ICML 2003).
- Squares are summed over parts of the row, and a row is left as soon as the sum reaches its nearest distance.

Rows stand in tiles of 16, channel by channel, so that sums over channels run in a fixed order in vectors and need no
`fastmath`. A tile is left out as a whole, so a few times rows are put in the order of their centres.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clipfast.errors import ShapeError
from clipfast.kernels.distance_tiles import LANES, cover, farthest_of, gaps_to, tiled
from clipfast.kernels.stripes import ForEach, share_out, threads_to_use
from clipfast.types import Floats, Ints

__all__ = ["Coreset", "greedy_coreset"]

_CYCLE, _PROBE = 64, 4  # of every 64 picks the first 4 measure whether the triangle inequality pays
_PAYS = 0.1  # share of the tiles that it must leave out
_SORTED_AT = (48, 384, 3072)  # numbers of centres at which rows are sorted by them, if as many are still to come
_TILES_PER_THREAD = 128  # below which handing work to a thread costs more than the work


@dataclass(frozen=True, slots=True, eq=False)
class Coreset:
    """Rows that cover all others.

    Attributes:
        indices: Rows in the order picked, (size,) int64, no row twice.
        radius: The largest distance of any row to the nearest picked one.
        evaluated: Share of the distances that were computed to the end, in [0, 1]; the rest was left out exactly.
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
    threads: int | None = None,
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
        threads: How many share the work; the result does not depend on it. None takes the cores of this process.

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
    stripes = threads_to_use(threads, max(1, len(rows) // (LANES * _TILES_PER_THREAD)))
    with share_out(stripes) as for_each:
        return _Selection(rows, earlier, size, stripes).run(start, for_each)


class _Selection:
    """The state of one run: nearest distances, whose centre is nearest, and the centres themselves."""

    def __init__(self, rows: Floats, earlier: Floats, size: int, stripes: int) -> None:
        tiles = -(-len(rows) // LANES)
        self._rows = rows
        self._earlier = earlier
        self._size = size
        self._ids = np.full(tiles * LANES, np.iinfo(np.int64).max)  # of the row at each place
        self._ids[: len(rows)] = np.arange(len(rows))
        self._tiles = tiled(rows)
        self._nearest = np.full((tiles, LANES), np.inf, np.float32)
        self._nearest.reshape(-1)[len(rows) :] = -1  # lanes without a row: never nearer, never farthest
        self._owner = np.zeros((tiles, LANES), np.int64)
        self._farthest = np.full(tiles, np.inf, np.float32)
        self._centres = np.zeros((-(-(len(earlier) + size) // LANES), rows.shape[1], LANES), np.float32)
        self._count = 0
        self._edges = [tiles * i // stripes for i in range(stripes + 1)]
        self._largest = np.zeros(stripes, np.float32)  # of each stripe, and where it is
        self._place = np.zeros(stripes, np.int64)
        self._tally = np.zeros((stripes, 2), np.int64)  # of each stripe: tiles left out by the triangle, by the sum
        self._pruning = False
        self._skipped = 0

    def run(self, start: int, for_each: ForEach) -> Coreset:
        """Pick, beginning with row `start`, or with the farthest from the earlier centres."""
        for row in self._earlier:
            self._cover(row, for_each)
        picks = np.empty(self._size, np.int64)
        for number in range(self._size):
            if self._count in _SORTED_AT and self._size - number >= self._count:
                self._sort(for_each)
            place = start if number == 0 and start >= 0 else self._farthest_place()
            picks[number] = self._ids[place]
            tile = place // LANES
            self._nearest.reshape(-1)[place] = -1  # picked once, even where all distances are 0
            self._farthest[tile] = self._nearest[tile].max()
            self._cover(self._rows[picks[number]], for_each)
        passes = len(self._tiles) * (self._size + len(self._earlier))
        radius = float(np.sqrt(max(np.float64(self._farthest.max()), 0.0)))
        return Coreset(picks, radius, 1.0 - float(self._tally.sum()) / passes)

    def _cover(self, centre: Floats, for_each: ForEach) -> None:
        """Let a new centre take the rows that it is nearest to."""
        turn, skipped = self._count % _CYCLE, int(self._tally[:, 0].sum())
        if turn == 0:
            self._skipped, self._pruning = skipped, True
        elif turn == _PROBE:
            self._pruning = skipped - self._skipped >= _PAYS * _PROBE * len(self._tiles)
        pruning = self._pruning and self._count > 0
        gaps = gaps_to(self._centres, self._count, centre) if pruning else np.empty(0, np.float32)

        def work(stripe: int) -> None:
            self._largest[stripe], self._place[stripe] = cover(
                self._tiles,
                (self._edges[stripe], self._edges[stripe + 1], self._count),
                centre,
                gaps,
                (self._nearest, self._farthest),
                (self._owner, self._ids, self._tally[stripe]),
            )

        for_each(work, len(self._largest))
        tile, lane = divmod(self._count, LANES)
        self._centres[tile, :, lane] = centre
        self._count += 1

    def _farthest_place(self) -> int:
        """Where the farthest row stands; of equally far ones, the lowest row."""
        best = self._largest.max()
        places = [int(p) for p, found in zip(self._place, self._largest, strict=True) if found == best]
        return min(places, key=lambda place: int(self._ids[place]))

    def _sort(self, for_each: ForEach) -> None:
        """Put rows in the order of their centres and distances, so that tiles are of one kind."""
        count = len(self._rows)
        nearest, owner = self._nearest.reshape(-1)[:count], self._owner.reshape(-1)[:count]
        order = np.lexsort((nearest, owner))
        self._ids[:count] = self._ids[:count][order]
        nearest[:], owner[:] = nearest[order], owner[order]
        self._tiles = tiled(self._rows[self._ids[:count]])
        self._farthest = self._nearest.max(axis=1)

        def work(stripe: int) -> None:
            self._largest[stripe], self._place[stripe] = farthest_of(
                self._farthest, self._nearest, self._ids, self._edges[stripe], self._edges[stripe + 1]
            )

        for_each(work, len(self._largest))


def _checked(rows: Floats, name: str) -> Floats:
    if not isinstance(rows, np.ndarray) or rows.ndim != 2 or not rows.size:
        got = rows.shape if isinstance(rows, np.ndarray) else type(rows).__name__
        raise ShapeError(f"{name} must be rows (m, c), one at least; got {got}. Pass patches.reshape(-1, c).")
    if rows.dtype != np.float32:
        raise ShapeError(f"{name} must be float32; got {rows.dtype}. Pass x.astype(np.float32).")
    if not np.isfinite(rows).all():
        raise ShapeError(f"{name} must be finite; some values are NaN or infinity. Find out where they come from.")
    return np.ascontiguousarray(rows)
