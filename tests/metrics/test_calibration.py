"""Calibration errors and temperature: loops, scikit-learn, known values, bad input."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import brier_score_loss, log_loss

from clipfast.errors import ShapeError, UndefinedMetricError
from clipfast.metrics.calibration import (
    adaptive_calibration_error,
    brier_error,
    expected_calibration_error,
    maximum_calibration_error,
    negative_log_likelihood_error,
    reliability_table,
)
from clipfast.metrics.delong import delong_covariance
from clipfast.metrics.temperature import apply_temperature, fit_temperature
from reference import naive_calibration as naive

ERRORS = [
    expected_calibration_error,
    maximum_calibration_error,
    adaptive_calibration_error,
    brier_error,
    negative_log_likelihood_error,
]


def predictions(seed: int, count: int, classes: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Probabilities and labels drawn from something near them."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (count, classes))
    chosen = (0.6 * logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    return apply_temperature(logits), chosen


# Weights of few values, so that rows repeat and land on the edges of bins.
weights = st.lists(st.tuples(*[st.integers(0, 4)] * 3), min_size=1, max_size=20)


@settings(max_examples=100, deadline=None)
@given(weights=weights, bins=st.integers(1, 12), data=st.data())
def test_binned_errors_equal_the_naive_twin(weights: list[tuple[int, ...]], bins: int, data: st.DataObject) -> None:
    """ECE, MCE and ACE by loops over bins; ties, edges and empty bins included."""
    rows = np.array([[w / sum(row) for w in row] if sum(row) else [0.5, 0.25, 0.25] for row in weights])
    labels = data.draw(st.lists(st.integers(0, 2), min_size=len(rows), max_size=len(rows)))
    judged = naive.predictions(rows.tolist(), labels)
    width, mass = naive.bins_of_equal_width(judged, bins), naive.bins_of_equal_mass(judged, bins)

    truth = np.array(labels)
    table = reliability_table(truth, rows, bins=bins)

    assert table.counts.tolist() == [len(filled) for filled in width]
    assert expected_calibration_error(truth, rows, bins=bins) == pytest.approx(naive.expected_error(width), abs=1e-12)
    assert maximum_calibration_error(truth, rows, bins=bins) == pytest.approx(
        max(naive.gap(filled) for filled in width if filled), abs=1e-12
    )
    assert adaptive_calibration_error(truth, rows, bins=bins) == pytest.approx(naive.expected_error(mass), abs=1e-12)
    assert reliability_table(truth, rows, bins=bins, binning="equal_mass").counts.tolist() == [len(b) for b in mass]


@pytest.mark.parametrize(
    ("confidence", "place"),
    [(0.6, 2), (np.nextafter(0.6, 1), 3), (0.8, 3), (1.0, 4), (0.5, 2), (np.float32(0.6), 3)],
)
def test_bins_are_closed_on_the_right(confidence: float, place: int) -> None:
    """(lo, hi] in float64: 0.6 is in (0.4, 0.6], the float32 next to it is not."""
    table = reliability_table(np.array([1]), np.array([confidence]), bins=5)

    assert np.flatnonzero(table.counts).tolist() == [place]
    assert np.isnan(table.accuracy[table.counts == 0]).all()
    assert np.isnan(table.gaps()[table.counts == 0]).all()


def test_the_order_of_rows_does_not_matter() -> None:
    """With many equal confidences, half of them right, every order gives the same ACE."""
    probs = np.array([0.7] * 10 + [0.9] * 10)
    labels = np.array([1, 0] * 5 + [1] * 10)
    orders = [np.random.default_rng(seed).permutation(20) for seed in range(5)]

    found = {adaptive_calibration_error(labels[order], probs[order], bins=7) for order in orders}

    assert len({round(value, 14) for value in found}) == 1
    assert found.pop() == pytest.approx((0.2 + 0.1) / 2)


def test_known_values() -> None:
    """Ten predictions of 0.8 of which seven are right: 0.1 by every binning; Brier by hand."""
    probs, labels = np.full(10, 0.8), np.array([1] * 7 + [0] * 3)

    for error in ERRORS[:3]:
        assert error(labels, probs) == pytest.approx(0.1)
    assert brier_error(labels, probs) == pytest.approx(0.7 * 0.04 + 0.3 * 0.64)
    assert negative_log_likelihood_error(labels, probs) == pytest.approx(-0.7 * math.log(0.8) - 0.3 * math.log(0.2))


def test_two_classes_mean_the_same_in_either_form() -> None:
    """(n,) of class 1 and the two columns [1 - p, p] agree; Brier of two columns is twice that of one."""
    probs, labels = np.random.default_rng(0).random(200), np.random.default_rng(1).integers(0, 2, 200)
    columns = np.stack([1 - probs, probs], axis=1)

    for error in ERRORS:
        factor = 2 if error is brier_error else 1
        assert error(labels, columns) == pytest.approx(factor * error(labels, probs), rel=1e-12)


def test_brier_and_log_loss_equal_scikit_learn() -> None:
    """Two classes and five."""
    probs, labels = predictions(0, 300, 5)
    two, truth = probs[:, 0], labels == 0

    assert brier_error(truth, two) == pytest.approx(brier_score_loss(truth, two), rel=1e-12)
    assert brier_error(labels, probs) == pytest.approx(
        brier_score_loss(labels, probs, labels=range(5), scale_by_half=False), rel=1e-12
    )
    assert negative_log_likelihood_error(labels, probs) == pytest.approx(log_loss(labels, probs), rel=1e-12)
    assert negative_log_likelihood_error(truth, two) == pytest.approx(log_loss(truth, two), rel=1e-12)


def test_a_true_class_of_probability_zero_costs_infinity() -> None:
    """Nothing is clipped."""
    assert negative_log_likelihood_error(np.array([1]), np.array([[1.0, 0.0]])) == math.inf
    assert str(negative_log_likelihood_error(np.array([0]), np.array([[1.0, 0.0]]))) == "0.0"  # and not -0.0


# --- temperature ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1e-3, 0.01, 1.0, 100.0, 1e6])
def test_the_fitted_temperature_is_the_best_of_its_neighbours(scale: float) -> None:
    """No temperature near it has a lower log loss (by loops), whatever the scale of the logits."""
    rng = np.random.default_rng(4)
    logits = rng.normal(0, 2, (80, 4))
    labels = (0.4 * logits + rng.gumbel(size=logits.shape)).argmax(axis=1)

    fitted = fit_temperature(labels, logits * scale)

    best = naive.log_loss(logits.tolist(), labels.tolist(), fitted / scale)
    assert fitted / scale == pytest.approx(fit_temperature(labels, logits), rel=1e-9)
    for factor in (0.5, 0.99, 1.01, 2.0):
        assert naive.log_loss(logits.tolist(), labels.tolist(), fitted / scale * factor) > best
    probs = apply_temperature(logits * scale, fitted)
    assert negative_log_likelihood_error(labels, probs) == pytest.approx(best, rel=1e-9)


def test_temperature_mends_known_overconfidence() -> None:
    """Labels drawn from softmax(z), logits given as 3 z: T near 3, and calibration gets better."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1.5, (4000, 3))
    labels = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)

    fitted = fit_temperature(labels, 3 * logits)

    assert fitted == pytest.approx(3, rel=0.06)
    assert expected_calibration_error(labels, apply_temperature(3 * logits, fitted)) < 0.03
    assert expected_calibration_error(labels, apply_temperature(3 * logits)) > 0.1


def test_two_class_logits_may_be_one_column() -> None:
    """The sigmoid of (n,) is the softmax of [0, z]."""
    rng = np.random.default_rng(2)
    logits = rng.normal(0, 3, 100)
    labels = (rng.random(100) < 1 / (1 + np.exp(-logits / 2))).astype(int)
    columns = np.stack([np.zeros(100), logits], axis=1)

    fitted = fit_temperature(labels, logits)

    assert fitted == pytest.approx(fit_temperature(labels, columns), rel=1e-12)
    assert apply_temperature(logits, fitted) == pytest.approx(1 / (1 + np.exp(-logits / fitted)), rel=1e-12)
    assert apply_temperature(logits, fitted) == pytest.approx(apply_temperature(columns, fitted)[:, 1], rel=1e-12)


def test_large_logits_do_not_overflow() -> None:
    """Softmax of ±1e300 at a small temperature is a plain 0 or 1."""
    assert apply_temperature(np.array([[1e300, -1e300, 0.0]]), 1e-10).tolist() == [[1.0, 0.0, 0.0]]
    assert apply_temperature(np.array([[1e308, -1e308]])).tolist() == [[1.0, 0.0]]  # whose difference overflows


@pytest.mark.parametrize(
    ("logits", "labels", "words"),
    [
        ([[2, 0], [0, 1]], [0, 1], "ever smaller temperature"),  # all right: the surer the better
        ([[2, 2], [0, 1]], [0, 1], "ever smaller temperature"),  # a tie with the true class stays one half
        ([[2, 0], [0, 1]], [1, 0], "columns and labels are in the same order"),  # all wrong
        ([[1, 1], [1, 1]], [0, 1], "columns and labels are in the same order"),  # logits say nothing
        ([[2, 0], [2, 0]], [0, 1], "columns and labels are in the same order"),  # right as often as wrong
    ],
)
def test_where_no_finite_temperature_is_best(logits: list[list[int]], labels: list[int], words: str) -> None:
    """An error that says which way it runs off."""
    with pytest.raises(UndefinedMetricError, match=words):
        fit_temperature(np.array(labels), np.array(logits))


# --- bad input -----------------------------------------------------------------------------------------------------

GOOD = np.array([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]])


def changed(at: tuple[int, int], value: float) -> NDArray[np.float64]:
    """`GOOD` with another number in one place."""
    rows = GOOD.copy()
    rows[at] = value
    return rows


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize(
    ("probs", "labels", "words"),
    [
        (changed((1, 0), np.nan), [0, 1], r"probs must be finite; got \[nan, 0.8, 0.1\] in row 1"),
        (changed((1, 0), np.inf), [0, 1], "probs must be finite"),
        (changed((1, 0), -0.1), [0, 1], r"probs must be in \[0, 1\]; got .* in row 1"),
        (np.array([0.5, 1.5]), [0, 1], r"probs must be in \[0, 1\]; got 1.5 in row 1"),
        (changed((1, 0), 0.3), [0, 1], "must sum to 1 within 0.0001; row 1 sums to 1.2"),
        (GOOD, [0, 3], "labels must be in 0 ... 2; got 0 ... 3"),
        (GOOD, [-1, 1], "labels must be in 0 ... 2; got -1 ... 1"),
        (GOOD, [0, 1, 2], r"labels must be \(2,\), one a row; got \(3,\)"),
        (GOOD, [0.0, 1.0], "labels must be integers; got float64"),
        (np.array([0.5, 0.4]), [0, 2], "labels must be in 0 ... 1"),
        (np.array([[1.0], [1.0]]), [0, 0], r"c >= 2.*got \(2, 1\)"),
        (np.ones((2, 2, 2)), [0, 0], r"got \(2, 2, 2\)"),
        (np.array(["a", "b"]), [0, 1], "must be numbers"),
    ],
)
def test_bad_probabilities_are_named(
    error: Callable[..., float], probs: NDArray[Any], labels: list[Any], words: str
) -> None:
    """Every error checks alike, and says what came."""
    with pytest.raises(ShapeError, match=words):
        error(np.array(labels), probs)


@pytest.mark.parametrize("error", ERRORS)
def test_without_rows_there_is_no_error_of_calibration(error: Callable[..., float]) -> None:
    """Empty arrays are undefined, not 0."""
    with pytest.raises(UndefinedMetricError, match="at least one row"):
        error(np.zeros(0, np.int64), np.zeros((0, 3)))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"bins": 0}, "bins must be an integer from 1; got 0"),
        ({"bins": 2.5}, "got 2.5"),
        ({"bins": True}, "got True"),
        ({"bins": np.True_}, "got np.True_"),
        ({"bins": np.int64(-1)}, r"got np.int64\(-1\)"),
        ({"binning": "x"}, "one of"),
    ],
)
def test_bad_binning_is_named(options: dict[str, Any], words: str) -> None:
    """How many bins, and which."""
    with pytest.raises(ShapeError, match=words):
        reliability_table(np.array([0, 1]), GOOD, **options)


def test_bins_may_be_an_integer_of_numpy() -> None:
    """Any integer counts bins."""
    for binning in ("equal_width", "equal_mass"):
        tables = [reliability_table(np.array([0, 1]), GOOD, bins=bins, binning=binning) for bins in (5, np.int64(5))]
        assert tables[0].edges.tolist() == tables[1].edges.tolist()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: apply_temperature(GOOD, 0.0), "temperature must be a finite number above 0; got 0.0"),
        (lambda: apply_temperature(GOOD, math.inf), "got inf"),
        (lambda: apply_temperature(GOOD, math.nan), "got nan"),
        (lambda: apply_temperature(np.array([np.nan, 1.0])), "logits must be finite"),
        (lambda: fit_temperature(np.array([0]), np.array([[np.inf, 1.0]])), "logits must be finite"),
        (lambda: fit_temperature(np.array([0]), np.array([[1e308, -1e308]])), "differ by a finite number"),
        (lambda: fit_temperature(np.array([0, 3]), GOOD), "labels must be in"),
    ],
)
def test_bad_logits_and_temperatures_are_named(call: Callable[[], Any], words: str) -> None:
    """What must be and what came."""
    with pytest.raises(ShapeError, match=words):
        call()


@pytest.mark.parametrize(
    "layout",
    [
        pytest.param(np.asfortranarray, id="column order"),
        pytest.param(lambda a: np.repeat(a, 2, axis=0)[::2], id="strided"),
        pytest.param(lambda a: np.broadcast_to(a, a.shape), id="read-only"),
        pytest.param(lambda a: a.astype(">f8"), id="big-endian"),
    ],
)
def test_layout_does_not_matter_and_input_is_left_alone(layout: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
    """The same numbers in any layout; nothing of the caller's is written to."""
    probs, labels = predictions(1, 50, 3)
    given = layout(probs)

    for error in ERRORS:
        assert error(labels, given) == error(labels, probs)
    assert fit_temperature(labels, layout(np.log(probs))) == fit_temperature(labels, np.log(probs))
    assert np.array_equal(given, probs)


def test_half_precision_rows_may_miss_one_by_more() -> None:
    """float16 probabilities of 200 classes are accepted although their sum is rounded."""
    probs = apply_temperature(np.random.default_rng(0).normal(0, 1, (20, 200))).astype(np.float16)

    assert 0 < expected_calibration_error(np.arange(20), probs) < 1


@pytest.mark.parametrize(
    "call",
    [
        lambda ragged: expected_calibration_error(np.array([0, 1]), ragged),
        lambda ragged: fit_temperature(np.array([0, 1]), ragged),
        apply_temperature,
        lambda ragged: delong_covariance(np.array([0, 1]), ragged),
    ],
)
def test_ragged_lists_are_named(call: Callable[[Any], Any]) -> None:
    """Not NumPy's own error."""
    with pytest.raises(ShapeError, match="must be an array, or lists whose rows have one length"):
        call([[0.5, 0.5], [1.0]])
