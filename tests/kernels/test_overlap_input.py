"""What a caller may pass to the overlap of boxes and of masks: layouts, nothing, mistakes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from clipfast.errors import ShapeError
from clipfast.kernels.overlap import box_iou, mask_iou
from reference import naive_boxes as naive

MASKS = np.random.default_rng(9).random((4, 6, 11)) < 0.5


@pytest.mark.parametrize(
    "masks",
    [
        pytest.param(np.asfortranarray(MASKS), id="column order"),
        pytest.param(MASKS[::-1, ::2, ::-3], id="strided, reversed"),
        pytest.param(np.broadcast_to(MASKS[:1], (3, 6, 11)), id="broadcast, read-only"),
        pytest.param(MASKS.astype(">i4") * 256, id="big-endian, low byte zero"),
        pytest.param(-MASKS.astype(np.int8), id="negative"),
    ],
)
def test_layout_and_type_of_masks_do_not_matter(masks: NDArray[Any]) -> None:
    """What is not zero is foreground, in any layout."""
    expected = naive.mask_iou(masks.tolist(), masks.tolist())

    assert mask_iou(masks, masks).tolist() == expected


LOW, SIDES = np.random.default_rng(10).random((2, 12, 2))
BOXES = np.concatenate([LOW, LOW + SIDES], axis=1)
PADDED = np.zeros((12, 9))
PADDED[:, 1:9:2] = BOXES


@pytest.mark.parametrize(
    "boxes",
    [
        pytest.param(np.asfortranarray(BOXES), id="column order"),
        pytest.param(PADDED[:, 1:9:2], id="strided"),
        pytest.param(BOXES[::-1][::-1], id="reversed twice"),
        pytest.param(np.broadcast_to(BOXES[:1], (3, 4)), id="broadcast, read-only"),
        pytest.param(BOXES.astype(">f8"), id="big-endian"),
    ],
)
def test_layout_of_boxes_does_not_matter(boxes: NDArray[Any]) -> None:
    """Any layout gives the bits of a plain copy; the input is left alone."""
    before = boxes.copy()
    plain = np.array(boxes, np.float64, order="C")

    assert np.array_equal(box_iou(boxes, BOXES), box_iou(plain, BOXES))
    assert np.array_equal(box_iou(BOXES, boxes), box_iou(BOXES, plain))
    assert np.array_equal(boxes, before)


@pytest.mark.parametrize(("n", "m"), [(0, 0), (0, 2), (2, 0)])
def test_no_boxes_and_no_masks(n: int, m: int) -> None:
    """Nothing has no overlap with anything, in the right shape."""
    assert box_iou(np.zeros((n, 4)), np.zeros((m, 4), np.float32)).shape == (n, m)
    assert mask_iou(np.zeros((n, 2, 3), dtype=bool), np.zeros((m, 2, 3), dtype=bool)).shape == (n, m)


GOOD = np.array([[0.0, 0, 1, 1]])


@pytest.mark.parametrize(
    ("boxes", "words"),
    [
        (np.array([[0.0, 0, 1, 1], [3, 0, 2, 1]]), "boxes must have x1 <= x2 and y1 <= y2; got a box with x2 < x1"),
        (np.array([[0, 3, 1, 2]]), "y2 < y1. Pass xyxy"),
        (np.array([[0, 0, np.nan, 1]]), "boxes must be finite; got NaN or infinity"),
        (np.array([[5, 0, 1, 1], [0, 0, np.inf, 1]]), "must be finite"),  # the worst is told first
        (np.array([[-np.inf, 0, 1, 1]], np.float16), "must be finite"),
        (np.zeros(4), r"real numbers \(n, 4\), xyxy; got float64 \(4,\)"),
        (np.zeros((2, 5)), r"got float64 \(2, 5\)"),
        (np.zeros((1, 1, 4)), r"got float64 \(1, 1, 4\)"),
        (np.zeros(0), r"got float64 \(0,\). No boxes are np.empty"),
        (GOOD.astype(complex), "got complex128"),
        (GOOD.astype(str), "got <U"),
        (np.array([[0, 0, 1e200, 1e200]]), "areas that float64 can hold"),
        (np.array([[0, 0, 1e20, 1e20]], np.float32), "areas that float32 can hold"),
        (np.array([[0, 0, 1.5e19, 1.5e19]], np.float32), "float32 can hold"),  # the area fits, twice the area does not
        (np.array([[-1.5e308, 0, 1.5e308, 0]]), "float64 can hold"),  # infinite width times no height
        (np.array([[0, 0, 1e-200, 1e-200]]), "float64 can hold; got larger or smaller"),
        (np.array([[0, 0, 1e-30, 1e-30]], np.float32), "float32 can hold"),
    ],
)
def test_bad_boxes_are_named(boxes: NDArray[Any], words: str) -> None:
    """The message says what must be and what came, on either side."""
    good = GOOD.astype(boxes.dtype if boxes.dtype.kind == "f" else np.float64)
    with np.errstate(all="ignore"):
        with pytest.raises(ShapeError, match=words):
            box_iou(boxes, good)
        with pytest.raises(ShapeError, match=words.replace("boxes must", "others must")):
            box_iou(good, boxes)


def test_lists_are_arrays() -> None:
    """Nested lists are taken, ragged ones refused."""
    assert box_iou([[0, 0, 2, 2]], [[1.0, 0, 3, 2]]).tolist() == [[2 / 6]]
    assert mask_iou([[[1, 1, 0]]], [[[False, True, True]]]).tolist() == [[1 / 3]]
    with pytest.raises(ShapeError, match="others must be an array, or lists whose rows have one length; got ragged"):
        box_iou([[0, 0, 2, 2]], [[0, 0, 2, 2], [0, 0, 2]])
    with pytest.raises(ShapeError, match="masks must be an array, or lists"):
        mask_iou([[[1, 1, 0], [1]]], MASKS)


@pytest.mark.parametrize("offset", [2, -1, 0.5, None])
def test_unknown_offsets_are_refused(offset: Any) -> None:
    """Only 0 and 1 measure boxes."""
    with pytest.raises(ShapeError, match=f"pixel_offset must be 0 or 1; got {offset!r}"):
        box_iou(GOOD, GOOD, pixel_offset=offset)


@pytest.mark.parametrize(
    ("masks", "others", "words"),
    [
        (MASKS[0], MASKS, r"masks must be bool or integer \(n, h, w\); got bool \(6, 11\).*mask\[None\]"),
        (MASKS, MASKS[None], r"others must be .* got bool \(1, 4, 6, 11\)"),
        (MASKS, MASKS.astype(np.float32), "others must be .* got float32"),
        (MASKS, MASKS.transpose(0, 2, 1), r"one size; got \(6, 11\) and \(11, 6\)"),  # as many pixels
    ],
)
def test_bad_masks_are_named(masks: NDArray[Any], others: NDArray[Any], words: str) -> None:
    """The message says what must be and what came."""
    with pytest.raises(ShapeError, match=words):
        mask_iou(masks, others)
