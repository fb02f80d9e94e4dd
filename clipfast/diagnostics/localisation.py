"""Where a model looked: how spread its attention is, and whether it lies on the answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipfast.diagnostics.predictions import Boxes, Doubles, Predictions
from clipfast.errors import ShapeError
from clipfast.metrics.intervals import Interval, wilson_interval
from clipfast.types import Floats, Ints

__all__ = [
    "AttentionMeasures",
    "Localisation",
    "attention_boxes",
    "attention_entropy",
    "localisation",
    "measure_attention",
]

_LEVEL = 0.5  # of the map's own range: the cells that count as looked at
_CHUNK = 4096


def attention_entropy(maps: Floats) -> Doubles:
    """Return the entropy of each map over the logarithm of its cells, in [0, 1], (n,) float64; NaN where a map is.

    >>> attention_entropy(np.array([[[1, 1], [1, 1]], [[1, 0], [0, 0]]], np.float32)).tolist()
    [1.0, 0.0]
    """
    if maps.ndim != 3 or maps.shape[1] * maps.shape[2] < 2:
        raise ShapeError(f"maps must be (n, gh, gw) of two cells or more; got {maps.shape}.")
    flat = maps.reshape(len(maps), -1)
    found = np.empty(len(maps))
    for begin in range(0, len(maps), _CHUNK):
        part = slice(begin, begin + _CHUNK)
        weights = flat[part].astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = weights / weights.sum(axis=1, keepdims=True)
            logs = np.log(np.where(shares > 0, shares, 1.0))  # 0 log 0 is 0
        found[part] = -np.einsum("np,np->n", shares, logs) / np.log(flat.shape[1])
    return found + 0.0


def attention_boxes(maps: Floats, *, level: float = _LEVEL) -> Doubles:
    """Return the box of the connected cells around each map's peak, as shares of width and height, (n, 4) float64.

    Cells count from `level` of the way between the map's lowest and highest value; neighbours may touch at corners.
    The first of equal peaks is taken; a flat map gives the whole picture; NaN where a map is.
    """
    from clipfast.kernels import label_stack

    if not 0 < level <= 1:
        raise ShapeError(f"level must be in (0, 1]; got {level!r}.")
    count, gh, gw = maps.shape
    there = ~np.isnan(maps[:, 0, 0])
    known = np.where(there[:, None, None], maps, 0)
    low, high = known.min(axis=(1, 2), keepdims=True), known.max(axis=(1, 2), keepdims=True)
    stack = label_stack(known >= low + level * (high - low))
    peaks = known.reshape(count, -1).argmax(axis=1)
    labels = stack.labels.reshape(count, -1)[np.arange(count), peaks]
    boxes = stack.boxes[stack.offsets[:-1] + labels - 1] / np.array([gw, gh, gw, gh], np.float64)
    boxes[~there] = np.nan
    found: Doubles = boxes
    return found


@dataclass(frozen=True, slots=True, eq=False)
class AttentionMeasures:
    """What the maps say of each sample; NaN where it has no map or no box.

    Attributes:
        entropy: Of the map, in [0, 1], (n,).
        iou: Of the attention's box with the nearest answer box, (n,).
        hit: 1 where the peak lies in an answer box, else 0 (the pointing game without tolerance; the centre of the
            first of equal peaks), (n,).
        inside: Share of the attention inside the answer boxes, each cell by the share that the best box covers, (n,).
        lift: `inside` over the share of the picture that the box covers: 1 is no better than looking everywhere, (n,).
    """

    entropy: Doubles
    iou: Doubles
    hit: Doubles
    inside: Doubles
    lift: Doubles


def measure_attention(maps: Floats, boxes: Boxes | None) -> AttentionMeasures:
    """Measure maps, (n, gh, gw), against answer boxes; of several boxes the best counts, measure by measure."""
    empty = np.full(len(maps), np.nan)
    entropy = attention_entropy(maps)
    if boxes is None:
        return AttentionMeasures(entropy, empty, empty, empty, empty)
    known = ~np.isnan(entropy[boxes.rows])
    xyxy, rows = boxes.xyxy[known], boxes.rows[known]
    looked = attention_boxes(maps)
    iou = _aligned_iou(looked[rows], xyxy)
    hit = _peak_inside(maps, xyxy, rows)
    inside = _share_inside(maps, xyxy, rows)
    area = (xyxy[:, 2] - xyxy[:, 0]) * (xyxy[:, 3] - xyxy[:, 1])
    return AttentionMeasures(
        entropy, *(_best(values, rows, len(maps)) for values in (iou, hit, inside, inside / np.maximum(area, 1e-12)))
    )


def _best(values: Doubles, rows: Ints, count: int) -> Doubles:
    found = np.full(count, -np.inf)
    np.maximum.at(found, rows, values)
    best: Doubles = np.where(np.isfinite(found), found, np.nan)
    return best


def _aligned_iou(left: Doubles, right: Doubles) -> Doubles:
    """Return the overlap of box i with box i; `box_iou` gives all pairs, which would be millions here."""
    sides = np.minimum(left[:, 2:], right[:, 2:]) - np.maximum(left[:, :2], right[:, :2])
    both = np.prod(np.maximum(sides, 0), axis=1)
    areas = [np.prod(box[:, 2:] - box[:, :2], axis=1) for box in (left, right)]
    found: Doubles = both / np.maximum(areas[0] + areas[1] - both, 1e-12)
    return found


def _peak_inside(maps: Floats, xyxy: Doubles, rows: Ints) -> Doubles:
    gh, gw = maps.shape[1:]
    peaks = np.where(np.isnan(maps), -np.inf, maps).reshape(len(maps), -1).argmax(axis=1)[rows]
    x, y = (peaks % gw + 0.5) / gw, (peaks // gw + 0.5) / gh
    inside = (xyxy[:, 0] <= x) & (x < xyxy[:, 2]) & (xyxy[:, 1] <= y) & (y < xyxy[:, 3])
    found: Doubles = inside.astype(np.float64)
    return found


def _share_inside(maps: Floats, xyxy: Doubles, rows: Ints) -> Doubles:
    gh, gw = maps.shape[1:]
    found = np.empty(len(rows))
    for begin in range(0, len(rows), _CHUNK):
        part = slice(begin, begin + _CHUNK)
        weights = maps[rows[part]].astype(np.float64)
        across = _cover(xyxy[part, 0], xyxy[part, 2], gw)
        down = _cover(xyxy[part, 1], xyxy[part, 3], gh)
        covered = np.einsum("ny,nyx,nx->n", down, weights, across)
        found[part] = covered / weights.sum(axis=(1, 2))
    return found


def _cover(low: Doubles, high: Doubles, cells: int) -> Doubles:
    """Return the share of each cell of a row that lies between two places, (n, cells)."""
    edges = np.arange(cells + 1) / cells
    ends = np.minimum(high[:, None], edges[1:]) - np.maximum(low[:, None], edges[:-1])
    found: Doubles = np.maximum(ends, 0) * cells
    return found


@dataclass(frozen=True, slots=True)
class Localisation:
    """Where the model looked, over the judged samples that have a map and a box.

    Attributes:
        samples: How many.
        mean_iou: Of the attention's box with the answer.
        iou_half: Share with an IoU of at least 0.5.
        pointing: Share whose peak lies in the answer.
        mean_inside: Mean share of attention inside the answer.
        mean_entropy: Mean entropy of the maps.
        pointing_if_right: The pointing game where the answer was right; None if none was.
        pointing_if_wrong: And where it was wrong.
        choice_accuracy: Share of right choices among candidate boxes; None without choices.
    """

    samples: int
    mean_iou: float | None
    iou_half: Interval | None
    pointing: Interval | None
    mean_inside: float | None
    mean_entropy: float | None
    pointing_if_right: Interval | None
    pointing_if_wrong: Interval | None
    choice_accuracy: Interval | None


def localisation(predictions: Predictions, measures: AttentionMeasures | None) -> Localisation | None:
    """Summarise the judged samples; None without maps and choices."""
    judged, right = predictions.judged, predictions.right
    choices = None
    if predictions.choices is not None:
        known = judged & (predictions.choices >= 0).all(axis=1)
        if known.any():
            same = predictions.choices[known, 0] == predictions.choices[known, 1]
            choices = wilson_interval(int(same.sum()), int(known.sum()))
    if measures is None:
        return None if choices is None else Localisation(0, None, None, None, None, None, None, None, choices)
    held = judged & ~np.isnan(measures.iou)

    def share(hits: NDArray[Any]) -> Interval | None:
        return wilson_interval(int(hits.sum()), len(hits)) if len(hits) else None

    entropy = measures.entropy[judged & ~np.isnan(measures.entropy)]
    return Localisation(
        samples=int(held.sum()),
        mean_iou=float(measures.iou[held].mean()) if held.any() else None,
        iou_half=share(measures.iou[held] >= 0.5),
        pointing=share(measures.hit[held]),
        mean_inside=float(measures.inside[held].mean()) if held.any() else None,
        mean_entropy=float(entropy.mean()) if len(entropy) else None,
        pointing_if_right=share(measures.hit[held & right]),
        pointing_if_wrong=share(measures.hit[held & ~right]),
        choice_accuracy=choices,
    )
