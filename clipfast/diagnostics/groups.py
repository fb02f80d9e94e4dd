"""Where errors are: by group, by type of question with F1, and against how often a name was trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipfast.diagnostics.predictions import Bools, Doubles, Predictions
from clipfast.errors import ShapeError
from clipfast.metrics.intervals import Interval, wilson_interval
from clipfast.types import Ints

__all__ = ["FrequencyTable", "GroupRow", "GroupTable", "accuracy_by_frequency", "f1_interval", "grouped_errors"]

_F1_RESAMPLES = 500


@dataclass(frozen=True, slots=True)
class GroupRow:
    """One group.

    Attributes:
        name: Of the group; "" holds samples without a name.
        samples: How many.
        errors: How many are wrong.
        error_rate: Share and its Wilson interval.
        macro_f1: Mean F1 of the classes that occur as label or prediction, and its interval; None in small groups.
        worse: Whether the interval, at a confidence corrected for the number of groups, lies above the other groups'
            rate.
    """

    name: str
    samples: int
    errors: int
    error_rate: Interval
    macro_f1: Interval | None
    worse: bool


@dataclass(frozen=True, slots=True)
class GroupTable:
    """Error rates by one column, most errors first.

    Attributes:
        column: What it is grouped by.
        groups: How many groups there are.
        rows: The groups with most errors.
        share_in_worse: Share of all errors that lie in groups that are worse than the others.
    """

    column: str
    groups: int
    rows: tuple[GroupRow, ...]
    share_in_worse: float


def grouped_errors(
    predictions: Predictions, column: str, *, seed: int = 0, most: int = 30, f1_from: int = 20
) -> GroupTable:
    """Return error rates by group of the judged samples.

    Args:
        predictions: Samples.
        column: "class" or a column of the data.
        seed: Of the intervals of F1.
        most: How many groups are listed.
        f1_from: Samples from which a group gets an F1.

    Raises:
        DataError: There is no such column.
    """
    judged = np.flatnonzero(predictions.judged)
    names, which = np.unique(predictions.column(column)[judged], return_inverse=True)
    wrong = ~predictions.right[judged]
    samples = np.bincount(which, minlength=len(names))
    errors = np.bincount(which, weights=wrong, minlength=len(names)).astype(np.int64)
    strict = 1 - 0.05 / max(len(names), 1)
    worse = np.zeros(len(names), bool)
    for at in range(len(names)):
        rest = samples.sum() - samples[at]
        if rest and errors[at]:
            bar = (errors.sum() - errors[at]) / rest
            worse[at] = wilson_interval(int(errors[at]), int(samples[at]), strict).low > bar
    order = np.lexsort((-samples, -errors))[:most]
    rows = []
    for at in order.tolist():
        inside = judged[which == at]
        f1 = None
        if samples[at] >= f1_from and column != "class":
            f1 = f1_interval(predictions.labels[inside], predictions.predicted[inside], seed=seed)
        rate = wilson_interval(int(errors[at]), int(samples[at]))
        rows.append(GroupRow(str(names[at]), int(samples[at]), int(errors[at]), rate, f1, bool(worse[at])))
    share = float(errors[worse].sum() / errors.sum()) if errors.sum() else 0.0
    return GroupTable(column, len(names), tuple(rows), share)


def f1_interval(labels: Ints, predicted: Ints, *, seed: int, resamples: int = _F1_RESAMPLES) -> Interval:
    """Return macro F1 and its percentile interval over resampled samples.

    Resampling samples is drawing the counts of the confusion table from a multinomial distribution, which does not
    depend on how many samples there are.

    Args:
        labels: True classes, (n,).
        predicted: Predicted classes, (n,).
        seed: Chooses the resamples.
        resamples: How many.

    Raises:
        ShapeError: There is no sample.
    """
    if not len(labels):
        raise ShapeError("macro F1 needs one sample at least; got none.")
    classes = np.union1d(labels, predicted)
    truth, said = np.searchsorted(classes, labels), np.searchsorted(classes, predicted)
    width = len(classes)
    cells, counts = np.unique(truth * width + said, return_counts=True)
    draws = np.random.default_rng(seed).multinomial(len(labels), counts / counts.sum(), resamples)
    f1 = _macro_f1(np.vstack([counts, draws]).astype(np.float64), cells // width, cells % width, width)
    low, high = np.quantile(f1[1:], [0.025, 0.975]).tolist()
    return Interval(float(f1[0]), low, high, 0.95, "percentile")


def _macro_f1(counts: Doubles, truth: Ints, said: Ints, width: int) -> Doubles:
    """Return macro F1 of each row of cell counts, over the classes that occur in the row."""
    totals = [np.zeros((len(counts), width)) for _ in range(3)]
    for at in range(len(truth)):
        totals[0][:, truth[at]] += counts[:, at]
        totals[1][:, said[at]] += counts[:, at]
        if truth[at] == said[at]:
            totals[2][:, truth[at]] += counts[:, at]
    occurs = totals[0] + totals[1]
    f1 = np.divide(2 * totals[2], occurs, out=np.zeros_like(occurs), where=occurs > 0)
    means: Doubles = f1.sum(axis=1) / np.maximum((occurs > 0).sum(axis=1), 1)
    return means


@dataclass(frozen=True, slots=True)
class FrequencyTable:
    """Accuracy against how often a name was trained on.

    Attributes:
        column: What was counted: "template", or "class" without templates.
        bounds: Training samples of a name: least and most in each band.
        samples: Judged samples in each band.
        accuracy: Of each band, with interval.
        correlation: Of frequency ranks with being right, Spearman's; NaN where either does not vary.
    """

    column: str
    bounds: tuple[tuple[int, int], ...]
    samples: tuple[int, ...]
    accuracy: tuple[Interval, ...]
    correlation: float


def accuracy_by_frequency(predictions: Predictions, *, bands: int = 4) -> FrequencyTable | None:
    """Return accuracy in bands of equally many judged samples, rarest names first; None without training samples."""
    counts, column = training_counts(predictions)
    if counts is None:
        return None
    judged = predictions.judged
    found, right = counts[judged], predictions.right[judged]
    edges = np.unique(np.quantile(found, np.arange(1, bands) / bands, method="higher"))
    band = np.searchsorted(edges, found, side="left")
    there = np.unique(band).tolist()
    return FrequencyTable(
        column=column,
        bounds=tuple((int(found[band == at].min()), int(found[band == at].max())) for at in there),
        samples=tuple(int((band == at).sum()) for at in there),
        accuracy=tuple(wilson_interval(int(right[band == at].sum()), int((band == at).sum())) for at in there),
        correlation=_rank_correlation(found, right),
    )


def training_counts(predictions: Predictions) -> tuple[Ints | None, str]:
    """Return how many training samples share each sample's template, or class, (n,) int64; None without training."""
    column = "template" if "template" in predictions.columns else "class"
    train = predictions.in_training
    if not train.any() or train.all():
        return None, column
    names, which = np.unique(predictions.column(column), return_inverse=True)
    return np.bincount(which[train], minlength=len(names))[which], column


def _rank_correlation(values: NDArray[Any], right: Bools) -> float:
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[which]
    if np.ptp(ranks) == 0 or right.all() or not right.any():
        return float("nan")
    return float(np.corrcoef(ranks, right)[0, 1])
