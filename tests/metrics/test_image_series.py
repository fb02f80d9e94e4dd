"""Figures by image weights equal figures of images that are really repeated."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from clipfast.errors import ShapeError, UndefinedMetricError
from clipfast.metrics.detection import voc_average_precision_score
from clipfast.metrics.detection_data import Detections, GroundTruths
from clipfast.metrics.image_series import (
    PrecisionSeries,
    RatioSeries,
    drawn_figure,
    image_weights,
    series_difference,
    series_interval,
)
from clipfast.metrics.multiple import holm_adjusted
from clipfast.metrics.paired import paired_bootstrap

IMAGES = 7


def _scene(seed: int) -> tuple[GroundTruths, Detections]:
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, 20, (24, 2))
    truths = np.concatenate([corners, corners + rng.integers(4, 12, (24, 2))], axis=1)
    images, classes = rng.integers(0, IMAGES, 24), rng.choice(["cat", "dog", "elk"], 24)
    picked = rng.integers(0, 24, 60)
    found = truths[picked] + rng.integers(-2, 3, (60, 4))
    kinds = np.where(rng.random(60) < 0.8, classes[picked], "yak")  # a class without a ground truth too
    difficult = rng.random(24) < 0.2
    return (
        GroundTruths(images, classes, truths.astype(np.float64), difficult),
        Detections(images[picked], kinds, found.astype(np.float64), rng.permutation(60) / 60),
    )


def _repeated(values: NDArray[np.int64], weights: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of images, as often as their weight says, and the number of their copy as image."""
    rows, images, number = [], [], 0
    for image, weight in enumerate(weights.astype(int).tolist()):
        for _ in range(weight):
            mine = np.flatnonzero(values == image)
            rows.append(mine)
            images.append(np.full(len(mine), number))
            number += 1
    return np.concatenate(rows), np.concatenate(images)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("at", [0, 1])
def test_weighted_precision_is_that_of_repeated_images(seed: int, at: int) -> None:
    """For the images as they are and for resamples, difficult boxes and classes that vanish included."""
    truths, found = _scene(seed)
    result = voc_average_precision_score(truths, found, iou_thresholds=[0.3, 0.6])
    series = PrecisionSeries.of(result, at, truths, found, IMAGES)

    assert series.at(np.ones((1, IMAGES)))[0] == pytest.approx(result.by_threshold[at], abs=1e-12)
    for weights in image_weights(IMAGES, 100, seed)[:10]:
        truth_rows, truth_images = _repeated(truths.images, weights)
        rows, images = _repeated(found.images, weights)
        assert truths.difficult is not None
        expected = voc_average_precision_score(
            GroundTruths(
                truth_images, truths.classes[truth_rows], truths.boxes[truth_rows], truths.difficult[truth_rows]
            ),
            Detections(images, found.classes[rows], found.boxes[rows], found.scores[rows]),
            iou_thresholds=[0.3, 0.6],
        )

        assert series.at(weights[None])[0] == pytest.approx(expected.by_threshold[at], abs=1e-12)


def test_precision_without_detections_is_zero() -> None:
    """Nothing found is a figure, not an error."""
    truths = GroundTruths.from_images([np.array([[0, 0, 4, 4]]), np.array([[0, 0, 4, 4]])])
    none = Detections.from_images([], [])
    result = voc_average_precision_score(truths, none)

    assert PrecisionSeries.of(result, 0, truths, none, 2).at(np.ones((1, 2))).tolist() == [0.0]


def test_a_ratio_is_the_mean_over_things_not_images() -> None:
    """NaN values do not count, and an image may hold none or several."""
    series = RatioSeries.of(np.array([1.0, 3.0, np.nan, 5.0]), np.array([0, 0, 1, 3]), 4)

    assert series.at(np.ones((1, 4)))[0] == 3.0
    assert series.at(np.array([[2.0, 1, 1, 0], [0, 5, 5, 0]])).tolist()[0] == 2.0
    assert np.isnan(series.at(np.array([[0.0, 5, 5, 0]]))[0])


@pytest.mark.parametrize(("images", "least"), [(2, 0.5), (4, 0.125), (6, 0.03125)])
def test_few_images_prove_little(images: int, least: float) -> None:
    """No exact test of n differences of one sign gives a smaller p-value than 2 / 2^n."""
    weights = image_weights(images, 1000, seed=0)
    counts = np.ones(images)
    first, second = RatioSeries(0.9 * counts, counts), RatioSeries(np.linspace(0.1, 0.2, images), counts)

    assert series_difference(first, second, weights).p_value == least


def test_weights_are_resamples() -> None:
    """As many images in each, the same for the same seed, their mean 1."""
    weights = image_weights(20, 500, seed=4)

    assert (weights.sum(axis=1) == 20).all()
    assert np.array_equal(weights, image_weights(20, 500, seed=4))
    assert weights.mean(axis=0) == pytest.approx(np.ones(20), abs=0.2)
    with pytest.raises(UndefinedMetricError, match="at least two images"):
        image_weights(1, 100, seed=0)


def test_differences_are_those_of_the_paired_bootstrap() -> None:
    """The same data by `paired_bootstrap` gives the same difference, and interval and p-value up to the draw."""
    rng = np.random.default_rng(0)
    first, second = rng.normal(0.3, 1, 80), rng.normal(0, 1, 80)
    ones = np.ones(80)
    found = series_difference(RatioSeries(first, ones), RatioSeries(second, ones), image_weights(80, 2000, seed=1))
    expected = paired_bootstrap(np.mean, first, second, seed=1)

    assert found.difference == pytest.approx(expected.difference)
    assert found.interval is not None
    assert expected.interval is not None
    assert found.interval.low == pytest.approx(expected.interval.low, abs=0.03)
    assert found.interval.high == pytest.approx(expected.interval.high, abs=0.03)
    assert found.p_value == pytest.approx(expected.p_value, abs=0.03)
    swapped = series_difference(RatioSeries(second, ones), RatioSeries(first, ones), image_weights(80, 2000, seed=1))
    assert (swapped.difference, swapped.p_value) == (-found.difference, found.p_value)


def _rare_classes(rng: np.random.Generator, images: int, classes: int) -> PrecisionSeries:
    """An image a class: mostly found, beside four false positives of lower scores."""
    kinds = rng.integers(0, classes, images)
    positives = np.zeros((classes, images))
    positives[kinds, np.arange(images)] = 1
    right = np.tile([True, False, False, False, False], (images, 1))
    right[:, 0] = rng.random(images) < 0.85
    scores = rng.normal(1.2 * right, 1).ravel()
    image, kind = np.repeat(np.arange(images), 5), np.repeat(kinds, 5)
    order = np.lexsort((-scores, kind))
    return PrecisionSeries(image[order], kind[order], right.ravel()[order], positives)


def test_intervals_of_precision_hold_what_they_promise() -> None:
    """They hold their own figure, and the expected one in about 95 % of all cases."""
    rng = np.random.default_rng(0)
    cases = [_rare_classes(rng, 100, 12) for _ in range(80)]
    found = [series_interval(case, image_weights(100, 200, seed)) for seed, case in enumerate(cases)]
    expected = np.mean([each.estimate for each in found])

    assert all(0 <= each.low <= each.estimate <= each.high <= 1 for each in found)
    assert {each.method for each in found} == {"centred percentile"}
    assert 0.88 <= np.mean([each.low <= expected <= each.high for each in found]) <= 1.0
    biases = [
        case.at(image_weights(100, 200, seed)).mean() - case.at(np.ones((1, 100)))[0] for seed, case in enumerate(cases)
    ]
    assert np.mean(biases) > 0.01  # what is centred away


def test_what_is_undefined_is_said() -> None:
    """A figure of one image is undefined in resamples that miss it; weights must fit."""
    series = RatioSeries.of(np.array([1.0]), np.array([0]), 3)
    with pytest.raises(UndefinedMetricError, match="for every resample"):
        series_interval(series, image_weights(3, 100, seed=0))
    with pytest.raises(ShapeError, match="a column an image"):
        series_interval(series, image_weights(4, 100, seed=0))


def test_series_come_back_from_their_arrays() -> None:
    """And what does not fit is refused."""
    truths, found = _scene(1)
    result = voc_average_precision_score(truths, found)
    series = PrecisionSeries.of(result, 0, truths, found, IMAGES)
    weights = image_weights(IMAGES, 100, seed=0)
    ratio = RatioSeries.of(np.arange(3.0), np.array([0, 1, 1]), IMAGES)

    assert np.array_equal(PrecisionSeries.from_arrays(series.arrays()).at(weights), series.at(weights), equal_nan=True)
    assert np.array_equal(RatioSeries.from_arrays(ratio.arrays()).at(weights), ratio.at(weights), equal_nan=True)
    with pytest.raises(ShapeError, match="number the rows and columns"):
        PrecisionSeries.from_arrays({**series.arrays(), "image": series.image + IMAGES})
    with pytest.raises(ShapeError, match="must have image, kind, right"):
        PrecisionSeries.from_arrays({"image": series.image})
    with pytest.raises(ShapeError, match="must have sums and counts"):
        RatioSeries.from_arrays({"sums": np.zeros(3), "counts": np.zeros(4)})


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], []),
        ([0.2], [0.2]),
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),
        ([0.5, 0.6, 0.9], [1.0, 1.0, 1.0]),
        ([0.01, 0.01, 0.04, 0.02], [0.04, 0.04, 0.04, 0.04]),
    ],
)
def test_holm(given: list[float], expected: list[float]) -> None:
    """By hand: the k-th smallest times m - k + 1, rising, at most 1."""
    assert holm_adjusted(given).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("given", [[1.1], [-0.1], [float("nan")], [[0.5]]])
def test_holm_takes_probabilities_only(given: list[float]) -> None:
    """One row of them."""
    with pytest.raises(ShapeError, match="numbers in"):
        holm_adjusted(given)


def test_figures_that_are_drawn_once_say_the_same() -> None:
    """Interval and difference of drawn figures are those of their series; bounds cut ends, not estimates."""
    weights = image_weights(40, 200, seed=3)
    rng = np.random.default_rng(0)
    first, second = (RatioSeries((rng.random(40) < share).astype(float), np.ones(40)) for share in (0.97, 0.5))
    one, other = drawn_figure(first, weights), drawn_figure(second, weights)

    assert one.interval() == series_interval(first, weights)
    assert one.less(other) == series_difference(first, second, weights)
    within = drawn_figure(first, weights, within=(0.0, 1.0)).interval()
    assert one.interval().high > 1
    assert (within.estimate, within.low, within.high) == (one.estimate, one.interval().low, 1.0)
