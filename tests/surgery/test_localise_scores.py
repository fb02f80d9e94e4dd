"""Figures of known maps: perfect, inverted, constant; intervals, comparisons, undefined figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clipfast.datasets.box_records import BoxSample, BoxSet, Doubles
from clipfast.kernels import box_iou
from clipfast.surgery.diagnosis import diagnose
from clipfast.surgery.localise_options import LocaliseOptions
from clipfast.surgery.localise_scores import score_records
from clipfast.surgery.quality import activated_shares, best_overlaps
from reference.localise_cases import dataset, measured, sample

OPTIONS = LocaliseOptions(paths=("standard", "plain"), percentile=94, resamples=200)
PATHS = {"standard": lambda truth: truth, "plain": lambda truth: 0.2 - 0.1 * truth}


def _data(count: int = 6) -> BoxSet:
    rng = np.random.default_rng(5)
    return dataset(
        *(
            sample(f"i{at}", {("cat", "dog")[at % 2]: (x, y, x + 100, y + 75)})
            for at, (x, y) in enumerate(rng.integers(20, (280, 205), (count, 2)).tolist())
        )
    )


def test_a_true_and_an_inverted_map() -> None:
    """The one finds everything, the other nothing, and the detector says which is which."""
    records = measured(_data(), PATHS, OPTIONS)
    scores = score_records(records, OPTIONS)
    true, inverted = scores.paths["standard"], scores.paths["plain"]

    assert [row.map.value for row in true.thresholds] == [1.0, 1.0, 1.0]
    assert [row.map_eleven_point for row in true.thresholds] == [1.0, 1.0, 1.0]
    assert true.thresholds[0].by_class == {"cat": 1.0, "dog": 1.0}
    assert (true.thresholds[0].true_positives, true.thresholds[0].false_positives) == (6, 0)
    assert inverted.thresholds[2].map.value == 0.0
    assert true.response is not None
    assert inverted.response is not None
    assert (true.response.verdict, inverted.response.verdict) == ("upright", "inverted")
    assert inverted.response.inverted_share == 1.0
    assert true.response.inside_mean is not None
    assert true.response.background is not None
    assert true.response.inside_mean > 0.9
    assert true.response.background < 0.1
    assert true.response.area == pytest.approx(1 / 16, abs=0.01)
    assert true.pointing is not None
    assert inverted.pointing is not None
    assert (true.pointing.value, inverted.pointing.value) == (1.0, 0.0)
    assert [row.reached for row in true.quality if row.percentile == 94] == [6]


def test_boxes_that_are_no_matter_of_a_percentile() -> None:
    """Around the peak, the surest, and any scored box: by hand, from the records and from planted maps."""
    two = dataset(sample("a", {"cat": (40, 30, 140, 105)}), sample("b", {"cat": (200, 150, 300, 225)}))
    held = measured(two, PATHS, OPTIONS)
    scores = score_records(held, OPTIONS).paths
    true, inverted = scores["standard"].fit, scores["plain"].fit

    assert true is not None
    assert inverted is not None
    assert true.peak.value == pytest.approx(held.paths["standard"].fit["peak_iou"].mean())
    assert true.peak.value is not None
    assert true.peak.value > 0.8
    assert inverted.peak.value is not None
    assert inverted.peak.value < 0.1
    for path, fit in (("standard", true), ("plain", inverted)):
        found = held.paths[path].detections
        overlaps = [
            box_iou(found.boxes[found.images == at], held.truths.boxes[held.truths.images == at]) for at in range(2)
        ]
        assert fit.top.value == pytest.approx(np.mean([each[0, 0] if len(each) else 0.0 for each in overlaps]))
        assert fit.every.value == pytest.approx(np.mean([each.max(initial=0.0) for each in overlaps]))


def test_any_box_is_a_mean_over_ground_truths() -> None:
    """An image with two objects of a class counts twice; difficult ones do not."""
    every = BoxSample(
        "a", Path("a.png"), (300, 400), np.array([[20.0, 20, 120, 95], [250, 180, 350, 255], [0, 200, 50, 250]]),
        ("cat", "cat", "cat"), np.array([False, False, True]),
    )  # fmt: skip
    data = dataset(every, sample("b", {"cat": (40, 30, 140, 105)}))
    records = measured(data, {"standard": lambda truth: truth}, replace(OPTIONS, paths=("standard",), percentile=88))
    scores = score_records(records, replace(OPTIONS, paths=("standard",), percentile=88)).paths["standard"]

    assert records.map_truths.tolist() == [2, 1]
    assert scores.fit is not None
    sums = records.paths["standard"].fit["box_iou"]
    assert scores.fit.every.value == pytest.approx(sums.sum() / 3)
    assert sums[0] > 1


def test_shares_stay_between_0_and_1() -> None:
    """An interval of a share does not reach beyond what a share can be; that of the contrast may."""
    scores = score_records(measured(_data(), PATHS, OPTIONS), OPTIONS)
    for each in scores.paths.values():
        assert each.pointing is not None
        assert each.energy is not None
        assert each.fit is not None
        for figure in (each.pointing, each.energy, each.fit.peak, each.fit.top, each.fit.every):
            assert figure.low is not None
            assert figure.high is not None
            assert 0 <= figure.low <= figure.high <= 1
    assert scores.paths["plain"].response is not None
    assert scores.paths["plain"].response.contrast.high is not None
    assert scores.paths["plain"].response.contrast.high < 0


def test_comparisons_are_paired_and_adjusted() -> None:
    """A difference in every image has an interval without 0; Holm never lowers a p-value."""
    scores = score_records(measured(_data(), PATHS, OPTIONS), OPTIONS)
    rows = {row.metric: row for row in scores.comparisons}

    assert {"map@0.1", "map@0.3", "map@0.5", "pointing", "energy", "truth_iou@94"} <= set(rows)
    assert {"peak_iou", "top_iou", "box_iou"} <= set(rows)
    assert rows["pointing"].difference.value == 1.0
    assert rows["energy"].difference.low is not None
    assert rows["energy"].difference.low > 0
    for row in scores.comparisons:
        assert row.p_value is not None
        assert row.p_holm is not None
        assert row.p_value <= row.p_holm


def test_the_same_seed_gives_the_same_figures() -> None:
    """And another seed other intervals around the same values."""
    records = measured(_data(), PATHS, OPTIONS)
    first, again = score_records(records, OPTIONS), score_records(records, OPTIONS)
    other = score_records(records, replace(OPTIONS, seed=1))

    assert first.paths == again.paths
    assert first.comparisons == again.comparisons
    assert other.paths["standard"].energy is not None
    assert first.paths["standard"].energy is not None
    assert other.paths["standard"].energy.value == first.paths["standard"].energy.value


def test_one_image_has_figures_and_no_intervals() -> None:
    """What does not exist is None and counted."""
    scores = score_records(measured(_data(1), PATHS, OPTIONS), OPTIONS)
    first = scores.paths["standard"].thresholds[0].map

    assert (first.value, first.low, first.high) == (1.0, None, None)
    assert scores.undefined > 0
    assert scores.paths["standard"].response is not None
    assert scores.paths["standard"].response.verdict == "undecided"


def test_constant_maps_have_no_boxes_and_no_nan() -> None:
    """mAP 0, energy the share of the area."""
    paths = {"standard": np.zeros_like}
    options = replace(OPTIONS, paths=("standard",))
    scores = score_records(measured(_data(), paths, options), options).paths["standard"]

    assert [row.map.value for row in scores.thresholds] == [0.0, 0.0, 0.0]
    assert scores.boxes_per_image == 0.0
    assert scores.energy is not None
    assert scores.response is not None
    assert scores.energy.value == pytest.approx(scores.response.area)
    assert scores.response.effect is None


def test_a_class_without_ground_truth_is_left_out_of_the_mean() -> None:
    """Boxes of it are false positives of a class that has no recall."""
    data = dataset(
        sample("a", {"cat": (0, 0, 100, 75)}), sample("b", {"cat": (50, 50, 150, 125), "hard": (0, 0, 9, 9)})
    )
    options = replace(OPTIONS, paths=("standard",), all_classes=True)
    scores = score_records(measured(data, {"standard": lambda truth: truth}, options), options).paths["standard"]

    assert scores.thresholds[0].by_class["hard"] is None
    assert scores.thresholds[0].map.value == scores.thresholds[0].by_class["cat"]


# --- quality -------------------------------------------------------------------------------------------------------


def test_overlaps_by_percentile() -> None:
    """The best box of any ground truth, and the sum of each one's best; none without boxes."""
    truths = np.array([[0.0, 0, 10, 10], [20, 0, 30, 10]])
    found = [np.array([[0.0, 0, 10, 5], [20, 0, 30, 10]]), np.zeros((0, 4))]
    best, total = best_overlaps(found, truths)

    assert best.tolist() == [1.0, 0.0]
    assert total.tolist() == [1.5, 0.0]


def test_activated_shares_count_ties() -> None:
    """All pixels that equal the threshold are at or above it."""
    heat = np.array([[0.0, 1.0], [1.0, 1.0]], np.float32)

    assert activated_shares(heat, [0, 50, 100]).tolist() == [1.0, 0.75, 0.75]


# --- diagnosis -----------------------------------------------------------------------------------------------------


def _codes(options: LocaliseOptions, paths: Mapping[str, Callable[[Doubles], Doubles]], data: BoxSet) -> set[str]:
    records = measured(data, paths, options)
    return {found.code for found in diagnose(records, score_records(records, options), options)}


def test_each_finding_follows_from_its_numbers() -> None:
    """A finding appears where its cause was planted."""
    small = dataset(*(sample(f"i{at}", {"cat": (at, at, at + 15, at + 11)}) for at in range(3)))
    two = replace(OPTIONS, paths=("standard", "vv_vv"))
    true = {"standard": lambda truth: truth}
    alike = {"standard": lambda truth: truth, "vv_vv": lambda truth: truth}
    one = replace(OPTIONS, paths=("standard",))
    specks = {"standard": lambda truth: truth + (np.indices(truth.shape).sum(axis=0) % 5 == 0) * 2.0}

    assert "inverted" in _codes(OPTIONS, PATHS, _data())
    assert "same_maps" in _codes(two, alike, _data())
    assert "few_images" in _codes(one, true, _data())
    assert "few_images" not in _codes(one, true, _data(30))
    assert {"small_objects", "area_mismatch"} <= _codes(replace(one, percentile=75), true, small)
    assert "small_objects" not in _codes(one, true, _data())
    flat, wrong = {"standard": np.zeros_like}, {"standard": lambda truth: 1 - truth}
    assert {"unreachable", "inverted"} <= _codes(replace(one, percentile=75), wrong, _data())
    assert _codes(one, flat, _data()) == {"few_images", "flat_maps"}  # nothing else can be said of them
    assert "flat_maps" not in _codes(one, true, _data())
    assert "fragmented" in _codes(replace(one, percentile=75), specks, _data())


def test_rules_look_at_what_was_scored() -> None:
    """Flat maps are no two paths of one name; a percentile counts no fused boxes; a box that was found was in reach."""
    two = replace(OPTIONS, paths=("standard", "vv_vv"))
    flat = {"standard": np.zeros_like, "vv_vv": np.zeros_like}
    wrong = {"standard": lambda truth: 1 - truth}
    specks = {"standard": lambda truth: truth + (np.indices(truth.shape).sum(axis=0) % 5 == 0) * 2.0}
    one = replace(OPTIONS, paths=("standard",), percentile=75)

    assert "same_maps" not in _codes(two, flat, _data())
    assert not {"fragmented", "merged"} & _codes(replace(one, box_source="multi"), specks, _data())
    records = measured(_data(), wrong, one)
    scores = score_records(records, one)
    found = [replace(each, true_positives=1) for each in scores.paths["standard"].thresholds]
    refined = replace(scores, paths={"standard": replace(scores.paths["standard"], thresholds=tuple(found))})
    assert "unreachable" in {each.code for each in diagnose(records, scores, one)}
    assert "unreachable" not in {each.code for each in diagnose(records, refined, one)}


def _remedy(code: str, options: LocaliseOptions, paths: Mapping[str, Callable[[Doubles], Doubles]]) -> str:
    records = measured(_data(), paths, options)
    found = diagnose(records, score_records(records, options), options)
    return next(each.remedy for each in found if each.code == code)


def _torn(truth: Doubles) -> Doubles:
    """Every fourth row of the object, and a hull around it that is half of the map: higher inside, and torn."""
    checked = (np.indices(truth.shape)[1] % 4 == 0).astype(float)
    hull = np.stack([np.kron(each.reshape(4, 8, 4, 8).max(axis=(1, 3)), np.ones((8, 8))) for each in truth])
    return np.where(truth > 0, 0.2 + 0.8 * checked, 0.3 * hull)


def test_remedies_are_what_the_run_shows() -> None:
    """A percentile or a path that is better on the same images is named with its numbers, others are not."""
    low = replace(OPTIONS, paths=("standard",), percentile=75, percentiles=(75, 90, 94))
    true, wrong = {"standard": lambda truth: truth}, {"standard": lambda truth: 1 - truth}

    assert "In this run: --percentile 94 has IoU by ground truth 0." in _remedy("area_mismatch", low, true)
    assert "In this run: --percentile 94 reaches " in _remedy("unreachable", low, true)
    lost = _remedy("unreachable", replace(low, iou_thresholds=(0.1,)), wrong)
    assert lost.startswith("Nothing that was tried in this run helps")
    assert not any(word in lost for word in ("--iou 0.1", "percentile 75", "--boxes", "--tune"))
    both = {"standard": lambda truth: 1 - truth, "vv_vv": lambda truth: truth}
    two = replace(OPTIONS, paths=("standard", "vv_vv"))
    assert "In this run: vv_vv is clearly higher inside than beside (--paths vv_vv)" in _remedy("inverted", two, both)
    assert "vv_vv reaches " in _remedy("unreachable", two, both)


def test_a_percentile_is_not_blamed_where_another_fits_no_better() -> None:
    """Masks of a fitting area were measured; and where a map does not respond, its threshold is not what is wrong."""
    low = replace(OPTIONS, paths=("standard",), percentile=75, percentiles=(75, 90, 94))

    assert "area_mismatch" in _codes(low, {"standard": lambda truth: truth}, _data())
    assert "area_mismatch" not in _codes(low, {"standard": lambda truth: 1 - truth}, _data())
    assert "area_mismatch" not in _codes(replace(low, percentiles=(75, 98)), {"standard": _torn}, _data())


def test_finer_maps_are_offered_only_where_maps_respond() -> None:
    """Small objects that no path sees will not be seen in windows; what was tried is not offered again."""
    small = dataset(*(sample(f"i{at}", {"cat": (at, at, at + 15, at + 11)}) for at in range(3)))
    one = replace(OPTIONS, paths=("standard",))

    def said(options: LocaliseOptions, change: Callable[[Doubles], Doubles]) -> str:
        records = measured(small, {"standard": change}, options)
        return {each.code: each for each in diagnose(records, score_records(records, options), options)}[
            "small_objects"
        ].remedy

    assert "windows (--scales 1,2)" in said(one, lambda truth: truth)
    assert "--scales" not in said(replace(one, maps=replace(one.maps, scales=(1, 2))), lambda truth: truth)
    assert "finer maps will not" in said(one, lambda truth: 1 - truth)
    assert "--scales" not in said(one, lambda truth: 1 - truth)


def test_the_extent_of_the_boxes_that_are_scored() -> None:
    """Not of those of a percentile, where boxes come from elsewhere; what was tuned is not offered to be tuned."""
    low = replace(OPTIONS, paths=("standard",), percentile=75, percentiles=(75,))
    true = {"standard": lambda truth: truth}

    assert "right_place_wrong_extent" in _codes(low, true, _data())
    assert "right_place_wrong_extent" not in _codes(replace(low, box_source="multi"), true, _data())
    records = measured(_data(), true, low)
    scores = score_records(records, low)
    found = diagnose(records, scores, low, tuned=True)
    assert not any("--tune" in each.remedy for each in found)


def test_a_clear_response_in_few_images_is_not_called_weak() -> None:
    """Whether the map is inverted cannot be decided from one image; how far it stands out can."""
    one = replace(OPTIONS, paths=("standard",))

    assert "weak_response" not in _codes(one, {"standard": lambda truth: truth}, _data(1))


def test_a_sound_evaluation_says_so() -> None:
    """No rule applies to true maps of enough images."""
    one = replace(OPTIONS, paths=("standard",))
    records = measured(_data(30), {"standard": lambda truth: truth}, one)
    found = diagnose(records, score_records(records, one), one)

    assert [each.code for each in found] == ["sound"]
