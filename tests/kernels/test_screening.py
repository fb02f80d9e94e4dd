"""The screened scan gives what a full scan gives, for any rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipfast.errors import ShapeError
from clipfast.kernels.screening import ScreenedRows
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
    count=st.integers(1, 80),
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
