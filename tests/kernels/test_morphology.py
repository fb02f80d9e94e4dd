"""Morphology is its definition, pixel by pixel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from clipfast.errors import ShapeError
from clipfast.kernels.morphology import close_then_open, closing, dilate, erode, opening

Masks = NDArray[np.bool_]


def naive(mask: Masks, whole: Callable[[list[bool]], bool]) -> Masks:
    """Ask a pixel and its neighbours inside the picture."""
    height, width = mask.shape
    out = np.zeros_like(mask)
    for y, x in np.ndindex(height, width):
        rows, columns = range(max(y - 1, 0), min(y + 2, height)), range(max(x - 1, 0), min(x + 2, width))
        out[y, x] = whole([bool(mask[j, i]) for j in rows for i in columns])
    return out


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (6, 1), (2, 2), (9, 13)])
@pytest.mark.parametrize("density", [0.1, 0.5, 0.9])
def test_each_operation_is_its_definition(size: tuple[int, int], density: float) -> None:
    """Any of the neighbours, all of them, and the two one after the other."""
    mask = np.random.default_rng(0).random(size) < density
    grown, shrunk = naive(mask, any), naive(mask, all)

    assert np.array_equal(dilate(mask), grown)
    assert np.array_equal(erode(mask), shrunk)
    assert np.array_equal(closing(mask), naive(grown, all))
    assert np.array_equal(opening(mask), naive(shrunk, any))
    assert np.array_equal(close_then_open(mask), opening(closing(mask)))


def test_a_stack_is_its_masks_and_is_left_alone() -> None:
    """Masks of a stack do not touch each other, whatever the memory layout, and input stays as it is."""
    masks = (np.random.default_rng(1).random((3, 8, 11)) < 0.4).astype(np.uint8)
    before = masks.copy()
    turned = np.asfortranarray(masks)

    assert np.array_equal(close_then_open(turned), np.stack([close_then_open(mask) for mask in masks]))
    assert np.array_equal(masks, before)


def test_opencv_agrees() -> None:
    """OpenCV's default border ignores what lies outside, too."""
    cv2 = pytest.importorskip("cv2", reason="needs opencv (dependency group bench)")
    square = np.ones((3, 3), np.uint8)
    for seed in range(5):
        mask = (np.random.default_rng(seed).random((17, 23)) < 0.5).astype(np.uint8)
        closed = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, square)

        assert np.array_equal(close_then_open(mask), cv2.morphologyEx(closed, cv2.MORPH_OPEN, square).astype(bool))


@pytest.mark.parametrize("wrong", [np.zeros(3, bool), np.zeros((3, 3))])
def test_wrong_masks_are_told(wrong: NDArray[Any]) -> None:
    """Too few axes, and scores that were not compared with a threshold."""
    with pytest.raises(ShapeError, match="masks must be bool or integer"):
        dilate(wrong)
