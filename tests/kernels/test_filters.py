"""Small filters: against their definitions, and what a perceptual hash must stand."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from clipfast.datasets.fabricworld import FABRICS, render
from clipfast.errors import ShapeError
from clipfast.kernels.filters import area_mean, hamming, laplacian, luminance, perceptual_hash
from clipfast.types import Floats, Pixels
from reference import naive


def picture(seed: int, height: int, width: int) -> Floats:
    """Draw a random grey picture."""
    return np.random.default_rng(seed).uniform(0, 255, (height, width)).astype(np.float32)


sizes = st.integers(1, 12)


@settings(deadline=None, max_examples=60)
@given(height=sizes, width=sizes, new_h=sizes, new_w=sizes, seed=st.integers(0, 99))
def test_area_mean_equals_cutting_pixels_into_pieces(
    height: int, width: int, new_h: int, new_w: int, seed: int
) -> None:
    """Any size, larger or smaller, equals the naive twin and keeps the mean."""
    grey = picture(seed, height, width)
    found = area_mean(grey, (new_h, new_w))

    assert found.dtype == np.float32
    np.testing.assert_allclose(naive.area_mean(grey, (new_h, new_w)), found, rtol=1e-5)
    assert float(found.mean()) == pytest.approx(float(grey.mean()), rel=1e-5)


@pytest.mark.parametrize(("height", "width"), [(3, 3), (3, 9), (17, 5)])
def test_laplacian_equals_its_definition(height: int, width: int) -> None:
    """Every inner pixel equals the naive twin; a slope has none."""
    grey = picture(1, height, width)

    np.testing.assert_allclose(naive.laplacian(grey), laplacian(grey), atol=1e-3)
    assert not laplacian(np.add.outer(np.arange(height), 2 * np.arange(width)).astype(np.float32)).any()


@pytest.mark.parametrize("size_hw", [(32, 32), (224, 224), (40, 77), (5, 9)])
def test_perceptual_hash_equals_its_definition(size_hw: tuple[int, int]) -> None:
    """All 64 bits equal those of the naive twin, the first frequency highest."""
    grey = picture(2, *size_hw)

    assert naive.perceptual_hash(grey) == f"{perceptual_hash(grey):064b}"


def test_luminance_is_pillows() -> None:
    """Within rounding, luminance is what Pillow's mode L holds."""
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)

    assert np.abs(luminance(pixels) - np.asarray(Image.fromarray(pixels).convert("L"), float)).max() <= 0.51


def test_hamming_counts_bits() -> None:
    """Any two hashes differ where their digits do, up to all 64 bits; shapes broadcast."""
    one = np.array([[0], [2**64 - 1], [0b1010]], np.uint64)
    other = np.array([0, 0b0110], np.uint64)

    assert [[(int(a[0]) ^ int(b)).bit_count() for b in other] for a in one] == hamming(one, other).tolist()


def recompressed(pixels: Pixels) -> Pixels:
    """Save as a poorer JPEG and read again."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=70)
    return np.asarray(Image.open(buffer))


def halved(pixels: Pixels) -> Pixels:
    """Scale to half the size."""
    image = Image.fromarray(pixels)
    return np.asarray(image.resize((image.width // 2, image.height // 2), Image.Resampling.BICUBIC))


def darkened(pixels: Pixels) -> Pixels:
    """Take a fifth of the light."""
    return (pixels * 0.8).astype(np.uint8)


def test_hashes_of_other_cloth_are_far_and_those_of_copies_near() -> None:
    """All fabrics of fabricworld, two pieces each: no two within 10 bits, and 95 % of the copies are."""
    scenes = [render(100 * n + s, fabric=name).image for n, name in enumerate(FABRICS) for s in range(2)]
    hashes = np.array([perceptual_hash(luminance(pixels)) for pixels in scenes], np.uint64)
    between = hamming(hashes[:, None], hashes[None])[np.triu_indices(len(hashes), 1)]
    copies = [
        hamming(hashes, np.array([perceptual_hash(luminance(change(pixels))) for pixels in scenes], np.uint64))
        for change in (recompressed, halved, darkened)
    ]

    assert between.min() > 10
    assert all((distances <= 10).mean() >= 0.95 for distances in copies)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: luminance(np.zeros((2, 2), np.uint8)), r"\(h, w, 3\) RGB"),
        (lambda: luminance(np.zeros((2, 2, 3), np.float32)), "uint8"),
        (lambda: luminance(np.zeros((0, 2, 3), np.uint8)), "not empty"),
        (lambda: area_mean(np.zeros((2, 2, 3), np.float32), (1, 1)), r"grey must be \(h, w\)"),
        (lambda: area_mean(np.zeros((2, 2), np.float32), (0, 1)), "at least"),
        (lambda: laplacian(np.zeros((2, 5), np.float32)), "3 x 3 or more"),
        (lambda: perceptual_hash(np.zeros((0, 4), np.float32)), "1 x 1 or more"),
        (lambda: hamming(np.zeros(1, np.int64), np.zeros(1, np.uint64)), "uint64"),
    ],
)
def test_what_is_no_picture_is_refused(call: Any, message: str) -> None:
    """Shapes and dtypes are told with what came."""
    with pytest.raises(ShapeError, match=message):
        call()
