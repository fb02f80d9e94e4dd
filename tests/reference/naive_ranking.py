"""Slow, obvious twins of the ranking metrics: lists and loops from the definitions, no shared code."""

from __future__ import annotations

import itertools
from collections.abc import Container, Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

__all__ = [
    "aupro",
    "auroc",
    "average_precision",
    "best_f1",
    "legacy200",
    "levels",
    "orders",
    "overlap_area",
    "regions",
    "slots",
    "trapezoid_precision",
]

Numbers = Sequence[float]
Level = tuple[
    float, int, float, int, int
]  # score, positives of it, their weight, negatives above, negatives down to it
Point = tuple[int, int, float]  # positives and negatives at a threshold or above, and the threshold
Picture = Sequence[Sequence[Any]]
Pixel = tuple[int, int]


def levels(labels: Sequence[int], scores: Numbers, weights: Numbers | None = None) -> list[Level]:
    """For each score of a positive, highest first, count around it; one weight per positive, in their order."""
    positives = [score for label, score in zip(labels, scores, strict=True) if label]
    negatives = [score for label, score in zip(labels, scores, strict=True) if not label]
    given = [1.0] * len(positives) if weights is None else weights
    return [
        (
            score,
            positives.count(score),
            sum(weight for weight, own in zip(given, positives, strict=True) if own == score),
            sum(other > score for other in negatives),
            sum(other >= score for other in negatives),
        )
        for score in sorted(set(positives), reverse=True)
    ]


def slots(scores: Numbers, distinct: Numbers) -> list[int]:
    """Count what lies below the first value, equals it, lies between it and the second, and so on."""
    counts = [0] * (2 * len(distinct) + 1)
    for score in scores:
        counts[sum(value < score for value in distinct) + sum(value <= score for value in distinct)] += 1
    return counts


def auroc(labels: Sequence[int], scores: Numbers) -> float:
    """Share of pairs in order, equal ones half, as an exact fraction rounded once."""
    positives = [score for label, score in zip(labels, scores, strict=True) if label]
    negatives = [score for label, score in zip(labels, scores, strict=True) if not label]
    halves = sum(2 if p > n else 1 if p == n else 0 for p in positives for n in negatives)
    return float(Fraction(halves, 2 * len(positives) * len(negatives)))


def points(labels: Sequence[int], scores: Numbers) -> list[Point]:
    """What every threshold finds, highest threshold first."""
    pairs = list(zip(labels, scores, strict=True))
    return [
        (
            sum(label == 1 and score >= threshold for label, score in pairs),
            sum(label == 0 and score >= threshold for label, score in pairs),
            threshold,
        )
        for threshold in sorted(set(scores), reverse=True)
    ]


def average_precision(labels: Sequence[int], scores: Numbers) -> float:
    """Sum of steps of recall, each with the precision at its end."""
    area, before = 0.0, 0
    for found, false, _ in points(labels, scores):
        area += (found - before) / sum(labels) * found / (found + false)
        before = found
    return area


def trapezoid_precision(labels: Sequence[int], scores: Numbers) -> float:
    """Straight lines between (recall, precision), from (0, 1)."""
    area, recall, precision = 0.0, 0.0, 1.0
    for found, false, _ in points(labels, scores):
        now, height = found / sum(labels), found / (found + false)
        area += (now - recall) * (height + precision) / 2
        recall, precision = now, height
    return area


def best_f1(labels: Sequence[int], scores: Numbers) -> tuple[float, float]:
    """The largest F1, and the highest threshold that has it."""
    each = [
        (Fraction(2 * found, 2 * found + false + sum(labels) - found), threshold)
        for found, false, threshold in points(labels, scores)
    ]
    best, threshold = max(each)  # of equal ones the highest threshold
    return float(best), threshold


def regions(mask: Picture) -> list[list[Pixel]]:
    """The 8-connected regions of one picture, each a list of pixels."""
    waiting = {(y, x) for y, row in enumerate(mask) for x, value in enumerate(row) if value}
    found = []
    while waiting:
        region, front = [], [min(waiting)]
        waiting.remove(front[0])
        while front:
            y, x = front.pop()
            region.append((y, x))
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & waiting
            waiting -= near
            front += near
        found.append(region)
    return found


def overlap_area(steps: Sequence[tuple[float, float, float]], limit: float) -> float:
    """MVTec's area: sort, accumulate, merge equal scores, trapezoid up to the limit, a straight line at it.

    Each step is a score and what its pixel adds to the false positive rate and to the mean overlap.
    """
    curve = [(0.0, 0.0)]
    for _, equal in itertools.groupby(sorted(steps, reverse=True), key=lambda step: step[0]):
        merged = list(equal)
        curve.append(
            (curve[-1][0] + sum(step[1] for step in merged), curve[-1][1] + sum(step[2] for step in merged)),
        )
    area = 0.0
    for (left, low), (right, high) in itertools.pairwise(curve):
        if right <= limit:
            area += (right - left) * (low + high) / 2
        elif left < limit:
            at_limit = low + (high - low) * (limit - left) / (right - left)
            area += (limit - left) * (low + at_limit) / 2
    return area / limit


def aupro(masks: Sequence[Picture], maps: Sequence[Picture], limit: float) -> float:
    """MVTec's AUPRO: every pixel of a picture is a step of the rate or of the mean overlap."""
    found = [regions(mask) for mask in masks]
    count = sum(len(some) for some in found)
    normal = sum(not value for mask in masks for row in mask for value in row)
    steps = [
        (picture[y][x], 0.0, 1 / len(region) / count)
        for some, picture in zip(found, maps, strict=True)
        for region in some
        for y, x in region
    ]
    steps += [
        (picture[y][x], 1 / normal, 0.0)
        for mask, picture in zip(masks, maps, strict=True)
        for y, row in enumerate(mask)
        for x, value in enumerate(row)
        if not value
    ]
    return overlap_area(steps, limit)


def legacy200(masks: Sequence[Picture], maps: Any, limit: float) -> float | None:
    """The scripts' AUPRO: 200 steps, rates below the limit stretched to [0, 1]; None where they divide by zero.

    `maps` is an array, for the thresholds are NumPy's `arange` in its type.
    """
    low, high = maps.min(), maps.max()
    curve: list[tuple[float, float]] = []
    normal = [
        (i, y, x) for i, mask in enumerate(masks) for y, row in enumerate(mask) for x, v in enumerate(row) if not v
    ]
    for threshold in np.arange(low, high, (high - low) / 200).tolist():
        above = [[[value > threshold for value in row] for row in picture] for picture in maps.tolist()]
        shares = [
            sum(above[i][y][x] for y, x in region) / len(region)
            for i, mask in enumerate(masks)
            for region in regions(mask)
        ]
        rate = sum(above[i][y][x] for i, y, x in normal) / len(normal)
        if rate < limit:
            curve.append((rate, sum(shares) / len(shares)))
    rates = [rate for rate, _ in curve]
    if not rates or min(rates) == max(rates):
        return None
    curve = [((rate - min(rates)) / (max(rates) - min(rates)), overlap) for rate, overlap in curve]
    return sum((left[0] - right[0]) * (left[1] + right[1]) / 2 for left, right in itertools.pairwise(curve))


def orders(scores: Sequence[int], kept: Container[int] = ()) -> Iterator[list[int]]:
    """Every way to put tied items into order, or to leave some of them tied; those of the scores `kept` stay tied."""
    groups = [[at for at, score in enumerate(scores) if score == value] for value in sorted(set(scores))]
    inner = [
        itertools.product(range(1 if scores[group[0]] in kept else len(group)), repeat=len(group)) for group in groups
    ]
    for places in itertools.product(*inner):
        finer = [len(scores) * score for score in scores]
        for group, offsets in zip(groups, places, strict=True):
            for at, offset in zip(group, offsets, strict=True):
                finer[at] += offset
        yield finer
