"""Search beside FAISS and NumPy: `python -m benchmarks.search [NAME ...]`.

Names: call, bank, filtered, batch, patches, budget; all without. Rows are written to `benchmarks/results/search.json`
and into docs/search.md one by one, but for those during which other programs took more than a twentieth of the cores'
time: of such a row the run before stays. `--tiny` runs every case on a few hundred rows, for its answers only;
`--render` renders what is stored; `--hnsw` also fits HNSW, which takes long; `--rows N` is the size of the large bank.

Rows are unit rows around common directions, as embeddings are; queries are drawn in the same way and not among them.
FAISS is asked with its own settings and with those that suit it best here (threads, threshold of its matrix product,
kind of selector); its index and ours are built before the clock starts.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

THREADS = len(os.sched_getaffinity(0))
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, str(THREADS))  # before any library reads it

from benchmarks.blas import choose_kernels  # noqa: E402  # after the numbers of threads

choose_kernels()

import numpy as np  # noqa: E402  # after the numbers of threads

from benchmarks import stored  # noqa: E402  # after the numbers of threads
from benchmarks.quiet import wait_until_quiet  # noqa: E402  # after the numbers of threads
from benchmarks.race import Case, machine  # noqa: E402  # after the numbers of threads
from clipfast.approximate import ApproximateIndex, Budget  # noqa: E402  # after the numbers of threads
from clipfast.index import VectorIndex  # noqa: E402  # after the numbers of threads
from clipfast.retrieval import BankModel, FabricBank, References  # noqa: E402  # after the numbers of threads
from clipfast.runtime.nearest import NearestRows  # noqa: E402  # after the numbers of threads
from clipfast.types import Floats, Ints  # noqa: E402  # after the numbers of threads

RESULTS = Path(__file__).resolve().parent / "results" / "search.json"
PACKAGES = ("clipfast", "numpy", "numba", "faiss-cpu", "onnxruntime")
K, DIM = 10, 512
_LARGE = 1_000_000
Answer = tuple[Floats, Ints]


def unit_rows(count: int, dim: int, seed: int) -> Floats:
    """Rows around 1,000 directions that have a common mean, in parts, so that a million fit."""
    middles = np.random.default_rng(7).standard_normal((1000, dim)).astype(np.float32) + np.float32(0.8)
    rng = np.random.default_rng(seed)
    rows = np.empty((count, dim), np.float32)
    for first in range(0, count, 1 << 15):
        part = rows[first : first + (1 << 15)]
        part[:] = middles[rng.integers(0, len(middles), len(part))]
        part += 1.2 * rng.standard_normal(part.shape, dtype=np.float32)
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return rows


class Bank:
    """Rows with their indexes, made once for several cases."""

    def __init__(self, count: int, dim: int = DIM) -> None:
        import faiss

        self.faiss = faiss
        self.rows = unit_rows(count, dim, 0)
        self.queries = unit_rows(32, dim, 1)
        self.ours = VectorIndex.over(self.rows)
        self.without = VectorIndex.over(self.rows, screening=False)
        self.flat = faiss.IndexFlatIP(dim)
        self.flat.add(self.rows)
        self.threshold = faiss.cvar.distance_compute_blas_threshold

    def by_ours(self, queries: Floats, among: Any = None) -> Answer:
        """Search our index."""
        hits = self.ours.search(queries, K, among=among)
        return hits.scores, hits.ids

    def without_codes(self, queries: Floats) -> Answer:
        """Search it where it keeps no codes."""
        hits = self.without.search(queries, K)
        return hits.scores, hits.ids

    def by_faiss(self, queries: Floats, *, threads: int, threshold: int | None = None, params: Any = None) -> Answer:
        """Search FAISS's flat index with these settings."""
        self.faiss.omp_set_num_threads(threads)
        self.faiss.cvar.distance_compute_blas_threshold = threshold or self.threshold
        scores, ids = self.flat.search(queries, K, params=params)
        return scores, ids

    def by_numpy(self, queries: Floats, places: Ints | None = None) -> Answer:
        """Matrix product, the best, sorted."""
        products = queries @ (self.rows if places is None else self.rows[places]).T
        best = np.argpartition(-products, K - 1, axis=1)[:, :K]
        scores = np.take_along_axis(products, best, axis=1)
        order = np.argsort(-scores, axis=1, kind="stable")
        found = np.take_along_axis(best, order, axis=1)
        return np.take_along_axis(scores, order, axis=1), found if places is None else places[found]


def one_by_one(search: Callable[[Floats], Answer], queries: Floats) -> Callable[[], Answer]:
    """Several calls of one query each."""

    def run() -> Answer:
        pairs = [search(queries[i : i + 1]) for i in range(len(queries))]
        return np.concatenate([scores for scores, _ in pairs]), np.concatenate([ids for _, ids in pairs])

    return run


def agree(answers: Mapping[str, Any]) -> dict[str, float]:
    """Every score within 2e-5 of ours, which is exact, and the same ids but where scores are that near."""
    scores, ids = answers["clipfast"]
    largest, different = 0.0, 0
    for other_scores, other_ids in answers.values():
        gap = float(np.abs(other_scores - scores).max())
        if gap > 2e-5:
            raise AssertionError(f"scores differ by {gap}")
        largest, different = max(largest, gap), max(different, int((other_ids != ids).sum()))
    if different > 0.02 * ids.size:
        raise AssertionError(f"{different} of {ids.size} ids differ")
    return {"largest difference of a score": largest, "ids in another place": different}


def bank_cases(sizes: list[int]) -> Iterator[tuple[Case, int]]:
    """One query at a time; with the bytes that a query has to read at least."""
    for count in sizes:
        bank, asked = Bank(count), 8
        queries = bank.queries[:asked]
        contenders = {
            "clipfast": one_by_one(bank.by_ours, queries),
            "clipfast without codes": one_by_one(bank.without_codes, queries),
            "FAISS flat": one_by_one(partial(bank.by_faiss, threads=THREADS), queries),
            "FAISS flat, matrix product": one_by_one(partial(bank.by_faiss, threads=THREADS, threshold=1), queries),
            "FAISS flat, 1 thread": one_by_one(partial(bank.by_faiss, threads=1), queries),
            "NumPy": one_by_one(bank.by_numpy, queries),
        }
        musts = {"FAISS flat": 1.5, "FAISS flat, matrix product": 1.5, "FAISS flat, 1 thread": 1.5}
        if count >= _LARGE:  # a NumPy product of fewer rows is nearer to what memory gives
            musts["NumPy"] = 2.5
        yield Case(f"{asked} calls of one query x {count:,} x {DIM}", contenders, agree, musts), count * DIM * asked


def filtered_cases(sizes: list[int]) -> Iterator[tuple[Case, int]]:
    """One query at a time among a tenth of the rows, in no pattern; selectors are made before."""
    for count in sizes:
        bank, asked = Bank(count), 8
        queries = bank.queries[:asked]
        mask = np.random.default_rng(3).random(count) < 0.1
        ids = np.flatnonzero(mask)
        selection = bank.ours.select(ids)
        faiss = bank.faiss
        selectors = {
            "bitmap": faiss.IDSelectorBitmap(np.packbits(mask, bitorder="little")),
            "batch": faiss.IDSelectorBatch(ids),
            "array": faiss.IDSelectorArray(ids),
        }
        given = {name: faiss.SearchParameters(sel=selector) for name, selector in selectors.items()}
        contenders: dict[str, Callable[[], Answer]] = {
            "clipfast": one_by_one(partial(bank.by_ours, among=selection), queries),
            "clipfast, ids looked up in every call": one_by_one(partial(bank.by_ours, among=ids), queries),
            "NumPy, rows gathered": one_by_one(partial(bank.by_numpy, places=ids), queries),
        }
        for name, params in given.items():
            contenders[f"FAISS flat, {name}"] = one_by_one(
                partial(bank.by_faiss, threads=THREADS, params=params), queries
            )
        musts = {f"FAISS flat, {name}": 3.0 for name in given}
        yield Case(f"{asked} calls among 10 % of {count:,} x {DIM}", contenders, agree, musts), len(ids) * DIM * asked


def batch_cases(sizes: list[int]) -> Iterator[tuple[Case, int]]:
    """Thirty-two queries in one call."""
    for count in sizes:
        bank = Bank(count)
        contenders: dict[str, Callable[[], Answer]] = {
            "clipfast": partial(bank.by_ours, bank.queries),
            "FAISS flat": partial(bank.by_faiss, bank.queries, threads=THREADS),
            "FAISS flat, matrix product": partial(bank.by_faiss, bank.queries, threads=THREADS, threshold=1),
            "NumPy": partial(bank.by_numpy, bank.queries),
        }
        yield Case(f"32 queries together x {count:,} x {DIM}", contenders, agree), count * DIM


def patch_cases(sizes: list[int]) -> Iterator[tuple[Case, int]]:
    """The nearest row of each patch of an image."""
    count, dim = sizes[0], 768
    bank = Bank(count, dim)
    screened = NearestRows(bank.rows, threads=THREADS)
    product = NearestRows(bank.rows, threads=THREADS, screening=False)

    def ours(search: NearestRows, queries: Floats) -> Answer:
        places = search.search(queries).places[:, None]
        return np.einsum("qd,qd->q", queries, bank.rows[places[:, 0]])[:, None], places

    def faiss_first(queries: Floats, threshold: int | None) -> Answer:
        bank.faiss.omp_set_num_threads(THREADS)
        bank.faiss.cvar.distance_compute_blas_threshold = threshold or bank.threshold
        scores, ids = bank.flat.search(queries, 1)
        return scores, ids

    def numpy_first(queries: Floats) -> Answer:
        products = queries @ bank.rows.T
        best = products.argmax(axis=1)[:, None]
        return np.take_along_axis(products, best, axis=1), best

    for patches in (49, 196, 784):
        queries = unit_rows(patches, dim, 2)
        contenders: dict[str, Callable[[], Answer]] = {
            "clipfast": partial(ours, screened, queries),
            "clipfast, fused product": partial(ours, product, queries),
            "FAISS flat": partial(faiss_first, queries, None),
            "FAISS flat, matrix product": partial(faiss_first, queries, 1),
            "NumPy": partial(numpy_first, queries),
        }
        must = 2.0 if patches == 196 else 1.5
        musts = {"FAISS flat": must, "FAISS flat, matrix product": must}
        yield Case(f"{patches} patches x {count:,} x {dim}, nearest", contenders, agree, musts), count * dim


def call_cases(sizes: list[int]) -> Iterator[tuple[Case, int]]:
    """What a call costs where there is little to search: a hundred calls of one query."""
    bank = Bank(min(1000, sizes[0]))
    queries = np.repeat(bank.queries[:10], 10, axis=0)
    fabrics = [f"f{i // 4:03}" for i in range(len(bank.rows))]
    paths = [f"{fabric}/{i}.jpg" for i, fabric in enumerate(fabrics)]
    photos = References(bank.rows, fabrics, paths, [f"{i:064x}" for i in range(len(paths))])
    fabric_bank = FabricBank(photos, BankModel("a" * 64, "fp32", "none"))
    plain = one_by_one(bank.by_ours, queries)

    def ranked() -> Answer:
        for i in range(len(queries)):
            fabric_bank.rank(queries[i], K)
        return plain()  # for its answers: timed twice over, so half of the time is the index's

    contenders = {
        "clipfast": plain,
        "FabricBank.rank and the same search": ranked,
        "FAISS flat": one_by_one(partial(bank.by_faiss, threads=1), queries),
        "NumPy": one_by_one(bank.by_numpy, queries),
    }
    yield Case(f"100 calls of one query x {len(bank.rows):,} x {DIM}", contenders, agree), 100 * len(bank.rows) * DIM


def budgets(count: int, kinds: list[str]) -> list[dict[str, Any]]:
    """Fit within budgets, and say what that gave on queries that chose nothing."""
    index, queries = VectorIndex.over(unit_rows(count, DIM, 0)), unit_rows(400, DIM, 4)
    found = []
    for kind in kinds:
        for goal in ({"recall": 0.9}, {"recall": 0.99}, {"milliseconds": 1.0}):
            start = time.perf_counter()
            entry: dict[str, Any] = {"rows": count, "kind": kind, "budget": goal}
            try:
                fitted = ApproximateIndex.fit(index, queries, Budget(kind=kind, **goal))  # type: ignore[arg-type]  # the names of the tables
            except ValueError as error:
                entry["refused"] = str(error)
            else:
                entry |= {"taken": fitted.kind, "effort": fitted.chosen.effort, "ms": fitted.chosen.milliseconds}
                entry |= {"recall": fitted.recall, "interval": fitted.recall_interval}
                entry["exact_ms"] = fitted.measured[0].milliseconds
            found.append(entry | {"seconds_to_fit": time.perf_counter() - start})
    return found


def copy_bandwidth() -> float:
    """GB/s of reading and writing 256 MB by one thread's copy, the best of nine: what a scan is held against."""
    source, target = np.ones(1 << 25), np.empty(1 << 25)
    best = float("inf")
    for _ in range(9):
        start = time.perf_counter()
        np.copyto(target, source)
        best = min(best, time.perf_counter() - start)
    return 2 * source.nbytes / best / 1e9


SUITES: dict[str, Callable[[list[int]], Iterator[tuple[Case, int]]]] = {
    "call": call_cases,
    "bank": bank_cases,
    "filtered": filtered_cases,
    "batch": batch_cases,
    "patches": patch_cases,
}


def main() -> None:
    """Run, store and render."""
    from benchmarks import search_report

    parser = argparse.ArgumentParser(description="Search beside FAISS and NumPy.")
    parser.add_argument("names", nargs="*", choices=[[], *SUITES, "budget"])
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--render", action="store_true")
    parser.add_argument("--hnsw", action="store_true")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--patience", type=float, default=600.0, help="seconds to wait for a quiet machine")
    asked = parser.parse_args()
    if asked.render:
        search_report.render(RESULTS)
        return
    patience = None if asked.tiny else asked.patience
    run(asked.names or [*SUITES, "budget"], asked.rows, patience=patience, hnsw=asked.hnsw)
    if not asked.tiny:
        search_report.render(RESULTS)


def run(names: list[str], rows: int, *, patience: float | None, hnsw: bool) -> None:
    """Race the suites one after another, printing and keeping each case as it ends; tiny ones without patience."""
    from benchmarks import search_report

    sizes = {"call": [1000], "bank": [100_000, rows], "filtered": [100_000, rows], "batch": [100_000, rows]}
    sizes["patches"] = [20_000]
    tiny, facts = patience is None, machine(PACKAGES)
    for name in names:
        if name == "budget":
            kinds = ["ivf", "hnsw"] if hnsw else ["ivf"]
            if patience is not None and not wait_until_quiet(seconds=5.0, patience=patience):
                sys.exit(f"The machine stayed busy for {patience:.0f} s; budgets were not measured.")
            found = budgets(800 if tiny else 100_000, kinds)
            sys.stdout.write(search_report.budget_table(found) + "\n")
            if not tiny:
                _keep(budgets=found)
            continue
        for case, read in SUITES[name]([800] if tiny else sizes[name]):
            done = stored.run(case, rounds=1 if tiny else 9, patience=patience)
            done["code_gb_s"] = read / done["contenders"]["clipfast"]["median_ms"] / 1e6
            sys.stdout.write(search_report.section(case.name, done) + "\n\n")
            sys.stdout.flush()
            if not tiny and stored.store(RESULTS, case.name, done, facts):
                _keep(copy_gb_s=copy_bandwidth())


def _keep(**beside: Any) -> None:
    """Store what stands beside the cases."""
    RESULTS.write_text(json.dumps(stored.read(RESULTS) | beside, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
