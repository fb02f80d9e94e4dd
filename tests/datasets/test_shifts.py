"""Shifted pictures."""

from __future__ import annotations

import numpy as np
import pytest

from clipfast.datasets.shifts import SHIFTS, Shift, replace_background, shifted
from clipfast.errors import DataError, ShapeError
from clipfast.types import Pixels


@pytest.mark.parametrize("shift", list(SHIFTS))
def test_a_shift_changes_the_picture_and_repeats(shift: Shift, photo: Pixels) -> None:
    """Same size and type, other pixels, the same for the same seed."""
    found = shifted(photo, shift, seed=3)

    assert (found.shape, found.dtype) == (photo.shape, photo.dtype)
    assert not np.array_equal(found, photo)
    assert np.array_equal(found, shifted(photo, shift, seed=3))


def test_backgrounds_are_replaced_outside_the_mask() -> None:
    """Inside the mask the picture stays."""
    image, other = np.full((2, 2, 3), 1, np.uint8), np.full((2, 2, 3), 9, np.uint8)
    found = replace_background(image, np.array([[1, 0], [0, 0]], np.uint8), other)

    assert found[..., 0].tolist() == [[1, 9], [9, 9]]


def test_wrong_input_is_refused(photo: Pixels) -> None:
    """Unknown shifts, floats, masks that do not fit."""
    with pytest.raises(DataError, match="shift must be one of dark"):
        shifted(photo, "fog")  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(ShapeError, match="uint8"):
        shifted(photo[..., 0], "dark")
    with pytest.raises(ShapeError, match="must fit"):
        replace_background(photo, photo[:5, :5, 0], photo)
