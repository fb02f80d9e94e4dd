"""Tests of clipfast.kernels.distance."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from clipfast.datasets.fabricworld import render
from clipfast.errors import ShapeError
from clipfast.kernels.distance import greedy_coreset
from clipfast.types import Floats
from reference.naive_anomaly import coreset as naive_coreset


def clustered(rows: int, channels: int, seed: int) -> Floats:
    """Small integers around a few centres: every square and sum is exact in float32."""
    rng = np.random.default_rng(seed)
    centres = rng.integers(-60, 60, (5, channels))
    return (centres[rng.integers(5, size=rows)] + rng.integers(-4, 5, (rows, channels))).astype(np.float32)


@pytest.mark.parametrize(
    ("rows", "channels", "size"),
    [
        (1, 1, 1),  # nothing to choose
        (15, 3, 15),  # every row, one tile that is not full
        (16, 4, 5),  # one full tile
        (70, 33, 40),  # parts of channels that do not divide
        (300, 70, 120),  # beyond the first cycle of the triangle inequality
    ],
)
def test_the_picks_are_those_of_the_definition(rows: int, channels: int, size: int) -> None:
    """On exact numbers every pick and the radius equal the naive twin's."""
    features = clustered(rows, channels, seed=rows)
    found = greedy_coreset(features, size, first=rows // 2)
    picks, radius = naive_coreset(features, size, rows // 2)

    assert found.indices.tolist() == picks
    assert found.radius == pytest.approx(radius, rel=1e-6)


def test_work_is_left_out_and_nothing_changes() -> None:
    """On clustered rows most distances are never looked at, and picks are those of the definition."""
    features = clustered(300, 12, seed=1)
    found = greedy_coreset(features, 120, first=3)

    assert found.evaluated < 0.85
    assert found.indices.tolist() == naive_coreset(features, 120, 3)[0]


def test_rows_that_are_equal_are_picked_once_each() -> None:
    """With nothing but copies, the lowest indices are taken, none twice."""
    found = greedy_coreset(np.ones((20, 3), np.float32), 5, first=7)

    assert found.indices.tolist() == [7, 0, 1, 2, 3]
    assert found.radius == 0.0


def test_ties_go_to_the_lowest_row() -> None:
    """Two rows are equally far; the first one is picked."""
    features = np.zeros((4200, 2), np.float32)
    features[[100, 4100], 0] = 5

    assert greedy_coreset(features, 3, first=0).indices.tolist() == [0, 100, 1]


def test_going_on_from_earlier_centres() -> None:
    """Picking 30 and then 20 more from where they end gives what the naive twin picks with the first 30 as given."""
    features = clustered(150, 10, seed=5)
    earlier = features[greedy_coreset(features[:80], 30, seed=0).indices]
    found = greedy_coreset(features[80:], 20, covered=earlier)
    picks, radius = naive_coreset(features[80:], 20, None, covered=list(earlier))

    assert found.indices.tolist() == picks
    assert found.radius == pytest.approx(radius, rel=1e-6)


def test_the_seed_decides_the_first_row() -> None:
    """Equal seeds give equal picks, and some seeds others."""
    features = clustered(60, 5, seed=2)
    firsts = [int(greedy_coreset(features, 4, seed=seed).indices[0]) for seed in (0, 0, 1, 2, 3)]

    assert firsts[0] == firsts[1]
    assert len(set(firsts)) > 1


def test_picks_equal_anomalibs() -> None:
    """The same start on exact numbers: the same picks as anomalib's KCenterGreedy."""
    torch = pytest.importorskip("torch")
    sampling = pytest.importorskip("anomalib.models.components.sampling")
    features = np.unique(clustered(400, 24, seed=9), axis=0)
    # Three dimensions: anomalib then uses the rows as they are, without its random projection.
    theirs = sampling.KCenterGreedy(torch.from_numpy(features[:, :, None]), 0.25)
    torch.manual_seed(0)
    picks = theirs.select_coreset_idxs()

    assert greedy_coreset(features, len(picks), first=picks[0]).indices.tolist() == picks


def test_picks_on_patch_features_equal_anomalibs_to_the_first_tie(mini: Any) -> None:
    """Features that are not exact: the same picks until two rows are equally far to 1e-6; the radius to 1e-5."""
    torch = pytest.importorskip("torch")
    sampling = pytest.importorskip("anomalib.models.components.sampling")
    pictures = [render(500_000_040 + number).image for number in range(3)]
    patches = mini.encode_patches(pictures).features[5].reshape(-1, mini.manifest.model.width)
    features = np.ascontiguousarray(patches / np.linalg.norm(patches, axis=1, keepdims=True))
    torch.manual_seed(1)
    theirs = sampling.KCenterGreedy(torch.from_numpy(features[:, :, None]), 0.2).select_coreset_idxs()
    ours = greedy_coreset(features, len(theirs), first=theirs[0])

    exact = features.astype(np.float64)
    distances = np.linalg.norm(exact[:, None] - exact[None, theirs], axis=2)
    differing = [i for i, (one, other) in enumerate(zip(ours.indices, theirs, strict=True)) if one != other]
    if differing:
        nearest = distances[:, : differing[0]].min(axis=1)
        assert abs(nearest[ours.indices[differing[0]]] - nearest[theirs[differing[0]]]) < 1e-6
    assert ours.radius == pytest.approx(distances.min(axis=1).max(), abs=1e-5)


@pytest.mark.parametrize(
    ("features", "arguments", "message"),
    [
        (np.zeros((3, 2), np.float32), {"size": 4}, "size must be 1 to 3"),
        (np.zeros((3, 2), np.float32), {"size": 0}, "size must be 1 to 3"),
        (np.zeros((3, 2), np.float32), {"size": 1, "first": 3}, "first must be a row, 0 to 2"),
        (np.zeros((0, 2), np.float32), {"size": 1}, "one at least"),
        (np.zeros(3, np.float32), {"size": 1}, "must be rows"),
        (np.zeros((3, 2)), {"size": 1}, "must be float32"),
        (np.full((3, 2), np.nan, np.float32), {"size": 1}, "must be finite"),
        (np.zeros((3, 2), np.float32), {"size": 1, "covered": np.zeros((1, 3), np.float32)}, "like features"),
    ],
)
def test_bad_input_is_named(features: Any, arguments: dict[str, Any], message: str) -> None:
    """Each fault has its sentence."""
    with pytest.raises(ShapeError, match=message):
        greedy_coreset(features, **arguments)
