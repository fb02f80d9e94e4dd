"""PREDICTIONS.jsonl: what is read, and what every wrong line is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clipfast.diagnostics import read_embeddings, read_predictions
from clipfast.errors import DataError
from diagnostics.samples import write_lines

GOOD = {"id": "a", "label": "cat", "probs": {"cat": 0.75, "dog": 0.25}}


def test_every_field_arrives(tmp_path: Path) -> None:
    """Names, numbers, maps, boxes in pixels and unimodal answers become arrays; what is missing is NaN or empty."""
    np.save(tmp_path / "map.npy", np.ones((2, 3), np.float32))
    full = {
        "id": 1, "label": 1, "scores": [0.0, 0.0], "image": "a.png", "text": "what?", "split": "train",
        "domain": "shop", "question_type": "what", "template": "t", "difficulty": "easy", "loss": [2.0, 1.0],
        "attention": "map.npy", "boxes": [[10, 5, 20, 10]], "size_hw": [20, 40], "candidates": [[0, 0, 40, 20]],
        "chosen": 0, "answer": 0, "image_only_probs": [0.5, 0.5], "text_only_probs": [1.0, 0.0],
        "no_context_probs": [0.9, 0.1], "groups": {"camera": "old"},
    }  # fmt: skip
    least = {"id": 2, "label": "cat", "probs": {"cat": 0.25, "dog": 0.75}, "loss": 3.0}
    path = write_lines(tmp_path / "p.jsonl", [{"classes": ["cat", "dog"]}, full, "", least])

    found = read_predictions(path)

    assert found.classes == ("cat", "dog")
    assert found.labels.tolist() == [1, 0]
    assert found.probs.tolist() == [[0.5, 0.5], [0.25, 0.75]]
    assert found.texts == ("what?", "")
    assert {name: column.tolist() for name, column in found.columns.items()} == {
        "split": ["train", ""], "domain": ["shop", ""], "question_type": ["what", ""], "template": ["t", ""],
        "difficulty": ["easy", ""], "camera": ["old", ""],
    }  # fmt: skip
    assert found.losses is not None
    assert np.array_equal(found.losses, [[2.0, 1.0], [np.nan, 3.0]], equal_nan=True)
    assert found.attention is not None
    assert found.attention.shape == (2, 2, 3)
    assert np.isnan(found.attention[1]).all()
    assert found.boxes is not None
    assert found.boxes.xyxy.tolist() == [[0.25, 0.25, 0.5, 0.5]]
    assert found.choices is not None
    assert found.choices.tolist() == [[0, 0], [-1, -1]]
    assert found.logits is not None
    assert np.array_equal(found.logits, [[0.0, 0.0], [np.nan, np.nan]], equal_nan=True)
    assert found.text_only is not None
    assert found.text_only[0].tolist() == [1.0, 0.0]
    assert np.isnan(found.text_only[1]).all()
    assert found.missing().keys() == {"image embeddings", "text embeddings"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            {**GOOD, "probs": {"cat": 0.75, "dog": 0.75}},
            "line 2: probs must be at least 0 and sum to 1; they sum to 1.5",
        ),
        ({**GOOD, "probs": {"cat": 1.5, "dog": -0.5}}, "line 2: probs must be at least 0 and sum to 1"),
        ({"id": "b", "label": "cat"}, "line 2: a sample needs one of `probs` and `scores`; it has neither"),
        ({**GOOD, "id": "b", "scores": {"cat": 1}}, "line 2: a sample needs one of `probs` and `scores`; it has both"),
        ({**GOOD, "id": "b", "label": "cow"}, "line 2: label must be one of cat, dog"),
        ({**GOOD, "id": "b", "label": 2}, "line 2: label must be one of cat, dog, or a number below 2; got 2"),
        ({"id": "b", "probs": {"cat": 1}}, "line 2: Object missing required field `label`"),
        ({**GOOD, "id": "b", "lable": 1}, "line 2: .*unknown field `lable`.*under `groups`"),
        ({**GOOD, "id": "b", "probs": "cat"}, r"line 2: .*probs"),
        ("{oops", "line 2 is not one JSON object"),
        ("[1]", "line 2: Expected `object`"),
        (GOOD, "line 2: id 'a' is in line 1 already"),
        ({**GOOD, "id": "b", "boxes": [[3, 3, 1, 4]]}, "line 2: boxes must be xyxy"),
        ({**GOOD, "id": "b", "boxes": [[0, 0, 30, 40]]}, "Give `size_hw` with pixels"),
        ({**GOOD, "id": "b", "attention": [[1, 2], [3]]}, "line 2: rows of attention must have one length"),
        (
            {**GOOD, "id": "b", "attention": [[0, 0]]},
            "line 2: attention must be finite, at least 0, and not 0 everywhere",
        ),
        ({**GOOD, "id": "b", "attention": "nowhere.npy"}, "line 2: no .npy"),
        ({**GOOD, "id": "b", "image_only_probs": [0.5]}, "line 2: there are 2 classes; got 1 values"),
        ({**GOOD, "id": "b", "candidates": [[0, 0, 1, 1]], "chosen": 1}, "line 2: chosen and answer must number"),
        ({**GOOD, "id": "b", "groups": {"split": "x"}}, "groups may not be named"),
        ({**GOOD, "id": "b", "attention": [[1]]}, "line 2: attention must be .* 2 to 256 x 256 of them"),
        ({"id": "b", "label": "cat", "scores": {}}, "line 2: scores must hold a finite number"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: Any, message: str) -> None:
    """The message holds the number of the line and what to do."""
    if isinstance(line, dict) and line.get("id") == "a" and line != GOOD:
        line = {**line, "id": "b"}
    path = write_lines(tmp_path / "p.jsonl", [GOOD, line])

    with pytest.raises(DataError, match=message):
        read_predictions(path)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """Missing, empty, one class only, lists without names."""
    with pytest.raises(DataError, match="No file at"):
        read_predictions(tmp_path / "none.jsonl")
    with pytest.raises(DataError, match="holds no line"):
        read_predictions(write_lines(tmp_path / "empty.jsonl", [""]))
    with pytest.raises(DataError, match="two classes or more"):
        read_predictions(write_lines(tmp_path / "one.jsonl", [{"id": 1, "label": "a", "probs": {"a": 1}}]))
    with pytest.raises(DataError, match="name the classes in a first line"):
        read_predictions(write_lines(tmp_path / "list.jsonl", [{"id": 1, "label": "cat", "probs": [0.5, 0.5]}]))
    with pytest.raises(DataError, match="two different names"):
        read_predictions(write_lines(tmp_path / "twice.jsonl", [{"classes": ["a", "a"]}, {"id": 1, "label": 0}]))


def test_numbers_of_classes_are_not_mistaken_for_names(tmp_path: Path) -> None:
    """Classes named by numbers are sorted as text: 2 is the third name but "2" the twelfth class; names decide."""
    probs = {str(at): 1 / 12 for at in range(12)}
    with pytest.raises(
        DataError, match=r"line 1: label 2 can be read in two ways: .* Write the name, \"label\": \"2\""
    ):
        read_predictions(write_lines(tmp_path / "p.jsonl", [{"id": 1, "label": 2, "probs": probs}]))
    found = read_predictions(write_lines(tmp_path / "q.jsonl", [{"id": 1, "label": "2", "probs": probs}]))

    assert found.classes[int(found.labels[0])] == "2"


def test_a_header_and_splits_are_known_however_they_are_written(tmp_path: Path) -> None:
    """Spaces in the first line, a byte order mark, capitals in the name of the split."""
    lines = ['\ufeff{ "classes" : ["cat", "dog"] }'] + [
        {"id": at, "label": "cat", "probs": [0.5, 0.5], "split": split}
        for at, split in enumerate(("Train", "TRAINING", "test", "Val"))
    ]
    found = read_predictions(write_lines(tmp_path / "p.jsonl", lines))

    assert found.classes == ("cat", "dog")
    assert found.in_training.tolist() == [True, True, False, False]


def test_embeddings_are_put_in_order(tmp_path: Path) -> None:
    """Rows follow the ids and become unit rows; missing ids and files with objects are refused."""
    np.savez(tmp_path / "e.npz", ids=np.array(["b", "a"]), image=np.array([[3.0, 4.0], [0.0, 2.0]]))

    image, text = read_embeddings(tmp_path / "e.npz", ["a", "b"])

    assert text is None
    assert image is not None
    assert image.tolist() == [[0.0, 1.0], pytest.approx([0.6, 0.8])]
    with pytest.raises(DataError, match="lacks 1 of 1 ids, such as 'c'"):
        read_embeddings(tmp_path / "e.npz", ["c"])
    np.savez(tmp_path / "o.npz", ids=np.array(["a"]), image=np.array([[None]], dtype=object))
    with pytest.raises(DataError, match="plain arrays"):
        read_embeddings(tmp_path / "o.npz", ["a"])
    np.savez(tmp_path / "t.npz", ids=np.array(["a", "a"]), image=np.ones((2, 2)))
    with pytest.raises(DataError, match="ids must be unique; 'a' is there more than once"):
        read_embeddings(tmp_path / "t.npz", ["a"])
    np.savez(tmp_path / "l.npz", ids=np.array(["a"]), image=np.ones((2, 2)))
    with pytest.raises(DataError, match=r"image must be finite floats \(1, e\), one row an id; got float64 \(2, 2\)"):
        read_embeddings(tmp_path / "l.npz", ["a"])
    (tmp_path / "x.npz").write_bytes(b"no archive")
    with pytest.raises(DataError, match=r"not a readable \.npz"):
        read_embeddings(tmp_path / "x.npz", ["a"])
    np.savez(tmp_path / "n.npz", image=np.ones((1, 2)))
    with pytest.raises(DataError, match="must hold `ids`"):
        read_embeddings(tmp_path / "n.npz", ["a"])


def test_embeddings_that_unpack_to_more_than_the_limit_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the sizes in the archive, before anything is unpacked."""
    np.savez_compressed(tmp_path / "e.npz", ids=np.array(["a"]), image=np.zeros((1, 100_000)))
    monkeypatch.setattr("clipfast.diagnostics.reading._MAX_EMBEDDING_BYTES", 100_000)

    assert (tmp_path / "e.npz").stat().st_size < 100_000
    with pytest.raises(DataError, match="holds more than"):
        read_embeddings(tmp_path / "e.npz", ["a"])


def test_selecting_keeps_what_belongs_together(tmp_path: Path) -> None:
    """Rows, texts, columns and boxes of the samples asked for, in that order."""
    lines = [
        {**GOOD, "id": str(i), "text": f"t{i}", "split": f"s{i}", "boxes": [[0, 0, 0.1 * (i + 1), 1]] * i}
        for i in range(4)
    ]
    found = read_predictions(write_lines(tmp_path / "p.jsonl", lines)).select(np.array([3, 1]))

    assert found.ids == ("3", "1")
    assert found.texts == ("t3", "t1")
    assert found.columns["split"].tolist() == ["s3", "s1"]
    assert found.boxes is not None
    assert found.boxes.rows.tolist() == [0, 0, 0, 1]
    assert found.boxes.xyxy[:, 2].tolist() == pytest.approx([0.4, 0.4, 0.4, 0.2])
