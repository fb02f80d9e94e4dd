"""Matching detections to ground truths.

Everything works on flat arrays. `keys` name a group (one class in one image); rows of one group are neighbours, and
inside a group detections go from the highest score to the lowest. Thus one walk down both lists pairs all groups, and
nothing is ever as large as classes times images.

PASCAL VOC gives a detection the ground truth it overlaps most, used or not, so that choice is the same at every IoU
threshold: a detection is right exactly at the thresholds in (`claimed`, `overlap`], where `claimed` is the largest
overlap that an earlier detection had with the same ground truth. COCO looks for the best ground truth still free, which
depends on the threshold; there the pairs that overlap enough are listed once and matched at each threshold.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from clipfast.types import Ints

__all__ = [
    "ASIDE",
    "COUNTS",
    "CROWD",
    "FALSE_POSITIVE",
    "IGNORED",
    "TRUE_POSITIVE",
    "best_overlaps",
    "claimed_before",
    "match_coco",
    "overlapping_pairs",
    "sort_by_key",
    "voc_outcomes",
]

Doubles = NDArray[np.float64]
Bools = NDArray[np.bool_]
Outcomes = NDArray[np.int8]

TRUE_POSITIVE = 1
FALSE_POSITIVE = 0
IGNORED = -1

COUNTS = 0
ASIDE = 1
CROWD = 2


@njit(cache=True, nogil=True)
def sort_by_key(order: Ints, keys: Ints, count: int) -> tuple[Ints, Ints]:
    """Counting sort of the rows named in `order` by their key; rows of equal keys keep their order.

    Args:
        order: Row numbers, (n,) int64.
        keys: Key of every row, (rows,) int64, 0 <= key < count.
        count: How many keys there are.

    Returns:
        The rows sorted, (n,) int64, and where each key begins in them, (count + 1,) int64.
    """
    starts = np.zeros(count + 1, dtype=np.int64)
    for row in order:
        starts[keys[row] + 1] += 1
    for key in range(count):
        starts[key + 1] += starts[key]
    free = starts[:-1].copy()
    sorted_rows = np.empty(len(order), dtype=np.int64)
    for row in order:
        key = keys[row]
        sorted_rows[free[key]] = row
        free[key] += 1
    return sorted_rows, starts


@njit(cache=True, nogil=True)
def _intersection(box: Doubles, other: Doubles, pixel_offset: float) -> float:
    """Return the area that two boxes xyxy share."""
    width = min(box[2], other[2]) - max(box[0], other[0]) + pixel_offset
    if width <= 0.0:
        return 0.0
    height = min(box[3], other[3]) - max(box[1], other[1]) + pixel_offset
    return width * height if height > 0.0 else 0.0


@njit(cache=True, nogil=True)
def _area(box: Doubles, pixel_offset: float) -> float:
    """Return the area of a box xyxy."""
    return float((box[2] - box[0] + pixel_offset) * (box[3] - box[1] + pixel_offset))


@njit(cache=True, nogil=True)
def best_overlaps(
    keys: Ints, boxes: Doubles, truth_keys: Ints, truth_boxes: Doubles, pixel_offset: float
) -> tuple[Ints, Doubles]:
    """Find for every detection the ground truth of its group with the largest IoU; the first of equals.

    Args:
        keys: Group of every detection, ascending, (n,) int64.
        boxes: Boxes xyxy, (n, 4) float64.
        truth_keys: Group of every ground truth, ascending, (m,) int64.
        truth_boxes: Boxes xyxy, (m, 4) float64.
        pixel_offset: 1 where the last pixel belongs to the box, else 0.

    Returns:
        Row of the ground truth, (n,) int64, -1 where none overlaps, and the IoU, (n,) float64.
    """
    best = np.full(len(keys), -1, dtype=np.int64)
    overlaps = np.zeros(len(keys), dtype=np.float64)
    begin = 0
    for i in range(len(keys)):
        while begin < len(truth_keys) and truth_keys[begin] < keys[i]:
            begin += 1
        area = _area(boxes[i], pixel_offset)
        j = begin
        while j < len(truth_keys) and truth_keys[j] == keys[i]:
            shared = _intersection(boxes[i], truth_boxes[j], pixel_offset)
            if shared > 0.0:
                overlap = shared / (area + _area(truth_boxes[j], pixel_offset) - shared)
                if overlap > overlaps[i]:
                    best[i], overlaps[i] = j, overlap
            j += 1
    return best, overlaps


@njit(cache=True, nogil=True)
def claimed_before(best: Ints, overlaps: Doubles, truths: int) -> Doubles:
    """Return the largest overlap that an earlier detection had with the same ground truth, (n,) float64; 0 if none."""
    claimed = np.zeros(truths, dtype=np.float64)
    before = np.zeros(len(best), dtype=np.float64)
    for i in range(len(best)):
        truth = best[i]
        if truth >= 0:
            before[i] = claimed[truth]
            claimed[truth] = max(claimed[truth], overlaps[i])
    return before


@njit(cache=True, nogil=True)
def voc_outcomes(overlaps: Doubles, before: Doubles, spared: Bools, threshold: float) -> Outcomes:
    """Judge every detection at one IoU threshold by the rule of PASCAL VOC.

    Args:
        overlaps: IoU with the ground truth overlapped most, (n,) float64.
        before: From `claimed_before`, (n,) float64.
        spared: Whether that ground truth is difficult, (n,) bool.
        threshold: The IoU from which a box counts as found, above 0.

    Returns:
        `TRUE_POSITIVE`, `FALSE_POSITIVE` or `IGNORED`, (n,) int8.
    """
    outcomes = np.zeros(len(overlaps), dtype=np.int8)
    for i in range(len(overlaps)):
        if overlaps[i] >= threshold:
            if spared[i]:
                outcomes[i] = IGNORED
            elif before[i] < threshold:
                outcomes[i] = TRUE_POSITIVE
    return outcomes


@njit(cache=True, nogil=True)
def overlapping_pairs(
    keys: Ints, boxes: Doubles, truth_keys: Ints, truth_boxes: Doubles, crowd: Bools, least: float
) -> tuple[Ints, Ints, Doubles]:
    """List for every detection the ground truths of its group that it overlaps by `least` or more.

    The overlap with a crowd is COCO's: the share of the detection's own area that lies inside.

    Args:
        keys: Group of every detection, ascending, (n,) int64.
        boxes: Boxes xyxy, (n, 4) float64.
        truth_keys: Group of every ground truth, ascending, (m,) int64.
        truth_boxes: Boxes xyxy, (m, 4) float64.
        crowd: Whether a ground truth is a crowd, (m,) bool.
        least: Smallest overlap listed, above 0.

    Returns:
        Where the pairs of each detection begin, (n + 1,) int64; rows of ground truths and overlaps, (pairs,).
    """
    starts = np.zeros(len(keys) + 1, dtype=np.int64)
    truths = np.empty(max(16, len(keys)), dtype=np.int64)
    overlaps = np.empty(len(truths), dtype=np.float64)
    pairs, begin = 0, 0
    for i in range(len(keys)):
        while begin < len(truth_keys) and truth_keys[begin] < keys[i]:
            begin += 1
        area = _area(boxes[i], 0.0)
        j = begin
        while j < len(truth_keys) and truth_keys[j] == keys[i]:
            shared = _intersection(boxes[i], truth_boxes[j], 0.0)
            if shared > 0.0:
                union = area if crowd[j] else area + _area(truth_boxes[j], 0.0) - shared
                if shared / union >= least:
                    if pairs == len(truths):
                        truths = np.concatenate((truths, np.empty_like(truths)))
                        overlaps = np.concatenate((overlaps, np.empty_like(overlaps)))
                    truths[pairs], overlaps[pairs] = j, shared / union
                    pairs += 1
            j += 1
        starts[i + 1] = pairs
    return starts, truths[:pairs].copy(), overlaps[:pairs].copy()


@njit(cache=True, nogil=True)
def match_coco(
    starts: Ints, truths: Ints, overlaps: Doubles, status: Outcomes, outside: Bools, threshold: float
) -> Outcomes:
    """Judge every detection at one IoU threshold by the rule of COCO (pycocotools `evaluateImg`).

    Args:
        starts: From `overlapping_pairs`, (n + 1,) int64, like the next two.
        truths: Ground truths of the pairs, (pairs,) int64.
        overlaps: Overlaps of the pairs, (pairs,) float64.
        status: `COUNTS`, `ASIDE` (neither counts nor punishes) or `CROWD` (nor is it used up), (m,) int8.
        outside: Whether a detection is not of the size asked for; it is ignored unless it finds one, (n,) bool.
        threshold: The IoU from which a box counts as found.

    Returns:
        `TRUE_POSITIVE`, `FALSE_POSITIVE` or `IGNORED`, (n,) int8.
    """
    used = np.zeros(len(status), dtype=np.bool_)
    outcomes = np.zeros(len(outside), dtype=np.int8)
    for i in range(len(outside)):
        counted, counted_overlap = -1, threshold  # the best free ground truth that counts, the later of equals
        spare, spare_overlap = -1, threshold  # the best that does not, taken only where none that counts is left
        for pair in range(starts[i], starts[i + 1]):
            truth, overlap = truths[pair], overlaps[pair]
            if used[truth]:
                continue
            if status[truth] == COUNTS:
                if overlap >= counted_overlap:
                    counted, counted_overlap = truth, overlap
            elif overlap >= spare_overlap:
                spare, spare_overlap = truth, overlap
        if counted >= 0:
            used[counted] = True
            outcomes[i] = TRUE_POSITIVE
        elif spare >= 0:
            used[spare] = status[spare] != CROWD
            outcomes[i] = IGNORED
        elif outside[i]:
            outcomes[i] = IGNORED
    return outcomes
