"""Bins of a stream: their order, what they know of ties, and what is taken back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from clipfast.kernels.ranking_bins import BITS, BinnedScores, patterns_of, places_of

FEW = np.array([-2.0, -1e-40, -0.0, 0.0, 1e-40, 0.5, 0.50000006, 1.0, 3e38], np.float32)


def filled(labels: list[int], scores: NDArray[Any], bits: int = 20) -> BinnedScores:
    """Bins that hold these items."""
    bins = BinnedScores(bits)
    assert bins.add(np.array(labels, np.uint8), scores) == 0
    return bins


@pytest.mark.parametrize("bits", BITS)
def test_places_rise_with_the_scores(bits: int) -> None:
    """Every pair of scores keeps its order or falls into one bin, subnormals and both zeros included."""
    places = places_of(patterns_of(FEW), bits)

    assert (np.diff(places) >= 0).all()
    assert places[2] == places[3]  # -0.0 is 0.0
    assert len(set(places.tolist())) >= 5


@settings(max_examples=60, deadline=None)
@given(scores=npst.arrays(np.float64, 20, elements=st.floats(-1e30, 1e30)))
def test_float64_is_rounded_down(scores: NDArray[np.float64]) -> None:
    """The float32 that counts is the largest that is not above the score."""
    single = patterns_of(scores).view(np.float32)

    assert (single.astype(np.float64) <= scores).all()
    assert (np.nextafter(single, np.float32(np.inf)).astype(np.float64) > scores).all()


def test_all_16_bit_scores_have_a_bin_of_their_own() -> None:
    """With the fewest bits no two finite float16, and no two uint16, share a bin; and levels give them back."""
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    halves = np.unique(halves[np.isfinite(halves)])
    for scores in (halves, np.arange(1 << 16, dtype=np.uint16)):
        assert len(set(places_of(patterns_of(scores), BITS.start).tolist())) == len(scores)
        levels, tied = filled([1] * len(scores), scores, BITS.start).levels(scores.dtype)
        assert np.array_equal(levels.scores[::-1], scores)
        assert tied.all()


def test_a_bin_is_a_tie_if_all_its_scores_are_its_edge() -> None:
    """Halves and zeros repeated are ties; a neighbour in the bin ends that, wherever it came from."""
    neighbours = np.array([0.5, 0.50000006], np.float32)
    assert len(set(places_of(patterns_of(neighbours), 20).tolist())) == 1

    bins = filled([1, 1], neighbours[[0, 0]])
    assert bins.levels(neighbours.dtype)[1].tolist() == [True]
    bins.merge(filled([0], neighbours[[0]]))
    assert bins.levels(neighbours.dtype)[1].tolist() == [True]
    bins.merge(filled([0], neighbours[[1]]))
    assert bins.levels(neighbours.dtype)[1].tolist() == [False]
    assert filled([1, 0], np.array([0.0, -0.0], np.float32)).levels(neighbours.dtype)[1].tolist() == [True]
    assert filled([1, 1], np.array([-0.5, -0.5], np.float32)).levels(neighbours.dtype)[1].tolist() == [True]
    assert filled([1, 1], neighbours[[1, 1]]).levels(neighbours.dtype)[1].tolist() == [False]


def test_a_float64_that_had_to_be_rounded_is_no_tie() -> None:
    """Other float64 may have been rounded to the same float32, so nothing is claimed."""
    for inexact in (np.array([0.1]), np.array([1e-60]), np.array([-1e-60]), np.array([0.5 + 1e-12])):
        assert filled([1], inexact).levels(inexact.dtype)[1].tolist() == [False]
    assert filled([1], np.array([0.5])).levels(np.dtype(np.float64))[1].tolist() == [True]


def test_blocks_of_negative_scores_are_counted_as_others_are() -> None:
    """The loop over positive numbers and the one over all give the same counts."""
    rng = np.random.default_rng(1)
    scores = np.abs(rng.standard_normal(9000)).astype(np.float32)
    labels = rng.integers(0, 2, 9000).tolist()
    alone, mixed = filled(labels, scores), filled([*labels, 0], np.append(scores, np.float32(-1)))
    mixed.add(np.zeros(1, np.uint8), np.array([-1], np.float32), -1)

    assert np.array_equal(alone.counts, mixed.counts)
    assert np.array_equal(alone.edges, mixed.edges)


def test_merging_equals_adding() -> None:
    """Counts and levels do not depend on how items were shared out, and an empty side changes nothing."""
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=300).astype(np.float32), rng.integers(0, 2, 300).tolist()
    whole, halves = filled(labels, scores), filled(labels[:99], scores[:99])
    halves.merge(filled(labels[99:], scores[99:]))
    halves.merge(BinnedScores(20))
    empty = BinnedScores(20)
    empty.merge(whole)

    for other in (halves, empty):
        assert np.array_equal(whole.counts, other.counts)
        assert np.array_equal(whole.edges, other.edges)
        assert np.array_equal(whole.span, other.span)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite_are_counted_as_such_and_taken_back(bad: float) -> None:
    """`add` tells how many there were; after taking the batch back, all counts are what they were."""
    good, labels = filled([1, 0], FEW[:2]), np.array([1, 0, 1], np.uint8)
    before = good.counts.copy()
    for dtype in (np.float16, np.float32, np.float64):
        scores = np.array([0.5, bad, bad], dtype)

        assert good.add(labels, scores) == 2
        good.add(labels, scores, -1)

        assert np.array_equal(good.counts, before)
        assert good.edges.sum() == 1  # of -2.0
    assert good.levels(FEW.dtype)[0].positives == 1


@settings(max_examples=60, deadline=None)
@given(scores=npst.arrays(np.float64, 12, elements=st.floats(-1e30, 1e30)))
def test_float64_are_counted_where_their_patterns_say(scores: NDArray[np.float64]) -> None:
    """Counting rounds as `patterns_of` does."""
    bins = filled([0] * len(scores), scores)

    assert np.array_equal(np.flatnonzero(bins.counts) // 2, np.unique(places_of(patterns_of(scores), 20)))


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32, np.float64])
@pytest.mark.parametrize("label", [2, 255, -1])
def test_other_labels_are_counted_as_wrong_and_taken_back(label: int, dtype: Any) -> None:
    """No count lies outside the bins of 0 and 1, and none stays."""
    bins, labels = BinnedScores(20), np.zeros(5000, np.int64)
    labels[4500] = label
    scores = np.ones(5000, dtype)

    assert bins.add(labels, scores) == 1
    bins.add(labels, scores, -1)

    assert not bins.counts.any()


def test_float64_beyond_float32_is_counted_as_wrong() -> None:
    """Such scores would all become infinite."""
    assert BinnedScores(20).add(np.zeros(3, np.uint8), np.array([1e39, -1e39, 0.5])) == 2
