"""Components at many thresholds: against labelling each threshold anew, `np.percentile`, and bad input."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from clipfast.errors import ShapeError
from clipfast.kernels.component_sweep import ComponentSweep, sweep_percentiles, sweep_thresholds
from clipfast.kernels.components import label_components
from reference import naive_components as naive

CONNECTIVITIES: tuple[Literal[4, 8], ...] = (4, 8)
RNG = np.random.default_rng(6)


def assert_relabelled(found: ComponentSweep, scores: NDArray[Any], connectivity: Literal[4, 8]) -> None:
    """Compare every threshold with a labelling of its own."""
    assert found.thresholds.dtype == found.sums.dtype == found.means.dtype == np.float64
    assert found.offsets.dtype == found.areas.dtype == found.boxes.dtype == np.int64
    assert found.offsets[0] == 0
    assert found.offsets[-1] == len(found.areas) == len(found.boxes) == len(found.sums)
    assert len(found.offsets) == len(found.thresholds) + 1
    magnitude = float(np.abs(scores.astype(float)).sum())
    for at, threshold in enumerate(found.thresholds):
        one = label_components(scores.astype(float) >= threshold, connectivity, scores=scores)
        rows = slice(found.offsets[at], found.offsets[at + 1])
        assert found.counts[at] == one.count
        assert found.areas[rows].tolist() == one.areas.tolist()
        assert found.boxes[rows].tolist() == one.boxes.tolist()
        assert one.sums is not None
        np.testing.assert_allclose(found.sums[rows], one.sums, rtol=1e-13, atol=1e-14 * magnitude)
        assert found.means[rows].tolist() == (found.sums[rows] / one.areas).tolist()


@settings(max_examples=80, deadline=None)
@given(
    scores=npst.arrays(
        np.float64, npst.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=7), elements=st.integers(-3, 3)
    ),
    thresholds=st.lists(st.sampled_from([-np.inf, -3, -1.5, -1, 0, -0.0, 1, 2, 2.5, 3, 4, np.inf]), max_size=6),
    connectivity=st.sampled_from(CONNECTIVITIES),
)
def test_any_small_map_equals_a_flood_fill_a_threshold(
    scores: NDArray[np.float64], thresholds: list[float], connectivity: Literal[4, 8]
) -> None:
    """Maps full of ties, thresholds unsorted and repeated: areas, boxes and (whole) sums are those of the twin."""
    found = sweep_thresholds(scores, thresholds, connectivity)

    expected = naive.sweep(scores, thresholds, connectivity)
    assert found.thresholds.tolist() == thresholds
    assert found.counts.tolist() == [len(one.areas) for one in expected]
    assert found.areas.tolist() == [area for one in expected for area in one.areas]
    assert found.boxes.tolist() == [box for one in expected for box in one.boxes]
    assert found.sums.tolist() == [total for one in expected for total in one.sums]
    assert_relabelled(found, scores, connectivity)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, np.uint8, np.int32, ">f4", bool])
@pytest.mark.parametrize("connectivity", CONNECTIVITIES)
def test_every_type_and_connectivity(kind: Any, connectivity: Literal[4, 8]) -> None:
    """Random maps of every type, with thresholds that are values of theirs, between them and beyond them."""
    scores = (RNG.random((23, 31)) * 200).astype(kind)
    values = np.unique(scores.astype(float))
    thresholds = RNG.permutation(np.concatenate([values[:: max(1, len(values) // 20)], [-1, 50.5, 99.99, 1000]]))

    assert_relabelled(sweep_thresholds(scores, thresholds, connectivity), scores, connectivity)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8, 9, 31, 33])
def test_any_number_of_thresholds(count: int) -> None:
    """The binary search finds the level whether or not their number is a power of two; 257 pixels are over a block."""
    scores = RNG.integers(0, 40, (1, 257)).astype(np.float32)

    found = sweep_thresholds(scores, np.arange(count) + 2)

    assert found.counts.tolist() == [label_components(scores >= t).count for t in np.arange(count) + 2]
    assert_relabelled(found, scores, 8)


def test_smooth_maps_of_hills() -> None:
    """Hills that arise apart, meet and swallow each other: components born late may lie before those born early."""
    y, x = np.indices((40, 50)) / 5.0
    scores = np.sin(x) * np.cos(y) + 0.3 * np.sin(2 * x + y)

    for connectivity in CONNECTIVITIES:
        assert_relabelled(sweep_thresholds(scores, np.linspace(-1.3, 1.3, 41), connectivity), scores, connectivity)


def test_thresholds_between_float32_and_float64_are_told_apart() -> None:
    """float32 scores are compared as float64: 0.1 is less than its float32."""
    scores = np.array([[0.1]], np.float32)
    single = float(np.float32(0.1))

    found = sweep_thresholds(scores, [0.1, single, float(np.nextafter(single, 1))])

    assert found.counts.tolist() == [1, 1, 0]


def test_float32_scores_are_not_compared_as_numpy_does() -> None:
    """float32 0.7 is less than 0.7: without `astype`, NumPy 2 rounds the threshold and finds the pixel."""
    scores = np.array([[0.7]], np.float32)

    found = sweep_thresholds(scores, [0.7])

    assert found.counts.tolist() == [label_components(scores.astype(np.float64) >= 0.7).count] == [0]


def test_lists_are_arrays() -> None:
    """Nested lists are taken, ragged ones refused."""
    assert sweep_thresholds([[3, 1, 2]], [2]).areas.tolist() == [1, 1]
    assert sweep_percentiles([[3.0, 1, 2]], (50,)).areas.tolist() == [1, 1]
    for sweep in (sweep_thresholds, sweep_percentiles):
        with pytest.raises(ShapeError, match="scores must be an array, or lists whose rows have one length"):
            sweep([[3, 1], [2]], [2])


def test_order_and_repetition_of_thresholds_follow_the_caller() -> None:
    """Row blocks come as thresholds came; equal thresholds, and the two zeros, give equal blocks."""
    scores = np.array([[0.0, 2, 0, 1]])

    found = sweep_thresholds(scores, [1, -0.0, 2, 1, 0.0, 9])

    assert found.counts.tolist() == [2, 1, 1, 2, 1, 0]
    assert found.areas.tolist() == [1, 1, 4, 1, 1, 1, 4]
    assert found.boxes.tolist()[:3] == [[1, 0, 2, 1], [3, 0, 4, 1], [0, 0, 4, 1]]
    assert found.sums.tolist() == [2, 1, 3, 2, 2, 1, 3]


def test_a_constant_map_is_all_or_nothing() -> None:
    """One component as large as the map up to its value, none above it."""
    found = sweep_thresholds(np.full((4, 6), 0.25), [0.25, 0.0, np.nextafter(0.25, 1)])

    assert found.counts.tolist() == [1, 1, 0]
    assert found.areas.tolist() == [24, 24]
    assert found.boxes.tolist() == [[0, 0, 6, 4]] * 2
    assert found.sums.tolist() == [6, 6]
    assert sweep_percentiles(np.full((4, 6), 0.1, np.float32), [0, 33.3, 50, 100]).areas.tolist() == [24] * 4


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0), (2, 3)])
@pytest.mark.parametrize("thresholds", [[], [0.5, 2.0]])
def test_nothing_to_find(shape: tuple[int, int], thresholds: list[float]) -> None:
    """Empty maps, no thresholds and thresholds above every score give empty arrays of the right shapes."""
    found = sweep_thresholds(np.zeros(shape, np.float32), thresholds)

    assert found.offsets.tolist() == [0] * (len(thresholds) + 1)
    assert found.counts.tolist() == [0] * len(thresholds)
    assert found.areas.shape == found.sums.shape == found.means.shape == (0,)
    assert found.boxes.shape == (0, 4)
    assert_relabelled(found, np.zeros(shape, np.float32), 8)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, np.uint8, np.int64])
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (20, 21)])
def test_percentiles_are_those_of_numpy(kind: Any, shape: tuple[int, int]) -> None:
    """The thresholds are `np.percentile`'s to the last bit, and components those of their thresholds."""
    scores = (RNG.random(shape) * 250).astype(kind)
    taken_as = scores if kind == np.float32 else scores.astype(np.float64)  # float16 would round its differences
    percentiles = [99.5, 0, 100, 50, 50, 1 / 3, 97.5]

    for connectivity in CONNECTIVITIES:
        found = sweep_percentiles(scores, percentiles, connectivity)
        assert found.thresholds.tolist() == np.percentile(taken_as, percentiles).tolist()
        assert_relabelled(found, scores, connectivity)
    assert found.areas[found.offsets[1] : found.offsets[2]].tolist() == [scores.size]
    assert found.areas[found.offsets[2] : found.offsets[3]].sum() == (scores == scores.max()).sum()


def test_no_percentiles() -> None:
    """No percentile asks for nothing."""
    assert sweep_percentiles(np.ones((2, 2)), []).offsets.tolist() == [0]


@pytest.mark.parametrize(
    "layout",
    [
        pytest.param(np.asfortranarray, id="column order"),
        pytest.param(lambda scores: scores.T, id="transposed"),
        pytest.param(lambda scores: scores[::-1, ::3], id="strided, reversed"),
        pytest.param(lambda scores: np.broadcast_to(scores[:1], (5, scores.shape[1])), id="broadcast, read-only"),
    ],
)
def test_layout_does_not_matter(layout: Any) -> None:
    """Any layout and flags give the bits of a plain copy; the input is left alone."""
    scores = layout(RNG.random((12, 17)))
    before = scores.copy()

    found, plain = (sweep_percentiles(one, [20, 60, 90]) for one in (scores, np.array(scores, order="C")))

    for name in ("thresholds", "offsets", "areas", "boxes", "sums"):
        assert getattr(found, name).tobytes() == getattr(plain, name).tobytes(), name
    assert np.array_equal(scores, before)


MAP = np.arange(6.0).reshape(2, 3)
HOLED = np.where(MAP == 4, np.nan, MAP)


@pytest.mark.parametrize(
    ("scores", "thresholds", "connectivity", "words"),
    [
        (MAP[0], [1], 8, r"scores must be real numbers \(h, w\).*got float64 \(3,\)"),
        (MAP[None], [1], 8, r"got float64 \(1, 2, 3\).*without a channel axis"),
        (MAP.astype(complex), [1], 8, "got complex128"),
        (np.broadcast_to(np.float32(0), (2**16, 2**15)), [1], 8, r"fewer than 2\*\*31"),
        (HOLED, [1], 8, "must be finite; got NaN or infinity"),
        (HOLED, [], 8, "must be finite"),
        (np.where(MAP == 0, -np.inf, MAP), [1], 8, "must be finite"),
        (np.where(MAP == 0, np.inf, MAP).astype(np.float16), [1], 8, "must be finite"),
        (np.full((1, 3), 1e308), [1], 8, "sums .*float64"),  # finite scores whose sum is not
        (MAP, [1, np.nan], 8, r"thresholds must be \(k,\) numbers, none NaN; got \(2,\)"),
        (MAP, [[1.0]], 8, r"got \(1, 1\)"),
        (MAP, 1.0, 8, r"got \(\)"),
        (MAP, ["a"], 8, r"thresholds must be \(k,\) numbers; got <U1 \(1,\)"),
        (MAP, [[1], []], 8, "thresholds must be an array, or lists"),
        (MAP, [1], 6, r"one of \[4, 8\]; got 6"),
    ],
)
def test_bad_thresholds_and_maps_are_named(
    scores: NDArray[Any], thresholds: Any, connectivity: Any, words: str
) -> None:
    """The message says what must be and what came."""
    with np.errstate(over="ignore"), pytest.raises(ShapeError, match=words):
        sweep_thresholds(scores, thresholds, connectivity)


@pytest.mark.parametrize(
    ("scores", "percentiles", "connectivity", "words"),
    [
        (MAP, [-0.1], 8, r"from 0 to 100; got \(1,\): \[-0.1\]"),
        (MAP, [50, 100.1], 8, "from 0 to 100"),
        (MAP, [np.nan], 8, "from 0 to 100"),
        (MAP, ["a"], 8, r"percentiles must be \(k,\) numbers; got <U1 \(1,\)"),
        (MAP, [[50]], 8, r"\(k,\) numbers.*got \(1, 1\)"),
        (MAP, 50, 8, r"got \(\)"),
        (MAP[:0], [50], 8, r"must hold a pixel; got \(0, 3\)"),
        (HOLED, [50], 8, "must be finite"),
        (MAP, [50], 5, r"one of \[4, 8\]; got 5"),
        (np.array([[-3e38, 3e38]], np.float32), [50], 8, "percentiles .*float32 can hold"),
        (np.array([[-1e308, 1e308]]), [50], 8, "percentiles .*float64 can hold"),  # whose difference overflows
    ],
)
def test_bad_percentiles_are_named(scores: NDArray[Any], percentiles: Any, connectivity: Any, words: str) -> None:
    """The message says what must be and what came."""
    with np.errstate(all="ignore"), pytest.raises(ShapeError, match=words):
        sweep_percentiles(scores, percentiles, connectivity)
