"""Leave-one-out in closed form equals refitting without each sample."""

from __future__ import annotations

import numpy as np
import pytest

from clipfast.diagnostics.ridge import RidgeHead, influence
from clipfast.errors import ShapeError

RNG = np.random.default_rng(3)
ROWS, LABELS = RNG.normal(size=(25, 5)), RNG.integers(0, 3, 25)
TEST, TEST_LABELS = RNG.normal(size=(12, 5)), RNG.integers(0, 3, 12)


def _without(row: int) -> RidgeHead:
    return RidgeHead.fit(np.delete(ROWS, row, axis=0), np.delete(LABELS, row), 3, penalty=0.5)


def test_the_head_equals_scikit_learn() -> None:
    """Ridge with an intercept that is not penalised."""
    linear = pytest.importorskip("sklearn.linear_model")
    ours = RidgeHead.fit(ROWS, LABELS, 3, penalty=0.5)
    theirs = linear.Ridge(alpha=0.5).fit(ROWS, np.eye(3)[LABELS])

    assert ours.scores(TEST) == pytest.approx(theirs.predict(TEST), abs=1e-10)


def test_left_out_scores_equal_refits() -> None:
    """Of every sample."""
    found = RidgeHead.fit(ROWS, LABELS, 3, penalty=0.5).left_out()

    assert found == pytest.approx(np.vstack([_without(i).scores(ROWS[i : i + 1]) for i in range(25)]), abs=1e-9)


def test_influence_equals_refits() -> None:
    """The change of the mean squared error on other samples, for every training sample."""
    head = RidgeHead.fit(ROWS, LABELS, 3, penalty=0.5)

    def error(fitted: RidgeHead) -> float:
        return float(((np.eye(3)[TEST_LABELS] - fitted.scores(TEST)) ** 2).sum() / len(TEST))

    assert influence(head, TEST, TEST_LABELS) == pytest.approx(
        [error(_without(i)) - error(head) for i in range(25)], abs=1e-9
    )


def test_wrong_labels_have_bad_influence() -> None:
    """Leaving them out helps more than leaving others out."""
    rows = np.concatenate([RNG.normal(at, 1, (60, 4)) for at in (-1, 1)])
    true = np.repeat([0, 1], 60)
    labels = true.copy()
    labels[::10] = 1 - labels[::10]
    found = influence(RidgeHead.fit(rows, labels, 2), rows, true)

    assert np.mean(found[::10]) < np.mean(np.delete(found, np.arange(0, 120, 10)))
    assert set(np.argsort(found)[:6].tolist()) <= set(range(0, 120, 10))


def test_wrong_shapes_are_refused() -> None:
    """Labels out of range, other widths, no penalty."""
    with pytest.raises(ShapeError, match=r"labels must be in 0 \.\.\. 1"):
        RidgeHead.fit(ROWS, LABELS, 2)
    with pytest.raises(ShapeError, match="penalty above 0"):
        RidgeHead.fit(ROWS, LABELS, 3, penalty=0)
    with pytest.raises(ShapeError, match=r"rows must be \(m, 5\)"):
        influence(RidgeHead.fit(ROWS, LABELS, 3), TEST[:, :3], TEST_LABELS)
