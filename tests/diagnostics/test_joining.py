"""Predictions read in pieces are the predictions read at once."""

from __future__ import annotations

import gc
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clipfast.diagnostics import Boxes, Predictions, read_predictions
from clipfast.diagnostics.joining import joined
from clipfast.errors import DataError, ShapeError
from diagnostics.samples import clustered, write_lines


def _whole() -> Predictions:
    """Samples of which some lack this, some that."""
    data = clustered(30)
    losses = np.full((30, 2), np.nan)
    losses[:5] = 1.0
    maps = np.full((30, 2, 3), np.nan, np.float32)
    maps[20:] = 0.5
    choices = np.full((30, 2), -1, np.int64)
    choices[3] = (0, 1)
    boxes = Boxes(np.tile([0.1, 0.1, 0.5, 0.5], (3, 1)), np.array([3, 3, 25]))
    return replace(data, losses=losses, attention=maps, choices=choices, boxes=boxes, candidates=boxes)


def _assert_same(first: Predictions, second: Predictions) -> None:
    for item in fields(first):
        left, right = getattr(first, item.name), getattr(second, item.name)
        if isinstance(left, np.ndarray):
            assert np.array_equal(left, right, equal_nan=left.dtype.kind == "f"), item.name
        elif isinstance(left, Boxes):
            assert np.array_equal(left.xyxy, right.xyxy)
            assert left.rows.tolist() == right.rows.tolist()
        elif item.name == "columns":
            assert {name: column.tolist() for name, column in left.items()} == {
                name: column.tolist() for name, column in right.items()
            }
        else:
            assert left == right, item.name


def test_joining_undoes_selecting() -> None:
    """Field by field; boxes keep their samples."""
    whole = _whole()

    _assert_same(joined([whole.select(np.arange(at, at + 10)) for at in (0, 10, 20)]), whole)


def test_what_one_part_lacks_is_unknown_there() -> None:
    """Texts, columns, maps, losses of fewer epochs, boxes."""
    whole = _whole()
    first, second = whole.select(np.arange(10)), whole.select(np.arange(10, 30))
    assert second.losses is not None
    bare = replace(first, texts=None, columns={}, attention=None, losses=None, boxes=None, choices=None)
    found = joined([bare, replace(second, losses=second.losses[:, :1])])

    assert found.texts is not None
    assert found.texts[:10] == ("",) * 10
    assert found.columns["split"][:10].tolist() == [""] * 10
    assert found.attention is not None
    assert np.isnan(found.attention[:10]).all()
    assert found.losses is not None
    assert found.losses.shape == (30, 1)
    assert found.boxes is not None
    assert found.boxes.rows.tolist() == [25]
    assert found.choices is not None
    assert (found.choices == -1).all()
    with pytest.raises(DataError, match="the same classes"):
        joined([first, replace(second, classes=second.classes[::-1])])
    with pytest.raises(ShapeError, match="attention must have one size"):
        joined([replace(first, attention=np.ones((10, 4, 4), np.float32)), second])


def _lines() -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    lines: list[dict[str, Any]] = []
    for at in range(23):
        probs = rng.dirichlet(np.ones(3)).tolist()
        lines.append({"id": at, "label": "abc"[at % 3], "probs": dict(zip("abc", probs, strict=True))})
        if at % 4 == 0:
            lines[-1] |= {"attention": rng.random((2, 2)).tolist(), "loss": rng.random(1 + at % 3).tolist()}
        if at % 5 == 0:
            lines[-1] |= {"boxes": [[0, 0, 0.5, 0.5]] * (at % 3), "text": f"t{at}", "groups": {"shift": "late"}}
        if at % 6 == 0:
            del lines[-1]["probs"]
            lines[-1]["scores"] = {"a": 1.0, "c": -1.0, **({"b": 0.0} if at else {})}
    return lines


@pytest.mark.parametrize("size", [1, 4, 22])
def test_the_size_of_a_piece_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Fields that begin or end within a piece, scores among probabilities, lists among maps of a file."""
    path = write_lines(tmp_path / "p.jsonl", _lines())
    seen: list[tuple[int, int]] = []
    whole = read_predictions(path)
    monkeypatch.setattr("clipfast.diagnostics.records._PART_LINES", size)
    pieces = read_predictions(path, progress=lambda done, total: seen.append((done, total)))

    _assert_same(pieces, whole)
    assert len(seen) == -(-23 // size)
    assert seen[-1] == (path.stat().st_size, path.stat().st_size)
    assert gc.isenabled()


def test_errors_name_the_line_in_any_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids and sizes of maps are remembered from piece to piece."""
    monkeypatch.setattr("clipfast.diagnostics.records._PART_LINES", 2)
    for changed, message in (
        ({"id": 0}, "line 23: id '0' is in line 1 already"),
        ({"attention": [[1, 2, 3]]}, r"line 23: attention must be \(2, 2\), as in the lines before; got \(1, 3\)"),
        ({"probs": {"a": 2}}, "line 23: probs must be at least 0 and sum to 1"),
        ({"probs": [0.5, 0.5]}, "line 23: there are 3 classes; got 2 values"),
    ):
        lines = _lines()
        lines[22] |= changed
        with pytest.raises(DataError, match=message):
            read_predictions(write_lines(tmp_path / "p.jsonl", lines))
        assert gc.isenabled()


def test_a_header_alone_is_no_data(tmp_path: Path) -> None:
    """Said in one sentence."""
    with pytest.raises(DataError, match="holds no sample"):
        read_predictions(write_lines(tmp_path / "p.jsonl", [{"classes": ["a", "b"]}]))
