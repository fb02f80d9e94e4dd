"""Approximate search: what it finds is measured on queries that chose nothing, and it follows changes."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clipfast.approximate import ApproximateIndex, Budget, Kind
from clipfast.errors import ArtifactError, DataError, FingerprintError, ShapeError
from clipfast.index import VectorIndex
from clipfast.types import Floats


def clustered(count: int, seed: int, dim: int = 16) -> Floats:
    """Return unit rows in clumps, as photos are."""
    rng = np.random.default_rng(seed)
    middles = np.random.default_rng(99).standard_normal((40, dim))
    rows = (middles[rng.integers(0, 40, count)] + 0.4 * rng.standard_normal((count, dim))).astype(np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def make_index(count: int = 3000) -> VectorIndex:
    """Return an index of clumps with ids in no order."""
    index = VectorIndex(16, threads=1)
    index.add(clustered(count, 0), np.random.default_rng(5).permutation(10 * count)[:count].astype(np.int64))
    return index


def slow_exact(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a clock by which the exact scan takes 100 ms a query, and an approximate search 1 ms for each effort."""
    now, cost = itertools.count(), {"ms": 0.0}
    exact, near = VectorIndex.search, ApproximateIndex._search
    depth = {"near": 0}

    def search(self: VectorIndex, queries: Any, k: int, among: Any = None) -> Any:
        if not depth["near"]:
            cost["ms"] += 100
        return exact(self, queries, k, among)

    def search_near(self: ApproximateIndex, queries: Any, k: int, effort: int) -> Any:
        cost["ms"] += effort
        depth["near"] += 1
        try:
            return near(self, queries, k, effort)
        finally:
            depth["near"] -= 1

    monkeypatch.setattr(VectorIndex, "search", search)
    monkeypatch.setattr(ApproximateIndex, "_search", search_near)
    return lambda: (next(now) * 0 + cost["ms"]) / 1e3


@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
def test_recall_is_met_by_the_least_effort_and_measured_on_other_queries(
    kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reported recall is that of a twin on the half that chose nothing; scores are exact."""
    index, queries = make_index(), clustered(80, 1)
    found = ApproximateIndex.fit(index, queries, Budget(recall=0.9, kind=kind), clock=slow_exact(monkeypatch))
    assert found.kind == kind
    assert found.chosen.recall >= 0.9
    assert all(each.recall < 0.9 for each in found.measured if 0 < each.effort < found.chosen.effort)
    rest = queries[np.random.default_rng(0).permutation(80)[40:]]
    hits, truth = found.search(rest, 10), index.search(rest, 10)
    twin = np.mean([len({*a} & {*b}) / 10 for a, b in zip(hits.ids.tolist(), truth.ids.tolist(), strict=True)])
    assert found.recall == pytest.approx(twin)
    assert found.recall_interval[0] <= found.recall <= found.recall_interval[1]
    exact = dict(zip(truth.ids[0].tolist(), truth.scores[0].tolist(), strict=True))
    shared = [(exact[i], s) for i, s in zip(hits.ids[0].tolist(), hits.scores[0].tolist(), strict=True) if i in exact]
    assert shared
    assert all(a == b for a, b in shared)


def test_time_is_met_with_the_highest_recall(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the efforts within the time the best; nothing that fast is an error that says what there is."""
    clock = slow_exact(monkeypatch)
    found = ApproximateIndex.fit(make_index(), clustered(60, 1), Budget(milliseconds=9), clock=clock)
    assert found.chosen.milliseconds <= 9
    within = [each for each in found.measured if each.milliseconds <= 9]
    assert found.chosen.recall == max(each.recall for each in within)
    with pytest.raises(DataError, match=r"Nothing takes at most 0\.5 ms: the fastest, ivf with effort 1, took 1 ms"):
        ApproximateIndex.fit(make_index(), clustered(60, 1), Budget(milliseconds=0.5), clock=clock)


def test_the_exact_scan_is_taken_where_it_is_the_faster() -> None:
    """By a clock that stands still nothing is faster than anything: recall 1 wins, and is measured as 1."""
    found = ApproximateIndex.fit(make_index(), clustered(40, 1), Budget(milliseconds=5), clock=lambda: 0.0)
    assert found.recall == 1.0
    everything = ApproximateIndex.fit(make_index(200), clustered(40, 1), Budget(recall=1.0), clock=lambda: 0.0)
    assert (everything.kind, everything.recall) == ("exact", 1.0)


@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
def test_rows_that_come_and_go_are_followed(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    """A removed row is never given, not even from a crowd of removed ones; an added one is found by itself."""
    index, queries = make_index(), clustered(40, 1)
    found = ApproximateIndex.fit(index, queries, Budget(recall=0.9, kind=kind), clock=slow_exact(monkeypatch))
    nearest = found.search(queries[:1], 300).ids[0]
    gone = nearest[nearest >= 0]
    found.remove(gone)
    assert found.removed == pytest.approx(len(gone) / 3000)
    assert not set(found.search(queries[:1], 10).ids[0].tolist()) & set(gone.tolist())
    new = found.add(queries[:3])
    assert found.search(queries[:3], 1).ids[:, 0].tolist() == new.tolist()
    assert len(found) == len(index) == 3000 - len(gone) + 3


@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
def test_file_round_trip_and_damage(kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loaded index answers alike; one byte changed, other rows or another model are refused."""
    index, queries = make_index(), clustered(40, 1)
    found = ApproximateIndex.fit(index, queries, Budget(recall=0.8, kind=kind), clock=slow_exact(monkeypatch))
    found.remove(index.ids[:5].copy())
    found.save(tmp_path)
    again = ApproximateIndex.load(tmp_path, index)
    assert again.search(queries, 7).ids.tolist() == found.search(queries, 7).ids.tolist()
    assert (again.recall, again.chosen, again.measured) == (found.recall, found.chosen, found.measured)
    with pytest.raises(ArtifactError, match="of other rows"):
        ApproximateIndex.load(tmp_path, make_index(200))
    with pytest.raises(FingerprintError):
        ApproximateIndex.load(tmp_path, VectorIndex(16, fingerprint="b"))
    with (tmp_path / "index.faiss").open("rb+") as file:
        file.seek(500)
        file.write(b"\xff")
    with pytest.raises(ArtifactError, match="not the file that was written"):
        ApproximateIndex.load(tmp_path, index)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "either recall or milliseconds"),
        ({"recall": 0.9, "milliseconds": 1}, "either recall or milliseconds"),
        ({"recall": 1.5}, r"recall must be in \(0, 1\]"),
        ({"milliseconds": 0}, "milliseconds must be above 0"),
        ({"recall": 0.9, "k": 0}, "k must be at least 1"),
        ({"recall": 0.9, "kind": "lsh"}, "kind must be one of ivf, hnsw"),
    ],
)
def test_a_budget_that_is_none_is_named(given: dict[str, Any], message: str) -> None:
    """Both, neither, out of range."""
    with pytest.raises(ShapeError, match=message):
        Budget(**given)


def test_queries_that_measure_nothing_are_refused() -> None:
    """Too few, or rows of the index; and an index without rows."""
    index = make_index(300)
    with pytest.raises(ShapeError, match="at least 20"):
        ApproximateIndex.fit(index, clustered(5, 1), Budget(recall=0.9))
    with pytest.raises(DataError, match="30 of 30 are rows of the index"):
        ApproximateIndex.fit(index, index.rows[:30].copy(), Budget(recall=0.9))
    with pytest.raises(DataError, match="it is empty"):
        ApproximateIndex.fit(VectorIndex(16), clustered(30, 1), Budget(recall=0.9))
