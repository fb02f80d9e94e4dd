"""Tests of clipfast.runtime.nearest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import clipfast.runtime.nearest as module
from clipfast.errors import ShapeError
from clipfast.index import VectorIndex
from clipfast.runtime.nearest import NearestRows
from clipfast.types import Floats
from reference.naive_anomaly import nearest as naive_nearest


def rows(count: int, channels: int, seed: int, *, unit: bool) -> Floats:
    """Seeded rows."""
    drawn = np.random.default_rng(seed).normal(size=(count, channels)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True) if unit else drawn * 3


@pytest.mark.parametrize("unit", [True, False])
@pytest.mark.parametrize("barred", [False, True])
def test_places_and_distances_are_those_of_the_definition(unit: bool, barred: bool) -> None:
    """Unit rows and others, with rows barred and without, against the naive twin."""
    bank, queries = rows(50, 24, 1, unit=unit), rows(20, 24, 2, unit=unit)
    bar = np.arange(50) % 3 == 0 if barred else np.zeros(50, bool)
    found = NearestRows(bank, threads=1).search(queries, bar)
    places, distances = naive_nearest(queries, bank, (~bar).tolist())

    assert found.places.tolist() == places
    np.testing.assert_allclose(found.distances, distances, atol=1e-5)


def test_a_row_is_at_distance_zero_from_itself() -> None:
    """No rounding of the product is left in the distance, even for long rows."""
    bank = rows(30, 16, 3, unit=False) * 100
    found = NearestRows(bank, threads=1).search(bank)

    assert found.places.tolist() == list(range(30))
    assert found.distances.tolist() == [0.0] * 30


def test_equal_rows_give_the_lowest() -> None:
    """Of copies the first is taken."""
    bank = np.repeat(rows(3, 8, 4, unit=True), 4, axis=0)

    assert NearestRows(bank, threads=1).search(bank).places.tolist() == [0] * 4 + [4] * 4 + [8] * 4


@pytest.mark.parametrize("barred", [False, True])
@pytest.mark.parametrize("count", [100, 700])  # looked at straight away; screened
def test_screening_finds_the_same_rows(barred: bool, count: int) -> None:
    """Unit rows, some of them twice; rows that are not of unit length are not screened."""
    bank, queries = rows(count, 24, 1, unit=True), rows(30, 24, 2, unit=True)
    bank[count // 2 :] = bank[: count // 2]
    bar = np.arange(count) % 3 == 0 if barred else np.zeros(count, bool)
    found = NearestRows(bank, threads=2, screening=True).search(queries, bar)
    places, distances = naive_nearest(queries, bank, (~bar).tolist())

    assert found.places.tolist() == places
    np.testing.assert_allclose(found.distances, distances, atol=1e-5)
    long = rows(300, 24, 1, unit=False)
    assert NearestRows(long, threads=1, screening=True).search(long).places.tolist() == list(range(300))


def test_places_are_those_of_the_index() -> None:
    """The same rows as the exact index finds."""
    bank, queries = rows(500, 32, 5, unit=True), rows(40, 32, 6, unit=True)
    index = VectorIndex(32)
    index.add(bank)

    assert NearestRows(bank, threads=1).search(queries).places.tolist() == index.search(queries, 1).ids[:, 0].tolist()


def test_queries_in_parts_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit that cuts the queries into parts of three changes nothing."""
    bank, queries = rows(40, 16, 7, unit=False), rows(11, 16, 8, unit=False)
    whole = NearestRows(bank, threads=1).search(queries)
    monkeypatch.setattr(module, "_PRODUCTS", 120)
    parts = NearestRows(bank, threads=1).search(queries)

    assert whole.places.tolist() == parts.places.tolist()
    assert whole.distances.tolist() == parts.distances.tolist()


def test_no_query_gives_no_answer() -> None:
    """An empty batch is allowed."""
    assert NearestRows(np.eye(2, dtype=np.float32), threads=1).search(np.empty((0, 2), np.float32)).places.shape == (0,)


@pytest.mark.parametrize(
    ("queries", "barred", "message"),
    [
        (np.zeros((1, 3), np.float32), None, r"queries must be rows \(m, 2\)"),
        (np.zeros((1, 2)), None, "finite float32"),
        (np.full((1, 2), np.inf, np.float32), None, "finite float32"),
        (np.zeros((1, 2), np.float32), np.ones(2, bool), "one of them False"),
        (np.zeros((1, 2), np.float32), np.ones(3, bool), "one of them False"),
    ],
)
def test_bad_input_is_named(queries: Any, barred: Any, message: str) -> None:
    """Each fault has its sentence."""
    with pytest.raises(ShapeError, match=message):
        NearestRows(np.eye(2, dtype=np.float32), threads=1).search(queries, barred)


@pytest.mark.parametrize(("name", "offsets"), [("nearest.onnx", ["offsets"]), ("nearest_unit.onnx", [])])
def test_the_packaged_graphs_are_those_described(name: str, offsets: list[str]) -> None:
    """Gemm with the rows transposed, then ArgMax with the first of equal ones; built again, the bytes are equal."""
    onnx = pytest.importorskip("onnx")
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [
        helper.make_node("Gemm", ["queries", "rows", *offsets], ["products"], transB=1),
        helper.make_node("ArgMax", ["products"], ["places"], axis=1, keepdims=0, select_last_index=0),
    ]
    shapes = {"queries": ["q", "c"], "rows": ["m", "c"]} | {key: ["m"] for key in offsets}
    inputs = [helper.make_tensor_value_info(name, floats, shape) for name, shape in shapes.items()]
    output = helper.make_tensor_value_info("places", onnx.TensorProto.INT64, ["q"])
    graph = helper.make_graph(nodes, "nearest", inputs, [output])
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8, producer_name="clipfast")

    assert Path(module.__file__).with_name(name).read_bytes() == model.SerializeToString()


def test_barring_nothing_changes_nothing() -> None:
    """Unit rows take the graph without offsets, barred ones that with them: the same, to the lowest of equal rows."""
    rows = np.random.default_rng(3).normal(size=(50, 16)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    search = NearestRows(np.concatenate([rows, rows]), threads=1)

    plain, barred = search.search(rows), search.search(rows, np.zeros(100, bool))
    assert plain.places.tolist() == list(range(50))
    assert np.array_equal(plain.places, barred.places)
    assert np.array_equal(plain.distances, barred.distances)
