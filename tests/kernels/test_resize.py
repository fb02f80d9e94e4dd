"""Bicubic resize: against Pillow bit for bit, and the inputs a caller may get wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from clipfast.artifact import ImageSpec
from clipfast.errors import ShapeError
from clipfast.kernels import resize_bicubic
from clipfast.runtime.preprocess import preprocess
from clipfast.types import Pixels

Size = tuple[int, int]


def noise(height: int, width: int, *, extremes: bool = False) -> Pixels:
    """Return seeded noise; with `extremes` only 0 and 255, which drive sums below 0 and above 255."""
    values = np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return np.where(values < 128, 0, 255).astype(np.uint8) if extremes else values


def by_pillow(pixels: Pixels, size_hw: Size, *, vertical_first: bool = False) -> Pixels:
    """Return Pillow's pixels, one pass at a time: which pass comes first in one call depends on its release."""
    height, width = size_hw
    between = (len(pixels[0]), height) if vertical_first else (width, len(pixels))
    image = Image.fromarray(np.ascontiguousarray(pixels)).resize(between, Image.Resampling.BICUBIC)
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))


@pytest.mark.parametrize("extremes", [False, True])
@pytest.mark.parametrize("vertical_first", [False, True])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ((48, 64), (22, 30)),
        ((48, 64), (95, 133)),  # up
        ((48, 64), (20, 130)),  # down and up
        ((48, 64), (100, 9)),
        ((48, 64), (48, 64)),  # no pass at all
        ((48, 64), (48, 30)),  # one pass
        ((48, 64), (22, 64)),
        ((47, 61), (23, 29)),  # nothing divides anything
        ((33, 65), (32, 64)),  # one more than a tile of turned rows
        ((32, 31), (31, 32)),
        ((1, 1), (1, 1)),
        ((1, 1), (5, 7)),
        ((9, 1), (3, 4)),
        ((1, 9), (4, 3)),
        ((2, 3), (40, 60)),
        ((30, 40), (1, 1)),
        ((2, 900), (50, 2)),  # hundreds of taps
        ((900, 2), (2, 50)),
        ((3, 5), (1, 700)),
    ],
)
def test_sizes_equal_pillow(old: Size, new: Size, vertical_first: bool, extremes: bool) -> None:
    """Every pair of sizes, in either order of the passes, gives Pillow's bytes."""
    pixels = noise(*old, extremes=extremes)

    expected = by_pillow(pixels, new, vertical_first=vertical_first)
    actual = resize_bicubic(pixels, new, vertical_first=vertical_first)

    assert (actual.dtype, actual.shape, actual.flags.c_contiguous) == (np.dtype(np.uint8), (*new, 3), True)
    assert np.array_equal(expected, actual)


@pytest.mark.parametrize("extremes", [False, True])
@pytest.mark.parametrize(("old", "new"), [((480, 640), (224, 298)), ((640, 480), (298, 224)), ((480, 640), (224, 224))])
def test_one_call_of_pillow_on_photos(old: Size, new: Size, extremes: bool) -> None:
    """The sizes of everyday give what one call of any Pillow gives."""
    pixels = noise(*old, extremes=extremes)

    expected = np.asarray(Image.fromarray(pixels).resize((new[1], new[0]), Image.Resampling.BICUBIC))

    assert np.array_equal(expected, resize_bicubic(pixels, new))


@pytest.mark.parametrize("new", [(30, 40), (75, 101), (48, 40), (30, 64), (48, 64)])
@pytest.mark.parametrize(
    "crop", [(0, 0, 1, 1), (29, 39, 1, 1), (0, 0, 30, 40), (0, 17, 30, 3), (11, 0, 4, 40), (7, 9, 13, 21)]
)
def test_crop_is_a_window_of_the_whole(crop: tuple[int, int, int, int], new: Size) -> None:
    """A window, at the borders too, holds the same bytes as the whole image cut afterwards."""
    pixels = noise(48, 64)
    top, left, height, width = crop

    expected = by_pillow(pixels, new)[top : top + height, left : left + width]

    assert np.array_equal(expected, resize_bicubic(pixels, new, crop=crop))


@pytest.mark.parametrize("vertical_first", [False, True])
@pytest.mark.parametrize("height", [1, 63, 64, 127, 128, 200, 321])
def test_threads_share_the_rows(height: int, vertical_first: bool) -> None:
    """Stripes of any number of threads, of images with fewer rows too, meet without a seam."""
    pixels, crop = noise(height, 90, extremes=True), (1, 20, 29, 41)

    expected = by_pillow(pixels, (31, 70), vertical_first=vertical_first)[1:30, 20:61]

    for threads in (1, 2, 3, 7):
        actual = resize_bicubic(pixels, (31, 70), crop=crop, vertical_first=vertical_first, threads=threads)
        assert np.array_equal(expected, actual), threads


@settings(max_examples=60, deadline=None)
@given(data=st.data(), vertical_first=st.booleans(), extremes=st.booleans())
def test_any_small_window_equals_pillow(data: st.DataObject, vertical_first: bool, extremes: bool) -> None:
    """Any sizes, any window and either order agree with Pillow."""
    side = st.integers(1, 40)
    old, new = data.draw(st.tuples(side, side)), data.draw(st.tuples(side, side))
    top, left = data.draw(st.integers(0, new[0] - 1)), data.draw(st.integers(0, new[1] - 1))
    height, width = data.draw(st.integers(1, new[0] - top)), data.draw(st.integers(1, new[1] - left))
    pixels = noise(*old, extremes=extremes)

    expected = by_pillow(pixels, new, vertical_first=vertical_first)[top : top + height, left : left + width]
    actual = resize_bicubic(pixels, new, crop=(top, left, height, width), vertical_first=vertical_first)

    assert np.array_equal(expected, actual)


@pytest.mark.parametrize("size_hw", [(16, 16), (24, 9)])
@pytest.mark.parametrize("resize", ["shortest", "squash"])
@pytest.mark.parametrize("old", [(300, 40), (110, 45), (80, 60), (60, 45), (1700, 16), (40, 300), (20, 5), (16, 16)])
def test_preprocess_takes_the_order_of_the_installed_pillow(old: Size, resize: Any, size_hw: Size) -> None:
    """Tall images, of which some releases of Pillow shorten the columns first, keep Pillow's bytes."""
    image = Image.fromarray(noise(*old, extremes=True))
    spec = ImageSpec(size_hw=size_hw, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), resize=resize)

    # RGBX takes Pillow's own path and has the same three channels.
    assert np.array_equal(preprocess(image.convert("RGBX"), spec), preprocess(image, spec))


def frozen(pixels: Pixels) -> Pixels:
    """Return a read-only copy."""
    copy = pixels.copy()
    copy.setflags(write=False)
    return copy


WIDE = noise(40, 70)


@pytest.mark.parametrize(
    "pixels",
    [
        pytest.param(frozen(WIDE), id="read-only"),
        pytest.param(np.asfortranarray(WIDE), id="column order"),
        pytest.param(WIDE.transpose(1, 0, 2), id="transposed"),
        pytest.param(WIDE[::2, ::-3], id="strided, reversed"),
        pytest.param(WIDE[..., ::-1], id="BGR"),
        pytest.param(np.broadcast_to(WIDE[:1], WIDE.shape), id="broadcast"),
        pytest.param(np.asarray(Image.fromarray(WIDE)), id="of a PIL image"),
    ],
)
def test_layout_does_not_matter(pixels: Pixels) -> None:
    """Any layout and any flags give the same bytes; the input is left alone, and the result is the caller's."""
    before, flags = pixels.copy(), pixels.flags.writeable

    actual = resize_bicubic(pixels, (17, 23))

    assert np.array_equal(by_pillow(pixels, (17, 23)), actual)
    assert np.array_equal(before, pixels)
    assert (pixels.flags.writeable, actual.flags.writeable) == (flags, True)
    assert not np.shares_memory(pixels, resize_bicubic(pixels, (len(pixels), len(pixels[0]))))


def test_threads_and_order_of_calls_do_not_matter() -> None:
    """Four threads that scale many sizes at once get what one call after the other gets."""
    sizes = [(5 + i % 7, 40 - i % 11) for i in range(60)]
    expected = [resize_bicubic(WIDE, size) for size in sizes]

    with ThreadPoolExecutor(4) as pool:
        actual = list(pool.map(lambda size: resize_bicubic(WIDE, size), reversed(sizes)))

    assert all(np.array_equal(*pair) for pair in zip(reversed(expected), actual, strict=True))


@pytest.mark.parametrize(
    ("pixels", "size_hw", "crop", "words"),
    [
        (np.zeros((4, 5), np.uint8), (2, 2), None, r"uint8 \(h, w, 3\).*got uint8 \(4, 5\).*Convert"),
        (np.zeros((4, 5, 4), np.uint8), (2, 2), None, r"got uint8 \(4, 5, 4\)"),
        (np.zeros((4, 5, 3), np.float32), (2, 2), None, "got float32"),
        (np.zeros((0, 5, 3), np.uint8), (2, 2), None, r"not empty; got uint8 \(0, 5, 3\)"),
        (np.zeros((4, 5, 3), np.uint8), (0, 2), None, r"at least \(1, 1\); got \(0, 2\). Scale"),
        (np.zeros((4, 5, 3), np.uint8), (2, -2), None, r"got \(2, -2\)"),
        (np.zeros((4, 5, 3), np.uint8), (9, 8), (0, 0, 0, 8), r"inside of size_hw \(9, 8\); got \(0, 0, 0, 8\). Move"),
        (np.zeros((4, 5, 3), np.uint8), (9, 8), (-1, 0, 2, 2), r"got \(-1, 0, 2, 2\)"),
        (np.zeros((4, 5, 3), np.uint8), (9, 8), (0, -1, 2, 2), r"got \(0, -1, 2, 2\)"),
        (np.zeros((4, 5, 3), np.uint8), (9, 8), (5, 0, 5, 8), r"got \(5, 0, 5, 8\)"),
        (np.zeros((4, 5, 3), np.uint8), (9, 8), (0, 5, 9, 4), r"got \(0, 5, 9, 4\)"),
    ],
)
def test_bad_input_is_named(pixels: Any, size_hw: Any, crop: Any, words: str) -> None:
    """The message says what must be, what came and what to do."""
    with pytest.raises(ShapeError, match=words):
        resize_bicubic(pixels, size_hw, crop=crop)


def test_without_the_compiler() -> None:
    """As plain Python, which coverage and debuggers see, the kernel gives the same bytes."""
    subset = "layout or (window and crop5)"  # sizes that take two seconds without the compiler
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, "-k", subset],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert " passed" in run.stdout
