"""Bounds of binned figures: the extremes over every order inside the bins, by brute force; sums that overflow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from clipfast.kernels.ranking import Levels, levels_of_counts, rank_levels
from clipfast.metrics import ranking_curves as curves
from reference import naive_ranking as naive

Items = list[tuple[bool, int]]


def no_crowd(some: Items) -> bool:
    """Both classes, and few enough orders: at most four items in a bin."""
    bins = [score for _, score in some]
    return len({label for label, _ in some}) == 2 and max(map(bins.count, bins)) <= 4


items = st.lists(st.tuples(st.booleans(), st.integers(0, 2)), min_size=2, max_size=6).filter(no_crowd)
kept_bins = st.none() | st.sets(st.integers(0, 2))  # bins known to be one value; None leaves the argument out


def marks(found: Levels, kept: set[int] | None) -> NDArray[np.bool_] | None:
    """Which levels are known to be one value."""
    return None if kept is None else np.isin(found.scores, list(kept))


def levels(some: Items, weights: NDArray[np.float64] | None = None) -> Levels:
    """The levels of bins."""
    return rank_levels(
        np.array([label for label, _ in some], np.uint8), np.array([float(score) for _, score in some]), weights=weights
    )


@settings(max_examples=150, deadline=None)
@given(some=items, kept=kept_bins)
def test_bounds_are_the_extremes_over_all_orders(some: Items, kept: set[int] | None) -> None:
    """AUROC, average precision and F1 are reached, AUPR holds; bins known to be one value stay tied."""
    labels = [int(label) for label, _ in some]
    found = levels(some)
    tied = marks(found, kept)
    each = [
        (
            naive.auroc(labels, order),
            naive.average_precision(labels, order),
            naive.trapezoid_precision(labels, order),
            naive.best_f1(labels, order)[0],
        )
        for order in naive.orders([score for _, score in some], kept or ())
    ]
    low, high = [min(column) for column in zip(*each, strict=True)], [max(column) for column in zip(*each, strict=True)]

    assert curves.auroc_bounds(found, tied) == pytest.approx((low[0], high[0]), abs=1e-12)
    assert curves.average_precision_bounds(found, tied) == pytest.approx((low[1], high[1]), abs=1e-12)
    least, most = curves.trapezoid_precision_bounds(found, tied)
    assert least - 1e-12 <= low[2] <= high[2] <= most + 1e-12
    if kept == {0, 1, 2}:
        assert (least, most) == pytest.approx((low[2], high[2]), abs=1e-12)
    assert curves.best_f1_bound(found, tied) == pytest.approx(high[3], abs=1e-12)
    assert low[0] <= curves.auroc(found) <= high[0]
    assert low[1] - 1e-12 <= curves.average_precision(found) <= high[1] + 1e-12
    assert least - 1e-12 <= curves.trapezoid_precision(found) <= most + 1e-12


@settings(max_examples=100, deadline=None)
@given(some=items, kept=kept_bins, limit=st.sampled_from([0.05, 0.3, 0.5, 0.75, 1.0]), data=st.data())
def test_bounds_of_region_overlap_are_the_extremes_over_all_orders(
    some: Items, kept: set[int] | None, limit: float, data: st.DataObject
) -> None:
    """Whatever a pixel weighs and wherever the limit cuts a bin."""
    areas = data.draw(st.lists(st.integers(1, 3), min_size=len(some), max_size=len(some)))
    weights = [1 / area for area, (label, _) in zip(areas, some, strict=True) if label]
    normal = sum(not label for label, _ in some)
    found = levels(some, np.array(weights))

    def overlap(order: list[int]) -> float:
        steps, waiting = [], list(weights)
        for (label, _), score in zip(some, order, strict=True):
            steps.append((score, 0.0, waiting.pop(0) / sum(weights)) if label else (score, 1 / normal, 0.0))
        return naive.overlap_area(steps, limit)

    bins = [score for _, score in some]
    each = [overlap(order) for order in naive.orders(bins, kept or ())]
    bounds = curves.region_overlap_bounds(found, sum(weights), limit, marks(found, kept))

    assert curves.region_overlap(found, sum(weights), limit) == pytest.approx(overlap(bins), abs=1e-12)
    assert bounds == pytest.approx((min(each), max(each)), abs=1e-12)


@pytest.mark.parametrize("hits", [1, 31, 32, 33, 64, 1000])
@pytest.mark.parametrize("before", [0, 1, 500])
def test_the_lower_bound_of_average_precision_is_safe_and_near(hits: int, before: int) -> None:
    """At most the exact sum over a bin's positives; equal to it up to 32, and within a 32nd of a bin beyond."""
    counts = np.array([hits, before]), np.array([40, 3])
    found = levels_of_counts(np.array([0.0, 1.0]), *counts, counts[0])
    total = hits + before
    exact = sum(j / (j + 3) for j in range(1, before + 1)) + sum(j / (j + 43) for j in range(before + 1, total + 1))

    low, _ = curves.average_precision_bounds(found)

    assert low <= exact / total + 1e-12
    if hits <= 32 and before <= 32:
        assert low == pytest.approx(exact / total, abs=1e-12)
    assert low >= exact / total - 1 / 16


def test_products_beyond_64_bits_stay_exact() -> None:
    """Four thousand million positives against as many negatives: 2**64 pairs."""
    many = 1 << 32
    hits, others = np.array([many // 2, many // 2]), np.array([many // 2, many // 2])
    found = levels_of_counts(np.array([0.0, 1.0]), hits, others, hits)

    # a quarter of the pairs in order, half equal
    assert curves.auroc(found) == 0.5
    assert curves.auroc_bounds(found) == (0.25, 0.75)
    one_more = levels_of_counts(np.array([0.0, 1.0]), hits, np.array([many, 0]), hits)
    assert curves.auroc(one_more) == 0.75


def bins_of(labels: NDArray[Any], scores: NDArray[Any], width: float) -> Levels:
    """Levels of scores rounded down to bins."""
    return rank_levels(labels, np.floor(scores / width) * width)


@pytest.mark.parametrize("width", [1e-3, 0.01, 0.1, 1.0, 100.0])
def test_bounds_hold_what_finer_scores_give(width: float) -> None:
    """5,000 scores: exact figures lie in the interval of their bins, which narrows with them."""
    rng = np.random.default_rng(5)
    labels = (rng.random(5000) < 0.2).astype(np.uint8)
    scores = labels + rng.normal(0, 1, 5000)
    exact, binned = rank_levels(labels, scores), bins_of(labels, scores, width)

    for figure, bounds in [
        (curves.auroc, curves.auroc_bounds),
        (curves.average_precision, curves.average_precision_bounds),
        (curves.trapezoid_precision, curves.trapezoid_precision_bounds),
    ]:
        low, high = bounds(binned)
        assert low - 1e-12 <= figure(exact) <= high + 1e-12
        assert 0 <= low <= high <= 1
        if width == 1e-3:
            assert high - low < 0.01
    assert curves.best_f1(binned)[0] <= curves.best_f1_bound(binned)
    assert curves.best_f1(exact)[0] <= curves.best_f1_bound(binned)
    low, high = curves.region_overlap_bounds(binned, binned.positives, 0.3)
    assert low - 1e-12 <= curves.region_overlap(exact, exact.positives, 0.3) <= high + 1e-12


def test_bounds_meet_where_nothing_is_tied() -> None:
    """Distinct scores have one order."""
    found = rank_levels(np.array([0, 1, 0, 1, 1]), np.arange(5.0))

    for figure, bounds in [
        (curves.auroc, curves.auroc_bounds),
        (curves.average_precision, curves.average_precision_bounds),
    ]:
        assert bounds(found) == pytest.approx((figure(found), figure(found)), abs=1e-15)
    assert curves.best_f1_bound(found) == curves.best_f1(found)[0]
    assert curves.region_overlap_bounds(found, 3, 0.3) == pytest.approx(
        (curves.region_overlap(found, 3, 0.3),) * 2, abs=1e-15
    )
