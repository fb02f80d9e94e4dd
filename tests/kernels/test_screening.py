"""The screened scan gives what a full scan gives, for any rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from clipfast.errors import ShapeError
from clipfast.kernels import screening as module
from clipfast.kernels.code_products import four_rows, two_rows_four_queries
from clipfast.kernels.row_store import RowStore
from clipfast.kernels.screening import ScreenedRows, _quantised, encode_rows
from clipfast.kernels.screening_scan import exact_scores, screen
from clipfast.types import Floats


def full_scan(rows: Floats, query: Floats, k: int, among: np.ndarray | None = None) -> tuple[list[int], list[float]]:
    """The twin: every product in double precision, sorted by (-score, number)."""
    scores = [
        (-np.float32(sum(float(a) * float(b) for a, b in zip(row, query, strict=True))), i)
        for i, row in enumerate(rows)
    ]
    best = sorted(pair for pair in scores if among is None or among[pair[1]])[:k]
    return [i for _, i in best], [float(-score) for score, _ in best]


@settings(deadline=None, max_examples=60)
@given(
    count=st.integers(1, 80) | st.integers(193, 400),  # fewer are looked at straight away, without codes
    columns=st.integers(1, 40),
    k=st.integers(1, 90),
    seed=st.integers(0, 10_000),
    kind=st.sampled_from(["normal", "ties", "huge", "tiny", "outlier", "copies", "zero"]),
    filtered=st.booleans(),
)
def test_equals_a_full_scan(count: int, columns: int, k: int, seed: int, kind: str, filtered: bool) -> None:
    """Numbers and scores, with ties, outliers, rows of zeros and of very different length."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((count, columns)).astype(np.float32)
    query = rng.standard_normal(columns).astype(np.float32)
    if kind == "ties":
        rows, query = np.sign(rows), np.sign(query)
    elif kind == "huge":
        rows *= np.float32(1e15)
    elif kind == "tiny":
        rows *= np.float32(1e-20)
    elif kind == "outlier":
        rows[:, 0] *= 1e4
    elif kind == "copies":
        rows[:] = rows[0]
    elif kind == "zero":
        rows[::2] = 0
        query *= rng.integers(0, 2)
    among = rng.random(count) < 0.4 if filtered else None

    found = ScreenedRows(rows, threads=1).best(query, k, among)

    places, scores = full_scan(rows, query, k, among)
    assert found.places.tolist() == places
    assert found.scores.tolist() == scores
    assert len(places) <= found.looked_at <= count


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_change_nothing(threads: int) -> None:
    """Forty thousand rows in one, two and more parts; equal rows far apart stand in the order of their numbers."""
    rng = np.random.default_rng(3)
    rows = rng.standard_normal((40_000, 24), dtype=np.float32)
    rows[39_000] = rows[17]
    query = rows[17] + np.float32(0.01)
    alone = ScreenedRows(rows, threads=1).best(query, 12)

    found = ScreenedRows(rows, threads=threads).best(query, 12)

    assert found.places.tolist() == alone.places.tolist()
    assert found.scores.tolist() == alone.scores.tolist()
    assert found.places[:2].tolist() == [17, 39_000]
    assert found.looked_at < 400  # screening leaves nearly everything out


def test_the_longest_sums_stay_within_int32() -> None:
    """As many columns as are allowed, all codes at their largest."""
    columns = (2**31 - 1) // (127 * 2047)
    rows = np.ones((3, columns), np.float32)
    rows[1] = -1
    found = ScreenedRows(rows).best(np.ones(columns, np.float32), 3)

    assert found.places.tolist() == [0, 2, 1]
    assert found.scores.tolist() == [columns, columns, -columns]


def test_no_rows_give_no_answer() -> None:
    """Neither an empty bank nor a filter that lets nothing through is an error."""
    assert len(ScreenedRows(np.empty((0, 4), np.float32)).best(np.ones(4, np.float32), 3).places) == 0
    nothing = np.zeros(2, np.bool_)
    assert len(ScreenedRows(np.eye(2, dtype=np.float32)).best(np.ones(2, np.float32), 3, nothing).places) == 0


@pytest.mark.parametrize(
    ("query", "k", "among"),
    [
        (np.ones(3, np.float32), 1, None),  # another width
        (np.ones(4), 1, None),  # doubles
        (np.array([0, np.nan, 0, 0], np.float32), 1, None),
        (np.ones(4, np.float32), 0, None),
        (np.ones(4, np.float32), 1, np.ones(3, np.bool_)),  # a filter of another length
        (np.ones(4, np.float32), 1, np.ones(2)),  # numbers are no filter
    ],
)
def test_wrong_input_is_named(query: Floats, k: int, among: np.ndarray | None) -> None:
    """Shape, dtype and range."""
    with pytest.raises(ShapeError, match="must be"):
        ScreenedRows(np.ones((2, 4), np.float32)).best(query, k, among)


@pytest.mark.parametrize("rows", [np.ones(4, np.float32), np.ones((2, 4)), np.ones((2, 9000), np.float32)])
def test_wrong_rows_are_named(rows: Floats) -> None:
    """One dimension, doubles, too many columns."""
    with pytest.raises(ShapeError, match="rows must be"):
        ScreenedRows(rows)


@settings(deadline=None, max_examples=40)
@given(
    count=st.integers(150, 900),
    columns=st.integers(1, 70),
    asked=st.integers(1, 9),
    k=st.integers(1, 90),
    seed=st.integers(0, 10_000),
    kind=st.sampled_from(["normal", "ties", "shifted", "outlier", "copies", "zero", "huge", "tiny"]),
    screened=st.booleans(),
    filtered=st.booleans(),
)
def test_several_queries_with_and_without_codes_equal_the_twin(
    *, count: int, columns: int, asked: int, k: int, seed: int, kind: str, screened: bool, filtered: bool
) -> None:
    """Rows beyond those that are looked at straight away; equal scores in the order of names."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((count, columns)).astype(np.float32)
    queries = rng.standard_normal((asked, columns)).astype(np.float32)
    if kind == "ties":
        rows, queries = np.sign(rows), np.sign(queries)
    elif kind == "shifted":
        rows += np.float32(5)
    elif kind == "outlier":
        rows[:, 0] += 1e4
    elif kind == "copies":
        rows[:] = rows[rng.integers(0, 3, count)]
    elif kind == "zero":
        rows[::2] = 0
        queries[0] = 0
    elif kind in {"huge", "tiny"}:
        rows, queries = rows * np.float32(1e15), queries * np.float32(1e15 if kind == "huge" else 1e-25)
    among = np.flatnonzero(rng.random(count) < 0.7) if filtered else None
    names = rng.permutation(count).astype(np.int64)

    found = ScreenedRows(rows, screened=screened, threads=1).best_of(queries, k, among, names)

    allowed = np.arange(count) if among is None else among
    for query, places, scores in zip(queries, found.places, found.scores, strict=True):
        products = exact_scores(rows, allowed, query)
        np.testing.assert_allclose(products, rows[allowed].astype(float) @ query.astype(float), rtol=1e-4, atol=1e-30)
        order = np.lexsort((names[allowed], -products))[:k]
        assert places.tolist() == allowed[order].tolist()
        assert scores.tolist() == products[order].tolist()


@pytest.mark.parametrize("cached", [0, 1 << 25])  # parts of the rows that are joined; parts of the queries
def test_threads_change_nothing_for_many_queries(cached: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seventy queries: more than one scan takes, and no multiple of four."""
    monkeypatch.setattr(module, "_CACHED", cached)
    rng = np.random.default_rng(4)
    rows = rng.standard_normal((5000, 24), dtype=np.float32)
    queries = rng.standard_normal((70, 24), dtype=np.float32)
    alone, shared = (ScreenedRows(rows, threads=threads).best_of(queries, 6) for threads in (1, 3))

    assert shared.places.tolist() == alone.places.tolist()
    assert shared.scores.tolist() == alone.scores.tolist()
    assert [full_scan(rows, queries[i], 6)[0] for i in (0, 69)] == alone.places[[0, 69]].tolist()


@pytest.mark.parametrize("columns", [1, 2, 3, 40])
@pytest.mark.parametrize("kind", ["plain", "coarse rows", "coarse query"])
def test_every_product_lies_within_its_bounds(columns: int, kind: str) -> None:
    """In few dimensions what the codes leave out often points at the query, so bounds that are too narrow are met."""
    rng = np.random.default_rng(columns)
    rows = (rng.standard_normal((400, columns)) + 1).astype(np.float32)
    query = rng.standard_normal((1, columns)).astype(np.float32)
    if kind == "coarse rows":
        rows[:, 0] *= 100
        query[:, 0] = 0
    elif kind == "coarse query":
        query[:, 0] = 2047 * 3.1
        rows[:, 0] = 1
    codes = encode_rows(rows)
    asked = _quantised(query, codes.codes.shape[1])
    exact = (rows - codes.centre.astype(float)) @ query[0].astype(float)

    whole = np.empty(0, np.int64)
    for row, product in enumerate(exact):
        counts, places, highest, floors = screen(codes.codes, codes.facts, whole, (row, row + 1), asked, 1)
        assert (counts.tolist(), places[0, 0]) == ([1], row)
        assert floors[0, 0] <= product <= highest[0, 0]


def test_scores_that_round_to_one_number_are_tied() -> None:
    """Rows whose codes are exact, and whose products differ below single precision: the lowest number is first."""
    rows = np.zeros((400, 3), np.float32)
    rows[:, 0] = 2**24
    rows[200:, 1] = 1  # better by one part in 2^24 + 1, which rounds away
    rows[200:, 2] = -(2**-30)

    found = ScreenedRows(rows).best(np.array([1, 0.5, 0], np.float32), 3)

    assert found.places.tolist() == [0, 1, 2]


@pytest.mark.parametrize("screened", [True, False])
@pytest.mark.parametrize("size", [1e-44, 1e-25])
def test_scores_that_round_to_zero_are_tied(size: float, screened: bool) -> None:
    """The first rows are given, with codes and without."""
    rng = np.random.default_rng(3)
    rows = (np.abs(rng.standard_normal((300, 24))) * size).astype(np.float32)
    found = ScreenedRows(rows, screened=screened).best(np.full(24, size, np.float32), 5)

    assert (found.places.tolist(), found.scores.tolist()) == ([0, 1, 2, 3, 4], [0.0] * 5)


def test_a_mean_far_from_zero_costs_nothing() -> None:
    """Rows around one direction, as embeddings are: the codes are of what distinguishes them."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((3000, 64)).astype(np.float32)
    query = rng.standard_normal(64).astype(np.float32)
    plain = ScreenedRows(rows).best(query, 5)

    shifted = ScreenedRows(rows + 100 * np.eye(64, dtype=np.float32)[3]).best(query, 5)

    assert shifted.places.tolist() == plain.places.tolist()
    assert shifted.looked_at <= 2 * plain.looked_at < 200


def test_codes_of_other_rows_are_refused() -> None:
    """As many as there are rows, and as wide."""
    with pytest.raises(ShapeError, match="codes must be those of rows"):
        ScreenedRows(np.ones((4, 8), np.float32), codes=encode_rows(np.ones((3, 8), np.float32)))


def test_compiled_products_are_those_of_whole_numbers() -> None:
    """Four rows with one query, and two rows with four, at the ends of the range."""
    rng = np.random.default_rng(1)
    codes = rng.choice(np.array([-127, 0, 5, 127], np.int8), (4, 96))
    queries = rng.choice(np.array([-2047, 0, 11, 2047], np.int16), (5, 96))

    @njit
    def compiled(codes: Any, queries: Any) -> Any:
        one = four_rows(codes, (0, 1, 2, 3), queries, 4)
        return one, two_rows_four_queries(codes, (1, 3), queries, 1)

    expected = codes.astype(int) @ queries.astype(int).T
    for one, several in (compiled(codes, queries), getattr(compiled, "py_func", compiled)(codes, queries)):
        assert list(one) == expected[:, 4].tolist()
        assert list(several) == [*expected[1, 1:].tolist(), *expected[3, 1:].tolist()]


def test_rows_that_grow_and_shrink_keep_their_codes_right() -> None:
    """After every change the answers are those of a scan of the rows as they are."""
    rng = np.random.default_rng(2)
    mapped = rng.standard_normal((300, 16)).astype(np.float32)
    mapped.flags.writeable = False
    before = mapped.copy()
    store, rows = RowStore(mapped), mapped
    queries = rng.standard_normal((2, 16)).astype(np.float32)
    for turn in range(6):
        if turn % 2:
            kept = rng.random(len(rows)) < 0.7
            store.keep(kept)
            rows = rows[kept]
        else:
            new = (rng.standard_normal((170, 16)) * (turn + 1)).astype(np.float32)
            store.append(new)
            rows = np.concatenate([rows, new])
        found = store.best(queries, 7, None, None)
        for query, places in zip(queries, found.places, strict=True):
            assert places.tolist() == full_scan(rows, query, 7)[0]
        assert store.codes is not None
        assert len(store) == len(store.codes) == len(rows)
    assert (mapped == before).all()
