"""What is known of each sample, as numbers that rules can read; NaN where the data do not tell.

`image_confidence`, `text_confidence`, `attention_entropy`, `localization_iou`, `train_freq_of_template` and
`domain_ood_score` are the features of the owner's procedure; the others are what its rules need besides.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from clipfast.diagnostics.groups import training_counts
from clipfast.diagnostics.localisation import AttentionMeasures
from clipfast.diagnostics.mismatch import confidence_ratio, neighbour_votes, pair_ranks
from clipfast.diagnostics.ood import NoveltyScores
from clipfast.diagnostics.predictions import Doubles, Predictions
from clipfast.diagnostics.uncertainty import label_ranks, margins, normalised_entropy
from clipfast.types import Ints

__all__ = ["FEATURES", "Features", "Measured", "sample_features"]

FEATURES: Mapping[str, str] = MappingProxyType(
    {
        "confidence": "probability of the predicted class",
        "label_prob": "probability of the label",
        "label_share": "probability of the label over that of the predicted class",
        "label_rank": "rank of the label's probability, 1 for the largest",
        "rival_share": "second largest probability over the largest",
        "margin": "largest less second largest probability",
        "entropy": "entropy of the probabilities, 1 where all classes are equal",
        "confidence_ratio": "confidence over what is usual for that class, as a cross-checked confident learning",
        "image_confidence": "confidence without the text",
        "text_confidence": "confidence without the image",
        "image_gain": "how much the image moves the probabilities: total variation, 0 to 1",
        "text_gain": "how much the text moves the probabilities: total variation, 0 to 1",
        "context_gain": "how much the words around the keyword move the probabilities: total variation, 0 to 1",
        "text_words": "words of the text",
        "attention_entropy": "entropy of the attention, 1 where it is spread evenly",
        "localization_iou": "overlap of the attention's box with the answer's",
        "attention_hit": "1 where the attention's peak lies in the answer, else 0",
        "attention_lift": "attention inside the answer over what an even spread would have there",
        "train_freq_of_template": "training samples of its template (else class) over the mean of all templates",
        "domain_seen": "1 where its domain was trained on, else 0",
        "domain_ood_score": "share of held-out training samples that are nearer to the training data",
        "train_error_of_group": "error rate of training samples of its template (else class)",
        "neighbours_for_label": "share of the nearest samples that have its label",
        "neighbours_for_prediction": "share of the nearest samples that have the predicted class as label",
        "pair_rank": "share of wrong image-text pairs that fit at least as well as its own",
        "loss_rank": "share of samples of the same split with a smaller last loss",
        "loss_jump": "largest rise of its loss from one epoch to the next, over the mean loss",
    }
)

_WORD = re.compile(r"\w")


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """Measurements of all samples that features are made of.

    Attributes:
        attention: Of the maps; None without maps.
        novelty: Distances to the training data; None without embeddings or training samples.
    """

    attention: AttentionMeasures | None = None
    novelty: NoveltyScores | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """Features of the judged samples.

    Attributes:
        rows: Which samples, (s,) int64.
        values: One column a feature, in the order of `FEATURES`, (s, f) float64; NaN where unknown.
    """

    rows: Ints
    values: Doubles

    def column(self, name: str) -> Doubles:
        """Return one feature, (s,)."""
        found: Doubles = self.values[:, list(FEATURES).index(name)]
        return found

    @property
    def known(self) -> tuple[str, ...]:
        """Names of the features that at least one sample has."""
        return tuple(name for at, name in enumerate(FEATURES) if not np.isnan(self.values[:, at]).all())


def sample_features(predictions: Predictions, measured: Measured, *, seed: int = 0) -> Features:
    """Return the features of the judged samples, right and wrong: the right ones say what is usual."""
    rows = np.flatnonzero(predictions.judged)
    columns: dict[str, Doubles] = {}
    columns |= _of_probs(predictions, rows)
    columns |= _of_modalities(predictions, rows)
    columns |= _of_training(predictions, rows)
    if measured.attention is not None:
        found = measured.attention
        columns["attention_entropy"] = found.entropy[rows]
        columns["localization_iou"] = found.iou[rows]
        columns["attention_hit"] = found.hit[rows]
        columns["attention_lift"] = found.lift[rows]
    if measured.novelty is not None:
        columns["domain_ood_score"] = measured.novelty.ranks[rows]
    columns |= _of_neighbours(predictions, rows, seed)
    empty = np.full(len(rows), np.nan)
    return Features(rows, np.stack([columns.get(name, empty) for name in FEATURES], axis=1))


def _of_probs(predictions: Predictions, rows: Ints) -> dict[str, Doubles]:
    probs, labels = predictions.probs[rows], predictions.labels[rows]
    own, top, lead = probs[np.arange(len(rows)), labels], probs.max(axis=1), margins(probs)
    return {
        "confidence": top,
        "label_prob": own,
        "label_share": own / np.maximum(top, 1e-12),
        "label_rank": label_ranks(labels, probs).astype(np.float64),
        "rival_share": (top - lead) / np.maximum(top, 1e-12),
        "margin": lead,
        "entropy": normalised_entropy(probs),
        "confidence_ratio": confidence_ratio(labels, probs),
    }


def _of_modalities(predictions: Predictions, rows: Ints) -> dict[str, Doubles]:
    found: dict[str, Doubles] = {}
    probs = predictions.probs[rows]
    for given, confidence, gain in (
        (predictions.image_only, "image_confidence", "text_gain"),
        (predictions.text_only, "text_confidence", "image_gain"),
        (predictions.no_context, None, "context_gain"),
    ):
        if given is None:
            continue
        if confidence is not None:
            found[confidence] = given[rows].max(axis=1)
        found[gain] = np.abs(probs - given[rows]).sum(axis=1) / 2
    if predictions.texts is not None:
        texts = predictions.texts
        found["text_words"] = np.array([float(_words(texts[i])) for i in rows.tolist()])
    return found


def _words(text: str) -> int:
    """Count words; a text without any letter or digit has none."""
    return len(text.split()) if _WORD.search(text) else 0


def _of_training(predictions: Predictions, rows: Ints) -> dict[str, Doubles]:
    found: dict[str, Doubles] = {}
    train = predictions.in_training
    counts, column = training_counts(predictions)
    if counts is not None:
        names, which = np.unique(predictions.column(column), return_inverse=True)
        per_name = np.bincount(which[train], minlength=len(names))
        wrong = np.bincount(which[train], weights=~predictions.right[train], minlength=len(names))
        with np.errstate(divide="ignore", invalid="ignore"):
            found["train_error_of_group"] = (wrong / np.where(per_name > 0, per_name, np.nan))[which[rows]]
        found["train_freq_of_template"] = counts[rows] / per_name[per_name > 0].mean()
        if "domain" in predictions.columns:
            domain = predictions.columns["domain"]
            found["domain_seen"] = np.isin(domain[rows], np.unique(domain[train])).astype(np.float64)
    if predictions.losses is not None:
        found |= _of_losses(predictions.losses[rows])
    return found


def _of_losses(losses: Doubles) -> dict[str, Doubles]:
    last = losses[:, -1]
    known = ~np.isnan(last)
    rank = np.full(len(last), np.nan)
    if known.any():
        rank[known] = np.searchsorted(np.sort(last[known]), last[known], side="left") / known.sum()
    found = {"loss_rank": rank}
    if losses.shape[1] > 1:
        rises = np.where(np.isnan(np.diff(losses, axis=1)), -np.inf, np.diff(losses, axis=1)).max(axis=1)
        mean = float(np.nanmean(losses)) if (~np.isnan(losses)).any() else 1.0
        found["loss_jump"] = np.where(np.isfinite(rises), rises / max(mean, 1e-12), np.nan)
    return found


def _of_neighbours(predictions: Predictions, rows: Ints, seed: int) -> dict[str, Doubles]:
    found: dict[str, Doubles] = {}
    images, texts = predictions.image_rows, predictions.text_rows
    if images is not None and texts is not None and len(rows) >= 3 and images.shape[1] == texts.shape[1]:
        found["pair_rank"] = pair_ranks(images[rows], texts[rows], seed=seed)
    if images is None:
        return found
    wrong = np.flatnonzero(~predictions.right[rows])
    voters = np.flatnonzero(predictions.in_training) if predictions.in_training.any() else rows
    if len(voters) < 10 or not len(wrong):
        return found
    width = len(predictions.classes)
    votes = neighbour_votes(images, predictions.labels, voters, rows[wrong], classes=width, seed=seed)
    at = np.arange(len(wrong))
    for name, named in (
        ("neighbours_for_label", predictions.labels),
        ("neighbours_for_prediction", predictions.predicted),
    ):
        values = np.full(len(rows), np.nan)
        values[wrong] = votes[at, named[rows[wrong]]]
        found[name] = values
    return found
