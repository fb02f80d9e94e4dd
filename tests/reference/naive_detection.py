"""Slow, obvious twins of the detection metrics: lists and loops, written from the rules, no shared code."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

__all__ = ["Found", "Truth", "average_precision", "coco", "iou", "voc"]

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Found:
    """One detection."""

    image: int
    kind: int
    box: Box
    score: float


@dataclass(frozen=True)
class Truth:
    """One ground truth; `spared` is difficult or a crowd."""

    image: int
    kind: int
    box: Box
    spared: bool = False
    area: float | None = None


def area(box: Box, offset: float = 0.0) -> float:
    """Width times height."""
    return (box[2] - box[0] + offset) * (box[3] - box[1] + offset)


def shared(one: Box, other: Box, offset: float = 0.0) -> float:
    """Area that two boxes share."""
    width = min(one[2], other[2]) - max(one[0], other[0]) + offset
    height = min(one[3], other[3]) - max(one[1], other[1]) + offset
    return max(width, 0.0) * max(height, 0.0)


def iou(one: Box, other: Box, offset: float = 0.0) -> float:
    """Intersection over union; 0 where the union is nothing."""
    both = shared(one, other, offset)
    return both / (area(one, offset) + area(other, offset) - both) if both > 0 else 0.0


def voc(found: list[Found], truths: list[Truth], threshold: float, offset: float) -> list[int]:
    """Outcome of every detection in input order: 1 true, 0 false, -1 ignored."""
    outcomes = [0] * len(found)
    taken: set[int] = set()
    for at in sorted(range(len(found)), key=lambda row: -found[row].score):  # sorted() is stable
        best, best_overlap = -1, 0.0
        for row, truth in enumerate(truths):
            same = truth.image == found[at].image and truth.kind == found[at].kind
            if same and iou(found[at].box, truth.box, offset) > best_overlap:
                best, best_overlap = row, iou(found[at].box, truth.box, offset)
        if best_overlap < threshold:
            outcomes[at] = 0
        elif truths[best].spared:
            outcomes[at] = -1
        elif best in taken:
            outcomes[at] = 0
        else:
            taken.add(best)
            outcomes[at] = 1
    return outcomes


def average_precision(outcomes: list[int], positives: int, recalls: list[float] | None) -> float:
    """From the outcomes of one class, best score first: area below the envelope, or its mean at `recalls`."""
    points = []  # (recall, precision) after each detection
    for end in range(1, len(outcomes) + 1):
        right, wrong = outcomes[:end].count(1), outcomes[:end].count(0)
        if right + wrong:
            points.append((right / positives, right / (right + wrong)))

    def envelope(least: float) -> float:
        return max((precision for recall, precision in points if recall >= least), default=0.0)

    if recalls is not None:
        return sum(envelope(recall) for recall in recalls) / len(recalls)
    steps = sorted({recall for recall, _ in points} | {0.0})
    return sum((high - low) * envelope(high) for low, high in pairwise(steps))


def coco(
    found: list[Found], truths: list[Truth], threshold: float, sizes: tuple[float, float], most: int
) -> list[int | None]:
    """Outcome of every detection in input order by COCO's rule; None for those past the best `most` of a group."""

    def out_of_range(size: float) -> bool:
        return size < sizes[0] or size > sizes[1]

    outcomes: list[int | None] = [None] * len(found)
    for image, kind in {(one.image, one.kind) for one in found}:
        ours = [row for row, one in enumerate(found) if (one.image, one.kind) == (image, kind)]
        theirs = [truth for truth in truths if (truth.image, truth.kind) == (image, kind)]
        aside = [t.spared or out_of_range(area(t.box) if t.area is None else t.area) for t in theirs]
        taken: set[int] = set()
        for row in sorted(ours, key=lambda row: -found[row].score)[:most]:
            chosen: int | None = None
            for wanted in (False, True):  # those that count first, those set aside only if none is left
                best = threshold
                for at, truth in enumerate(theirs):
                    both = shared(found[row].box, truth.box)
                    overlap = iou(found[row].box, truth.box)
                    if truth.spared and both > 0:
                        overlap = both / area(found[row].box)
                    if aside[at] == wanted and (at not in taken or truth.spared) and overlap >= best:
                        chosen, best = at, overlap
                if chosen is not None:
                    break
            if chosen is not None:
                taken.add(chosen)
                outcomes[row] = -1 if aside[chosen] else 1
            else:
                outcomes[row] = -1 if out_of_range(area(found[row].box)) else 0
    return outcomes
