"""When a new head, bank or α may take the old one's place.

A candidate is promoted if the paired interval of its gain in top-1 on the frozen evaluation set excludes 0. Who
retrains every week asks that 52 times a year, and at 95 % each time would promote by luck alone sooner or later. So the
interval's confidence is spent like money: the error allowed in all (one in twenty) is shared out over the looks at one
evaluation set, or at others that share a picture with it: a label that was mended makes no new pictures,

    error of look k = .025 / 52 + .025 · 6 / (π² k²),   k = 1 ... 52,

more for the first, when true gains are large, and enough for every week. Their sum is below .05, so by Bonferroni's
inequality the chance of even one false promotion in a year is below 5 %, however the candidates depend on each other,
and on earlier decisions. After 52 looks the set is spent: then only a new evaluation set can tell.

That inequality holds for candidates whose making did not see the set. Who reads its pictures one by one and mends the
answers fits to it by hand, and no arithmetic undoes that (Dwork et al., "The reusable holdout", Science 2015).

What is counted: photos, not patches. Patches of one photo are not independent, so a photo counts for the system that
answers more of its patches right. Under the null hypothesis a photo that changed is as likely to fall to either side:
McNemar's exact test, one-sided, and its interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipfast.errors import DataError, ShapeError
from clipfast.metrics import mcnemar_interval
from clipfast.metrics.intervals import Interval

__all__ = ["LOOKS", "TOTAL_ERROR", "Gain", "gain_of", "look_error", "smallest_lead"]

LOOKS = 52
"""How often an evaluation set may be looked at."""
TOTAL_ERROR = 0.05


@dataclass(frozen=True, slots=True)
class Gain:
    """What a candidate is better by, on the pictures that both were asked about.

    Attributes:
        look: How many times these pictures have been looked at, this time included.
        photos: Independent pictures.
        better: Photos on which the candidate alone is right (of several patches: on more of them).
        worse: Photos on which the present one is.
        interval: Of the gain in the share of photos; its confidence is 1 - 2 · `look_error(look)`.
        accuracies: Share of right patches, of the present one and of the candidate.
    """

    look: int
    photos: int
    better: int
    worse: int
    interval: Interval
    accuracies: tuple[float, float]

    @property
    def proven(self) -> bool:
        """Whether the interval excludes 0: the candidate may be promoted."""
        return self.interval.low > 0

    def refusal(self) -> DataError:
        """Return what is raised where a gain that is not proven was to promote."""
        estimate, low, high = self.interval.estimate, self.interval.low, self.interval.high
        return DataError(
            f"The gain is not proven: {100 * estimate:+z.1f} points ({100 * low:+z.1f} to {100 * high:+z.1f}) includes "
            f"0, with {self.better} photos better and {self.worse} worse. Keep what is in use, and label more.",
            code="gain_not_proven",
            gain=estimate,
            low=low,
            high=high,
            better=self.better,
            worse=self.worse,
        )

    def as_look(self, look: int) -> Gain:
        """Return what the same answers are worth as another look; the same look is the same.

        Raises:
            DataError: The evaluation set is spent.
        """
        if look == self.look:
            return self
        interval = mcnemar_interval(self.better, self.worse, self.photos, 1 - 2 * look_error(look))
        return replace(self, look=look, interval=interval)


def look_error(look: int) -> float:
    """Return the chance of a false promotion that look number `look` (from 1) may add.

    Raises:
        DataError: The evaluation set is spent.

    >>> round(look_error(1), 4), round(sum(look_error(k) for k in range(1, 53)), 3)
    (0.0157, 0.05)
    """
    if isinstance(look, bool) or not isinstance(look, int) or look < 1:
        raise ShapeError(f"look must be a whole number of at least 1; got {look!r}.")
    if look > LOOKS:
        raise DataError(
            f"This evaluation set has been looked at {LOOKS} times; another look could be lucky. Make a new one of "
            "other pictures, labelled since, in a folder of their own: clipfast evalset make FOLDER.",
            code="eval_set_spent",
            looks=LOOKS,
        )
    half = TOTAL_ERROR / 2
    return half / LOOKS + half * 6 / (math.pi * look) ** 2


def gain_of(present: NDArray[Any], candidate: NDArray[Any], photos: Sequence[object], *, look: int) -> Gain:
    """Compare two systems on the same patches.

    Args:
        present: Whether the present system's first answer was right, (n,) bool.
        candidate: The same of the candidate.
        photos: The photo of each patch: any value, equal for patches of one photo.
        look: Which look at this evaluation set it is, from 1.

    Raises:
        ShapeError: Lengths differ, or there is no patch.
        DataError: The evaluation set is spent.
    """
    old, new = np.asarray(present, np.bool_), np.asarray(candidate, np.bool_)
    if old.shape != new.shape or old.shape != (len(photos),) or not len(photos):
        raise ShapeError(
            f"present, candidate and photos must be (n,) of one length, 1 at least; got {old.shape}, {new.shape} and "
            f"{len(photos)}."
        )
    numbers: dict[object, int] = {}
    owner = np.array([numbers.setdefault(photo, len(numbers)) for photo in photos])
    net = np.bincount(owner, weights=new.astype(np.float64) - old.astype(np.float64))
    better, worse = int((net > 0).sum()), int((net < 0).sum())
    interval = mcnemar_interval(better, worse, len(net), 1 - 2 * look_error(look))
    return Gain(look, len(net), better, worse, interval, (float(old.mean()), float(new.mean())))


def smallest_lead(changed: int, look: int) -> int | None:
    """Return how many of `changed` photos must fall to the candidate for a promotion; None where all would not do.

    >>> smallest_lead(10, 1), smallest_lead(5, 1)
    (9, None)
    """
    error, tail = look_error(look), 0.0
    needed = None
    for count in range(changed, -1, -1):
        tail += math.comb(changed, count) / 2**changed
        if tail > error:
            break
        needed = count
    return needed
