"""Exact nearest neighbours by inner product over FAISS; the only file that imports it.

FAISS holds the rows; this file adds what it leaves open: checked input, ids of one's own, an order of ties that does
not depend on its heap, and a file that is plain arrays instead of FAISS's own format (rebuilt when loaded, so no
foreign deserialiser reads a user's file).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from clipfast.artifact import require_fingerprint
from clipfast.errors import ArtifactError, DataError, MissingExtraError, ProviderError, ShapeError
from clipfast.storage import load_sealed_npz, save_sealed_npz
from clipfast.types import Floats, Ints

__all__ = ["Hits", "VectorIndex", "require_rows", "require_unit_rows"]

FORMAT_VERSION = 1
NORM_TOLERANCE = 1e-3
# Large batches (how large depends on FAISS's version: from 20 queries in older ones) are multiplied by BLAS, whose last
# bits depend on the batch and on where a row stands: equal rows were measured to score differently. Small ones are not.
_MOST_HITS = 1 << 28
_QUERIES_PER_CALL = 16
_ROWS_PER_CHECK = 1 << 16
_WIDEST_ON_GPU = 2048  # of FAISS's GPU selection


@dataclass(frozen=True, slots=True)
class Hits:
    """The `k` nearest rows of each query, best first; equal scores stand in the order of their ids.

    Attributes:
        scores: Inner products, (q, k) float32; -inf beyond the end of the index.
        ids: Ids of the rows, (q, k) int64; -1 beyond the end of the index.
    """

    scores: Floats
    ids: Ints


class _Meta(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: int
    fingerprint: str


class VectorIndex:
    """Unit rows with ids, searched exactly by inner product.

    Searching from several threads is safe; adding and removing is not safe beside anything else.

    Args:
        dim: Width of the rows.
        fingerprint: Identity of the vectors, kept in the file; empty when there is none.
        gpu: Which GPU holds the rows, from 0; None is the CPU. Needs faiss-gpu; not yet run on a GPU.

    Raises:
        ProviderError: The installed faiss knows no GPUs, or there is no such GPU.

    >>> index = VectorIndex(4)
    >>> index.add(np.eye(4, dtype=np.float32))
    array([0, 1, 2, 3])
    >>> index.search(np.eye(4, dtype=np.float32)[2:3], 1).ids
    array([[2]])
    """

    def __init__(self, dim: int, *, fingerprint: str = "", gpu: int | None = None) -> None:
        if dim < 1:
            raise ShapeError(f"dim must be at least 1; got {dim}. Pass the width of the embeddings.")
        self.dim = dim
        self.fingerprint = fingerprint
        self._ids: Ints = np.empty(0, dtype=np.int64)
        flat = _faiss().IndexFlatIP(dim)
        self._widest = 1 << 62 if gpu is None else _WIDEST_ON_GPU
        self._resources: Any = None
        self._flat = flat
        if gpu is not None:
            self._resources, self._flat = _on_gpu(flat, gpu)

    def __len__(self) -> int:
        """How many rows it holds."""
        return int(self._flat.ntotal)

    def add(self, vectors: Floats, ids: Ints | None = None) -> Ints:
        """Append rows.

        Args:
            vectors: Unit rows, (n, e) float32.
            ids: Their ids, (n,) int64, not negative, not in use; None continues after the highest.

        Returns:
            The ids of the rows, (n,) int64.

        Raises:
            ShapeError: Wrong shape or dtype, values that are not finite, or rows that are not of unit length.
            DataError: An id is negative, comes twice, or is in use.
        """
        rows = require_unit_rows(vectors, self.dim, what="vectors")
        named = self._next_ids(len(rows)) if ids is None else self._check_ids(ids, len(rows))
        if len(rows):
            self._flat.add(rows)
            self._ids = np.concatenate([self._ids, named])
        return named

    def search(self, queries: Floats, k: int) -> Hits:
        """Find the `k` rows with the highest inner product.

        Args:
            queries: Rows of any length, (q, e) float32.
            k: How many, at least 1; more than the index holds is filled with id -1 and score -inf.

        Raises:
            ShapeError: Wrong shape or dtype, values that are not finite, `k` no integer or below 1, or an answer of
                more than 268 million hits (3 GB).
        """
        rows = require_rows(queries, self.dim, what="queries")
        if not isinstance(k, int | np.integer) or k < 1:
            raise ShapeError(f"k must be an integer of at least 1; got {k!r}.")
        if len(rows) * k > _MOST_HITS:
            raise ShapeError(
                f"queries x k must be at most {_MOST_HITS:,}; got {len(rows):,} x {k:,}. "
                f"Ask for at most the {len(self):,} rows of the index, or in several calls."
            )
        scores = np.full((len(rows), k), -np.inf, dtype=np.float32)
        ids = np.full((len(rows), k), -1, dtype=np.int64)
        found = min(k, len(self))
        if found:
            for start in range(0, len(rows), _QUERIES_PER_CALL):
                part = slice(start, start + _QUERIES_PER_CALL)
                scores[part, :found], ids[part, :found] = self._nearest(rows[part], found)
        return Hits(scores, ids)

    def remove(self, ids: Ints) -> None:
        """Remove rows by id; the others keep theirs.

        Raises:
            ShapeError: `ids` is not one row of int64.
            DataError: An id is not in the index; nothing is removed then.
        """
        wanted = _require_ids(ids)
        if len(missing := np.setdiff1d(wanted, self._ids)):
            raise DataError(f"ids must be in the index; {_some(missing)} are not. It holds {len(self):,} rows.")
        keep = ~np.isin(self._ids, wanted)
        rows = self._rows()[keep]
        self._flat.reset()
        self._flat.add(rows)
        self._ids = self._ids[keep]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write vectors, ids and the fingerprint as a sealed .npz; equal content gives equal bytes."""
        meta = msgspec.json.encode(_Meta(FORMAT_VERSION, self.fingerprint)).decode()
        save_sealed_npz(Path(path), {"vectors": self._rows(), "ids": self._ids, "meta": np.array(meta)})

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], *, fingerprint: str | None = None, gpu: int | None = None
    ) -> VectorIndex:
        """Read what `save` wrote and build the FAISS index again.

        Args:
            path: The file.
            fingerprint: Identity that the vectors must have; None accepts any.
            gpu: Which GPU is to hold the rows; None is the CPU.

        Raises:
            ArtifactError: The file is missing, damaged or no index.
            FingerprintError: It holds another model's vectors.
        """
        file = Path(path)
        arrays = load_sealed_npz(file, kind="index")
        try:
            meta = msgspec.json.decode(str(arrays["meta"]), type=_Meta)
            vectors = arrays["vectors"]
            index = cls(vectors.shape[-1] if vectors.ndim else 1, fingerprint=meta.fingerprint, gpu=gpu)
            index.add(vectors, arrays["ids"])
        except (KeyError, msgspec.MsgspecError, ShapeError, DataError) as error:
            raise ArtifactError(f"{file} is not a readable index ({error}). Save it again.") from error
        if meta.format != FORMAT_VERSION:
            raise ArtifactError(f"{file} has format {meta.format}; this clipfast reads format {FORMAT_VERSION}.")
        if fingerprint is not None:
            require_fingerprint(index.fingerprint, fingerprint, what=str(file))
        return index

    def _nearest(self, queries: Floats, k: int) -> tuple[Floats, Ints]:
        """Best `k` by (score, lowest id); looks further while the last place is tied with what may come after it."""
        wide = min(len(self), k + 8)
        while True:
            if wide > self._widest:
                raise ShapeError(
                    f"On a GPU faiss finds at most {self._widest:,} rows, and {wide:,} are needed to tell equal scores "
                    "apart. Ask for fewer, or build the index on the CPU (gpu=None)."
                )
            scores, places = self._flat.search(queries, wide)
            if wide == len(self) or bool(np.all(scores[:, k - 1] > scores[:, -1])):
                break
            wide = min(len(self), 2 * wide)
        ids = self._ids[places]
        order = np.lexsort((ids, -scores))[:, :k]
        return np.take_along_axis(scores, order, axis=1), np.take_along_axis(ids, order, axis=1)

    def _rows(self) -> Floats:
        rows: Floats = self._flat.reconstruct_n(0, len(self)) if len(self) else np.empty((0, self.dim), np.float32)
        return rows

    def _next_ids(self, count: int) -> Ints:
        first = int(self._ids.max()) + 1 if len(self._ids) else 0
        return np.arange(first, first + count, dtype=np.int64)

    def _check_ids(self, ids: Ints, count: int) -> Ints:
        named = _require_ids(ids)
        if len(named) != count:
            raise ShapeError(f"ids must name each of the {count} rows; got {len(named)}.")
        if len(negative := named[named < 0]):
            raise DataError(f"ids must not be negative; got {_some(negative)}. -1 marks an empty place.")
        unique, times = np.unique(named, return_counts=True)
        if len(twice := unique[(times > 1) | np.isin(unique, self._ids)]):
            raise DataError(f"ids must be unique; {_some(twice)} come twice or are in use. Remove the old rows first.")
        return named


def require_rows(vectors: Floats, dim: int, *, what: str) -> Floats:
    """Return `vectors` as C-contiguous rows after checking that they are finite, (n, dim) and float32.

    Raises:
        ShapeError: They are not; the message says what must be, what came, and what to do.
    """
    if not isinstance(vectors, np.ndarray) or vectors.ndim != 2:
        got = str(vectors.shape) if isinstance(vectors, np.ndarray) else type(vectors).__name__
        raise ShapeError(f"{what} must be an array (n, {dim}); got {got}. Pass one row per item, x[None] for one.")
    if vectors.shape[1] != dim:
        raise ShapeError(
            f"{what} must be (n, {dim}); got {vectors.shape}. Encode them with the model that made the other side."
        )
    if vectors.dtype != np.float32:
        raise ShapeError(f"{what} must be float32; got {vectors.dtype}. Pass x.astype(np.float32).")
    for start in range(0, len(vectors), _ROWS_PER_CHECK):
        finite = np.isfinite(vectors[start : start + _ROWS_PER_CHECK]).all(axis=1)
        if not finite.all():
            row = start + int(np.argmin(finite))
            raise ShapeError(f"{what} must be finite; row {row} holds NaN or infinity. Find out where it comes from.")
    return np.ascontiguousarray(vectors)


def require_unit_rows(vectors: Floats, dim: int, *, what: str) -> Floats:
    """Return `vectors` as C-contiguous rows after checking that they are finite unit rows, (n, dim) float32.

    Raises:
        ShapeError: They are not; the message says what must be, what came, and what to do.
    """
    rows = require_rows(vectors, dim, what=what)
    for start in range(0, len(rows), _ROWS_PER_CHECK):
        part = rows[start : start + _ROWS_PER_CHECK]
        norms = np.sqrt(np.einsum("ne,ne->n", part, part))
        wrong = np.abs(norms - 1) > NORM_TOLERANCE
        if wrong.any():
            row = int(np.argmax(wrong))
            raise ShapeError(
                f"{what} must have unit rows; row {start + row} has length {norms[row]:.4g}. "
                "Pass x / np.linalg.norm(x, axis=1, keepdims=True)."
            )
    return rows


def _require_ids(ids: Ints) -> Ints:
    if not isinstance(ids, np.ndarray) or ids.ndim != 1 or ids.dtype != np.int64:
        got = f"{ids.shape} {ids.dtype}" if isinstance(ids, np.ndarray) else type(ids).__name__
        raise ShapeError(f"ids must be one row of int64, (n,); got {got}. Pass np.asarray(ids, dtype=np.int64).")
    return ids


def _some(values: NDArray[Any]) -> str:
    shown = ", ".join(str(value) for value in values[:5])
    return f"{shown}, …" if len(values) > 5 else shown


def _on_gpu(flat: Any, gpu: int) -> tuple[Any, Any]:
    """Return FAISS's resources, which must live as long as the index, and the index on the GPU."""
    faiss = _faiss()
    if not hasattr(faiss, "StandardGpuResources"):
        raise ProviderError(
            "The installed faiss knows no GPUs. Install it: pip uninstall -y faiss-cpu && pip install 'clipfast[gpu]', "
            "or use gpu=None."
        )
    count = faiss.get_num_gpus()
    if not 0 <= gpu < count:
        raise ProviderError(
            f"gpu must be below {count}, the GPUs that faiss sees; got {gpu}. Use gpu=None for the CPU."
        )
    resources = faiss.StandardGpuResources()
    return resources, faiss.index_cpu_to_gpu(resources, gpu, flat)


def _faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise MissingExtraError.of("faiss", extra="cpu") from error
    return faiss
