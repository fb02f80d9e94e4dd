"""Tests of clipfast.runtime.preprocess, against published tensors and against open_clip's own transform."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clipfast.artifact import ImageSpec
from clipfast.errors import ImageError
from clipfast.runtime.images import load_image
from clipfast.runtime.preprocess import load_kernel, preprocess
from clipfast.types import Floats, Pixels

REFERENCE = Path(__file__).parents[3] / "shared" / "data" / "clip_reference"
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
CLIP = ImageSpec(size_hw=(224, 224), mean=MEAN, std=STD)


@pytest.fixture(autouse=True, params=["pillow", "kernel"])
def route(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test runs both ways: by Pillow, as before any warm-up, and by the compiled resize."""
    load_kernel()
    if request.param == "pillow":
        monkeypatch.setattr("clipfast.runtime.preprocess._KERNEL", "not.loaded")


def spec(height: int, width: int, *, squash: bool = False) -> ImageSpec:
    """Return an image rule of another size."""
    return ImageSpec(size_hw=(height, width), mean=MEAN, std=STD, resize="squash" if squash else "shortest")


def normalised(pixels: Pixels) -> Floats:
    """Return (3, h, w) as torchvision's ToTensor and Normalize compute it; in the product the graph does this."""
    scaled = pixels.transpose(2, 0, 1).astype(np.float32) / np.float32(255)
    mean, std = (np.asarray(values, np.float32)[:, None, None] for values in (MEAN, STD))
    return np.asarray((scaled - mean) / std, np.float32)


def noise(mode: str, width: int, height: int) -> Image.Image:
    """Return a seeded image: smooth areas with noise on top, every band different."""
    rng = np.random.default_rng(width * 1000 + height)
    bands = len(Image.new(mode, (1, 1)).getbands())
    rows, columns = np.mgrid[0:height, 0:width]
    smooth = (rows * 3 + columns * 5)[..., None] + rng.integers(0, 60, (height, width, bands))
    values = (smooth % 256).astype(np.uint8)
    return Image.frombytes(mode, (width, height), values.tobytes())


def reencoded(image: Image.Image, kind: str) -> Image.Image:
    """Return what a file of the image gives back."""
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return load_image(buffer.getvalue())


def reference(image: Image.Image, size_hw: tuple[int, int], *, squash: bool = False) -> Pixels:
    """Return what open_clip's transform computes, before normalisation."""
    from open_clip.transform import image_transform
    from torchvision.transforms import Normalize, ToTensor

    transform = image_transform(size_hw, is_train=False, resize_mode="squash" if squash else "shortest")
    for step in transform.transforms:
        if not isinstance(step, ToTensor | Normalize) and type(step).__name__ != "MaybeToTensor":
            image = step(image)
    return np.asarray(image)


@pytest.mark.parametrize(
    ("size", "target", "squash"),
    [
        ((640, 480), (224, 224), False),
        ((480, 640), (224, 224), False),
        ((224, 224), (224, 224), False),
        ((1, 1), (8, 8), False),
        ((3, 700), (16, 16), False),
        ((50, 40), (24, 48), False),
        ((50, 40), (24, 48), True),
    ],
)
def test_result_has_the_size_of_the_spec(size: tuple[int, int], target: tuple[int, int], squash: bool) -> None:
    """Whatever comes in, uint8 RGB of the model's size comes out."""
    pixels = preprocess(noise("RGB", *size), spec(*target, squash=squash))
    assert (pixels.shape, pixels.dtype, pixels.flags.c_contiguous) == ((*target, 3), np.dtype(np.uint8), True)


def test_crop_is_the_centre_and_squash_keeps_the_edges() -> None:
    """Of a wide image with dark ends, shortest keeps the bright middle only, and squash keeps everything."""
    values = np.zeros((8, 32, 3), np.uint8)
    values[:, 8:24] = 255
    image = Image.fromarray(values)
    assert preprocess(image, spec(8, 8)).min() == 255
    assert preprocess(image, spec(8, 8, squash=True))[:, [0, -1]].max() < 10


def test_image_is_not_changed() -> None:
    """The caller's image keeps mode, size and values."""
    image = noise("L", 30, 20)
    before = image.tobytes()
    preprocess(image, spec(8, 8))
    assert (image.mode, image.size, image.tobytes()) == ("L", (30, 20), before)


def test_palette_is_expanded_before_scaling() -> None:
    """A palette image gives the pixels of the same image as RGB, not the nearest neighbours that Pillow would pick."""
    palette = noise("RGB", 100, 80).quantize(32)
    expected = preprocess(palette.convert("RGB"), spec(32, 32))
    assert np.array_equal(expected, preprocess(palette, spec(32, 32)))
    nearest = palette.resize((40, 32), Image.Resampling.BICUBIC).convert("RGB").crop((4, 0, 36, 32))
    assert not np.array_equal(np.asarray(nearest), expected)


def test_transparent_palette_is_expanded_with_alpha() -> None:
    """Transparency of a palette counts as it does in the same image as RGBA."""
    palette = noise("RGB", 100, 80).quantize(32)
    palette.info["transparency"] = bytes(range(0, 256, 8))
    expected = preprocess(palette.convert("RGBA"), spec(32, 32))
    assert np.array_equal(expected, preprocess(palette, spec(32, 32)))
    assert not np.array_equal(expected, preprocess(palette.convert("RGBA").convert("RGB"), spec(32, 32)))


def test_one_bit_is_expanded_before_scaling() -> None:
    """A fine black and white grid becomes grey."""
    grid = Image.fromarray(np.indices((64, 64)).sum(0) % 2 == 0)
    assert grid.mode == "1"
    pixels = preprocess(grid, spec(8, 8))
    assert np.array_equal(preprocess(grid.convert("L"), spec(8, 8)), pixels)
    assert 100 < pixels.min() <= pixels.max() < 156


@pytest.mark.parametrize("dtype", ["<u2", ">u2", "<i4"])
def test_sixteen_bits_are_scaled_and_not_clipped(dtype: str) -> None:
    """A 16-bit grey is its high byte, whatever the byte order and whether Pillow calls it I;16 or I."""
    high = np.asarray(noise("L", 50, 40))
    values = (high.astype(np.uint16) << 8) + 77
    mode = {"<u2": "I;16", ">u2": "I;16B", "<i4": "I"}[dtype]
    image = Image.frombytes(mode, (50, 40), values.astype(dtype).tobytes())
    assert np.array_equal(preprocess(Image.fromarray(high), spec(16, 16)), preprocess(image, spec(16, 16)))


def test_sixteen_bit_png_is_scaled() -> None:
    """A 16-bit file as a microscope writes it keeps its contrast."""
    high = np.asarray(noise("L", 50, 40))
    image = reencoded(Image.frombytes("I;16", (50, 40), (high.astype("<u2") << 8).tobytes()), "PNG")
    assert np.array_equal(preprocess(Image.fromarray(high), spec(16, 16)), preprocess(image, spec(16, 16)))


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (Image.new("F", (9, 9)), "mode F"),
        (Image.new("I", (9, 9), -1), r"0\.\.65535; got -1\.\.-1"),
        (Image.new("I", (9, 9), 70_000), r"got 70000\.\.70000"),
        (Image.new("La", (9, 9)), "mode La"),
        (Image.new("L", (1, 90_000)), "too narrow: 32 x 2,880,000"),  # 92 million pixels to keep 1,024
    ],
)
def test_image_without_a_meaning_is_refused(image: Image.Image, reason: str) -> None:
    """What cannot be turned into RGB of the size is an error that says what to do."""
    with pytest.raises(ImageError, match=reason):
        preprocess(image, spec(32, 32))


@pytest.mark.shared
@pytest.mark.skipif(not REFERENCE.is_dir(), reason="../shared/data/clip_reference is absent")
def test_published_tensors() -> None:
    """Seven photos give the tensors that clip-retrieval published."""
    with np.load(REFERENCE / "clip_retrieval_preprocessed.npz") as published:
        assert len(published) == 7
        for name, expected in published.items():
            image = load_image(REFERENCE / "images" / f"{name}.jpg")
            np.testing.assert_allclose(normalised(preprocess(image, CLIP)), expected, rtol=0, atol=1e-6)


@pytest.mark.torch
@pytest.mark.parametrize("mode", ["RGB", "L", "LA", "RGBA", "CMYK", "YCbCr", "HSV", "RGBX"])
@pytest.mark.parametrize(
    "size",
    [
        (640, 480),
        (481, 643),  # the long side is truncated, not rounded
        (224, 224),
        (224, 337),  # an odd rest to crop
        (225, 224),
        (1, 1),
        (2, 3),
        (7, 223),
        (900, 5),
        (5, 900),
    ],
)
def test_equal_to_open_clip(mode: str, size: tuple[int, int]) -> None:
    """Every mode and size gives open_clip's pixels exactly."""
    image = noise(mode, *size)
    assert np.array_equal(reference(image, (224, 224)), preprocess(image, CLIP))


@pytest.mark.torch
@pytest.mark.parametrize(("mode", "kind"), [("RGB", "JPEG"), ("L", "JPEG"), ("CMYK", "JPEG"), ("YCbCr", "JPEG")])
def test_equal_to_open_clip_on_files(mode: str, kind: str) -> None:
    """What was written as a JPEG of each colour space gives open_clip's pixels."""
    image = reencoded(noise(mode, 333, 250), kind)
    assert np.array_equal(reference(image, (224, 224)), preprocess(image, CLIP))


@pytest.mark.torch
@pytest.mark.parametrize("squash", [False, True])
@pytest.mark.parametrize("target", [(224, 224), (336, 336), (48, 96), (97, 33)])
@pytest.mark.parametrize("size", [(640, 480), (101, 333), (3, 2), (48, 96)])
def test_equal_to_open_clip_for_other_targets(size: tuple[int, int], target: tuple[int, int], squash: bool) -> None:
    """Square and oblong targets follow open_clip's two rules, and squash its third."""
    image = noise("RGB", *size)
    expected = reference(image, target, squash=squash)
    assert np.array_equal(expected, preprocess(image, spec(*target, squash=squash)))


@pytest.mark.torch
def test_normalised_equals_torchvision() -> None:
    """The floats of these tests are torchvision's ToTensor and Normalize."""
    from open_clip.transform import image_transform

    image = noise("RGB", 320, 240)
    expected = image_transform((224, 224), is_train=False)(image).numpy()
    np.testing.assert_allclose(normalised(preprocess(image, CLIP)), expected, rtol=0, atol=1e-6)
