"""AUROC, average precision, AUPR and the best F1: scikit-learn, loops, and what must not matter."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics as sklearn

from clipfast.metrics.ranking import (
    RankingScores,
    aupr_score,
    auroc_score,
    average_precision_score,
    f1_max_score,
    ranking_scores,
)
from reference import naive_ranking as naive

EXPECTED = Path(__file__).parents[3] / "shared" / "data" / "metric_reference" / "expected_values.json"
SCORES: list[Callable[..., float | RankingScores]] = [
    ranking_scores,
    auroc_score,
    average_precision_score,
    aupr_score,
    f1_max_score,
]
Pair = tuple[NDArray[Any], NDArray[Any]]


def sklearn_scores(labels: NDArray[Any], scores: NDArray[Any]) -> list[float]:
    """The first four figures by scikit-learn."""
    precision, recall, _ = sklearn.precision_recall_curve(labels, scores)
    positive = precision + recall > 0
    f1 = 2 * precision[positive] * recall[positive] / (precision + recall)[positive]
    return [
        sklearn.roc_auc_score(labels, scores),
        sklearn.average_precision_score(labels, scores),
        sklearn.auc(recall, precision),
        f1.max(),
    ]


def four(found: RankingScores) -> list[float]:
    """All but the threshold."""
    return [found.auroc, found.average_precision, found.aupr, found.f1_max]


def drawn(count: int, share: float, values: int, seed: int = 0) -> Pair:
    """Labels of a share, and scores near them; of so many values, or of any."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(count) < share).astype(np.uint8)
    labels[:2] = 0, 1
    scores = labels + rng.normal(0, 1, count)
    return labels, scores if not values else np.floor(scores * values / 4) / 8


# --- scikit-learn --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize(
    ("count", "share", "values"),
    [
        (2, 0.5, 0),  # one of each
        (500, 0.3, 0),
        (500, 0.3, 2),  # a handful of values
        (3000, 0.5, 40),
        (60_000, 0.02, 0),  # the table
        (60_000, 0.02, 500),
        (60_000, 0.6, 0),  # too many distinct positives for it
        (100_000, 0.00001, 0),  # a positive or two
        (100_000, 0.99999, 0),  # a negative or two
    ],
)
def test_scikit_learn_gives_the_same(count: int, share: float, values: int, dtype: str) -> None:
    """Random and tied scores, from balance to extreme imbalance, to 1e-12."""
    labels, scores = drawn(count, share, values)
    scores = scores.astype(dtype)

    assert four(ranking_scores(labels, scores)) == pytest.approx(sklearn_scores(labels, scores), abs=1e-12)


@pytest.mark.parametrize(
    ("labels", "scores", "auroc"),
    [
        ([0, 1], [0, 1], 1.0),
        ([0, 1], [1, 0], 0.0),
        ([0, 1], [0.5, 0.5], 0.5),
        ([0, 0, 1, 1], [3, 3, 3, 3], 0.5),  # all equal
        ([0, 0, 0, 1, 1], [1, 1, 1, 2, 2], 1.0),  # one score per class
        ([0, 0, 0, 1, 1], [2, 2, 2, 1, 1], 0.0),
        ([0, 1, 0, 1], [-0.0, 0.0, 0.0, -0.0], 0.5),  # both zeros are one score
        ([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], 0.75),  # scikit-learn's documentation
        ([1, 0, 0, 1], [1e300, -1e300, 5e-324, 0.0], 0.75),
    ],
)
def test_known_rankings(labels: list[int], scores: list[float], auroc: float) -> None:
    """Small cases by hand; all figures as scikit-learn's."""
    found = ranking_scores(labels, scores)

    assert found.auroc == auroc
    assert four(found) == pytest.approx(sklearn_scores(np.array(labels), np.array(scores)), abs=1e-12)


@pytest.mark.skipif("NUMBA_DISABLE_JIT" in os.environ, reason="minutes without the compiler")
def test_ten_million_scores_are_exact() -> None:
    """AUROC of 10 million tied float32 scores equals scikit-learn's, average precision counts by score, to 1e-12."""
    rng = np.random.default_rng(0)
    scores = rng.random(10_000_000, np.float32)  # multiples of 2**-24
    labels = (rng.random(10_000_000, np.float32) < 0.05 * scores).astype(np.uint8)

    found = ranking_scores(labels, scores)

    ranks = (scores * (1 << 24)).astype(np.int32)
    every, hits = (np.bincount(some, minlength=1 << 24)[::-1] for some in (ranks, ranks[labels == 1]))
    precision = np.cumsum(hits) / np.maximum(np.cumsum(every), 1)
    assert every.max() > 1
    assert found.auroc == pytest.approx(sklearn.roc_auc_score(labels, scores), abs=1e-12)
    assert found.average_precision == pytest.approx(float((hits * precision).sum() / hits.sum()), abs=1e-12)


@pytest.mark.shared
@pytest.mark.skipif(not EXPECTED.is_file(), reason="../shared/data/metric_reference is absent")
def test_shared_values_of_the_best_f1() -> None:
    """Every entry of the shared file: anomalib's unit tests."""
    entries = json.loads(EXPECTED.read_text())["f1_max"]

    assert len(entries) == 2
    for entry in entries:
        found = ranking_scores(entry["labels"], entry["scores"])
        assert found.f1_max == pytest.approx(entry["f1"], abs=1e-12)
        assert found.f1_max_threshold == entry["threshold"]


@pytest.mark.parametrize(
    ("scores", "labels", "f1", "threshold"),
    [
        # anomalib tests/unit/metrics, b7233686 (Apache-2.0)
        ([-0.5, 0, 0.5, 1, 2], [0, 1, 1, 1, 1], 1.0, 0.0),
        ([-0.5, 0, 1, 2, -0.1], [0, 1, 1, 1, 1], 1.0, -0.1),
        # 2/3 at 4 (1 of 2, no false) and at 1 (2 of 2, 2 false): the highest counts
        ([4, 3, 2, 1], [1, 0, 0, 1], 2 / 3, 4.0),
        ([1, 1, 1], [0, 0, 1], 0.5, 1.0),
    ],
)
def test_known_best_f1(scores: list[float], labels: list[int], f1: float, threshold: float) -> None:
    """Published values, and the highest of equal thresholds."""
    found = ranking_scores(labels, scores)

    assert found.f1_max == f1_max_score(labels, scores) == f1
    assert found.f1_max_threshold == threshold


# --- naive twins and what must not matter --------------------------------------------------------------------------

items = st.lists(st.tuples(st.booleans(), st.integers(-6, 6)), min_size=2, max_size=24).filter(
    lambda some: len({label for label, _ in some}) == 2
)
Items = list[tuple[bool, int]]


def arrays(some: Items) -> Pair:
    """Labels, and scores that every type holds exactly."""
    return np.array([label for label, _ in some]), np.array([score / 4 for _, score in some])


@settings(max_examples=150, deadline=None)
@given(some=items)
def test_any_ranking_equals_the_naive_twin(some: Items) -> None:
    """AUROC, F1 and its threshold to the last bit, the sums to 1e-12; every function agrees."""
    labels, scores = arrays(some)
    lists = labels.astype(int).tolist(), scores.tolist()

    found = ranking_scores(labels, scores)

    assert found.auroc == naive.auroc(*lists)
    assert found.average_precision == pytest.approx(naive.average_precision(*lists), abs=1e-12)
    assert found.aupr == pytest.approx(naive.trapezoid_precision(*lists), abs=1e-12)
    assert (found.f1_max, found.f1_max_threshold) == naive.best_f1(*lists)
    assert four(found) == [score(labels, scores) for score in SCORES[1:]]
    assert all(0 <= value <= 1 for value in four(found))


@settings(max_examples=80, deadline=None)
@given(some=items, data=st.data())
def test_neither_order_nor_type_nor_scale_matters(some: Items, data: st.DataObject) -> None:
    """Permutations, exact rising transforms, every float type and integers, threads, shape: the same bits."""
    labels, scores = arrays(some)
    found = ranking_scores(labels, scores)
    order = data.draw(st.permutations(range(len(some))))

    assert ranking_scores(labels[order], scores[order]) == found
    assert four(ranking_scores(labels, 8 * scores + 3)) == four(found)
    assert four(ranking_scores(labels, np.sign(scores) * scores**2)) == four(found)
    for dtype in ("float16", "float32", ">f4", "<f8", ">f2"):
        assert ranking_scores(labels, scores.astype(dtype)) == found
    for kind in ("int8", "int16", ">i4", "int64"):
        assert four(ranking_scores(labels, (4 * scores).astype(kind))) == four(found)
    for kind in ("uint8", "uint16", ">u2", "uint32", "uint64"):
        assert four(ranking_scores(labels, (4 * scores + 6).astype(kind))) == four(found)
    assert ranking_scores(labels[None, :, None], scores[None, :, None], threads=1) == found
    assert ranking_scores(labels.tolist(), scores.tolist(), threads=3) == found


@settings(max_examples=60, deadline=None)
@given(some=items)
def test_the_other_way_round_auroc_is_the_complement(some: Items) -> None:
    """AUROC of the negated scores and of the negated labels is 1 - AUROC."""
    labels, scores = arrays(some)
    complement = pytest.approx(1 - auroc_score(labels, scores), abs=1e-15)

    assert auroc_score(labels, -scores) == complement
    assert auroc_score(~labels, scores) == complement
    assert auroc_score(~labels, -scores) == auroc_score(labels, scores)


@settings(max_examples=80, deadline=None)
@given(some=items)
def test_the_threshold_reaches_the_best_f1(some: Items) -> None:
    """Predicting with it has exactly that F1; no higher score does, no other score has more."""
    labels, scores = arrays(some)
    found = ranking_scores(labels, scores)

    def f1(threshold: float) -> float:
        return float(sklearn.f1_score(labels, scores >= threshold))

    assert f1(found.f1_max_threshold) == pytest.approx(found.f1_max, abs=1e-15)
    for threshold in set(scores.tolist()):
        limit = found.f1_max - (1e-15 if threshold > found.f1_max_threshold else -1e-15)
        assert f1(threshold) < limit


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_many_scores_of_every_order_and_number_of_threads(dtype: str) -> None:
    """600,000 scores are shared by two threads: the same bits as one, three, and another order."""
    labels, scores = drawn(600_000, 0.01, 0)
    scores = scores.astype(dtype)
    order = np.random.default_rng(1).permutation(len(labels))
    found = ranking_scores(labels, scores, threads=1)

    assert ranking_scores(labels, scores, threads=2) == found
    assert ranking_scores(labels, scores, threads=3) == found
    assert ranking_scores(labels[order], scores[order]) == found


def test_scores_that_a_narrower_type_merges_stay_apart() -> None:
    """Neighbours in float64 near 1, in float64 as integers near 2**53, and 16-bit integers beyond float16."""
    assert auroc_score([0, 1], [1.0, 1 + 2**-52]) == 1
    assert auroc_score([0, 1], np.array([1.0, 1 + 2**-52], np.float32)) == 0.5
    assert auroc_score([0, 1], [2**53 - 1, 2**53]) == 1
    assert auroc_score([1, 0], [-(2**53), 1 - 2**53]) == 0
    assert auroc_score([0, 1], np.array([65534, 65535], np.uint16)) == 1


def test_any_memory_layout_is_taken_and_left_alone() -> None:
    """Strided, transposed, reversed, read-only; bool scores; labels of every integer type."""
    labels, scores = drawn(240, 0.4, 3)
    found = ranking_scores(labels, scores)
    wide = np.stack([scores, -scores], axis=1)[:, 0]
    kept = labels.copy(), scores.copy()
    labels.flags.writeable = scores.flags.writeable = False

    assert ranking_scores(labels, wide) == found
    assert ranking_scores(labels[::-1], scores[::-1]) == found
    assert ranking_scores(labels.reshape(12, 20).T, scores.reshape(12, 20).T) == found
    for dtype in ("bool", "int8", "int16", ">i4", "int64", "uint16", ">u4", "uint64"):
        assert ranking_scores(labels.astype(dtype), scores) == found
    assert auroc_score(labels, labels == 1) == 1
    assert (labels == kept[0]).all()
    assert (scores == kept[1]).all()
