"""Overlap of boxes and of masks: against loops, each other and torchvision, and what must hold for any boxes."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from clipfast.kernels.overlap import box_iou, mask_iou
from reference import naive_boxes as naive

OFFSETS: tuple[Literal[0, 1], ...] = (0, 1)
SIZE = 9


def sorted_sides(corners: NDArray[Any]) -> NDArray[Any]:
    """Turn pairs of corners, (n, 4), into xyxy."""
    pairs = np.sort(corners.reshape(-1, 2, 2), axis=1)
    return np.ascontiguousarray(pairs.reshape(-1, 4))


def some_boxes(kind: Any, elements: st.SearchStrategy[Any]) -> st.SearchStrategy[NDArray[Any]]:
    """Up to seven boxes, many of them without area."""
    shapes = st.tuples(st.integers(0, 7), st.just(4))
    return npst.arrays(kind, shapes, elements=elements, fill=st.nothing()).map(sorted_sides)


whole = some_boxes(np.int64, st.integers(0, SIZE - 1))
real = some_boxes(np.float64, st.floats(-1e3, 1e3, allow_subnormal=False).map(lambda value: round(value, 6)))


# --- boxes against the twins ---------------------------------------------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(boxes=whole | real, others=whole | real, offset=st.sampled_from(OFFSETS))
def test_any_boxes_equal_the_loops(boxes: NDArray[Any], others: NDArray[Any], offset: Literal[0, 1]) -> None:
    """Every pair has the float64 of the naive twin, and its transpose the other way round."""
    found = box_iou(boxes, others, pixel_offset=offset)

    expected = naive.box_iou(boxes.astype(float).tolist(), others.astype(float).tolist(), offset)
    assert found.dtype == np.float64
    assert found.shape == (len(boxes), len(others))
    assert found.tolist() == expected
    assert box_iou(others, boxes, pixel_offset=offset).T.tolist() == expected


@settings(max_examples=60, deadline=None)
@given(boxes=whole, others=whole, offset=st.sampled_from(OFFSETS))
def test_boxes_of_whole_pixels_overlap_as_their_masks_do(
    boxes: NDArray[np.int64], others: NDArray[np.int64], offset: Literal[0, 1]
) -> None:
    """Drawn as masks, half-open or with the last pixel inside, boxes have the same overlap, found by counting."""
    drawings, others_drawn = (
        np.array([naive.drawn(box, SIZE, offset) for box in some.tolist()], dtype=bool).reshape(-1, SIZE, SIZE)
        for some in (boxes, others)
    )

    assert box_iou(boxes, others, pixel_offset=offset).tolist() == mask_iou(drawings, others_drawn).tolist()


@settings(max_examples=60, deadline=None)
@given(boxes=real, offset=st.sampled_from(OFFSETS), single=st.booleans())
def test_what_holds_for_any_boxes(boxes: NDArray[np.float64], offset: Literal[0, 1], single: bool) -> None:
    """Overlaps lie in [0, 1], are symmetric, and exactly 1 of a box that has an area with itself, 0 of one without."""
    boxes = boxes.astype(np.float32) if single else boxes
    found = box_iou(boxes, boxes, pixel_offset=offset)

    assert ((found >= 0) & (found <= 1)).all()
    assert np.array_equal(found, found.T)
    sides = boxes[:, 2:] - boxes[:, :2] + boxes.dtype.type(offset)
    assert np.diagonal(found).tolist() == (sides.prod(axis=1) > 0).astype(float).tolist()


@settings(max_examples=60, deadline=None)
@given(boxes=whole, others=whole, offset=st.sampled_from(OFFSETS), by=st.integers(-(10**6), 10**6))
def test_translation_and_doubling_change_nothing(
    boxes: NDArray[np.int64], others: NDArray[np.int64], offset: Literal[0, 1], by: int
) -> None:
    """Whole boxes may be moved anywhere, and half-open ones scaled by powers of two, without changing a bit."""
    found = box_iou(boxes, others, pixel_offset=offset)

    assert np.array_equal(box_iou(boxes + by, others + by, pixel_offset=offset), found)
    if offset == 0:
        assert np.array_equal(box_iou(boxes / 1024, others / 1024), found)


@pytest.mark.parametrize(
    ("box", "other", "offset", "iou"),
    [
        ([0, 0, 2, 2], [1, 0, 3, 2], 0, Fraction(1, 3)),
        ([0, 0, 2, 2], [1, 0, 3, 2], 1, Fraction(6, 12)),
        ([0, 0, 2, 2], [2, 0, 4, 2], 0, Fraction(0)),  # half-open boxes that touch share nothing
        ([0, 0, 2, 2], [2, 0, 4, 2], 1, Fraction(3, 15)),  # with the last pixel inside they share a column
        ([0, 0, 2, 2], [3, 0, 4, 2], 1, Fraction(0)),
        ([0, 0, 8, 8], [2, 2, 4, 4], 0, Fraction(4, 64)),  # inside
        ([0, 0, 1, 9], [0, 0, 9, 1], 0, Fraction(1, 17)),
        ([5, 5, 5, 5], [5, 5, 5, 5], 0, Fraction(0)),  # no area, though equal
        ([5, 5, 5, 5], [5, 5, 5, 5], 1, Fraction(1)),  # one pixel
        ([5, 5, 5, 9], [4, 4, 9, 9], 0, Fraction(0)),
        ([-3, -3, -1, -1], [-2, -2, 0, 0], 0, Fraction(1, 7)),
        ([0, 0, 2, 2], [5, 5, 7, 7], 0, Fraction(0)),  # apart in both directions: minus times minus is no overlap
    ],
)
def test_overlaps_that_a_reader_can_check(
    box: list[int], other: list[int], offset: Literal[0, 1], iou: Fraction
) -> None:
    """Small drawings, in both types."""
    for kind in (np.float64, np.float32):
        found = box_iou(np.array([box], kind), np.array([other], kind), pixel_offset=offset)
        assert found.tolist() == [[kind(float(iou))]]


@pytest.mark.parametrize(
    ("kinds", "result"),
    [
        ((np.float32, np.float32), np.float32),
        ((np.float16, np.float32), np.float32),
        ((np.float16, np.float16), np.float32),
        ((">f4", np.float32), np.float32),
        ((np.float32, np.float64), np.float64),
        ((np.float32, np.int16), np.float64),
        ((np.uint8, np.uint8), np.float64),  # which would wrap around if they were subtracted as they are
        ((bool, np.int64), np.float64),
    ],
)
def test_type_of_the_result(kinds: tuple[Any, Any], result: Any) -> None:
    """float32 only of small floats; any numbers are taken."""
    boxes, others = np.array([[0, 0, 1, 1], [0, 1, 1, 1]]).astype(kinds[0]), np.array([[0, 0, 1, 1]]).astype(kinds[1])

    found = box_iou(boxes, others)

    assert found.dtype == result
    assert found.tolist() == [[1], [0]]


@pytest.mark.torch
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_torchvision_gives_the_same_boxes_bit_for_bit(kind: Any) -> None:
    """Random boxes with an area, in both types."""
    torch, ops = pytest.importorskip("torch"), pytest.importorskip("torchvision.ops")
    corners = np.random.default_rng(8).random((70, 4)) * 50
    boxes = sorted_sides(corners).astype(kind)

    expected = ops.box_iou(torch.from_numpy(boxes[:30]), torch.from_numpy(boxes[20:])).numpy()

    found = box_iou(boxes[:30], boxes[20:])
    assert found.dtype == expected.dtype
    assert np.array_equal(found, expected)


# --- masks ---------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(data=st.data(), shape=st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 7), st.integers(0, 13)))
def test_any_masks_equal_the_loops(data: st.DataObject, shape: tuple[int, int, int, int]) -> None:
    """Counts of any stacks of masks, empty ones too, give the naive twin's overlap."""
    n, m, height, width = shape
    masks = data.draw(npst.arrays(np.bool_, (n, height, width)))
    others = data.draw(npst.arrays(np.bool_, (m, height, width)))

    found = mask_iou(masks, others)

    assert found.dtype == np.float64
    assert found.shape == (n, m)
    assert found.tolist() == naive.mask_iou(masks.tolist(), others.tolist())


@pytest.mark.parametrize("pixels", [1, 7, 8, 9, 63, 64, 65, 127, 128, 129, 200])
def test_masks_around_whole_words(pixels: int) -> None:
    """No pixel is lost or invented at the end of a word: full, empty, last and random masks."""
    rows = np.zeros((5, 1, pixels), dtype=np.uint8)
    rows[0], rows[2, 0, -1], rows[3] = 1, 1, np.random.default_rng(pixels).integers(0, 2, (1, pixels))
    rows[4] = 1 - rows[3]

    found = mask_iou(rows, rows)

    assert found.tolist() == naive.mask_iou(rows.tolist(), rows.tolist())
    assert found[0, 2] == 1 / pixels
    assert found[3, 4] == 0
