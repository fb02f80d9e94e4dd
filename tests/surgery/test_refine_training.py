"""Refiners of a whole split: learned from training images, for one model and path, in the boxes that are scored."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from clipfast.datasets.box_records import BoxSet
from clipfast.datasets.box_samples import read_boxes
from clipfast.errors import DataError, FingerprintError
from clipfast.prompts import PLAIN
from clipfast.runtime.clip import Clip
from clipfast.surgery import BoxRefiner, MapOptions
from clipfast.surgery.evaluate import evaluate_localisation
from clipfast.surgery.localise_options import LocaliseOptions
from clipfast.surgery.refine_training import fit_refiners

OPTIONS = LocaliseOptions(
    paths=("standard", "vv_vv"), maps=MapOptions(geometry="squash", templates=PLAIN), percentile=85
)


@pytest.fixture(scope="module")
def scored() -> BoxSet:
    """Twelve pictures of the test split, each once rendered."""
    data = read_boxes("fabricworld", "", limit=12)
    return replace(data, samples=list(data.samples))


@pytest.fixture(scope="module")
def refiners(mini: Clip) -> dict[str, BoxRefiner]:
    """Learned from sixty pictures of the training split."""
    return fit_refiners(mini, read_boxes("fabricworld", "", split="train", limit=60), OPTIONS)


def test_one_for_each_path_that_helps_where_it_has_not_seen(refiners: dict[str, BoxRefiner]) -> None:
    """By cross-validation on its own images."""
    assert set(refiners) == {"standard", "vv_vv"}
    for path, refiner in refiners.items():
        assert refiner.path == path
        assert refiner.pairs >= 50
        assert refiner.iou_after > refiner.iou_before


def test_scored_boxes_move_and_nothing_else(mini: Clip, scored: BoxSet, refiners: dict[str, BoxRefiner]) -> None:
    """The quality table stays; a path without a refiner keeps its boxes; fits get better on other pictures."""
    plain = evaluate_localisation(mini, scored, OPTIONS)
    refined = evaluate_localisation(mini, scored, OPTIONS, refiners={"vv_vv": refiners["vv_vv"]})
    for path in OPTIONS.paths:
        assert (plain.paths[path].truth_iou == refined.paths[path].truth_iou).all()
        assert (plain.paths[path].fit["peak_iou"] == refined.paths[path].fit["peak_iou"]).all()
        assert (plain.paths[path].detections.scores == refined.paths[path].detections.scores).all()

    assert (plain.paths["standard"].detections.boxes == refined.paths["standard"].detections.boxes).all()
    moved = plain.paths["vv_vv"].detections.boxes != refined.paths["vv_vv"].detections.boxes
    assert moved.any(axis=1).mean() > 0.9
    assert refined.paths["vv_vv"].fit["box_iou"].sum() > plain.paths["vv_vv"].fit["box_iou"].sum()


def test_progress_is_told(mini: Clip) -> None:
    """Image by image; too few boxes are an error that names the path."""
    seen: list[tuple[int, int]] = []
    few = read_boxes("fabricworld", "", split="train", limit=2)
    with pytest.raises(DataError, match=r"no refiner of standard: A refiner needs 50 boxes .* on 20 maps"):
        fit_refiners(mini, few, OPTIONS, progress=lambda done, total: seen.append((done, total)))

    assert seen == [(1, 2), (2, 2)]


def test_a_refiner_of_another_model_or_path_is_refused(
    mini: Clip, scored: BoxSet, refiners: dict[str, BoxRefiner]
) -> None:
    """Before an image is read."""
    with pytest.raises(FingerprintError, match=r"fitted for vv_vv maps\. Fit one for standard"):
        evaluate_localisation(mini, scored, OPTIONS, refiners={"standard": refiners["vv_vv"]})
    stranger = replace(refiners["vv_vv"], fingerprint="0" * 64)
    with pytest.raises(FingerprintError, match="The refiner of vv_vv"):
        evaluate_localisation(mini, scored, OPTIONS, refiners={"vv_vv": stranger})


def test_nothing_depends_on_threads(mini: Clip, refiners: dict[str, BoxRefiner]) -> None:
    """The same images give the same weights, to the last bit."""
    again = fit_refiners(mini, read_boxes("fabricworld", "", split="train", limit=60), OPTIONS)

    assert np.array_equal(again["vv_vv"].weights, refiners["vv_vv"].weights)
