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


@pytest.mark.parametrize(
    ("size_hw", "wanted_hw", "factor"),
    [
        ((3000, 4000), (224, 224), 4),  # 750 rows are left; an eighth would leave 375, less than twice 224
        ((1080, 1920), (224, 224), 2),
        ((447, 4000), (224, 224), 1),  # the short side decides
        ((448, 448), (112, 112), 2),  # twice the size exactly is enough
        ((447, 448), (112, 112), 1),
        ((8000, 8000), (224, 224), 8),
        ((16, 16), (1, 1), 8),  # an eighth is the least that JPEG offers
        ((1000, 4000), (100, 800), 2),  # oblong models: the side that shrinks less decides
    ],
)
def test_reduction_leaves_twice_the_size(size_hw: tuple[int, int], wanted_hw: tuple[int, int], factor: int) -> None:
    """The largest of 8, 4, 2 and 1 that leaves twice the wanted size on both sides."""
    assert jpeg.reduction(size_hw, wanted_hw) == factor


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("subsampling", [0, 2])
@pytest.mark.parametrize("size", [(401, 303), (399, 640), (256, 256), (1601, 1201)])
def test_smaller_decoding_is_the_same_by_both_ways(mode: str, subsampling: int, size: tuple[int, int]) -> None:
    """simplejpeg and Pillow give one picture, of the size of a fraction rounded up."""
    pytest.importorskip("simplejpeg")
    options = {} if mode == "L" else {"subsampling": subsampling}
    data = encoded(mode, size, **options)
    factor = jpeg.reduction((size[1], size[0]), (64, 64))
    with pytest.MonkeyPatch.context() as patch:
        found = np.asarray(load_pixels(data, wanted_hw=(64, 64)))
        patch.setattr(jpeg, "_simplejpeg", lambda: None)
        pillows = np.asarray(load_pixels(data, wanted_hw=(64, 64)))

    assert factor > 1
    assert found.shape[:2] == (-(-size[1] // factor), -(-size[0] // factor))
    assert np.array_equal(found, pillows)


def test_a_sideways_photo_is_judged_by_its_upright_size(route: str) -> None:
    """Of an oblong model, the sides must not be mixed up."""
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(size=(400, 1200), exif=exif)  # upright it is 1200 wide and 400 high

    assert np.asarray(load_pixels(data, wanted_hw=(50, 300))).shape[:2] == (200, 600)
    assert np.asarray(load_pixels(data, wanted_hw=(50, 300), exif="ignore")).shape[:2] == (1200, 400)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_only_jpeg_files_are_decoded_smaller(kind: str) -> None:
    """Other files have no smaller picture inside."""
    buffer = io.BytesIO()
    Image.new("RGB", (900, 900), (1, 2, 3)).save(buffer, kind)

    assert np.asarray(load_pixels(buffer.getvalue(), wanted_hw=(50, 50))).shape == (900, 900, 3)


def test_fast_decoding_hardly_changes_what_the_model_sees(route: str) -> None:
    """On a rendered cloth of a megapixel: half a grey level in the mean, a cosine of .998 at least."""
    from clipfast.datasets.fabricworld import render
    from clipfast.runtime.reading import ImageOptions

    photos = []
    for seed in range(4):
        buffer = io.BytesIO()
        Image.fromarray(render(500_000_700 + seed, size=1000).image).save(buffer, "JPEG", quality=90)
        photos.append(buffer.getvalue())
    with Clip.load("mini") as exact, Clip.load("mini", images=ImageOptions(decode="fast")) as fast:
        pixels = [np.stack([clip._pixels(photo) for photo in photos]).astype(np.float64) for clip in (exact, fast)]
        cosines = (exact.encode_images(photos) * fast.encode_images(photos)).sum(1)

    assert not np.array_equal(pixels[0], pixels[1])
    assert np.abs(pixels[0] - pixels[1]).mean() <= 0.6
    assert cosines.min() >= 0.998


def test_an_unknown_way_to_decode_is_refused() -> None:
    """The two ways are named."""
    from clipfast.errors import ShapeError
    from clipfast.runtime.reading import ImageOptions

    with pytest.raises(ShapeError, match='"exact" or "fast"'):
        ImageOptions(decode="draft")  # type: ignore[arg-type]  # wrong on purpose
