"""Heat maps find what the text says, and keep their shape."""

from __future__ import annotations

import numpy as np
import pytest

from clipfast.datasets.fabricworld import render
from clipfast.errors import DataError, ShapeError
from clipfast.prompts import SURGERY
from clipfast.runtime.clip import Clip
from clipfast.similarity import cosine_map, feature_surgery
from clipfast.surgery import FROM_ONE_FORWARD, Path, heatmaps
from clipfast.surgery.heatmap import resize_maps, unit_range
from clipfast.types import Floats, Pixels


def test_a_map_for_every_image_and_text(mini: Clip, photo: Pixels) -> None:
    """(n, t, h, w), on the patch grid or at the size asked for."""
    assert heatmaps(mini, [photo, photo], ["denim", "linen", "lace"]).shape == (2, 3, 14, 14)
    assert heatmaps(mini, photo, "denim", size_hw=(30, 50)).shape == (1, 1, 30, 50)


@pytest.mark.parametrize("path", FROM_ONE_FORWARD)
def test_coloured_objects_are_pointed_at(mini: Clip, path: Path) -> None:
    """On fresh renders the peak of "a red star" lies in the star's box far more often than chance (about 5 %)."""
    hits, total = 0, 0
    for seed in range(900, 912):
        scene = render(seed, objects=2)
        names = [f"{thing.colour} {thing.shape}" for thing in scene.objects]
        if len(set(names)) < 2:
            continue
        for thing, heat in zip(
            scene.objects, heatmaps(mini, scene.image, names, path=path, size_hw=(224, 224))[0], strict=True
        ):
            y, x = divmod(int(heat.argmax()), 224)
            x0, y0, x1, y1 = thing.box
            hits += x0 <= x < x1 and y0 <= y < y1
            total += 1

    assert hits / total >= 0.6


def test_the_four_paths_differ(mini: Clip, photo: Pixels) -> None:
    """In the original three of the four maps were the same; here no two are."""
    maps = [heatmaps(mini, photo, ["denim", "a red star"], path=path) for path in FROM_ONE_FORWARD]

    for i, one in enumerate(maps):
        for other in maps[i + 1 :]:
            assert np.abs(one - other).max() > 1e-3


def test_each_path_is_its_definition(mini: Clip, photo: Pixels) -> None:
    """Standard is feature surgery of the value-value tokens; the others are cosines of their own stream."""
    texts = ["denim", "linen", "lace"]
    rows, dense = mini.encode_texts(texts, SURGERY), mini.encode_dense(photo)
    expected = {
        "standard": feature_surgery(dense.vv, dense.embedding, rows),
        "vv_qk": cosine_map(dense.qk, rows),
        "vv_vv": cosine_map(dense.vv, rows),
        "vv_mixed": cosine_map(dense.mixed, rows),
    }
    for path in FROM_ONE_FORWARD:
        maps = heatmaps(mini, photo, texts, path=path)

        assert np.abs(maps.reshape(1, 3, 196).transpose(0, 2, 1) - expected[path]).max() < 1e-6


def test_standard_of_several_texts_sums_to_zero(mini: Clip, photo: Pixels) -> None:
    """Feature surgery removes what the texts share."""
    assert np.abs(heatmaps(mini, photo, ["denim", "linen", "lace"]).sum(axis=1)).max() < 1e-5


def test_standard_of_one_text_is_compared_with_the_empty_text(mini: Clip, photo: Pixels) -> None:
    """A single text gives a map, not zeros."""
    assert np.ptp(heatmaps(mini, photo, ["denim"])) > 1e-3


@pytest.mark.parametrize(
    ("texts", "path", "message"),
    [([], "standard", "at least one text"), (["denim"], "vv", "standard, vv_qk, vv_vv, vv_mixed, plain.*; got 'vv'")],
)
def test_bad_questions_are_told(mini: Clip, photo: Pixels, texts: list[str], path: Path, message: str) -> None:
    """No text, and a path that does not exist."""
    with pytest.raises(DataError, match=message):
        heatmaps(mini, photo, texts, path=path)


@pytest.mark.torch
@pytest.mark.parametrize(
    ("size", "new"), [((14, 14), (224, 224)), ((7, 7), (31, 50)), ((5, 3), (2, 2)), ((1, 4), (3, 4))]
)
def test_resizing_equals_torch(size: tuple[int, int], new: tuple[int, int]) -> None:
    """Bilinear with half-pixel centres, up and down, as torch's interpolate with align_corners=False."""
    import torch

    maps = np.random.default_rng(0).normal(size=(2, 3, *size)).astype(np.float32)
    expected = torch.nn.functional.interpolate(torch.from_numpy(maps), new, mode="bilinear", align_corners=False)

    assert np.abs(resize_maps(maps, new) - expected.numpy()).max() < 1e-5


def test_sizes_must_be_positive() -> None:
    """Nothing can be resized to nothing."""
    with pytest.raises(ShapeError, match="positive"):
        resize_maps(np.zeros((1, 2, 2), np.float32), (0, 3))


def test_a_constant_map_is_zero_not_nan() -> None:
    """Min-max scaling of a flat map has no range to divide by."""
    maps: Floats = np.stack([np.full((2, 2), 3.0), np.arange(4.0).reshape(2, 2)]).astype(np.float32)

    assert unit_range(maps)[0].tolist() == [[0, 0], [0, 0]]
    assert unit_range(maps)[1].tolist() == [[0, pytest.approx(1 / 3)], [pytest.approx(2 / 3), 1]]
