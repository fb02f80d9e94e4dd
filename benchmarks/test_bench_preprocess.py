"""A photo to the model's pixels: our kernel beside Pillow on the same array, and the whole way from a JPEG."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

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


def by_pillow(image: Image.Image) -> Pixels:
    """Return the centre of the scaled image, all of which Pillow computes."""
    width = SIDE * image.width // image.height
    left = round((width - SIDE) / 2)
    return np.asarray(image.resize((width, SIDE), Image.Resampling.BICUBIC).crop((left, 0, left + SIDE, SIDE)))


def by_kernel(pixels: Pixels) -> Pixels:
    """Return the centre of the scaled image, of which only that is computed."""
    width = SIDE * pixels.shape[1] // pixels.shape[0]
    return resize_bicubic(pixels, (SIDE, width), crop=(0, round((width - SIDE) / 2), SIDE, SIDE))


WAYS: dict[str, Callable[[Any], Pixels]] = {
    "resize-kernel": by_kernel,
    "resize-pillow": by_pillow,
    "jpeg-kernel": lambda data: preprocess(load_image(data), SPEC),
    "jpeg-pillow": lambda data: by_pillow(load_image(data)),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("width", "height"), [(640, 480), (1920, 1080)])
def test_photo_to_pixels(timed: BenchmarkFixture, width: int, height: int, way: str) -> None:
    smooth = 128 + 90 * np.sin(np.arange(width) / 37 + np.arange(height)[:, None] / 51)[..., None]
    noise = np.random.default_rng(0).normal(0, 12, (height, width, 3))
    image, file = Image.fromarray((smooth + noise).clip(0, 255).astype(np.uint8)), io.BytesIO()
    image.save(file, "JPEG", quality=90)
    sources = {"resize-kernel": np.asarray(image), "resize-pillow": image}
    source = sources.get(way, file.getvalue())
    expected = by_pillow(image if way in sources else load_image(file.getvalue()))
    assert np.array_equal(expected, WAYS[way](source))
    timed.extra_info["threads"] = 1  # no way uses more
    timed.pedantic(WAYS[way], (source,), rounds=40, warmup_rounds=5)
