"""Tests of clipfast.anomaly.decision."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from clipfast.anomaly.decision import Decision, decide, threshold_for
from clipfast.errors import DataError, ShapeError


@pytest.mark.parametrize(
    ("n", "fpr", "place"),
    [
        (99, 0.01, 99),  # just enough: the largest
        (199, 0.01, 198),  # the second largest
        (19, 0.05, 19),
        (19, 0.1, 18),
        (3, 0.5, 2),
    ],
)
def test_enough_references_give_the_conformal_place(n: int, fpr: float, place: int) -> None:
    """The ceil((n + 1)(1 - fpr))-th smallest."""
    scores = np.random.default_rng(n).permutation(n).astype(np.float32) + 1

    assert threshold_for(scores, np.ones(n, bool), fpr) == (place, "conformal")


def test_the_guarantee_holds_for_any_distribution() -> None:
    """Over many supports of 19, an intact score exceeds the threshold in 10 % of the cases, and hardly less often."""
    rng = np.random.default_rng(0)
    drawn = rng.pareto(1.5, (4000, 20)).astype(np.float32)
    exceeded = [row[19] > threshold_for(row[:19], np.ones(19, bool), 0.1)[0] for row in drawn]

    assert 0.085 < np.mean(exceeded) < 0.115


def test_few_references_are_extrapolated_by_a_gumbel() -> None:
    """The stated formula: the Gumbel of mean and deviation, widened; the largest score is the least."""
    scores = np.array([1, 2, 4, 3], np.float32)
    found, method = threshold_for(scores, np.array([True, True, False, False]), 0.01)
    width = scores.std(ddof=1) * math.sqrt(6) / math.pi
    reach = -0.5772156649015329 - math.log(-math.log(0.99))

    assert method == "extrapolated"
    assert found == pytest.approx(2.5 + width * reach * math.sqrt(1.5), rel=1e-6)
    assert threshold_for(np.full(5, 7, np.float32), np.ones(5, bool), 0.01)[0] == 7


def test_the_extrapolation_is_near_the_rate_where_its_assumption_holds() -> None:
    """Gumbel scores of 8 references: on average over supports 0.3 to 3 % are above a threshold for 1 %."""
    rng = np.random.default_rng(1)
    limits = [threshold_for(rng.gumbel(size=8).astype(np.float32), np.ones(8, bool), 0.01)[0] for _ in range(3000)]
    rates = 1 - np.exp(-np.exp(-np.array(limits)))

    assert 0.003 < rates.mean() < 0.03


def test_what_is_guaranteed_is_said() -> None:
    """Four references: a fifth. One: nothing. Enough: what was asked for."""
    few = decide(np.arange(8, dtype=np.float32), np.arange(8, dtype=np.float32), np.arange(8) < 4, 0.01)
    one = decide(np.arange(8, dtype=np.float32), np.arange(8, dtype=np.float32), np.zeros(8, bool), 0.01)
    many = decide(np.arange(99, dtype=np.float32), np.arange(99, dtype=np.float32), np.ones(99, bool), 0.01)

    assert (few.guaranteed_fpr, few.references, few.samples) == (0.2, 4, 8)
    assert "4 references guarantee 20% at best" in few.coverage
    assert (one.guaranteed_fpr, one.references) == (1.0, 1)
    assert "one reference guarantees nothing" in one.coverage
    assert many == Decision(98.0, 98.0, 0.01, "conformal", 99, 99)
    assert "at most 1.00% false alarms" in many.coverage


@pytest.mark.parametrize(
    ("scores", "fpr", "error", "message"),
    [
        (np.arange(4), 0.0, ShapeError, r"fpr must be in \(0, 0.5\]"),
        (np.arange(4), 0.6, ShapeError, r"fpr must be in \(0, 0.5\]"),
        (np.arange(4), float("nan"), ShapeError, r"fpr must be in \(0, 0.5\]"),
        (np.arange(1), 0.01, DataError, "two held-out scores"),
    ],
)
def test_bad_input_is_named(scores: Any, fpr: float, error: type[Exception], message: str) -> None:
    """Each fault has its sentence."""
    with pytest.raises(error, match=message):
        decide(scores.astype(np.float32), scores.astype(np.float32), np.ones(len(scores), bool), fpr)
