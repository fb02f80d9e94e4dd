"""How sure an answer may be of itself, and when none of the fabrics is it.

Two questions, two small fits.

**Is the first answer right?** Cosines of .65 to .86 never fall below one half, so they are no answer. `fit_confidence`
fits a logistic curve of two features on known answers: the logarithm of how much more probable the first fabric is
than the second, and the highest cosine with a photo. Slopes cannot be negative and are drawn towards 0, and the
targets are Platt's (1999), so that few answers, all of them right, leave a doubt.

**Does the bank hold the fabric at all?** The highest cosine with a photo, or one of two other scores, below a threshold
means none of them. `fit_openset` takes the threshold from answers of fabrics that the bank holds: with n of them, the
floor(rate (n + 1))-th lowest score, which refuses at most `rate` of further ones (split conformal prediction; Vovk,
2005). With fewer than 1 / rate - 1 there is no such threshold and nothing is refused. Which score, and how often a
fabric that the bank does not hold is noticed, is found by asking the bank without the fabric of each query in turn.

Without labelled patches a bank is asked with its own photos, each among the others: `bank_judge`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal
from weakref import WeakKeyDictionary

import msgspec
import numpy as np
from numpy.typing import NDArray

from clipfast.arguments import require_type
from clipfast.errors import ShapeError
from clipfast.metrics import apply_temperature, expected_calibration_error
from clipfast.metrics.intervals import Interval
from clipfast.retrieval.answers import Judgement
from clipfast.retrieval.photowise import PhotoCounts
from clipfast.retrieval.references import References
from clipfast.retrieval.scoring import products
from clipfast.retrieval.voices import Doubles, smoothed_temperature
from clipfast.types import Floats, Ints

__all__ = [
    "FALSE_REFUSALS",
    "KNOWN_SCORES",
    "Confidence",
    "Judge",
    "KnownScore",
    "OpenSet",
    "answer_features",
    "bank_judge",
    "fit_confidence",
    "fit_openset",
    "judge_bank",
    "openset_views",
]

FALSE_REFUSALS = 0.05
_ASKED = 512
_ASKED_AT_ONCE = 32  # cosines with a million photos then take 128 MB
_NO_TEMPERATURE = 0.05  # where no photo can be asked for
_LEAST = 1e-9
_RIDGE = 1.0
_STEPS = 100

KnownScore = Literal["best", "standing", "contrast"]
Prob = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Confidence(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Probability that the first answer is right: 1 / (1 + exp(-(offset + slopes · (features - means) / spreads))).

    Attributes:
        offset: Of the curve.
        slopes: Of the log ratio of the first two shares, and of the highest cosine; not negative.
        means: Of the features.
        spreads: Of the features.
        samples: Known answers that it was fitted on.
        right: How many of them were right.
        calibration_error: Expected calibration error on answers of folds that the curve had not seen.
    """

    offset: float
    slopes: tuple[float, float]
    means: tuple[float, float]
    spreads: tuple[float, float]
    samples: int
    right: int
    calibration_error: Prob

    def prob(self, features: Doubles) -> Doubles:
        """Return probabilities in [0, 1] of features, (n, 2); see `answer_features`."""
        scaled = (features - np.array(self.means)) / np.array(self.spreads)
        return _logistic(self.offset + scaled @ np.array(self.slopes))


class OpenSet(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When a picture shows none of the bank's fabrics.

    Attributes:
        score: Which score is compared, see `KNOWN_SCORES`.
        threshold: Scores below it mean none; None where there were too few answers to find one.
        false_refusals: The share of pictures of known fabrics that it may refuse.
        samples: Answers of known fabrics that it was found on.
        noticed: Share of queries answered "none" when their fabric was taken out of the bank, with an interval that
            counts photos; None without a threshold.
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


class Judge(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Confidence and none-of-these, fitted. See `fit_confidence`, `fit_openset` and `bank_judge`.

    Attributes:
        confidence: None where all known answers were of one fabric, or there were none.
        openset: When none of the fabrics is it.
    """

    confidence: Confidence | None
    openset: OpenSet

    def judge(self, shares: Doubles, class_scores: Doubles) -> list[Judgement]:
        """Judge answers.

        Args:
            shares: Of every entry, (n, c), each row summing to 1: of fused voices, or of the bank alone.
            class_scores: The bank's cosines by fabric, (n, k).
        """
        refused = self.openset.refuses(class_scores)
        if self.confidence is None:
            probs = shares.max(axis=1)
        else:
            probs = self.confidence.prob(answer_features(shares, class_scores))
        calibrated = self.confidence is not None
        return [Judgement(float(p), bool(none), calibrated) for p, none in zip(probs, refused, strict=True)]


def answer_features(shares: Doubles, class_scores: Doubles) -> Doubles:
    """Return ln(first share / second share) and the highest cosine of each answer, (n, 2)."""
    if shares.shape[1] > 1:
        second, first = np.partition(shares, -2, axis=1)[:, -2:].T
    else:
        first, second = shares[:, 0], np.zeros(len(shares))
    ratio = np.log(np.maximum(first, _LEAST)) - np.log(np.maximum(second, _LEAST))
    return np.stack([ratio, class_scores.max(axis=1)], axis=1)


def fit_confidence(features: Doubles, right: NDArray[np.bool_], *, photos: Sequence[int] | None = None) -> Confidence:
    """Fit the curve on known answers.

    Args:
        features: (n, 2), see `answer_features`.
        right: Whether the first fabric was right, (n,).
        photos: Number of each answer's photo, (n,): no photo is in two folds. None: a photo each.

    Raises:
        ShapeError: The two do not fit, or there is no answer.
    """
    if features.ndim != 2 or features.shape[1] != 2 or right.shape != (len(features),) or not len(features):
        raise ShapeError(f"features must be (n, 2) and right (n,), n at least 1; got {features.shape}, {right.shape}.")
    if not np.isfinite(features).all():
        raise ShapeError("features must be finite; see where a share or cosine became NaN.")
    fold = PhotoCounts.of(range(len(features)) if photos is None else photos).owner % 5
    held = np.empty(len(features))
    for number in np.unique(fold):
        rest = fold != number
        curve = _curve(features[rest], right[rest]) if rest.any() else _curve(features, right)
        held[~rest] = curve.prob(features[~rest])
    error = expected_calibration_error(right.astype(np.int64), np.stack([1 - held, held], axis=1), bins=10)
    return msgspec.structs.replace(_curve(features, right), calibration_error=error)


def fit_openset(
    views: Sequence[tuple[Doubles, Doubles]],
    *,
    false_refusals: float = FALSE_REFUSALS,
    photos: Sequence[int] | None = None,
) -> OpenSet:
    """Find score and threshold.

    Args:
        views: One pair a query of a fabric that the bank holds: its class scores, (c,), and those of the bank without
            the query's fabric, (c - 1,); two fabrics at least.
        false_refusals: The share of such queries that may be refused, in (0, 1).
        photos: Number of each query's photo, for the interval. None: a photo each.

    Raises:
        ShapeError: `false_refusals` is outside (0, 1), or a score is not finite.
    """
    if not 0 < false_refusals < 1:
        raise ShapeError(f"false_refusals must be a number in (0, 1); got {false_refusals!r}.")
    if not all(np.isfinite(scores).all() for view in views for scores in view):
        raise ShapeError("class scores must be finite; with NaN among them a threshold would refuse nothing.")
    place = int(np.floor(false_refusals * (len(views) + 1)))
    if not place:
        return OpenSet(score="best", threshold=None, false_refusals=false_refusals, samples=len(views), noticed=None)
    best: tuple[NDArray[np.bool_], KnownScore, float] | None = None
    for name, score in KNOWN_SCORES.items():
        known = np.array([score(held[None])[0] for held, _ in views])
        without = np.array([score(rest[None])[0] for _, rest in views])
        threshold = float(np.sort(known)[place - 1])
        noticed = without < threshold
        if best is None or noticed.sum() > best[0].sum():
            best = noticed, name, threshold
    if best is None:
        raise ShapeError("there is no score to choose among.")
    noticed, name, threshold = best
    return OpenSet(
        score=name,
        threshold=threshold,
        false_refusals=false_refusals,
        samples=len(views),
        noticed=PhotoCounts.of(range(len(views)) if photos is None else photos).share(noticed),
    )


def openset_views(class_scores: Doubles, owner: Ints) -> list[tuple[Doubles, Doubles]]:
    """Pair each row of class scores, (n, c), with itself without its own fabric's column, `owner` (n,)."""
    columns = np.arange(class_scores.shape[1])
    return [(row, row[columns != own]) for row, own in zip(class_scores, owner.tolist(), strict=True)]


def bank_judge(references: References) -> Judge:
    """Return the judge of a bank alone: every photo is asked for among the others, of large banks 512 of them.

    The fabric that is asked for has one photo fewer then than in use, so the confidence is a little low, and fewer
    pictures of known fabrics are refused than may be. Fabrics of one photo cannot be asked for. Kept for each bank.
    """
    return _judge_of(require_type("references", references, References, "bank.references"))[0]


def _judge_of(references: References) -> tuple[Judge, float]:
    with _lock:
        if references not in _judges:
            _judges[references] = _asked_itself(references)
        return _judges[references]


def _asked_itself(references: References) -> tuple[Judge, float]:
    owner = np.repeat(np.arange(len(references.names)), references.counts)
    rows = np.flatnonzero(references.counts[owner] > 1)
    if not len(rows) or len(references.names) < 2:
        return Judge(confidence=None, openset=fit_openset([])), _NO_TEMPERATURE
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(_ASKED, len(rows))).astype(np.int64))]
    parts = np.array_split(rows, -(-len(rows) // _ASKED_AT_ONCE))
    scores = np.concatenate([_among_others(references, part) for part in parts])
    truth = owner[rows]
    temperature = smoothed_temperature(truth, scores)
    shares = apply_temperature(scores, temperature)
    right = scores.argmax(axis=1) == truth
    views = openset_views(scores, truth)
    judge = Judge(confidence=fit_confidence(answer_features(shares, scores), right), openset=fit_openset(views))
    return judge, temperature


def _among_others(references: References, rows: Ints) -> Doubles:
    """Class scores of photos of the bank that are not compared with themselves, (n, c)."""
    cosines = products(np.ascontiguousarray(references.embeddings[rows]), references.embeddings)
    cosines[np.arange(len(rows)), rows] = -np.inf
    scores: Doubles = np.maximum.reduceat(cosines, references.starts, axis=1).astype(np.float64)
    return scores


def judge_bank(references: References, class_scores: Floats) -> list[Judgement]:
    """Judge answers of a bank alone by its class scores, (n, c)."""
    scores = class_scores.astype(np.float64)
    judge, temperature = _judge_of(references)
    return judge.judge(apply_temperature(scores, temperature), scores)


_lock = threading.Lock()
_judges: WeakKeyDictionary[References, tuple[Judge, float]] = WeakKeyDictionary()


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


def _logistic(values: Any) -> Doubles:
    probs: Doubles = 1 / (1 + np.exp(-np.clip(values, -700, 700)))
    return probs


def _curve(features: Doubles, right: NDArray[np.bool_]) -> Confidence:
    """Fit offset and slopes: Newton's method on Platt's targets, with a penalty on the slopes; a negative one is 0."""
    means, spreads = features.mean(axis=0), features.std(axis=0)
    spreads = np.where(spreads > _LEAST, spreads, 1.0)
    yes, no = int(right.sum()), int((~right).sum())
    targets = np.where(right, (yes + 1) / (yes + 2), 1 / (no + 2))
    used = [0, 1]
    rows = (features - means) / spreads
    while True:
        found = _newton(rows[:, used], targets)
        negative = [column for column, slope in zip(used, found[1:], strict=True) if slope < 0]
        if not negative:
            break
        used = [column for column in used if column not in negative]
    slopes = dict(zip(used, found[1:].tolist(), strict=True))
    return Confidence(
        offset=float(found[0]),
        slopes=(slopes.get(0, 0.0), slopes.get(1, 0.0)),
        means=(float(means[0]), float(means[1])),
        spreads=(float(spreads[0]), float(spreads[1])),
        samples=len(features),
        right=yes,
        calibration_error=0.0,
    )


def _newton(rows: Doubles, targets: Doubles) -> Doubles:
    design = np.column_stack([np.ones(len(rows)), rows])
    penalty = np.diag([_LEAST, *(_RIDGE for _ in range(rows.shape[1]))])
    found = np.zeros(design.shape[1])
    for _ in range(_STEPS):
        probs = _logistic(design @ found)
        slope = design.T @ (probs - targets) + penalty @ found
        curvature = (design * (probs * (1 - probs))[:, None]).T @ design + penalty
        step = np.linalg.solve(curvature, slope)
        size = float(np.abs(step).max())
        found = found - step / max(1.0, size / 4)  # a long step may leave the valley; four at most
        if size < 1e-10:
            break
    return found
