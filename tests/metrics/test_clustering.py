"""Agreement of two labellings, beside scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest

from clipfast.errors import ShapeError, UndefinedMetricError
from clipfast.metrics.clustering import adjusted_rand_score, normalised_mutual_information_score


@pytest.mark.parametrize("seed", range(6))
def test_both_equal_scikit_learn(seed: int) -> None:
    """On random labellings of different numbers of groups."""
    sklearn_metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(seed)
    first = rng.integers(0, 1 + seed, 200)
    second = np.where(rng.random(200) < 0.5, first, rng.integers(0, 7, 200))

    assert normalised_mutual_information_score(first, second) == pytest.approx(
        sklearn_metrics.normalized_mutual_info_score(first, second), abs=1e-12
    )
    assert adjusted_rand_score(first, second) == pytest.approx(
        sklearn_metrics.adjusted_rand_score(first, second), abs=1e-12
    )


def test_one_sample_and_equal_labellings_agree() -> None:
    """There is nothing on which they could differ."""
    assert normalised_mutual_information_score([3], [8]) == adjusted_rand_score([3], [8]) == 1.0
    assert adjusted_rand_score(["a", "b", "a"], [1, 0, 1]) == 1.0


def test_wrong_input_is_refused() -> None:
    """Different lengths, and nothing at all."""
    with pytest.raises(ShapeError, match="one length"):
        normalised_mutual_information_score([1, 2], [1])
    with pytest.raises(UndefinedMetricError, match="at least one sample"):
        adjusted_rand_score([], [])
