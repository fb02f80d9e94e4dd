"""Average precision of detectors: published numbers, naive twins, rules in small scenes, bad input."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from clipfast.errors import ShapeError, UndefinedMetricError
from clipfast.metrics.detection import RECALLS, Method, voc_average_precision_score
from clipfast.metrics.detection_coco import SIZES, THRESHOLDS, coco_average_precision_score
from clipfast.metrics.detection_data import Detections, GroundTruths
from reference import naive_detection as naive
from reference.naive_detection import Found, Truth

DATA = Path(__file__).parents[3] / "shared" / "data" / "voc_ap_reference"
shared_data = pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data/voc_ap_reference is absent")


MIXED: Any = [1, "knot"]  # not of a type that from_images takes, and so are ragged lists
RAGGED: Any = [[0, 0, 1, 1], [0]]


def arrays(found: list[Found], truths: list[Truth]) -> tuple[GroundTruths, Detections]:
    """The same scene as flat arrays."""
    return (
        GroundTruths(
            np.array([one.image for one in truths]),
            np.array([one.kind for one in truths]),
            np.array([one.box for one in truths]).reshape(-1, 4),
            np.array([one.spared for one in truths]),
            np.array([naive.area(one.box) if one.area is None else one.area for one in truths]),
        ),
        Detections(
            np.array([one.image for one in found]),
            np.array([one.kind for one in found]),
            np.array([one.box for one in found]).reshape(-1, 4),
            np.array([one.score for one in found]),
        ),
    )


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


# --- rules ---------------------------------------------------------------------------------------------------------

SQUARE = (0.0, 0.0, 10.0, 10.0)
SHIFTED = (2.0, 0.0, 12.0, 10.0)  # IoU 80 / 120 with SQUARE
FAR = (50.0, 50.0, 60.0, 60.0)


@pytest.mark.parametrize(
    ("found", "truths", "outcomes", "mean"),
    [
        ([Found(0, 0, SQUARE, 0.9)], [Truth(0, 0, SQUARE)], [1], 1.0),
        ([Found(1, 0, SQUARE, 0.9)], [Truth(0, 0, SQUARE)], [0], 0.0),  # another image
        ([Found(0, 1, SQUARE, 0.9)], [Truth(0, 0, SQUARE)], [0], 0.0),  # another class
        ([], [Truth(0, 0, SQUARE)], [], 0.0),
        # found twice: the second is wrong, but comes after all is found
        ([Found(0, 0, SQUARE, 0.5), Found(0, 0, SQUARE, 0.9)], [Truth(0, 0, SQUARE)], [0, 1], 1.0),
        # equal scores keep their order
        ([Found(0, 0, FAR, 0.5), Found(0, 0, SQUARE, 0.5)], [Truth(0, 0, SQUARE)], [0, 1], 0.5),
        ([Found(0, 0, SQUARE, 0.5), Found(0, 0, FAR, 0.5)], [Truth(0, 0, SQUARE)], [1, 0], 1.0),
        # VOC does not fall back to the next best ground truth
        (
            [Found(0, 0, SQUARE, 0.9), Found(0, 0, SQUARE, 0.8)],
            [Truth(0, 0, SQUARE), Truth(0, 0, SHIFTED)],
            [1, 0],
            0.5,
        ),
        # a difficult ground truth is neither counted nor punished, however often it is found
        (
            [Found(0, 0, FAR, 0.9), Found(0, 0, FAR, 0.8), Found(0, 0, SQUARE, 0.7)],
            [Truth(0, 0, SQUARE), Truth(0, 0, FAR, spared=True)],
            [-1, -1, 1],
            1.0,
        ),
        # a class that has no ground truth does not enter the mean
        ([Found(0, 0, SQUARE, 0.9), Found(0, 7, FAR, 0.9)], [Truth(0, 0, SQUARE)], [1, 0], 1.0),
    ],
)
def test_rules_of_voc(found: list[Found], truths: list[Truth], outcomes: list[int], mean: float) -> None:
    """One rule a row."""
    result = voc_average_precision_score(*arrays(found, truths))

    assert result.outcomes.tolist() == [outcomes]
    assert result.mean == mean


def test_coco_falls_back_to_the_next_best() -> None:
    """Where VOC calls the second detection wrong, COCO gives it the other ground truth."""
    found = [Found(0, 0, SQUARE, 0.9), Found(0, 0, SQUARE, 0.8)]
    truths = [Truth(0, 0, SQUARE), Truth(0, 0, SHIFTED)]

    assert voc_average_precision_score(*arrays(found, truths)).mean == 0.5
    assert coco_average_precision_score(*arrays(found, truths)).ap_50 == 1.0


def test_coco_drops_detections_past_the_hundredth() -> None:
    """The true box is number 101 of its class in its image: not found; one better score, and it is."""
    junk = [Found(0, 0, FAR, 0.5)] * 100
    for score, recall in ((0.4, 0.0), (0.6, 1.0)):
        scores = coco_average_precision_score(*arrays([*junk, Found(0, 0, SQUARE, score)], [Truth(0, 0, SQUARE)]))
        assert scores.ar_100 == recall
        assert (scores.ap > 0) == (recall > 0)


def test_coco_orders_equal_scores_by_image() -> None:
    """The wrong box of image 1 comes first in the input; VOC counts it first, COCO after image 0."""
    scene = arrays([Found(1, 0, FAR, 0.5), Found(0, 0, SQUARE, 0.5)], [Truth(0, 0, SQUARE)])

    assert voc_average_precision_score(*scene).mean == 0.5
    assert coco_average_precision_score(*scene).ap == 1.0


@pytest.mark.parametrize(
    ("side", "sizes"),
    [(31, ["small"]), (32, ["small", "medium"]), (33, ["medium"]), (96, ["medium", "large"]), (97, ["large"])],
)
def test_a_box_on_the_border_has_both_sizes(side: int, sizes: list[str]) -> None:
    """32² is small and medium, 96² medium and large; a wrong detection of that size halves the precision of both."""
    box, elsewhere = (0.0, 0.0, float(side), float(side)), (500.0, 0.0, 500.0 + side, float(side))

    scores = coco_average_precision_score(
        *arrays([Found(0, 0, elsewhere, 0.9), Found(0, 0, box, 0.8)], [Truth(0, 0, box)])
    )

    for size in ("small", "medium", "large"):
        expected = 0.5 if size in sizes else float("nan")
        assert getattr(scores, f"ap_{size}") == pytest.approx(expected, nan_ok=True)


def test_pixel_offset_widens_boxes() -> None:
    """(0, 0, 0, 0) is one pixel with offset 1 and nothing without."""
    scene = arrays([Found(0, 0, (0.0, 0.0, 0.0, 0.0), 0.9)], [Truth(0, 0, (0.0, 0.0, 0.0, 0.0))])

    assert voc_average_precision_score(*scene, pixel_offset=1).mean == 1.0
    assert voc_average_precision_score(*scene, pixel_offset=0).mean == 0.0


def test_names_may_be_strings_or_sparse_integers() -> None:
    """Images and classes are matched by name; far-apart and negative integers too."""
    for images, classes in (
        (np.array(["b.jpg", "a.jpg"]), np.array(["结", "hole"])),
        (np.array([2**62, -5]), np.array([-(2**62), 2**62])),
        (np.array([3, 4], np.uint8), np.array([1, 2], np.int16)),
    ):
        detections = Detections(images, classes, np.array([SQUARE, FAR]), np.array([0.9, 0.8]))
        result = voc_average_precision_score(GroundTruths(images, classes, np.array([SQUARE, FAR])), detections)
        assert result.mean == 1.0
        assert result.classes.tolist() == sorted(classes.tolist())
        assert result.curve(classes[1], 0.5).precision.tolist() == [1.0]


def test_lists_by_image_are_joined() -> None:
    """Entry i is image i; empty entries, of whatever type, are images without boxes."""
    detections = Detections.from_images(
        [np.zeros((0, 4)), np.array([SQUARE, FAR], np.float32)],
        [np.zeros(0), np.array([0.5, 0.25], np.float16)],
        [np.zeros(0), np.array(["knot", "hole"])],
    )
    truths = GroundTruths.from_images(
        [np.zeros((0, 4)), np.array([SQUARE, FAR])],
        [np.zeros(0), np.array(["knot", "hole"])],
        [np.zeros(0), np.array([True, False])],
    )

    assert detections.images.tolist() == [1, 1]
    assert detections.classes.tolist() == ["knot", "hole"]
    assert truths.spared().tolist() == [True, False]
    assert voc_average_precision_score(truths, detections).mean == 1.0
    assert Detections.from_images([], []).boxes.shape == (0, 4)


def test_areas_by_image_are_joined() -> None:
    """The area of the mask decides the size, not that of the box; without `difficult` too."""
    truths = GroundTruths.from_images([np.array([SQUARE]), []], areas=[np.array([2000.0]), []])

    scores = coco_average_precision_score(truths, Detections.from_images([[SQUARE], []], [[0.5], []]))

    assert truths.areas is not None
    assert truths.areas.tolist() == [2000]
    assert truths.difficult is None
    assert scores.ap_medium == 1.0
    assert np.isnan(scores.ap_small)


@pytest.mark.parametrize(
    ("given", "asked", "place"),
    [
        (np.array([0.5, 0.3], np.float32), 0.3, 1),
        ([0.5, 0.3], np.float32(0.3), 1),
        ([0.3, 0.3 + 4e-7], 0.3 + 3e-7, 1),  # the nearest of two that are near enough
    ],
)
def test_thresholds_of_curves_are_found_whatever_their_type(given: Any, asked: float, place: int) -> None:
    """float32 0.3 is not 0.3, but nothing else can be meant."""
    truths, found = arrays([Found(0, 0, SQUARE, 0.9)], [Truth(0, 0, SQUARE)])
    result = voc_average_precision_score(truths, found, iou_thresholds=given)
    result.outcomes[1 - place] = 0  # so that the curves differ

    assert result.curve(0, asked).precision.tolist() == [1.0]


def frozen(array: NDArray[Any]) -> NDArray[Any]:
    """A read-only copy."""
    copy = array.copy()
    copy.setflags(write=False)
    return copy


@pytest.mark.parametrize(
    "layout",
    [
        pytest.param(np.asfortranarray, id="column order"),
        pytest.param(lambda a: np.repeat(a, 2, axis=0)[::2], id="strided"),
        pytest.param(frozen, id="read-only"),
        pytest.param(lambda a: a.astype(">f8"), id="big-endian"),
    ],
)
def test_layout_does_not_matter(layout: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
    """Any layout and any flags give the same result, and what came is left alone."""
    rng = np.random.default_rng(0)
    corner = rng.integers(0, 30, (40, 2))
    boxes = np.concatenate([corner, corner + 12], axis=1).astype(float)
    kinds, scores = np.arange(40) % 3, rng.random(40)
    plain = voc_average_precision_score(
        GroundTruths(kinds, kinds, boxes[::-1]), Detections(kinds, kinds, boxes, scores)
    )
    given = layout(boxes)

    result = voc_average_precision_score(
        GroundTruths(kinds, kinds, layout(boxes[::-1])), Detections(kinds, kinds, given, layout(scores))
    )

    assert result.mean == plain.mean
    assert np.array_equal(given, boxes)


def test_arrays_of_the_caller_may_change_afterwards() -> None:
    """What is kept is a copy and read-only."""
    boxes = np.array([SQUARE])
    detections = Detections(np.array([0]), np.array([0]), boxes, np.array([0.5]))
    boxes[:] = 7

    assert detections.boxes.tolist() == [list(SQUARE)]
    with pytest.raises(ValueError, match="read-only"):
        detections.boxes[0, 0] = 1


# --- bad input -----------------------------------------------------------------------------------------------------

ONE: dict[str, Any] = {
    "images": np.array([0]),
    "classes": np.array([0]),
    "boxes": np.array([SQUARE]),
    "scores": np.array([0.5]),
}


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("boxes", np.array([[0, 0, np.nan, 1]]), r"boxes must be finite; got \[0.0, 0.0, nan, 1.0\] in row 0"),
        ("boxes", np.array([[0, 0, np.inf, 1]]), "boxes must be finite"),
        ("boxes", np.array([[5, 0, 4, 1]]), "x1 <= x2.*x2 = x \\+ width"),
        ("boxes", np.array([[0, 5, 1, 4]]), "y1 <= y2"),
        ("boxes", np.zeros((1, 5)), r"\(n, 4\) xyxy; got \(1, 5\)"),
        ("boxes", np.zeros(4), r"got \(4,\)"),
        ("boxes", np.array([["0", "0", "1", "1"]]), "must be numbers; got <U1"),
        ("boxes", [[0, 0, 1, 1], [0, 0, 1]], "boxes must be an array, or lists whose rows have one length"),
        ("scores", np.array([np.nan]), "scores must be finite; got nan in row 0"),
        ("scores", np.array([np.inf]), "scores must be finite"),
        ("scores", np.array([0.5, 0.6]), r"scores must be \(1,\), one a box; got \(2,\)"),
        ("scores", np.array([[0.5]]), r"got \(1, 1\)"),
        ("scores", np.array(["high"]), "must be numbers"),
        ("images", np.array([0.0]), "images must be integers .* or strings; got float64"),
        ("images", np.array([0, 1]), r"images must be \(1,\)"),
        ("images", np.array([2**63], np.uint64), "int64"),
        ("classes", np.array([None]), "classes must be integers"),
        ("classes", [1, "knot"], "classes must be all numbers or all strings; got both"),
    ],
)
def test_bad_detections_are_named(field: str, value: NDArray[Any], words: str) -> None:
    """The message says which array, what must be and what came."""
    with pytest.raises(ShapeError, match=words):
        Detections(**ONE | {field: value})


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("boxes", np.array([[5, 0, 4, 1]]), "x1 <= x2"),
        ("difficult", np.array([True, False]), r"difficult must be \(1,\)"),
        ("difficult", np.array([0.5]), "must be bool or 0 and 1; got float64"),
        ("difficult", np.array([2]), "other integers"),
        ("areas", np.array([np.nan]), "areas must be finite"),
        ("areas", np.array([-1.0]), "areas must not be negative"),
    ],
)
def test_bad_ground_truths_are_named(field: str, value: NDArray[Any], words: str) -> None:
    """The message says which array, what must be and what came."""
    with pytest.raises(ShapeError, match=words):
        GroundTruths(**{name: ONE[name] for name in ("images", "classes", "boxes")} | {field: value})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"iou_thresholds": 0.0}, "0 < t <= 1; got 0.0"),
        ({"iou_thresholds": [0.5, 1.5]}, "0 < t <= 1"),
        ({"iou_thresholds": []}, "one or several"),
        ({"iou_thresholds": "half"}, "one or several numbers with 0 < t <= 1; got half"),
        ({"iou_thresholds": [[0.5], []]}, "iou_thresholds must be an array, or lists whose rows have one length"),
        ({"iou_thresholds": [float("nan")]}, "0 < t <= 1"),
        ({"method": "twelve_point"}, "one of .*every_point.*; got 'twelve_point'"),
        ({"pixel_offset": 2}, "must be 0 .* or 1 .*; got 2"),
    ],
)
def test_bad_options_are_named(options: dict[str, Any], words: str) -> None:
    """Thresholds, method and offset that do not exist."""
    scene = arrays([Found(0, 0, SQUARE, 0.9)], [Truth(0, 0, SQUARE)])

    with pytest.raises(ShapeError, match=words):
        voc_average_precision_score(*scene, **options)


@pytest.mark.parametrize("metric", [voc_average_precision_score, coco_average_precision_score])
@pytest.mark.parametrize("truths", [[], [Truth(0, 0, SQUARE, spared=True)]])
def test_without_ground_truth_there_is_no_average_precision(metric: Callable[..., Any], truths: list[Truth]) -> None:
    """No ground truth, or only difficult ones: an error, not 0."""
    with pytest.raises(UndefinedMetricError, match=f"got {len(truths)} ground truths, none of which counts"):
        metric(*arrays([Found(0, 0, SQUARE, 0.9)], truths))


@pytest.mark.parametrize("make", [GroundTruths.from_images, lambda boxes: Detections.from_images(boxes, [[0.5]])])
@pytest.mark.parametrize(
    "box",
    [
        [0, 0, 1e160, 1e160],
        [0, 0, 1e200, 1e200],
        [0, 0, 1e-170, 1e-170],
        [-1.5e308, 0, 1.5e308, 0],  # infinite width times no height
        [0, 0, 8e307, 0.5],  # the area with pixel_offset 1
    ],
)
def test_areas_that_float64_cannot_hold_are_refused(make: Callable[..., Any], box: list[float]) -> None:
    """Such boxes gave 0 or NaN; now they are refused as `box_iou` refuses them."""
    words = "boxes must have areas that float64 can hold; got larger or smaller"
    with np.errstate(all="ignore"), pytest.raises(ShapeError, match=words):
        make([[box]])


def test_boxes_without_area_are_allowed() -> None:
    """Points and lines are boxes."""
    lines: list[list[float]] = [[0, 0, 0, 0], [0, 3, 5, 3], [1e-170, 0, 1e-170, 7]]

    assert GroundTruths.from_images([lines]).boxes.tolist() == lines


def test_names_of_two_types_are_refused() -> None:
    """Integers on one side and strings on the other would never match."""
    truths = GroundTruths(np.array(["0"]), np.array([0]), np.array([SQUARE]))

    with pytest.raises(ShapeError, match="images of detections and ground truths must be of one type"):
        voc_average_precision_score(truths, Detections(**ONE))


def test_curves_of_what_is_not_there_are_refused() -> None:
    """An unknown class or threshold, and a class without ground truth."""
    result = voc_average_precision_score(
        *arrays([Found(0, 0, SQUARE, 0.9), Found(0, 4, SQUARE, 0.9)], [Truth(0, 0, SQUARE)])
    )

    with pytest.raises(ShapeError, match=r"class must be one of \[0, 4\]; got 9"):
        result.curve(9)
    for threshold in (0.75, 0.500002, np.nan, "half"):
        with pytest.raises(ShapeError, match=rf"threshold must be one of \[0.5\]; got '?{threshold}"):
            result.curve(0, threshold)  # type: ignore[arg-type]  # that is the point
    with pytest.raises(UndefinedMetricError, match="class 4"):
        result.curve(4)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Detections.from_images([np.array([SQUARE])], []), "scores must have one entry an image, 1; got 0"),
        (
            lambda: Detections.from_images([np.array([SQUARE]), np.zeros((0, 4))], [np.zeros(0), np.array([0.5])]),
            r"scores of image 0 must be \(1,\), one a box; got \(0,\)",  # equal sums, other images
        ),
        (lambda: GroundTruths.from_images([np.array([SQUARE])], [np.array([1, 2])]), "classes of image 0"),
        (lambda: GroundTruths.from_images([np.array([SQUARE])], None, [np.zeros(0)]), "difficult of image 0"),
        (lambda: GroundTruths.from_images([np.array([SQUARE])], areas=[np.zeros(2)]), "areas of image 0"),
        (lambda: GroundTruths.from_images([np.zeros((1, 4)), np.zeros((1, 5))]), r"boxes of image 1 .*got \(1, 5\)"),
        (lambda: GroundTruths.from_images([np.array(SQUARE)]), r"boxes of image 0 .*got \(4,\). A single box is box\["),
        (lambda: GroundTruths.from_images([np.array(1.0)]), r"boxes of image 0 .*got \(\)"),
        (lambda: GroundTruths.from_images([RAGGED]), "boxes of image 0 must be an array, or lists"),
        (
            lambda: Detections.from_images([[SQUARE]] * 2, [np.array([0.5]), np.array([[0.5]])]),
            r"scores of image 1 must be \(1,\), one a box; got \(1, 1\)",
        ),
        (
            lambda: GroundTruths.from_images([[SQUARE]] * 3, [[1], [2], ["knot"]]),
            "classes must be numbers in all .*numbers in image 0 and strings in image 2",
        ),
        (lambda: GroundTruths.from_images([[SQUARE] * 2], [MIXED]), "classes of image 0 must be all numbers or"),
    ],
)
def test_lists_that_do_not_fit_are_refused(make: Callable[[], Any], words: str) -> None:
    """Every image needs as many values as boxes."""
    with pytest.raises(ShapeError, match=words):
        make()
