"""Rows that grow and shrink in place, with their codes for screening: what an index searches."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from clipfast.kernels.screening import Found, RowCodes, ScreenedRows, encode_rows
from clipfast.types import Floats, Ints

__all__ = ["RowStore"]

_GROWTH = 1.5
_ROWS_PER_MOVE = 1 << 14
_Number = TypeVar("_Number", bound=np.generic)


class RowStore:
    """Rows, (m, d) float32, and codes of all of them.

    Rows that were given whole stay where they are, a mapped file for instance, until the first change copies them.
    Searching from several threads is safe; changing is not safe beside anything else.

    Args:
        rows: (m, d) float32, finite.
        codes: Their codes, if they are there already.
        screened: Whether to keep codes: a quarter of the rows' memory, for a scan of a quarter of their bytes.
        threads: That share a scan; None takes the cores of this process.
    """

    def __init__(
        self, rows: Floats, *, codes: RowCodes | None = None, screened: bool = True, threads: int | None = None
    ) -> None:
        self._screened = screened
        self._threads = threads
        self._rows = rows
        self._codes = codes if screened else None
        self._count = len(rows)
        self._search = self._searcher()

    def __len__(self) -> int:
        """How many rows."""
        return self._count

    @property
    def rows(self) -> Floats:
        """The rows, (m, d), not to be written."""
        return self._search.rows

    @property
    def codes(self) -> RowCodes | None:
        """Their codes, or None where there are none."""
        return self._search.codes

    def append(self, rows: Floats) -> None:
        """Add rows at the end; earlier ones keep their codes."""
        if not len(rows):
            return
        if self._count == 0:  # nothing to keep, the centre neither
            self._rows, self._codes = np.array(rows), None
        else:
            self._rows = _with_room(self._rows, self._count, len(rows))
            self._rows[self._count : self._count + len(rows)] = rows
            if self._codes is not None:
                new = encode_rows(rows, centre=self._codes.centre, threads=self._threads)
                codes = _with_room(self._codes.codes, self._count, len(rows))
                facts = _with_room(self._codes.facts, self._count, len(rows))
                codes[self._count : self._count + len(rows)] = new.codes
                facts[self._count : self._count + len(rows)] = new.facts
                self._codes = RowCodes(codes, facts, self._codes.centre)
        self._count += len(rows)
        self._search = self._searcher()

    def keep(self, kept: NDArray[np.bool_]) -> None:
        """Let go of all other rows; the order stays."""
        if kept.all():
            return
        self._rows = _compacted(self._rows, kept)
        if self._codes is not None:
            old = self._codes
            self._codes = RowCodes(_compacted(old.codes, kept), _compacted(old.facts, kept), old.centre)
        self._count = int(np.count_nonzero(kept))
        self._search = self._searcher()

    def best(self, queries: Floats, k: int, among: Ints | None, names: Ints | None) -> Found:
        """Find the best rows; see `ScreenedRows.best_of`."""
        return self._search.best_of(queries, k, among, names)

    def _searcher(self) -> ScreenedRows:
        rows, codes = self._rows[: self._count], self._codes
        if codes is not None:
            codes = RowCodes(codes.codes[: self._count], codes.facts[: self._count], codes.centre)
        made = ScreenedRows(rows, codes=codes, screened=self._screened, threads=self._threads)
        if self._codes is None:
            self._codes = made.codes
        return made


def _with_room(buffer: NDArray[_Number], count: int, more: int) -> NDArray[_Number]:
    """Return a buffer with room for `more` rows behind the first `count`: the same one, if it has it and is ours."""
    if buffer.flags.writeable and buffer.base is None and count + more <= len(buffer):
        return buffer
    room = max(count + more, int(_GROWTH * count))
    wider: NDArray[Any] = np.empty((room, *buffer.shape[1:]), buffer.dtype)
    wider[:count] = buffer[:count]
    return wider


def _compacted(buffer: NDArray[_Number], kept: NDArray[np.bool_]) -> NDArray[_Number]:
    """Move the kept rows together, in place where the buffer is ours."""
    count = int(np.count_nonzero(kept))
    ours = buffer.flags.writeable and buffer.base is None
    target: NDArray[Any] = buffer if ours else np.empty((count, *buffer.shape[1:]), buffer.dtype)
    end = 0
    for first in range(0, len(kept), _ROWS_PER_MOVE):
        some = kept[first : first + _ROWS_PER_MOVE]
        moved = buffer[first : first + len(some)][some]  # a copy: the rows may overlap with where they go
        target[end : end + len(moved)] = moved
        end += len(moved)
    return target
