"""End to end: a 640 x 480 JPEG to ranked fabrics of a 15-fabric, 45-photo bank, decoding included."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from clipfast import Clip, FabricBank

ROUNDS = 30
pytestmark = pytest.mark.benchmark(group="query")


def test_query(timed: BenchmarkFixture, clip: Clip, fabrics: Path, jpeg: bytes) -> None:
    """Warm; `extra_info` holds the 95th percentile, which is what the README promises."""
    bank = FabricBank.build(clip, fabrics)
    expected = bank.rank(clip.encode_images(jpeg)[0], topk=5)
    ranked = timed.pedantic(bank.rank, (jpeg,), rounds=4 * ROUNDS, warmup_rounds=5)
    data = sorted(timed.stats.stats.data) if timed.stats else []
    timed.extra_info |= {"model": clip.name, "p95_ms": 1e3 * data[int(0.95 * len(data))] if data else None}

    assert [r.id for r in ranked] == [r.id for r in expected]
