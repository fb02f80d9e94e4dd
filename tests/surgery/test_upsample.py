"""Maps that follow the edges of their image."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from clipfast.datasets.fabricworld import render
from clipfast.errors import DataError, ShapeError
from clipfast.kernels.filters import luminance
from clipfast.kernels.guided import guided_filter
from clipfast.runtime.clip import Clip
from clipfast.surgery import EdgeAware, MapOptions, Windows, edge_aware, heatmaps, resize_maps
from clipfast.surgery.geometry import GeometryName
from clipfast.surgery.upsample import sample_maps
from clipfast.types import Floats, Pixels

noise = np.random.default_rng(0)
MAPS: Floats = noise.random((2, 3, 20, 30), np.float32)
IMAGE: Pixels = noise.integers(0, 256, (20, 30, 3), dtype=np.uint8)


def test_it_is_the_guided_filter_of_the_image() -> None:
    """Luminance or colour in [0, 1] guides; the radius is a patch if none is named."""
    grey: Floats = luminance(IMAGE) / np.float32(255)
    colour: Floats = IMAGE.astype(np.float32) / np.float32(255)

    assert (edge_aware(MAPS, IMAGE, EdgeAware(), patch=3.6) == guided_filter(MAPS, colour, radius=4)).all()
    assert (
        edge_aware(MAPS, IMAGE, EdgeAware(radius=2, eps=0.1)) == guided_filter(MAPS, colour, radius=2, eps=0.1)
    ).all()
    assert (edge_aware(MAPS, IMAGE, EdgeAware(guide="luminance")) == guided_filter(MAPS, grey, radius=1)).all()


def test_constant_maps_stay_constant() -> None:
    """Whatever the image shows."""
    assert (edge_aware(np.full((20, 30), 0.3, np.float32), IMAGE, EdgeAware(), patch=4) == np.float32(0.3)).all()


def test_what_was_not_seen_stays_so() -> None:
    """Beside a centre crop there is no value, and the part that was seen is filtered as if it were all."""
    maps = MAPS.copy()
    maps[..., :5] = maps[..., 25:] = np.nan
    found = edge_aware(maps, IMAGE, EdgeAware(radius=2))

    assert np.isnan(found[..., :5]).all()
    assert np.isnan(found[..., 25:]).all()
    assert (found[..., 5:25] == edge_aware(MAPS[..., 5:25], IMAGE[:, 5:25], EdgeAware(radius=2))).all()
    assert np.isnan(edge_aware(np.full((20, 30), np.nan, np.float32), IMAGE, EdgeAware())).all()


@pytest.mark.parametrize(
    ("geometry", "windows"),
    [
        (None, None), ("squash", None), ("letterbox", None), ("centre_crop", None),
        (None, Windows(side=60)), ("squash", Windows(side=60)), ("letterbox", Windows(side=90)),
    ],
)  # fmt: skip
def test_heat_maps_follow_edges_in_every_view(
    mini: Clip, photo: Pixels, geometry: GeometryName | None, windows: Windows | None
) -> None:
    """The same maps, filtered by the image that they cover."""
    size, texts = (60, 80), ["denim", "lace"]
    options = MapOptions(geometry=geometry, windows=windows)
    smooth = heatmaps(mini, photo, texts, "vv_vv", size, options)
    sharp = heatmaps(mini, photo, texts, "vv_vv", size, replace(options, edge_aware=EdgeAware(radius=3)))
    if geometry is not None or windows is not None:
        from clipfast.surgery.geometry import scaled_rgb

        expected = edge_aware(smooth, scaled_rgb(photo, size), EdgeAware(radius=3))
        np.testing.assert_allclose(sharp, expected, atol=1e-6)
    assert sharp.shape == (1, 2, *size)
    assert (np.isnan(sharp) == np.isnan(smooth)).all()
    assert np.nanmax(np.abs(sharp - smooth)) > 1e-4


def test_objects_are_cut_out_better_along_their_edges(mini: Clip) -> None:
    """On rendered objects, the best overlap of any threshold with the object's own mask grows on average."""
    gains = []
    for seed in (900, 901, 903, 905, 907, 909):
        scene = render(seed, objects=1, camera="plain")
        thing, mask = f"{scene.objects[0].colour} {scene.objects[0].shape}", scene.object_mask > 0
        best = []
        for edges in (None, EdgeAware()):
            heat = heatmaps(mini, scene.image, [thing], "vv_vv", (224, 224), MapOptions(edge_aware=edges))[0, 0]
            cuts = np.quantile(heat, np.linspace(0.5, 0.99, 40))
            best.append(max(((heat >= cut) & mask).sum() / ((heat >= cut) | mask).sum() for cut in cuts))
        gains.append(best[1] - best[0])

    assert np.mean(gains) > 0


def test_sampling_between_cells() -> None:
    """Middles give the cells, edges between them their mean, and beyond the outer middles nothing changes any more."""
    maps = np.array([[1, 2], [3, 4]], np.float32)

    assert sample_maps(maps, np.array([0.5, 1.0, 1.5]), np.array([0.0, 1.0, 5.0])).tolist() == [
        [1, 1.5, 2], [2, 2.5, 3], [3, 3.5, 4]
    ]  # fmt: skip
    assert (resize_maps(maps, (2, 2)) == maps).all()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: EdgeAware(guide="grey"), DataError, "luminance"),  # type: ignore[arg-type]  # wrong on purpose
        (lambda: EdgeAware(radius=0), ShapeError, "radius must be a whole number of 1 or more"),
        (lambda: EdgeAware(eps=0), ShapeError, "eps must be a number of 1e-06 or more"),
        (lambda: edge_aware(MAPS, IMAGE[:9], EdgeAware()), ShapeError, r"\(20, 30, 3\) for these maps"),
        (lambda: sample_maps(np.zeros((0, 4), np.float32), np.zeros(1), np.zeros(1)), ShapeError, "not empty"),
    ],
)
def test_what_cannot_be_done_is_refused(call: Any, error: type[Exception], message: str) -> None:
    """Options and sizes are told with what came."""
    with pytest.raises(error, match=message):
        call()


def test_edges_need_a_size(mini: Clip, photo: Pixels) -> None:
    """On the patch grid there are none."""
    with pytest.raises(DataError, match="say size_hw"):
        heatmaps(mini, photo, ["denim"], options=MapOptions(edge_aware=EdgeAware()))
