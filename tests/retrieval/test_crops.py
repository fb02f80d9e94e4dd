"""Patches cut from photos, and side-cars."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clipfast.errors import DataError, ShapeError
from clipfast.retrieval.crops import Sidecar, crop_box, crop_patch, read_sidecar, sidecar_path, write_sidecar
from clipfast.types import Pixels


@pytest.fixture
def numbered() -> Pixels:
    """A photo of 60 x 40 whose pixels say where they are."""
    y, x = np.mgrid[0:40, 0:60]
    return np.stack([x, y, 0 * x], axis=2).astype(np.uint8)


@pytest.mark.parametrize(
    ("xy", "size", "first", "last"),
    [
        ((30, 20), 10, (25, 15), (34, 24)),  # in the middle
        ((0, 0), 10, (0, 0), (9, 9)),  # moved inwards at a corner
        ((59, 39), 10, (50, 30), (59, 39)),  # at the other
        ((30, 20), 50, (5, 0), (54, 39)),  # higher than the photo: its full height
        ((1, 1), 60, (0, 0), (59, 39)),  # as large as the longer side: all of it
        ((30, 20), 1, (30, 20), (30, 20)),  # one pixel
    ],
)
def test_the_window_is_around_the_point_and_inside(
    numbered: Pixels, xy: tuple[int, int], size: int, first: tuple[int, int], last: tuple[int, int]
) -> None:
    """First and last pixel of what is cut."""
    patch = np.asarray(crop_patch(numbered, xy, size))
    assert tuple(patch[0, 0, :2]) == first
    assert tuple(patch[-1, -1, :2]) == last


def test_a_box_is_cut_half_open(numbered: Pixels) -> None:
    """Left and top are in, right and bottom are not."""
    patch = np.asarray(crop_box(numbered, (3, 4, 6, 9)))
    assert patch.shape == (5, 3, 3)
    assert tuple(patch[-1, -1, :2]) == (5, 8)


@pytest.mark.parametrize("xy", [(60, 0), (0, 40), (-1, 5), (1.5, 2)])
def test_points_outside_are_refused(numbered: Pixels, xy: tuple[int, int]) -> None:
    """The size is told."""
    with pytest.raises(ShapeError, match=r"60 x 40|whole numbers"):
        crop_patch(numbered, xy)


@pytest.mark.parametrize("box", [(5, 5, 5, 9), (0, 0, 61, 9), (-1, 0, 9, 9), (9, 0, 3, 9)])
def test_boxes_outside_are_refused(numbered: Pixels, box: tuple[int, int, int, int]) -> None:
    """Empty ones too."""
    with pytest.raises(ShapeError, match="x1,y1,x2,y2"):
        crop_box(numbered, box)
    with pytest.raises(ShapeError, match="at least 1 pixel"):
        crop_patch(numbered, (0, 0), 0)


def test_a_sidecar_comes_back_and_finds_its_photo(tmp_path: Path) -> None:
    """Every field, and the photo's path from the side-car's folder."""
    patch = tmp_path / "cotton" / "patch_001.jpg"
    patch.parent.mkdir()
    written = Sidecar(
        source="../photos/衬衫.jpg", coords=(150, 200), size=224, who="Li", when="2025-10-09T12:00:00+08:00",
        model="mini", confidence=0.41,
    )  # fmt: skip
    assert read_sidecar(patch) is None
    assert write_sidecar(patch, written) == sidecar_path(patch) == patch.with_name("patch_001.json")
    read = read_sidecar(patch)
    assert read == written
    assert read is not None
    assert read.photo(patch) == tmp_path / "photos" / "衬衫.jpg"
    assert Sidecar().photo(patch) is None


@pytest.mark.parametrize("text", ["", "[]", '{"coords": [1]}', '{"confidence": 2}', '{"size": 0}', "\xff"])
def test_what_is_no_sidecar_is_named(tmp_path: Path, text: str) -> None:
    """The file, what it must look like, and what is wrong."""
    patch = tmp_path / "patch_001.jpg"
    sidecar_path(patch).write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=r"patch_001.json must be a JSON object"):
        read_sidecar(patch)


def test_further_fields_of_a_sidecar_are_passed_over(tmp_path: Path) -> None:
    """An older tool's side-cars are read."""
    patch = tmp_path / "patch_001.jpg"
    sidecar_path(patch).write_text('{"coords": [1, 2], "fabric": "cotton"}')
    assert read_sidecar(patch) == Sidecar(coords=(1, 2))
