"""Where scores lie among sorted distinct values, without sorting the scores.

The range of the values is cut into equal cells. A cell holds where its values begin and the first of them, so one look
places every score in a cell of at most one value; scores in fuller cells are noted and searched afterwards. The steps
run block by block without a branch that depends on a score, so that many looks are under way at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from clipfast.types import Ints

__all__ = ["Table", "count_sorted"]

_BLOCK = 1024
_CHUNK = 1 << 18
_COARSE = 1 << 8
_NEAR = 1 << 16  # entries that the nearest caches hold
_MOST_CELLS = 1 << 21  # 16 MB of float32 cells; larger ones leave the caches
_PROBES = 2048
_FULL = 8  # values in a cell, beyond which a search costs more than a look


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Sorted distinct values and their cells.

    Attributes:
        values: Sorted, distinct, finite, (m,).
        cells: By cell, where its values begin (complemented if there are several) and the bits of the first of them
            (infinity if there is none), (2 * cells + 2,) integers as wide as the values.
        bounds: Smallest and largest value and cells per unit, (3,) of the values' type.
    """

    values: NDArray[Any]
    cells: NDArray[Any]
    bounds: NDArray[Any]

    @classmethod
    def of(cls, values: NDArray[Any], scores: NDArray[Any]) -> Table | None:
        """Return the table of `values`; None if it would not pay for these scores.

        It does not where the values crowd into few cells, as with a far outlier: most scores would then be searched.

        Args:
            values: Sorted, distinct, finite, (m,) float32 or float64.
            scores: What is to be counted; a sample of it is looked at.
        """
        count = min(_MOST_CELLS, 1 << (2 * len(values)).bit_length())
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            span = values[-1] - values[0]
            scale = np.divide(count, span, dtype=values.dtype) if span > 0 else values.dtype.type(0)
        if not (np.isfinite(span) and np.isfinite(scale)):
            return None
        bounds = np.array([values[0], values[-1], scale], values.dtype)
        cells = np.empty(2 * count + 2, np.int32 if values.dtype.itemsize == 4 else np.int64)
        _fill(values, bounds, cells, cells.view(values.dtype))
        probes = np.ascontiguousarray(scores[:: max(1, len(scores) // _PROBES)])
        crowded = _count_crowded(probes, bounds, cells, _FULL)
        return None if 4 * crowded > len(probes) else cls(values, cells, bounds)

    def count(self, scores: NDArray[Any], slots: Ints) -> int:
        """Add every score to its slot: 2k below `values[k]`, 2k + 1 equal to it; return how many are not finite."""
        count = _count_blocks if len(self.cells) <= _NEAR else _count_chunks
        return int(count(scores, self.values, self.bounds, self.cells, self.cells.view(self.values.dtype), slots))


@njit(cache=True, nogil=True)
def count_sorted(scores: NDArray[Any], values: NDArray[Any], slots: Ints) -> None:
    """Add every one of the ascending scores to its slot, as `Table.count` does."""
    i = 0
    for k in range(len(values)):
        begin = i
        while i < len(scores) and scores[i] < values[k]:
            i += 1
        slots[2 * k] += i - begin
        begin = i
        while i < len(scores) and scores[i] == values[k]:
            i += 1
        slots[2 * k + 1] += i - begin
    slots[2 * len(values)] += len(scores) - i


@njit(cache=True, nogil=True)
def _find_cells(block: NDArray[Any], bounds: NDArray[Any], last: Any, places: NDArray[np.int32]) -> int:
    """Write the cell of each score; return how many are not finite. The cell never falls as the score rises."""
    low, high, scale = bounds[0], bounds[1], bounds[2]
    wrong = 0
    for i in range(len(block)):
        score = block[i]
        wrong += not (abs(score) < np.inf)
        inside = score if score > low else low  # NaN too
        inside = inside if inside < high else high
        places[i] = min(np.int32((inside - low) * scale), last)
    return wrong


@njit(cache=True, nogil=True)
def _fill(values: NDArray[Any], bounds: NDArray[Any], cells: NDArray[Any], firsts: NDArray[Any]) -> None:
    """Write where the values of each cell begin and the first of them; the cell after the last begins at the end."""
    last = np.int32(len(cells) // 2 - 2)
    places = np.empty(_BLOCK, np.int32)
    cell = 0
    for begin in range(0, len(values), _BLOCK):
        block = values[begin : begin + _BLOCK]
        _find_cells(block, bounds, last, places)
        for i in range(len(block)):
            if places[i] < cell:  # not the first of its cell
                cells[2 * cell - 2] = ~_begin(cells[2 * cell - 2])
                continue
            while cell <= places[i]:
                cells[2 * cell] = begin + i
                firsts[2 * cell + 1] = np.inf
                cell += 1
            firsts[2 * cell - 1] = block[i]
    while 2 * cell < len(cells):
        cells[2 * cell] = len(values)
        firsts[2 * cell + 1] = np.inf
        cell += 1


@njit(cache=True, nogil=True)
def _begin(entry: int) -> int:
    """Return where the values of a cell begin."""
    return entry if entry >= 0 else ~entry


@njit(cache=True, nogil=True)
def _count_crowded(probes: NDArray[Any], bounds: NDArray[Any], cells: NDArray[Any], full: int) -> int:
    """Count the probes whose cell holds more than `full` values."""
    last = np.int32(len(cells) // 2 - 2)
    places = np.empty(len(probes), np.int32)
    _find_cells(probes, bounds, last, places)
    crowded = 0
    for i in range(len(probes)):
        crowded += _begin(cells[2 * places[i] + 2]) - _begin(cells[2 * places[i]]) > full
    return crowded


@njit(cache=True, nogil=True)
def _find_slots(
    block: NDArray[Any],
    cells: NDArray[Any],
    firsts: NDArray[Any],
    places: NDArray[np.int32],
    late: NDArray[np.int32],
) -> int:
    """Look up the slot of each score as if its cell held one value; note the cells of those that need a search.

    `late` gets the indices of those scores, then their cells in its second half; returns how many there are.
    """
    many = 0
    for i in range(len(block)):
        cell = places[i]
        entry, first = cells[2 * cell], firsts[2 * cell + 1]
        score = block[i]
        late[many] = i
        late[_BLOCK + many] = cell
        many += (entry < 0) & (first < score)
        places[i] = 2 * _begin(entry) + (first <= score) + (first < score)
    return many


@njit(cache=True, nogil=True)
def _search(values: NDArray[Any], cells: NDArray[Any], cell: int, score: float) -> int:
    """Return the slot of a score that lies above the first of the values of its cell."""
    low, end = _begin(cells[2 * cell]) + 1, _begin(cells[2 * cell + 2])
    high = end
    while low < high:
        middle = (low + high) // 2
        if values[middle] < score:
            low = middle + 1
        else:
            high = middle
    return 2 * low + (low < end and values[low] == score)


@njit(cache=True, nogil=True)
def _count_blocks(
    scores: NDArray[Any],
    values: NDArray[Any],
    bounds: NDArray[Any],
    cells: NDArray[Any],
    firsts: NDArray[Any],
    slots: Ints,
) -> int:
    """Add every score to its slot; return how many are not finite."""
    last = np.int32(len(cells) // 2 - 2)
    places = np.empty(_BLOCK, np.int32)
    late = np.empty(2 * _BLOCK, np.int32)
    wrong = 0
    for begin in range(0, len(scores), _BLOCK):
        block = scores[begin : begin + _BLOCK]
        wrong += _find_cells(block, bounds, last, places)
        for entry in range(_find_slots(block, cells, firsts, places, late)):
            places[late[entry]] = _search(values, cells, late[_BLOCK + entry], block[late[entry]])
        for i in range(len(block)):
            slots[places[i]] += 1
    return wrong


@njit(cache=True, nogil=True)
def _count_chunks(
    scores: NDArray[Any],
    values: NDArray[Any],
    bounds: NDArray[Any],
    cells: NDArray[Any],
    firsts: NDArray[Any],
    slots: Ints,
) -> int:
    """Do as `_count_blocks`, chunk by chunk; each is first brought into the order of coarse cells.

    Scores that follow each other then look at neighbouring cells and slots, so that a table of megabytes is read from
    the nearest cache.
    """
    last = np.int32(len(cells) // 2 - 2)
    shift = 0
    while last >> shift >= _COARSE:
        shift += 1
    places = np.empty(_CHUNK, np.int32)
    ordered = np.empty(_CHUNK, scores.dtype)
    wrong = 0
    for begin in range(0, len(scores), _CHUNK):
        chunk = scores[begin : begin + _CHUNK]
        _find_cells(chunk, bounds, last, places)
        ends = np.zeros(_COARSE + 1, np.int64)
        for i in range(len(chunk)):
            ends[(places[i] >> shift) + 1] += 1
        for cell in range(_COARSE):
            ends[cell + 1] += ends[cell]
        for i in range(len(chunk)):
            cell = places[i] >> shift
            ordered[ends[cell]] = chunk[i]
            ends[cell] += 1
        wrong += _count_blocks(ordered[: len(chunk)], values, bounds, cells, firsts, slots)
    return wrong
