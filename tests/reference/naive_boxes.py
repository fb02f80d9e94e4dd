"""Slow, obvious twins of the box and mask kernels: lists and loops, written from the rules, no shared code."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Merged", "box_iou", "drawn", "mask_iou", "merge", "nms"]

Box = list[float]


@dataclass(frozen=True)
class Merged:
    """Clusters from the highest score down, and the cluster of every box."""

    boxes: list[Box]
    scores: list[float]
    best: list[int]
    cluster: list[int]


def box_iou(boxes: list[Box], others: list[Box], offset: int = 0) -> list[list[float]]:
    """Shared area through united area, 0 where nothing is united."""
    table = []
    for box in boxes:
        row = []
        for other in others:
            width = max(min(box[2], other[2]) - max(box[0], other[0]) + offset, 0)
            height = max(min(box[3], other[3]) - max(box[1], other[1]) + offset, 0)
            areas = [(some[2] - some[0] + offset) * (some[3] - some[1] + offset) for some in (box, other)]
            union = areas[0] + areas[1] - width * height
            row.append(width * height / union if union > 0 else 0.0)
        table.append(row)
    return table


def drawn(box: list[int], size: int, offset: int = 0) -> list[list[int]]:
    """Draw a box of whole pixels, the last one inside with offset 1, on a square that begins at (0, 0)."""
    return [
        [int(box[0] <= x < box[2] + offset and box[1] <= y < box[3] + offset) for x in range(size)] for y in range(size)
    ]


def mask_iou(masks: list[list[list[int]]], others: list[list[list[int]]]) -> list[list[float]]:
    """Count pixels that both have, and pixels that either has."""
    table = []
    for mask in masks:
        row = []
        for other in others:
            common = union = 0
            for line, other_line in zip(mask, other, strict=True):
                for pixel, other_pixel in zip(line, other_line, strict=True):
                    common += pixel != 0 and other_pixel != 0
                    union += pixel != 0 or other_pixel != 0
            row.append(common / union if union else 0.0)
        table.append(row)
    return table


def nms(
    boxes: list[Box], scores: list[float], threshold: float, classes: list[int] | None = None, offset: int = 0
) -> tuple[list[int], list[int]]:
    """Return kept boxes, best first, and for each box the kept one that drops it first (itself if it is kept)."""
    overlaps = box_iou(boxes, boxes, offset)
    kept: list[int] = []
    dropped_for = [-1] * len(boxes)
    for at in sorted(range(len(boxes)), key=lambda box: (-scores[box], box)):
        for better in kept:
            rivals = classes is None or classes[at] == classes[better]
            if rivals and overlaps[better][at] > threshold:
                dropped_for[at] = better
                break
        else:
            kept.append(at)
            dropped_for[at] = at
    return kept, dropped_for


def merge(
    boxes: list[Box], scores: list[float], threshold: float, classes: list[int] | None = None, offset: int = 0
) -> Merged:
    """Replace each kept box by the mean of its cluster, weighted with scores, or plain if all of them are 0."""
    best, dropped_for = nms(boxes, scores, threshold, classes, offset)
    merged = []
    for keeper in best:
        members = [at for at in range(len(boxes)) if dropped_for[at] == keeper]
        weights = [scores[at] for at in members]
        if sum(weights) == 0:
            weights = [1.0] * len(members)
        total = sum(weights)
        merged.append(
            [sum(w * boxes[at][side] for w, at in zip(weights, members, strict=True)) / total for side in range(4)]
        )
    return Merged(merged, [scores[at] for at in best], best, [best.index(keeper) for keeper in dropped_for])
