"""Nearest vectors and ranked fabrics, without the model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from clipfast import Clip, FabricBank, VectorIndex
from clipfast.retrieval import BankModel, References
from clipfast.retrieval.scoring import products

ROUNDS = 30
pytestmark = pytest.mark.benchmark(group="search")


@pytest.mark.parametrize("rows", [1_000, 100_000])
def test_index_search(timed: BenchmarkFixture, rows: int) -> None:
    """One query, the ten nearest of 512-wide unit rows, exact."""
    vectors = np.random.default_rng(0).normal(size=(rows, 512)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    index = VectorIndex(512)
    index.add(vectors)
    expected = np.argsort(-(vectors @ vectors[7]), kind="stable")[:10]
    hits = timed.pedantic(index.search, (vectors[7:8], 10), rounds=ROUNDS, warmup_rounds=2)

    assert hits.ids[0].tolist() == expected.tolist()


@pytest.mark.parametrize("what", ["rank", "search", "index", "product"])
def test_call_on_1000_vectors(timed: BenchmarkFixture, what: str) -> None:
    """One 512-wide query on 1,000 photos of 200 fabrics; "product" is the arithmetic alone, so the rest is overhead."""
    vectors = np.random.default_rng(0).normal(size=(1_000, 512)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    names = [f"fabric_{row // 5:03}" for row in range(1_000)]
    references = References(vectors, names, [f"{name}/{row}" for row, name in enumerate(names)], ["0" * 64] * 1_000)
    bank = FabricBank(references, BankModel("a" * 64, "fp32", "random"))
    index = VectorIndex(512)
    index.add(vectors)
    query = np.ascontiguousarray(references.embeddings[7])
    calls: dict[str, Callable[[], object]] = {
        "rank": lambda: bank.rank(query, 5)[0].score,
        "search": lambda: bank.search(query, 5)[0].score,
        "index": lambda: index.search(query[None], 5).scores[0, 0],
        "product": lambda: products(query[None], references.embeddings)[0, 7],
    }
    score = timed.pedantic(calls[what], rounds=ROUNDS, iterations=20, warmup_rounds=2)

    assert score == pytest.approx(1.0, abs=1e-5)


def test_bank_rank(timed: BenchmarkFixture, mini: Clip, fabrics: Path) -> None:
    """One vector against 15 fabrics of 3 photos each: the overhead of a call."""
    bank = FabricBank.build(mini, fabrics)
    query = bank.references.embeddings[4]
    ranked = timed.pedantic(bank.rank, (query, 5), rounds=ROUNDS, iterations=20)

    assert ranked[0].id == bank.references.paths[4].split("/")[0]
    assert ranked[0].score == pytest.approx(1.0, abs=1e-5)
