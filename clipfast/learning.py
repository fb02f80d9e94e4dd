"""Small fits behind one door: logistic, ridge, and the calibration of one score. The only importer of scikit-learn.

Rows are embeddings, labels are class numbers from 0. Nothing here predicts: a fit is plain arrays, and whoever holds
them needs NumPy only. Folds keep groups together, so that patches of one photo are never on both sides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from clipfast.errors import DataError, MissingExtraError, ShapeError
from clipfast.types import Floats, Ints

__all__ = [
    "ClassWeight",
    "CrossFit",
    "LinearFit",
    "SigmoidFit",
    "cross_fit_logistic",
    "fit_logistic",
    "fit_ridge",
    "fit_sigmoid",
    "grouped_folds",
]

Doubles: TypeAlias = NDArray[np.float64]
ClassWeight: TypeAlias = Literal["balanced", "equal"]

ALWAYS_TRAIN = -1
"""Fold of rows that are never held out: those of a class that one group alone shows."""

_CLASS_WEIGHTS: dict[ClassWeight, str | None] = {"balanced": "balanced", "equal": None}
_MAX_ITERATIONS = 10_000
_TINY = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class LinearFit:
    """A linear map of rows: `rows @ weights.T + bias`.

    Attributes:
        weights: (c, e) float32.
        bias: (c,) float32.
        strength: What the squared weights are divided by in the loss (scikit-learn's C); larger fits closer.
    """

    weights: Floats
    bias: Floats
    strength: float

    def logits(self, rows: Floats) -> Doubles:
        """Return (n, c) float64; each row's sum is taken in one order, so it does not depend on its batch."""
        one, other = rows.astype(np.float64, order="C"), self.weights.astype(np.float64, order="C")
        product: Doubles = np.einsum("ne,ce->nc", one, other)
        return product + self.bias


@dataclass(frozen=True, slots=True, eq=False)
class CrossFit:
    """What cross-validation found.

    Attributes:
        strength: The one with the lowest mean log loss on held-out rows.
        losses: Mean log loss by strength, in the order tried.
        folds: Fold of each row, (n,) int64; ALWAYS_TRAIN was never held out.
        logits: Of each row by the fit that had not seen it, at `strength`, (n, c) float64; NaN where never held out.
        honest_logits: The same, but each fold's strength was chosen on the other folds: what to judge by.
    """

    strength: float
    losses: dict[float, float]
    folds: Ints
    logits: Doubles
    honest_logits: Doubles


@dataclass(frozen=True, slots=True)
class SigmoidFit:
    """Platt's map of a score to a probability: 1 / (1 + exp(-(slope * score + offset)))."""

    slope: float
    offset: float

    def prob(self, scores: NDArray[Any]) -> Doubles:
        """Return probabilities in [0, 1], of the shape of `scores`."""
        z = np.clip(self.slope * np.asarray(scores, np.float64) + self.offset, -700, 700)
        probs: Doubles = 1 / (1 + np.exp(-z))
        return probs


def fit_logistic(rows: Floats, labels: Ints, *, strength: float, class_weight: ClassWeight = "balanced") -> LinearFit:
    """Fit multinomial logistic regression with an L2 penalty.

    Rows are centred and scaled by one number first, which makes `strength` mean the same for every model, and folded
    back into weights and bias, so the fit takes rows as they are.

    Args:
        rows: (n, e) float32.
        labels: Class numbers, (n,) int64; every class 0 ... c - 1 must occur, and c must be 2 or more.
        strength: Above 0; see `LinearFit`.
        class_weight: `balanced` gives every class the same weight in the loss, `equal` every row.

    Raises:
        DataError: Fewer than two classes, or one without a row.
        ShapeError: `strength` or `class_weight` is none of these.
        MissingExtraError: scikit-learn is not installed.
    """
    classes = _require_classes(labels)
    _require_strength(strength)
    if class_weight not in _CLASS_WEIGHTS:
        raise ShapeError(f"class_weight must be one of {', '.join(_CLASS_WEIGHTS)}; got {class_weight!r}.")
    mean, scale, centred = _centred(rows)
    model = _linear_model().LogisticRegression(
        C=strength, class_weight=_CLASS_WEIGHTS[class_weight], max_iter=_MAX_ITERATIONS, tol=1e-5
    )
    model.fit(centred, labels)
    weights, bias = np.asarray(model.coef_, np.float64), np.asarray(model.intercept_, np.float64)
    if classes == 2:  # one logit of class 1, shared out evenly: softmax of the two is its sigmoid
        weights, bias = np.concatenate([-weights, weights]) / 2, np.concatenate([-bias, bias]) / 2
    return _unfolded(weights, bias, mean, scale, strength)


def fit_ridge(rows: Floats, targets: NDArray[Any], *, strength: float = 1.0) -> LinearFit:
    """Fit ridge regression: least squares with an L2 penalty of 1 / strength.

    Args:
        rows: (n, e) float32.
        targets: (n,) or (n, c) numbers.
        strength: Above 0; see `LinearFit`.

    Raises:
        ShapeError: Lengths differ, a target is not finite, or `strength` is not above 0.
        MissingExtraError: scikit-learn is not installed.
    """
    _require_strength(strength)
    wanted = np.asarray(targets, np.float64)
    if len(wanted) != len(rows) or wanted.ndim not in (1, 2) or not np.isfinite(wanted).all():
        raise ShapeError(f"targets must be finite numbers, ({len(rows)},) or ({len(rows)}, c); got {wanted.shape}.")
    mean, scale, centred = _centred(rows)
    model = _linear_model().Ridge(alpha=1 / strength)
    model.fit(centred, wanted.reshape(len(wanted), -1))
    return _unfolded(np.atleast_2d(model.coef_), np.atleast_1d(model.intercept_), mean, scale, strength)


def fit_sigmoid(scores: NDArray[Any], outcomes: NDArray[Any]) -> SigmoidFit:
    """Fit Platt's sigmoid: the probability that an outcome is true, by its score.

    Targets are (t + 1) / (t + 2) and 1 / (f + 2) for t true and f false outcomes instead of 1 and 0, so that a score
    that separates them perfectly does not become certainty (Platt, "Probabilistic Outputs for Support Vector
    Machines", 1999, sec. 2.2).

    Args:
        scores: (n,) finite numbers.
        outcomes: (n,) of 0 and 1, or bool; both must occur.

    Raises:
        DataError: Only one outcome occurs.
        ShapeError: Lengths differ, or a score is not finite.
        MissingExtraError: scikit-learn is not installed.
    """
    values, true = np.asarray(scores, np.float64), np.asarray(outcomes).astype(bool)
    if values.ndim != 1 or values.shape != true.shape or not np.isfinite(values).all():
        raise ShapeError(f"scores must be finite, (n,), one for each outcome; got {values.shape} and {true.shape}.")
    right, wrong = int(true.sum()), int((~true).sum())
    if not right or not wrong:
        raise DataError(f"outcomes must hold both true and false ones; got {right} true and {wrong} false.")
    share = np.where(true, (right + 1) / (right + 2), 1 / (wrong + 2))
    mean, spread = float(values.mean()), float(values.std()) or 1.0
    # A soft target is two weighted hard ones.
    doubled = np.tile((values - mean) / spread, 2)[:, None]
    model = _linear_model().LogisticRegression(C=1e10, max_iter=_MAX_ITERATIONS, tol=1e-8)
    model.fit(doubled, np.repeat([1, 0], len(values)), sample_weight=np.concatenate([share, 1 - share]))
    slope = float(model.coef_[0, 0]) / spread
    return SigmoidFit(slope, float(model.intercept_[0]) - slope * mean)


def grouped_folds(labels: Ints, groups: Ints, *, folds: int, seed: int) -> Ints:
    """Share rows out among folds: classes evenly, groups whole.

    Classes with the fewest groups choose first; each of their groups, in random order, goes to the fold that has the
    fewest rows of the class, then to the smallest. Rows of a class that would otherwise be held out all at once are
    in fold ALWAYS_TRAIN.

    Args:
        labels: Class numbers, (n,) int64.
        groups: Group numbers, (n,) int64.
        folds: How many, at least 2.
        seed: Orders the groups.

    Returns:
        Fold of each row, (n,) int64.

    >>> grouped_folds(np.array([0, 0, 0, 1, 1]), np.array([0, 0, 1, 2, 3]), folds=2, seed=0).tolist()
    [0, 0, 1, 1, 0]
    """
    if folds < 2:
        raise ShapeError(f"folds must be at least 2; got {folds}.")
    rng = np.random.default_rng(seed)
    found = np.full(len(labels), ALWAYS_TRAIN, np.int64)
    of_class = {int(name): np.unique(groups[labels == name]) for name in np.unique(labels)}
    sizes = np.zeros((folds, int(labels.max()) + 1), np.int64)
    settled: dict[int, int] = {}
    for name in sorted(of_class, key=lambda number: (len(of_class[number]), number)):
        for group in rng.permutation(of_class[name]).tolist():
            if group in settled:
                continue
            fold = min(range(folds), key=lambda at: (sizes[at, name], sizes[at].sum(), at))
            members = groups == group
            settled[group] = fold
            found[members] = fold
            np.add.at(sizes[fold], labels[members], 1)
    for name, mine in of_class.items():
        held = np.unique(found[labels == name])
        if len(held) == 1 and held[0] != ALWAYS_TRAIN:  # its training rows would be none
            found[np.isin(groups, mine)] = ALWAYS_TRAIN
    return found


def cross_fit_logistic(
    rows: Floats,
    labels: Ints,
    folds: Ints,
    *,
    strengths: Sequence[float],
    class_weight: ClassWeight = "balanced",
    progress: Callable[[int, int], None] | None = None,
) -> CrossFit:
    """Choose the strength by cross-validation, and give every row the logits of a fit that had not seen it.

    Args:
        rows: (n, e) float32.
        labels: Class numbers, (n,) int64.
        folds: Fold of each row, as `grouped_folds` gives them.
        strengths: What to try.
        class_weight: As in `fit_logistic`; held-out losses are weighted in the same way.
        progress: Called with (done, total) fits.

    Raises:
        DataError: No row may be held out, or fewer than two classes.
        MissingExtraError: scikit-learn is not installed.
    """
    classes = _require_classes(labels)
    numbers = [int(fold) for fold in np.unique(folds) if fold != ALWAYS_TRAIN]
    if len(numbers) < 2:
        raise DataError(
            "Cross-validation needs two photos of at least one class in different folds; every class has one only. "
            "Label more photos.",
            code="photos_alone",
        )
    total, done = len(strengths) * len(numbers), 0
    logits = np.full((len(strengths), len(rows), classes), np.nan)
    for at, strength in enumerate(strengths):
        for number in numbers:
            held = folds == number
            fit = fit_logistic(rows[~held], labels[~held], strength=strength, class_weight=class_weight)
            logits[at, held] = fit.logits(rows[held])
            done += 1
            if progress:
                progress(done, total)
    weight = _row_weights(labels, class_weight)
    loss = np.stack([_log_losses(one, labels) for one in logits])  # (s, n), NaN where never held out
    held_out = folds != ALWAYS_TRAIN
    means = _weighted(loss, weight, held_out)
    best = int(np.argmin(means))
    honest = np.full_like(logits[0], np.nan)
    for number in numbers:
        others = held_out & (folds != number)
        honest[folds == number] = logits[int(np.argmin(_weighted(loss, weight, others))), folds == number]
    by_strength = dict(zip(map(float, strengths), means.tolist(), strict=True))
    return CrossFit(float(strengths[best]), by_strength, folds, logits[best], honest)


def _weighted(losses: Doubles, weight: Doubles, rows: NDArray[np.bool_]) -> Doubles:
    means: Doubles = (losses[:, rows] * weight[rows]).sum(axis=1) / weight[rows].sum()
    return means


def _row_weights(labels: Ints, class_weight: ClassWeight) -> Doubles:
    counts = np.bincount(labels)
    return 1 / counts[labels] if class_weight == "balanced" else np.ones(len(labels))


def _log_losses(logits: Doubles, labels: Ints) -> Doubles:
    shifted = logits - logits.max(axis=1, keepdims=True)
    losses: Doubles = np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(labels)), labels]
    return losses


def _centred(rows: Floats) -> tuple[Doubles, float, Doubles]:
    doubles = rows.astype(np.float64)
    mean: Doubles = doubles.mean(axis=0)
    centred = doubles - mean
    scale = float(np.sqrt((centred**2).sum(axis=1).mean()))
    scale = scale if scale > _TINY else 1.0  # equal rows have no scale
    return mean, scale, centred / scale


def _unfolded(weights: Doubles, bias: Doubles, mean: Doubles, scale: float, strength: float) -> LinearFit:
    scaled = weights / scale
    return LinearFit(scaled.astype(np.float32, order="C"), (bias - scaled @ mean).astype(np.float32), strength)


def _require_classes(labels: Ints) -> int:
    counts = np.bincount(labels) if len(labels) else np.zeros(0, np.int64)
    if len(counts) < 2 or not counts.all():
        raise DataError(f"labels must show every class from 0 on, and two at least; got counts {counts.tolist()}.")
    return len(counts)


def _require_strength(strength: float) -> None:
    if not (np.isfinite(strength) and strength > 0):
        raise ShapeError(f"strength must be a finite number above 0; got {strength!r}.")


def _linear_model() -> Any:
    try:
        from sklearn import linear_model
    except ImportError as error:
        if error.name is not None and not error.name.startswith("sklearn"):
            raise
        raise MissingExtraError.of("scikit-learn", extra="train") from error
    return linear_model
