"""What each training sample does to a linear head: exact leave-one-out influence on the judged samples."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from clipfast.diagnostics.predictions import Doubles, Predictions
from clipfast.diagnostics.ridge import RidgeHead, influence
from clipfast.metrics.intervals import Interval, wilson_interval
from clipfast.types import Ints

__all__ = ["Influences", "InfluentialSample", "influence_lacks", "training_influences"]

_FEWEST = 10
_MOST = 20_000
_LISTED = 20
_PENALTY = 0.1


@dataclass(frozen=True, slots=True)
class InfluentialSample:
    """A training sample and what it does.

    Attributes:
        id: Its name.
        label: Its class.
        prefers: What a head that has not seen it says.
        influence: By how much the mean squared error on the judged samples grows when it is left out; negative: the
            head is better without it.
    """

    id: str
    label: str
    prefers: str
    influence: float


@dataclass(frozen=True, slots=True, eq=False)
class Influences:
    """Influence of all training samples on a ridge head.

    Attributes:
        features: What the head reads: "images" or "texts".
        training: Training samples that it was fitted on; of more than 20,000 so many at random.
        judged: Judged samples that the error is of, likewise.
        accuracy: Of the head on these.
        error: Its mean squared error on these.
        harmful: Samples without which the error is smaller.
        worst: The most harmful, at most 20.
        best: The most helpful, at most 20.
        rows: Which training samples, (n,) int64.
        values: Influence of each, (n,) float64.
        prefers: Class that a head without it says of each, (n,) int64.
    """

    features: str
    training: int
    judged: int
    accuracy: Interval
    error: float
    harmful: int
    worst: tuple[InfluentialSample, ...]
    best: tuple[InfluentialSample, ...]
    rows: Ints
    values: Doubles
    prefers: Ints

    def sample(self, predictions: Predictions, at: int) -> InfluentialSample:
        """Return training sample `at` of `rows`."""
        row, classes = int(self.rows[at]), predictions.classes
        label, prefers = classes[int(predictions.labels[row])], classes[int(self.prefers[at])]
        return InfluentialSample(predictions.ids[row], label, prefers, float(self.values[at]))


def influence_lacks(predictions: Predictions) -> str:
    """Say what is missing for influences, "" if nothing."""
    if predictions.image_rows is None and predictions.text_rows is None:
        return "embeddings of the samples (--embeddings)"
    train = predictions.in_training
    if not train.any() or train.all():
        return "samples of both the training split and others (`split`)"
    if int(train.sum()) < _FEWEST or len(np.unique(predictions.labels[train])) < 2:
        return f"{_FEWEST} training samples of two classes or more"
    return ""


def training_influences(predictions: Predictions, *, seed: int = 0) -> Influences | None:
    """Fit a ridge head on the embeddings of the training samples and measure each one's influence.

    Images where there are embeddings of them, else texts. None where something is missing (`influence_lacks`).

    Args:
        predictions: Samples; labels of judged ones may be wrong as well, which blurs the figures.
        seed: Chooses among more than 20,000 samples.
    """
    if influence_lacks(predictions):
        return None
    images = predictions.image_rows is not None
    rows = predictions.image_rows if predictions.image_rows is not None else predictions.text_rows
    assert rows is not None  # noqa: S101  # said by `influence_lacks`; for the type checker
    rng = np.random.default_rng(seed)
    train, judged = (_some(np.flatnonzero(part), rng) for part in (predictions.in_training, predictions.judged))
    labels, classes = predictions.labels, len(predictions.classes)
    head = RidgeHead.fit(rows[train], labels[train], classes, penalty=_PENALTY)
    values = influence(head, rows[judged], labels[judged])
    scores = head.scores(rows[judged])
    errors = ((np.eye(classes)[labels[judged]] - scores) ** 2).sum(axis=1)
    order = np.argsort(values, kind="stable")
    right = scores.argmax(axis=1) == labels[judged]
    found = Influences(
        features="images" if images else "texts",
        training=len(train),
        judged=len(judged),
        accuracy=wilson_interval(int(right.sum()), len(judged)),
        error=float(errors.mean()),
        harmful=int((values < 0).sum()),
        worst=(),
        best=(),
        rows=train,
        values=values,
        prefers=head.left_out().argmax(axis=1),
    )
    worst = tuple(found.sample(predictions, at) for at in order[:_LISTED].tolist() if values[at] < 0)
    best = tuple(found.sample(predictions, at) for at in order[::-1][:_LISTED].tolist() if values[at] > 0)
    return replace(found, worst=worst, best=best)


def _some(rows: Ints, rng: np.random.Generator) -> Ints:
    if len(rows) <= _MOST:
        return rows
    found: Ints = np.sort(rng.choice(rows, _MOST, replace=False))
    return found
