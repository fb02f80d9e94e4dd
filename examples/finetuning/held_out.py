"""What images that were not trained on say before and after: boxes by name, pointing, and how far images have moved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from clipfast.artifact import ImageSpec
from clipfast.errors import UndefinedMetricError
from clipfast.export.reference import normalised
from clipfast.metrics.detection import voc_average_precision_score
from clipfast.metrics.detection_data import Detections, GroundTruths
from clipfast.metrics.intervals import BootstrapOptions
from clipfast.metrics.paired import paired_bootstrap
from clipfast.surgery import Boxes, fused_boxes
from clipfast.surgery.heatmap import resize_maps
from finetuning.supervision import Examples
from finetuning.tower import encode_images

__all__ = ["IOUS", "Said", "compare", "listen"]

IOUS = (0.1, 0.3, 0.5)
_BATCH = 16


@dataclass(frozen=True, eq=False)
class Said:
    """What a model says of each image.

    Attributes:
        embeddings: Unit rows, (n, e).
        boxes: For each image and each class that it shows, the boxes found.
        hits: For each image, whether the highest pixel of each of these classes lies in one of its boxes.
    """

    embeddings: NDArray[np.float32]
    boxes: tuple[dict[int, Boxes], ...]
    hits: tuple[list[bool], ...]


@torch.no_grad()
def listen(model: nn.Module, examples: Examples, image: ImageSpec, names: Tensor, depth: int) -> Said:
    """Map every class that an image shows, and find its boxes."""
    embeddings, boxes, hits = [], [], []
    height, width = image.size_hw
    for begin in range(0, len(examples), _BATCH):
        pixels = torch.from_numpy(examples.pixels[begin : begin + _BATCH])
        rows, tokens = encode_images(model, normalised(pixels, image), depth)
        embeddings.append(rows.numpy())
        for i, cosines in enumerate((tokens @ names.T).numpy(), start=begin):
            shown = np.unique(examples.labels[i]).tolist()
            grid = cosines[:, shown].T.reshape(len(shown), *model.visual.grid_size)
            maps = resize_maps(np.ascontiguousarray(grid), (height, width))
            boxes.append({label: fused_boxes(heat) for label, heat in zip(shown, maps, strict=True)})
            hits.append([_points_at(heat, examples, i, label) for label, heat in zip(shown, maps, strict=True)])
    return Said(np.concatenate(embeddings), tuple(boxes), tuple(hits))


def compare(examples: Examples, before: Said, after: Said, resamples: int) -> dict[str, Any]:
    """Return each figure before and after, with the interval of the difference over images."""
    options = BootstrapOptions(method="percentile", resamples=resamples)
    said, n = (after, before), len(examples)
    systems = np.arange(n), np.arange(n) + n  # a row says which model and which image
    report: dict[str, Any] = {}

    def measured(name: str, statistic: Any) -> None:
        try:
            values = [float(statistic(rows)) for rows in systems]
            found = paired_bootstrap(statistic, *systems, seed=0, options=options)
        except UndefinedMetricError as error:  # too few images
            report[name] = {"undefined": str(error)}
            return
        interval = found.interval
        report[name] = {
            "before": round(values[1], 4),
            "after": round(values[0], 4),
            "difference": round(found.difference, 4),
            "interval": None if interval is None else [round(interval.low, 4), round(interval.high, 4)],
            "p_value": found.p_value,
        }

    for iou in IOUS:
        measured(f"mAP@{iou}", lambda rows, iou=iou: _precision(examples, said, rows, iou))
    measured("pointing", lambda rows: np.mean([hit for row in rows.tolist() for hit in said[row // n].hits[row % n]]))
    drift = 1 - (before.embeddings * after.embeddings).sum(1)
    report["embedding drift"] = {"mean": round(float(drift.mean()), 5), "max": round(float(drift.max()), 5)}
    return report


def _precision(examples: Examples, said: tuple[Said, Said], rows: NDArray[np.int64], iou: float) -> float:
    n = len(examples)
    found = [said[row // n].boxes[row % n] for row in rows.tolist()]
    shown = [row % n for row in rows.tolist()]
    truths = GroundTruths.from_images([examples.boxes[i] for i in shown], [examples.labels[i] for i in shown])
    detections = Detections.from_images(
        [np.concatenate([np.empty((0, 4)), *(each.xyxy for each in found_.values())]) for found_ in found],
        [np.concatenate([np.empty(0), *(each.scores for each in found_.values())]) for found_ in found],
        [np.repeat(np.array([*found_], np.int64), [len(each) for each in found_.values()]) for found_ in found],
    )
    return voc_average_precision_score(truths, detections, iou_thresholds=iou).mean


def _points_at(heat: NDArray[np.float32], examples: Examples, i: int, label: int) -> bool:
    y, x = np.unravel_index(int(heat.argmax()), heat.shape)
    mine = examples.boxes[i][examples.labels[i] == label]
    inside = (mine[:, 0] <= x + 0.5) & (x + 0.5 < mine[:, 2]) & (mine[:, 1] <= y + 0.5) & (y + 0.5 < mine[:, 3])
    return bool(inside.any())
