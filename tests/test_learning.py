"""Small fits: against scikit-learn used directly, closed forms, folds that keep groups, and bad input."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from clipfast import learning
from clipfast.errors import DataError, MissingExtraError, ShapeError
from clipfast.types import Floats, Ints


def cloud(seed: int = 0, *, count: int = 60, classes: int = 3, spread: float = 0.4) -> tuple[Floats, Ints]:
    """Draw unit rows around one direction a class."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    rows = np.eye(classes, 8)[labels] + spread * rng.normal(size=(count, 8)) + 0.5
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), labels


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("class_weight", ["balanced", "equal"])
def test_logistic_equals_scikit_learn_on_the_same_rows(classes: int, class_weight: learning.ClassWeight) -> None:
    """Centring and folding back change nothing: probabilities are those of scikit-learn on the centred rows."""
    rows, labels = cloud(classes=classes)
    fit = learning.fit_logistic(rows, labels, strength=3.0, class_weight=class_weight)
    centred = rows.astype(float) - rows.astype(float).mean(axis=0)
    centred /= np.sqrt((centred**2).sum(axis=1).mean())
    peer = LogisticRegression(
        C=3.0, max_iter=10_000, tol=1e-5, class_weight="balanced" if class_weight == "balanced" else None
    ).fit(centred, labels)
    shares = np.exp(fit.logits(rows))
    np.testing.assert_allclose(shares / shares.sum(axis=1, keepdims=True), peer.predict_proba(centred), atol=1e-6)


def test_a_row_has_the_same_logits_in_any_batch() -> None:
    """One by one or all at once, the last bit included."""
    rows, labels = cloud()
    fit = learning.fit_logistic(rows, labels, strength=1.0)
    alone = np.concatenate([fit.logits(row[None]) for row in rows])
    assert np.array_equal(fit.logits(rows), alone)


def test_ridge_equals_the_normal_equations() -> None:
    """Weights solve (X'X + I / strength) w = X'y of centred rows."""
    rows, _ = cloud()
    targets = rows.astype(float) @ np.arange(8) + 2
    fit = learning.fit_ridge(rows, targets, strength=10.0)
    centred = rows.astype(float) - rows.astype(float).mean(axis=0)
    scale = np.sqrt((centred**2).sum(axis=1).mean())
    inner = (centred / scale).T @ (centred / scale) + np.eye(8) / 10
    wanted = np.linalg.solve(inner, (centred / scale).T @ (targets - targets.mean())) / scale
    np.testing.assert_allclose(fit.weights[0], wanted, rtol=1e-5)
    np.testing.assert_allclose(fit.logits(rows)[:, 0].mean(), targets.mean(), rtol=1e-6)


def test_sigmoid_finds_the_slope_that_made_the_outcomes() -> None:
    """With many outcomes drawn from a known sigmoid, slope and offset come back; a perfect split stays unsure."""
    rng = np.random.default_rng(0)
    scores = rng.uniform(0.6, 0.9, 20_000)
    outcomes = rng.random(20_000) < 1 / (1 + np.exp(-(30 * scores - 22)))
    found = learning.fit_sigmoid(scores, outcomes)
    assert found.slope == pytest.approx(30, rel=0.05)
    assert found.offset == pytest.approx(-22, rel=0.05)
    perfect = learning.fit_sigmoid(np.array([0.2, 0.2, 0.8, 0.8]), np.array([0, 0, 1, 1]))
    probs = perfect.prob(np.array([0.2, 0.2, 0.8, 0.8]))
    np.testing.assert_allclose(probs, [0.25, 0.25, 0.75, 0.75], atol=1e-4)  # Platt's targets for 2 and 2


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 12)), min_size=4, max_size=60), st.integers(2, 5))
def test_folds_keep_groups_and_leave_every_class_something_to_learn_from(
    pairs: list[tuple[int, int]], folds: int
) -> None:
    """No group is in two folds, and each fold's training rows show every class."""
    labels = np.unique([label for label, _ in pairs], return_inverse=True)[1].astype(np.int64)
    groups = np.array([group for _, group in pairs])
    found = learning.grouped_folds(labels, groups, folds=folds, seed=1)
    for group in np.unique(groups):
        assert len(np.unique(found[groups == group])) == 1
    for fold in range(folds):
        assert set(labels[found != fold]) == set(labels)


def test_folds_share_classes_evenly() -> None:
    """Twenty rows of each of three classes in five folds: four of each in every fold."""
    labels = np.repeat(np.arange(3), 20)
    found = learning.grouped_folds(labels, np.arange(60), folds=5, seed=3)
    assert np.array_equal(
        [[np.sum((found == f) & (labels == c)) for c in range(3)] for f in range(5)], np.full((5, 3), 4)
    )


def test_cross_fit_never_shows_a_row_to_the_fit_that_answers_for_it() -> None:
    """Held-out logits are those of a fit on the other folds, and wrong labels of one fold do not help it."""
    rows, labels = cloud(count=45)
    folds = learning.grouped_folds(labels, np.arange(45), folds=3, seed=0)
    cross = learning.cross_fit_logistic(rows, labels, folds, strengths=(0.1, 10.0))
    wanted = learning.fit_logistic(rows[folds != 1], labels[folds != 1], strength=cross.strength).logits(
        rows[folds == 1]
    )
    np.testing.assert_allclose(cross.logits[folds == 1], wanted, atol=1e-9)
    assert set(cross.losses) == {0.1, 10.0}
    noise = np.random.default_rng(0).normal(size=(200, 40))
    rows = (noise / np.linalg.norm(noise, axis=1, keepdims=True)).astype(np.float32)
    labels = np.arange(200) % 2
    folds = learning.grouped_folds(labels, np.arange(200), folds=5, seed=0)
    honest = learning.cross_fit_logistic(rows, labels, folds, strengths=(0.1, 1.0, 10.0)).honest_logits
    assert abs((honest.argmax(axis=1) == labels).mean() - 0.5) < 0.12


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda r, y: learning.fit_logistic(r, y * 0, strength=1), DataError, "two at least"),
        (lambda r, y: learning.fit_logistic(r, y * 2, strength=1), DataError, "every class from 0"),
        (lambda r, y: learning.fit_logistic(r, y, strength=0), ShapeError, "strength must be"),
        (lambda r, y: learning.fit_logistic(r, y, strength=1, class_weight="x"), ShapeError, "class_weight must be"),  # type: ignore[arg-type]  # wrong on purpose
        (lambda r, y: learning.fit_ridge(r, y[:-1]), ShapeError, "targets must be"),
        (lambda r, y: learning.fit_sigmoid(r[:, 0], np.ones(len(r))), DataError, "both true and false"),
        (lambda r, y: learning.fit_sigmoid(np.full(len(r), np.nan), y > 0), ShapeError, "finite"),
        (lambda r, y: learning.grouped_folds(y, y, folds=1, seed=0), ShapeError, "at least 2"),
        (lambda r, y: learning.cross_fit_logistic(r, y, y * 0 - 1, strengths=(1.0,)), DataError, "two photos"),
    ],
)
def test_bad_input_is_named(call: object, error: type[Exception], words: str) -> None:
    """Each says what must be."""
    assert callable(call)
    with pytest.raises(error, match=words):
        call(*cloud())


def test_without_scikit_learn_the_pip_line_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is named, and predicting needs none of it."""
    rows, labels = cloud()
    fit = learning.fit_logistic(rows, labels, strength=1.0)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'clipfast\[train\]'"):
        learning.fit_logistic(rows, labels, strength=1.0)
    assert fit.logits(rows).shape == (60, 3)
