"""How well scores rank positives above negatives: AUROC, average precision, AUPR and the best F1, exact with ties.

Arguments come in scikit-learn's order, labels first. All figures of one set of scores follow from one count, so
`ranking_scores` costs no more than one of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from numpy.typing import ArrayLike

from clipfast.kernels.ranking import Levels, rank_levels
from clipfast.metrics.ranking_curves import auroc, average_precision, best_f1, trapezoid_precision
from clipfast.metrics.ranking_inputs import flat_pair

__all__ = ["RankingScores", "aupr_score", "auroc_score", "average_precision_score", "f1_max_score", "ranking_scores"]


@dataclass(frozen=True, slots=True)
class RankingScores:
    """Figures of merit of one ranking, each in [0, 1] but the threshold.

    Attributes:
        auroc: The share of pairs of a positive and a negative that are in order; equal scores count half.
        average_precision: The step sum of precision over recall (scikit-learn's; what most papers call AP).
        aupr: The area under straight lines between the points of the precision-recall curve (anomalib's AUPR). Straight
            lines are optimistic; the two are not comparable.
        f1_max: The largest F1 over all thresholds.
        f1_max_threshold: The highest threshold that reaches it, one of the scores; `score >= threshold` is positive.
    """

    auroc: float
    average_precision: float
    aupr: float
    f1_max: float
    f1_max_threshold: float


def ranking_scores(labels: ArrayLike, scores: ArrayLike, *, threads: int | None = 2) -> RankingScores:
    """Return AUROC, average precision, AUPR and the best F1 with its threshold, from one count.

    Args:
        labels: 1 or True for positives, 0 or False for negatives, of any shape; bool or integer.
        scores: Higher means more positive, of the same shape; float16, float32, float64 or integers, finite. Each is
            compared in its own type, so float64 scores that float32 would merge stay apart.
        threads: How many threads share the counting; the result does not depend on it. None takes the process's cores.

    Raises:
        ShapeError: If the shapes differ, a type is another one, a label is neither 0 nor 1, a score is NaN or
            infinite, or `threads` is not positive.
        UndefinedMetricError: If one class does not occur, as in empty arrays.

    >>> found = ranking_scores([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    >>> found.auroc, round(found.average_precision, 4), round(found.aupr, 4)
    (0.75, 0.8333, 0.7917)
    >>> found.f1_max, found.f1_max_threshold
    (0.8, 0.35)
    """
    return scores_of_levels(_levels(labels, scores, threads))


def auroc_score(labels: ArrayLike, scores: ArrayLike, *, threads: int | None = 2) -> float:
    """Return the area under the ROC curve: P(positive > negative) + P(equal) / 2.

    An exact ratio of integers, rounded once; equal to scikit-learn's `roc_auc_score` up to that one's rounding.
    Arguments and errors are those of `ranking_scores`.

    >>> auroc_score([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.75
    """
    return auroc(_levels(labels, scores, threads))


def average_precision_score(labels: ArrayLike, scores: ArrayLike, *, threads: int | None = 2) -> float:
    """Return average precision, the step sum of precision over recall: scikit-learn's function of this name.

    Arguments and errors are those of `ranking_scores`.

    >>> round(average_precision_score([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]), 4)
    0.8333
    """
    return average_precision(_levels(labels, scores, threads))


def aupr_score(labels: ArrayLike, scores: ArrayLike, *, threads: int | None = 2) -> float:
    """Return the area under straight lines between the points of the precision-recall curve.

    It is torchmetrics' `auc` of the exact curve, which anomalib calls AUPR; for average precision see
    `average_precision_score`. Arguments and errors are those of `ranking_scores`.

    >>> round(aupr_score([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]), 4)
    0.7917
    """
    return trapezoid_precision(_levels(labels, scores, threads))


def f1_max_score(labels: ArrayLike, scores: ArrayLike, *, threads: int | None = 2) -> float:
    """Return the largest F1 over all thresholds; `ranking_scores` gives the threshold, too.

    Arguments and errors are those of `ranking_scores`.

    >>> f1_max_score([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.8
    """
    return best_f1(_levels(labels, scores, threads))[0]


def scores_of_levels(levels: Levels) -> RankingScores:
    """Return every figure of merit of counted scores."""
    best, threshold = best_f1(levels)
    return RankingScores(auroc(levels), average_precision(levels), trapezoid_precision(levels), best, threshold)


def _levels(labels: ArrayLike, scores: ArrayLike, threads: int | None) -> Levels:
    flat_labels, flat_scores = flat_pair(labels, scores)
    return rank_levels(flat_labels, flat_scores, threads=threads)
