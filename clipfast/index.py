"""Exact nearest neighbours by inner product: an index of unit rows with ids of one's own.

On a CPU the rows are scanned by `kernels.screening`: 8-bit codes first, then exactly what may be among the best. So a
score is the product summed in double precision and rounded once, and equal scores stand in the order of their ids,
however many queries or threads there are. On a GPU, and for what is approximate, FAISS searches (`approximate.py`);
this is the only file that imports it. A file is plain arrays, so no foreign deserialiser reads a user's file.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from clipfast.artifact import require_fingerprint
from clipfast.errors import ArtifactError, DataError, ProviderError, ShapeError
from clipfast.flat_faiss import on_gpu
from clipfast.storage import load_sealed_npz, save_sealed_npz
from clipfast.types import Floats, Ints
from clipfast.vectors import require_ids, require_rows, require_unit_rows, some

if TYPE_CHECKING:
    from clipfast.kernels.row_store import RowStore
    from clipfast.kernels.screening import RowCodes

__all__ = ["Hits", "Selection", "VectorIndex", "require_rows", "require_unit_rows"]

FORMAT_VERSION = 1
_MOST_HITS = 1 << 28
_QUERIES_PER_CALL = 16  # of a GPU
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


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """Rows of one index that a search may answer with; made by `VectorIndex.select`, for as many searches as one likes.

    Attributes:
        places: Where the rows stand, ascending, (s,) int64.
        state: What the index was when they were chosen.
    """

    places: Ints
    state: object

    def __len__(self) -> int:
        """How many rows."""
        return len(self.places)


class _Meta(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: int
    fingerprint: str


class VectorIndex:
    """Unit rows with ids, searched exactly by inner product.

    Searching from several threads is safe; adding and removing is not safe beside anything else.

    Args:
        dim: Width of the rows.
        fingerprint: Identity of the vectors, kept in the file; empty when there is none.
        gpu: Which GPU searches the rows, from 0; None is the CPU. Needs faiss-gpu; not yet run on a GPU.
        screening: Whether to keep 8-bit codes beside the rows: a quarter more memory, for searches that read a quarter
            of the bytes. Answers are the same without.
        threads: That share a search; None takes the cores of this process.

    Raises:
        ProviderError: The installed faiss knows no GPUs, or there is no such GPU.

    >>> index = VectorIndex(4)
    >>> index.add(np.eye(4, dtype=np.float32))
    array([0, 1, 2, 3])
    >>> index.search(np.eye(4, dtype=np.float32)[2:3], 1).ids
    array([[2]])
    >>> index.search(np.eye(4, dtype=np.float32)[2:3], 1, among=np.array([0, 1])).ids
    array([[0]])
    """

    def __init__(
        self,
        dim: int,
        *,
        fingerprint: str = "",
        gpu: int | None = None,
        screening: bool = True,
        threads: int | None = None,
    ) -> None:
        if dim < 1:
            raise ShapeError(f"dim must be at least 1; got {dim}. Pass the width of the embeddings.")
        self.dim = dim
        self.fingerprint = fingerprint
        self._flat: Any = None
        if gpu is not None:
            self._resources, self._flat = on_gpu(lambda faiss: faiss.IndexFlatIP(dim), gpu)
        self._screening = screening and gpu is None
        self._threads = threads
        self._set(np.empty((0, dim), np.float32), np.empty(0, np.int64), None)

    @classmethod
    def over(
        cls,
        rows: Floats,
        *,
        fingerprint: str = "",
        codes: RowCodes | None = None,
        screening: bool = True,
    ) -> VectorIndex:
        """Search rows where they are, such as in a mapped file, neither copied nor checked; ids are their numbers.

        Args:
            rows: Unit rows, (n, e) float32, C-contiguous, known to be right and not changed as long as the index lives.
            fingerprint: As for an empty index.
            codes: Their codes, if they are there already.
            screening: As for an empty index.
        """
        index = cls(rows.shape[1], fingerprint=fingerprint, screening=screening)
        # Views, which adding and removing never write to: the rows are the caller's.
        seen = None if codes is None else replace(codes, codes=codes.codes.view(), facts=codes.facts.view())
        index._set(rows.view(), np.arange(len(rows), dtype=np.int64), seen)
        return index

    def __len__(self) -> int:
        """How many rows it holds."""
        return len(self._ids)

    @property
    def ids(self) -> Ints:
        """Ids of all rows in the order in which they stand, (n,) int64, not to be written."""
        shown = self._ids.view()
        shown.flags.writeable = False
        return shown

    @property
    def rows(self) -> Floats:
        """All rows in that order, (n, e) float32, not to be written; adding and removing moves them."""
        return self._store.rows

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
            if self._flat is not None:
                self._flat.add(rows)
            self._store.append(rows)
            self._name(np.concatenate([self._ids, named]))
        return named

    def search(self, queries: Floats, k: int, among: Ints | NDArray[np.bool_] | Selection | None = None) -> Hits:
        """Find the `k` rows with the highest inner product.

        Args:
            queries: Rows of any length, (q, e) float32.
            k: How many, at least 1; more than there are is filled with id -1 and score -inf.
            among: Which rows may be given: ids, (s,) int64; or booleans in the order of `ids`, (n,); or what `select`
                made of either. None is all.

        Raises:
            ShapeError: Wrong shape or dtype, values that are not finite, `k` no integer or below 1, or an answer of
                more than 268 million hits (3 GB).
            DataError: An id of `among` is not in the index, or the selection was made before rows were removed.
            ProviderError: Among some rows, on a GPU.
        """
        rows = require_rows(queries, self.dim, what="queries")
        if not isinstance(k, int | np.integer) or k < 1:
            raise ShapeError(f"k must be an integer of at least 1; got {k!r}.")
        if len(rows) * k > _MOST_HITS:
            raise ShapeError(
                f"queries x k must be at most {_MOST_HITS:,}; got {len(rows):,} x {k:,}. "
                f"Ask for at most the {len(self):,} rows of the index, or in several calls."
            )
        if self._flat is not None:
            return self._searchon_gpu(rows, int(k), among)
        places = None if among is None else self.select(among).places
        best = self._store.best(rows, int(k), places, self._names)
        found = best.places if self._plain else self._ids[best.places]
        return _filled(best.scores, found, len(rows), int(k))

    def select(self, among: Ints | NDArray[np.bool_] | Selection) -> Selection:
        """Choose rows for many searches, so that ids are looked up once.

        Args:
            among: As in `search`; ids may come twice. Rows that are added later are not among them.

        Raises:
            ShapeError: Neither ids nor booleans of the right length.
            DataError: An id is not in the index, or rows were removed since the selection was made.
        """
        if isinstance(among, Selection):
            if among.state is not self._state:
                raise DataError(
                    "The selection must be of this index as it is; rows were removed since, or it is another's. "
                    "Select again."
                )
            return among
        if isinstance(among, np.ndarray) and among.dtype == np.bool_:
            if among.shape != (len(self),):
                raise ShapeError(f"among must have one boolean for each of the {len(self):,} rows; got {among.shape}.")
            return Selection(np.flatnonzero(among), self._state)
        return Selection(self._places_of(require_ids(among)), self._state)

    def remove(self, ids: Ints) -> None:
        """Remove rows by id; the others keep theirs.

        Raises:
            ShapeError: `ids` is not one row of int64.
            DataError: An id is not in the index; nothing is removed then.
        """
        keep = np.ones(len(self), np.bool_)
        keep[self._places_of(require_ids(ids))] = False
        self._store.keep(keep)
        self._name(self._ids[keep])
        self._state = object()
        if self._flat is not None:
            self._flat.reset()
            self._flat.add(self._store.rows)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write vectors, ids and the fingerprint as a sealed .npz; equal content gives equal bytes."""
        meta = msgspec.json.encode(_Meta(FORMAT_VERSION, self.fingerprint)).decode()
        save_sealed_npz(Path(path), {"vectors": self._store.rows, "ids": self._ids, "meta": np.array(meta)})

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], *, fingerprint: str | None = None, gpu: int | None = None
    ) -> VectorIndex:
        """Read what `save` wrote.

        Args:
            path: The file.
            fingerprint: Identity that the vectors must have; None accepts any.
            gpu: Which GPU is to search the rows; None is the CPU.

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

    def _set(self, rows: Floats, ids: Ints, codes: RowCodes | None) -> None:
        from clipfast.kernels.row_store import RowStore

        self._store: RowStore = RowStore(rows, codes=codes, screened=self._screening, threads=self._threads)
        self._state = object()
        self._name(ids)

    def _name(self, ids: Ints) -> None:
        """Take the rows' ids, and note what spares looking at them: their own order, or being mere numbers."""
        self._ids = ids
        ascending = bool((ids[1:] > ids[:-1]).all())
        self._plain = ascending and (not len(ids) or int(ids[-1]) == len(ids) - 1)
        self._names = None if ascending else ids
        self._order: Ints | None = None

    def _places_of(self, wanted: Ints) -> Ints:
        """Return where these ids stand, ascending, each once."""
        unique = np.unique(wanted)
        if self._names is None:
            places = unique if self._plain else np.searchsorted(self._ids, unique)
        else:
            if self._order is None:
                self._order = np.argsort(self._ids)
            at = np.searchsorted(self._ids, unique, sorter=self._order)
            places = self._order[np.minimum(at, len(self) - 1)] if len(self) else at
        inside = (places >= 0) & (places < len(self))
        known = inside.copy()
        known[inside] = self._ids[places[inside]] == unique[inside]
        if not known.all():
            raise DataError(f"ids must be in the index; {some(unique[~known])} are not. It holds {len(self):,} rows.")
        return places if self._names is None else np.sort(places)

    def _searchon_gpu(self, queries: Floats, k: int, among: object) -> Hits:
        if among is not None:
            raise ProviderError("A search among some rows runs on the CPU. Build the index there (gpu=None).")
        wanted = min(k, len(self))
        scores = np.empty((len(queries), wanted), np.float32)
        ids = np.empty((len(queries), wanted), np.int64)
        if wanted:
            for start in range(0, len(queries), _QUERIES_PER_CALL):
                part = slice(start, start + _QUERIES_PER_CALL)
                scores[part], ids[part] = self._nearest(queries[part], wanted)
        return _filled(scores, ids, len(queries), k)

    def _nearest(self, queries: Floats, k: int) -> tuple[Floats, Ints]:
        """Best `k` by (score, lowest id); looks further while the last place is tied with what may come after it."""
        wide = min(len(self), k + 8)
        while True:
            if wide > _WIDEST_ON_GPU:
                raise ShapeError(
                    f"On a GPU faiss finds at most {_WIDEST_ON_GPU:,} rows, and {wide:,} are needed to tell equal "
                    "scores apart. Ask for fewer, or build the index on the CPU (gpu=None)."
                )
            scores, places = self._flat.search(queries, wide)
            if wide == len(self) or bool(np.all(scores[:, k - 1] > scores[:, -1])):
                break
            wide = min(len(self), 2 * wide)
        ids = self._ids[places]
        order = np.lexsort((ids, -scores))[:, :k]
        return np.take_along_axis(scores, order, axis=1), np.take_along_axis(ids, order, axis=1)

    def _next_ids(self, count: int) -> Ints:
        first = int(self._ids.max()) + 1 if len(self._ids) else 0
        return np.arange(first, first + count, dtype=np.int64)

    def _check_ids(self, ids: Ints, count: int) -> Ints:
        named = require_ids(ids)
        if len(named) != count:
            raise ShapeError(f"ids must name each of the {count} rows; got {len(named)}.")
        if len(negative := named[named < 0]):
            raise DataError(f"ids must not be negative; got {some(negative)}. -1 marks an empty place.")
        unique, times = np.unique(named, return_counts=True)
        if len(twice := unique[(times > 1) | np.isin(unique, self._ids)]):
            raise DataError(f"ids must be unique; {some(twice)} come twice or are in use. Remove the old rows first.")
        return named


def _filled(scores: Floats, ids: Ints, queries: int, k: int) -> Hits:
    """Make the answer `k` wide."""
    found = scores.shape[1]
    if found == k:
        return Hits(scores, ids)
    all_scores = np.full((queries, k), -np.inf, dtype=np.float32)
    all_ids = np.full((queries, k), -1, dtype=np.int64)
    all_scores[:, :found], all_ids[:, :found] = scores, ids
    return Hits(all_scores, all_ids)
