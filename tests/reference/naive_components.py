"""Slow, obvious twins of stacks, sums, sweeps and structures: one flood fill a mask, one pixel a step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reference import naive

__all__ = ["Labelled", "label", "label_structure", "stack", "sweep"]


@dataclass(frozen=True)
class Labelled:
    """What is known of one mask, as lists."""

    labels: list[list[int]]
    areas: list[int]
    boxes: list[list[int]]
    sums: list[float]


def label(mask: NDArray[Any], connectivity: int, scores: NDArray[Any] | None = None) -> Labelled:
    """Flood-fill a mask, then add the scores of each label exactly, rounded once."""
    labels, areas, boxes = naive.label_components(mask, connectivity)
    under: list[list[float]] = [[] for _ in areas]
    for y, x in np.ndindex(*labels.shape):
        if scores is not None and labels[y, x] > 0:
            under[labels[y, x] - 1].append(float(scores[y, x]))
    return Labelled(labels.tolist(), areas, boxes, [math.fsum(pixels) for pixels in under])


def stack(masks: NDArray[Any], connectivity: int, scores: NDArray[Any] | None = None) -> list[Labelled]:
    """Each mask for itself."""
    return [label(mask, connectivity, None if scores is None else scores[at]) for at, mask in enumerate(masks)]


def sweep(scores: NDArray[Any], thresholds: list[float], connectivity: int) -> list[Labelled]:
    """Each threshold for itself; Python compares numbers exactly."""
    found = []
    for threshold in thresholds:
        mask = np.zeros(scores.shape, dtype=bool)
        for y, x in np.ndindex(*scores.shape):
            mask[y, x] = scores[y, x].item() >= threshold
        found.append(label(mask, connectivity, scores))
    return found


def label_structure(mask: NDArray[Any], structure: list[list[int]]) -> Labelled:
    """Flood-fill to the neighbours that a 3 x 3 structure marks around a pixel."""
    height, width = mask.shape
    labels = [[0] * width for _ in range(height)]
    areas: list[int] = []
    boxes: list[list[int]] = []
    for y, x in np.ndindex(height, width):
        if not mask[y, x] or labels[y][x]:
            continue
        pixels = [(y, x)]
        labels[y][x] = len(areas) + 1
        for top, left in pixels:  # grows while it is walked
            for down in range(3):
                for right in range(3):
                    near = (top + down - 1, left + right - 1)
                    inside = 0 <= near[0] < height and 0 <= near[1] < width
                    if structure[down][right] and inside and mask[near] and not labels[near[0]][near[1]]:
                        labels[near[0]][near[1]] = labels[y][x]
                        pixels.append(near)
        rows, columns = [top for top, _ in pixels], [left for _, left in pixels]
        areas.append(len(pixels))
        boxes.append([min(columns), min(rows), max(columns) + 1, max(rows) + 1])
    return Labelled(labels, areas, boxes, [])
