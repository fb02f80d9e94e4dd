"""Levels of a ranking: against loops, for every type, path and number of threads; keys of every float16."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from clipfast.errors import ShapeError, UndefinedMetricError
from clipfast.kernels import ranking
from clipfast.kernels.ranking import (
    Levels,
    levels_of_counts,
    rank_levels,
    require_binary,
    require_finite,
    take_positives,
)
from clipfast.kernels.ranking_keys import SCORE_TYPES, bits_of, count_patterns, keys_of, scores_of
from reference import naive_ranking as naive

FLOATS = ["float16", "float32", "float64"]
# what a score of each type may be at its edges; of floats: both zeros, the smallest numbers, neighbours of 1
EDGES: dict[str, list[float]] = {
    "uint8": [0, 1, 127, 128, 254, 255],
    "uint16": [0, 1, 255, 256, 32767, 32768, 65535],
    **{
        name: [
            float(value)
            for size in (info.smallest_subnormal, info.tiny, info.eps, 1, 1 + info.eps, 1 - info.epsneg, info.max)
            for value in (np.dtype(name).type(size), np.dtype(name).type(-size))
        ]
        + [0.0, -0.0]
        for name, info in ((name, np.finfo(name)) for name in FLOATS)
    },
}


def assert_equals_naive(
    found: Levels, labels: NDArray[Any], scores: NDArray[Any], weights: NDArray[Any] | None = None
) -> None:
    """Every field is that of loops over lists, and of the promised type."""
    expected = naive.levels(labels.tolist(), scores.tolist(), None if weights is None else weights.tolist())
    assert found.scores.dtype == scores.dtype
    assert found.hits.dtype == found.above.dtype == found.upto.dtype == np.int64
    assert found.scores.tolist() == [level[0] for level in expected]
    assert found.hits.tolist() == [level[1] for level in expected]
    assert found.weights.tolist() == pytest.approx([level[2] for level in expected], rel=1e-12)
    assert found.above.tolist() == [level[3] for level in expected]
    assert found.upto.tolist() == [level[4] for level in expected]
    assert found.positives == labels.sum()
    assert found.negatives == len(labels) - labels.sum()


@settings(max_examples=150, deadline=None)
@given(
    dtype=st.sampled_from(sorted(EDGES)),
    label_type=st.sampled_from([np.uint8, np.int32, np.int64]),
    weighted=st.booleans(),
    table=st.booleans(),
    data=st.data(),
)
def test_any_few_scores_equal_the_naive_twin(
    dtype: str, label_type: type[np.integer[Any]], weighted: bool, table: bool, data: st.DataObject
) -> None:
    """Ties, edges of each type, both zeros; by sorting or by the table; weights or none."""
    values = data.draw(st.lists(st.sampled_from(EDGES[dtype]), min_size=2, max_size=30))
    drawn = data.draw(st.lists(st.integers(0, 1), min_size=len(values), max_size=len(values)))
    labels, scores = np.array([1, 0, *drawn[2:]], label_type), np.array(values, dtype)
    weights = np.random.default_rng(len(values)).random(int(labels.sum())) if weighted else None

    with pytest.MonkeyPatch.context() as patch:
        if table:
            patch.setattr(ranking, "_SMALL", 1)
            patch.setattr(ranking, "_RARE", 0)
        found = rank_levels(labels, scores, weights=weights)

    assert_equals_naive(found, labels, scores, weights)


@pytest.mark.parametrize("dtype", sorted(SCORE_TYPES))
@pytest.mark.parametrize("share", [0.002, 0.5, 0.998])
def test_more_than_a_byte_of_items_equal_the_naive_twin(dtype: str, share: float) -> None:
    """700 scores of few values, rare and frequent positives: no count is kept in the labels' own type."""
    rng = np.random.default_rng(3)
    labels = (rng.random(700) < share).astype(np.uint8)
    labels[:2] = 0, 1
    scores = rng.integers(0, 60, 700).astype(dtype)
    weights = rng.random(int(labels.sum()))

    assert_equals_naive(rank_levels(labels, scores, weights=weights), labels, scores, weights)


@pytest.mark.parametrize("dtype", sorted(SCORE_TYPES))
def test_threads_do_not_change_a_bit(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One, two, three and seven threads: the same arrays, by the table and by sorting."""
    monkeypatch.setattr(ranking, "_WORTH_A_THREAD", 100)
    rng = np.random.default_rng(4)
    labels = (rng.random(1000) < 0.1).astype(np.uint8)
    scores = (rng.normal(60, 20, 1000).clip(0, 255)).astype(dtype)
    weights = rng.random(int(labels.sum()))

    for small in (1, 1 << 15):
        monkeypatch.setattr(ranking, "_SMALL", small)
        first, *others = (rank_levels(labels, scores, weights=weights, threads=count) for count in (1, 2, 3, 7))
        assert_equals_naive(first, labels, scores, weights)
        for other in others:
            for name in ("scores", "hits", "weights", "above", "upto"):
                assert getattr(other, name).tobytes() == getattr(first, name).tobytes()


def test_read_only_arrays_are_ranked() -> None:
    """Memory-mapped scores cannot be written."""
    labels, scores = np.array([0, 1, 0], np.uint8), np.array([0.1, 0.5, 0.7], np.float32)
    labels.flags.writeable = scores.flags.writeable = False

    assert rank_levels(labels, scores).above.tolist() == [1]


# --- bad input -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("small", [1, 1 << 15])  # by the table; by sorting
@pytest.mark.parametrize("at", [0, 3, 6, 7])  # a negative, a positive, the last positive, the last negative
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(
    value: float, at: int, small: int, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With how many there are and where the first is, whichever path counts."""
    monkeypatch.setattr(ranking, "_SMALL", small)
    monkeypatch.setattr(ranking, "_RARE", 1)
    scores = np.arange(8).astype(dtype)
    scores[at] = value

    with pytest.raises(ShapeError, match=rf"must be finite; got 1 NaN or infinite among 8, .* flat index {at}\."):
        rank_levels(np.array([0, 1, 0, 1, 0, 0, 1, 0], np.uint8), scores)


def test_a_part_of_another_thread_is_looked_at_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A NaN among the scores of the last thread only."""
    monkeypatch.setattr(ranking, "_WORTH_A_THREAD", 10)
    scores, labels = np.arange(40.0), np.arange(40) % 2
    scores[38] = np.nan

    with pytest.raises(ShapeError, match="flat index 38"):
        rank_levels(labels, scores, threads=3)


@pytest.mark.parametrize(
    ("label", "dtype"),
    [
        (2, np.uint8),
        (255, np.uint8),
        (-1, np.int32),
        (1 << 32, np.int64),  # whose lower half is 0
    ],
)
def test_other_labels_are_refused(label: int, dtype: type[np.integer[Any]]) -> None:
    """The message shows the label and how to mend it."""
    labels = np.array([0, 1, label], dtype)

    with pytest.raises(ShapeError, match=rf"must be 0 or 1; got {label}\. Compare"):
        rank_levels(labels, np.zeros(3))
    with pytest.raises(ShapeError, match=rf"got {label}\."):
        require_binary(labels)


@pytest.mark.parametrize("labels", [[0, 0], [1, 1], []])
def test_one_class_has_no_rank(labels: list[int]) -> None:
    """Nor has nothing; scores that are not finite are told first."""
    some = np.array(labels, np.uint8)

    with pytest.raises(UndefinedMetricError, match=rf"got {sum(labels)} positives among {len(labels)} items"):
        rank_levels(some, np.zeros(len(labels)))
    if labels:
        with pytest.raises(ShapeError, match="finite"):
            rank_levels(some, np.full(2, np.nan))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("threads", [0, -1])
def test_threads_must_be_positive(threads: int, dtype: type[np.number[Any]]) -> None:
    """No silent fallback, whichever path counts."""
    with pytest.raises(ShapeError, match=f"threads must be at least 1; got {threads}"):
        rank_levels(np.array([0, 1]), np.array([0, 1], dtype), threads=threads)


# --- parts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("label_type", [np.uint8, np.int32, np.int64])
@pytest.mark.parametrize("dtype", [*SCORE_TYPES, "int32"])
def test_positives_are_taken_in_order(dtype: str, label_type: type[np.integer[Any]]) -> None:
    """Every type, more than a byte counts, with the last label set and not; NaN come through."""
    labels = np.array([0, 1, 1] * 200 + [1, 0, 1], label_type)
    values = np.arange(603).astype(dtype)
    if values.dtype.kind == "f":
        values[1] = np.nan

    for end in (602, 603):
        taken = take_positives(labels[:end], values[:end], int(labels[:end].sum()))
        assert taken.dtype == values.dtype
        np.testing.assert_array_equal(taken, values[:end][labels[:end] == 1])


def test_no_positive_is_an_empty_array() -> None:
    """The place to spare is not among what is returned."""
    assert take_positives(np.zeros(3, np.uint8), np.ones(3, np.float16), 0).tolist() == []


@settings(max_examples=60, deadline=None)
@given(counts=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=8))
def test_levels_of_counts_equal_those_of_items(counts: list[tuple[int, int]]) -> None:
    """Counts by score are the same ranking as the items they count."""
    labels = np.array([label for pair in counts for label in [1] * pair[0] + [0] * pair[1]], np.int64)
    scores = np.array([at / 4 for at, pair in enumerate(counts) for _ in range(sum(pair))])
    hits = np.array([hit for hit, _ in counts])
    found = levels_of_counts(
        np.arange(len(counts)) / 4, hits, np.array([other for _, other in counts]), hits.astype(float)
    )

    assert_equals_naive(found, labels, scores)


def test_finite_scores_pass() -> None:
    """The largest numbers and no numbers are finite."""
    require_finite(np.array([np.finfo(np.float64).max, -np.finfo(np.float64).max]))
    require_finite(np.empty(0, np.float16))
    require_finite(np.arange(3, dtype=np.uint8))


# --- keys ----------------------------------------------------------------------------------------------------------


def test_keys_of_every_float16_have_its_order_and_lead_back() -> None:
    """All 63,488 finite patterns: the sorted keys sort the scores, equal keys mean equal scores, -0.0 becomes 0.0."""
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    every = every[np.isfinite(every)]
    keys = keys_of(every)
    order = np.argsort(keys, kind="stable")

    assert len(every) == 63488
    assert keys.dtype == np.int16
    rises = np.diff(every[order].astype(np.float64)) > 0
    assert (rises == (np.diff(keys[order].astype(np.int64)) > 0)).all()
    assert (~rises).sum() == 1  # the two zeros
    assert (scores_of(keys.astype(np.int64), every.dtype) == every).all()
    assert not np.signbit(scores_of(np.array([0]), every.dtype)[0])


@pytest.mark.parametrize("dtype", sorted(SCORE_TYPES))
def test_keys_at_the_edges_of_each_type(dtype: str) -> None:
    """Neighbours have neighbouring keys; any shape; the way back is exact."""
    scores = np.array(sorted(set(EDGES[dtype])), dtype)
    keys = keys_of(scores)

    assert (np.diff(keys.astype(object)) > 0).all()
    assert keys.dtype.itemsize == scores.dtype.itemsize
    assert scores_of(keys.astype(np.int64), scores.dtype).tolist() == scores.tolist()
    assert keys_of(scores[None, :, None]).shape == (1, len(scores), 1)
    if scores.dtype.kind == "f":
        following = keys_of(np.nextafter(scores[1:-1], np.array(np.inf, dtype)))
        assert following.tolist() == [0 if key == -2 else key + 1 for key in keys[1:-1].tolist()]  # -1 would be -0.0
        assert np.shares_memory(bits_of(scores), scores)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16"])
def test_patterns_are_counted_by_label(dtype: str) -> None:
    """Each pattern in its own place, the two zeros apart."""
    scores = np.array([0, 1, 1, 3, 3, 3], dtype)
    if dtype == "float16":
        scores[0] = -0.0
    counts = count_patterns(np.array([1, 0, 1, 0, 0, 1], np.uint8), scores)
    patterns = scores.view(f"uint{8 * scores.dtype.itemsize}")[[0, 1, 3]]

    assert counts.shape == (2, 1 << 8 * scores.dtype.itemsize)
    assert counts.sum() == 6
    assert counts[:, patterns].tolist() == [[0, 1, 2], [1, 1, 1]]
