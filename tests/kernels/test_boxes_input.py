"""What a caller may pass to NMS and merging: types, layouts, nothing, mistakes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from clipfast.errors import ShapeError
from clipfast.kernels.boxes import merge_boxes, non_maximum_suppression

RNG = np.random.default_rng(14)
LOW = RNG.integers(0, 20, (40, 2))
BOXES = np.concatenate([LOW, LOW + RNG.integers(0, 15, (40, 2))], axis=1)
SCORES = RNG.integers(0, 12, 40)  # with ties
CLASSES = RNG.integers(0, 3, 40)
BOTH = [non_maximum_suppression, merge_boxes]


def padded(values: NDArray[Any]) -> NDArray[Any]:
    """Return every other column, or entry, of an array twice as wide."""
    return np.repeat(values, 2, axis=-1)[..., ::2]


def frozen(values: NDArray[Any]) -> NDArray[Any]:
    """Return a read-only copy."""
    copy = values.copy()
    copy.setflags(write=False)
    return copy


@pytest.mark.parametrize(
    "layout",
    [
        pytest.param(np.asfortranarray, id="column order"),
        pytest.param(lambda values: values[::-1].copy()[::-1], id="reversed"),
        pytest.param(padded, id="strided"),
        pytest.param(frozen, id="read-only"),
        pytest.param(lambda values: values.astype(values.dtype.newbyteorder(">")), id="big-endian"),
    ],
)
@pytest.mark.parametrize("kind", [np.int64, np.float32, np.float64])
def test_layout_does_not_matter(kind: Any, layout: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
    """Any layout, flags and byte order give the result of plain arrays; the inputs are left alone."""
    plain = BOXES.astype(kind), SCORES.astype(kind), CLASSES.copy()
    given = [layout(values) for values in plain]

    kept = non_maximum_suppression(given[0], given[1], 0.2, classes=given[2])
    found = merge_boxes(given[0], given[1], 0.2, classes=given[2])

    expected = merge_boxes(plain[0], plain[1], 0.2, classes=plain[2])
    assert kept.tolist() == found.best.tolist() == expected.best.tolist()
    assert found.boxes.tolist() == expected.boxes.tolist()
    assert found.cluster.tolist() == expected.cluster.tolist()
    assert all(np.array_equal(one, other) for one, other in zip(given, plain, strict=True))


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.int64, np.float16, np.float32, np.float64])
def test_types_of_boxes_and_scores(kind: Any) -> None:
    """Small whole numbers give one result in every type; merged boxes are float32 of small floats, else float64."""
    expected = merge_boxes(BOXES.astype(np.float64), SCORES.astype(np.float64), 0.3, classes=CLASSES)

    found = merge_boxes(BOXES.astype(kind), SCORES.astype(kind), 0.3, classes=CLASSES.astype(np.uint8))

    assert found.best.tolist() == expected.best.tolist()
    assert found.cluster.tolist() == expected.cluster.tolist()
    assert found.scores.dtype == kind
    assert found.boxes.dtype == (np.float32 if kind in {np.float16, np.float32} else np.float64)
    assert found.boxes.tolist() == expected.boxes.astype(found.boxes.dtype).tolist()


@pytest.mark.parametrize("kind", [np.int64, np.float32, np.float64])
def test_no_boxes(kind: Any) -> None:
    """Nothing keeps nothing, with and without classes."""
    boxes, scores = np.empty((0, 4), kind), np.empty(0)

    for classes in (None, np.empty(0, np.int64)):
        kept = non_maximum_suppression(boxes, scores, 0.5, classes=classes)
        found = merge_boxes(boxes, scores, 0.5, classes=classes)
        assert kept.shape == found.best.shape == found.cluster.shape == found.scores.shape == (0,)
        assert kept.dtype == np.int64
        assert found.boxes.shape == (0, 4)


@pytest.mark.parametrize("function", BOTH)
def test_lists_are_arrays(function: Callable[..., Any]) -> None:
    """Nested lists are taken, ragged ones refused."""
    kept = function([[0, 0, 2, 2], [0, 0, 2, 3]], [0.5, 0.75], 0.5, classes=[0, 0])
    assert getattr(kept, "best", kept).tolist() == [1]

    for changes in ({"boxes": [[0, 0, 2, 2], [0]]}, {"scores": [[0.5], []]}, {"classes": [[0], []]}):
        options = {"boxes": [[0, 0, 2, 2]] * 2, "scores": [0.5, 0.75], "iou_threshold": 0.5} | changes
        with pytest.raises(ShapeError, match=f"{next(iter(changes))} must be an array, or lists whose rows"):
            function(**options)


def test_one_box() -> None:
    """A box alone is kept as it is."""
    found = merge_boxes(np.array([[1.5, 2, 3, 4]]), np.array([0.0]), 0.5, classes=np.array([7]))

    assert found.boxes.tolist() == [[1.5, 2, 3, 4]]
    assert found.cluster.tolist() == found.best.tolist() == [0]


def test_extreme_classes_and_scores_are_told_apart() -> None:
    """Classes whose difference wraps around are two; unsigned scores fall as they should."""
    boxes = np.array([[0, 0, 1, 1]] * 3)
    signed = np.array([-(2**63), 2**63 - 1, -(2**63)])

    kept = non_maximum_suppression(boxes, np.array([0, 255, 7], np.uint8), 0.5, classes=signed)

    assert kept.tolist() == [1, 2]


GOOD = np.array([[0.0, 0, 1, 1], [0, 0, 2, 2]])
HIGH = np.array([0.5, 0.6])


@pytest.mark.parametrize("function", BOTH)
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"boxes": GOOD[:, [2, 1, 0, 3]]}, "x1 <= x2 and y1 <= y2"),
        ({"boxes": GOOD[:, [0, 3, 2, 1]]}, "y2 < y1"),
        ({"boxes": np.where(GOOD == 2, np.nan, GOOD)}, "boxes must be finite"),
        ({"boxes": np.where(GOOD == 2, np.inf, GOOD)}, "boxes must be finite"),
        ({"boxes": GOOD[:, :3]}, r"\(n, 4\), xyxy; got float64 \(2, 3\)"),
        ({"boxes": GOOD[0]}, r"got float64 \(4,\)"),
        ({"boxes": GOOD * 1e200}, "areas that float64 can hold"),
        ({"boxes": GOOD.astype(np.float32) * np.float32(1e-30)}, "areas that float32 can hold"),
        ({"scores": HIGH[:1]}, r"scores must be 2 real and finite numbers; got float64 \(1,\)"),
        ({"scores": HIGH[:, None]}, r"got float64 \(2, 1\)"),
        ({"scores": np.array([0.5, np.nan])}, "scores must be 2 real and finite"),
        ({"scores": np.array([0.5, np.inf], np.float16)}, "real and finite"),
        ({"scores": HIGH.astype(complex)}, "got complex128"),
        ({"scores": np.array(["a", "b"])}, "got <U1"),
        ({"iou_threshold": -0.01}, "iou_threshold must lie from 0 to 1; got -0.01"),
        ({"iou_threshold": 1.01}, "got 1.01"),
        ({"iou_threshold": float("nan")}, "got nan"),
        ({"classes": np.array([0])}, r"classes must be 2 integers; got int64 \(1,\)"),
        ({"classes": np.array([[0], [1]])}, r"got int64 \(2, 1\)"),
        ({"classes": np.array([0.0, 1.0])}, "got float64"),
        ({"pixel_offset": 2}, "pixel_offset must be 0 or 1; got 2"),
    ],
)
def test_bad_input_is_named(function: Callable[..., Any], changes: dict[str, Any], words: str) -> None:
    """The message says what must be and what came."""
    options = {"boxes": GOOD, "scores": HIGH, "iou_threshold": 0.5} | changes

    with np.errstate(all="ignore"), pytest.raises(ShapeError, match=words):
        function(**options)


def test_negative_scores_are_no_weights() -> None:
    """NMS takes them, merging does not."""
    scores = np.array([0.5, -0.25])

    assert non_maximum_suppression(GOOD, scores, 0.5).tolist() == [0, 1]
    with pytest.raises(ShapeError, match=r"not be negative, for they are weights; got -0.25. Add a constant"):
        merge_boxes(GOOD, scores, 0.5)


def test_a_threshold_that_is_no_number_is_named() -> None:
    """Not a raw TypeError."""
    with pytest.raises(ShapeError, match="iou_threshold must lie from 0 to 1; got 'half'"):
        non_maximum_suppression(np.zeros((1, 4)), np.ones(1), "half")  # type: ignore[arg-type]  # that is the point
