"""Slow, obvious twins of what anomaly detection computes: one loop a definition, no shared code."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "coreset",
    "gaussian_blur",
    "memory_map",
    "nearest",
    "reweighted",
    "semantic_score",
]

Rows = NDArray[np.floating]


def coreset(rows: Rows, size: int, first: int | None, covered: Sequence[Rows] = ()) -> tuple[list[int], float]:
    """k-centre greedy: every distance again for every pick; return picks and cover radius."""
    centres = [np.asarray(row, np.float64) for row in covered]
    picks: list[int] = []
    while len(picks) < size:
        if not picks and first is not None:
            picks.append(first)
        else:
            best, where = -1.0, -1
            for i, row in enumerate(rows):
                near = min(float(np.linalg.norm(row.astype(np.float64) - c)) for c in centres)
                if i not in picks and near > best:
                    best, where = near, i
            picks.append(where)
        centres.append(rows[picks[-1]].astype(np.float64))
    radius = max(min(float(np.linalg.norm(row.astype(np.float64) - c)) for c in centres) for row in rows)
    return picks, radius


def nearest(queries: Rows, rows: Rows, allowed: Sequence[bool]) -> tuple[list[int], list[float]]:
    """The nearest allowed row of each query by Euclidean distance, and that distance."""
    places, distances = [], []
    for query in queries.astype(np.float64):
        found = [(float(np.linalg.norm(query - row)), i) for i, row in enumerate(rows.astype(np.float64)) if allowed[i]]
        distance, place = min(found)
        places.append(place)
        distances.append(distance)
    return places, distances


def memory_map(queries: dict[int, Rows], banks: dict[int, Rows]) -> NDArray[np.float64]:
    """Patch scores (p,): half of one minus the best cosine, averaged over blocks."""
    total = np.zeros(len(next(iter(queries.values()))))
    for block, patches in queries.items():
        for i, patch in enumerate(patches.astype(np.float64)):
            cosines = [
                patch @ row / (np.linalg.norm(patch) * np.linalg.norm(row)) for row in banks[block].astype(np.float64)
            ]
            total[i] += (1 - max(cosines)) / 2 / len(queries)
    return total


def reweighted(patches: Rows, bank: Rows, neighbours: int) -> float:
    """PatchCore's image score as anomalib computes it, with plain Euclidean distances."""
    patches, bank = patches.astype(np.float64), bank.astype(np.float64)
    distances = np.array([[np.linalg.norm(p - r) for r in bank] for p in patches])
    worst = int(distances.min(axis=1).argmax())
    nearest_row = int(distances[worst].argmin())
    around = sorted(range(len(bank)), key=lambda i: (np.linalg.norm(bank[i] - bank[nearest_row]), i))[:neighbours]
    raised = [math.exp(distances[worst, i]) for i in around]
    return (1 - raised[0] / sum(raised)) * float(distances[worst].min())


def semantic_score(feature: Rows, normal: Sequence[Rows], abnormal: Sequence[Rows], temperature: float) -> float:
    """Softmax over two groups, each group by the best cosine of its prompts; share of the abnormal one."""
    unit = feature.astype(np.float64) / np.linalg.norm(feature)
    good = math.exp(max(float(unit @ row) for row in normal) / temperature)
    bad = math.exp(max(float(unit @ row) for row in abnormal) / temperature)
    return bad / (good + bad)


def gaussian_blur(picture: Rows, sigma: float) -> NDArray[np.float64]:
    """Gaussian blur by definition: weights to 4 sigma, mirrored at the edge with the edge repeated."""
    radius = int(4 * sigma + 0.5)
    weights = [math.exp(-0.5 * (d / sigma) ** 2) for d in range(-radius, radius + 1)]
    weights = [w / sum(weights) for w in weights]

    def along(line: Rows) -> list[float]:
        count = len(line)
        values = []
        for at in range(count):
            total = 0.0
            for d, weight in zip(range(-radius, radius + 1), weights, strict=True):
                place = (at + d) % (2 * count)
                total += weight * float(line[place if place < count else 2 * count - 1 - place])
            values.append(total)
        return values

    rows = np.array([along(line) for line in picture])
    return np.array([along(line) for line in rows.T]).T
