"""Matching kernels: against loops, and the rules of VOC and COCO in small drawings."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipfast.kernels.detection_precision import average_precisions
from clipfast.kernels.matching import (
    ASIDE,
    COUNTS,
    CROWD,
    FALSE_POSITIVE,
    IGNORED,
    TRUE_POSITIVE,
    best_overlaps,
    claimed_before,
    match_coco,
    overlapping_pairs,
    sort_by_key,
    voc_outcomes,
)
from reference import naive_detection as naive
from reference.naive_detection import Box

corner = st.integers(0, 8)
boxes = st.tuples(corner, corner, corner, corner).map(
    lambda c: (float(min(c[0], c[2])), float(min(c[1], c[3])), float(max(c[0], c[2])), float(max(c[1], c[3])))
)
rows = st.lists(st.tuples(st.integers(0, 2), boxes), max_size=8).map(lambda some: sorted(some, key=lambda row: row[0]))
Rows = list[tuple[int, Box]]


def arrays(some: Rows) -> tuple[np.ndarray, np.ndarray]:
    """Keys and boxes."""
    return np.array([key for key, _ in some], np.int64), np.array([box for _, box in some], float).reshape(-1, 4)


@settings(max_examples=60, deadline=None)
@given(keys=st.lists(st.integers(0, 4), max_size=30))
def test_sort_by_key_is_stable(keys: list[int]) -> None:
    """Rows come by key, equal keys in the order given, with the start of each key."""
    order = np.arange(len(keys))[::-1].copy()

    found, starts = sort_by_key(order, np.array(keys, np.int64), 5)

    assert found.tolist() == sorted(order.tolist(), key=lambda row: keys[row])
    assert starts.tolist() == [sum(key < bound for key in keys) for bound in range(6)]


@settings(max_examples=80, deadline=None)
@given(found=rows, truths=rows, offset=st.sampled_from([0.0, 1.0]))
def test_best_overlap_is_the_largest_of_the_own_group(found: Rows, truths: Rows, offset: float) -> None:
    """Row and IoU equal those of a loop over all ground truths; the first of equals, -1 where none overlaps."""
    best, overlaps = best_overlaps(*arrays(found), *arrays(truths), offset)

    for at, (key, box) in enumerate(found):
        each = [naive.iou(box, other, offset) if key == group else 0.0 for group, other in truths]
        largest = max(each, default=0.0)
        assert overlaps[at] == largest
        assert best[at] == (each.index(largest) if largest > 0 else -1)


@settings(max_examples=60, deadline=None)
@given(found=rows, truths=rows, least=st.sampled_from([0.1, 0.5]))
def test_overlapping_pairs_are_all_there(found: Rows, truths: Rows, least: float) -> None:
    """Every pair of one group with enough overlap is listed once, in order; crowds by the detection's own area."""
    crowd = np.arange(len(truths)) % 2 == 1

    starts, rows_of, overlaps = overlapping_pairs(*arrays(found), *arrays(truths), crowd, least)

    expected = []
    for at, (key, box) in enumerate(found):
        for row, (group, other) in enumerate(truths):
            both = naive.shared(box, other)
            overlap = both / naive.area(box) if crowd[row] and both else naive.iou(box, other)
            if key == group and overlap >= least:
                expected.append((at, row, overlap))
    owner = np.repeat(np.arange(len(found)), np.diff(starts))
    assert list(zip(owner.tolist(), rows_of.tolist(), overlaps.tolist(), strict=True)) == expected


def test_overlapping_pairs_grow() -> None:
    """More pairs than detections find room: 3 detections on 40 equal ground truths."""
    square = np.array([[0.0, 0.0, 4.0, 4.0]])

    starts, truths, overlaps = overlapping_pairs(
        np.zeros(3, np.int64),
        np.repeat(square, 3, axis=0),
        np.zeros(40, np.int64),
        np.repeat(square, 40, axis=0),
        np.zeros(40, bool),
        0.5,
    )

    assert starts.tolist() == [0, 40, 80, 120]
    assert truths.tolist() == list(range(40)) * 3
    assert (overlaps == 1).all()


@pytest.mark.parametrize(
    ("threshold", "outcomes"),
    [
        (0.3, [1, 0, 0, -1]),  # the first claims it; the better second comes too late
        (0.5, [0, 1, 0, -1]),  # the first is not good enough, the second is
        (0.7, [0, 1, 0, 0]),  # the difficult one is missed
        (0.9, [0, 0, 0, 0]),
    ],
)
def test_voc_outcomes_at_several_thresholds(threshold: float, outcomes: list[int]) -> None:
    """Three detections of one ground truth with IoU .4, .8, .6, and one of a difficult one with .6."""
    best, overlaps = np.array([0, 0, 0, 1]), np.array([0.4, 0.8, 0.6, 0.6])
    before = claimed_before(best, overlaps, 2)

    assert before.tolist() == [0.0, 0.4, 0.8, 0.0]
    assert voc_outcomes(overlaps, before, best == 1, threshold).tolist() == outcomes


@pytest.mark.parametrize(
    ("status", "outside", "outcomes"),
    [
        ([COUNTS, COUNTS], False, [1, 1, 0]),  # the second takes the next best, the third finds none free
        ([ASIDE, COUNTS], False, [1, -1, 0]),  # what counts goes first, though it overlaps less
        ([CROWD, COUNTS], False, [1, -1, -1]),  # a crowd is never used up
        ([ASIDE, ASIDE], False, [-1, -1, 0]),
        ([COUNTS, COUNTS], True, [1, 1, -1]),  # of another size: ignored only if it finds nothing
    ],
)
def test_coco_rules(status: list[int], outside: bool, outcomes: list[int]) -> None:
    """Three detections that overlap two ground truths, the first by .9, the second by .6."""
    found = match_coco(
        np.array([0, 2, 4, 6]),
        np.array([0, 1] * 3),
        np.array([0.9, 0.6] * 3),
        np.array(status, np.int8),
        np.full(3, outside),
        0.5,
    )

    assert found.tolist() == outcomes


@pytest.mark.parametrize(("status", "outcome"), [(COUNTS, TRUE_POSITIVE), (ASIDE, IGNORED)])
@pytest.mark.parametrize(("overlaps", "chosen"), [([0.8, 0.8], 1), ([0.8, 0.7], 0), ([0.4, 0.4], None)])
def test_coco_takes_the_later_of_equals(overlaps: list[float], chosen: int | None, status: int, outcome: int) -> None:
    """Which of two equal overlaps is used shows in which one is left for the next detection."""
    for only in (0, 1):  # the second detection overlaps only this one
        found = match_coco(
            np.array([0, 2, 3]),
            np.array([0, 1, only]),
            np.array([*overlaps, 0.9]),
            np.full(2, status, np.int8),
            np.zeros(2, bool),
            0.5,
        )
        assert found.tolist() == [
            outcome if chosen is not None else FALSE_POSITIVE,
            outcome if only != chosen else FALSE_POSITIVE,
        ]


@settings(max_examples=80, deadline=None)
@given(
    outcomes=st.lists(st.sampled_from([1, 0, -1]), max_size=20),
    kinds=st.lists(st.integers(0, 2), min_size=20, max_size=20),
    missed=st.integers(0, 3),
    recalls=st.sampled_from([None, [0.0, 0.5, 1.0], np.linspace(0, 1, 11).tolist()]),
)
def test_average_precision_equals_its_definition(
    outcomes: list[int], kinds: list[int], missed: int, recalls: list[float] | None
) -> None:
    """Per class, with ignored detections, missed ground truths, and classes without any."""
    each = [[o for o, kind in zip(outcomes, kinds, strict=False) if kind == c] for c in range(3)]
    positives = [row.count(1) + missed for row in each]
    order = np.argsort(kinds[: len(outcomes)], kind="stable")
    starts = np.cumsum([0] + [len(row) for row in each])

    found, hits, misses = average_precisions(
        order, starts, np.array(outcomes, np.int8), np.array(positives), np.array(recalls or [])
    )

    assert hits.tolist() == [row.count(1) for row in each]
    assert misses.tolist() == [row.count(0) for row in each]
    for c, row in enumerate(each):
        if positives[c] == 0:
            assert np.isnan(found[c])
        else:
            assert found[c] == pytest.approx(naive.average_precision(row, positives[c], recalls), abs=1e-12)
