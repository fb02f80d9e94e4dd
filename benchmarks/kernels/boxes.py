"""Overlap of boxes and NMS, beside torchvision, pycocotools and faster-coco-eval."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.race import Case
from clipfast.kernels.boxes import non_maximum_suppression
from clipfast.kernels.overlap import box_iou

BOXES = 1000
REPEATS = 50  # calls a round: one alone takes too little time for a clock
Array = np.ndarray[Any, Any]


def cases() -> list[Case]:
    """All pairs of a thousand boxes in both precisions, and NMS of ten thousand."""
    return [_overlaps(np.float32), _overlaps(np.float64), _suppression(10_000)]


def boxes(count: int, dtype: Any, seed: int, extent: float) -> Array:
    """Boxes of up to 120 pixels in a square of `extent` pixels."""
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, extent, (count, 2))
    return np.concatenate([corner, corner + rng.uniform(4, 120, (count, 2))], axis=1).astype(dtype)


def _overlaps(dtype: Any) -> Case:
    import torch
    from faster_coco_eval.core import mask as faster
    from pycocotools import mask as coco
    from torchvision.ops import box_iou as torchvision_iou

    left, right = boxes(BOXES, dtype, 0, 640), boxes(BOXES, dtype, 1, 640)
    tensors = torch.from_numpy(left), torch.from_numpy(right)
    wide = [np.concatenate([b[:, :2], b[:, 2:] - b[:, :2]], axis=1).astype(np.float64) for b in (left, right)]
    crowd = np.zeros(BOXES, np.uint8)
    floor = np.empty((BOXES, BOXES), dtype)

    def often(call: Any) -> Any:
        def run() -> Any:
            for _ in range(REPEATS - 1):
                call()
            return call()

        return run

    return Case(
        name=f"box IoU, {BOXES} x {BOXES}, {np.dtype(dtype).name}, {REPEATS} times",
        contenders={
            "clipfast": often(lambda: box_iou(left, right)),
            "torchvision": often(lambda: torchvision_iou(*tensors).numpy()),
            "pycocotools (float64)": often(lambda: coco.iou(wide[0], wide[1], crowd)),
            "faster-coco-eval (float64)": often(lambda: np.asarray(faster.iou(wide[0], wide[1], crowd))),
            "floor: write the result": often(lambda: floor.fill(0.5)),
        },
        agree=_same_overlaps,
        musts={"torchvision": 2.0, "pycocotools (float64)": 2.0, "faster-coco-eval (float64)": 2.0},
    )


def _same_overlaps(answers: Mapping[str, Any]) -> dict[str, float]:
    """Equal to the rounding of the type that ours computes in."""
    ours = answers["clipfast"]
    peers = [name for name in answers if name != "clipfast" and not name.startswith("floor")]
    apart = {name: float(np.abs(answers[name].reshape(ours.shape) - ours).max()) for name in peers}
    allowed = 2e-6 if ours.dtype == np.float32 else 1e-12
    assert all(value <= allowed for value in apart.values()), apart
    return {f"largest difference from {name}": value for name, value in apart.items()}


def _suppression(count: int) -> Case:
    import torch
    from torchvision.ops import nms

    found, scores = boxes(count, np.float32, 2, 1200), np.random.default_rng(3).permutation(count).astype(np.float32)
    tensors = torch.from_numpy(found), torch.from_numpy(scores)

    def agree(answers: Mapping[str, Any]) -> dict[str, float]:
        """The same boxes in the same order."""
        assert np.array_equal(answers["clipfast"], answers["torchvision"])
        return {"boxes kept": float(len(answers["clipfast"]))}

    return Case(
        name=f"NMS at IoU 0.5, {count:,} boxes, float32",
        contenders={
            "clipfast": lambda: non_maximum_suppression(found, scores, 0.5),
            "torchvision": lambda: nms(*tensors, 0.5).numpy(),
        },
        agree=agree,
        musts={"torchvision": 1.0},
    )
