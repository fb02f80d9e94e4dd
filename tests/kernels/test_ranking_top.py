"""Sifting: what is kept ranks as it ranks among all, and whatever could mislead is left to the whole ranking."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from clipfast.errors import ShapeError
from clipfast.kernels import ranking_top
from clipfast.kernels.ranking import rank_levels
from clipfast.kernels.ranking_top import take_top
from clipfast.metrics.aupro import aupro_score

Items = tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float64]]


@pytest.fixture(autouse=True)
def _small_is_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking_top, "_WORTH_IT", 1)


def items(seed: int, count: int = 40_000) -> Items:
    """Few positives, mostly high, weights that tell them apart."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(count) < 0.05).astype(np.uint8)
    scores = (rng.standard_normal(count) + labels).astype(np.float32)
    return labels, scores.round(3), np.arange(1.0, labels.sum() + 1)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("rate", [0.01, 0.3, 0.5])
def test_what_is_kept_is_all_that_lies_above_a_score(rate: float, threads: int) -> None:
    """Items, order and weights are those of a comparison with the lowest score kept; enough negatives are there."""
    labels, scores, weights = items(0)
    top = take_top(labels, scores, weights, rate, threads)
    assert top is not None
    above = scores >= top[1].min()

    assert np.array_equal(top[0], labels[above])
    assert np.array_equal(top[1], scores[above])
    assert np.array_equal(top[2], weights[above[labels == 1]])
    assert (top[0] == 0).sum() >= rate * (labels == 0).sum()
    assert above.mean() < rate + 0.1


def test_levels_of_the_top_are_the_first_levels_of_all() -> None:
    """Counts from above do not change by leaving out what lies below."""
    labels, scores, weights = items(1)
    top = take_top(labels, scores, weights, 0.3, 2)
    assert top is not None
    some, every = rank_levels(top[0], top[1], weights=top[2]), rank_levels(labels, scores, weights=weights)

    for name in ("scores", "hits", "weights", "above", "upto"):
        assert np.array_equal(getattr(some, name), getattr(every, name)[: len(some.scores)]), name
    assert len(some.scores) < len(every.scores)


def test_it_is_left_where_it_cannot_help_or_could_mislead() -> None:
    """Too large a rate, no positive on top, a score that is not finite, a sample that is not like the rest."""
    labels, scores, weights = items(2)
    assert take_top(labels, scores, weights, 0.6, 2) is None
    assert take_top(labels, np.where(labels == 1, np.float32(-9), scores), weights, 0.3, 2) is None
    for where in (0, 1, 39_999):  # the first is in the sample
        bad = scores.copy()
        bad[where] = np.nan
        assert take_top(labels, bad, weights, 0.3, 2) is None


def test_a_misleading_sample_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the sampled scores lie above nearly all others, too few negatives remain, and everything is ranked."""
    monkeypatch.setattr(ranking_top, "_SAMPLE", 100)
    labels, scores, weights = items(3)
    scores[::400] += 50

    assert take_top(labels, scores, weights, 0.3, 2) is None


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("limit", [0.05, 0.3])
def test_aupro_is_the_same_with_and_without(dtype: Any, limit: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the rounding of a sum."""
    rng = np.random.default_rng(4)
    masks = np.zeros((3, 60, 70), bool)
    masks[:2, 10:20, 5:12] = masks[0, 40:50, 30:31] = True
    maps = (rng.standard_normal(masks.shape) + masks).astype(dtype)
    sifted = aupro_score(masks, maps, limit=limit)
    monkeypatch.setattr(ranking_top, "_WORTH_IT", 1 << 40)

    assert sifted == pytest.approx(aupro_score(masks, maps, limit=limit), abs=1e-14)


def test_a_nan_below_the_limit_is_still_refused() -> None:
    """No score goes unlooked at."""
    masks, maps = np.zeros((1, 50, 50), bool), np.random.default_rng(5).random((1, 50, 50))
    masks[0, 3:9, 3:9], maps[0, 40, 41] = True, np.nan
    with pytest.raises(ShapeError, match="must be finite; got 1 NaN"):
        aupro_score(masks, maps)
