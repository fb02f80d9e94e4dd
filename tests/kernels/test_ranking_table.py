"""The table of cells: every path counts as loops do, whatever the values are."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import config
from numpy.typing import NDArray

from clipfast.errors import ShapeError
from clipfast.kernels import ranking, ranking_table
from clipfast.kernels.ranking import count_slots
from clipfast.kernels.ranking_table import Table, count_sorted
from clipfast.types import Ints
from reference import naive_ranking as naive

COMPILED = not config.DISABLE_JIT  # type: ignore[attr-defined]  # set at import
MANY = 300_000 if COMPILED else 20_000  # more than one chunk of scores
FLOATS = ["float32", "float64"]


def counted(scores: NDArray[Any], values: NDArray[Any], *, chunks: bool = False) -> Ints | None:
    """What the table counts, forced onto one of its two paths; None if it says that it would not pay."""
    table = Table.of(values, scores)
    if table is None:
        return None
    slots = np.zeros(2 * len(values) + 1, np.int64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking_table, "_NEAR", 0 if chunks else sys.maxsize)
        assert table.count(scores, slots) == 0
    return slots


def by_search(scores: NDArray[Any], values: NDArray[Any]) -> list[int]:
    """The counts by NumPy's search, for what loops are too slow for."""
    places = np.searchsorted(values, scores, "left") + np.searchsorted(values, scores, "right")
    return [int(count) for count in np.bincount(places, minlength=2 * len(values) + 1)]


def around(values: NDArray[Any]) -> NDArray[Any]:
    """The values, their finite neighbours on both sides, and the largest numbers."""
    high = np.finfo(values.dtype).max
    up, down = np.nextafter(values, high), np.nextafter(values, -high)
    return np.concatenate([values, up, down, np.array([high, -high, 0.0, -0.0], values.dtype)])


@pytest.mark.parametrize("chunks", [False, True])
@settings(max_examples=100 if COMPILED else 50, deadline=None)
@given(dtype=st.sampled_from(FLOATS), data=st.data())
def test_any_few_values_equal_the_naive_twin(dtype: str, data: st.DataObject, *, chunks: bool) -> None:
    """Scores on the values, beside them and far from them, on both paths."""
    wide: Literal[32, 64] = 32 if dtype == "float32" else 64
    number = st.floats(-2, 2, width=wide) | st.floats(allow_nan=False, allow_infinity=False, width=wide)
    values = np.unique(np.array(data.draw(st.lists(st.integers(-9, 9) | number, min_size=1, max_size=12)), dtype))
    scores = around(values)

    found = counted(scores, values, chunks=chunks)

    assert found is None or found.tolist() == naive.slots(scores.tolist(), values.tolist())
    assert count_slots(scores, values, threads=1).tolist() == naive.slots(scores.tolist(), values.tolist())


@pytest.mark.parametrize("chunks", [False, True])
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    "values",
    [
        [0.0],  # one value, one cell
        [-0.0],  # which is equal to 0.0
        [-3.5],
        [1.0, 1 + 2**-23],  # neighbours in float32: a span of one step
        [-1e-40, 0.0, 1e-40],  # subnormal in float32; cells per unit overflow there
        [0.0, 5e-324],  # cells per unit overflow in float64; one value in float32
        [-3e38, 3e38],  # the span overflows in float32
        [-1.7e308, 1.7e308],  # and in float64, where it is kept
        [1e30, 1.0000001e30, 1e31],
        list(range(-50, 50)),
    ],
)
def test_values_at_the_edges_equal_the_naive_twin(values: list[float], dtype: str, chunks: bool) -> None:
    """Spans of nothing, of one step, too small and too large for cells: the counts are right, by table or sorting."""
    with np.errstate(over="ignore"):
        some = np.unique(np.array(values, dtype))
    some = some[np.isfinite(some)] if np.isfinite(some).any() else np.zeros(1, dtype)
    scores = around(some)
    expected = naive.slots(scores.tolist(), some.tolist())

    found = counted(scores, some, chunks=chunks)

    assert found is None or found.tolist() == expected
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking, "_SMALL", 1)
        patch.setattr(ranking, "_RARE", 0)
        assert count_slots(scores, some, threads=1).tolist() == expected


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([-3e38, 3e38], "float32"),  # the span is infinite
        ([-1.7e308, 1.7e308], "float64"),
        ([0.0, 5e-324], "float64"),  # cells per unit are infinite
        ([0.0, 1e-45], "float32"),
    ],
)
def test_no_table_where_cells_have_no_size(values: list[float], dtype: str) -> None:
    """Without a warning; the caller sorts instead."""
    some = np.array(values, dtype)

    assert Table.of(some, some) is None


def test_no_table_where_values_crowd() -> None:
    """A far outlier puts all others into one cell; scores that keep away from that cell still use a table."""
    values = np.append(np.linspace(0, 1, 100), 1e9)
    near, far = np.random.default_rng(0).random(500), np.linspace(1e6, 1e9, 500)

    assert Table.of(values, near) is None
    found = counted(far, values)
    assert found is not None
    assert found.tolist() == naive.slots(far.tolist(), values.tolist())
    assert count_slots(near, values, threads=1).tolist() == naive.slots(near.tolist(), values.tolist())


@pytest.mark.parametrize("chunks", [False, True])
@pytest.mark.parametrize("dtype", FLOATS)
def test_cells_of_several_values_are_searched(dtype: str, chunks: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer cells than values: every score above the first of its cell is searched for, over many blocks."""
    monkeypatch.setattr(ranking_table, "_MOST_CELLS", 8)
    monkeypatch.setattr(ranking_table, "_FULL", sys.maxsize)
    rng = np.random.default_rng(1)
    values = np.unique(rng.integers(0, 300, 150)).astype(dtype)
    scores = (rng.integers(-20, 640, 2500) / 2).astype(dtype)

    found = counted(scores, values, chunks=chunks)

    assert found is not None
    assert found.tolist() == by_search(scores, values)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("spread", ["normal", "tied", "negative"])
def test_several_chunks_of_scores(dtype: str, spread: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """More scores than a chunk and a table of many cells, on the path that the table itself chooses."""
    if not COMPILED:  # constants of compiled code cannot be changed
        monkeypatch.setattr(ranking_table, "_CHUNK", 3000)
        monkeypatch.setattr(ranking_table, "_NEAR", 1000)
    assert MANY > ranking_table._CHUNK
    rng = np.random.default_rng(2)
    draws: dict[str, Callable[[int], NDArray[Any]]] = {
        "normal": lambda count: rng.normal(0, 1, count),
        "tied": lambda count: rng.integers(0, 50_000, count) / 1000,
        "negative": lambda count: -(rng.random(count) ** 2) - 5,
    }
    draw = draws[spread]
    values = np.unique(draw(MANY // 10).astype(dtype))
    scores = np.concatenate([draw(MANY), values]).astype(dtype)

    table = Table.of(values, scores)

    assert table is not None
    assert len(table.cells) > ranking_table._NEAR
    slots = np.zeros(2 * len(values) + 1, np.int64)
    assert table.count(scores, slots) == 0
    assert slots.tolist() == by_search(scores, values)
    ordered = np.zeros_like(slots)
    count_sorted(np.sort(scores), values, ordered)
    assert ordered.tolist() == slots.tolist()


@pytest.mark.parametrize("chunks", [False, True])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", FLOATS)
def test_what_is_not_finite_is_counted_apart(
    dtype: str, value: float, chunks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many there are, none is written outside the slots."""
    monkeypatch.setattr(ranking_table, "_NEAR", 0 if chunks else sys.maxsize)
    values = np.array([-1, 0, 2], dtype)
    scores = np.array([value, 0, value, 1, value], dtype)
    table = Table.of(values, scores)
    slots = np.zeros(7, np.int64)

    assert table is not None
    assert table.count(scores, slots) == 3
    assert slots.sum() == 5
    with pytest.raises(ShapeError, match="got 3 NaN or infinite among 5, the first at flat index 0"):
        count_slots(scores, values, threads=1)


def test_sorted_scores_of_every_kind() -> None:
    """None at all, all below, all above, all equal."""
    values = np.array([1.0, 2.0])
    for scores, expected in [
        ([], [0, 0, 0, 0, 0]),
        ([-1.0, 0.5], [2, 0, 0, 0, 0]),
        ([3.0, 4.0], [0, 0, 0, 0, 2]),
        ([2.0, 2.0, 2.0], [0, 0, 0, 3, 0]),
        ([0.0, 1.0, 1.5, 2.0, 9.0], [1, 1, 1, 1, 1]),
    ]:
        slots = np.zeros(5, np.int64)
        count_sorted(np.array(scores, float), values, slots)
        assert slots.tolist() == expected
