"""Rows on disk are found again by what made them, and by nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clipfast.runtime.text_cache import TextCache
from clipfast.types import Floats


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own."""
    monkeypatch.setenv("CLIPFAST_CACHE", str(tmp_path))
    return tmp_path


def _row(axis: int) -> Floats:
    row = np.zeros(4, np.float32)
    row[axis] = 1
    return row


def test_a_row_is_found_by_text_templates_model_and_precision() -> None:
    """Each of the four belongs to the key, also for a reader that has nothing in memory."""
    keys = [
        ("model a", "fp32", "denim", ("a {}",)),
        ("model b", "fp32", "denim", ("a {}",)),
        ("model a", "int8", "denim", ("a {}",)),
        ("model a", "fp32", "linen", ("a {}",)),
    ]
    for axis, (model, precision, text, templates) in enumerate(keys):
        TextCache(model, precision, 4).put(text, templates, _row(axis))

    for axis, (model, precision, text, templates) in enumerate(keys):
        found = TextCache(model, precision, 4).get(text, templates)
        assert found is not None
        assert found.tolist() == _row(axis).tolist()


def test_other_templates_are_another_row() -> None:
    """Neither another template nor another order of them finds it."""
    TextCache("m", "fp32", 4).put("denim", ("a {}", "the {}"), _row(0))
    reader = TextCache("m", "fp32", 4)

    assert reader.get("denim", ("a {}",)) is None
    assert reader.get("denim", ("the {}", "a {}")) is None
    assert reader.get("denim", None) is None


def test_plain_texts_stay_in_memory(folder: Path) -> None:
    """Without templates nothing is written."""
    cache = TextCache("m", "fp32", 4)
    cache.put("denim", None, _row(1))

    assert cache.get("denim", None) is not None
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("stored", [np.zeros(4, np.float32), np.ones(3, np.float32), np.eye(4), np.array("x")])
def test_a_row_that_cannot_be_right_is_not_used(folder: Path, stored: np.ndarray) -> None:
    """No unit row, another width, another shape, another dtype."""
    TextCache("m", "fp32", 4).put("denim", ("a {}",), _row(0))
    (file,) = folder.rglob("*.npy")
    np.save(file, stored)

    assert TextCache("m", "fp32", 4).get("denim", ("a {}",)) is None
