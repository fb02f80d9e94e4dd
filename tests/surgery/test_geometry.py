"""Plans scale as Pillow does, and find the way back exactly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from clipfast.artifact import ImageSpec
from clipfast.errors import DataError, ShapeError
from clipfast.runtime.clip import Clip
from clipfast.runtime.preprocess import preprocess
from clipfast.surgery.geometry import GEOMETRIES, GeometryName, centre_crop, fit_geometry, letterbox, squash
from clipfast.types import Pixels

NAMES = tuple(GEOMETRIES)
SPEC = ImageSpec(size_hw=(32, 32), mean=(0.5, 0.25, 1.0), std=(1.0, 1.0, 1.0))
sides = st.integers(1, 400)


def noise(*size_hw: int, seed: int = 0) -> Pixels:
    """Draw a random RGB image."""
    return np.random.default_rng(seed).integers(0, 256, (*size_hw, 3), dtype=np.uint8)


@settings(deadline=None, max_examples=150)
@given(height=sides, width=sides, model_h=sides, model_w=sides, name=st.sampled_from(NAMES), seed=st.integers(0, 99))
def test_boxes_come_back_exactly(
    height: int, width: int, model_h: int, model_w: int, name: GeometryName, seed: int
) -> None:
    """Any box of any image: to the model and back is the same box, to the last digits of a float64."""
    plan = GEOMETRIES[name]((height, width), (model_h, model_w))
    corners = np.random.default_rng(seed).random((5, 2, 2)) * (width, height)
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)

    np.testing.assert_allclose(
        plan.to_original(plan.to_model(boxes)), boxes, rtol=1e-12, atol=1e-9 * max(width, height)
    )


@settings(deadline=None, max_examples=150)
@given(height=sides, width=sides, model_h=sides, model_w=sides, name=st.sampled_from(NAMES))
def test_a_plan_fills_the_model_and_stays_in_the_image(
    height: int, width: int, model_h: int, model_w: int, name: GeometryName
) -> None:
    """The scaled image and its place give the model's size; the part that is seen is a part of the image."""
    plan = GEOMETRIES[name]((height, width), (model_h, model_w))
    left, top, right, bottom = plan.seen_xyxy

    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    if name != "centre_crop":
        assert (left, top, right, bottom) == (0, 0, width, height)
    else:
        assert plan.scaled_hw[0] >= model_h
        assert plan.scaled_hw[1] >= model_w
    if name == "letterbox":
        assert plan.scaled_hw[0] == model_h or plan.scaled_hw[1] == model_w
        assert (np.array(plan.scaled_hw) <= (model_h, model_w)).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size_hw", [(64, 64), (40, 90), (97, 33), (500, 301)])
def test_coordinates_are_where_pixels_really_go(name: GeometryName, size_hw: tuple[int, int]) -> None:
    """A brightness that grows with x (or y) is read back at every model pixel's middle: no half-pixel is lost."""
    plan = GEOMETRIES[name](size_hw, (32, 32))
    for axis in (0, 1):
        ramp = (np.arange(size_hw[axis]) + 0.5) / size_hw[axis] * 200 + 20
        image = np.repeat(np.expand_dims(ramp, 1 - axis), size_hw[1 - axis], axis=1 - axis)
        seen = plan.apply(np.repeat(image[..., None], 3, axis=2).round().astype(np.uint8))[..., 0].astype(float)
        middles = np.arange(32) + 0.5
        box = plan.to_original(np.stack([middles] * 4, axis=1))[:, 1 - axis]
        expected = box / size_hw[axis] * 200 + 20
        scale = plan.scaled_hw[axis] / size_hw[axis]
        edge = 2 * max(1.0, scale)  # the filter is one-sided within its reach of the border
        start = max(plan.offset_yx[axis], 0) + edge
        stop = min(plan.offset_yx[axis] + plan.scaled_hw[axis], 32) - edge
        inner = (middles > start) & (middles < stop)
        line = seen.mean(axis=1 - axis) if max(plan.offset_yx) <= 0 else seen[:, 16] if axis == 0 else seen[16]

        assert inner.sum() >= 3
        assert np.abs(line - expected)[inner].max() <= 1.0  # two roundings to 8 bits


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size_hw", [(80, 80), (50, 120), (301, 77)])
def test_maps_and_boxes_agree(name: GeometryName, size_hw: tuple[int, int]) -> None:
    """The brightest pixel of a map spread over the image is where its cell's box is sent."""
    plan = GEOMETRIES[name](size_hw, (64, 64))
    for row, column in [(3, 3), (4, 3), (3, 4)]:  # seen whole by every plan
        grid = np.zeros((1, 8, 8), np.float32)
        grid[0, row, column] = 1
        box = plan.to_original([8 * column, 8 * row, 8 * column + 8, 8 * row + 8])
        spread = plan.maps_to_image(grid)[0]
        y, x = divmod(int(np.nanargmax(spread)), size_hw[1])
        middle = (box[:2] + box[2:]) / 2

        assert spread.shape == size_hw
        assert abs(x + 0.5 - middle[0]) <= 0.5 + 1e-9
        assert abs(y + 0.5 - middle[1]) <= 0.5 + 1e-9


def test_bars_are_cut_off_and_crops_are_not_made_up() -> None:
    """A letterbox gives a value to all of the image and none to its bars; a centre crop leaves what it did not see."""
    grid = np.full((2, 4, 4), 7.0, np.float32)
    grid[:, [0, -1]] = -1  # the rows of the bars
    boxed = letterbox((16, 32), (32, 32)).maps_to_image(grid, (16, 32))
    cropped = centre_crop((16, 32), (32, 32))
    seen = np.isfinite(cropped.maps_to_image(grid, (16, 32)))

    assert boxed.shape == (2, 16, 32)
    assert (boxed[:, 4:12] == 7).all()
    assert np.isfinite(boxed).all()
    assert seen[:, :, 8:24].all()
    assert not seen[:, :, :8].any()
    assert not seen[:, :, 24:].any()
    assert (cropped.maps_to_image(grid, (16, 32), outside=-5.0)[:, :, 0] == -5).all()


@pytest.mark.parametrize("mode", ["RGB", "L", "LA", "RGBA", "CMYK", "P", "I;16", "1"])
@pytest.mark.parametrize("size_hw", [(60, 60), (45, 80), (90, 31)])
def test_squash_and_crop_are_the_models_own_rules(mode: str, size_hw: tuple[int, int]) -> None:
    """Grey, alpha, CMYK, palette, 16-bit and 1-bit images too: the pixels that `preprocess` gives."""
    image = Image.fromarray(noise(*size_hw))
    image = Image.fromarray(noise(*size_hw)[..., 0].astype(np.uint16) * 256) if mode == "I;16" else image.convert(mode)
    squashed = ImageSpec(size_hw=(32, 32), mean=SPEC.mean, std=SPEC.std, resize="squash")

    assert (squash(size_hw, (32, 32)).apply(image) == preprocess(image, squashed)).all()
    assert (centre_crop(size_hw, (32, 32)).apply(image) == preprocess(image, SPEC)).all()
    assert letterbox(size_hw, (32, 32)).apply(image).shape == (32, 32, 3)


def test_a_letterbox_is_the_scaled_image_between_bars() -> None:
    """The image's pixels are those of scaling it alone, the bars have the model's mean colour."""
    image = noise(20, 60)
    framed = fit_geometry("letterbox", (20, 60), SPEC).apply(image)
    rows = slice(10, 21)  # 11 of 32 rows: 20 * 32 / 60 rounded

    assert (framed[rows] == np.asarray(Image.fromarray(image).resize((32, 11), Image.Resampling.BICUBIC))).all()
    assert (framed[:10] == (128, 64, 255)).all()
    assert (framed[21:] == (128, 64, 255)).all()


@pytest.mark.parametrize("size_hw", [(31, 32), (32, 31)])  # one pixel short: the bar is on one side only
def test_a_bar_of_one_pixel(size_hw: tuple[int, int]) -> None:
    """Nothing is scaled, nothing is cropped."""
    framed = letterbox(size_hw, (32, 32)).apply(noise(*size_hw))

    assert (framed[: size_hw[0], : size_hw[1]] == noise(*size_hw)).all()


@pytest.mark.parametrize("name", NAMES)
def test_an_image_of_the_models_size_passes_unchanged(mini: Clip, name: GeometryName) -> None:
    """By every plan and by the model's own preprocessing."""
    image = noise(224, 224)
    plan = fit_geometry(name, (224, 224), mini.manifest.image)

    assert (plan.apply(image) == image).all()
    assert (preprocess(plan.apply(image), mini.manifest.image) == image).all()
    assert plan.to_model([3, 4, 5, 6]).tolist() == [3, 4, 5, 6]


@pytest.mark.parametrize("name", NAMES)
def test_the_model_sees_what_the_plan_made(mini: Clip, name: GeometryName) -> None:
    """The square that a plan gives goes through the model's preprocessing as it is."""
    framed = GEOMETRIES[name]((130, 311), (224, 224)).apply(noise(130, 311))

    assert (preprocess(framed, mini.manifest.image) == framed).all()
    if name == "centre_crop":  # what mini does by itself
        assert (preprocess(noise(130, 311), mini.manifest.image) == framed).all()


def test_boxes_are_cut_off_at_the_images_border() -> None:
    """A box that reaches into a bar ends with the image; one from outside of a crop keeps its place."""
    boxed, cropped = letterbox((100, 200), (224, 224)), centre_crop((100, 200), (100, 100))

    assert boxed.to_original([0, 0, 224, 224]).tolist() == [0, 0, 200, 100]
    assert cropped.to_model([0, 0, 60, 100]).tolist() == [-50, 0, 10, 100]
    assert boxed.to_original(np.zeros((0, 4))).shape == (0, 4)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: squash((0, 4), (8, 8)), ShapeError, r"positive; got \(0, 4\)"),
        (lambda: letterbox((4, 4), (8, 0)), ShapeError, "positive"),
        (lambda: fit_geometry("fit", (4, 4), SPEC), DataError, "squash, centre_crop, letterbox; got 'fit'"),  # type: ignore[arg-type]  # wrong on purpose
        (lambda: squash((4, 6), (8, 8)).apply(noise(6, 4)), ShapeError, r"\(4, 6\) .*; got \(6, 4\)"),
        (lambda: squash((4, 6), (8, 8)).to_model([1, 2, 3]), ShapeError, r"\(\.\.\., 4\)"),
        (lambda: squash((4, 6), (8, 8)).to_original([[1, 2, 3, 4], [1]]), ShapeError, "ragged"),
        (lambda: squash((4, 6), (8, 8)).to_original([["a"] * 4]), ShapeError, "numbers"),
        (lambda: squash((4, 6), (8, 8)).maps_to_image(np.zeros((2, 2), np.float32), (0, 1)), ShapeError, "positive"),
        (lambda: squash((4, 6), (8, 8)).maps_to_image(np.zeros(2, np.float32)), ShapeError, "maps must be"),
    ],
)
def test_what_cannot_be_planned_is_refused(call: Any, error: type[Exception], message: str) -> None:
    """Sizes, names, boxes and maps are told with what came."""
    with pytest.raises(error, match=message):
        call()
