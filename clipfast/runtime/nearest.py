"""Exact nearest rows of many queries: by bfloat16 products where the CPU has them, else by a product in ONNX Runtime.

Where the CPU multiplies bfloat16, rows are screened (`kernels.packed_rows`), and what may be nearest is looked at
exactly. Queries that hundreds of rows are equally near to, as on white paper, take the other way.

Elsewhere a graph (`nearest.onnx`, no weights) computes `argmax_j(<query - c, row_j> + offset_j)`, where c is the rows'
mean. With offsets of -|row_j - c|^2 / 2 that is the nearest row by Euclidean distance; of unit rows the largest inner
product is, with no offsets and no c; and -inf bars a row. Sums are in single precision: of rows whose squared distances
differ by less than about 1e-6 of |query - c| |row| any may be taken, another one perhaps beside other queries.

Either way the distance is computed from the two rows, so a row's distance to itself is 0.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clipfast.errors import ShapeError
from clipfast.runtime.provider_options import CpuOptions, OpenVinoOptions, ProviderOptions, provider_options
from clipfast.runtime.session import Session, available_cores, open_packaged, open_resident
from clipfast.types import Floats, Ints

if TYPE_CHECKING:
    from clipfast.kernels.packed_rows import PackedRows

__all__ = ["Nearest", "NearestRows"]

_GRAPH = Path(__file__).resolve().parent / "nearest.onnx"
_UNIT_GRAPH = _GRAPH.with_name("nearest_unit.onnx")  # without offsets: laying zeros under a product costs a tenth
_PRODUCTS = 1 << 24  # numbers of one product: 64 MB
_UNIT = 1e-6  # of a squared length: rows that were divided by their length in float32 are within 5e-7
_ROWS_AT_A_TIME = 1 << 14
_MOST = 1e37  # of a sum of products
_sessions: dict[tuple[int, int, Path], Session] = {}  # by process and threads; a parent's are kept after a fork
_lock = threading.Lock()


@dataclass(frozen=True, slots=True, eq=False)
class Nearest:
    """The nearest row of each query.

    Attributes:
        places: Numbers of the rows, (q,) int64; of equally near ones the lowest, to rounding where a product finds it.
        distances: Euclidean distances, (q,) float32.
    """

    places: Ints
    distances: Floats


class NearestRows:
    """Rows that are searched by Euclidean distance; safe from many threads.

    Without screening the product is in single precision: rows whose distances differ by less than it can tell may stand
    for each other, which shows where rows are much longer than they are apart.

    Args:
        rows: (m, c) float32, finite, one at least; kept, not copied where they are contiguous.
        threads: Of one search; None takes the cores that this process may use.
        screening: Screen by bfloat16 products where the CPU has them (`screened` says so): from the first search on
            their words take half the memory of the rows.
        provider: "cpu", or "cuda" or `CudaOptions`: the rows are then copied to the GPU once, searched there by the
            product, and of equally near ones any may be taken. Not yet run on a GPU.

    Raises:
        ProviderError: The provider cannot run here, or its memory is too small.
        ShapeError: Wrong shape or dtype, or values that are not finite.

    >>> NearestRows(np.eye(3, dtype=np.float32)).search(np.float32([[0, 2, 1]])).places.tolist()
    [1]
    """

    def __init__(
        self,
        rows: Floats,
        *,
        threads: int | None = None,
        screening: bool = True,
        provider: str | ProviderOptions = "cpu",
    ) -> None:
        self.rows = _checked(rows, "rows", None)
        self._threads = available_cores() if threads is None else threads
        self._largest = _largest(self.rows)
        if not self._largest**2 * self.rows.shape[1] < _MOST:
            raise ShapeError(f"rows must have products within float32; got {self._largest:g} among them. Scale them.")
        self._centre = np.zeros(self.rows.shape[1], np.float32)
        squares = _squares(self.rows, self._centre)
        self._unit = bool(np.all(np.abs(squares - 1) < _UNIT))
        if not self._unit:
            self._centre = self.rows.mean(axis=0, dtype=np.float64).astype(np.float32)
            squares = _squares(self.rows, self._centre)
        self._offsets: Floats = (
            np.zeros(len(squares), np.float32) if self._unit else (-0.5 * squares).astype(np.float32)
        )
        self.screened = False
        self._packed: PackedRows | None = None
        self._device: Session | None = None
        chosen = provider_options(provider)
        if not isinstance(chosen, CpuOptions | OpenVinoOptions):
            resident: dict[str, NDArray[Any]] = {"rows": self.rows, "offsets": self._offsets}
            self._device = open_resident(_GRAPH, ["places"], resident, threads=self._threads, provider=chosen)
            return
        if screening:
            from clipfast.kernels.packed_rows import available

            self.screened = available()

    def search(self, queries: Floats, barred: NDArray[np.bool_] | None = None) -> Nearest:
        """Find the nearest row of each query.

        Args:
            queries: (q, c) float32, finite.
            barred: Rows that must not be taken, (m,); not all of them.

        Raises:
            ShapeError: Wrong shape or dtype, values that are not finite, or every row barred.
        """
        rows = self.rows
        wanted = _checked(queries, "queries", rows.shape[1])
        offsets = self._offsets
        if barred is not None:
            if barred.shape != offsets.shape or barred.dtype != np.bool_ or barred.all():
                raise ShapeError(f"barred must be {offsets.shape} booleans, one of them False; got {barred.shape}.")
            offsets = np.where(barred, np.float32(-np.inf), offsets)
        if not _largest(wanted) * self._largest * rows.shape[1] < _MOST:
            raise ShapeError(
                f"queries must have products with the rows within float32; got numbers up to {_largest(wanted):g} and "
                f"{self._largest:g}. Scale both."
            )
        if self._device is not None:
            return self._search_there(self._device, wanted, {} if barred is None else {"offsets": offsets})
        if self.screened:
            return self._screen(wanted, barred, offsets)
        return self._multiply(wanted, offsets, plain=barred is None and self._unit)

    def _screen(self, wanted: Floats, barred: NDArray[np.bool_] | None, offsets: Floats) -> Nearest:
        """Search by bfloat16, and by the product what it gives up on."""
        places = self._pack().nearest(wanted, barred).places
        left = np.flatnonzero(places < 0)
        if len(left):
            places[left] = self._multiply(wanted[left], offsets, plain=barred is None and self._unit).places
        return Nearest(places, _apart(wanted, self.rows, places))

    def _multiply(self, wanted: Floats, offsets: Floats, *, plain: bool) -> Nearest:
        """Search by one matrix product after the other; `plain` has no offsets."""
        rows = self.rows
        places = np.empty(len(wanted), np.int64)
        distances = np.empty(len(wanted), np.float32)
        session = _session(self._threads, _UNIT_GRAPH if plain else _GRAPH)
        step = max(1, _PRODUCTS // len(rows))
        for start in range(0, len(wanted), step):
            some = wanted[start : start + step]
            feeds: dict[str, NDArray[Any]] = {"queries": some if self._unit else some - self._centre, "rows": rows}
            if not plain:
                feeds["offsets"] = offsets
            found = session.run(feeds)["places"]
            places[start : start + step] = found
            distances[start : start + step] = _apart(some, rows, found)
        return Nearest(places, distances)

    def _pack(self) -> PackedRows:
        """Pack the rows when they are searched first: a memory that FAISS searches never needs them."""
        packed = self._packed
        if packed is None:  # no lock, which a fork could find taken: two threads may pack the same
            from clipfast.kernels.packed_rows import PackedRows

            packed = self._packed = PackedRows(self.rows, threads=self._threads)
        return packed

    def _search_there(self, device: Session, queries: Floats, barred: dict[str, NDArray[Any]]) -> Nearest:
        """Search on the device that holds the rows; a bar travels with each call, the rows do not."""
        places = np.empty(len(queries), np.int64)
        step = max(1, _PRODUCTS // len(self.rows))
        for start in range(0, len(queries), step):
            some = queries[start : start + step]
            moved = some if self._unit else some - self._centre
            places[start : start + step] = device.run({"queries": moved, **barred})["places"]
        return Nearest(places, _apart(queries, self.rows, places))


def _largest(rows: Floats) -> float:
    return max(float(rows.max(initial=0)), -float(rows.min(initial=0)))


def _squares(rows: Floats, centre: Floats) -> NDArray[np.float64]:
    """Squared distances of the rows from a point, summed in double precision."""
    found = np.empty(len(rows))
    for first in range(0, len(rows), _ROWS_AT_A_TIME):
        apart = rows[first : first + _ROWS_AT_A_TIME].astype(np.float64) - centre
        found[first : first + len(apart)] = np.einsum("mc,mc->m", apart, apart)
    return found


def _apart(queries: Floats, rows: Floats, places: Ints) -> Floats:
    """Distances of each query to its row."""
    apart = queries - rows[places]
    distances: Floats = np.sqrt(np.einsum("qc,qc->q", apart, apart))
    return distances


def _session(threads: int, graph: Path) -> Session:
    key = os.getpid(), threads, graph
    with _lock:
        if key not in _sessions:
            _sessions[key] = open_packaged(graph, ["places"], threads=threads)
        return _sessions[key]


def _checked(rows: Floats, name: str, channels: int | None) -> Floats:
    width = "c" if channels is None else str(channels)
    if rows.ndim != 2 or (channels is not None and rows.shape[1] != channels) or (channels is None and not rows.size):
        raise ShapeError(f"{name} must be rows (m, {width}); got {rows.shape}. Pass patches.reshape(-1, c).")
    if rows.dtype != np.float32 or not np.isfinite(rows).all():
        raise ShapeError(f"{name} must be finite float32; got {rows.dtype}, or NaN or infinity among the values.")
    return np.ascontiguousarray(rows)
