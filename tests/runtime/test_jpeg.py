"""Tests of clipfast.runtime.jpeg: the quick way gives Pillow's pixels, or steps aside."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clipfast import Clip
from clipfast.errors import ImageError
from clipfast.runtime import jpeg
from clipfast.runtime.images import load_image, load_pixels

SHARED = Path(__file__).parents[3] / "shared" / "data"


def encoded(mode: str = "RGB", size: tuple[int, int] = (61, 47), **options: Any) -> bytes:
    """Return a JPEG of smooth stripes with noise on top."""
    rng = np.random.default_rng(size[0])
    bands = len(Image.new(mode, (1, 1)).getbands())
    rows, columns = np.mgrid[0 : size[1], 0 : size[0]]
    values = (rows * 3 + columns * 2)[..., None] + rng.integers(0, 50, (size[1], size[0], bands))
    buffer = io.BytesIO()
    Image.frombytes(mode, size, (values % 256).astype(np.uint8).tobytes()).save(buffer, "JPEG", **options)
    return buffer.getvalue()


@pytest.fixture(params=["simplejpeg", "absent"])
def route(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With the extra, and without it."""
    if request.param == "simplejpeg":
        pytest.importorskip("simplejpeg")
    else:
        monkeypatch.setattr(jpeg, "_simplejpeg", lambda: None)
    return str(request.param)


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("options", [{"quality": 30}, {"quality": 95}, {"progressive": True}, {"optimize": True}])
def test_pixels_are_pillows(route: str, subsampling: int, options: dict[str, Any]) -> None:
    """Every chroma subsampling, odd sizes, baseline and progressive: the same bytes."""
    for size in [(61, 47), (1, 1), (8, 200), (333, 17)]:
        data = encoded(size=size, subsampling=subsampling, **options)
        found = load_pixels(data)

        assert isinstance(found, np.ndarray) == (route == "simplejpeg")
        assert np.array_equal(np.asarray(found), np.asarray(load_image(data)))


@pytest.mark.parametrize("orientation", range(10))
def test_orientation_is_applied_or_ignored(route: str, orientation: int) -> None:
    """Each value of the tag, those that mean nothing included."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(exif=exif)

    assert np.array_equal(np.asarray(load_pixels(data)), np.asarray(load_image(data)))
    assert np.asarray(load_pixels(data, exif="ignore")).shape == (47, 61, 3)


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_other_colours_are_left_to_pillow(route: str, mode: str) -> None:
    """Grey and CMYK go through Pillow, which keeps their mode."""
    found = load_pixels(encoded(mode))

    assert isinstance(found, Image.Image)
    assert found.mode == mode


def test_colours_stored_as_rgb(route: str) -> None:
    """A file without the YCbCr transform."""
    data = encoded(keep_rgb=True)

    assert np.array_equal(np.asarray(load_pixels(data)), np.asarray(load_image(data)))


def test_damage_is_told_by_pillow(route: str) -> None:
    """A truncated file is refused with one sentence, either way."""
    data = encoded(size=(200, 200))

    with pytest.raises(ImageError, match="cannot be read as an image"):
        load_pixels(data[: len(data) // 2])


def test_what_pillow_forgives_is_read(route: str) -> None:
    """Bytes behind the end, and rubbish in the entropy-coded data: what Pillow makes of it."""
    data = encoded(size=(200, 200))
    at = len(data) // 2
    for spoilt in (data + b"\0" * 50, data[:at] + bytes(20) + data[at + 20 :]):
        assert np.array_equal(np.asarray(load_pixels(spoilt)), np.asarray(load_image(spoilt)))


def test_size_is_checked_before_decoding(route: str) -> None:
    """The limit holds for the quick way too."""
    with pytest.raises(ImageError, match="at most 100 pixels"):
        load_pixels(encoded(), max_pixels=100)


def test_large_files_are_left_to_pillow(route: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file of any size is read into memory at once."""
    monkeypatch.setattr(jpeg, "_MOST_BYTES", 100)

    assert isinstance(load_pixels(encoded()), Image.Image)


def test_embeddings_do_not_depend_on_the_extra(mini: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same vector with simplejpeg and without."""
    data = encoded(size=(640, 480))
    quick = mini.encode_images(data)
    monkeypatch.setattr(jpeg, "_simplejpeg", lambda: None)

    assert np.array_equal(mini.encode_images(data), quick)


@pytest.mark.shared
def test_real_photographs() -> None:
    """Cameras' files: equal to Pillow, bit by bit."""
    pytest.importorskip("simplejpeg")
    photos = sorted(p for p in SHARED.rglob("*") if p.suffix.lower() in {".jpg", ".jpeg"})[::7]
    if not photos:
        pytest.skip("../shared/data has no photographs here")
    for photo in photos:
        assert np.array_equal(np.asarray(load_pixels(photo)), np.asarray(load_image(photo))), photo.name
