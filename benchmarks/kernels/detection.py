"""Average precision of 10 000 images, beside pycocotools and faster-coco-eval.

The peers get their indexed data sets ready made: only matching, accumulation and summary are timed. Ours starts from
plain arrays, checks and sorts included.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from benchmarks.race import Case
from clipfast.metrics.detection import voc_average_precision_score
from clipfast.metrics.detection_coco import coco_average_precision_score
from clipfast.metrics.detection_data import Detections, GroundTruths

IMAGES, TRUTHS, FOUND, CLASSES = 10_000, 7, 15, 5
THRESHOLDS = np.linspace(0.5, 0.95, 10)
PEERS = ("pycocotools", "faster-coco-eval")
Scene = dict[str, np.ndarray[Any, Any]]


def cases() -> list[Case]:
    """COCO's twelve numbers, and VOC's matching on data where it agrees with COCO's."""
    crowded, apart = scene(seed=0, overlapping=True), scene(seed=1, overlapping=False)
    size = f"{IMAGES:,} images, {IMAGES * TRUTHS:,} boxes, {IMAGES * FOUND:,} detections, {CLASSES} classes"
    return [
        Case(
            name=f"COCO's 12 numbers (10 IoU thresholds, 4 sizes), {size}",
            contenders={"clipfast": lambda: _ours_coco(crowded), **_peers(crowded, only_all=False)},
            agree=_agree,
            musts=dict.fromkeys(PEERS, 2.0),
        ),
        Case(
            name=f"VOC AP at 10 IoU thresholds, {size}",
            contenders={"clipfast": lambda: _ours_voc(apart), **_peers(apart, only_all=True)},
            agree=_agree,
            musts=dict.fromkeys(PEERS, 2.0),
        ),
    ]


def scene(*, seed: int, overlapping: bool) -> Scene:
    """Whole-pixel boxes and detections jittered around them, scores all different.

    Without `overlapping`, boxes of one image stand in cells of a grid and detections keep to their cell: each overlaps
    at most one ground truth, so VOC's rule and COCO's give the same outcomes.
    """
    rng = np.random.default_rng(seed)
    images = np.repeat(np.arange(IMAGES), TRUTHS)
    cells = np.argsort(rng.random((IMAGES, 16)), axis=1)[:, :TRUTHS].ravel()
    corner = np.stack([cells % 4, cells // 4], axis=1) * 160 + rng.integers(16, 48, (len(cells), 2))
    if overlapping:
        corner = rng.integers(0, 400, corner.shape)
    boxes = np.concatenate([corner, corner + rng.integers(12, 97 if not overlapping else 240, corner.shape)], axis=1)
    classes = rng.integers(0, CLASSES, len(images))
    found = np.repeat(np.arange(IMAGES), FOUND)
    source = found * TRUTHS + rng.integers(0, TRUTHS, len(found))
    near = boxes[source] + rng.integers(-6, 7, (len(found), 4))
    near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
    return {
        "images": images,
        "classes": classes,
        "boxes": boxes,
        "found_images": found,
        "found_classes": np.where(rng.random(len(found)) < 0.85, classes[source], rng.integers(0, CLASSES, len(found))),
        "found_boxes": near,
        "scores": rng.permutation(len(found)) / len(found),
    }


def _ours_coco(data: Scene) -> list[float]:
    result = coco_average_precision_score(*_inputs(data))
    return [getattr(result, field.name) for field in fields(result)[:12]]


def _ours_voc(data: Scene) -> list[float]:
    return [voc_average_precision_score(*_inputs(data), iou_thresholds=THRESHOLDS, method="coco_101").mean]


def _inputs(data: Scene) -> tuple[GroundTruths, Detections]:
    return (
        GroundTruths(data["images"], data["classes"], data["boxes"]),
        Detections(data["found_images"], data["found_classes"], data["found_boxes"], data["scores"]),
    )


def _peers(data: Scene, *, only_all: bool) -> dict[str, Callable[[], list[float]]]:
    """Both peers with their indices built beforehand; `only_all` leaves out small, medium and large."""
    import faster_coco_eval
    from pycocotools import coco, cocoeval

    return {
        "pycocotools": _peer(coco.COCO, cocoeval.COCOeval, data, only_all),
        "faster-coco-eval": _peer(faster_coco_eval.COCO, faster_coco_eval.COCOeval_faster, data, only_all),
    }


def _peer(dataset: Any, evaluator: Any, data: Scene, only_all: bool) -> Callable[[], list[float]]:
    truth = dataset()
    truth.dataset = {
        "info": {},
        "images": [{"id": image} for image in range(IMAGES)],
        "categories": [{"id": kind, "name": str(kind)} for kind in range(CLASSES)],
        "annotations": [
            row | {"id": at + 1, "iscrowd": 0, "area": row["bbox"][2] * row["bbox"][3]}
            for at, row in enumerate(_rows(data["images"], data["classes"], data["boxes"]))
        ],
    }
    rows = _rows(data["found_images"], data["found_classes"], data["found_boxes"])
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        found = truth.loadRes([row | {"score": s} for row, s in zip(rows, data["scores"].tolist(), strict=True)])

    def call() -> list[float]:
        with contextlib.redirect_stdout(io.StringIO()):
            evaluation = evaluator(truth, found, "bbox")
            if only_all:
                evaluation.params.areaRng = evaluation.params.areaRng[:1]
                evaluation.params.areaRngLbl = evaluation.params.areaRngLbl[:1]
                evaluation.params.maxDets = [100]
            evaluation.evaluate()
            evaluation.accumulate()
            if only_all:
                precision = evaluation.eval["precision"]
                return [float(precision[precision > -1].mean())]
            evaluation.summarize()
        return [float(value) for value in evaluation.stats[:12]]

    return call


def _rows(images: Any, classes: Any, boxes: Any) -> list[dict[str, Any]]:
    widths = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1).astype(float)
    triples = zip(images.tolist(), classes.tolist(), widths.tolist(), strict=True)
    return [{"image_id": image, "category_id": kind, "bbox": box} for image, kind, box in triples]


def _agree(answers: Mapping[str, Any]) -> dict[str, float]:
    """Every number equals that of every peer to 1e-9."""
    ours = np.array(answers["clipfast"])
    apart = {name: float(np.abs(np.array(answers[name]) - ours).max()) for name in PEERS}
    assert all(difference <= 1e-9 for difference in apart.values()), apart
    return {f"largest difference from {name}": difference for name, difference in apart.items()}
