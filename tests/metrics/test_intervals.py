"""Bootstrap, DeLong, paired tests and Wilson: loops, scipy, coverage, bad input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest
import scipy.stats
from numpy.typing import NDArray

from clipfast.errors import ShapeError, UndefinedMetricError
from clipfast.metrics.delong import delong_interval, delong_test
from clipfast.metrics.intervals import BootstrapOptions, bootstrap_interval, wilson_interval
from clipfast.metrics.paired import paired_bootstrap, paired_t_test, permutation_test
from clipfast.metrics.resampling import bootstrap_ends
from reference.scored_labels import LABELS, SCORES, VALUES, auroc


def slow_mean(values: NDArray[Any]) -> float:
    """A statistic without `axis`."""
    return float(values.mean())


# --- bootstrap -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("values", [VALUES, np.rint(VALUES)], ids=["smooth", "resamples tie with the estimate"])
@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_ends_equal_those_of_scipy(method: Literal["percentile", "bca"], values: NDArray[np.float64]) -> None:
    """Given scipy's own resamples, both methods read the same ends."""
    theirs = scipy.stats.bootstrap((values,), np.mean, n_resamples=999, method=method, rng=np.random.default_rng(1))
    folds = [np.array([np.delete(values, row).mean() for row in range(60)])] if method == "bca" else None

    ends = bootstrap_ends(theirs.bootstrap_distribution, float(values.mean()), folds, 0.95)

    assert ends == pytest.approx((theirs.confidence_interval.low, theirs.confidence_interval.high), rel=1e-12)


@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_unpaired_bca_equals_scipy(method: Literal["percentile", "bca"]) -> None:
    """Two samples of other lengths: near scipy's interval of the difference of means."""

    def difference(one: NDArray[Any], other: NDArray[Any], axis: int = -1) -> Any:
        return one.mean(axis=axis) - other.mean(axis=axis)

    other = VALUES[:25] ** 1.5
    options = BootstrapOptions(method=method, resamples=4000)

    ours = bootstrap_interval(difference, VALUES, other, seed=0, paired=False, options=options)
    theirs = scipy.stats.bootstrap(
        (VALUES, other), difference, n_resamples=4000, method=method, rng=np.random.default_rng(1)
    ).confidence_interval

    assert ours.estimate == pytest.approx(VALUES.mean() - other.mean())
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.12)


def test_vectorised_and_plain_statistics_agree() -> None:
    """The same seed draws the same images whether the statistic takes `axis` or not, however they are chunked."""
    fast = bootstrap_interval(np.mean, VALUES, seed=3)
    slow = bootstrap_interval(slow_mean, VALUES, seed=3)

    assert (fast.low, fast.high) == pytest.approx((slow.low, slow.high), rel=1e-12)
    assert fast == bootstrap_interval(np.mean, VALUES, seed=3)
    assert fast != bootstrap_interval(np.mean, VALUES, seed=4)
    assert fast.low < fast.estimate == VALUES.mean() < fast.high


def test_chunks_do_not_lose_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many small chunks give what one large one gives."""
    whole = bootstrap_interval(np.mean, VALUES, seed=3)
    monkeypatch.setattr("clipfast.metrics.resampling._CHUNK", 7 * len(VALUES))

    assert bootstrap_interval(np.mean, VALUES, seed=3) == whole


def test_whole_images_are_resampled() -> None:
    """Rows stay together: scores and labels of (n, ...) samples come from the same image."""
    maps = np.repeat(np.arange(20.0)[:, None], 9, axis=1).reshape(20, 3, 3)
    seen: list[bool] = []

    def together(some: NDArray[Any], labels: NDArray[Any]) -> float:
        seen.append(bool((some == labels[:, None, None]).all()))
        return float(some.mean())

    bootstrap_interval(together, maps, np.arange(20), seed=0, options=BootstrapOptions(resamples=100))

    assert len(seen) == 1 + 100 + 20
    assert all(seen)


def test_strata_keep_their_size() -> None:
    """With strata every resample has both classes; without, a rare class is missed and said so."""
    labels = np.arange(30) < 2
    scores = np.random.default_rng(0).random(30)

    found = bootstrap_interval(auroc, labels, scores, seed=0, strata=labels, options=BootstrapOptions(resamples=200))

    assert found.low < found.estimate < found.high
    with pytest.raises(UndefinedMetricError, match=r"Pass strata=labels.*one class only"):
        bootstrap_interval(auroc, labels, scores, seed=0)


@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_intervals_cover_the_truth(method: Literal["percentile", "bca"]) -> None:
    """Of 200 intervals of a mean at 90 %, between 83 and 96 % hold it (seeded)."""
    rng = np.random.default_rng(5)
    options = BootstrapOptions(method=method, resamples=400, confidence=0.9)
    found = [bootstrap_interval(np.mean, rng.normal(1, 2, 40), seed=seed, options=options) for seed in range(200)]

    assert 0.83 <= np.mean([one.low <= 1 <= one.high for one in found]) <= 0.96


def test_equal_resamples_give_an_interval_without_width() -> None:
    """A constant has no spread, and BCa says so too instead of failing."""
    assert bootstrap_interval(np.mean, np.full(10, 0.5), seed=0).low == 0.5
    assert bootstrap_interval(np.mean, np.full(10, 0.5), seed=0).high == 0.5


def test_bca_refuses_a_statistic_at_its_bound() -> None:
    """The largest value of a sample is never exceeded by a resample: no bias can be read; percentile can."""
    values = np.arange(100.0)

    def lowered(some: NDArray[Any]) -> float:
        return float(some.max()) if len(np.unique(some)) == len(some) else float(some.max()) - 1

    with pytest.raises(UndefinedMetricError, match=r"both sides of the estimate.*percentile"):
        bootstrap_interval(lowered, values, seed=0)
    bootstrap_interval(lowered, values, seed=0, options=BootstrapOptions(method="percentile"))


@pytest.mark.parametrize("strata", [np.array([np.nan] * 30 + [1.0] * 30), np.array([None] * 60), np.zeros(60)])
def test_strata_that_are_no_names_are_refused(strata: NDArray[Any]) -> None:
    """NaN is equal to nothing: such rows would silently be left out."""
    with pytest.raises(ShapeError, match="strata must be bool, integers or strings"):
        bootstrap_interval(np.mean, VALUES, seed=0, strata=strata)


def test_wilson_takes_integers_of_any_width() -> None:
    """NumPy's small integers do not overflow; numbers with a fraction are refused."""
    assert wilson_interval(np.uint8(100), np.uint8(200)) == wilson_interval(100, 200)  # type: ignore[arg-type]  # as from NumPy
    assert wilson_interval(np.int32(50_000), np.int32(100_000)) == wilson_interval(50_000, 100_000)  # type: ignore[arg-type]  # the same
    with pytest.raises(ShapeError, match="must be integers"):
        wilson_interval(2.5, 10)  # type: ignore[arg-type]  # that is the point


# --- DeLong --------------------------------------------------------------------------------------------------------


# --- Wilson --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (3, 10), (10, 10), (1, 1), (499, 1000)])
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_wilson_equals_scipy(successes: int, trials: int, confidence: float) -> None:
    """Both ends, at 0 and 1 as well."""
    theirs = scipy.stats.binomtest(successes, trials).proportion_ci(confidence, method="wilson")

    found = wilson_interval(successes, trials, confidence)

    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
    assert 0 <= found.low <= found.estimate <= found.high <= 1


# --- bad input -----------------------------------------------------------------------------------------------------

TWO = np.array([1.0, 2.0])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: bootstrap_interval(np.mean, seed=0), "at least one sample"),
        (lambda: bootstrap_interval(np.mean, np.array([1.0, np.nan]), seed=0), "sample 0 holds NaN"),
        (lambda: bootstrap_interval(np.mean, np.array([1.0, np.inf]), seed=0), "infinite"),
        (lambda: bootstrap_interval(np.mean, np.array(3.0), seed=0), r"samples must be \(n, ...\)"),
        (lambda: bootstrap_interval(auroc, VALUES, LABELS[:-1], seed=0), "paired samples must have one row"),
        (lambda: bootstrap_interval(lambda x: x, VALUES, seed=0), "must return one number"),
        (lambda: bootstrap_interval(np.mean, VALUES.reshape(20, 3), seed=0), "must return one number"),
        (lambda: bootstrap_interval(np.mean, VALUES, seed=0, strata=LABELS[:5]), r"strata must be \(60,\)"),
        (lambda: bootstrap_interval(np.mean, VALUES, seed=0, strata=LABELS, paired=False), "with paired=True"),
        (lambda: BootstrapOptions(method="basic"), "got 'basic'"),  # type: ignore[arg-type]  # what is tested
        (lambda: BootstrapOptions(resamples=10), "at least 100; got 10"),
        (lambda: BootstrapOptions(confidence=95), r"\(0, 1\), such as 0.95; got 95"),
        (lambda: wilson_interval(5, 4), "got 5 of 4"),
        (lambda: wilson_interval(-1, 4), "got -1 of 4"),
        (lambda: wilson_interval(1, 4, 1.0), "confidence must be"),
        (lambda: delong_interval(LABELS, SCORES[:5]), r"got \(1, 5\) and \(60,\)"),
        (lambda: delong_interval(LABELS, SCORES[None]), r"scores must be \(n,\); got \(1, 60\)"),
        (lambda: delong_interval(LABELS, np.where(LABELS, np.nan, 1)), "scores must be finite"),
        (lambda: delong_interval(LABELS * 2, SCORES), "labels must be 0 or 1"),
        (lambda: delong_interval(LABELS, SCORES, 2), "confidence must be"),
        (lambda: delong_test(LABELS, SCORES, SCORES[:5]), r"got \(60,\) and \(5,\)"),
        (lambda: paired_t_test(TWO, np.ones(3)), "one row for each of the same images"),
        (lambda: paired_t_test(np.ones((2, 2)), np.ones((2, 2))), "one figure a pair"),
        (lambda: paired_t_test(np.array(["a", "b"]), np.array(["a", "b"])), "must be numbers"),
        (lambda: paired_t_test(np.array([1, np.nan]), TWO), "NaN"),
        (lambda: permutation_test(TWO, TWO, seed=0, resamples=10), "at least 99; got 10"),
    ],
)
def test_bad_input_is_named(call: Callable[[], Any], words: str) -> None:
    """The message says what must be and what came."""
    with pytest.raises(ShapeError, match=words):
        call()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: bootstrap_interval(np.mean, np.ones(1), seed=0), "at least two images"),
        (lambda: bootstrap_interval(np.mean, np.zeros(0), seed=0), "at least two images"),
        (lambda: bootstrap_interval(lambda x: float("nan"), VALUES, seed=0), "It returned nan"),
        (lambda: wilson_interval(0, 0), "at least one trial"),
        (lambda: delong_interval(np.ones(60), SCORES), "got 60 and 0"),
        (lambda: delong_interval(np.arange(60) == 7, SCORES), "got 1 and 59"),
        (lambda: delong_interval(np.zeros(0, int), np.zeros(0)), "got 0 and 0"),
        (lambda: paired_t_test(TWO, TWO + 0.1), "differences that vary"),
        (lambda: paired_t_test(TWO, TWO), "differences that vary"),
        (lambda: paired_t_test(np.ones(1), np.ones(1)), "at least two images"),
        (lambda: permutation_test(np.ones(1), np.ones(1), seed=0), "at least two images"),
    ],
)
def test_what_does_not_exist_is_said(call: Callable[[], Any], words: str) -> None:
    """No image, one class only, no spread: an error, never a number."""
    with pytest.raises(UndefinedMetricError, match=words):
        call()


def test_read_only_and_strided_samples() -> None:
    """Layout and flags do not matter."""
    wide = np.repeat(VALUES, 2)
    wide.setflags(write=False)

    assert bootstrap_interval(np.mean, wide[::2], seed=0) == bootstrap_interval(np.mean, VALUES, seed=0)
    assert delong_interval(LABELS, np.repeat(SCORES, 2)[::2]) == delong_interval(LABELS, SCORES)
    assert permutation_test(wide[::2], VALUES[::-1], seed=0) == permutation_test(VALUES, VALUES[::-1], seed=0)


@pytest.mark.parametrize("seed", [-1, None, 1.5, True])
def test_a_seed_is_an_integer_from_0(seed: Any) -> None:
    """None would give another result every time."""
    for call in (
        lambda: bootstrap_interval(np.mean, VALUES, seed=seed),
        lambda: paired_bootstrap(np.mean, VALUES, VALUES[::-1], seed=seed),
        lambda: permutation_test(VALUES, VALUES[::-1], seed=seed),
    ):
        with pytest.raises(ShapeError, match="seed must be an integer from 0"):
            call()


def test_resamples_are_whole() -> None:
    """Half a resample is named, not NumPy's error."""
    with pytest.raises(ShapeError, match=r"resamples must be an integer, at least 100; got 200\.5"):
        BootstrapOptions(resamples=200.5)  # type: ignore[arg-type]  # what must be refused
    with pytest.raises(ShapeError, match=r"resamples must be an integer, at least 99; got 150\.5"):
        permutation_test(VALUES, VALUES[::-1], seed=0, resamples=150.5)  # type: ignore[arg-type]  # what must be refused
