"""Images to embeddings and patch tokens, batch sizes of a service and of a bulk job."""

from __future__ import annotations

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from clipfast import Clip

ROUNDS = 30
pytestmark = pytest.mark.benchmark(group="encode")


@pytest.mark.parametrize("batch", [1, 8, 32])
def test_encode_images(timed: BenchmarkFixture, clip: Clip, batch: int) -> None:
    """Pixels of the model's size, so that only the graph is timed."""
    pixels = np.random.default_rng(0).integers(0, 256, (batch, *clip.manifest.image.size_hw, 3), dtype=np.uint8)
    alone = clip.encode_images(pixels[:1])
    rounds = max(5, ROUNDS // batch)
    rows = timed.pedantic(clip.encode_images, (pixels,), rounds=rounds, warmup_rounds=2)
    timed.extra_info["model"] = clip.name

    assert np.abs(rows[0] - alone[0]).max() < 1e-5


def test_encode_dense(timed: BenchmarkFixture, clip: Clip) -> None:
    """All Surgery streams of one image in one forward."""
    pixels = np.random.default_rng(0).integers(0, 256, (1, *clip.manifest.image.size_hw, 3), dtype=np.uint8)
    expected = clip.encode_images(pixels)
    dense = timed.pedantic(clip.encode_dense, (pixels,), rounds=ROUNDS, warmup_rounds=2)
    timed.extra_info["model"] = clip.name

    assert np.abs(dense.embedding - expected).max() < 1e-5
