"""Texts: ensembles, caches, words that a model does not know."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from clipfast.errors import DataError, ShapeError
from clipfast.prompts import IMAGENET, PLAIN
from clipfast.runtime.clip import Clip


def test_an_ensemble_is_the_normalised_mean_of_normalised_prompts(mini: Clip) -> None:
    """encode_texts with templates equals doing it by hand."""
    prompts = mini.encode_texts([t.replace("{}", "denim") for t in IMAGENET[:5]])
    mean = prompts.mean(axis=0)

    assert np.abs(mini.encode_texts(["denim"], IMAGENET[:5])[0] - mean / np.linalg.norm(mean)).max() < 1e-6


def test_a_single_string_is_one_text(mini: Clip) -> None:
    """A string is not taken letter by letter."""
    assert (mini.encode_texts("denim") == mini.encode_texts(["denim"])).all()


def test_repeated_texts_keep_their_places(mini: Clip) -> None:
    """Duplicates are embedded once and returned each time."""
    rows = mini.encode_texts(["denim", "linen", "denim"])

    assert (rows[0] == rows[2]).all()
    assert np.abs(rows[0] - rows[1]).max() > 1e-3


def test_ensembles_are_cached_on_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A second process reads the row instead of opening the text graph; a damaged file is computed again."""
    monkeypatch.setenv("CLIPFAST_CACHE", str(tmp_path))
    first = Clip.load("mini", threads=1).encode_texts(["denim"], PLAIN)
    (file,) = (tmp_path / "texts").rglob("*.npy")
    again = Clip.load("mini", threads=1)
    monkeypatch.setattr(again._opened, "session", lambda name: pytest.fail(f"opened {name}"))

    assert (again.encode_texts(["denim"], PLAIN) == first).all()
    file.write_bytes(b"broken")
    assert np.abs(Clip.load("mini", threads=1).encode_texts(["denim"], PLAIN) - first).max() < 1e-6


def test_an_unwritable_cache_costs_only_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A cache folder that cannot be made does not fail an encode."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CLIPFAST_CACHE", str(tmp_path / "file" / "below"))

    assert Clip.load("mini", threads=1).encode_texts(["denim"], PLAIN).shape == (1, 192)


def test_mostly_unknown_words_are_warned_of(mini: Clip, caplog: pytest.LogCaptureFixture) -> None:
    """The small model says when a prompt means little to it, and keeps quiet otherwise."""
    with caplog.at_level(logging.WARNING):
        mini.encode_texts(["a photo of blue denim fabric, please", "blue denim fabric"])
        assert caplog.messages == []
        mini.encode_texts(["quantum chromodynamics lecture"])

    assert "'quantum chromodynamics lecture'" in caplog.text


def test_bad_templates_are_told(mini: Clip) -> None:
    """A template must have one place for the name."""
    with pytest.raises(DataError, match=r"exactly once"):
        mini.encode_texts(["denim"], ["a photo"])
    with pytest.raises(DataError, match="at least one"):
        mini.encode_texts(["denim"], [])
    with pytest.raises(ShapeError, match="texts must be a string or a list of strings; got NoneType"):
        mini.encode_texts(None)  # type: ignore[arg-type]  # what the test is about
    with pytest.raises(ShapeError, match="texts must be strings; got int"):
        mini.encode_texts([3])  # type: ignore[list-item]  # wrong on purpose
