"""How far a sample is from the training data, with a threshold at a chosen false-positive rate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias, get_args

import numpy as np

from clipfast.diagnostics.predictions import Bools, Doubles, Predictions
from clipfast.diagnostics.uncertainty import energy
from clipfast.errors import DataError, ShapeError
from clipfast.metrics.intervals import Interval, wilson_interval
from clipfast.types import Floats, Ints

__all__ = [
    "DistanceScore",
    "Drop",
    "NoveltyScores",
    "domain_drop",
    "k_nearest",
    "knn_distance",
    "mahalanobis_distance",
    "novelty",
    "threshold_at",
]

DistanceScore: TypeAlias = Literal["knn", "mahalanobis", "energy"]

_NEIGHBOURS = 10
_MOST_REFERENCES = 4096
_CHUNK = 2048
_PER_CLASS = 5  # references
_FEWEST = 20  # training samples


def k_nearest(rows: Floats, references: Floats, k: int, *, own: Ints | None = None) -> tuple[Ints, Floats]:
    """Return the k nearest references of each row by cosine, nearest first.

    Args:
        rows: Unit rows, (n, e).
        references: Unit rows, (m, e).
        k: At most m, or m - 1 with `own`.
        own: Reference that each row is itself, to be left out, -1 where none, (n,).

    Returns:
        Numbers and cosines, (n, k) each.

    Raises:
        ShapeError: Widths differ, or there are too few references.
    """
    left_out = 0 if own is None else 1
    if rows.ndim != 2 or references.ndim != 2 or rows.shape[1] != references.shape[1]:
        raise ShapeError(f"rows and references must be (n, e) and (m, e); got {rows.shape} and {references.shape}.")
    if not 1 <= k <= len(references) - left_out:
        raise ShapeError(f"k must be 1 to {len(references) - left_out}; got {k}. Take more references.")
    numbers = np.empty((len(rows), k), np.int64)
    cosines = np.empty((len(rows), k), np.float32)
    for begin in range(0, len(rows), _CHUNK):
        part = slice(begin, begin + _CHUNK)
        near = rows[part] @ references.T
        if own is not None:
            mine = own[part]
            near[np.flatnonzero(mine >= 0), mine[mine >= 0]] = -np.inf
        top = np.argpartition(-near, k - 1, axis=1)[:, :k]
        values = np.take_along_axis(near, top, axis=1)
        order = np.argsort(-values, axis=1, kind="stable")
        numbers[part] = np.take_along_axis(top, order, axis=1)
        cosines[part] = np.take_along_axis(values, order, axis=1)
    return numbers, cosines


def knn_distance(rows: Floats, references: Floats, *, k: int = _NEIGHBOURS, own: Ints | None = None) -> Doubles:
    """Return the mean cosine distance to the k nearest references, (n,) float64 (Sun et al., ICML 2022: k-th)."""
    _, cosines = k_nearest(rows, references, k, own=own)
    found: Doubles = 1.0 - cosines.mean(axis=1, dtype=np.float64)
    return found


def mahalanobis_distance(rows: Floats, references: Floats, labels: Ints | None = None) -> Doubles:
    """Return the Mahalanobis distance to the nearest class mean, (n,) float64 (Lee et al., NeurIPS 2018).

    One covariance for all classes, shrunk towards a multiple of the identity by the share that minimises the expected
    squared error (Ledoit and Wolf, J. Multivariate Analysis 2004), so that it exists with few references.

    Args:
        rows: (n, e).
        references: (m, e).
        labels: Class of each reference, (m,); None takes all as one class.
    """
    _, which = np.unique(np.zeros(len(references), np.int64) if labels is None else labels, return_inverse=True)
    wide = references.astype(np.float64)
    means = np.stack([wide[which == at].mean(axis=0) for at in range(int(which.max()) + 1)])
    covariance = shrunk_covariance(wide - means[which])
    # Distances to means are distances of whitened rows.
    whiten = np.linalg.cholesky(np.linalg.inv(covariance))
    white_means = means @ whiten
    lengths = (white_means**2).sum(axis=1)
    found = np.empty(len(rows))
    for begin in range(0, len(rows), _CHUNK):
        part = slice(begin, begin + _CHUNK)
        white = rows[part].astype(np.float64) @ whiten
        squares = (white**2).sum(axis=1) + (lengths - 2 * white @ white_means.T).min(axis=1)
        found[part] = np.sqrt(np.maximum(squares, 0))
    return found


def _mahalanobis(rows: Floats, references: Floats, labels: Ints) -> Doubles:
    """Measure from class means; from the mean of all where classes are too small to have means of their own."""
    enough = len(references) >= _PER_CLASS * len(np.unique(labels))
    return mahalanobis_distance(rows, references, labels if enough else None)


def shrunk_covariance(centred: Doubles) -> Doubles:
    """Return the Ledoit-Wolf covariance of rows whose mean is 0, (e, e) float64; positive definite."""
    count, width = centred.shape
    sample = centred.T @ centred / count
    scale = float(np.trace(sample)) / width
    spread = float(((sample - scale * np.eye(width)) ** 2).sum()) / width
    squares = centred**2
    noise = float((squares.T @ squares).sum() / count - (sample**2).sum()) / (width * count)
    share = 1.0 if spread == 0 else min(noise / spread, 1.0)
    smallest = max(scale, 1e-12) * 1e-9
    shrunk: Doubles = (1 - share) * sample + (share * scale + smallest) * np.eye(width)
    return shrunk


_DISTANCES: Mapping[str, Callable[[Floats, Floats, Ints], Doubles]] = MappingProxyType(
    {
        "knn": lambda rows, references, _: knn_distance(rows, references, k=min(_NEIGHBOURS, len(references))),
        "mahalanobis": _mahalanobis,
    }
)


def threshold_at(reference_scores: Doubles, false_positive_rate: float) -> float:
    """Return the score that a share of the reference samples, at most the rate, exceeds.

    >>> threshold_at(np.arange(100.0), 0.05)
    94.0
    """
    if not 0 < false_positive_rate < 1 or not len(reference_scores):
        raise ShapeError(
            f"the rate must be in (0, 1), with one reference score at least; got {false_positive_rate!r} and "
            f"{len(reference_scores)} scores."
        )
    return float(np.quantile(reference_scores, 1 - false_positive_rate, method="inverted_cdf"))


@dataclass(frozen=True, slots=True, eq=False)
class NoveltyScores:
    """Scores of all samples, and the references they were compared with.

    Attributes:
        method: Of the score.
        scores: Higher is farther from the training data, (n,) float64.
        ranks: Share of the held-out references whose score is smaller, in [0, 1], (n,) float64.
        threshold: Score above which a sample is called new.
        false_positive_rate: Share of references that are so by chance.
        references: How many.
    """

    method: str
    scores: Doubles
    ranks: Doubles
    threshold: float
    false_positive_rate: float
    references: int

    @property
    def new(self) -> Bools:
        """Which samples are called new, (n,) bool."""
        found: Bools = self.scores > self.threshold
        return found


def novelty(
    predictions: Predictions, *, method: DistanceScore = "mahalanobis", false_positive_rate: float = 0.05, seed: int = 0
) -> NoveltyScores | None:
    """Score how far each sample's image (else its text) is from the training samples.

    Half of the training samples (of many, 4,096) are references; the other half, which the references do not know,
    gives the threshold. None without embeddings or with fewer than 20 training samples. "energy" needs the scores
    that the probabilities were made of instead of embeddings; all training samples give its threshold, and as the model
    has seen them, more new samples are above it than the rate says.

    Mahalanobis distance is the default: it counts each direction by how much the training data vary along it, so it
    sees a shift along one in which they hardly do (a lamp, a camera). Cosines to neighbours are ruled by the directions
    of large variance, which is what the pictures show.

    Raises:
        ShapeError: The method or the rate is unknown.
        DataError: "energy" is asked for, and a sample has no scores.
    """
    known = get_args(DistanceScore)
    if method not in known:
        raise ShapeError(f"method must be one of {', '.join(known)}; got {method!r}.")
    train = np.flatnonzero(predictions.in_training)
    if len(train) < _FEWEST or not predictions.judged.any():
        return None
    if method == "energy":
        if predictions.logits is None or np.isnan(predictions.logits).any():
            raise DataError("novelty by energy needs `scores` (logits) of every sample; `probs` have no energy.")
        scores, held, references = energy(predictions.logits), train, len(train)
    else:
        rows = predictions.image_rows if predictions.image_rows is not None else predictions.text_rows
        if rows is None:
            return None
        shuffled = np.random.default_rng(seed).permutation(train)[: 2 * _MOST_REFERENCES]
        references = len(shuffled) // 2
        first, held = shuffled[:references], shuffled[references:]
        scores = _DISTANCES[method](rows, rows[first], predictions.labels[first])
    usual = np.sort(scores[held])
    return NoveltyScores(
        method=method,
        scores=scores,
        ranks=np.searchsorted(usual, scores, side="left") / len(usual),
        threshold=threshold_at(usual, false_positive_rate),
        false_positive_rate=false_positive_rate,
        references=references,
    )


@dataclass(frozen=True, slots=True)
class Drop:
    """How much accuracy is lost from one part of the data to another.

    Attributes:
        known: Name of the part that was known, such as "train".
        new: Name of the other.
        known_accuracy: With interval.
        new_accuracy: With interval.
        drop: Known less new.
        apart: Whether the two intervals do not overlap.
    """

    known: str
    new: str
    known_accuracy: Interval
    new_accuracy: Interval
    drop: float
    apart: bool


def domain_drop(right: Bools, known: Bools, new: Bools, names: tuple[str, str]) -> Drop | None:
    """Compare accuracy on two parts; None where either is empty."""
    if not known.any() or not new.any():
        return None
    before = wilson_interval(int(right[known].sum()), int(known.sum()))
    after = wilson_interval(int(right[new].sum()), int(new.sum()))
    apart = after.high < before.low or before.high < after.low
    return Drop(*names, before, after, before.estimate - after.estimate, apart)
