"""Paired comparisons: bootstrap over shared images, t test, permutations."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from clipfast.metrics.delong import delong_test
from clipfast.metrics.intervals import BootstrapOptions, bootstrap_interval
from clipfast.metrics.paired import paired_bootstrap, paired_t_test, permutation_test
from clipfast.metrics.ranking import auroc_score
from reference import naive_calibration as naive
from reference.scored_labels import LABELS, SCORES, VALUES, auroc


def test_paired_bootstrap_sees_what_unpaired_intervals_hide() -> None:
    """A small but constant gain over noisy images is found; identical systems do not differ."""
    better = VALUES + 0.05 + 0.01 * np.sin(np.arange(60))

    found = paired_bootstrap(np.mean, better, VALUES, seed=0)
    same = paired_bootstrap(np.mean, VALUES, VALUES, seed=0)

    assert found.difference == pytest.approx(float((better - VALUES).mean()))
    assert found.interval is not None
    assert 0 < found.interval.low < found.difference < found.interval.high
    assert found.p_value == 1 / 2001
    assert bootstrap_interval(np.mean, better, seed=0).low < VALUES.mean()
    assert (same.difference, same.p_value) == (0.0, 1.0)
    assert same.interval is not None
    assert (same.interval.low, same.interval.high) == (0.0, 0.0)


def test_paired_bootstrap_takes_the_library_s_own_scores() -> None:
    """Truth goes first into the statistic, so predictions of 0 and 1 cannot be taken for it."""
    first, second = (np.median(SCORES) < SCORES).astype(np.uint8), (np.quantile(SCORES, 0.8) < SCORES).astype(np.uint8)
    labels = LABELS.astype(np.uint8)

    found = paired_bootstrap(auroc_score, labels, first, second, seed=0, options=BootstrapOptions(resamples=100))

    assert found.difference == auroc_score(labels, first) - auroc_score(labels, second)
    assert found.difference != auroc_score(first, labels) - auroc_score(second, labels)


def test_paired_bootstrap_shares_labels_and_strata() -> None:
    """A statistic of scores and labels; the interval is that of the plain bootstrap of the difference."""
    other = SCORES[::-1].copy()
    options = BootstrapOptions(resamples=200)

    found = paired_bootstrap(auroc, LABELS, SCORES, other, seed=1, strata=LABELS, options=options)
    plain = bootstrap_interval(
        lambda one, two, labels: auroc(labels, one) - auroc(labels, two),
        *(SCORES, other, LABELS),
        seed=1,
        strata=LABELS,
        options=options,
    )

    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == pytest.approx((plain.low, plain.high), rel=1e-12)


# --- paired tests --------------------------------------------------------------------------------------------------


def test_paired_t_equals_scipy() -> None:
    """p-value and interval of five seeds."""
    first, second = np.array([0.91, 0.93, 0.90, 0.95, 0.94]), np.array([0.90, 0.91, 0.91, 0.93, 0.92])
    theirs = scipy.stats.ttest_rel(first, second)

    found = paired_t_test(first, second, confidence=0.9)

    assert found.p_value == pytest.approx(theirs.pvalue, rel=1e-9)
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == pytest.approx(tuple(theirs.confidence_interval(0.9)), rel=1e-9)


@settings(max_examples=40, deadline=None)
@given(pairs=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=8))
def test_exact_permutation_equals_the_naive_twin(pairs: list[tuple[int, int]]) -> None:
    """All sign patterns; differences of 0 do not matter."""
    first, second = np.array(pairs, float).T

    found = permutation_test(first, second, seed=0)

    assert found.p_value == pytest.approx(naive.sign_flips((first - second).tolist()), abs=1e-12)
    assert found.method == "permutation, exact"


def test_random_permutation_is_near_scipy_and_never_zero() -> None:
    """40 pairs: near scipy's random test; a difference no swap reaches has p = 1 / (1 + resamples)."""
    rng = np.random.default_rng(0)
    first = rng.normal(0, 1, 40)
    second = first + rng.normal(0.2, 1, 40)
    theirs = scipy.stats.permutation_test(
        (first, second),
        lambda one, other, axis: (one - other).mean(axis=axis),
        permutation_type="samples",
        vectorized=True,
        rng=np.random.default_rng(1),
    )

    found = permutation_test(first, second, seed=0)

    assert found.p_value == pytest.approx(theirs.pvalue, abs=0.02)
    assert found == permutation_test(first, second, seed=0)
    assert found.method == "permutation, random"
    assert permutation_test(first + 100, second, seed=0, resamples=999).p_value == 1 / 1000


def test_p_values_are_never_zero() -> None:
    """However large the difference."""
    first, labels = np.arange(2000) % 2 + 1e-9 * np.arange(2000), np.arange(2000) % 2

    assert paired_t_test(first + 1e9, first + np.sin(np.arange(2000)) * 1e-5).p_value > 0
    assert delong_test(labels, first, -first + np.arange(2000) % 97 * 0.05).p_value > 0
    assert permutation_test(np.ones(3), np.zeros(3), seed=0).p_value == 0.25
    assert permutation_test(np.ones(3), np.ones(3), seed=0).p_value == 1.0
