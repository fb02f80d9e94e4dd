"""How much of the data is mismatched: labels that a sure model contradicts, captions that fit no better than others.

Two estimates of the share of wrong labels, both from samples where the model is sure and had a fair chance:

- *confident*: how often the model is sure of another class. A model is sure of class j where its probability reaches
  the mean probability of j among samples labelled j (Northcutt et al., Confident Learning, JAIR 2021, the counted
  joint). It counts the model's own confident errors as wrong labels, so it is rather too high.
- *far*: how often the label is in the less probable half of the classes. A wrong label drawn evenly from the others is
  there with a known probability, a model's own confusions hardly ever are (Storey, JRSS B 2002, the same idea for
  p-values). It needs six classes, and misses labels that are only mistaken for similar ones, so it is rather too low.

The ratio given is their mean, its interval reaches over both intervals.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clipfast.diagnostics.ood import k_nearest
from clipfast.diagnostics.predictions import Bools, Doubles
from clipfast.diagnostics.uncertainty import label_ranks
from clipfast.errors import ShapeError, UndefinedMetricError
from clipfast.metrics.intervals import Interval, wilson_interval
from clipfast.types import Floats, Ints

__all__ = ["NoiseEstimate", "confidence_ratio", "neighbour_votes", "noise_of_labels", "noise_of_pairs", "pair_ranks"]

_CLASSES_FOR_FAR = 6
_FEWEST = 20
_VOTES = 15
_MOST_VOTERS = 4096


@dataclass(frozen=True, slots=True)
class NoiseEstimate:
    """An estimated share of mismatched samples.

    Attributes:
        ratio: The share and its interval.
        samples: From how many samples.
        parts: The estimates that it was made of, by name.
        method: In words.
    """

    ratio: Interval
    samples: int
    parts: dict[str, Interval]
    method: str


def confidence_ratio(labels: Ints, probs: Doubles) -> Doubles:
    """Return the largest probability over the mean probability of that class among samples labelled so, (n,) float64.

    From 1 on, the model is as sure as it usually is when the class is true. NaN where no sample has the class.
    """
    own = probs[np.arange(len(labels)), labels]
    counts = np.bincount(labels, minlength=probs.shape[1])
    sums = np.bincount(labels, weights=own, minlength=probs.shape[1])
    with np.errstate(divide="ignore", invalid="ignore"):
        usual = np.where(counts > 0, sums / counts, np.nan)
    predicted = probs.argmax(axis=1)
    found: Doubles = probs.max(axis=1) / np.maximum(usual[predicted], 1e-12)
    return found


def noise_of_labels(labels: Ints, probs: Doubles, fair: Bools | None = None) -> NoiseEstimate | None:
    """Estimate the share of wrong labels from probabilities of a model that was not trained on these samples.

    Args:
        labels: (n,).
        probs: (n, c).
        fair: Where the model had a fair chance: known inputs, looked at the right place; None takes all, (n,).

    Returns:
        The estimate; None where it is sure in fewer than 20 samples.
    """
    sure = confidence_ratio(labels, probs) >= 1
    if fair is not None:
        sure &= fair
    count, classes = int(sure.sum()), probs.shape[1]
    if count < _FEWEST:
        return None
    ranks = label_ranks(labels[sure], probs[sure])
    confident = wilson_interval(int((ranks > 1).sum()), count)
    parts = {"confident": confident}
    if classes >= _CLASSES_FOR_FAR:
        half = (classes + 1) // 2
        seen = (classes - half) / (classes - 1)  # share of evenly drawn wrong labels that end up in the lower half
        parts["far"] = _scaled(wilson_interval(int((ranks > half).sum()), count), 1 / seen)
    return NoiseEstimate(_joined(parts), count, parts, "labels, where the model is sure")


def _scaled(share: Interval, factor: float) -> Interval:
    estimate, low, high = (min(value * factor, 1.0) for value in (share.estimate, share.low, share.high))
    return Interval(estimate, low, high, share.confidence, share.method)


def _joined(parts: dict[str, Interval]) -> Interval:
    held = list(parts.values())
    return Interval(
        float(np.mean([part.estimate for part in held])),
        min(part.low for part in held),
        max(part.high for part in held),
        0.95,
        "hull of " + " and ".join(parts),
    )


def neighbour_votes(rows: Floats, labels: Ints, voters: Ints, asked: Ints, *, classes: int, seed: int = 0) -> Doubles:
    """Let the nearest samples vote on the class: share of the 15 nearest voters with each class, (asked, c) float64.

    Args:
        rows: Unit rows of all samples, (n, e).
        labels: Of all samples, (n,).
        voters: Samples that may vote; of many, a random 4,096.
        asked: Samples that are voted on; none votes on itself.
        classes: How many classes.
        seed: Chooses among many voters.

    Raises:
        ShapeError: There are fewer than two voters.
    """
    if len(voters) < 2:
        raise ShapeError(f"a vote needs two samples or more; got {len(voters)}.")
    if len(voters) > _MOST_VOTERS:
        voters = np.sort(np.random.default_rng(seed).choice(voters, _MOST_VOTERS, replace=False))
    place = np.full(len(rows), -1)
    place[voters] = np.arange(len(voters))
    nearest, _ = k_nearest(rows[asked], rows[voters], min(_VOTES, len(voters) - 1), own=place[asked])
    votes = labels[voters][nearest]
    flat = np.arange(len(asked))[:, None] * classes + votes
    counts = np.bincount(flat.ravel(), minlength=len(asked) * classes).reshape(len(asked), classes)
    found: Doubles = counts / nearest.shape[1]
    return found


def pair_ranks(image_rows: Floats, text_rows: Floats, *, seed: int = 0, others: int = 1024) -> Doubles:
    """Return the share of wrong pairs that fit at least as well as each pair, in [0, 1], (n,) float64.

    Each image is compared with the texts of other samples, and each text with their images (the same random ones, at
    most `others`); the mean of both shares is given. Near 0 the two belong together, evenly spread if they do not.
    Texts equal to a pair's own, as embeddings, are not wrong and are left out.

    Args:
        image_rows: Unit rows, (n, e).
        text_rows: Unit rows, (n, e), of the same samples.
        seed: Chooses the others.
        others: How many at most.

    Raises:
        ShapeError: Shapes differ.
        UndefinedMetricError: There are fewer than three pairs.
    """
    if image_rows.shape != text_rows.shape or image_rows.ndim != 2:
        raise ShapeError(f"image and text rows must be (n, e) alike; got {image_rows.shape} and {text_rows.shape}.")
    if len(image_rows) < 3:
        raise UndefinedMetricError(f"pairs are compared with other pairs; got {len(image_rows)}. Give three or more.")
    count = len(image_rows)
    picked = np.sort(np.random.default_rng(seed).permutation(count)[:others])
    own = (image_rows * text_rows).sum(axis=1)
    found = np.zeros(count)
    for begin in range(0, count, 2048):
        part = slice(begin, begin + 2048)
        differs = (text_rows[part] @ text_rows[picked].T) < 1 - 1e-5
        differs &= np.arange(count)[part, None] != picked
        total = np.maximum(differs.sum(axis=1), 1)
        for rows, against in ((image_rows[part], text_rows[picked]), (text_rows[part], image_rows[picked])):
            at_least = rows @ against.T >= own[part, None] - 1e-6
            found[part] += (at_least & differs).sum(axis=1) / total / 2
    return found


def noise_of_pairs(ranks: Doubles, *, level: float = 0.5) -> NoiseEstimate:
    """Estimate the share of mismatched pairs from `pair_ranks`.

    Mismatched pairs are spread evenly over [0, 1], matched ones lie near 0: so the share above `level`, over
    1 - level, is the share of mismatches (Storey, JRSS B 2002), too high by those matched pairs that the model cannot
    tell from chance.

    Raises:
        UndefinedMetricError: There is no pair.
    """
    if not len(ranks):
        raise UndefinedMetricError("the share of mismatched pairs needs one pair at least; got none.")
    share = _scaled(wilson_interval(int((ranks > level).sum()), len(ranks)), 1 / (1 - level))
    return NoiseEstimate(share, len(ranks), {"even": share}, f"pairs whose rank is above {level:g}")
