"""Tuning tries every setting, and what it says of one is what an evaluation with that setting says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clipfast.datasets.box_records import BoxSet
from clipfast.datasets.box_samples import read_boxes
from clipfast.errors import DataError
from clipfast.metrics.detection import voc_average_precision_score
from clipfast.runtime.clip import Clip
from clipfast.surgery.evaluate import evaluate_localisation
from clipfast.surgery.localise_options import LocaliseOptions
from clipfast.surgery.tuning import SearchSpace, tune

SPACE = SearchSpace(percentiles=(85, 95), geometries=("squash", "letterbox"), morphologies=("none",), min_sizes=(1, 12))
OPTIONS = LocaliseOptions(paths=("vv_qk", "vv_vv"))


@pytest.fixture(scope="module")
def training() -> BoxSet:
    """Three rendered pictures."""
    return read_boxes("fabricworld", "", split="train", limit=3)


def test_every_setting_is_tried_and_the_best_is_as_good_as_said(mini: Clip, training: BoxSet) -> None:
    """Evaluated with what was chosen, the same images have the mAP that the tuning says."""
    steps: list[tuple[int, int]] = []
    found = tune(mini, training, OPTIONS, SPACE, progress=lambda done, total: steps.append((done, total)))
    chosen = found.chosen.applied(OPTIONS)
    records = evaluate_localisation(mini, training, chosen)
    again = voc_average_precision_score(
        records.truths, records.paths[found.chosen.path].detections, iou_thresholds=OPTIONS.iou_thresholds
    )

    # Two paths and geometries; 2 percentiles x 2 sizes and 2 sizes of `multi`; the settings it began with in squash.
    assert found.tried == 2 * 2 * (2 * 2 + 2) + 2
    assert steps[-1] == (6, 6)
    assert found.best == pytest.approx(again.mean, abs=1e-9)
    assert found.best >= found.default
    assert [value for _, value in found.ranking] == sorted((value for _, value in found.ranking), reverse=True)
    assert found.ranking[0] == (found.chosen, found.best)


def test_the_default_is_measured_as_the_evaluation_measures_it(mini: Clip, training: BoxSet) -> None:
    """Also where its geometry is not among those tried."""
    cropped = replace(OPTIONS, maps=replace(OPTIONS.maps, geometry="centre_crop"))
    found = tune(mini, training, cropped, replace(SPACE, geometries=("squash",)))
    records = evaluate_localisation(mini, training, cropped)
    each = [
        voc_average_precision_score(records.truths, held.detections, iou_thresholds=OPTIONS.iou_thresholds).mean
        for held in records.paths.values()
    ]

    assert found.default == pytest.approx(max(each), abs=1e-9)


def test_it_is_said_in_plain_values(mini: Clip, training: BoxSet) -> None:
    """For the result file."""
    found = tune(mini, training, OPTIONS, replace(SPACE, geometries=("squash",))).as_json("split train")

    assert found["source"] == "split train"
    assert found["chosen"].items() <= found["ranking"][0].items()


def test_nothing_to_tune_on(mini: Clip, training: BoxSet) -> None:
    """Images without a box that counts."""
    none = replace(training, samples=[replace(s, difficult=~s.difficult) for s in training])
    with pytest.raises(DataError, match="training images must have a box that counts"):
        tune(mini, none, OPTIONS, replace(SPACE, geometries=("squash",)))
