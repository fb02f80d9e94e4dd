"""AUROC of resamples: each draw is the AUROC of the images it counts, and pairs share their resamples."""

from __future__ import annotations

import numpy as np
import pytest

from clipfast.errors import ShapeError, UndefinedMetricError
from clipfast.metrics import auroc_score
from clipfast.metrics.auroc_draws import AurocDraws, LabelWeights


def test_every_draw_is_the_auroc_of_its_images() -> None:
    """Repeating each image as often as its weight says gives the same number, ties and seeds included."""
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat([0, 1], [7, 5]))
    scores = (rng.random((3, 12)) + 0.3 * labels).round(1)
    weights = LabelWeights.of(labels, seed=1, resamples=100)
    found = AurocDraws.of(weights, scores)

    assert found.estimate == pytest.approx(np.mean([auroc_score(labels, row) for row in scores]), abs=1e-12)
    for at in range(0, 100, 7):
        counts = np.empty(12, int)
        counts[labels == 1], counts[labels == 0] = weights.anomalous[at], weights.intact[at]
        assert (counts[labels == 1].sum(), counts[labels == 0].sum()) == (5, 7)
        rows = np.repeat(np.arange(12), counts)
        wanted = np.mean([auroc_score(labels[rows], row[rows]) for row in scores])
        assert found.draws[at] == pytest.approx(wanted, abs=1e-12)


def test_the_spread_is_that_of_theory() -> None:
    """The standard deviation of draws is DeLong's standard error, within a tenth."""
    from clipfast.metrics.delong import delong_covariance

    rng = np.random.default_rng(2)
    labels = np.repeat([0, 1], [120, 80])
    scores = rng.normal(size=200) + labels
    draws = AurocDraws.of(LabelWeights.of(labels, seed=0, resamples=4000), scores).draws

    error = float(np.sqrt(delong_covariance(labels, scores[None])[1][0, 0]))
    assert draws.std() == pytest.approx(error, rel=0.1)


def test_bad_input_is_refused() -> None:
    """One label only, scores of another length, scores that are not finite."""
    with pytest.raises(UndefinedMetricError, match="0 anomalous"):
        LabelWeights.of([0, 0], seed=0)
    weights = LabelWeights.of([0, 1], seed=0, resamples=100)
    for scores in ([0.1], [[0.1, np.nan]]):
        with pytest.raises(ShapeError, match="finite"):
            AurocDraws.of(weights, scores)
