"""Slow, obvious twins of calibration, tests and intervals: loops from the definitions, no shared code."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

__all__ = [
    "auroc",
    "bins_of_equal_mass",
    "bins_of_equal_width",
    "delong_variance",
    "expected_error",
    "log_loss",
    "sign_flips",
]

Bin = list[tuple[float, bool]]  # confidence and whether the prediction was right


def predictions(probs: Sequence[Sequence[float]], labels: Sequence[int]) -> Bin:
    """Confidence of each row, and whether its first largest class is the true one."""
    return [(max(row), list(row).index(max(row)) == label) for row, label in zip(probs, labels, strict=True)]


def bins_of_equal_width(rows: Bin, count: int) -> list[Bin]:
    """Bin b holds the confidences in (b / count, (b + 1) / count]; the first also 0."""
    return [
        [row for row in rows if b / count < row[0] <= (b + 1) / count or (b == 0 and row[0] == 0)] for b in range(count)
    ]


def bins_of_equal_mass(rows: Bin, count: int) -> list[Bin]:
    """Fill each bin up to its share of all rows, and on while the next confidence equals the last."""
    waiting = sorted(rows)
    bins: list[Bin] = []
    taken = 0
    for b in range(1, count + 1):
        now: Bin = []
        while waiting and (taken < b * len(rows) / count or (now and waiting[0][0] == now[-1][0])):
            now.append(waiting.pop(0))
            taken += 1
        bins.append(now)
    return [filled for filled in bins if filled]


def gap(filled: Bin) -> float:
    """Accuracy less confidence, without sign."""
    return abs(sum(right for _, right in filled) - sum(confidence for confidence, _ in filled)) / len(filled)


def expected_error(bins: list[Bin]) -> float:
    """Mean gap, each bin with the share of its rows."""
    total = sum(len(filled) for filled in bins)
    return sum(len(filled) / total * gap(filled) for filled in bins if filled)


def log_loss(logits: Sequence[Sequence[float]], labels: Sequence[int], temperature: float) -> float:
    """Mean of -ln softmax(logits / T) of the true class."""
    total = 0.0
    for row, label in zip(logits, labels, strict=True):
        top = max(row)
        total += math.log(sum(math.exp((z - top) / temperature) for z in row)) - (row[label] - top) / temperature
    return total / len(labels)


def win(positive: float, negative: float) -> float:
    """1 if the positive is higher, a half if equal."""
    return 1.0 if positive > negative else 0.5 if positive == negative else 0.0


def auroc(positives: Sequence[float], negatives: Sequence[float]) -> float:
    """Share of pairs that are in the right order."""
    return sum(win(p, n) for p in positives for n in negatives) / (len(positives) * len(negatives))


def delong_variance(positives: Sequence[float], negatives: Sequence[float]) -> float:
    """DeLong's variance from the structural components, pair by pair."""

    def variance(values: list[float]) -> float:
        mean = sum(values) / len(values)
        return sum((value - mean) ** 2 for value in values) / (len(values) - 1)

    of_positives = [sum(win(p, n) for n in negatives) / len(negatives) for p in positives]
    of_negatives = [sum(win(p, n) for p in positives) / len(positives) for n in negatives]
    return variance(of_positives) / len(positives) + variance(of_negatives) / len(negatives)


def sign_flips(differences: Sequence[float]) -> float:
    """Share of all sign patterns whose sum is at least as far from 0."""
    observed = abs(math.fsum(differences))
    flips = list(itertools.product((1, -1), repeat=len(differences)))
    sums = [abs(math.fsum(s * d for s, d in zip(signs, differences, strict=True))) for signs in flips]
    return sum(value >= observed - 1e-12 for value in sums) / len(flips)
