"""Which boxes fit best? Every source of boxes on rendered objects that are asked for by name. Needs: clipfast[cpu].

    python examples/compare_boxes.py --pictures 200 --path vv_vv

The refiner learns from other pictures than those that are measured. With scikit-image (clipfast[proposals]) there are
two rows more. One row: mean average precision at IoU .1, .3, .5 and .7, all names as one class; then the mean overlap
of an object with the best of its boxes.
"""

import argparse
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from clipfast import Clip
from clipfast.datasets.fabricworld import detection_samples
from clipfast.errors import MissingExtraError
from clipfast.kernels import box_iou
from clipfast.metrics import Detections, GroundTruths, voc_average_precision_score
from clipfast.surgery import (
    PATHS,
    Boxes,
    BoxOptions,
    BoxRefiner,
    Path,
    Proposals,
    RefinerSample,
    boxes,
    fused_boxes,
    heatmaps,
    propose,
    score_proposals,
    snap_boxes,
)
from clipfast.types import Floats, Pixels

TRAINING, MEASURED = 500_000_000, 510_000_000  # first seeds; the test seeds, from 900,000,000, are not touched
IOUS = (0.1, 0.3, 0.5, 0.7)


@dataclass(frozen=True, eq=False)
class Asked:
    """One name that a picture shows: its map, where it is, and the picture."""

    heat: Floats
    truths: Floats
    image: Pixels


def ask(clip: Clip, path: Path, seed: int, count: int) -> Iterator[Asked]:
    for sample in detection_samples(seed, count):
        names = sorted(set(sample.names))
        maps = heatmaps(clip, sample.image, [f"a {name}" for name in names], path, size_hw=sample.image.shape[:2])[0]
        for name, heat in zip(names, maps, strict=True):
            yield Asked(heat, sample.boxes[[known == name for known in sample.names]], sample.image)


def sources(refiner: BoxRefiner) -> dict[str, Callable[[Asked], Boxes]]:
    """Name each way to boxes."""
    contrast = BoxOptions(score="contrast")
    found: dict[str, Callable[[Asked], Boxes]] = {
        f"percentile {p}": partial(lambda p, each: boxes(each.heat, p), p) for p in (75, 85, 90, 95)
    }
    found["percentile 95, contrast"] = lambda each: boxes(each.heat, 95, options=contrast)
    found["fused"] = lambda each: fused_boxes(each.heat)
    found["fused, refined"] = lambda each: refiner.refine(each.heat, fused_boxes(each.heat))
    cut: dict[int, Proposals] = {}

    def regions(each: Asked) -> Proposals:
        if id(each.image) not in cut:
            cut[id(each.image)] = propose(each.image)
        return cut[id(each.image)]

    try:
        propose(np.zeros((8, 8, 3), np.uint8))
    except MissingExtraError as error:
        print(f"without proposals: {error}")
        return found
    found["proposals"] = lambda each: score_proposals(each.heat, regions(each))
    found["fused, snapped to proposals"] = lambda each: snap_boxes(fused_boxes(each.heat), each.heat, regions(each))
    return found


def row(asked: Iterable[Asked], source: Callable[[Asked], Boxes]) -> str:
    """Measure one source."""
    truths = [each.truths for each in asked]
    found = [source(each) for each in asked]
    detections = Detections.from_images([each.xyxy for each in found], [each.scores for each in found])
    precision = voc_average_precision_score(GroundTruths.from_images(truths), detections, iou_thresholds=IOUS)
    best = [
        box_iou(truth, each.xyxy).max(axis=1) if len(each) else np.zeros(len(truth))
        for truth, each in zip(truths, found, strict=True)
    ]
    return " | ".join(f"{value:.3f}" for value in [*precision.by_threshold, np.concatenate(best).mean()])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="mini", help="An artifact, or an embedded model.")
    parser.add_argument("--pictures", type=int, default=20, help="To measure on; as many others teach the refiner.")
    parser.add_argument("--path", default="vv_vv", choices=list(PATHS))
    options = parser.parse_args()
    with Clip.load(options.model) as clip:
        teaching = ask(clip, options.path, TRAINING, max(options.pictures, 30))
        samples = (RefinerSample(each.heat, fused_boxes(each.heat).xyxy, each.truths) for each in teaching)
        refiner = BoxRefiner.fit(samples, fingerprint=clip.fingerprint("vv"), path=options.path)
        asked = list(ask(clip, options.path, MEASURED, options.pictures))
    print("| boxes | mAP@.1 | mAP@.3 | mAP@.5 | mAP@.7 | overlap |\n|---|--:|--:|--:|--:|--:|")
    for name, source in sources(refiner).items():
        print(f"| {name} | {row(asked, source)} |", flush=True)


if __name__ == "__main__":
    main()
