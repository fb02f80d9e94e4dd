"""Boxes of any detector: written, read again, scored without a model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clipfast.datasets.box_records import BoxSet
from clipfast.datasets.box_samples import read_boxes
from clipfast.errors import DataError
from clipfast.surgery.localise_options import LocaliseOptions
from clipfast.surgery.localise_scores import score_records
from clipfast.surgery.predictions import read_predictions, records_of_predictions, write_predictions
from reference.box_folders import write_voc

BOX = {"image": "a", "label": "cat", "box": [2, 3, 20, 30], "score": 0.9}


@pytest.fixture
def data(tmp_path: Path) -> BoxSet:
    """One picture with a cat and a dog, one with a dog."""
    images = {
        "a": [("cat", (3.0, 4.0, 20.0, 30.0)), ("dog", (31.0, 6.0, 50.0, 25.0))],
        "b": [("dog", (1.0, 1.0, 9.0, 9.0))],
    }
    return read_boxes("voc", write_voc(tmp_path / "voc", images))


def _file(folder: Path, rows: object) -> Path:
    path = folder / "boxes.json"
    path.write_text(json.dumps(rows))
    return path


def test_predictions_are_scored(tmp_path: Path, data: BoxSet) -> None:
    """With or without the image's suffix; maps have no figures, for there are none."""
    rows = [BOX, {"image": "b.png", "label": "dog", "box": [0, 0, 9, 9], "score": 0.5}]
    records = records_of_predictions(data, read_predictions(_file(tmp_path, rows)))
    found = score_records(records, LocaliseOptions(resamples=100)).paths["predictions"]

    assert found.thresholds[2].by_class == {"cat": 1.0, "dog": 0.5}
    assert found.thresholds[2].map.value == 0.75
    assert (found.quality, found.response, found.pointing, found.energy) == ((), None, None, None)


def test_what_is_written_is_read_again(tmp_path: Path, data: BoxSet) -> None:
    """An evaluation's own boxes score as they did."""
    records = records_of_predictions(data, read_predictions(_file(tmp_path, [BOX])), "standard")
    write_predictions(tmp_path / "again.json", records, "standard")
    again = records_of_predictions(data, read_predictions(tmp_path / "again.json"), "standard")

    assert json.loads((tmp_path / "again.json").read_text()) == [BOX]
    assert again.digests == records.digests
    assert again.paths["standard"].detections.boxes.tolist() == [[2, 3, 20, 30]]


def test_no_predictions_are_a_score_of_zero(tmp_path: Path, data: BoxSet) -> None:
    """An empty list is an answer."""
    records = records_of_predictions(data, read_predictions(_file(tmp_path, [])))

    assert score_records(records, LocaliseOptions(resamples=100)).paths["predictions"].thresholds[0].map.value == 0.0


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"a": 1}, "must be a JSON list"),
        ([{**BOX, "box": [1, 2, 3]}], "must be a JSON list"),
        ([{"image": "a"}], "must be a JSON list"),
        ([{**BOX, "label": "cow"}], "must have the classes cat, dog; got cow"),
        ([{**BOX, "image": "z"}], "must be of the 2 images scored; 1 are not among them: z"),
        ([{**BOX, "box": [20, 3, 2, 30]}], "x1 <= x2"),
    ],
)
def test_predictions_that_fit_nothing(tmp_path: Path, data: BoxSet, rows: object, message: str) -> None:
    """Another shape, an unknown class or image, a reversed box."""
    with pytest.raises(DataError, match=message):
        records_of_predictions(data, read_predictions(_file(tmp_path, rows)))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """Is an error with its name; so is one that is no JSON."""
    with pytest.raises(DataError, match=r"none.json cannot be read"):
        read_predictions(tmp_path / "none.json")
    (tmp_path / "x.json").write_text("[")
    with pytest.raises(DataError, match="must be a JSON list"):
        read_predictions(tmp_path / "x.json")
