"""A photo to the model's pixels: our kernel beside Pillow on the same array, and the whole way from a JPEG."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from pytest_benchmark.fixture import BenchmarkFixture

from clipfast.artifact import ImageSpec
from clipfast.kernels import resize_bicubic
from clipfast.runtime.images import load_image
from clipfast.runtime.preprocess import preprocess
from clipfast.types import Pixels

SIDE = 224
SPEC = ImageSpec(size_hw=(SIDE, SIDE), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
PHOTOS = pytest.mark.parametrize("size", [(640, 480), (1920, 1080)], ids=["640x480", "1920x1080"])


def photo(size: tuple[int, int]) -> Image.Image:
    """Return smooth areas with camera noise."""
    rows, columns = np.mgrid[0 : size[1], 0 : size[0]]
    smooth = 128 + 90 * np.sin(columns / 37 + rows / 51)
    noise = np.random.default_rng(0).normal(0, 12, (*smooth.shape, 3))
    return Image.fromarray((smooth[..., None] + noise).clip(0, 255).astype(np.uint8))


def by_pillow(image: Image.Image) -> Pixels:
    """Return the centre of the scaled image, all of which Pillow computes."""
    width = SIDE * image.width // image.height
    left = round((width - SIDE) / 2)
    scaled = image.resize((width, SIDE), Image.Resampling.BICUBIC)
    return np.asarray(scaled.crop((left, 0, left + SIDE, SIDE)))


def by_kernel(pixels: Pixels) -> Pixels:
    """Return the centre of the scaled image, of which only that is computed."""
    width = SIDE * pixels.shape[1] // pixels.shape[0]
    return resize_bicubic(pixels, (SIDE, width), crop=(0, round((width - SIDE) / 2), SIDE, SIDE))


@PHOTOS
@pytest.mark.parametrize("ours", [True, False], ids=["kernel", "pillow"])
def test_resize(timed: BenchmarkFixture, size: tuple[int, int], ours: bool) -> None:
    image = photo(size)
    pixels = np.asarray(image)
    assert np.array_equal(by_pillow(image), by_kernel(pixels))
    timed.extra_info["threads"] = 1  # neither uses more
    resize, source = (by_kernel, pixels) if ours else (by_pillow, image)
    timed.pedantic(resize, args=(source,), rounds=40, warmup_rounds=5)


@PHOTOS
@pytest.mark.parametrize("ours", [True, False], ids=["kernel", "pillow"])
def test_jpeg_to_pixels(timed: BenchmarkFixture, size: tuple[int, int], ours: bool) -> None:
    file = io.BytesIO()
    photo(size).save(file, "JPEG", quality=90)
    data = file.getvalue()
    way = (lambda: preprocess(load_image(data), SPEC)) if ours else (lambda: by_pillow(load_image(data)))
    assert np.array_equal(by_pillow(load_image(data)), preprocess(load_image(data), SPEC))
    timed.extra_info["threads"] = 1
    timed.pedantic(way, rounds=40, warmup_rounds=5)
