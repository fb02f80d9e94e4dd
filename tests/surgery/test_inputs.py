"""Bad and unusual input: texts, images, sizes and flat maps."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clipfast.errors import DataError, ImageError, ShapeError
from clipfast.runtime.clip import Clip
from clipfast.surgery import (
    EdgeAware,
    MapOptions,
    Windows,
    heatmaps,
    letterbox,
    points,
    resize_maps,
    squash,
    unit_range,
    window_boxes,
)
from clipfast.types import ImageSource, Pixels

VIEWS = {
    "as the model sees it": MapOptions(),
    "squashed": MapOptions(geometry="squash"),
    "in a letterbox": MapOptions(geometry="letterbox"),
    "by windows": MapOptions(windows=Windows(side=50)),
    "along edges": MapOptions(edge_aware=EdgeAware()),
}


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([], "at least one text"),
        ("", "words in them; got ''"),
        (["denim", "  "], "words in them"),
        (["denim", 3], "words in them; got 3"),
        (7, "list of strings; got int"),
        (["denim", "lace", "denim"], "must differ; got 'denim' and 'denim'"),
        (["red star", " Red  STAR"], "must differ; got 'red star' and ' Red  STAR'"),  # equal to the tokenizer
    ],
)
def test_texts_that_ask_nothing(mini: Clip, photo: Pixels, texts: Any, message: str) -> None:
    """None, blank ones, numbers, and the same one twice, which feature surgery would remove as shared."""
    with pytest.raises(DataError, match=message):
        heatmaps(mini, photo, texts)


def test_a_text_beyond_the_context_is_said_to_be_cut(
    mini: Clip, photo: Pixels, caplog: pytest.LogCaptureFixture
) -> None:
    """A log warning names the text and how much of it is lost; the map is that of what was read."""
    long = "red star on blue denim " * 16
    with caplog.at_level("WARNING"):
        maps = heatmaps(mini, photo, [long], "vv_vv", options=MapOptions(templates=None))
    cut = [record.getMessage() for record in caplog.records if "was cut" in record.getMessage()]

    assert len(cut) == 1
    assert "red star on blue denim" in cut[0]
    assert "of 80 tokens are lost" in cut[0]
    assert np.isfinite(maps).all()
    with caplog.at_level("WARNING"):
        heatmaps(mini, photo, [long], "vv_vv")  # in 85 templates
    assert 2 <= sum("was cut" in record.getMessage() for record in caplog.records) <= 3  # one for each batch of prompts


@pytest.mark.parametrize("options", VIEWS.values(), ids=VIEWS)
@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "CMYK", "P", "1", "I;16"])
def test_images_of_every_kind(mini: Clip, photo: Pixels, mode: str, options: MapOptions) -> None:
    """Grey, alpha, CMYK, palette, 1-bit and 16-bit images have maps, in every view."""
    image = Image.fromarray(photo)
    if mode == "I;16":
        image = Image.fromarray(photo[..., 0].astype(np.uint16) * 256)
    maps = heatmaps(
        mini, image if mode == "I;16" else image.convert(mode), ["denim", "lace"], "vv_vv", (24, 32), options
    )

    assert maps.shape == (1, 2, 24, 32)
    assert np.isfinite(maps).all()


@pytest.mark.parametrize("options", VIEWS.values(), ids=VIEWS)
def test_files_are_images_too(mini: Clip, photo: Pixels, tmp_path: Path, options: MapOptions) -> None:
    """A path, bytes and an open file that several graphs read have the maps of the array."""
    data = io.BytesIO()
    Image.fromarray(photo).save(data, "PNG")
    (tmp_path / "photo.png").write_bytes(data.getvalue())
    sources: list[ImageSource] = [tmp_path / "photo.png", data.getvalue(), data, photo]
    maps = heatmaps(mini, sources, ["denim", "lace"], "vv_vv", (24, 32), options)

    assert np.abs(maps - maps[3]).max() < 1e-5


@pytest.mark.parametrize("options", VIEWS.values(), ids=VIEWS)
@pytest.mark.parametrize("value", [0, 128, 255])
def test_blank_images_have_finite_maps(mini: Clip, value: int, options: MapOptions) -> None:
    """Nothing divides by a range that is not there, also when scaled to it."""
    blank = np.full((70, 90, 3), value, np.uint8)
    for path in ("standard", "vv_vv"):
        maps = heatmaps(mini, blank, ["denim", "lace"], path, (24, 32), options)

        assert np.isfinite(maps).all()
        assert np.isfinite(unit_range(maps)).all()


@pytest.mark.parametrize("options", VIEWS.values(), ids=VIEWS)
def test_extreme_strips(mini: Clip, options: MapOptions) -> None:
    """One pixel high, or wide."""
    for size_hw in ((1, 64), (64, 1), (1, 1)):
        maps = heatmaps(mini, np.full((*size_hw, 3), 90, np.uint8), ["denim"], "vv_vv", (8, 8), options)

        assert np.isfinite(maps).all()


def test_scaling_to_a_range_with_parts_unseen() -> None:
    """NaN stays NaN and does not spread; a map without any value is not made up."""
    maps = np.array([[[np.nan, 1, 3]], [[np.nan] * 3], [[np.nan, 2, 2]]], np.float32)

    np.testing.assert_array_equal(unit_range(maps), [[[np.nan, 0, 1]], [[np.nan] * 3], [[np.nan, 0, 0]]])


def test_a_centre_crop_leaves_out_what_was_not_seen(mini: Clip, photo: Pixels) -> None:
    """The photo is wider than high: its ends have no value, its middle has that of the model's own view."""
    size = photo.shape[0], photo.shape[1]
    maps = heatmaps(mini, photo, ["denim"], "vv_vv", size, MapOptions(geometry="centre_crop"))[0, 0]
    middle = heatmaps(mini, photo, ["denim"], "vv_vv", (120, 120))[0, 0]

    assert np.isnan(maps[:, :19]).all()
    assert np.isnan(maps[:, 141:]).all()
    np.testing.assert_allclose(maps[:, 20:140], middle, atol=2e-3)


@pytest.mark.parametrize("options", VIEWS.values(), ids=VIEWS)
def test_what_is_no_image_is_refused(mini: Clip, options: MapOptions) -> None:
    """As everywhere: with the reason."""
    with pytest.raises(ImageError, match="cannot be read"):
        heatmaps(mini, b"\x89PNG\r\n\x1a\n broken", ["denim"], "vv_vv", (8, 8), options)
    with pytest.raises(ShapeError, match="uint8"):
        heatmaps(mini, np.zeros((4, 4), np.uint8), ["denim"], "vv_vv", (8, 8), options)
    with pytest.raises(ShapeError, match="size_hw must be two whole numbers"):
        heatmaps(mini, np.zeros((4, 4, 3), np.uint8), ["denim"], "vv_vv", (0, 8), options)


@pytest.mark.parametrize("size", [5, (3,), (3, 4, 5), ("a", 1), (1.5, 2), (True, 2), (None, 3), "ab", (10**6, 10**6)])
def test_sizes_are_two_whole_numbers_of_pixels_that_fit(size: Any) -> None:
    """In every function that takes one, before memory is taken."""
    grid = np.zeros((14, 14), np.float32)
    for call in (
        lambda: resize_maps(grid, size),
        lambda: points(np.eye(14), size),
        lambda: squash(size, (224, 224)),
        lambda: letterbox((30, 40), size),
        lambda: window_boxes(size, (64, 64)),
    ):
        with pytest.raises(ShapeError, match=r"_hw must (be two whole numbers|have at most 134,217,728 pixels)"):
            call()


def test_what_is_said_of_a_text_is_said_in_every_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Rows of texts that are cut or not known are not remembered on disk, which would silence the next process."""
    monkeypatch.setenv("CLIPFAST_CACHE", str(tmp_path))
    for _ in range(2):
        caplog.clear()
        with Clip.load("mini") as clip:
            clip.encode_texts(["star " * 100, "zebra", "red star"], ["a photo of a {}"])
        said = " ".join(record.getMessage() for record in caplog.records)
        assert "was cut" in said
        assert "'zebra'" in said
    assert len(list((tmp_path / "texts").rglob("*.npy"))) == 1  # of "red star"
