"""Fused boxes: one a place, at the size at which it stands out, better than a single percentile."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from clipfast.datasets.fabricworld import detection_samples
from clipfast.errors import ShapeError
from clipfast.kernels import box_iou, sweep_thresholds
from clipfast.metrics.detection import voc_average_precision_score
from clipfast.metrics.detection_data import Detections, GroundTruths
from clipfast.runtime.clip import Clip
from clipfast.surgery import Boxes, FusionOptions, boxes, fused_boxes, heatmaps
from clipfast.surgery.boxes import rank_values
from clipfast.surgery.heatmap import resize_maps


def bumps(*places: tuple[float, float, float, float], size: int = 120) -> NDArray[np.float64]:
    """A map of smooth hills: x, y, width, height."""
    y, x = np.mgrid[:size, :size] + 0.5
    heat = np.zeros((size, size))
    for cx, cy, width, height in places:
        heat += height * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * width**2))
    return heat


def naive_fusion(heatmap: NDArray[Any], options: FusionOptions) -> list[tuple[list[int], float]]:
    """Every component of every threshold, masks and frames built pixel by pixel, then the best of what overlaps."""
    found = []
    for level in sorted(set(rank_values(heatmap, options.percentiles).tolist())):
        sweep = sweep_thresholds(heatmap, [level], options.connectivity)
        for (x1, y1, x2, y2), area, total in zip(sweep.boxes.tolist(), sweep.areas, sweep.sums, strict=True):
            if x2 - x1 < options.min_size_hw[1] or y2 - y1 < options.min_size_hw[0]:
                continue
            rx, ry = max(round((x2 - x1) * options.margin), 1), max(round((y2 - y1) * options.margin), 1)
            frame = heatmap[max(y1 - ry, 0) : y2 + ry, max(x1 - rx, 0) : x2 + rx]
            if frame.size > area:
                contrast = total / area - (frame.sum() - total) / (frame.size - area)
                found.append(([x1, y1, x2, y2], contrast, area / heatmap.size))
    kept: list[tuple[list[int], float, float]] = []
    for box, contrast, share in sorted(found, key=lambda row: -row[1]):
        if contrast > 0 and all(_common(box, other) <= options.most_overlap for other, _, _ in kept):
            kept.append((box, contrast, share))
    scored = []
    for (x1, y1, x2, y2), contrast, share in kept:
        height = heatmap[y1:y2, x1:x2].max() - heatmap.mean()
        scored.append(([x1, y1, x2, y2], contrast / heatmap.std() * (height * share**0.5) ** 0.5))
    return sorted(scored, key=lambda pair: -pair[1])


def _common(one: list[int], other: list[int]) -> float:
    width, height = (min(one[i + 2], other[i + 2]) - max(one[i], other[i]) for i in (0, 1))
    smaller = min((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return max(width, 0) * max(height, 0) / smaller


@pytest.mark.parametrize("seed", range(5))
def test_fusion_is_its_definition(seed: int) -> None:
    """Corners and scores of the slow twin."""
    heatmap = resize_maps(np.random.default_rng(seed).normal(size=(6, 6)).astype(np.float32), (60, 48)).astype(float)
    for options in (FusionOptions(), FusionOptions((60, 80, 95), margin=1.0, most_overlap=0.2, min_size_hw=(3, 8))):
        found, expected = fused_boxes(heatmap, options=options), naive_fusion(heatmap, options)

        assert found.xyxy.tolist() == [box for box, _ in expected]
        assert np.allclose(found.scores, [score for _, score in expected], rtol=1e-9)


def test_small_and_large_places_get_boxes_of_their_size() -> None:
    """Where one percentile must mark too much of the one or too little of the other."""
    small, large = (30.0, 30.0, 4.0, 1.0), (80.0, 75.0, 14.0, 1.0)
    found = fused_boxes(bumps(small, large)).xyxy[:2]
    truth = np.array([[x - 1.5 * w, y - 1.5 * w, x + 1.5 * w, y + 1.5 * w] for x, y, w, _ in (small, large)])

    assert box_iou(truth, found).max(axis=1).min() > 0.6


def test_a_place_is_found_once() -> None:
    """Nested components of many thresholds are one place, and a ripple on top of it is not another."""
    heat = bumps((60, 60, 15, 1.0), (55, 60, 3, 0.1))

    assert len(fused_boxes(heat)) == 1


def test_an_affine_change_scales_scores_and_moves_no_box() -> None:
    """By the root of the factor; powers of two, so that nothing is rounded."""
    heat = np.round(bumps((30, 40, 8, 1.0), (80, 70, 12, 0.7)) * 1024) / 1024
    one, other = fused_boxes(heat), fused_boxes(heat * 8 - 2)

    assert one.xyxy.tolist() == other.xyxy.tolist()
    assert np.allclose(other.scores, 8**0.5 * one.scores, rtol=1e-9)


def test_what_does_not_stand_out_is_no_box() -> None:
    """A constant map has none, and a dark spot in a bright map is none."""
    assert len(fused_boxes(np.ones((30, 30)))) == 0
    dark = fused_boxes(1 - bumps((60, 60, 10, 1.0))).xyxy
    assert not any(x1 > 45 and y1 > 45 and x2 < 75 and y2 < 75 for x1, y1, x2, y2 in dark)


@pytest.mark.parametrize("path", ["standard", "vv_vv"])
def test_many_thresholds_beat_any_single_one_on_rendered_objects(mini: Clip, path: Any) -> None:
    """Pictures of their own seeds; mean average precision by name at IoU .1, .3 and .5 gains on every percentile."""
    truths: list[NDArray[Any]] = []
    maps = []
    for sample in detection_samples(520_000_000, 24):
        names = sorted(set(sample.names))
        found = heatmaps(mini, sample.image, [f"a {name}" for name in names], path=path, size_hw=(224, 224))[0]
        maps += list(found)
        truths += [sample.boxes[[known == name for known in sample.names]] for name in names]

    def precision(found: list[Boxes]) -> NDArray[np.float64]:
        detections = Detections.from_images([each.xyxy for each in found], [each.scores for each in found])
        return voc_average_precision_score(
            GroundTruths.from_images(truths), detections, iou_thresholds=[0.1, 0.3, 0.5]
        ).by_threshold

    fused = precision([fused_boxes(heat) for heat in maps])
    for percentile in (75, 80, 85, 90, 95):
        assert (fused > precision([boxes(heat, percentile) for heat in maps]) + 0.05).all()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"percentiles": ()}, "percentiles must name"),
        ({"margin": 0.0}, "margin must be a number above 0"),
        ({"most_overlap": 1.5}, "most_overlap must be a number from 0 to 1"),
        ({"min_size_hw": (3, -1)}, "min_size_hw must be"),
    ],
)
def test_wrong_options_are_told(wrong: dict[str, Any], message: str) -> None:
    """Each by its name."""
    with pytest.raises(ShapeError, match=message):
        FusionOptions(**wrong)


def test_wrong_percentiles_are_told() -> None:
    """Before a map is seen."""
    with pytest.raises(ShapeError, match="from 0 to 100"):
        FusionOptions((50, 120))
