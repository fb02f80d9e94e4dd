"""Tests of clipfast.anomaly.maps and clipfast.anomaly.branches."""

from __future__ import annotations

import numpy as np
import pytest

from clipfast.anomaly.branches import BranchMaps, BranchScores, contrast_of
from clipfast.anomaly.maps import at_size
from clipfast.errors import ShapeError
from reference.naive_anomaly import gaussian_blur


@pytest.mark.parametrize("sigma", [0.6, 1.0, 4.0])
def test_the_blur_is_that_of_the_definition_and_of_scipy(sigma: float) -> None:
    """At the maps' own size only the blur is left; with 4 the Gaussian is wider than the picture."""
    ndimage = pytest.importorskip("scipy.ndimage")
    picture = np.random.default_rng(0).normal(size=(9, 13)).astype(np.float32)
    found = at_size(picture[None], (9, 13), sigma)[0]

    np.testing.assert_allclose(found, ndimage.gaussian_filter(picture, sigma), atol=1e-5)
    if 4 * sigma < 9:
        np.testing.assert_allclose(found, gaussian_blur(picture, sigma), atol=1e-5)


def test_scaling_is_torchs_bilinear() -> None:
    """Half-pixel centres, edges repeated."""
    torch = pytest.importorskip("torch")
    maps = np.random.default_rng(1).normal(size=(2, 5, 7)).astype(np.float32)
    theirs = torch.nn.functional.interpolate(torch.from_numpy(maps)[None], size=(12, 20), mode="bilinear")[0].numpy()

    np.testing.assert_allclose(at_size(maps, (12, 20)), theirs, atol=1e-5)


def test_one_cell_becomes_a_flat_map() -> None:
    """A grid of one patch has nothing to interpolate."""
    assert np.allclose(at_size(np.full((1, 1, 1), 3, np.float32), (5, 4), 2.0), 3)


def test_contrast_is_how_far_the_highest_patch_stands_out() -> None:
    """Median 3, deviation 1.4826 * 1; a flat map has none; half flat takes the mean deviation."""
    maps = np.array([[[1, 2, 3, 4, 10]], [[2, 2, 2, 2, 2]], [[2, 2, 2, 2, 7]]], np.float32)

    np.testing.assert_allclose(contrast_of(maps), [7 / 1.4826, 0, 5], atol=1e-5)


def test_parts_are_joined_and_taken() -> None:
    """Joining and taking are each other's opposite."""
    maps = np.random.default_rng(0).normal(size=(4, 2, 2)).astype(np.float32)
    scores = BranchScores.of(maps.max(axis=(1, 2)), maps)
    whole = BranchMaps(scores, scores)
    again = BranchMaps.joined([whole.taken(np.array([0, 1])), whole.taken(np.array([2, 3]))])

    assert again.semantic is not None
    assert np.array_equal(again.semantic.pixel, maps)
    assert len(again) == 4
    with pytest.raises(ShapeError, match="or none of them"):
        BranchMaps.joined([whole, BranchMaps(None, scores)])


@pytest.mark.parametrize(
    ("size_hw", "sigma"),
    [((0, 3), 0.0), ((4, 4), -1.0), ((4, 4), float("nan")), ((1 << 14, 1 << 14), 0.0), ((4, 4), 9.0)],
)
def test_sizes_that_cannot_be_meant(size_hw: tuple[int, int], sigma: float) -> None:
    """Nothing is allocated for them."""
    with pytest.raises(ShapeError, match="size_hw must be positive"):
        at_size(np.zeros((1, 2, 2), np.float32), size_hw, sigma)


def test_branches_of_other_shapes_are_refused() -> None:
    """Both maps have one shape."""
    one = BranchScores.of(np.zeros(1, np.float32), np.zeros((1, 2, 2), np.float32))
    other = BranchScores.of(np.zeros(1, np.float32), np.zeros((1, 3, 2), np.float32))
    with pytest.raises(ShapeError, match="one shape"):
        BranchMaps(one, other)
    with pytest.raises(ShapeError, match="a branch must have"):
        BranchScores(np.zeros(2, np.float32), np.zeros((1, 2, 2), np.float32), np.zeros(1, np.float32))
