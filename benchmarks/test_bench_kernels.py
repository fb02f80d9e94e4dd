"""Our own kernels and metrics, to be tracked from version to version; `make bench-kernels` sets them beside peers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from clipfast.kernels import box_iou, label_components, label_stack, non_maximum_suppression, sweep_percentiles
from clipfast.metrics import RankingStream, aupro_score, auroc_score

pytestmark = pytest.mark.benchmark(group="kernels")
Work = Callable[[], Any]


def ranked(count: int = 1_000_000) -> tuple[Any, Any]:
    """Labels, 2 % of them positive, and scores of which every positive lies above every negative."""
    labels = (np.arange(count) % 50 == 0).astype(np.uint8)
    return labels, np.random.default_rng(0).random(count, np.float32) + labels


def streamed(labels: Any, scores: Any) -> float:
    stream = RankingStream()
    stream.update(labels, scores)
    return stream.result().auroc.low


def grid(side: int) -> Any:
    """Squares of 2 x 2 pixels, four pixels apart."""
    line = np.arange(side) % 4 < 2
    return line[:, None] & line


def boxes(count: int) -> Any:
    corner = np.random.default_rng(1).uniform(0, 600, (count, 2))
    return np.concatenate([corner, corner + 40], axis=1).astype(np.float32)


def cases() -> dict[str, tuple[Work, Callable[[Any], bool]]]:
    """What is timed, and whether its answer is right."""
    labels, scores = ranked()
    mask, masks, some = grid(1024), np.stack([grid(224)] * 64), boxes(1000)
    maps = masks[:, ::2, ::2]
    return {
        "auroc-1M": (lambda: auroc_score(labels, scores), lambda found: found == 1.0),
        "streamed-auroc-1M": (lambda: streamed(labels, scores), lambda found: found == 1.0),
        "aupro-64x112": (lambda: aupro_score(maps, maps.astype(np.float32)), lambda found: found == 1.0),
        "components-1024": (lambda: label_components(mask, threads=2), lambda found: found.count == 256 * 256),
        "components-64x224": (lambda: label_stack(masks, threads=2), lambda found: found.offsets[-1] == 64 * 56 * 56),
        "sweep-224": (
            lambda: sweep_percentiles(mask[:224, :224].astype(np.float32), [50.0, 80.0, 90.0]),
            lambda found: found.counts.tolist() == [1, 56 * 56, 56 * 56],
        ),
        "box-iou-1000": (lambda: box_iou(some, some), lambda found: bool((found.diagonal() == 1).all())),
        "nms-1000": (
            lambda: non_maximum_suppression(some, np.arange(1000.0), 0.5),
            lambda found: bool(found[0] == 999 and len(found) < 1000),
        ),
    }


@pytest.mark.parametrize("name", cases())
def test_kernel(timed: BenchmarkFixture, name: str) -> None:
    call, right = cases()[name]

    assert right(timed.pedantic(call, rounds=20, warmup_rounds=2))
