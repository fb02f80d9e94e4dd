"""How sure a model is, and whether rightly so: entropy, margin, energy, top-k, calibration by group."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clipfast.diagnostics.predictions import Doubles, Predictions
from clipfast.errors import ShapeError, UndefinedMetricError
from clipfast.metrics.calibration import (
    ReliabilityTable,
    adaptive_calibration_error,
    maximum_calibration_error,
    reliability_table,
)
from clipfast.metrics.intervals import BootstrapOptions, Interval, bootstrap_interval, wilson_interval
from clipfast.metrics.temperature import fit_temperature
from clipfast.types import Ints

__all__ = [
    "Calibration",
    "CalibrationRow",
    "TopK",
    "calibration",
    "energy",
    "label_ranks",
    "margins",
    "normalised_entropy",
    "top_k_inclusion",
]

_BINS = 15
_SMALLEST = 1e-12


def normalised_entropy(probs: Doubles) -> Doubles:
    """Return -sum p ln p over ln c of each row, in [0, 1], (n,) float64; NaN where a row is.

    >>> normalised_entropy(np.array([[0.5, 0.5], [1.0, 0.0]])).tolist()
    [1.0, 0.0]
    """
    if probs.ndim != 2 or probs.shape[1] < 2:
        raise ShapeError(f"probs must be (n, c) with c >= 2; got {probs.shape}.")
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = np.where(probs > 0, probs * np.log(probs), np.where(np.isnan(probs), np.nan, 0.0))
    found: Doubles = -parts.sum(axis=1) / np.log(probs.shape[1])
    return found + 0.0  # no -0.0


def margins(probs: Doubles) -> Doubles:
    """Return the largest less the second largest probability, (n,) float64."""
    top = np.partition(probs, probs.shape[1] - 2, axis=1)[:, -2:]
    found: Doubles = top.max(axis=1) - top.min(axis=1)
    return found


def energy(logits: Doubles, temperature: float = 1.0) -> Doubles:
    """Return -T log sum exp(z / T) of each row, (n,): higher is less like the training data (Liu et al., NeurIPS 2020).

    It needs logits: of probabilities it is 0 everywhere.
    """
    if not temperature > 0:
        raise ShapeError(f"temperature must be above 0; got {temperature!r}.")
    top = logits.max(axis=1, keepdims=True)
    found: Doubles = -temperature * np.log(np.exp((logits - top) / temperature).sum(axis=1)) - top[:, 0]
    return found


def label_ranks(labels: Ints, probs: Doubles) -> Ints:
    """Return the rank of the label's probability, 1 for the largest; equal ones before it in the order count as larger.

    So rank 1 means that the first largest class is the label, as `Predictions.right` says.
    """
    own = probs[np.arange(len(labels)), labels][:, None]
    before = np.arange(probs.shape[1]) < labels[:, None]
    found: Ints = 1 + (probs > own).sum(axis=1) + ((probs == own) & before).sum(axis=1)
    return found


@dataclass(frozen=True, slots=True)
class TopK:
    """How often the label is among the k most probable classes.

    Attributes:
        ks: The numbers k.
        inclusion: Share of judged samples, with interval, for each k.
        rescued: Share of wrong samples whose label is among the largest k; None if nothing is wrong.
        by_chance: What `rescued` would be if the other classes stood in random order: (k - 1) / (c - 1).
    """

    ks: tuple[int, ...]
    inclusion: tuple[Interval, ...]
    rescued: tuple[Interval | None, ...]
    by_chance: tuple[float, ...]


def top_k_inclusion(predictions: Predictions, ks: tuple[int, ...] = (1, 3, 5)) -> TopK:
    """Return top-k inclusion of the judged samples; k beyond the number of classes is left out."""
    judged = predictions.judged
    ranks = label_ranks(predictions.labels[judged], predictions.probs[judged])
    kept = tuple(k for k in ks if k < len(predictions.classes)) or (1,)
    wrong = int((ranks > 1).sum())
    return TopK(
        kept,
        tuple(wilson_interval(int((ranks <= k).sum()), len(ranks)) for k in kept),
        tuple(wilson_interval(int(((ranks > 1) & (ranks <= k)).sum()), wrong) if wrong else None for k in kept),
        tuple((k - 1) / (len(predictions.classes) - 1) for k in kept),
    )


@dataclass(frozen=True, slots=True)
class CalibrationRow:
    """Calibration of one group.

    Attributes:
        name: Of the group.
        samples: How many.
        ece: Expected calibration error and, from 30 samples on, its bootstrap interval; biased upwards where few.
        mce: Largest gap of a bin.
        ace: Over bins of equal mass.
        confidence: Mean confidence.
        accuracy: Share right.
    """

    name: str
    samples: int
    ece: Interval
    mce: float
    ace: float
    confidence: float
    accuracy: float


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """Calibration of the judged samples.

    Attributes:
        overall: All of them.
        table: What a reliability diagram shows.
        temperature: The one that fits these samples best, in-sample: above 1 means too sure; None if none is best.
        by_group: By the column asked for, largest groups first.
    """

    overall: CalibrationRow
    table: ReliabilityTable
    temperature: float | None
    by_group: tuple[CalibrationRow, ...]


def calibration(predictions: Predictions, column: str | None = None, *, seed: int = 0, most: int = 12) -> Calibration:
    """Measure calibration of the judged samples, overall and by group.

    Raises:
        DataError: There is no such column.
    """
    judged = np.flatnonzero(predictions.judged)
    labels, probs = predictions.labels[judged], predictions.probs[judged]
    try:
        temperature = fit_temperature(labels, np.log(np.maximum(probs, _SMALLEST)))
    except UndefinedMetricError:
        temperature = None
    groups = []
    if column is not None:
        names, which = np.unique(predictions.column(column)[judged], return_inverse=True)
        sizes = np.bincount(which)
        for at in np.argsort(-sizes, kind="stable")[:most].tolist():
            inside = which == at
            groups.append(_row(str(names[at]), labels[inside], probs[inside], seed))
    return Calibration(
        _row("all", labels, probs, seed), reliability_table(labels, probs, bins=_BINS), temperature, tuple(groups)
    )


def _row(name: str, labels: Ints, probs: Doubles, seed: int) -> CalibrationRow:
    confidence, right = probs.max(axis=1), probs.argmax(axis=1) == labels
    estimate = _ece(confidence, right)
    ece = Interval(estimate, 0.0, 1.0, 0.95, "none: fewer than 30 samples")
    if len(labels) >= 30:
        options = BootstrapOptions("percentile", 1000 if len(labels) <= 10_000 else 100)
        ece = bootstrap_interval(_ece, confidence, right, seed=seed, options=options)
    return CalibrationRow(
        name=name,
        samples=len(labels),
        ece=ece,
        mce=maximum_calibration_error(labels, probs, bins=_BINS),
        ace=adaptive_calibration_error(labels, probs, bins=_BINS),
        confidence=float(confidence.mean()),
        accuracy=float(right.mean()),
    )


def _ece(confidence: Doubles, right: Doubles) -> float:
    """Return ECE of confidences, as `expected_calibration_error` does of whole rows; for many resamples of them."""
    places = np.clip(np.ceil(confidence * _BINS).astype(np.int64) - 1, 0, _BINS - 1)
    gaps = np.bincount(places, weights=right - confidence, minlength=_BINS)
    return float(np.abs(gaps).sum() / len(confidence))
