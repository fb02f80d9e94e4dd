"""McNemar's exact test: SciPy's binomial test, the exact permutation test, and bad input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from clipfast.errors import ShapeError, UndefinedMetricError
from clipfast.metrics import mcnemar_test, permutation_test

ANSWERS = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=60)


@given(ANSWERS)
def test_it_is_the_binomial_test_of_the_questions_that_differ(answers: list[tuple[bool, bool]]) -> None:
    """Against SciPy, and no difference at all has p = 1."""
    first, second = np.array(answers).T
    found = mcnemar_test(first, second)
    ours, theirs = int((first & ~second).sum()), int((~first & second).sum())
    wanted = binomtest(ours, ours + theirs).pvalue if ours + theirs else 1.0
    assert found.p_value == pytest.approx(wanted)
    assert found.difference == pytest.approx(first.mean() - second.mean())


@given(ANSWERS.filter(lambda answers: sum(a != b for a, b in answers) <= 12))
def test_swapping_all_pairs_gives_the_same(answers: list[tuple[bool, bool]]) -> None:
    """The exact permutation test of 0 and 1 is this test."""
    first, second = np.array(answers).T.astype(int)
    assert mcnemar_test(first, second).p_value == pytest.approx(permutation_test(first, second, seed=0).p_value)


def test_bad_input_is_named() -> None:
    """Lengths, values, and nothing at all."""
    with pytest.raises(ShapeError, match="one answer a question"):
        mcnemar_test(np.ones(3), np.ones(4))
    with pytest.raises(ShapeError, match="right"):
        mcnemar_test(np.array([0, 2]), np.array([0, 1]))
    with pytest.raises(UndefinedMetricError, match="one question"):
        mcnemar_test(np.zeros(0), np.zeros(0))
