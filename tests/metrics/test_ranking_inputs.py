"""Labels, scores, masks and maps that a metric cannot use: the documented error, and what it says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from clipfast.errors import ShapeError, UndefinedMetricError
from clipfast.metrics.aupro import aupro_legacy200_score, aupro_score, pixel_scores
from clipfast.metrics.ranking import (
    aupr_score,
    auroc_score,
    average_precision_score,
    f1_max_score,
    ranking_scores,
)
from clipfast.metrics.ranking_inputs import as_labels, as_scores

ITEM_SCORES: list[Callable[..., Any]] = [
    ranking_scores,
    auroc_score,
    average_precision_score,
    aupr_score,
    f1_max_score,
]
PIXEL_SCORES: list[Callable[..., Any]] = [pixel_scores, aupro_score, aupro_legacy200_score]
MASK = np.array([[1, 1, 0, 0], [0, 0, 0, 0]], bool)
MAP = np.arange(8.0).reshape(2, 4)


@pytest.mark.parametrize(
    ("given_type", "kept"),
    [
        ("bool", "uint8"),
        ("uint8", "uint8"),
        ("int8", "int32"),  # no eight bytes a pixel
        (">i2", "int32"),
        ("int32", "int32"),
        ("int64", "int64"),
        ("uint16", "int64"),
        (">u8", "int64"),
    ],
)
def test_types_of_labels(given_type: str, kept: str) -> None:
    """Three types reach the kernels, contiguous; what is right already is not copied."""
    labels = np.array([0, 1, 1, 0, 1], given_type)

    for some in (labels, labels[::2]):
        found = as_labels(some)
        assert found.dtype == kept
        assert found.flags.c_contiguous
        assert found.tolist() == some.astype(int).tolist()
    assert np.shares_memory(as_labels(labels), labels) == (given_type in {kept, "bool"})


@pytest.mark.parametrize(
    ("given_type", "kept"),
    [
        *((name, name) for name in ("float16", "float32", "float64", "uint8", "uint16")),
        (">f4", "float32"),
        (">f8", "float64"),
        (">f2", "float16"),
        (">u2", "uint16"),
        ("bool", "uint8"),
        ("int8", "float64"),
        ("int64", "float64"),
        ("uint64", "float64"),
    ],
)
def test_types_of_scores(given_type: str, kept: str) -> None:
    """Five types reach the kernels, in the machine's order of bytes; what is right already is not copied."""
    scores = np.array([0, 1, 1, 0, 1], given_type)

    for some in (scores, scores[::2]):
        found = as_scores(some)
        assert found.dtype == np.dtype(kept)
        assert found.dtype.isnative
        assert found.flags.c_contiguous
        assert found.tolist() == some.astype(float).tolist()
    assert np.shares_memory(as_scores(scores), scores) == (given_type in {kept, "bool"})


@pytest.mark.parametrize("score", ITEM_SCORES)
@pytest.mark.parametrize(
    ("labels", "scores", "error", "message"),
    [
        ([0, 1, 1], [0.1, np.nan, 0.2], ShapeError, "finite; got 1 NaN or infinite among 3, the first at flat index 1"),
        ([0, 1, 1], [np.inf, 0.1, -np.inf], ShapeError, "got 2 NaN or infinite among 3, the first at flat index 0"),
        ([[0, 1]], np.array([[1, np.nan]], np.float16), ShapeError, "flat index 1"),
        ([1, 1], [0.1, 0.2], UndefinedMetricError, "Both classes must occur; got 2 positives among 2 items"),
        ([0, 0], [0.1, 0.2], UndefinedMetricError, "got 0 positives among 2 items"),
        ([0, 0], [0.1, np.nan], ShapeError, "finite"),  # what is broken is told before what is undefined
        ([], [], UndefinedMetricError, "got 0 positives among 0 items"),
        (1, 0.5, UndefinedMetricError, "got 1 positives among 1 items"),  # no dimension
        ([0, 1], [0.1], ShapeError, r"one shape; got \(2,\) and \(1,\)"),
        ([0, 1], [[0.1, 0.2]], ShapeError, r"one shape; got \(2,\) and \(1, 2\)"),
        ([[0], [0, 1]], [[1], [2, 3]], ShapeError, "lists of arrays of one size"),
        ([0, 255], [0.1, 0.2], ShapeError, r"0 or 1; got 255\. Compare"),
        (np.array([0, 255], np.uint8), [0.1, 0.2], ShapeError, "0 or 1; got 255"),
        ([1, -1], [0.1, 0.2], ShapeError, "0 or 1; got -1"),
        (np.array([0, 1 << 32]), [0.1, 0.2], ShapeError, "0 or 1; got 4294967296"),
        (np.array([0, 2**64 - 1], np.uint64), [0.1, 0.2], ShapeError, "0 or 1; got"),
        ([0.0, 1.0], [0.1, 0.2], ShapeError, "bool or integers 0 and 1; got float64"),
        (["0", "1"], [0.1, 0.2], ShapeError, "bool or integers 0 and 1; got <U1"),
        ([0, 1], [1j, 2], ShapeError, "float16, float32, float64 or integers; got complex128"),
        ([0, 1], ["a", "b"], ShapeError, "or integers; got <U1"),
        ([0, 1], [None, 1], ShapeError, "or integers; got object"),
        ([0, 1], [2**53 + 1, 0], ShapeError, r"within 2\*\*53"),
        ([0, 1], [0, -(2**53) - 1], ShapeError, r"within 2\*\*53"),
        ([0, 1], np.array([0, 2**64 - 1], np.uint64), ShapeError, r"within 2\*\*53"),
    ],
)
def test_bad_items_are_refused(
    score: Callable[..., Any], labels: Any, scores: Any, error: type[Exception], message: str
) -> None:
    """With the documented error; the message says what came."""
    with pytest.raises(error, match=message):
        score(labels, scores)


@pytest.mark.parametrize("score", ITEM_SCORES)
def test_threads_of_items_must_be_positive(score: Callable[..., Any]) -> None:
    """Of floats and of patterns."""
    for dtype in (np.float64, np.uint8):
        with pytest.raises(ShapeError, match="threads must be at least 1; got 0"):
            score([0, 1], np.array([0, 1], dtype), threads=0)


@settings(max_examples=30, deadline=None)
@given(
    labels=st.lists(st.integers(0, 1), min_size=2, max_size=20).filter(lambda some: 0 < sum(some) < len(some)),
    value=st.sampled_from([np.nan, np.inf, -np.inf]),
    dtype=st.sampled_from(["float16", "float32", "float64"]),
    data=st.data(),
)
def test_one_bad_score_anywhere_is_found(labels: list[int], value: float, dtype: str, data: st.DataObject) -> None:
    """Wherever it is, whatever its label."""
    at = data.draw(st.integers(0, len(labels) - 1))
    scores = np.arange(len(labels)).astype(dtype)
    scores[at] = value

    with pytest.raises(ShapeError, match=rf"flat index {at}\."):
        ranking_scores(labels, scores)


@pytest.mark.parametrize("score", PIXEL_SCORES)
@pytest.mark.parametrize(
    ("masks", "maps", "error", "message"),
    [
        (MASK & False, MAP, UndefinedMetricError, "At least one mask must hold an anomalous pixel; none of 1 does"),
        (np.zeros((0, 4, 4), bool), np.zeros((0, 4, 4)), UndefinedMetricError, "none of 0 does"),
        (MASK | True, MAP, UndefinedMetricError, "must occur; got 8 positives among 8|must be normal; all 8 are"),
        (MASK, np.where(MASK, np.nan, MAP), ShapeError, "got 2 NaN or infinite among 8, the first at flat index 0"),
        (MASK, np.where(MASK, MAP, np.inf).astype(np.float16), ShapeError, "got 6 NaN or infinite among 8"),
        (MASK * np.uint8(255), MAP, ShapeError, r"0 or 1; got 255\. Compare them"),
        (MASK * -1, MAP, ShapeError, "0 or 1; got -1"),
        (MASK * 1.0, MAP, ShapeError, "bool or integers 0 and 1; got float64"),
        (MASK, MAP[:, :3], ShapeError, r"of one shape; got \(2, 4\) and \(2, 3\)"),
        (MASK, MAP[None], ShapeError, r"of one shape; got \(2, 4\) and \(1, 2, 4\)"),
        (MASK[None, None], MAP[None, None], ShapeError, r"got \(1, 1, 2, 4\) .* drop channel axes"),
        (MASK[0], MAP[0], ShapeError, r"\(n, h, w\) or \(h, w\), of one shape; got \(4,\)"),
        ([], [], ShapeError, r"got \(0,\)"),
        ([MASK, MASK[:1]], [MAP, MAP[:1]], ShapeError, "lists of arrays of one size. Resize"),
        ([MASK, MASK[:, :1]], [MAP, MAP[:, :1]], ShapeError, "lists of arrays of one size. Resize"),
        (MASK, MAP * 1j, ShapeError, "or integers; got complex128"),
        (MASK, MAP.astype(str), ShapeError, "or integers; got <U32"),
        (MASK, MAP.astype(np.int64) + 2**53, ShapeError, r"within 2\*\*53"),
    ],
)
def test_bad_pictures_are_refused(
    score: Callable[..., Any], masks: Any, maps: Any, error: type[Exception], message: str
) -> None:
    """With the documented error; the message says what came."""
    with pytest.raises(error, match=message):
        score(masks, maps)


@pytest.mark.parametrize("score", PIXEL_SCORES)
@pytest.mark.parametrize("limit", [0, -0.1, 1.0000001, np.nan, np.inf])
def test_limits_outside_the_rates_are_refused(score: Callable[..., Any], limit: float) -> None:
    """NaN too."""
    with pytest.raises(ShapeError, match=rf"limit must lie in \(0, 1\]; got {limit}"):
        score(MASK, MAP, limit=limit)


@pytest.mark.parametrize("score", PIXEL_SCORES)
@pytest.mark.parametrize("count", [1, 3])
def test_threads_of_pictures_must_be_positive(score: Callable[..., Any], count: int) -> None:
    """Of one picture and of several."""
    with pytest.raises(ShapeError, match="threads must be at least 1; got 0"):
        score(np.stack([MASK] * count), np.stack([MAP] * count), threads=0)


@pytest.mark.parametrize(
    ("maps", "limit", "message"),
    [
        (np.ones((2, 4)), 0.3, "Scores must span 200 steps of float64; all lie between 1.0 and 1.0"),
        (np.where(MASK, 5e-324, 0), 0.3, "Scores must span"),  # a 200th of the span is 0
        (np.where(MASK, 1e308, -1e308), 0.3, "Scores must span"),  # the span is infinite
        (np.where(MASK, 1.0, 0.0), 0.3, "Two different rates below the limit 0.3 are needed; got 1"),
        (np.where(MASK, 0.0, 1.0), 1.0, "Two different rates .*; got 0"),  # every rate is 1
    ],
)
def test_where_the_script_divides_by_zero(maps: NDArray[Any], limit: float, message: str) -> None:
    """No value is made up; the official one exists."""
    with pytest.raises(UndefinedMetricError, match=message):
        aupro_legacy200_score(MASK, maps, limit=limit)
    assert 0 <= aupro_score(MASK, maps, limit=limit) <= 1


def test_masked_arrays_are_refused() -> None:
    """Their mask would be ignored, and what it hides be counted."""
    labels, scores = np.array([0, 1]), np.ma.masked_array([0.1, 0.2], mask=[False, True])
    with pytest.raises(ShapeError, match="must not be masked arrays"):
        ranking_scores(labels, scores)
