"""DeLong's intervals and test beside a naive twin, scikit-learn and many samples."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from clipfast.errors import UndefinedMetricError
from clipfast.metrics.delong import delong_covariance, delong_interval, delong_test
from reference import naive_calibration as naive
from reference.scored_labels import LABELS, SCORES

# --- DeLong --------------------------------------------------------------------------------------------------------

some = st.lists(st.integers(0, 6), min_size=2, max_size=10)


@settings(max_examples=80, deadline=None)
@given(positives=some, negatives=some)
def test_delong_equals_the_naive_twin(positives: list[int], negatives: list[int]) -> None:
    """AUROC and variance pair by pair, with many ties."""
    scores = np.array(positives + negatives)[None]
    labels = np.arange(scores.size) < len(positives)

    found, covariance = delong_covariance(labels, scores)

    assert found[0] == pytest.approx(naive.auroc(positives, negatives), abs=1e-12)
    assert covariance[0, 0] == pytest.approx(naive.delong_variance(positives, negatives), abs=1e-12)


def test_delong_interval_and_scikit_learn() -> None:
    """The estimate is scikit-learn's; the ends are estimate ± z times the square root of the variance."""
    found = delong_interval(LABELS, SCORES, confidence=0.9)
    error = naive.delong_variance(SCORES[LABELS].tolist(), SCORES[~LABELS].tolist()) ** 0.5

    assert found.estimate == pytest.approx(roc_auc_score(LABELS, SCORES), abs=1e-12)
    assert found.low == pytest.approx(found.estimate - 1.6448536269514722 * error, rel=1e-9)
    assert found.high == pytest.approx(min(1.0, found.estimate + 1.6448536269514722 * error), rel=1e-9)
    assert delong_interval(LABELS[::-1].astype(int), SCORES.astype(np.float32)[::-1]).confidence == 0.95


def test_delong_variance_is_that_of_many_samples() -> None:
    """The mean estimated error over 200 draws is the spread of their AUROCs, within 10 %."""
    rng = np.random.default_rng(0)
    labels = np.arange(150) < 50
    drawn = [delong_covariance(labels, rng.normal(labels, 1.0)[None]) for _ in range(200)]

    spread = np.std([float(value[0]) for value, _ in drawn])

    assert np.mean([float(covariance[0, 0]) for _, covariance in drawn]) ** 0.5 == pytest.approx(spread, rel=0.1)


def test_delong_test_uses_the_covariance() -> None:
    """z is the difference over the root of var + var - 2 cov, by loops over sums of the two scores' components."""
    noise = np.random.default_rng(1).normal(0, 1, 60)
    auc, covariance = delong_covariance(LABELS, np.stack([SCORES, SCORES + noise]))

    found = delong_test(LABELS, SCORES, SCORES + noise)

    z = (auc[0] - auc[1]) / (covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]) ** 0.5
    assert found.difference == pytest.approx(auc[0] - auc[1], abs=1e-12)
    assert found.p_value == pytest.approx(2 * scipy.stats.norm.sf(abs(z)), rel=1e-9)
    assert found.interval is not None
    assert found.interval.low < found.difference < found.interval.high


def test_delong_of_systems_that_rank_alike() -> None:
    """A monotone transform does not differ: p = 1, no width; separating systems too."""
    for first in (SCORES, LABELS.astype(float)):
        found = delong_test(LABELS, first, np.exp(first))
        assert (found.difference, found.p_value) == (0.0, 1.0)
        assert found.interval is not None
        assert (found.interval.low, found.interval.high) == (0.0, 0.0)


def test_delong_without_variance_is_undefined() -> None:
    """Scores that separate the classes: no interval of no width; perfect against reversed: no test."""
    with pytest.raises(UndefinedMetricError, match="AUROC is 1 and the variance 0"):
        delong_interval(LABELS, LABELS.astype(float))
    with pytest.raises(UndefinedMetricError, match="the difference is 1 and its variance 0"):
        delong_test(LABELS, LABELS, ~LABELS)
