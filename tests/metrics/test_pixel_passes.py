"""Tests of clipfast.metrics.pixel_passes and clipfast.kernels.ranking_blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from clipfast.errors import ShapeError, UndefinedMetricError
from clipfast.kernels.ranking import rank_levels
from clipfast.kernels.ranking_blocks import BlockCounts
from clipfast.metrics import pixel_scores
from clipfast.metrics.pixel_passes import PixelPasses, PixelTruth

RNG = np.random.default_rng(0)
MASKS = (RNG.random((7, 60, 90)) > 0.99).astype(np.uint8)
MASKS[2] = 0
MAPS = {
    "continuous": RNG.normal(size=MASKS.shape).astype(np.float32),
    "tied": RNG.integers(0, 5, MASKS.shape).astype(np.float32),
    "far outlier": np.where(RNG.random(MASKS.shape) > 0.9999, 1e30, RNG.normal(size=MASKS.shape)).astype(np.float32),
}


@pytest.mark.parametrize("kind", list(MAPS))
@pytest.mark.parametrize("block", [1, 3, 7])
def test_two_passes_give_what_one_gives(kind: str, block: int) -> None:
    """Whatever the blocks are, to the last bit."""
    maps, truth = MAPS[kind], PixelTruth.of(MASKS, threads=1)
    passes = PixelPasses(truth)
    pictures = np.flatnonzero(truth.anomalous)
    for begin in range(0, len(pictures), block):
        some = pictures[begin : begin + block]
        passes.show_anomalous(maps[some], some)
    for begin in range(0, len(maps), block):
        passes.show(maps[begin : begin + block])

    assert passes.scores() == pixel_scores(MASKS, maps)


@pytest.mark.parametrize("share", [0.001, 0.6])
def test_levels_of_blocks_are_those_of_all(share: float) -> None:
    """With few positives, by a table; with many, by sorting."""
    labels = (RNG.random(70_000) < share).astype(np.uint8)
    scores = RNG.normal(size=len(labels)).astype(np.float32)
    counts = BlockCounts(scores[labels == 1], items=len(labels))
    for part in np.split(scores, 7):
        counts.add(part)
    found, expected = counts.levels(), rank_levels(labels, scores)

    for name in ("scores", "hits", "weights", "above", "upto"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    assert (found.positives, found.negatives) == (expected.positives, expected.negatives)


def test_what_was_not_shown_is_missed() -> None:
    """A picture left out of either pass, one shown twice, maps of another shape, scores that are no numbers."""
    truth = PixelTruth.of(MASKS)
    maps = MAPS["continuous"]

    def passes(first: Any = slice(None)) -> PixelPasses:
        made = PixelPasses(truth)
        made.show_anomalous(maps[first], first)
        return made

    with pytest.raises(ShapeError, match="anomalous pixels must be shown first"):
        passes(slice(0, 3)).show(maps)
    with pytest.raises(UndefinedMetricError, match="Nothing was shown"):
        passes().scores()
    with pytest.raises(ShapeError, match="maps must be float32"):
        PixelPasses(truth).show_anomalous(maps[:2], slice(0, 3))
    partly, twice, wrong = passes(), passes(), passes()
    partly.show(maps[:6])
    with pytest.raises(ShapeError, match=r"among the blocks|must be shown once"):
        partly.scores()
    twice.show(maps)
    twice.show(maps[:1])
    with pytest.raises(ShapeError, match="must be shown once"):
        twice.scores()
    with pytest.raises(ShapeError, match="finite"):
        wrong.show(np.full_like(maps, np.nan))


def test_masks_of_one_kind_have_no_figures() -> None:
    """Nothing anomalous, or everything; and numbers that are no masks."""
    for value in (0, 1):
        with pytest.raises(UndefinedMetricError):
            PixelTruth.of(np.full((2, 3, 3), value, np.uint8))
    with pytest.raises(ShapeError):
        PixelTruth.of(np.full((2, 3, 3), 2))
    with pytest.raises(ShapeError, match=r"\(n, h, w\)"):
        PixelTruth.of(np.zeros((3, 3), bool))
    with pytest.raises(UndefinedMetricError):
        BlockCounts(np.empty(0, np.float32), items=3)
