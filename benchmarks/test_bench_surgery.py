"""Heat maps: scoring of patches, the four paths of one forward, and edges."""

from __future__ import annotations

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from clipfast import Clip
from clipfast.kernels.guided import guided_filter
from clipfast.similarity import feature_surgery
from clipfast.surgery import heatmaps_by_path
from clipfast.types import Floats

pytestmark = pytest.mark.benchmark(group="surgery")


def unit(*shape: int) -> Floats:
    rows = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    out: Floats = rows / np.linalg.norm(rows, axis=-1, keepdims=True)
    return out


def test_feature_surgery_of_59_texts_on_1024_patches(timed: BenchmarkFixture) -> None:
    tokens, embedding, texts = unit(1, 1024, 512), unit(1, 512), unit(59, 512)
    scores = timed(feature_surgery, tokens, embedding, texts)

    assert np.abs(scores.sum(axis=2)).max() < 1e-4


def test_four_paths_of_a_photo(timed: BenchmarkFixture, clip: Clip, jpeg: bytes) -> None:
    texts = ["denim", "a red star", "linen"]
    clip.encode_texts(texts)
    maps = timed(heatmaps_by_path, clip, jpeg, texts)

    assert [each.shape[:2] for each in maps.values()] == [(1, 3)] * 4


@pytest.mark.parametrize("channels", [1, 3])
def test_guided_filter_of_640_x_480(timed: BenchmarkFixture, channels: int) -> None:
    guide = np.random.default_rng(0).random((480, 640, channels), np.float32)
    constant = np.full((480, 640), 0.25, np.float32)
    guided_filter(constant, guide.squeeze(), radius=40)
    found = timed(guided_filter, constant, guide.squeeze(), radius=40)

    assert (found == constant).all()
