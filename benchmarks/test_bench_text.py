"""Texts to embeddings: a new prompt, a new class with 80 templates, and a remembered one."""

from __future__ import annotations

from itertools import count

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from clipfast import Clip
from clipfast.prompts import IMAGENET

ROUNDS = 30
pytestmark = pytest.mark.benchmark(group="text")


def test_new_prompt(timed: BenchmarkFixture, clip: Clip) -> None:
    """A prompt that no cache holds."""
    numbers = count()
    rows = timed.pedantic(
        lambda: clip.encode_texts([f"a photo of blue denim fabric {next(numbers)}"]), rounds=ROUNDS, warmup_rounds=2
    )
    timed.extra_info["model"] = clip.name

    assert abs(np.linalg.norm(rows) - 1) < 1e-5


def test_new_class_of_80_templates(
    timed: BenchmarkFixture, clip: Clip, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A class that is embedded for the first time: 80 prompts, averaged, and written to the cache."""
    monkeypatch.setenv("CLIPFAST_CACHE", str(tmp_path_factory.mktemp("cache")))
    numbers = count()
    rows = timed.pedantic(lambda: clip.encode_texts([f"denim {next(numbers)}"], IMAGENET), rounds=5, warmup_rounds=1)
    timed.extra_info["model"] = clip.name

    assert abs(np.linalg.norm(rows) - 1) < 1e-5


def test_remembered_class(timed: BenchmarkFixture, clip: Clip) -> None:
    """The same class again."""
    expected = clip.encode_texts(["denim"], IMAGENET)
    rows = timed.pedantic(clip.encode_texts, (["denim"], IMAGENET), rounds=ROUNDS, iterations=10)
    timed.extra_info["model"] = clip.name

    assert (rows == expected).all()
