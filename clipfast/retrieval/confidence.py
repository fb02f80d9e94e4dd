"""How sure an answer may be of itself, and when none of the fabrics is it.

Two questions, two small fits.

**Is the first answer right?** Cosines of .65 to .86 never fall below one half, so they are no answer. `fit_confidence`
fits a logistic curve of two features on known answers: the logarithm of how much more probable the first fabric is
than the second, and the highest cosine with a photo. Slopes cannot be negative and are drawn towards 0, and the
targets are Platt's (1999), so that few answers, all of them right, leave a doubt.

**Does the bank hold the fabric at all?** See `openset`.

**What is independent is the photo.** Patches of one photo stand or fall together, so the curve's folds keep photos
whole, and its data weigh no more than Kish's effective number of patches.

Without labelled patches a bank is asked with its own photos, each among the others: `bank_judge`.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import msgspec
import numpy as np
from numpy.typing import NDArray

from clipfast.arguments import require_type
from clipfast.errors import ShapeError
from clipfast.metrics import expected_calibration_error
from clipfast.retrieval.answers import Judgement
from clipfast.retrieval.openset import OpenSet, Prob, fit_openset, openset_views
from clipfast.retrieval.photowise import PhotoCounts
from clipfast.retrieval.references import References
from clipfast.retrieval.scoring import products
from clipfast.retrieval.voices import Doubles, shares_of, smoothed_temperature
from clipfast.types import Floats, Ints

__all__ = [
    "Confidence",
    "Judge",
    "answer_features",
    "asked_temperature",
    "bank_judge",
    "fit_confidence",
    "judge_bank",
]

_ASKED = 512
_ASKED_AT_ONCE = 32  # cosines with a million photos then take 128 MB
_NO_TEMPERATURE = 0.05  # where no photo can be asked for
_LEAST = 1e-9
_RIDGE = 1.0
_STEPS = 100


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
        photos: Number of the photo that each answer is about, (n,); None: each of another.

    Raises:
        ShapeError: They do not fit together, or there is no answer.
    """
    if features.ndim != 2 or features.shape[1] != 2 or right.shape != (len(features),) or not len(features):
        raise ShapeError(f"features must be (n, 2) and right (n,), n at least 1; got {features.shape}, {right.shape}.")
    if not np.isfinite(features).all():
        raise ShapeError("features must be finite; see where a share or cosine became NaN.")
    owner = PhotoCounts.among(photos, len(features)).owner
    fold = owner % 5
    held = np.empty(len(features))
    for number in np.unique(fold):
        rest = fold != number
        used = rest if rest.any() else ~rest
        held[~rest] = _curve(features[used], right[used], owner[used]).prob(features[~rest])
    error = expected_calibration_error(right.astype(np.int64), np.stack([1 - held, held], axis=1), bins=10)
    return msgspec.structs.replace(_curve(features, right, owner), calibration_error=error)


def bank_judge(references: References) -> Judge:
    """Return the judge of a bank alone: every photo is asked for among the others, of large banks 512 of them.

    The fabric that is asked for has one photo fewer then than in use, so the confidence is a little low, and fewer
    pictures of known fabrics are refused than may be. Rows that were cut from the photo that is asked for, as side-cars
    say, do not answer; fabrics of one photo cannot be asked for. Kept for each bank.
    """
    return _judge_of(require_type("references", references, References, "bank.references"))[0]


def asked_temperature(references: References) -> float:
    """Return the temperature of a bank's cosines, found in the same way; .05 where no photo can be asked for."""
    return _judge_of(references)[1]


def _judge_of(references: References) -> tuple[Judge, float]:
    with _lock:
        if references not in _judges:
            _judges[references] = _asked_itself(references)
        return _judges[references]


def _asked_itself(references: References) -> tuple[Judge, float]:
    owner = np.repeat(np.arange(len(references.names)), references.counts)
    rows = np.flatnonzero(_photos_of_fabric(references, owner)[owner] > 1)
    if not len(rows) or len(references.names) < 2:
        return Judge(confidence=None, openset=fit_openset([])), _NO_TEMPERATURE
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(_ASKED, len(rows))).astype(np.int64))]
    parts = np.array_split(rows, -(-len(rows) // _ASKED_AT_ONCE))
    scores = np.concatenate([_among_others(references, part) for part in parts])
    truth = owner[rows]
    temperature = smoothed_temperature(truth, scores)
    features = answer_features(shares_of(scores, temperature), scores)
    right = scores.argmax(axis=1) == truth
    views, photos = openset_views(scores, truth), references.photos[rows].tolist()
    judge = Judge(confidence=fit_confidence(features, right, photos=photos), openset=fit_openset(views, photos=photos))
    return judge, temperature


def _photos_of_fabric(references: References, owner: Ints) -> Ints:
    """Count the photos of each fabric, (c,)."""
    pairs = np.unique(np.stack([owner, references.photos], axis=1), axis=0)
    return np.bincount(pairs[:, 0], minlength=len(references.names))


def _among_others(references: References, rows: Ints) -> Doubles:
    """Class scores of rows of the bank that are not compared with their fabric's rows of the same photo, (n, c)."""
    cosines = products(np.ascontiguousarray(references.embeddings[rows]), references.embeddings)
    ends = references.starts + references.counts
    for place, row in enumerate(rows.tolist()):
        fabric = int(np.searchsorted(ends, row, side="right"))
        own = slice(int(references.starts[fabric]), int(ends[fabric]))
        cosines[place, own][references.photos[own] == references.photos[row]] = -np.inf
    scores: Doubles = np.maximum.reduceat(cosines, references.starts, axis=1).astype(np.float64)
    return scores


def judge_bank(references: References, class_scores: Floats) -> list[Judgement]:
    """Judge answers of a bank alone by its class scores, (n, c)."""
    scores = class_scores.astype(np.float64)
    judge, temperature = _judge_of(references)
    return judge.judge(shares_of(scores, temperature), scores)


_lock = threading.Lock()
_judges: WeakKeyDictionary[References, tuple[Judge, float]] = WeakKeyDictionary()


def _logistic(values: Any) -> Doubles:
    probs: Doubles = 1 / (1 + np.exp(-np.clip(values, -700, 700)))
    return probs


def _curve(features: Doubles, right: NDArray[np.bool_], owner: Ints) -> Confidence:
    """Fit offset and slopes: Newton's method on Platt's targets, with a penalty on the slopes; a negative one is 0.

    With several answers a photo, all weigh together as much as their effective number.
    """
    means, spreads = features.mean(axis=0), features.std(axis=0)
    spreads = np.where(spreads > _LEAST, spreads, 1.0)
    weight = PhotoCounts.of(owner.tolist()).effective / len(owner)
    yes, no = weight * int(right.sum()), weight * int((~right).sum())
    targets = np.where(right, (yes + 1) / (yes + 2), 1 / (no + 2))
    used = [0, 1]
    rows = (features - means) / spreads
    while True:
        found = _newton(rows[:, used], targets, weight)
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
        right=int(right.sum()),
        calibration_error=0.0,
    )


def _newton(rows: Doubles, targets: Doubles, weight: float) -> Doubles:
    design = np.column_stack([np.ones(len(rows)), rows])
    penalty = np.diag([_LEAST, *(_RIDGE for _ in range(rows.shape[1]))])
    found = np.zeros(design.shape[1])
    for _ in range(_STEPS):
        probs = _logistic(design @ found)
        slope = weight * (design.T @ (probs - targets)) + penalty @ found
        curvature = weight * (design * (probs * (1 - probs))[:, None]).T @ design + penalty
        step = np.linalg.solve(curvature, slope)
        size = float(np.abs(step).max())
        found = found - step / max(1.0, size / 4)  # a long step may leave the valley; four at most
        if size < 1e-10:
            break
    return found
