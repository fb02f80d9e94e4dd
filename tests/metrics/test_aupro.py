"""AUPRO and its 200-step relative: published values, loops, peers, and what must not matter."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from clipfast.errors import UndefinedMetricError
from clipfast.kernels import ranking
from clipfast.metrics.aupro import aupro_legacy200_score, aupro_score, pixel_scores
from clipfast.metrics.ranking import (
    aupr_score,
    auroc_score,
    average_precision_score,
    f1_max_score,
    ranking_scores,
)
from reference import naive_ranking as naive

EXPECTED = Path(__file__).parents[3] / "shared" / "data" / "metric_reference" / "expected_values.json"
shared_data = pytest.mark.skipif(not EXPECTED.is_file(), reason="../shared/data/metric_reference is absent")
LIMITS = [0.05, 0.3, 0.5, 1.0]
SCORES: list[Callable[..., Any]] = [pixel_scores, aupro_score, aupro_legacy200_score]
Stacks = tuple[NDArray[np.bool_], NDArray[Any]]


def drawing(*rows: str) -> NDArray[np.bool_]:
    """A mask; # is anomalous."""
    return np.array([[cell == "#" for cell in row] for row in rows])


def scene(seed: int, count: int = 6, side: int = 40) -> Stacks:
    """Masks of a few rectangles, the last empty, and maps that follow them through noise."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((count, side, side), bool)
    for mask in masks[:-1]:
        for _ in range(4):
            y, x = rng.integers(0, side - 4, 2)
            mask[y : y + rng.integers(1, side // 4), x : x + rng.integers(1, side // 4)] = True
    return masks, masks + rng.normal(0, 0.7, masks.shape)


# --- published values ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [[3], [1, 3, 5]])
@pytest.mark.parametrize("transform", [np.asarray, np.float32, lambda maps: (maps * 2800).astype(np.uint16)])
def test_published_ramp(columns: list[int], transform: Callable[[Any], Any]) -> None:
    """anomalib tests/unit (b7233686, Apache-2.0): columns of a ramp, one region or three, 1/6 up to 1/3."""
    masks = np.zeros((1, 400, 7), np.uint8)
    masks[..., columns] = 1
    maps = transform(np.arange(2800).reshape(1, 400, 7) / 2800)

    assert aupro_score(masks, maps, limit=1 / 3) == pytest.approx(1 / 6, abs=1e-3)
    assert aupro_score(masks[0], maps[0], limit=1.0) == pytest.approx(1 / 2, abs=1e-3)


@pytest.mark.shared
@shared_data
def test_shared_values() -> None:
    """Every AUPRO entry of the shared file, and PRO at thresholds as the height of the curve."""
    values = json.loads(EXPECTED.read_text())
    maps = np.arange(2800).reshape(400, 7) / 2800
    assert len(values["aupro"]) == 2
    for entry, columns in zip(values["aupro"], ([3], [1, 3, 5]), strict=True):
        assert ("three" in entry["labels"]) == (len(columns) == 3)
        mask = np.zeros((400, 7), np.uint8)
        mask[:, columns] = 1
        found = aupro_score(mask, maps, limit=entry["fpr_limit"])
        assert found == pytest.approx(entry["expected"], abs=entry["atol"])

    # one normal pixel at the threshold: until it counts, the overlap is that of the threshold
    pro = values["pro_at_threshold"]
    mask = np.array(pro["labels_rows"], np.uint8)
    heights = np.repeat(np.arange(10)[:, None] / 10 + 0.05, 5, axis=1)
    for threshold, overlap in zip(pro["thresholds"], pro["expected"], strict=True):
        maps = np.where(mask == 1, heights, -1)
        maps[0, 0] = threshold
        found = aupro_score(mask, maps, limit=0.5 / (mask == 0).sum())
        assert found == pytest.approx(overlap, abs=1e-12)


# --- naive twins ---------------------------------------------------------------------------------------------------

shapes = st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(2, 5))


@st.composite
def stacks(draw: st.DrawFn) -> Stacks:
    """Tiny masks with a region and a normal pixel, and maps of few values that every type holds."""
    shape = draw(shapes)
    masks = draw(npst.arrays(np.bool_, shape))
    masks[0, 0, :2] = True, False
    maps = draw(npst.arrays(np.int8, shape, elements=st.integers(0, 7)))
    return masks, maps / 4


@settings(max_examples=150, deadline=None)
@given(both=stacks(), limit=st.sampled_from(LIMITS))
def test_any_tiny_stack_equals_the_naive_twin(both: Stacks, limit: float) -> None:
    """Ties of positives and negatives at every place and at the limit, regions of every shape, every type."""
    masks, maps = both
    expected = pytest.approx(naive.aupro(masks.tolist(), maps.tolist(), limit), abs=1e-12)

    assert aupro_score(masks, maps, limit=limit) == expected
    for dtype in (np.float16, np.float32, ">f4"):
        assert aupro_score(masks, maps.astype(dtype), limit=limit) == expected
    for kind in (np.uint8, np.uint16, np.int32):
        assert aupro_score(masks.astype(kind), (4 * maps).astype(kind), limit=limit) == expected
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking, "_SMALL", 1)
        patch.setattr(ranking, "_RARE", 0)
        assert aupro_score(masks, maps, limit=limit) == expected  # by the table


@settings(max_examples=80, deadline=None)
@given(both=stacks(), limit=st.sampled_from(LIMITS), dtype=st.sampled_from(["float16", "float32", "float64", "uint8"]))
def test_any_tiny_stack_equals_the_naive_twin_of_200_steps(both: Stacks, limit: float, dtype: str) -> None:
    """The script's value, or the documented error where the script divides by zero."""
    masks, maps = both[0], (both[1] * 4 if dtype == "uint8" else both[1] / 3).astype(dtype)
    if maps.min() == maps.max():
        with pytest.raises(UndefinedMetricError, match="Scores must span 200 steps"):
            aupro_legacy200_score(masks, maps, limit=limit)
        return
    expected = naive.legacy200(masks.tolist(), maps, limit)
    if expected is None:
        with pytest.raises(UndefinedMetricError, match="Two different rates below the limit"):
            aupro_legacy200_score(masks, maps, limit=limit)
    else:
        assert aupro_legacy200_score(masks, maps, limit=limit) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_pictures_equal_the_naive_twins(dtype: str) -> None:
    """Six of 20 x 20, of more scores than steps: both figures; they differ by more than rounding."""
    masks, maps = scene(0, side=20)
    maps = maps.astype(dtype)
    lists = masks.tolist()

    official, legacy = aupro_score(masks, maps), aupro_legacy200_score(masks, maps)

    assert official == pytest.approx(naive.aupro(lists, maps.tolist(), 0.3), abs=1e-12)
    assert legacy == pytest.approx(naive.legacy200(lists, maps, 0.3), abs=1e-12)
    assert abs(official - legacy) > 1e-3


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize(("low", "high"), [(0.1, 0.9), (-3.7, 11.3), (100.1, 201.7)])
def test_scores_on_the_200_steps_equal_the_naive_twin(low: float, high: float, dtype: str) -> None:
    """Every step is a score, in its last bit: what is equal to a threshold is not above it."""
    first, last = np.array([low, high], dtype)
    steps = np.arange(first, last, (last - first) / 200)
    maps = np.random.default_rng(0).permutation(np.append(steps, last))[None, : len(steps) // 2 * 2].reshape(2, -1)
    maps[0, :2] = first, last
    masks = np.arange(maps.size).reshape(maps.shape) % 4 == 0

    expected = naive.legacy200([masks.tolist()], maps[None], 1.0)

    assert aupro_legacy200_score(masks, maps, limit=1.0) == pytest.approx(expected, abs=1e-12)


# --- rules in small scenes -----------------------------------------------------------------------------------------


def test_diagonal_neighbours_are_one_region() -> None:
    """Two pixels that share a corner weigh what one pixel does alone: 8-connected, found (1/2 + 0) / 2."""
    mask = drawing("#...", ".#..", "....", "...#")
    maps = np.zeros((4, 4))
    maps[0, 0] = 1

    # a quarter at rate 0; all other pixels share one score, up to (1, 1): at the limit 1 their mean height
    assert aupro_score(mask, maps, limit=1) == pytest.approx((0.25 + 1) / 2, abs=1e-12)


def test_regions_of_two_pictures_stay_apart() -> None:
    """The last row of one and the first row of the next touch in memory only."""
    masks = np.stack([drawing("..", "##"), drawing("##", "..")])
    masks[1, 1, 0] = True  # 2 and 3 pixels, not 5
    maps = np.zeros((2, 2, 2))
    maps[0, 1] = 1

    assert aupro_score(masks, maps, limit=1) == pytest.approx((0.5 + 1) / 2, abs=1e-12)


def test_ties_at_the_limit_are_cut_on_a_straight_line() -> None:
    """One step from (0, 0) to (1, 1): up to any limit the mean height is half of it, never a whole step."""
    for limit in LIMITS:
        assert aupro_score(drawing("##.."), np.ones((1, 4)), limit=limit) == pytest.approx(limit / 2, abs=1e-12)
    # (0, 1/2), (1/2, 1), (1, 1): at 0.3 the height is 0.8
    assert aupro_score(drawing("##.."), [[3, 2, 2, 1]], limit=0.3) == pytest.approx((0.5 + 0.8) / 2, abs=1e-12)


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint8", "uint16", "bool"])
def test_perfect_and_worst_maps(dtype: str, limit: float) -> None:
    """The mask itself has 1, its complement 0 up to a rate of 1."""
    masks, _ = scene(1)

    assert aupro_score(masks, masks.astype(dtype), limit=limit) == pytest.approx(1, abs=1e-12)
    worst = pixel_scores(masks, (~masks).astype(dtype), limit=limit)
    assert worst.aupro == 0
    assert worst.auroc == 0


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint8"])
def test_all_figures_at_once_are_those_of_each(dtype: str, limit: float) -> None:
    """`pixel_scores` equals the functions of the ranking, and `aupro_score`; all lie in [0, 1]."""
    masks, maps = scene(2)
    maps = (maps * 40 + 100).clip(0, 255).astype(dtype)

    found = pixel_scores(masks, maps, limit=limit)
    alone = ranking_scores(masks, maps)

    assert found.aupro == aupro_score(masks, maps, limit=limit)
    assert (found.auroc, found.average_precision) == (auroc_score(masks, maps), average_precision_score(masks, maps))
    assert (found.aupr, found.f1_max) == (aupr_score(masks, maps), f1_max_score(masks, maps))
    assert found.f1_max_threshold == alone.f1_max_threshold
    for value in (found.auroc, found.average_precision, found.aupr, found.f1_max, found.aupro):
        assert 0 < value < 1


@pytest.mark.parametrize("score", [aupro_score, aupro_legacy200_score])
def test_neither_threads_nor_order_matter(score: Callable[..., float]) -> None:
    """600,000 pixels: threads to the last bit; pictures, rows and columns in another order to 1e-12."""
    masks, maps = scene(3, 15, 200)
    found = score(masks, maps, threads=1)
    order = np.random.default_rng(0).permutation(len(masks))

    assert score(masks, maps, threads=2) == found
    assert score(masks, maps, threads=3) == found
    assert score(masks[order], maps[order]) == pytest.approx(found, abs=1e-12)
    assert score(masks[:, ::-1], maps[:, ::-1]) == pytest.approx(found, abs=1e-12)
    assert score(masks.transpose(0, 2, 1), maps.transpose(0, 2, 1)) == pytest.approx(found, abs=1e-12)


@pytest.mark.parametrize("score", SCORES)
def test_forms_of_the_same_stack(score: Callable[..., Any]) -> None:
    """One picture alone or as a stack, lists of arrays, lists of lists, read-only, integer masks."""
    masks, maps = scene(4, count=2)
    one = score(masks[:1], maps[:1])
    both = score(masks, maps)
    fixed, frozen = masks.copy(), maps.copy()
    fixed.flags.writeable = frozen.flags.writeable = False

    assert score(masks[0], maps[0]) == one
    assert score(list(masks), list(maps)) == both
    assert score(masks.tolist(), maps.tolist()) == both
    assert score(fixed, frozen) == both
    for dtype in (np.uint8, np.int8, np.int32, np.int64, np.uint16):
        assert score(masks.astype(dtype), maps) == both


# --- peers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [0.05, 0.3, 1.0])
def test_anomalib_gives_the_same(limit: float) -> None:
    """To 1e-4, for it sums float32."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its imports
        peer = pytest.importorskip("anomalib.metrics.aupro", reason="needs anomalib: pip install --group bench")
        import torch

        masks, maps = scene(5)
        maps = np.round(maps, 1).astype(np.float32)
        metric = peer._AUPRO(fpr_limit=limit)
        metric.update(torch.from_numpy(maps), torch.from_numpy(masks.astype(np.int64)))
        expected = float(metric.compute())

    assert aupro_score(masks, maps, limit=limit) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("limit", [0.05, 0.3])
def test_mvtecs_own_code_in_adeval_gives_the_same(limit: float) -> None:
    """With a threshold at every normal pixel, untied: its steps miss less than the share of one pixel each."""
    peer = pytest.importorskip("adeval.au_pro", reason="needs adeval: pip install --group bench")
    masks, maps = scene(6)
    normal = int((~masks).sum())

    expected, _ = peer.calculate_au_pro(list(masks.astype(int)), list(maps), limit, num_thresholds=normal)

    assert aupro_score(masks, maps, limit=limit) == pytest.approx(expected, abs=2 / normal / limit)
