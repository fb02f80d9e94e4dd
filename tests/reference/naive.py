"""One slow, obvious twin for every kernel: readable at a glance, no cleverness, no shared code with the kernel."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipfast.types import Floats

__all__ = ["NEIGHBOURS", "area_mean", "feature_surgery", "label_components", "laplacian", "perceptual_hash"]

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


def area_mean(grey: Floats, size_hw: tuple[int, int]) -> NDArray[np.float64]:
    """Cut every pixel into so many equal pieces that whole pieces make up a result, and take their mean."""
    height, width = size_hw
    pieces = np.kron(grey.astype(np.float64), np.ones((height, width)))
    blocks = pieces.reshape(height, grey.shape[0], width, grey.shape[1])
    result: NDArray[np.float64] = blocks.mean(axis=(1, 3))
    return result


def laplacian(grey: Floats) -> list[list[float]]:
    """Four neighbours less four times the middle, pixel by pixel."""
    return [
        [
            float(grey[y - 1, x] + grey[y + 1, x] + grey[y, x - 1] + grey[y, x + 1] - 4 * grey[y, x])
            for x in range(1, grey.shape[1] - 1)
        ]
        for y in range(1, grey.shape[0] - 1)
    ]


def perceptual_hash(grey: Floats) -> str:
    """Return the 64 bits of pHash as a text of 0 and 1, from the definition of the cosine transform."""
    small = area_mean(grey, (32, 32))
    centres = (np.arange(32) + 0.5) * np.pi / 32
    frequencies = [
        float((small * np.cos(down * centres)[:, None] * np.cos(across * centres)[None, :]).sum())
        for down in range(8)
        for across in range(8)
    ]
    middle = float(np.median(frequencies[1:]))
    return "".join("1" if frequency > middle else "0" for frequency in frequencies)
