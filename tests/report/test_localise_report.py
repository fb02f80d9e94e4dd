"""The files of an evaluation: what they hold, that they say where they come from, that they can be compared."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clipfast.datasets.box_records import BoxSet, Doubles
from clipfast.errors import ArtifactError, DataError
from clipfast.provenance import Provenance
from clipfast.report.compare import compare_results
from clipfast.report.localise_report import LocaliseReport
from clipfast.report.results import load_result
from clipfast.surgery.diagnosis import diagnose
from clipfast.surgery.localise_options import LocaliseOptions
from clipfast.surgery.localise_scores import score_records
from clipfast.surgery.options import MapOptions
from reference.localise_cases import dataset, measured, sample

OPTIONS = LocaliseOptions(paths=("standard", "vv_vv"), percentile=94, resamples=200)
TRUE = {"standard": lambda truth: truth, "vv_vv": lambda truth: 0.5 * truth}


def _data(shift: int = 0, count: int = 6) -> BoxSet:
    places = np.random.default_rng(5).integers(20, (280, 205), (count, 2)).tolist()
    return dataset(
        *(
            sample(f"i{at}", {("cat", "dog")[at % 2]: (x + shift, y, x + 100, y + 75)})
            for at, (x, y) in enumerate(places)
        )
    )


def _write(
    folder: Path,
    data: BoxSet | None = None,
    paths: Mapping[str, Callable[[Doubles], Doubles]] | None = None,
    options: LocaliseOptions = OPTIONS,
) -> Path:
    used = data or _data()
    records = measured(used, paths or TRUE, options)
    scores = score_records(records, options)
    provenance = Provenance.collect(command=["clipfast", "localize"], seeds={"bootstrap": 0}, data={"samples": "x"})
    findings = diagnose(records, scores, options)
    LocaliseReport(used, options, records, scores, findings, provenance).write(folder)
    return folder


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_the_three_files_and_what_is_beside_them(tmp_path: Path) -> None:
    """The owner's names, boxes by path, outcomes; each JSON with kind and provenance."""
    _write(tmp_path)
    results, quality = _json(tmp_path / "map_results.json"), _json(tmp_path / "heatmap_quality_analysis.json")

    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")) == [
        "evaluation_report.md",
        "heatmap_quality_analysis.json",
        "map_results.json",
        "outcomes.npz",
        "standard/predictions.json",
        "vv_vv/predictions.json",
    ]
    for content, kind in ((results, "localize"), (quality, "localize_quality")):
        assert content["kind"] == kind
        assert set(content["provenance"]) == {"command", "versions", "seeds", "data", "model", "machine"}
    assert [row["iou"] for row in results["paths"]["standard"]["thresholds"]] == [0.1, 0.3, 0.5]
    assert results["paths"]["standard"]["thresholds"][2]["map"]["value"] == 1.0
    assert results["data"]["ground_truths"] == 6
    assert results["settings"]["maps"]["templates"]["count"] == 85
    assert results["settings"]["texts"] == {"cat": "cat", "dog": "dog"}
    assert [row["percentile"] for row in quality["paths"]["vv_vv"]["quality"]] == [75, 80, 85, 90, 94, 95]
    assert results["samples"][0] == {"id": "i0", "sha256": "sha-i0"}


def test_the_report_has_the_owners_parts(tmp_path: Path) -> None:
    """mAP, quality by percentile, response with deviation and background, a diagnosis with remedies, the command."""
    text = (_write(tmp_path) / "evaluation_report.md").read_text(encoding="utf-8")

    for part in (
        "| path | mAP@0.1 | mAP@0.3 | mAP@0.5 |",
        "## Quality of the maps: vv_vv",
        "| percentile | mean IoU | max IoU |",
        "inside, mean | inside, max | background",
        " ± ",
        "pointing game | energy inside | either by chance",
        "| path | box IoU (around the peak, at 0.6 of the range) | surest scored box | any scored box |",
        "prompts: 85 for each class; `standard` compares a class with all classes of the data set",
        "p (Holm)",
        "**few_images**: 6 images",
        "*Remedy: ",
        "clipfast localize",
        "localisation given the class",
    ):
        assert part in text, part
    assert "None" not in text
    assert "| nan" not in text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rivals": "image"}, "`standard` compares a class with those that are in the image"),
        ({"maps": MapOptions(labels=("a", "b"), templates=("a {}", "the {}"))}, "prompts: 2 for each class; `standard` "
         "compares a class with all classes of the data set and 2 labels"),
        ({"maps": MapOptions(labels=("a", "b"), rivals="labels")}, "compares each class with 2 labels only"),
        ({"maps": MapOptions(redundant="", templates=None)}, "prompts: none for each class; the map of the redundant "
         "text '' is subtracted from every map"),
    ],
)  # fmt: skip
def test_what_was_compared_is_said(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    """In the report, and in the settings."""
    chosen = replace(OPTIONS, **options)
    folder = _write(tmp_path, options=chosen)

    assert said in (folder / "evaluation_report.md").read_text(encoding="utf-8")
    assert _json(folder / "map_results.json")["settings"]["label_list"] == chosen.label_list


def test_the_same_evaluation_writes_the_same_bytes(tmp_path: Path) -> None:
    """Nothing depends on the time of day."""
    first, second = _write(tmp_path / "a"), _write(tmp_path / "b")

    for path in first.rglob("*.*"):
        assert path.read_bytes() == (second / path.relative_to(first)).read_bytes()


# --- comparing -----------------------------------------------------------------------------------------------------


def test_a_run_with_itself_differs_in_nothing(tmp_path: Path) -> None:
    """Every figure is there, every difference 0."""
    run = load_result(_write(tmp_path))
    found = compare_results(run, run, resamples=100)

    assert {row.system for row in found.rows} == {"standard", "vv_vv"}
    assert {"map@0.5", "pointing", "energy", "contrast", "truth_iou@94"} <= {row.metric for row in found.rows}
    assert all(row.difference == 0 and row.p_value == 1 for row in found.rows)
    assert (found.only_first, found.only_second, found.settings) == ((), (), ())


def test_a_better_run_is_told(tmp_path: Path) -> None:
    """Second less first, with an interval; settings that differ are named."""
    worse = {"standard": lambda truth: -truth, "vv_vv": lambda truth: truth}
    first = load_result(_write(tmp_path / "a", paths=worse, options=replace(OPTIONS, percentile=90)))
    second = load_result(_write(tmp_path / "b"))
    rows = {(row.system, row.metric): row for row in compare_results(first, second).rows}
    energy = rows["standard", "energy"]

    assert energy.difference is not None
    assert energy.low is not None
    assert energy.difference > energy.low > 0
    assert energy.p_holm is not None
    assert energy.p_value is not None
    assert energy.p_holm >= energy.p_value
    found = compare_results(first, second, metrics=["map@0.5"])
    assert found.settings == (("percentile", 90.0, 94.0),)
    nested = replace(OPTIONS, maps=replace(OPTIONS.maps, alpha=0.25))
    other = load_result(_write(tmp_path / "c", options=nested))
    assert compare_results(second, other).settings == (("maps.alpha", 0.5, 0.25),)
    with pytest.raises(DataError, match=r"must share a metric; .*; got speed\."):
        compare_results(first, second, metrics=["map@0.5", "speed"])
    assert {row.metric for row in found.rows} == {"map@0.5"}
    assert "standard/truth_iou@94" in found.only_second
    assert "| standard | map@0.5 |" in found.markdown()


def test_one_path_against_another(tmp_path: Path) -> None:
    """Across names, within one directory or two."""
    run = load_result(_write(tmp_path))
    found = compare_results(run, run, systems=("standard", "vv_vv"), metrics=["contrast"])

    assert [row.system for row in found.rows] == ["standard / vv_vv"]
    assert found.rows[0].difference == pytest.approx(-0.5 * found.rows[0].first)  # type: ignore[operator]  # a figure


def test_other_samples_are_refused(tmp_path: Path) -> None:
    """Other images, other boxes of the same images, a directory of another kind or of none."""
    first = load_result(_write(tmp_path / "a"))
    fewer = load_result(_write(tmp_path / "b", _data(count=5)))
    with pytest.raises(DataError, match=r"1 only in the first \(i5\)"):
        compare_results(first, fewer)
    content = _json(tmp_path / "a" / "map_results.json")
    content["samples"][2]["sha256"] = "other"
    (tmp_path / "a" / "map_results.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"1 changed \(i2\)"):
        compare_results(first, load_result(tmp_path / "a"))
    with pytest.raises(DataError, match=r"must hold one of map_results.json, .*diagnosis.json; it holds 0"):
        load_result(tmp_path)
    with pytest.raises(DataError, match="has standard, vv_vv; got 'gem'"):
        compare_results(first, first, systems=("gem", "standard"))
    with pytest.raises(DataError, match="must share a metric"):
        compare_results(first, first, metrics=["speed"])


def test_files_that_were_changed_are_refused(tmp_path: Path) -> None:
    """A byte of the outcomes, another kind, samples that do not fit."""
    _write(tmp_path)
    outcomes, results = tmp_path / "outcomes.npz", tmp_path / "map_results.json"
    good, text = outcomes.read_bytes(), results.read_text()
    outcomes.write_bytes(good[:200] + bytes([good[200] ^ 1]) + good[201:])
    with pytest.raises(ArtifactError, match="was changed"):
        load_result(tmp_path)
    outcomes.write_bytes(good)
    results.write_text(text.replace('"kind": "localize"', '"kind": "poem"'))
    with pytest.raises(DataError, match="got 'poem'"):
        load_result(tmp_path)
    content = json.loads(text)
    results.write_text(json.dumps({**content, "samples": content["samples"][:-1]}))
    with pytest.raises(DataError, match="outcomes must be of 5 samples"):
        load_result(tmp_path)
    results.write_text("[]")
    with pytest.raises(DataError, match="must be a JSON object"):
        load_result(tmp_path)
