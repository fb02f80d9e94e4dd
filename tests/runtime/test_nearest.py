"""Tests of clipfast.runtime.nearest."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import clipfast.runtime.nearest as module
from clipfast.errors import ShapeError
from clipfast.index import VectorIndex
from clipfast.kernels.packed_rows import available
from clipfast.runtime.nearest import NearestRows
from clipfast.types import Floats
from reference.naive_anomaly import nearest as naive_nearest


def rows(count: int, channels: int, seed: int, *, unit: bool) -> Floats:
    """Seeded rows."""
    drawn = np.random.default_rng(seed).normal(size=(count, channels)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True) if unit else drawn * 3


@pytest.fixture(params=[True, False], ids=["screened", "product"], autouse=True)
def screening(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Every test runs both ways; the first is the second on a CPU without bfloat16."""
    kept = NearestRows.__init__

    def chosen(self: NearestRows, rows: Floats, **options: Any) -> None:
        kept(self, rows, **({"screening": request.param} | options))

    monkeypatch.setattr(NearestRows, "__init__", chosen)
    return bool(request.param)


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


def test_rows_far_from_zero_keep_their_neighbours() -> None:
    """The product once gave rows several times as far as the nearest: their lengths swallowed what sets them apart."""
    bank, queries = (
        np.float32(100) + rows(count, 16, seed, unit=False) / np.float32(300) for count, seed in ((400, 11), (30, 12))
    )
    places, distances = naive_nearest(queries, bank, [True] * 400)
    found = NearestRows(bank, threads=1).search(queries)

    np.testing.assert_allclose(found.distances, distances, rtol=2e-3)
    assert np.mean(found.places == places) > 0.9


def test_rows_of_nearly_unit_length_are_not_taken_for_unit_rows() -> None:
    """Where rows are near each other, 4 millionths of length decide more than the angle does."""
    drawn = rows(1, 64, 13, unit=True) + 1e-5 * rows(300, 64, 14, unit=True)
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    bank = drawn * np.random.default_rng(15).uniform(1 - 4e-6, 1 + 4e-6, (300, 1)).astype(np.float32)
    found = NearestRows(bank, threads=1).search(bank[:20])

    assert found.distances.max() < 1e-6


def test_many_copies_are_one_row() -> None:
    """Where hundreds of rows are alike, as patches of white paper are, the first is taken, and the others as ever."""
    bank = np.concatenate([np.repeat(rows(1, 24, 4, unit=True), 900, axis=0), rows(50, 24, 5, unit=True)])
    asked = np.concatenate([bank[:5], bank[-5:]])

    assert NearestRows(bank, threads=2).search(asked).places.tolist() == [0] * 5 + list(range(945, 950))
    barred = np.arange(950) < 7
    assert NearestRows(bank, threads=2).search(asked, barred).places.tolist() == [7] * 5 + list(range(945, 950))


def test_products_beyond_single_precision_are_refused() -> None:
    """They would bar what is nearest."""
    far = rows(5, 8, 1, unit=False) * np.float32(1e19)
    with pytest.raises(ShapeError, match="rows must have products within float32"):
        NearestRows(far)
    with pytest.raises(ShapeError, match="queries must have products with the rows"):
        NearestRows(rows(5, 8, 1, unit=False) * np.float32(1e15)).search(far * np.float32(1e10))


def test_copies_of_it_search_alike() -> None:
    """It may travel to another process, before and after its first search."""
    search = NearestRows(rows(60, 24, 6, unit=True))
    before = pickle.loads(pickle.dumps(search))  # noqa: S301  # our own bytes
    found = search.search(rows(9, 24, 7, unit=True)).places.tolist()

    for copied in (before, copy.deepcopy(search)):
        assert copied.search(rows(9, 24, 7, unit=True)).places.tolist() == found


def test_it_says_whether_rows_are_screened(screening: bool) -> None:
    """Only where it is wanted and the CPU multiplies bfloat16."""
    assert NearestRows(np.eye(2, dtype=np.float32)).screened is (screening and available())


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
