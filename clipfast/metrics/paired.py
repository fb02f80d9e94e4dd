"""Is one system better than another on the same images? Bootstrap, t test and permutation test of the difference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipfast.errors import ShapeError, UndefinedMetricError
from clipfast.metrics.intervals import BootstrapOptions, Interval, require_confidence
from clipfast.metrics.resampling import (
    Resampler,
    Statistic,
    bootstrap_ends,
    checked_samples,
    evaluate,
    require_resamples,
    seeded,
)

__all__ = ["PairedDifference", "difference_of_draws", "paired_bootstrap", "paired_t_test", "permutation_test"]

Doubles = NDArray[np.float64]

# Up to so many differences that are not 0, all their signs are tried: 65 536 at most.
_EXACT_UP_TO = 16
_CHUNK = 4_000_000
_SMALLEST = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """How two systems differ on the same images.

    Attributes:
        difference: First less second.
        p_value: How often a difference at least as large, of either sign, comes by chance alone; in (0, 1].
        interval: Of the difference; None where the method gives none.
        method: How it was found.
    """

    difference: float
    p_value: float
    interval: Interval | None
    method: str


def paired_bootstrap(
    statistic: Statistic,
    *samples: NDArray[Any],
    seed: int,
    strata: NDArray[Any] | None = None,
    options: BootstrapOptions | None = None,
) -> PairedDifference:
    """Compare two systems by resampling the images that both have seen.

    Args:
        statistic: Called as `statistic(*truth, first)` and `statistic(*truth, second)`; see `bootstrap_interval`.
        *samples: What belongs to the images, such as labels, if anything; then what the first system says of each
            image, and what the second says of the same images in the same order; each (n, ...).
        seed: Chooses the resamples.
        strata: Group of every image, (n,), whose size each resample keeps; labels where a class is rare.
        options: Method, number of resamples, confidence.

    Returns:
        The difference, its interval, and the p-value (1 + r) / (1 + b): r of b resamples differ from the difference
        by at least its own size.

    Raises:
        ShapeError: As `bootstrap_interval`; if there are fewer than two samples.
        UndefinedMetricError: As `bootstrap_interval`.

    >>> right = np.arange(60) % 3 > 0
    >>> found = paired_bootstrap(np.mean, right, right & (np.arange(60) % 5 > 0), seed=0)
    >>> round(found.difference, 3), found.p_value < 0.01
    (0.133, True)
    """
    chosen = options or BootstrapOptions()
    if len(samples) < 2:
        raise ShapeError(f"samples must end with those of two systems; got {len(samples)} in all.")
    *truth, first, second = rows = checked_samples(samples, paired=True)
    systems = [*truth, first], [*truth, second]
    resampler = Resampler.of(rows, paired=True, strata=strata)
    ours, theirs = (float(evaluate(statistic, system, iter([resampler.all_rows()]))[0]) for system in systems)
    ours_drawn, theirs_drawn = (
        evaluate(statistic, system, resampler.draws(seed, chosen.resamples)) for system in systems
    )
    folds = None
    if chosen.method == "bca":
        ours_left, theirs_left = (evaluate(statistic, system, resampler.without_each(0)) for system in systems)
        folds = [ours_left - theirs_left]
    return difference_of_draws((ours, theirs), (ours_drawn, theirs_drawn), folds, chosen)


def difference_of_draws(
    figures: tuple[float, float], draws: tuple[Doubles, Doubles], folds: list[Doubles] | None, options: BootstrapOptions
) -> PairedDifference:
    """Compare two figures by their values on the same resamples, (b,) each, as `paired_bootstrap` says.

    Raises:
        UndefinedMetricError: If BCa does not exist.
    """
    ours, theirs = figures
    difference, drawn = ours - theirs, draws[0] - draws[1]
    low, high = bootstrap_ends(drawn, difference, folds, options.confidence)
    # Sums in another order may differ in the last bits; those count as equal.
    beyond = np.abs(drawn - difference) >= abs(difference) - 1e-12 * max(abs(ours), abs(theirs))
    return PairedDifference(
        difference=difference,
        p_value=(1 + int(np.count_nonzero(beyond))) / (1 + len(drawn)),
        interval=Interval(difference, low, high, options.confidence, options.method),
        method=f"paired bootstrap, {options.method}",
    )


def paired_t_test(first: NDArray[Any], second: NDArray[Any], confidence: float = 0.95) -> PairedDifference:
    """Student's test of the mean difference; for differences that are roughly normal, such as means over seeds.

    Args:
        first: A figure of the first system by image, seed or class, (n,).
        second: The same of the second, (n,).
        confidence: Of the interval, in (0, 1).

    Returns:
        Mean difference, two-sided p-value and interval from Student's distribution with n - 1 degrees of freedom.

    Raises:
        ShapeError: If the two are not (n,) of one length or not finite.
        UndefinedMetricError: If n < 2, or all differences are equal: there is no t.

    >>> found = paired_t_test(np.array([0.91, 0.93, 0.90]), np.array([0.88, 0.89, 0.88]))
    >>> round(found.difference, 3), round(found.p_value, 3)
    (0.03, 0.035)
    """
    from scipy.special import stdtr, stdtrit

    require_confidence(confidence)
    differences = _differences(first, second)
    count = len(differences)
    mean = float(differences.mean())
    # A spread within the rounding of the figures themselves is none.
    rounding = 4 * np.finfo(np.float64).eps * max(float(np.abs(first).max()), float(np.abs(second).max()))
    if float(np.ptp(differences)) <= rounding:
        raise UndefinedMetricError(
            f"a t test needs differences that vary; all {count} are {mean:.6g}. Take permutation_test, or more seeds."
        )
    error = float(differences.std(ddof=1)) / count**0.5
    half = float(stdtrit(count - 1, 0.5 + confidence / 2)) * error
    return PairedDifference(
        difference=mean,
        p_value=max(2 * float(stdtr(count - 1, -abs(mean) / error)), _SMALLEST),
        interval=Interval(mean, mean - half, mean + half, confidence, "t"),
        method="paired t",
    )


def permutation_test(
    first: NDArray[Any], second: NDArray[Any], *, seed: int, resamples: int = 9999
) -> PairedDifference:
    """Test the mean difference by swapping the two systems in some of the pairs; assumes no distribution.

    With at most 16 differences that are not 0, every way to swap is tried and the p-value is exact; else `resamples`
    random ones, and it is (1 + r) / (1 + resamples). It is never 0 (Phipson and Smyth, 2010).

    Args:
        first: A figure of the first system by image, seed or class, (n,).
        second: The same of the second, (n,).
        seed: Chooses the swaps where not all are tried.
        resamples: How many are tried then, at least 99.

    Returns:
        Mean difference and two-sided p-value; no interval.

    Raises:
        ShapeError: If the two are not (n,) of one length or not finite, or `resamples` is too small.
        UndefinedMetricError: If n < 2.

    >>> found = permutation_test(np.array([0.91, 0.93, 0.90]), np.array([0.88, 0.89, 0.88]), seed=0)
    >>> round(found.difference, 3), found.p_value
    (0.03, 0.25)
    """
    require_resamples(resamples, 99, 9999)
    rng = seeded(seed)
    differences = _differences(first, second)
    moving = differences[differences != 0]
    # Sums in another order may differ in the last bits; those count as equal.
    reached = abs(float(moving.sum())) - 1e-12 * float(np.abs(moving).sum())
    if len(moving) <= _EXACT_UP_TO:
        p_value = np.count_nonzero(np.abs(_all_sums(moving)) >= reached) / 2 ** len(moving)
    else:
        p_value = (1 + _random_beyond(moving, reached, rng, resamples)) / (1 + resamples)
    exact = len(moving) <= _EXACT_UP_TO
    return PairedDifference(
        float(differences.mean()), float(p_value), None, f"permutation, {'exact' if exact else 'random'}"
    )


def _all_sums(values: Doubles) -> Doubles:
    """Return the sums under all signs, (2 ** n,)."""
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums + value, sums - value])
    return sums


def _random_beyond(values: Doubles, reached: float, rng: np.random.Generator, resamples: int) -> int:
    """Count the random signs under which the sum is at least `reached` away from 0."""
    at_once = max(1, _CHUNK // len(values))
    beyond = 0
    for begin in range(0, resamples, at_once):
        swapped = rng.integers(0, 2, (min(at_once, resamples - begin), len(values)), dtype=np.int8)
        sums = values.sum() - 2 * (swapped @ values)
        beyond += int(np.count_nonzero(np.abs(sums) >= reached))
    return beyond


def _differences(first: NDArray[Any], second: NDArray[Any]) -> Doubles:
    ours, theirs = checked_samples([first, second], paired=True)
    if ours.ndim != 1 or theirs.ndim != 1:
        raise ShapeError(f"both systems must be (n,), one figure a pair; got {ours.shape} and {theirs.shape}.")
    if ours.dtype.kind not in "biuf" or theirs.dtype.kind not in "biuf":
        raise ShapeError(f"both systems must be numbers; got {ours.dtype} and {theirs.dtype}.")
    differences: Doubles = ours.astype(np.float64) - theirs.astype(np.float64)
    return differences
