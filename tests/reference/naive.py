"""One slow, obvious twin for every kernel: readable at a glance, no cleverness, no shared code with the kernel."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipfast.types import Floats

__all__ = ["NEIGHBOURS", "feature_surgery", "label_components"]

NEIGHBOURS: dict[int, list[tuple[int, int]]] = {
    4: [(-1, 0), (0, -1), (0, 1), (1, 0)],
    8: [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0)],
}


def label_components(mask: NDArray[Any], connectivity: int) -> tuple[NDArray[np.int32], list[int], list[list[int]]]:
    """Flood-fill from each unlabelled foreground pixel in raster order; return labels, areas and boxes xyxy."""
    height, width = mask.shape
    labels = np.zeros((height, width), dtype=np.int32)
    areas: list[int] = []
    boxes: list[list[int]] = []
    for top in range(height):
        for left in range(width):
            if mask[top, left] == 0 or labels[top, left] != 0:
                continue
            label = len(areas) + 1
            labels[top, left] = label
            pixels = [(top, left)]
            queue = deque(pixels)
            while queue:
                y, x = queue.popleft()
                for dy, dx in NEIGHBOURS[connectivity]:
                    near = (y + dy, x + dx)
                    inside = 0 <= near[0] < height and 0 <= near[1] < width
                    if inside and mask[near] != 0 and labels[near] == 0:
                        labels[near] = label
                        pixels.append(near)
                        queue.append(near)
            rows, columns = zip(*pixels, strict=True)
            areas.append(len(pixels))
            boxes.append([min(columns), min(rows), max(columns) + 1, max(rows) + 1])
    return labels, areas, boxes


def feature_surgery(tokens: Floats, embedding: Floats, texts: Floats) -> Floats:
    """CLIP Surgery's own order of operations, (p, t, e) per image."""
    maps = []
    for patches, image in zip(tokens, embedding, strict=True):
        logits = 2.0 * texts @ image
        prob = np.exp(logits) / np.exp(logits).sum()
        weight = prob / prob.mean()
        features = patches[:, None, :] * texts[None] * weight[None, :, None]
        maps.append((features - features.mean(axis=1, keepdims=True)).sum(axis=-1))
    return np.stack(maps).astype(np.float32)
