"""Promotion: what a year of luck may do, and what is proven."""

from __future__ import annotations

import math

import numpy as np
import pytest

from clipfast.errors import DataError, ShapeError
from clipfast.retrieval.promotion import LOOKS, TOTAL_ERROR, gain_of, look_error, smallest_lead

WEEKS, YEARS, PICTURES = 52, 2000, 150


def false_promotions(needed: list[list[int]], seed: int) -> float:
    """Return the share of simulated years with a promotion, when every candidate is as good as what is in use.

    Pictures have difficulties of their own, the same for every candidate; whoever is promoted stays, with the answers
    that promoted it. `needed[week][changed]` is the lead that promotes.
    """
    rng = np.random.default_rng(seed)
    table = np.array(needed)
    chance = rng.beta(2, 0.7, (YEARS, PICTURES))
    present = rng.random((YEARS, PICTURES)) < chance
    promoted = np.zeros(YEARS, np.bool_)
    for week in range(WEEKS):
        candidate = rng.random((YEARS, PICTURES)) < chance
        better, worse = (candidate & ~present).sum(axis=1), (present & ~candidate).sum(axis=1)
        now = better >= table[week, better + worse]
        promoted |= now
        present[now] = candidate[now]
    return float(promoted.mean())


def test_a_year_without_improvement_promotes_in_at_most_one_of_twenty() -> None:
    """52 weekly candidates that are no better: any false promotion counts; the usual 95 % interval fails this badly."""
    never = PICTURES + 1
    ours = [[smallest_lead(c, week + 1) or never for c in range(PICTURES + 1)] for week in range(WEEKS)]
    naive = [_naive_leads(never)] * WEEKS

    assert false_promotions(ours, seed=0) <= TOTAL_ERROR
    assert false_promotions(naive, seed=0) > 2 * TOTAL_ERROR


def _naive_leads(never: int) -> list[int]:
    """Leads that a one-sided exact test at 2.5 % asks for, every week anew."""
    leads = []
    for changed in range(PICTURES + 1):
        tail, needed = 0.0, never
        for count in range(changed, -1, -1):
            tail += math.comb(changed, count) / 2**changed
            if tail > 0.025:
                break
            needed = count
        leads.append(needed)
    return leads


def test_the_errors_of_a_year_sum_to_less_than_allowed() -> None:
    """The budget is spent, not exceeded; after it there is no further look."""
    assert 0.98 * TOTAL_ERROR < sum(look_error(look) for look in range(1, LOOKS + 1)) < TOTAL_ERROR
    with pytest.raises(DataError, match="looked at 52 times"):
        look_error(LOOKS + 1)


@pytest.mark.parametrize("look", [1, 2, 52])
def test_interval_and_test_agree(look: int) -> None:
    """The interval excludes 0 exactly where the lead is large enough."""
    for changed in (1, 7, 12, 30):
        needed = smallest_lead(changed, look)
        for better in range(changed + 1):
            old = np.array([False] * better + [True] * (changed - better) + [True] * 20)
            new = np.array([True] * better + [False] * (changed - better) + [True] * 20)
            gain = gain_of(old, new, range(len(old)), look=look)
            assert gain.proven == (needed is not None and better >= needed)


def test_patches_of_one_photo_count_once() -> None:
    """Ten patches of one photo are no ten proofs."""
    old, new = np.zeros(12, np.bool_), np.array([True] * 10 + [False] * 2)
    gain = gain_of(old, new, ["shirt"] * 10 + ["coat", "sock"], look=1)

    assert (gain.photos, gain.better, gain.worse) == (3, 1, 0)
    assert not gain.proven
    assert gain_of(old, new, range(12), look=1).proven


def test_lengths_must_fit() -> None:
    """One answer of each for every patch."""
    with pytest.raises(ShapeError, match="of one length"):
        gain_of(np.zeros(3), np.zeros(2), range(3), look=1)
