"""When a picture shows none of the bank's fabrics: a score, and the threshold below which it is none of them.

`fit_openset` takes the threshold from answers of fabrics that the bank holds: with n of them, the
floor(rate (n + 1))-th lowest score, which refuses at most `rate` of further ones (split conformal prediction; Vovk,
2005). With fewer than 1 / rate - 1 there is no such threshold and nothing is refused. Which score, and how often a
fabric that the bank does not hold is noticed, is found by asking the bank without the fabric of each query in turn;
choosing among three adds up to half a point of refusals where n is below a hundred.

What n counts is photos, for patches of one photo stand or fall together: every photo has the same weight, shared out
among its patches (hierarchical conformal prediction; Lee, Barber and Willett, 2023).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from clipfast.errors import ShapeError
from clipfast.metrics.intervals import Interval
from clipfast.retrieval.photowise import PhotoCounts
from clipfast.retrieval.voices import Doubles
from clipfast.types import Ints

__all__ = ["FALSE_REFUSALS", "KNOWN_SCORES", "KnownScore", "OpenSet", "Prob", "fit_openset", "openset_views"]

FALSE_REFUSALS = 0.05
_LEAST = 1e-9
_ROUNDING = 1e-12  # of sums of weights

KnownScore = Literal["best", "standing", "contrast"]
Prob = Annotated[float, msgspec.Meta(ge=0, le=1)]


class OpenSet(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When a picture shows none of the bank's fabrics.

    Attributes:
        score: Which score is compared, see `KNOWN_SCORES`.
        threshold: Scores below it mean none; None where there were too few answers to find one.
        false_refusals: The share of pictures of known fabrics that it may refuse.
        samples: Answers of known fabrics that it was found on.
        noticed: Share of queries answered "none" when their fabric was taken out of the bank; None without a threshold.
    """

    score: KnownScore
    threshold: float | None
    false_refusals: Prob
    samples: int
    noticed: Interval | None

    def refuses(self, class_scores: Doubles) -> NDArray[np.bool_]:
        """Say of each row of class scores, (n, c), whether none of the fabrics is it, (n,)."""
        if self.threshold is None:
            return np.zeros(len(class_scores), np.bool_)
        refused: NDArray[np.bool_] = KNOWN_SCORES[self.score](class_scores) < self.threshold
        return refused


def fit_openset(
    views: Sequence[tuple[Doubles, Doubles]],
    *,
    photos: Sequence[int] | None = None,
    false_refusals: float = FALSE_REFUSALS,
) -> OpenSet:
    """Find score and threshold.

    Args:
        views: One pair a query of a fabric that the bank holds: its class scores, (c,), and those of the bank without
            the query's fabric, (c - 1,); two fabrics at least.
        photos: Number of the photo that each query is of, (n,); None: each of another.
        false_refusals: The share of such queries that may be refused, in (0, 1).

    Raises:
        ShapeError: `false_refusals` is outside (0, 1), a score is not finite, or photos are not one a query.
    """
    if not 0 < false_refusals < 1:
        raise ShapeError(f"false_refusals must be a number in (0, 1); got {false_refusals!r}.")
    if not all(np.isfinite(scores).all() for view in views for scores in view):
        raise ShapeError("class scores must be finite; with NaN among them a threshold would refuse nothing.")
    few = OpenSet(score="best", threshold=None, false_refusals=false_refusals, samples=len(views), noticed=None)
    if not views:
        return few
    counts = PhotoCounts.among(photos, len(views))
    best: tuple[NDArray[np.bool_], KnownScore, float] | None = None
    for name, score in KNOWN_SCORES.items():
        known = np.array([score(held[None])[0] for held, _ in views])
        without = np.array([score(rest[None])[0] for _, rest in views])
        threshold = _threshold(known, counts, false_refusals)
        if threshold is None:
            return few
        noticed = without < threshold
        if best is None or noticed.sum() > best[0].sum():
            best = noticed, name, threshold
    if best is None:
        raise ShapeError("there is no score to choose among.")
    noticed, name, threshold = best
    return msgspec.structs.replace(few, score=name, threshold=threshold, noticed=counts.share(noticed))


def openset_views(class_scores: Doubles, owner: Ints) -> list[tuple[Doubles, Doubles]]:
    """Pair each row of class scores, (n, c), with itself without its own fabric's column, `owner` (n,)."""
    columns = np.arange(class_scores.shape[1])
    return [(row, row[columns != own]) for row, own in zip(class_scores, owner.tolist(), strict=True)]


def _best(scores: Doubles) -> Doubles:
    """Highest cosine."""
    best: Doubles = scores.max(axis=1)
    return best


def _standing(scores: Doubles) -> Doubles:
    """Highest cosine less the mean over fabrics, in standard deviations over fabrics."""
    spread = scores.std(axis=1)
    found: Doubles = (scores.max(axis=1) - scores.mean(axis=1)) / np.maximum(spread, _LEAST)
    return found


def _contrast(scores: Doubles) -> Doubles:
    """Twice the highest cosine less the second."""
    if scores.shape[1] < 2:
        return 2 * _best(scores)
    second, first = np.partition(scores, -2, axis=1)[:, -2:].T
    found: Doubles = 2 * first - second
    return found


KNOWN_SCORES: dict[KnownScore, Callable[[Doubles], Doubles]] = {
    "best": _best,
    "standing": _standing,
    "contrast": _contrast,
}


def _threshold(known: Doubles, counts: PhotoCounts, rate: float) -> float | None:
    """Return the highest score below which at most `rate` of the weight is; None where there are too few photos.

    Every photo weighs 1 / (photos + 1), shared out among its patches, and the next one, which may be anywhere, too.
    """
    order = np.argsort(known, kind="stable")
    weight = 1 / (counts.sizes[counts.owner] * (counts.count + 1.0))
    scores = known[order]
    first = np.searchsorted(scores, scores, side="left")  # equal scores have the same weight below them
    below = np.concatenate([[0.0], np.cumsum(weight[order])])[first] + 1 / (counts.count + 1.0)
    allowed = scores[below <= rate + _ROUNDING]
    return float(allowed[-1]) if len(allowed) else None
