"""Streams: intervals that hold the exact figures, exactness where it is promised, and independence of the cutting."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from clipfast.errors import ShapeError, UndefinedMetricError
from clipfast.metrics.aupro import pixel_scores
from clipfast.metrics.ranking import ranking_scores
from clipfast.metrics.streaming import Certified, PixelStream, RankingStream, StreamedScores

FIGURES = ("auroc", "average_precision", "aupr", "f1_max")
ROUNDING = 1e-12


def streamed(labels: Any, scores: Any, pieces: int = 1, **options: int) -> StreamedScores:
    """The result of a stream that gets its items in so many pieces."""
    stream = RankingStream(**options)
    for some_labels, some_scores in zip(
        np.array_split(np.asarray(labels), pieces), np.array_split(np.asarray(scores), pieces), strict=True
    ):
        stream.update(some_labels, some_scores)
    return stream.result()


def assert_certified(found: StreamedScores, labels: Any, scores: Any) -> None:
    """Every interval holds the exact figure and the value."""
    exact = ranking_scores(labels, scores)
    for name in FIGURES:
        figure = getattr(found, name)
        assert figure.low - ROUNDING <= getattr(exact, name) <= figure.high + ROUNDING, name
        assert figure.low - ROUNDING <= figure.value <= figure.high + ROUNDING, name
        assert figure.width >= 0
        assert float(figure) == figure.value


def items(seed: int, count: int, spread: float) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Labels, and scores that crowd into few bins when the spread is small."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(count) < 0.3).astype(np.int64)
    labels[:2] = 0, 1
    return labels, (0.7 + spread * (rng.standard_normal(count) + labels)).astype(np.float32)


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(2, 60), spread=st.sampled_from([1.0, 1e-4, 1e-6, 3e-7, 0.0]))
def test_every_interval_holds_the_exact_figure(seed: int, count: int, spread: float) -> None:
    """Whether bins hold one item, many, or all of them."""
    labels, scores = items(seed, count, spread)

    assert_certified(streamed(labels, scores), labels, scores)
    assert_certified(streamed(labels, scores.astype(np.float64) * (1 + 1e-9)), labels, scores * (1 + 1e-9))


def test_an_interval_is_as_wide_as_its_bins_make_it() -> None:
    """One bin of two values: AUROC spans the pairs inside it, and more bits tell them apart."""
    labels, scores = [0, 1, 0, 1], np.array([0.5, 0.50000006, 0.1, 0.9], np.float32)

    assert streamed(labels, scores).auroc == Certified(0.875, 0.75, 1.0)
    assert streamed(labels, np.array([0.5, 0.5001, 0.1, 0.9], np.float32), bits=24).auroc == Certified(1.0, 1.0, 1.0)


def test_wide_intervals_shrink_with_bits() -> None:
    """Each more bit about halves the interval."""
    labels, scores = items(0, 20_000, 0.1)
    widths = [streamed(labels, scores, bits=bits).auroc.width for bits in range(19, 25)]

    assert all(0.3 * wide < narrow < 0.7 * wide for wide, narrow in itertools.pairwise(widths))


@pytest.mark.parametrize("dtype", [np.float16, np.uint8, np.uint16])
def test_scores_of_16_bits_are_exact(dtype: Any) -> None:
    """No doubt is left, and every figure is that of the exact functions."""
    labels, scores = items(3, 5000, 0.4)
    scores = (scores * (1 if dtype == np.float16 else 100)).clip(0, 255).astype(dtype)
    found, exact = streamed(labels, scores, pieces=7), ranking_scores(labels, scores)

    for name in FIGURES:
        figure = getattr(found, name)
        assert figure.width == 0, name
        assert figure.value == pytest.approx(getattr(exact, name), abs=1e-13)
    assert found.f1_max_threshold == exact.f1_max_threshold
    assert found.auroc.value == exact.auroc


def test_ties_are_exact() -> None:
    """Zeros and saturated ones, as clipped maps have them, leave no doubt in float32."""
    labels, scores = items(4, 3000, 0.4)
    scores = np.where(scores > 0.6, np.float32(1), np.float32(0))

    assert streamed(labels, scores).auroc.width == 0
    assert streamed(labels, scores).average_precision.width == 0


@pytest.mark.parametrize(("pieces", "threads"), [(1, 1), (1, 3), (2, 2), (50, 2)])
def test_neither_cutting_nor_threads_nor_order_change_anything(
    pieces: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Results are equal to the last bit."""
    monkeypatch.setattr("clipfast.metrics.binned_counts._WORTH_A_THREAD", 64)
    labels, scores = items(5, 4000, 0.01)
    order = np.random.default_rng(0).permutation(len(labels))

    found = streamed(labels[order], scores[order], pieces=pieces, threads=threads)

    assert found == streamed(labels, scores, threads=1)


def test_the_threshold_has_the_f1_that_is_given() -> None:
    """`score >= threshold` reaches the value of `f1_max`, which is therefore also its lower end."""
    labels, scores = items(6, 3000, 1e-5)
    found = streamed(labels, scores)
    positive = scores >= found.f1_max_threshold
    hits = int((positive & (labels == 1)).sum())

    assert found.f1_max.value == pytest.approx(2 * hits / (positive.sum() + labels.sum()), abs=1e-15)
    assert found.f1_max.low == found.f1_max.value


def test_streams_merge() -> None:
    """Two workers' streams give what one stream gives; an empty one changes nothing."""
    labels, scores = items(7, 2000, 0.01)
    first, second = RankingStream(), RankingStream()
    first.update(labels[:500], scores[:500])
    second.update(labels[500:], scores[500:])
    first.merge(second)
    first.merge(RankingStream())
    fresh = RankingStream()
    fresh.merge(first)

    assert first.result() == fresh.result() == streamed(labels, scores)


@pytest.mark.parametrize(
    ("labels", "scores", "words"),
    [
        ([0, 1], [0.5, np.nan], "must be finite; got 1 NaN"),
        ([0, 1], [np.inf, 0.5], "must be finite"),
        ([0, 2], [0.5, 0.6], "must be 0 or 1; got 2"),
        ([0, 1, 1], [0.5, 0.6], "one shape"),
        ([0, 1], np.array([0.5, 0.6], np.float32), "one type; got float32 after float64"),
        ([0, 1], [1e39, 0.5], "float32's range"),
        ([0, 1], ["a", "b"], "scores must be"),
    ],
)
@pytest.mark.parametrize("threads", [1, 2])
def test_a_refused_batch_leaves_the_counts_as_they_were(
    labels: Any, scores: Any, words: str, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message says what is wrong, and the result is that of the batches before."""
    monkeypatch.setattr("clipfast.metrics.binned_counts._WORTH_A_THREAD", 1)
    stream = RankingStream(threads=threads)
    stream.update([0, 1, 1], [0.1, 0.2, 0.05])
    before = stream.result()

    with pytest.raises(ShapeError, match=words):
        stream.update(labels, scores)

    assert stream.result() == before


def test_threads_may_feed_one_stream() -> None:
    """No count is lost, whoever comes when."""
    labels, scores = items(8, 40_000, 0.3)
    stream, maps = RankingStream(), PixelStream()

    def feed(_: int) -> None:
        for _ in range(10):
            stream.update(labels, scores)
            maps.update(labels.reshape(200, 200), scores.reshape(200, 200))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(feed, range(4)))

    assert stream.result().positives == maps.result().positives == 40 * labels.sum()
    assert stream.result().negatives == 40 * (labels == 0).sum()
    assert stream.result().auroc == streamed(labels, scores).auroc


def test_an_empty_batch_says_nothing() -> None:
    """Not even what type the scores are."""
    stream = RankingStream(threads=None)
    stream.update([], [])
    stream.update([0, 1], np.array([0.5, 0.6], np.float32))

    assert stream.result().auroc.value == 1.0


def test_scores_far_from_zero_have_wider_intervals() -> None:
    """As the documentation says; the interval still holds the exact value."""
    labels, scores = items(9, 20_000, 0.3)
    near, far = streamed(labels, scores), streamed(labels, scores + 1000)

    assert far.auroc.width > 20 * near.auroc.width
    assert_certified(far, labels, scores + 1000)


def test_undefined_results_are_said_to_be_so() -> None:
    """Nothing, or one class only, cannot be ranked; a refused first batch does not fix the type."""
    stream = RankingStream()
    with pytest.raises(UndefinedMetricError, match="nothing has come"):
        stream.result()
    with pytest.raises(ShapeError):
        stream.update([0], [np.nan])
    stream.update(np.zeros(0, int), np.zeros(0, np.float32))
    stream.update([1, 1], np.array([0.5, 0.6], np.float32))
    with pytest.raises(UndefinedMetricError, match="2 positives among 2"):
        stream.result()


def test_streams_that_differ_do_not_merge() -> None:
    """Other bits or another type are refused."""
    one, other = RankingStream(), RankingStream()
    one.update([0], [0.5])
    other.update([0], np.array([0.5], np.float32))
    with pytest.raises(ShapeError, match="one type"):
        one.merge(other)
    with pytest.raises(ShapeError, match="same bits; got 19 and 22"):
        one.merge(RankingStream(bits=22))


@pytest.mark.parametrize(("options", "words"), [({"bits": 18}, "19 to 24"), ({"threads": 0}, "at least 1")])
def test_bad_options_are_refused(options: dict[str, int], words: str) -> None:
    """Both kinds of stream say what must be."""
    for stream in (RankingStream, PixelStream):
        with pytest.raises(ShapeError, match=words):
            stream(**options)


# --- anomaly maps --------------------------------------------------------------------------------------------------


def pictures(seed: int, spread: float) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Masks with a few regions, one picture without any, and maps."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((4, 24, 31), bool)
    for mask in masks[1:]:
        for _ in range(3):
            top, left = rng.integers(0, 18, 2)
            mask[top : top + rng.integers(1, 6), left : left + rng.integers(1, 6)] = True
    return masks, (0.6 + spread * (rng.standard_normal(masks.shape) + masks)).astype(np.float32)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), spread=st.sampled_from([1.0, 1e-5, 3e-7]), limit=st.sampled_from([0.05, 0.3, 1.0]))
def test_intervals_of_maps_hold_the_exact_figures(seed: int, spread: float, limit: float) -> None:
    """AUPRO and all pixel figures, picture by picture."""
    masks, maps = pictures(seed, spread)
    stream = PixelStream()
    for mask, scores in zip(masks, maps, strict=True):
        stream.update(mask, scores)
    found, exact = stream.result(limit=limit), pixel_scores(masks, maps, limit=limit)

    assert found.aupro.low - ROUNDING <= exact.aupro <= found.aupro.high + ROUNDING
    assert found.aupro.low - ROUNDING <= found.aupro.value <= found.aupro.high + ROUNDING
    assert_certified(found, masks, maps)


def test_maps_of_16_bits_are_exact() -> None:
    """AUPRO of float16 maps is that of the exact function, without an interval."""
    masks, maps = pictures(1, 0.3)
    stream = PixelStream()
    stream.update(masks, maps.astype(np.float16))
    found = stream.result()

    assert found.aupro.width == 0
    assert found.aupro.value == pytest.approx(pixel_scores(masks, maps.astype(np.float16)).aupro, abs=1e-13)


def test_streams_of_maps_merge() -> None:
    """Order and workers change AUPRO by the rounding of its sums at most; regions are counted."""
    masks, maps = pictures(2, 0.01)
    whole, first, second = PixelStream(), PixelStream(), PixelStream()
    whole.update(masks, maps)
    first.update(masks[2:], maps[2:])
    second.update(masks[:2], maps[:2])
    first.merge(second)

    assert first.result().aupro.value == pytest.approx(whole.result().aupro.value, abs=1e-13)
    assert first.result().auroc == whole.result().auroc
    assert first.result().average_precision == whole.result().average_precision
    assert first.result().regions == whole.result().regions > 3


def test_bad_maps_leave_everything_as_it_was() -> None:
    """A refused batch adds neither pixels nor regions."""
    masks, maps = pictures(3, 0.1)
    stream = PixelStream()
    stream.update(masks, maps)
    before = stream.result()
    bad = maps.copy()
    bad[2, 3, 4] = np.nan
    for mask, scores, words in (
        (masks, bad, "must be finite"),
        (masks.astype(np.uint8) * 255, maps, "must be 0 or 1; got 255"),
        (masks[:1], maps, "of one shape"),
        (masks, maps.astype(np.float64), "one type"),
    ):
        with pytest.raises(ShapeError, match=words):
            stream.update(mask, scores)

    assert stream.result() == before
    with pytest.raises(ShapeError, match=r"limit must lie in \(0, 1\]"):
        stream.result(limit=0.0)


def test_maps_without_a_region_are_undefined() -> None:
    """Normal pictures alone have no AUPRO."""
    stream = PixelStream()
    stream.update(np.zeros((2, 3), bool), np.ones((2, 3)))
    with pytest.raises(UndefinedMetricError, match="0 positives among 6"):
        stream.result()
