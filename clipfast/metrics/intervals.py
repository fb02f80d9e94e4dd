"""How sure a figure is: the bootstrap over images, and Wilson's interval of a share.

What is resampled is always a whole image, never a pixel or a box: those of one image are not independent.
"""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from typing import Any, Literal

from numpy.typing import NDArray

from clipfast.errors import ShapeError, UndefinedMetricError
from clipfast.metrics.resampling import (
    Resampler,
    Statistic,
    bootstrap_ends,
    checked_samples,
    evaluate,
    require_resamples,
)

__all__ = ["BootstrapOptions", "Interval", "bootstrap_interval", "wilson_interval"]


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and the interval around it.

    Attributes:
        estimate: The figure itself.
        low: Lower end.
        high: Upper end.
        confidence: Share of repetitions whose interval would hold the true value, in (0, 1).
        method: How it was found: `percentile`, `bca`, `wilson`, `delong`, ...
    """

    estimate: float
    low: float
    high: float
    confidence: float
    method: str


@dataclass(frozen=True, slots=True)
class BootstrapOptions:
    """How to bootstrap.

    Attributes:
        method: `bca` corrects bias and skew (Efron, 1987) and needs one more call of the statistic per image, each on
            all images but one: beyond some ten thousand images that is slow. `percentile` takes the quantiles of the
            resamples as they are.
        resamples: How many, at least 100.
        confidence: In (0, 1).

    Raises:
        ShapeError: If one is not of these.
    """

    method: Literal["bca", "percentile"] = "bca"
    resamples: int = 2000
    confidence: float = 0.95

    def __post_init__(self) -> None:
        if self.method not in {"bca", "percentile"}:
            raise ShapeError(f"method must be one of ['bca', 'percentile']; got {self.method!r}.")
        require_resamples(self.resamples, 100, 2000)
        require_confidence(self.confidence)


def bootstrap_interval(
    statistic: Statistic,
    *samples: NDArray[Any],
    seed: int,
    paired: bool = True,
    strata: NDArray[Any] | None = None,
    options: BootstrapOptions | None = None,
) -> Interval:
    """Interval of any statistic of images, by resampling images.

    Args:
        statistic: Called as `statistic(*samples)` with resampled samples, returns one number. One that takes `axis`, as
            `np.mean` does, gets many resamples at once, (b, n, ...), and `axis=1`, and returns (b,): far faster.
        *samples: Arrays with one row an image, (n, ...).
        seed: Chooses the resamples.
        paired: Row i of all samples is image i, and images are resampled. Otherwise each sample has its own images
            and is resampled by itself.
        strata: Group of every image, (n,): each is resampled within itself and keeps its size, as classes must where
            there are few of one. Only for paired samples.
        options: Method, number of resamples, confidence.

    Returns:
        The statistic of the samples as they are, and its interval. Without width it says that no resample differs,
        not that the figure is certain.

    Raises:
        ShapeError: If samples differ in length though paired, hold NaN or infinite numbers, or the statistic returns
            anything but one number.
        UndefinedMetricError: If there are fewer than two images; if the statistic is undefined (raises that error or
            returns NaN) on the samples or on a resample; or if BCa does not exist because no resample lies on one side
            of the estimate.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, ch. 13 and 14.3.

    >>> import numpy as np
    >>> found = bootstrap_interval(np.mean, np.arange(100.0), seed=0)
    >>> found.estimate, round(found.low), round(found.high)
    (49.5, 44, 55)
    """
    chosen = options or BootstrapOptions()
    rows = checked_samples(samples, paired=paired)
    resampler = Resampler.of(rows, paired=paired, strata=strata)
    estimate = float(evaluate(statistic, rows, iter([resampler.all_rows()]))[0])
    draws = evaluate(statistic, rows, resampler.draws(seed, chosen.resamples))
    folds = None
    if chosen.method == "bca":
        folds = [evaluate(statistic, rows, resampler.without_each(part)) for part in range(resampler.parts)]
    low, high = bootstrap_ends(draws, estimate, folds, chosen.confidence)
    return Interval(estimate, low, high, chosen.confidence, chosen.method)


def wilson_interval(successes: int, trials: int, confidence: float = 0.95) -> Interval:
    """Interval of a share of independent trials, such as accuracy (Wilson, JASA 1927); sound at 0 and 1 too.

    Args:
        successes: How many, 0 <= successes <= trials.
        trials: Of how many.
        confidence: In (0, 1).

    Returns:
        The share and its interval, within [0, 1].

    Raises:
        UndefinedMetricError: If there is no trial.
        ShapeError: If counts are not integers, are negative, or successes exceed trials.

    >>> found = wilson_interval(20, 20)
    >>> found.estimate, round(found.low, 3), found.high
    (1.0, 0.839, 1.0)
    """
    require_confidence(confidence)
    try:
        successes, trials = operator.index(successes), operator.index(trials)  # NumPy's integers would overflow
    except TypeError as error:
        raise ShapeError(f"successes and trials must be integers; got {successes!r} of {trials!r}.") from error
    if trials == 0 and successes == 0:
        raise UndefinedMetricError("a share needs at least one trial; got 0 of 0.")
    if not 0 <= successes <= trials:
        raise ShapeError(f"successes must be in 0 ... trials; got {successes} of {trials}.")
    share = successes / trials
    return Interval(share, *wilson_ends(share, trials, confidence), confidence, "wilson")


def wilson_ends(share: float, trials: float, confidence: float) -> tuple[float, float]:
    """Return the ends of Wilson's interval; `trials` may be an effective number, of trials that are not independent."""
    from scipy.special import ndtri

    z = float(ndtri(0.5 + confidence / 2))
    middle = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    low = 0.0 if share == 0 else middle - half  # these two are exact; rounding would miss them
    high = 1.0 if share == 1 else middle + half
    return low, high


def require_confidence(confidence: float) -> None:
    """Refuse what is no confidence."""
    if not 0 < confidence < 1:
        raise ShapeError(f"confidence must be in (0, 1), such as 0.95; got {confidence!r}.")
