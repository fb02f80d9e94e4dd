"""Detections and ground truths that cannot be, named by field and value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from clipfast.errors import ShapeError, UndefinedMetricError
from clipfast.metrics.detection import voc_average_precision_score
from clipfast.metrics.detection_coco import coco_average_precision_score
from clipfast.metrics.detection_data import Detections, GroundTruths
from reference.detection_scenes import SQUARE, arrays
from reference.naive_detection import Found, Truth

MIXED: Any = [1, "knot"]  # not of a type that from_images takes, and so are ragged lists
RAGGED: Any = [[0, 0, 1, 1], [0]]


# --- rules ---------------------------------------------------------------------------------------------------------

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
