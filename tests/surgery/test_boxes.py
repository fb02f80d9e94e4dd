"""Boxes are their definition, and nothing that does not change the map's order moves them."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from clipfast.errors import DataError, ShapeError
from clipfast.kernels import sweep_percentiles
from clipfast.kernels.morphology import close_then_open
from clipfast.surgery import Boxes, BoxOptions, boxes, boxes_at
from clipfast.surgery.box_scores import MapSums
from clipfast.surgery.boxes import PERCENTILES, rank_values
from clipfast.surgery.heatmap import resize_maps
from reference import naive

ANY_SIZE = BoxOptions(min_size_hw=(1, 1))
BARE = BoxOptions(morphology="none", min_size_hw=(1, 1))


def smooth_map(seed: int, size_hw: tuple[int, int] = (64, 64), grid: int = 7) -> NDArray[np.float32]:
    """A map as patches give it: a small grid made large."""
    return resize_maps(np.random.default_rng(seed).normal(size=(grid, grid)).astype(np.float32), size_hw)


def naive_boxes(heatmap: NDArray[Any], percentile: float, options: BoxOptions) -> list[tuple[list[int], float]]:
    """Threshold, clean, flood-fill, and average pixel by pixel."""
    mask = heatmap >= np.percentile(heatmap.astype(np.float64), percentile)
    if options.morphology == "close_open":
        mask = close_then_open(mask)
    _, areas, corners = naive.label_components(mask, options.connectivity)
    found = []
    for area, (x1, y1, x2, y2) in zip(areas, corners, strict=True):
        least_height, least_width = options.min_size_hw
        if y2 - y1 >= least_height and x2 - x1 >= least_width and area >= options.min_area:
            inside = [float(heatmap[y, x]) for y in range(y1, y2) for x in range(x1, x2)]
            found.append(([x1, y1, x2, y2], sum(inside) / len(inside)))
    return sorted(found, key=lambda pair: -pair[1])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "options",
    [
        BoxOptions(),
        ANY_SIZE,
        BARE,
        BoxOptions(morphology="none", connectivity=4, min_size_hw=(3, 5), min_area=20),
    ],
)
def test_boxes_are_their_definition(seed: int, options: BoxOptions) -> None:
    """Corners as the slow twin has them, in its order, with its scores."""
    heatmap = smooth_map(seed, (50, 70))
    for percentile in (0, 62.5, 90, 97):
        found = boxes(heatmap, percentile, options=options)
        expected = naive_boxes(heatmap, percentile, options)

        assert found.xyxy.tolist() == [corners for corners, _ in expected]
        assert np.allclose(found.scores, [score for _, score in expected], atol=1e-6)


@pytest.mark.parametrize("options", [BoxOptions(), BARE, BoxOptions(score="contrast", if_none="whole_mask")])
def test_many_thresholds_are_the_single_calls(options: BoxOptions) -> None:
    """In any order, repeated or not, to the last bit."""
    heatmap = smooth_map(3)
    percentiles = (95.0, 75.0, 80.0, 75.0, 85.0, 90.0, 99.5)
    for percentile, found in zip(percentiles, boxes_at(heatmap, percentiles, options=options), strict=True):
        single = boxes(heatmap, percentile, options=options)

        assert found.xyxy.tolist() == single.xyxy.tolist()
        assert found.scores.tolist() == single.scores.tolist()
    assert len(boxes_at(heatmap)) == len(PERCENTILES)
    assert boxes_at(heatmap, ()) == ()


def test_a_percentile_by_rank_marks_what_numpy_marks() -> None:
    """On maps whose values lie far enough apart for float64, components are those of the interpolated percentile."""
    for seed in range(6):
        heatmap = np.random.default_rng(seed).permutation(33 * 21).reshape(33, 21).astype(np.float64)
        percentiles = [0.0, 10.0, 33.3, 50.0, 90.0, 99.9, 100.0]
        sweep = sweep_percentiles(heatmap, percentiles)
        for at, found in enumerate(boxes_at(heatmap, percentiles, options=BARE)):
            expected = sweep.boxes[sweep.offsets[at] : sweep.offsets[at + 1]].tolist()

            assert sorted(found.xyxy.tolist()) == sorted(expected)


@pytest.mark.parametrize("count", [1, 2, 3, 101, 50176])
def test_whole_ranks_are_hit_exactly(count: int) -> None:
    """Where a percentile falls on a value, it is that value, whatever the division does."""
    values = np.arange(count, dtype=np.float64)[None]
    percentiles = [rank * 100 / (count - 1) for rank in range(0, count, max(1, count // 50))] if count > 1 else [0, 100]
    ranks = [int(np.ceil(percentile * (count - 1) / 100)) for percentile in percentiles]

    assert rank_values(values, percentiles).tolist() == ranks
    assert rank_values(values, [0, 100]).tolist() == [0, count - 1]


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000),
    factor=st.floats(1e-3, 1e3),
    offset=st.floats(-10, 10),
    percentile=st.sampled_from([50.0, 75.0, 90.0, 95.0, 99.0]),
)
def test_a_positive_affine_change_moves_no_box(seed: int, factor: float, offset: float, percentile: float) -> None:
    """As long as the change keeps different values different, boxes are equal, not close."""
    heatmap = smooth_map(seed, (30, 40), 5).astype(np.float64)
    changed = heatmap * factor + offset
    ranks = np.unique(heatmap, return_inverse=True)[1]
    assume(np.array_equal(np.unique(changed, return_inverse=True)[1], ranks))  # else float64 has merged two values
    one, other = boxes(heatmap, percentile), boxes(changed, percentile)

    assert sorted(other.xyxy.tolist()) == sorted(one.xyxy.tolist())
    assert np.allclose(other.scores, one.scores * factor + offset, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("options", [BoxOptions(), BARE])
def test_a_threshold_between_neighbouring_floats_is_not_rounded_away(options: BoxOptions) -> None:
    """In float32 an interpolated percentile between two neighbouring numbers is one of them; a rank is not moved."""
    steps = np.arange(32 * 32, dtype=np.int32).reshape(32, 32)
    close = (np.float32(1.0).view(np.int32) + steps).view(np.float32)  # 1024 neighbouring numbers
    for percentile in (50, 75, 90, 95):
        one, other = boxes(steps, percentile, options=options), boxes(close, percentile, options=options)

        assert one.xyxy.tolist() == other.xyxy.tolist()


def test_an_increasing_change_moves_no_box_either() -> None:
    """Boxes depend on the order of values alone."""
    heatmap = smooth_map(5).astype(np.float64)

    assert sorted(boxes(np.exp(heatmap), 85).xyxy.tolist()) == sorted(boxes(heatmap, 85).xyxy.tolist())


@pytest.mark.parametrize("if_none", ["nothing", "whole_mask"])
def test_a_constant_map_has_no_box(if_none: Any) -> None:
    """It says nothing about any place: no NaN, no box around everything."""
    for value in (0.0, -3.5, 1e30):
        found = boxes(np.full((20, 30), value), 90, options=BoxOptions(if_none=if_none))

        assert found.xyxy.shape == (0, 4)
        assert found.scores.shape == (0,)


def test_if_nothing_survives_there_is_nothing_or_the_whole_mask() -> None:
    """The original's box around the mask has to be asked for; morphology may have emptied the mask before."""
    heatmap = np.zeros((40, 40))
    heatmap[5:9, 5:9] = heatmap[30:34, 20:24] = 1.0  # too small by two pixels
    speckled = np.zeros((40, 40))
    speckled[3, 4] = speckled[20, 30] = 1.0  # gone after opening
    whole = BoxOptions(if_none="whole_mask")

    assert len(boxes(heatmap, 98)) == len(boxes(speckled, 99.9)) == 0
    assert boxes(heatmap, 98, options=whole).xyxy.tolist() == [[5, 5, 24, 34]]
    assert boxes(speckled, 99.9, options=whole).xyxy.tolist() == [[4, 3, 31, 21]]
    assert boxes(heatmap, 98, options=BoxOptions(min_size_hw=(4, 4), if_none="whole_mask")).xyxy.tolist() == [
        [5, 5, 9, 9],
        [20, 30, 24, 34],
    ]


def test_sums_lose_no_digits_far_from_zero() -> None:
    """Means and contrasts of a map with a large offset are those of the map without it, plus the offset."""
    heatmap = np.random.default_rng(0).normal(size=(60, 80))
    corners = np.array([[3, 4, 10, 20], [0, 0, 80, 60], [70, 50, 80, 60], [20, 20, 21, 21]])
    near, far = MapSums.of(heatmap), MapSums.of(heatmap + 2.0**20)
    for x1, y1, x2, y2 in corners:
        assert near.means(np.array([[x1, y1, x2, y2]]))[0] == pytest.approx(heatmap[y1:y2, x1:x2].mean(), abs=1e-12)

    assert np.allclose(far.means(corners) - 2.0**20, near.means(corners), atol=1e-8)
    assert np.allclose(far.contrasts(corners), near.contrasts(corners), atol=1e-8)
    assert near.contrasts(corners)[1] == 0


def test_means_of_single_precision_maps_are_exact() -> None:
    """The mean of the map is not rounded to the map's type: one part in ten million would reorder equal boxes."""
    heatmap = (np.random.default_rng(0).normal(size=(40, 50)) + 100).astype(np.float32)
    corners = np.array([[3, 4, 10, 20], [0, 0, 50, 40]])
    exact = [heatmap[y1:y2, x1:x2].mean(dtype=np.float64) for x1, y1, x2, y2 in corners]

    assert np.allclose(MapSums.of(heatmap).means(corners), exact, rtol=0, atol=1e-11)


def test_rows_can_be_taken() -> None:
    """By a bool for each box, or by index."""
    found = Boxes.ranked(np.arange(12).reshape(3, 4), np.array([0.1, 0.3, 0.2]))

    assert found.scores.tolist() == [0.3, 0.2, 0.1]
    assert found.take(found.scores > 0.15).xyxy.tolist() == [[4, 5, 6, 7], [8, 9, 10, 11]]
    assert found.take(np.array([2])).scores.tolist() == [0.1]
    assert len(found.take(np.zeros(3, bool))) == 0


def test_contrast_is_inside_less_around() -> None:
    """The frame ends at the border of the map; the box itself is not part of it."""
    heatmap = np.random.default_rng(2).normal(size=(30, 30))
    for x1, y1, x2, y2, margin in [(10, 12, 16, 20, 0.5), (0, 0, 8, 4, 0.25), (26, 20, 30, 30, 1.0)]:
        rx, ry = max(round((x2 - x1) * margin), 1), max(round((y2 - y1) * margin), 1)
        around = [
            heatmap[y, x]
            for y, x in itertools.product(
                range(max(y1 - ry, 0), min(y2 + ry, 30)), range(max(x1 - rx, 0), min(x2 + rx, 30))
            )
            if not (y1 <= y < y2 and x1 <= x < x2)
        ]
        expected = heatmap[y1:y2, x1:x2].mean() - np.mean(around)
        found = MapSums.of(heatmap).contrasts(np.array([[x1, y1, x2, y2]]), margin)

        assert found[0] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("heatmap", "message"),
    [
        (np.zeros((2, 3, 4)), r"one map at a time"),  # a stack
        (np.zeros((0, 4)), r"heatmap must be real numbers \(h, w\)"),  # no pixel
        (np.array([[0.0, np.nan]]), "must be finite"),
        (np.array([[0.0, -np.inf]]), "must be finite"),
        (np.array([["a", "b"]]), "must be real numbers"),
    ],
)
def test_wrong_maps_are_told(heatmap: NDArray[Any], message: str) -> None:
    """Each in one sentence."""
    with pytest.raises(ShapeError, match=message):
        boxes(heatmap)


@pytest.mark.parametrize("percentile", [-0.1, 100.5, np.nan])
def test_wrong_percentiles_are_told(percentile: float) -> None:
    """0 to 100, and a number."""
    with pytest.raises(ShapeError, match="percentile must be a number from 0 to 100"):
        boxes(np.eye(4), percentile)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"morphology": "open"}, DataError),
        ({"connectivity": 6}, DataError),
        ({"score": "max"}, DataError),
        ({"if_none": "all"}, DataError),
        ({"min_size_hw": (-1, 3)}, ShapeError),
        ({"min_area": -1}, ShapeError),
    ],
)
def test_wrong_options_are_told(wrong: dict[str, Any], error: type[Exception]) -> None:
    """The message names the option."""
    with pytest.raises(error, match=next(iter(wrong))):
        BoxOptions(**wrong)
