"""Overlays and contact sheets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clipfast.errors import ShapeError
from clipfast.report.images import colourise, contact_sheet, overlay, save_png


def test_colours_go_from_blue_to_red() -> None:
    """Low is blue, high is red, and values outside [0, 1] are clipped."""
    low, high, below, above = colourise(np.array([[0.0, 1.0, -5.0, 9.0]], np.float32))[0].astype(int)

    assert low[2] > low[0]
    assert high[0] > high[2]
    assert (low == below).all()
    assert (high == above).all()


def test_an_overlay_keeps_the_image_visible() -> None:
    """Cold parts stay nearer to the image than hot parts."""
    pixels = np.full((1, 2, 3), 200, np.uint8)
    cold, hot = np.abs(overlay(pixels, np.array([[0.0, 1.0]], np.float32)).astype(int) - 200).sum(axis=2)[0]

    assert 0 < cold < hot


def test_a_sheet_holds_every_tile(tmp_path: Path) -> None:
    """Tiles lie in rows, and the file is a PNG of that size."""
    tiles = [np.full((20, 30, 3), 40 * i, np.uint8) for i in range(5)]
    sheet = contact_sheet(tiles, [str(i) for i in range(5)], columns=3)
    save_png(tmp_path / "sheet.png", sheet)

    assert sheet.shape[0] > 2 * 20
    assert sheet.shape[1] > 3 * 30
    with Image.open(tmp_path / "sheet.png") as image:
        assert image.size == (sheet.shape[1], sheet.shape[0])


def test_shapes_that_do_not_fit_are_told() -> None:
    """Expected and got."""
    with pytest.raises(ShapeError, match=r"\(2, 2, 3\)"):
        overlay(np.zeros((3, 3, 3), np.uint8), np.zeros((2, 2), np.float32))
    with pytest.raises(ShapeError, match=r"heat must be \(h, w\)"):
        colourise(np.zeros((1, 2, 2), np.float32))
    with pytest.raises(ShapeError, match="captions"):
        contact_sheet([], [], columns=1)


def test_captions_stay_under_their_image() -> None:
    """One that is wider is cut and ends in dots; it does not run into the next."""
    tile = np.zeros((20, 80, 3), np.uint8)
    sheet = contact_sheet([tile, tile], ["a photo of white linen with a red button", ""], columns=2)
    below = sheet[6 + 20 :]

    assert (below[:, : 6 + 80] < 128).any()
    assert (below[:, 6 + 80 :] == 255).all()
