"""Average precision of detectors: published numbers, naive twins, rules in small scenes, bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from clipfast.errors import UndefinedMetricError
from clipfast.metrics.detection import RECALLS, Method, voc_average_precision_score
from clipfast.metrics.detection_coco import SIZES, THRESHOLDS, coco_average_precision_score
from clipfast.metrics.detection_data import Detections, GroundTruths
from reference import naive_detection as naive
from reference.detection_scenes import arrays
from reference.naive_detection import Found, Truth

DATA = Path(__file__).parents[3] / "shared" / "data" / "voc_ap_reference"
shared_data = pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data/voc_ap_reference is absent")


# --- published numbers ---------------------------------------------------------------------------------------------


def read_folder(folder: Path, *, scored: bool) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Images, classes, boxes xyxy and scores of text files `class [score] x y w h`, in the order of their names."""
    rows = [
        (file.stem, *line.split())
        for file in sorted(folder.glob("*.txt"))
        for line in file.read_text().splitlines()
        if line.strip()
    ]
    numbers = np.array([row[2:] for row in rows], dtype=float)
    boxes = numbers[:, -4:] + np.pad(numbers[:, -4:-2], ((0, 0), (2, 0)))
    return np.array([row[0] for row in rows]), np.array([row[1] for row in rows]), boxes, numbers[:, 0]


def padilla(folder: Path, detections: str, truths: str) -> tuple[Detections, GroundTruths]:
    """One of Padilla's examples."""
    images, classes, boxes, _ = read_folder(folder / truths, scored=False)
    return Detections(*read_folder(folder / detections, scored=True)), GroundTruths(images, classes, boxes)


@pytest.mark.shared
@shared_data
@pytest.mark.parametrize(
    ("method", "pixel_offset", "expected"),
    [
        # rafaelpadilla/review_object_detection_metrics tests/test_eval_pascal.py
        ("every_point", 1, [0.3371980676, 0.2456866804, 0.0222222222, 0.0]),
        ("eleven_point", 1, [0.3333333333, 0.2683982683, 0.0303030303, 0.0]),
        # the same files with half-open boxes: ../shared/data/metric_reference/expected_values.json
        ("every_point", 0, [0.2801328502, 0.2253968254, 0.0222222222, 0.0]),
        ("eleven_point", 0, [0.3024538867, 0.2683982684, 0.0303030303, 0.0]),
    ],
)
def test_published_values_of_test_case_1(method: Method, pixel_offset: Literal[0, 1], expected: list[float]) -> None:
    """All published values at the IoU thresholds .1, .3, .5 and .75, in one pass."""
    detections, truths = padilla(DATA / "review_odm/tests/test_case_1", "dets", "gts")

    found = voc_average_precision_score(
        truths, detections, iou_thresholds=[0.1, 0.3, 0.5, 0.75], method=method, pixel_offset=pixel_offset
    )

    assert found.by_threshold.tolist() == pytest.approx(expected, abs=1e-9)


@pytest.mark.shared
@shared_data
def test_published_values_of_sample_2() -> None:
    """24.57 % with every point, 26.84 % with eleven at IoU 0.3, and the printed table of precision and recall."""
    folder = DATA / "object_detection_metrics"
    detections, truths = padilla(folder / "samples/sample_2", "detections", "groundtruths")

    every = voc_average_precision_score(truths, detections, iou_thresholds=0.3, pixel_offset=1)
    eleven = voc_average_precision_score(truths, detections, iou_thresholds=0.3, pixel_offset=1, method="eleven_point")
    curve = every.curve("object")

    assert f"{every.mean:.2%}" == "24.57%"
    assert f"{eleven.mean:.2%}" == "26.84%"
    assert every.true_positives.tolist() == [[7]]
    assert every.false_positives.tolist() == [[17]]
    assert every.ground_truths.tolist() == [15]
    for name, values in (("Precision", curve.precision), ("Recall", curve.recall)):
        (line,) = (x for x in (folder / "results/results.txt").read_text().splitlines() if x.startswith(name))
        assert [f"{value:.2f}" for value in values] == json.loads(line.split(":", 1)[1].replace("'", '"'))


@pytest.mark.shared
@shared_data
def test_published_coco_numbers() -> None:
    """All twelve numbers that pycocotools prints for 100 images of COCO, to their six digits."""
    folder = DATA / "review_odm/tests/test_coco_eval"
    found = json.loads((folder / "dets/sampled_bbox_results.json").read_text())["annotations"]
    true = json.loads((folder / "gts/sampled_gts_bbox_area.json").read_text())["annotations"]

    def columns(rows: list[dict[str, Any]]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        boxes = np.array([row["bbox"] for row in rows])
        boxes[:, 2:] += boxes[:, :2]
        return np.array([row["image_id"] for row in rows]), np.array([row["category_id"] for row in rows]), boxes

    scores = coco_average_precision_score(
        GroundTruths(*columns(true), areas=np.array([row["area"] for row in true])),
        Detections(*columns(found), np.array([row["score"] for row in found])),
    )

    # tests/test_eval_coco.py of the same repository
    expected = {
        "ap": 0.503647,
        "ap_50": 0.696973,
        "ap_75": 0.571667,
        "ap_small": 0.593252,
        "ap_medium": 0.557991,
        "ap_large": 0.489363,
        "ar_1": 0.386813,
        "ar_10": 0.59368,
        "ar_100": 0.595353,
        "ar_small": 0.654764,
        "ar_medium": 0.60313,
        "ar_large": 0.553744,
    }
    assert {name: getattr(scores, name) for name in expected} == pytest.approx(expected, abs=1e-6)
    assert float(scores) == scores.ap


@pytest.mark.shared
@shared_data
def test_thirty_classes_of_indoor_images_equal_the_naive_twin() -> None:
    """Cartucho's example, 85 images and 30 classes: no printed result, so every outcome and AP by loops."""
    rows: dict[str, list[list[str]]] = {}
    for part in ("detection-results", "ground-truth"):
        files = sorted((DATA / "cartucho_map/input" / part).glob("*.txt"))
        rows[part] = [[file.stem, *line.split()] for file in files for line in file.read_text().splitlines()]
    names = sorted({row[0] for some in rows.values() for row in some})
    kinds = sorted({row[1] for some in rows.values() for row in some})

    def box(row: list[str]) -> naive.Box:
        left, top, right, bottom = (float(value) for value in row)
        return left, top, right, bottom

    found = [
        Found(names.index(row[0]), kinds.index(row[1]), box(row[3:]), float(row[2]))
        for row in rows["detection-results"]
    ]
    truths = [
        Truth(names.index(row[0]), kinds.index(row[1]), box(row[2:6]), "difficult" in row)
        for row in rows["ground-truth"]
    ]

    assert len(truths) == 686
    assert_voc_equals_naive(found, truths, [0.5], "every_point", 1)


# --- naive twins ---------------------------------------------------------------------------------------------------


def assert_voc_equals_naive(
    found: list[Found], truths: list[Truth], thresholds: list[float], method: Method, offset: Literal[0, 1]
) -> None:
    """Every outcome, count, AP and mean is that of loops over lists."""
    result = voc_average_precision_score(
        *arrays(found, truths), iou_thresholds=thresholds, method=method, pixel_offset=offset
    )
    recalls = RECALLS[method].tolist() or None
    ranked = sorted(range(len(found)), key=lambda row: -found[row].score)
    for at, threshold in enumerate(thresholds):
        outcomes = naive.voc(found, truths, threshold, offset)
        assert result.outcomes[at].tolist() == outcomes
        values = []
        for place, kind in enumerate(result.classes.tolist()):
            own = [outcomes[row] for row in ranked if found[row].kind == kind]
            positives = sum(truth.kind == kind and not truth.spared for truth in truths)
            assert result.ground_truths[place] == positives
            assert result.true_positives[at, place] == own.count(1)
            assert result.false_positives[at, place] == own.count(0)
            if positives:
                values.append(naive.average_precision(own, positives, recalls))
                assert result.by_class[at, place] == pytest.approx(values[-1], abs=1e-12)
            else:
                assert np.isnan(result.by_class[at, place])
        assert result.by_threshold[at] == pytest.approx(sum(values) / len(values), abs=1e-12)
    assert float(result) == result.mean == pytest.approx(float(result.by_threshold.mean()), abs=1e-12)


corner = st.integers(0, 6)
boxes = st.tuples(corner, corner, corner, corner).map(
    lambda c: (float(min(c[0], c[2])), float(min(c[1], c[3])), float(max(c[0], c[2])), float(max(c[1], c[3])))
)
place = st.integers(0, 1)
several_found = st.lists(st.builds(Found, place, place, boxes, st.sampled_from([0.1, 0.5, 0.9])), max_size=12)
several_truths = st.lists(
    st.builds(Truth, place, place, boxes, st.booleans(), st.sampled_from([None, 20.0, 2000.0])), max_size=8
)


@settings(max_examples=120, deadline=None)
@given(
    found=several_found,
    truths=several_truths,
    method=st.sampled_from(get_args(Method)),
    offset=st.sampled_from([0, 1]),
)
def test_any_small_scene_equals_the_naive_twin(
    found: list[Found], truths: list[Truth], method: Method, offset: Literal[0, 1]
) -> None:
    """Overlaps, ties in score and IoU, difficult ground truths, classes on one side only, empty images."""
    if all(truth.spared for truth in truths):
        with pytest.raises(UndefinedMetricError):
            voc_average_precision_score(*arrays(found, truths))
        return
    assert_voc_equals_naive(found, truths, [0.1, 0.3, 0.5, 1.0], method, offset)


@settings(max_examples=60, deadline=None)
@given(found=several_found, truths=several_truths)
def test_any_small_scene_equals_coco_by_loops(found: list[Found], truths: list[Truth]) -> None:
    """All twelve numbers, with crowds and given areas."""
    if all(truth.spared for truth in truths):
        with pytest.raises(UndefinedMetricError):
            coco_average_precision_score(*arrays(found, truths))
        return
    scores = coco_average_precision_score(*arrays(found, truths))
    for size, most, precision, recall in [
        ("all", 1, "", "ar_1"),
        ("all", 10, "", "ar_10"),
        ("all", 100, "ap", "ar_100"),
        ("small", 100, "ap_small", "ar_small"),
        ("medium", 100, "ap_medium", "ar_medium"),
        ("large", 100, "ap_large", "ar_large"),
    ]:
        expected = coco_means(found, truths, SIZES[size], most)
        if precision:
            assert getattr(scores, precision) == pytest.approx(expected[0], abs=1e-12, nan_ok=True)
        assert getattr(scores, recall) == pytest.approx(expected[1], abs=1e-12, nan_ok=True)


def coco_means(found: list[Found], truths: list[Truth], sizes: tuple[float, float], most: int) -> tuple[float, float]:
    """Mean average precision and mean recall over thresholds and classes with ground truths, NaN without any."""
    precisions, recalls = [], []
    ranked = sorted(range(len(found)), key=lambda row: (-found[row].score, found[row].image))
    for threshold in THRESHOLDS.tolist():
        outcomes = naive.coco(found, truths, threshold, sizes, most)
        for kind in {truth.kind for truth in truths}:
            counted = [t for t in truths if t.kind == kind and not t.spared]
            areas = [naive.area(t.box) if t.area is None else t.area for t in counted]
            positives = sum(sizes[0] <= area <= sizes[1] for area in areas)
            if positives:
                own = [outcomes[row] for row in ranked if found[row].kind == kind]
                judged = [outcome for outcome in own if outcome is not None]
                precisions.append(naive.average_precision(judged, positives, RECALLS["coco_101"].tolist()))
                recalls.append(judged.count(1) / positives)
    if not recalls:
        return float("nan"), float("nan")
    return sum(precisions) / len(precisions), sum(recalls) / len(recalls)
