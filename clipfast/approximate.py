"""Nearest neighbours within a stated budget: FAISS proposes (IVF or HNSW over 8-bit rows), exact products decide.

An approximate index loses neighbours, and how many depends on the rows and on what is asked. So it is fitted with
held-out queries: one half chooses how much effort a search takes, the other half, which chose nothing, says what recall
that has. Where the exact scan meets the budget as well or better, it is taken, and the recall is 1.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal, TypeAlias, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

from clipfast.artifact import require_fingerprint
from clipfast.errors import ArtifactError, DataError, ProviderError, ShapeError
from clipfast.flat_faiss import load_faiss
from clipfast.index import Hits, VectorIndex
from clipfast.storage import atomic_write, load_sealed_npz, require_format, save_sealed_npz, sha256_file
from clipfast.types import Floats, Ints
from clipfast.vectors import require_ids, require_rows

__all__ = ["ApproximateIndex", "Budget", "Effort", "Kind"]

Kind: TypeAlias = Literal["ivf", "hnsw"]

FORMAT_VERSION = 1
_FAISS_NAME, _META_NAME = "index.faiss", "index.npz"
_MOST_LOOPS = 1 << 24
_reading = threading.Lock()
_FEWEST_QUERIES = 20
_LINKS = 32  # of a row of HNSW
_CONSTRUCTION = 200  # effSearch while HNSW is built
_EFFORTS = {"ivf": [1 << i for i in range(13)], "hnsw": [1 << i for i in range(4, 13)]}
_ROWS_PER_LIST = 39  # FAISS warns below
_TRAINED_PER_LIST = 256
_WIDER = 2  # candidates for each hit: their order by 8-bit rows is not quite right
_COPIES = 1 - 1e-6


@dataclass(frozen=True, slots=True)
class Budget:
    """What a search may cost, one of the first two.

    Attributes:
        recall: Share of the true `k` nearest that must be found, in (0, 1]; the fastest that reaches it is taken.
        milliseconds: Median time of one query, at most; the highest recall within it is taken.
        k: Neighbours that recall is measured on.
        kind: "ivf" is built in minutes at a million rows and takes little memory; "hnsw" takes far longer to build, and
            finds more at the same speed.
        seed: Of the rows it is trained on and of the halves of the queries.

    Raises:
        ShapeError: Not one of the two, or out of range.
    """

    recall: float | None = None
    milliseconds: float | None = None
    k: int = 10
    kind: Kind = "ivf"
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.recall is None) == (self.milliseconds is None):
            raise ShapeError(
                f"A budget is either recall or milliseconds; got {self.recall} and {self.milliseconds}. State one."
            )
        if self.recall is not None and not 0 < self.recall <= 1:
            raise ShapeError(f"recall must be in (0, 1]; got {self.recall}.")
        if self.milliseconds is not None and not self.milliseconds > 0:
            raise ShapeError(f"milliseconds must be above 0; got {self.milliseconds}.")
        if self.k < 1:
            raise ShapeError(f"k must be at least 1; got {self.k}.")
        if self.kind not in get_args(Kind):
            raise ShapeError(f"kind must be one of {', '.join(get_args(Kind))}; got {self.kind!r}.")


@dataclass(frozen=True, slots=True)
class Effort:
    """What one effort gave on the queries that choose.

    Attributes:
        effort: Lists looked into (IVF), or nodes kept in view (HNSW); 0 is the exact scan.
        recall: Share of the true k nearest.
        milliseconds: Median time of one query.
    """

    effort: int
    recall: float
    milliseconds: float


class _Meta(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    format: int
    fingerprint: str
    bytes: int
    sha256: str
    budget: Budget
    chosen: Effort
    measured: tuple[Effort, ...]
    recall: float
    recall_interval: tuple[float, float]


class ApproximateIndex:
    """An index searched within a budget; make one with `fit`. Scores are exact, neighbours may be missing.

    Rows are added and removed here, not in the exact index below. Searching from several threads is safe; changing is
    not safe beside anything else.

    Attributes:
        exact: The index of all rows.
        budget: What was asked for.
        chosen: The effort taken, and what it gave on the queries that chose it.
        measured: All efforts that were tried.
        recall: Share of the true k nearest on held-out queries that chose nothing.
        recall_interval: Where 95 % of resamples of those queries put it.
    """

    def __init__(self, exact: VectorIndex, budget: Budget) -> None:
        self.exact = exact
        self.budget = budget
        self.chosen = Effort(0, 1.0, 0.0)
        self.measured: tuple[Effort, ...] = ()
        self.recall = 1.0
        self.recall_interval = (1.0, 1.0)
        self._faiss: Any = None
        self._tagged: Ints = exact.ids.copy()  # id of each row that FAISS holds, in its order; -1 once removed

    @classmethod
    def fit(
        cls,
        exact: VectorIndex,
        queries: Floats,
        budget: Budget,
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> ApproximateIndex:
        """Build the approximate index of these rows and choose the effort that meets the budget.

        Args:
            exact: The rows.
            queries: What will be asked for, (q, e) float32, 20 at least, not rows of the index: half of them choose,
                half of them measure.
            budget: Recall, or milliseconds.
            clock: Seconds, for tests.

        Raises:
            ShapeError: Wrong shape or dtype, or too few queries.
            DataError: The index is empty, most queries are rows of it, or nothing is as fast as asked for.
            MissingExtraError: FAISS is not installed.
        """
        asked = require_rows(queries, exact.dim, what="queries")
        if len(asked) < _FEWEST_QUERIES:
            raise ShapeError(f"queries must be at least {_FEWEST_QUERIES}, to choose and to measure; got {len(asked)}.")
        if not len(exact):
            raise DataError("The index must hold rows before it is fitted; it is empty. Add them first.")
        lengths = np.maximum(np.linalg.norm(asked, axis=1), np.float32(1e-30))
        copies = int((exact.search(asked, 1).scores[:, 0] >= _COPIES * lengths).sum())
        if 2 * copies > len(asked):
            raise DataError(
                f"queries must be held out: {copies} of {len(asked)} are rows of the index, and recall on those "
                "says nothing. Pass queries that are not in it."
            )
        order = np.random.default_rng(budget.seed).permutation(len(asked))
        half = len(asked) // 2
        index = cls(exact, budget)
        index._faiss = _built(exact.rows, budget)
        index._choose(asked[order[:half]], clock)
        if not index.chosen.effort:
            index._faiss = None  # the exact scan needs none of it
        index._judge(asked[order[half:]])
        return index

    @property
    def kind(self) -> str:
        """What searches: "exact", "ivf" or "hnsw"."""
        return self.budget.kind if self.chosen.effort else "exact"

    @property
    def removed(self) -> float:
        """Share of what FAISS holds that was removed since; from about a fifth on, fit again."""
        return float(np.mean(self._tagged < 0)) if len(self._tagged) else 0.0

    def __len__(self) -> int:
        """How many rows."""
        return len(self.exact)

    def search(self, queries: Floats, k: int) -> Hits:
        """Find `k` near rows, best first; as `VectorIndex.search`, but some of the nearest may be missing."""
        if not self.chosen.effort:
            return self.exact.search(queries, k)
        return self._search(require_rows(queries, self.exact.dim, what="queries"), k, self.chosen.effort)

    def add(self, vectors: Floats, ids: Ints | None = None) -> Ints:
        """Append rows; as `VectorIndex.add`. Recall is not measured again."""
        named = self.exact.add(vectors, ids)
        if len(named):
            if self._faiss is not None:
                self._faiss.add(np.ascontiguousarray(vectors))
            self._tagged = np.concatenate([self._tagged, named])
        return named

    def remove(self, ids: Ints) -> None:
        """Remove rows by id; as `VectorIndex.remove`."""
        self.exact.remove(ids)
        self._tagged[np.isin(self._tagged, ids)] = -1

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write `index.faiss` and, sealed, `index.npz` with its checksum and what was measured, beside a bank or alone.

        Raises:
            DataError: The exact scan was chosen; there is nothing to write.
        """
        if self._faiss is None:
            raise DataError("The exact scan was chosen, so there is no approximate index to save. Save the rows alone.")
        place = Path(folder)
        with atomic_write(place / _FAISS_NAME) as temporary:
            load_faiss().write_index(self._faiss, str(temporary))
            meta = _Meta(
                format=FORMAT_VERSION,
                fingerprint=self.exact.fingerprint,
                bytes=temporary.stat().st_size,
                sha256=sha256_file(temporary),
                budget=self.budget,
                chosen=self.chosen,
                measured=self.measured,
                recall=self.recall,
                recall_interval=self.recall_interval,
            )
        text = np.array(msgspec.json.encode(meta).decode())
        save_sealed_npz(place / _META_NAME, {"tagged": self._tagged, "meta": text})

    @classmethod
    def load(cls, folder: str | os.PathLike[str], exact: VectorIndex) -> ApproximateIndex:
        """Read what `save` wrote, under FAISS's limits of size, after its checksum was compared.

        Args:
            folder: Where it lies.
            exact: The index of the same rows.

        Raises:
            ArtifactError: It is missing, damaged, or of other rows.
            ProviderError: FAISS is older than 1.14 and knows no limits.
        """
        place = Path(folder)
        arrays = load_sealed_npz(place / _META_NAME, kind="approximate index")
        try:
            require_format(str(arrays["meta"]), FORMAT_VERSION, place / _META_NAME, remedy="Fit it again.")
            meta = msgspec.json.decode(str(arrays["meta"]), type=_Meta)
            tagged = require_ids(arrays["tagged"])
        except (KeyError, msgspec.MsgspecError, ShapeError) as error:
            raise ArtifactError(f"{place / _META_NAME} is no approximate index ({error}). Fit it again.") from error
        require_fingerprint(meta.fingerprint, exact.fingerprint, what=str(place / _META_NAME))
        if not np.array_equal(np.sort(tagged[tagged >= 0]), np.sort(exact.ids)):
            raise ArtifactError(f"{place / _FAISS_NAME} is of other rows than this index. Fit it again.")
        index = cls(exact, meta.budget)
        index._faiss = _read(place / _FAISS_NAME, meta, (len(tagged), exact.dim))
        index._tagged = tagged
        index.chosen, index.measured = meta.chosen, meta.measured
        index.recall, index.recall_interval = meta.recall, meta.recall_interval
        return index

    def _search(self, queries: Floats, k: int, effort: int) -> Hits:
        scores = np.full((len(queries), k), -np.inf, np.float32)
        ids = np.full((len(queries), k), -1, np.int64)
        wide = min(len(self._tagged), max(_WIDER * k, k + 8))
        if not wide:
            return Hits(scores, ids)
        alive = self._tagged >= 0
        selector = None if alive.all() else _selector(alive)  # lives as long as it is used
        _, tags = self._faiss.search(queries, wide, params=self._parameters(max(effort, 1), wide, selector))
        for row, (query, found) in enumerate(zip(queries, tags, strict=True)):
            near = self._tagged[found[found >= 0]]
            best = self.exact.search(query[None], k, among=near)
            scores[row], ids[row] = best.scores[0], best.ids[0]
        return Hits(scores, ids)

    def _parameters(self, effort: int, wide: int, selector: Any) -> Any:
        faiss = load_faiss()
        given = {} if selector is None else {"sel": selector}
        if self.budget.kind == "ivf":
            return faiss.SearchParametersIVF(nprobe=effort, **given)
        return faiss.SearchParametersHNSW(efSearch=max(effort, wide), **given)

    def _choose(self, queries: Floats, clock: Callable[[], float]) -> None:
        """Try efforts from the smallest on, and take the one that the budget wants, the exact scan among them."""
        k, budget = self.budget.k, self.budget
        truth = self.exact.search(queries, k)
        exact = Effort(0, 1.0, _median_ms(queries, lambda query: self.exact.search(query, k), clock))
        tried: list[Effort] = []
        for effort in self._efforts():
            hits = self._search(queries, k, effort)
            took = _median_ms(queries, lambda query, effort=effort: self._search(query, k, effort), clock)  # type: ignore[misc]  # mypy infers no lambda with a default
            tried.append(Effort(effort, float(_found(hits, truth).mean()), took))
            if budget.milliseconds is not None and took > budget.milliseconds:
                break
            if took > exact.milliseconds or tried[-1].recall >= (budget.recall or 1.0):
                break
        self.measured = (exact, *tried)
        if budget.recall is not None:
            good = [each for each in self.measured if each.recall >= budget.recall]
            self.chosen = min(good, key=lambda each: each.milliseconds)
            return
        quick = [each for each in self.measured if each.milliseconds <= (budget.milliseconds or 0.0)]
        if not quick:
            best = min(self.measured, key=lambda each: each.milliseconds)
            raise DataError(
                f"Nothing takes at most {budget.milliseconds:g} ms: the fastest, {budget.kind} with effort "
                f"{best.effort}, took {best.milliseconds:.3g} ms and found {best.recall:.1%}. Allow more time, or "
                "search fewer rows."
            )
        self.chosen = max(quick, key=lambda each: (each.recall, -each.milliseconds))

    def _efforts(self) -> list[int]:
        most = self._faiss.nlist if self.budget.kind == "ivf" else len(self.exact)
        efforts = [effort for effort in _EFFORTS[self.budget.kind] if effort < most]
        return [*efforts, int(most)] if self.budget.kind == "ivf" else efforts or [int(most)]

    def _judge(self, queries: Floats) -> None:
        """Measure recall on queries that chose nothing."""
        truth = self.exact.search(queries, self.budget.k)
        shares = _found(self.search(queries, self.budget.k), truth)
        draws = np.random.default_rng(self.budget.seed).integers(0, len(shares), (2000, len(shares)))
        low, high = np.percentile(shares[draws].mean(axis=1), (2.5, 97.5))
        self.recall, self.recall_interval = float(shares.mean()), (float(low), float(high))


def _read(file: Path, meta: _Meta, shape: tuple[int, int]) -> Any:
    """Let FAISS read a file that is the one that was written, within limits that hold for it."""
    faiss = load_faiss()
    if not hasattr(faiss, "set_deserialization_vector_byte_limit"):
        raise ProviderError("Reading an approximate index needs faiss 1.14 or newer, which bounds what it reads.")
    if not file.is_file() or file.stat().st_size != meta.bytes or sha256_file(file) != meta.sha256:
        raise ArtifactError(f"{file} is missing, or is not the file that was written. Fit it again.")
    with _reading:  # the limits are of the whole process
        most, loops = faiss.get_deserialization_vector_byte_limit(), faiss.get_deserialization_loop_limit()
        faiss.set_deserialization_vector_byte_limit(meta.bytes)
        faiss.set_deserialization_loop_limit(_MOST_LOOPS)
        try:
            index = faiss.read_index(str(file))
        except RuntimeError as error:
            raise ArtifactError(
                f"{file} is not readable by FAISS ({str(error).splitlines()[-1]}). Fit it again."
            ) from error
        finally:
            faiss.set_deserialization_vector_byte_limit(most)
            faiss.set_deserialization_loop_limit(loops)
    if (index.ntotal, index.d) != shape:
        raise ArtifactError(
            f"{file} holds {index.ntotal:,} rows of {index.d}; it must hold {shape[0]:,} of {shape[1]}."
        )
    return index


def _found(hits: Hits, truth: Hits) -> NDArray[np.float64]:
    """Share of the true neighbours found, of each query; one that is as near as the last true one counts."""
    wanted = (truth.ids >= 0).sum(axis=1)
    last = np.take_along_axis(truth.scores, np.maximum(wanted - 1, 0)[:, None], axis=1)
    right = ((hits.scores >= last) & (hits.ids >= 0)).sum(axis=1)
    shares: NDArray[np.float64] = np.minimum(right, wanted) / np.maximum(wanted, 1)
    return shares


def _median_ms(queries: Floats, search: Callable[[Floats], object], clock: Callable[[], float]) -> float:
    times = []
    for row in range(len(queries)):
        start = clock()
        search(queries[row : row + 1])
        times.append(1e3 * (clock() - start))
    return median(times)


def _built(rows: Floats, budget: Budget) -> Any:
    """Train and fill FAISS's index."""
    faiss = load_faiss()
    count, dim = rows.shape
    lists = max(1, min(int(4 * np.sqrt(count)), count // _ROWS_PER_LIST))
    form = f"IVF{lists},SQ8" if budget.kind == "ivf" else f"HNSW{_LINKS},SQ8"
    index = faiss.index_factory(dim, form, faiss.METRIC_INNER_PRODUCT)
    if budget.kind == "hnsw":
        index.hnsw.efConstruction = _CONSTRUCTION
    sample = min(count, max(_TRAINED_PER_LIST * lists, 1 << 14))
    some = np.sort(np.random.default_rng(budget.seed).choice(count, sample, replace=False))
    index.train(np.ascontiguousarray(rows[some]))
    for first in range(0, count, 1 << 16):  # a mapped file is not read into memory at once
        index.add(np.ascontiguousarray(rows[first : first + (1 << 16)]))
    return index


def _selector(alive: NDArray[np.bool_]) -> Any:
    return load_faiss().IDSelectorBitmap(np.packbits(alive, bitorder="little"))
