"""Windows cover, blend and stay within memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipfast.errors import DataError, ShapeError
from clipfast.runtime.clip import Clip
from clipfast.surgery import MapOptions, Windows, heatmaps, window_boxes
from clipfast.surgery.geometry import squash
from clipfast.surgery.windows import Blend
from clipfast.types import DenseTokens, Floats, Images, Ints, Pixels

sides = st.integers(1, 60)


@settings(deadline=None, max_examples=150)
@given(height=sides, width=sides, side_h=sides, side_w=sides, overlap=st.sampled_from([0.0, 0.25, 0.5, 0.9]))
def test_windows_cover_every_pixel(height: int, width: int, side_h: int, side_w: int, overlap: float) -> None:
    """From edge to edge, all of one size, none outside, none twice, neighbours overlapping as asked."""
    boxes = window_boxes((height, width), (side_h, side_w), overlap)
    seen = np.zeros((height, width), np.int64)
    for left, top, right, bottom in boxes:
        seen[top:bottom, left:right] += 1
    side = min(side_w, width)

    assert (seen > 0).all()
    assert ((boxes[:, 2] - boxes[:, 0]) == side).all()
    assert (boxes >= 0).all()
    assert (boxes[:, 2] <= width).all()
    assert len(np.unique(boxes, axis=0)) == len(boxes)
    steps = np.diff(np.unique(boxes[:, 0]))
    assert (steps <= max(1, int(side * (1 - overlap)))).all()


@settings(deadline=None, max_examples=100)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    side=st.integers(1, 50),
    out_h=st.integers(1, 50),
    out_w=st.integers(1, 50),
    overlap=st.sampled_from([0.0, 0.5]),
)
def test_blended_constants_stay_constant(
    height: int, width: int, side: int, out_h: int, out_w: int, overlap: float
) -> None:
    """At any resolution of the map, finer or coarser than the windows: weights are positive and divided out."""
    boxes = window_boxes((height, width), (side, side), overlap)
    blend = Blend((height, width), 2, (out_h, out_w))
    plan = squash((min(side, height), min(side, width)), (8, 8))
    for box in boxes:
        blend.add(box, plan, np.stack([np.full((4, 4), 3.0), np.full((4, 4), -1.0)]).astype(np.float32))
    found = blend.result()

    assert found.shape == (2, out_h, out_w)
    np.testing.assert_allclose(found[0], 3, rtol=1e-5)
    np.testing.assert_allclose(found[1], -1, rtol=1e-5)


def test_blending_equals_its_definition() -> None:
    """Pixel by pixel: the mean of all windows that hold it, weighted by the raised cosine of its place in each."""
    height, width, side = 10, 13, 6
    boxes = window_boxes((height, width), (side, side), 0.5)
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(len(boxes), 1, 3, 3)).astype(np.float32)
    plan = squash((side, side), (24, 24))
    blend = Blend((height, width), 1, (height, width))
    for box, each in zip(boxes, maps, strict=True):
        blend.add(box, plan, each)
    expected = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            total = weight = 0.0
            for (left, top, right, bottom), each in zip(boxes, maps, strict=True):
                if left <= x < right and top <= y < bottom:
                    share = [(at + 0.5 - start) / side for at, start in ((y, top), (x, left))]
                    one = float(np.prod([1e-3 + (1 - 1e-3) * np.sin(np.pi * s) ** 2 for s in share]))
                    total += one * float(plan.maps_to_image(each)[0, y - top, x - left])
                    weight += one
            expected[y, x] = total / weight

    np.testing.assert_allclose(blend.result()[0], expected, atol=1e-5)


@pytest.mark.parametrize("size_hw", [(224, 224), (100, 160), (64, 64)])  # the model's size, and smaller than a window
def test_one_window_is_the_single_map(mini: Clip, size_hw: tuple[int, int]) -> None:
    """An image that one window covers has the map it has without windows."""
    image = np.random.default_rng(0).integers(0, 256, (*size_hw, 3), dtype=np.uint8)
    texts = ["denim", "a red star"]
    whole = heatmaps(mini, image, texts, "vv_vv", size_hw, MapOptions(geometry="squash"))
    windows = heatmaps(mini, image, texts, "vv_vv", size_hw, MapOptions(windows=Windows()))

    np.testing.assert_allclose(windows, whole, atol=2e-5)


def test_windows_find_what_is_too_small_for_the_whole(mini: Clip) -> None:
    """A small star in a large picture: with windows the map's peak lies on it."""
    from clipfast.datasets.fabricworld import render

    image = render(5, fabric="linen", colour="white", size=448).image.copy()
    scene = render(900, objects=["red star"], size=224)
    left, top, right, bottom = (int(edge) for edge in scene.objects[0].box)
    image[300 : 300 + bottom - top, 60 : 60 + right - left] = scene.image[top:bottom, left:right]
    maps = heatmaps(mini, image, ["red star"], "vv_vv", (448, 448), MapOptions(windows=Windows()))[0, 0]
    y, x = divmod(int(maps.argmax()), 448)

    assert 300 - 8 <= y < 300 + bottom - top + 8
    assert 60 - 8 <= x < 60 + right - left + 8


def test_batches_of_windows_do_not_show(mini: Clip) -> None:
    """One window at a time, or all together."""
    image = np.random.default_rng(1).integers(0, 256, (300, 280, 3), dtype=np.uint8)
    maps = [
        heatmaps(mini, image, ["denim", "lace"], "standard", (60, 56), MapOptions(windows=Windows(), batch_size=size))
        for size in (1, 32)
    ]

    assert np.abs(maps[0] - maps[1]).max() < 1e-5


def test_no_forward_is_larger_than_a_batch(mini: Clip) -> None:
    """However many windows there are, only so many are in work at a time."""
    sizes = []

    class Watched:
        manifest, exif, max_pixels = mini.manifest, mini.exif, mini.max_pixels
        encode_texts, encode_images = staticmethod(mini.encode_texts), staticmethod(mini.encode_images)
        encode_presets, fingerprint = staticmethod(mini.encode_presets), staticmethod(mini.fingerprint)

        def encode_dense(self, images: Images, alpha: float = 0.5) -> DenseTokens:
            sizes.append(len(np.asarray(images)))
            return mini.encode_dense(images, alpha)

    image = np.random.default_rng(1).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    heatmaps(Watched(), image, ["denim"], "vv_vv", (50, 50), MapOptions(windows=Windows(side=80), batch_size=4))

    assert sum(sizes) == len(window_boxes((200, 200), (80, 80), 0.5)) == 16
    assert max(sizes) == 4


def test_scales_are_averaged(mini: Clip, photo: Pixels) -> None:
    """The mean of the maps of each window size, by the weights given."""
    size = photo.shape[0], photo.shape[1]

    def ask(options: MapOptions) -> Floats:
        return heatmaps(mini, photo, ["denim"], "vv_vv", size, options)

    one, two = (ask(MapOptions(windows=Windows(side=side))) for side in (120, 60))
    both = ask(MapOptions(scales=(1, 2), scale_weights=(1, 3)))

    np.testing.assert_allclose(both, 0.25 * one + 0.75 * two, atol=1e-5)
    np.testing.assert_allclose(ask(MapOptions(scales=(1,))), one, atol=1e-5)


def test_several_images_of_different_sizes(mini: Clip, photo: Pixels) -> None:
    """Each is cut by its own size; the maps have the size asked for."""
    images = [photo, photo[:90, :50]]
    options = MapOptions(windows=Windows(side=80))
    together = heatmaps(mini, images, ["denim"], "vv_vv", (40, 30), options)
    alone = [heatmaps(mini, image, ["denim"], "vv_vv", (40, 30), options) for image in images]

    np.testing.assert_allclose(together, np.concatenate(alone), atol=1e-5)


def test_a_pixel_without_a_window_is_told() -> None:
    """A blend that is not finished has no result."""
    blend = Blend((4, 4), 1, (4, 4))
    blend.add(np.array([0, 0, 2, 4]), squash((4, 2), (8, 8)), np.ones((1, 2, 2), np.float32))

    with pytest.raises(ShapeError, match="cover every pixel"):
        blend.result()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Windows(side=0), ShapeError, "side must be a whole number of 1 or more; got 0"),
        (lambda: Windows(overlap=0.95), ShapeError, "overlap must be a number from 0 to 0.9; got 0.95"),
        (lambda: window_boxes((0, 4), (2, 2)), ShapeError, "positive"),
        (lambda: window_boxes((4000, 4000), (2, 2)), ShapeError, "at most 10,000"),
        (lambda: Blend((4, 4), 1, (0, 4)), ShapeError, "positive"),
        (lambda: MapOptions(windows=Windows(side=9), scales=(1,)), DataError, "choose one"),
        (lambda: MapOptions(windows=Windows(), geometry="centre_crop"), DataError, "not centre_crop"),
        (lambda: MapOptions(scales=(0.5,)), ShapeError, "scales must be a list of numbers from 1 to 32"),
        (lambda: MapOptions(scales=(1, 2), scale_weights=(1,)), ShapeError, "scale_weights must be 2 numbers above 0"),
        (lambda: MapOptions(scales=(1, 2), scale_weights=(1, -1)), ShapeError, "2 numbers above 0"),
    ],
)
def test_what_makes_no_windows_is_refused(call: Any, error: type[Exception], message: str) -> None:
    """Numbers out of range, and options that exclude each other."""
    with pytest.raises(error, match=message):
        call()


def test_windows_need_a_size(mini: Clip, photo: Pixels) -> None:
    """They have no patch grid of their own."""
    with pytest.raises(DataError, match="say size_hw"):
        heatmaps(mini, photo, ["denim"], options=MapOptions(windows=Windows()))


def test_boxes_are_in_reading_order() -> None:
    """Row by row, as patches are."""
    boxes: Ints = window_boxes((20, 20), (10, 10), 0.0)

    assert boxes.tolist() == [[0, 0, 10, 10], [10, 0, 20, 10], [0, 10, 10, 20], [10, 10, 20, 20]]
