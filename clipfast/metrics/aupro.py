"""Scores of anomaly maps against masks: the overlap with every region, and with every pixel.

AUPRO is MVTec's: the curve of the mean overlap of regions over the false positive rate of normal pixels, integrated up
to a limit and divided by it (Bergmann et al., IJCV 2021, and their evaluation code). Regions are 8-connected and belong
to one picture each; pixels of equal score are one point of the curve; between points it is a straight line, also at the
limit.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clipfast.errors import ShapeError, UndefinedMetricError
from clipfast.kernels.components import label_components
from clipfast.kernels.ranking import Levels, count_slots, rank_levels, require_binary, require_finite, take_positives
from clipfast.kernels.ranking_top import take_top
from clipfast.kernels.stripes import threads_to_use
from clipfast.metrics.ranking import scores_of_levels
from clipfast.metrics.ranking_curves import region_overlap
from clipfast.metrics.ranking_inputs import as_stacks
from clipfast.types import Ints

__all__ = ["PixelScores", "aupro_legacy200_score", "aupro_score", "pixel_scores"]

_LEGACY_STEPS = 200


@dataclass(frozen=True, slots=True)
class PixelScores:
    """Figures of merit of a set of anomaly maps, over all its pixels.

    Attributes:
        auroc: As in `RankingScores`, with one item a pixel.
        average_precision: As there.
        aupr: As there.
        f1_max: As there.
        f1_max_threshold: As there.
        aupro: The mean overlap of regions up to the limit, as `aupro_score` gives it.
    """

    auroc: float
    average_precision: float
    aupr: float
    f1_max: float
    f1_max_threshold: float
    aupro: float


def pixel_scores(masks: ArrayLike, maps: ArrayLike, *, limit: float = 0.3, threads: int | None = 2) -> PixelScores:
    """Return AUROC, average precision, AUPR, best F1 and AUPRO of anomaly maps, from one count of the pixels.

    Args:
        masks: 1 or True where a picture is anomalous, else 0, (n, h, w) or (h, w); bool or integer.
        maps: Higher means more anomalous, of the same shape; float16, float32, float64 or integers, finite.
        limit: Largest false positive rate of AUPRO, in (0, 1].
        threads: How many threads share the work; the result does not depend on it. None takes the process's cores.

    Raises:
        ShapeError: If the shapes differ or are others, a type is another one, a mask holds something but 0 and 1, a
            score is NaN or infinite, `limit` is out of range, or `threads` is not positive.
        UndefinedMetricError: If there is no anomalous pixel, or no normal one, as in empty arrays.

    >>> masks, maps = np.zeros((1, 4, 4), bool), np.zeros((1, 4, 4))
    >>> masks[0, 1, 1:3], maps[0, 1, 1], maps[0, 1, 3] = True, 2.0, 1.0
    >>> found = pixel_scores(masks, maps)
    >>> round(found.auroc, 4), round(found.aupro, 4)
    (0.7321, 0.5469)
    """
    require_limit(limit)
    stack, scores = as_stacks(masks, maps)
    weights, regions = region_weights(stack, threads)
    levels = rank_levels(stack.reshape(-1), scores.reshape(-1), weights=weights, threads=threads)
    return pixel_scores_of_levels(levels, regions, limit)


def pixel_scores_of_levels(levels: Levels, regions: int, limit: float) -> PixelScores:
    """Return every figure of counted pixels whose weights are those of `region_weights`."""
    found = scores_of_levels(levels)
    return PixelScores(
        found.auroc,
        found.average_precision,
        found.aupr,
        found.f1_max,
        found.f1_max_threshold,
        region_overlap(levels, regions, limit),
    )


def aupro_score(masks: ArrayLike, maps: ArrayLike, *, limit: float = 0.3, threads: int | None = 2) -> float:
    """Return the area under the per-region overlap up to a false positive rate, divided by it (MVTec's AUPRO).

    Arguments and errors are those of `pixel_scores`.

    >>> masks = np.array([[0, 1, 1, 0], [0, 0, 0, 0]])
    >>> aupro_score(masks, [[0.1, 0.9, 0.8, 0.2], [0.0, 0.1, 0.0, 0.0]])
    1.0
    """
    require_limit(limit)
    stack, scores = as_stacks(masks, maps)
    weights, regions = region_weights(stack, threads)
    labels, flat = stack.reshape(-1), scores.reshape(-1)
    top = take_top(labels, flat, weights, limit, threads) if flat.dtype.itemsize > 2 else None
    if top is None:
        levels = rank_levels(labels, flat, weights=weights, threads=threads)
    else:  # the curve beyond the limit is not looked at, so only the number of negatives there matters
        levels = rank_levels(top[0], top[1], weights=top[2], threads=threads)
        levels = replace(levels, negatives=len(labels) - len(weights))
    return region_overlap(levels, regions, limit)


def aupro_legacy200_score(masks: ArrayLike, maps: ArrayLike, *, limit: float = 0.3, threads: int | None = 2) -> float:
    """Return the AUPRO of cflow-ad's script, which APRIL-GAN, AnomalyCLIP and others report: for comparison only.

    It can differ by points from `aupro_score`: 200 equal steps from the smallest to the largest score stand for all
    thresholds; those with a false positive rate below `limit` are kept, and their rates are stretched to [0, 1],
    without a point at the limit or at 0. (PromptAD's steps start at the largest score, its limit is included and holes
    of regions count as found; its figures can differ again.) Source: `cal_pro_score` of ByChelsea/VAND-APRIL-GAN and
    zqhang/AnomalyCLIP. Arguments are those of `pixel_scores`.

    Raises:
        ShapeError: As `pixel_scores`.
        UndefinedMetricError: As `pixel_scores`; also if all scores are equal, or fewer than two different rates lie
            below the limit: the script divides by zero there.

    >>> masks = np.array([[0, 1, 1, 0], [0, 0, 0, 0]])
    >>> maps = np.array([[0.1, 0.9, 0.8, 0.2], [0.0, 0.1, 0.0, 0.0]])
    >>> aupro_legacy200_score(masks, maps)
    1.0
    """
    require_limit(limit)
    stack, scores = as_stacks(masks, maps)
    weights, regions = region_weights(stack, threads)
    flat, labels = scores.reshape(-1), stack.reshape(-1)
    require_finite(flat)
    if len(weights) == len(flat):
        raise UndefinedMetricError(f"A pixel must be normal; all {len(flat)} are anomalous. No rate can be counted.")
    thresholds = _legacy_thresholds(flat)
    # the script compares in the wider of the two types, which holds both exactly
    wide = np.result_type(thresholds, np.float32)
    steps, flat = np.unique(thresholds).astype(wide), np.ascontiguousarray(flat, dtype=wide)
    found = np.searchsorted(steps, take_positives(labels, flat, len(weights)))  # steps below the score
    every = count_slots(flat, steps, threads)
    passed = np.append(every, 0).reshape(-1, 2).sum(axis=1) - np.bincount(found, minlength=len(steps) + 1)
    false = np.cumsum(passed[::-1])[::-1][1:] / passed.sum()  # at each step: the share of scores above it
    overlap = np.cumsum(np.bincount(found, weights, len(steps) + 1)[::-1])[::-1][1:] / regions
    kept = false < limit
    rates = false[kept]
    if len(rates) < 2 or rates.min() == rates.max():
        raise UndefinedMetricError(
            f"Two different rates below the limit {limit} are needed; got {len(set(rates.tolist()))}. "
            "Use aupro_score, which needs none."
        )
    rates = (rates - rates.min()) / (rates.max() - rates.min())
    return float(-np.trapezoid(overlap[kept], rates))


def require_limit(limit: float) -> None:
    """Pass if `limit` lies in (0, 1].

    Raises:
        ShapeError: If it does not.
    """
    if not 0 < limit <= 1:
        raise ShapeError(f"limit must lie in (0, 1]; got {limit}. MVTec's is 0.3.")


def region_weights(masks: NDArray[Any], threads: int | None) -> tuple[NDArray[np.float64], int]:
    """Return 1 / area of its region for every anomalous pixel, in raster order, and how many regions there are.

    Args:
        masks: 0 and 1, (n, h, w), contiguous.
        threads: How many threads share the pictures.

    Raises:
        ShapeError: If a mask holds something else.
        UndefinedMetricError: If there is no region.
    """
    areas = region_areas(masks, threads)
    if not areas:
        raise UndefinedMetricError(
            f"At least one mask must hold an anomalous pixel; none of {len(masks)} does. AUPRO needs a region."
        )
    weights = np.concatenate([1.0 / of_region[of_pixel] for of_region, of_pixel in areas])
    return weights, sum(len(of_region) for of_region, _ in areas)


def region_areas(masks: NDArray[Any], threads: int | None) -> list[tuple[Ints, Ints]]:
    """Return, for each mask that is not empty, the areas of its regions, and the region of each pixel in raster order.

    Raises:
        ShapeError: If a mask holds something but 0 and 1, or `threads` is not positive.
    """
    inner = threads if len(masks) == 1 else 1  # threads share one picture, or many
    threads = threads_to_use(threads, len(masks))
    require_binary(masks.reshape(-1))

    def regions_of(mask: NDArray[Any]) -> tuple[Ints, Ints] | None:
        if not mask.any():
            return None
        found = label_components(mask, connectivity=8, threads=inner)
        pixels = take_positives(mask.reshape(-1), found.labels.reshape(-1), int(found.areas.sum()))
        return found.areas, pixels.astype(np.int64) - 1

    if threads == 1:
        results = [regions_of(mask) for mask in masks]
    else:
        with ThreadPoolExecutor(threads) as pool:
            results = list(pool.map(regions_of, masks))
    return [result for result in results if result is not None]


def _legacy_thresholds(scores: NDArray[Any]) -> NDArray[Any]:
    """Return the script's thresholds, with its own rounding: `arange` in the scores' type."""
    low, high = scores.min(), scores.max()
    with np.errstate(over="ignore"):
        step = (high - low) / _LEGACY_STEPS
    if not (np.isfinite(step) and step > 0):
        raise UndefinedMetricError(
            f"Scores must span {_LEGACY_STEPS} steps of {scores.dtype}; all lie between {low} and {high}. "
            "There are no thresholds."
        )
    return np.arange(low, high, step)
