"""Rules of VOC and COCO, case by case, and that layout and names do not matter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from clipfast.metrics.detection import voc_average_precision_score
from clipfast.metrics.detection_coco import coco_average_precision_score
from clipfast.metrics.detection_data import Detections, GroundTruths
from reference.detection_scenes import SQUARE, arrays
from reference.naive_detection import Found, Truth

# --- rules ---------------------------------------------------------------------------------------------------------

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
