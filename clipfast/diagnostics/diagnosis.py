"""The whole diagnosis of a set of predictions: every measurement that the data allow, then causes and priorities."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from clipfast.diagnostics.clusters import Agreement, ErrorCluster, cluster_agreement, error_clusters
from clipfast.diagnostics.features import FEATURES, Features, Measured, sample_features
from clipfast.diagnostics.groups import FrequencyTable, GroupTable, accuracy_by_frequency, grouped_errors
from clipfast.diagnostics.influences import Influences, influence_lacks, training_influences
from clipfast.diagnostics.learned import LearnedCauses, learn_causes
from clipfast.diagnostics.localisation import Localisation, localisation, measure_attention
from clipfast.diagnostics.mismatch import NoiseEstimate, noise_of_labels, noise_of_pairs
from clipfast.diagnostics.modalities import Modalities, measure_modalities
from clipfast.diagnostics.ood import DistanceScore, Drop, NoveltyScores, domain_drop, novelty
from clipfast.diagnostics.pairs import PairDistributions, pair_distributions
from clipfast.diagnostics.predictions import Bools, Predictions
from clipfast.diagnostics.review import ReviewResult, apply_verdicts
from clipfast.diagnostics.rules import RuleTable, default_rules
from clipfast.diagnostics.triage import Triage, triage
from clipfast.diagnostics.uncertainty import Calibration, TopK, calibration, top_k_inclusion
from clipfast.errors import DataError, UndefinedMetricError
from clipfast.metrics.intervals import Interval, wilson_interval

__all__ = ["DiagnoseOptions", "Diagnosis", "FeatureRow", "diagnose"]

_FEW = 30


@dataclass(frozen=True, slots=True)
class DiagnoseOptions:
    """How to diagnose.

    Attributes:
        rules: The rule table; None is the library's.
        group_by: Columns to group by besides those the data have.
        novelty: How distance to the training data is measured.
        false_positive_rate: Share of usual samples that may be called new.
        seed: Of everything random.
    """

    rules: RuleTable | None = None
    group_by: tuple[str, ...] = ()
    novelty: DistanceScore = "mahalanobis"
    false_positive_rate: float = 0.05
    seed: int = 0


@dataclass(frozen=True, slots=True)
class FeatureRow:
    """A feature's median among right and wrong samples; None where none has it."""

    feature: str
    meaning: str
    right: float | None
    wrong: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Diagnosis:
    """All that was found; what the data do not allow is None or empty, and named in `missing`.

    Attributes:
        samples: In all.
        judged: Of these, judged: not trained on.
        wrong: Of these, wrong.
        accuracy: Of the judged samples.
        train_accuracy: Of the training samples.
        groups: Errors by column.
        frequency: Accuracy against training frequency.
        clusters: Of wrong samples.
        agreement: Of clusters with classes.
        pairs: Cosines of image-text pairs.
        top_k: Inclusion of the label.
        calibration: Of the judged samples.
        entropy: Mean normalised entropy of right and of wrong samples.
        novelty: Distances to the training data.
        drops: Accuracy from known to new parts.
        localisation: Where it looked.
        modalities: Accuracy with parts taken away.
        label_noise: Estimated share of wrong labels.
        pair_noise: Estimated share of mismatched pairs.
        review: What people found.
        learned: What a classifier made of their verdicts; None where they are too few.
        influences: Of the training samples on a linear head.
        features: Medians of the features.
        of_samples: Features of every judged sample.
        triage: Causes and priorities.
        missing: Fields that the data lack, and what cannot be said without them.
        partly: Fields that only some judged samples have: how many have them.
        warnings: What limits this diagnosis, in sentences.
    """

    samples: int
    judged: int
    wrong: int
    accuracy: Interval
    train_accuracy: Interval | None
    groups: tuple[GroupTable, ...]
    frequency: FrequencyTable | None
    clusters: tuple[ErrorCluster, ...]
    agreement: Agreement | None
    pairs: PairDistributions | None
    top_k: TopK
    calibration: Calibration
    entropy: tuple[float | None, float | None]
    novelty: NoveltyScores | None
    drops: tuple[Drop, ...]
    localisation: Localisation | None
    modalities: Modalities
    label_noise: NoiseEstimate | None
    pair_noise: NoiseEstimate | None
    review: ReviewResult | None
    learned: LearnedCauses | None
    influences: Influences | None
    features: tuple[FeatureRow, ...]
    of_samples: Features
    triage: Triage
    missing: Mapping[str, str] = field(default_factory=dict)
    partly: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def diagnose(
    predictions: Predictions,
    options: DiagnoseOptions | None = None,
    *,
    verdicts: Mapping[int, str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Diagnosis:
    """Diagnose predictions.

    Args:
        predictions: Samples, as `read_predictions` gives them.
        options: See there.
        verdicts: What people said of samples, by number (`read_verdicts`).
        progress: Called with (done, total) steps.

    Raises:
        DataError: There is no sample, or a column to group by is unknown.
    """
    chosen = options or DiagnoseOptions()
    if not len(predictions):
        raise DataError("a diagnosis needs one sample at least; got none.")
    for column in chosen.group_by:
        predictions.column(column)
    tick = _ticker(progress)
    judged, right, train = predictions.judged, predictions.right, predictions.in_training
    attention = None if predictions.attention is None else measure_attention(predictions.attention, predictions.boxes)
    tick()
    far = novelty(predictions, method=chosen.novelty, false_positive_rate=chosen.false_positive_rate, seed=chosen.seed)
    tick()
    features = sample_features(predictions, Measured(attention, far), seed=chosen.seed)
    tick()
    table = chosen.rules or default_rules()
    review, settled = (None, None) if verdicts is None else apply_verdicts(predictions, verdicts)
    learned = None
    if settled is not None:
        learned, settled = learn_causes(features, right[features.rows], table, settled)
    found = triage(predictions, features, table, settled)
    tick()
    columns = [name for name in predictions.columns if name != "split"]
    groups = [grouped_errors(predictions, name, seed=chosen.seed) for name in ["class", *columns]]
    tick()
    by_column = next((name for name in ("question_type", "domain") if name in predictions.columns), None)
    calibrated = calibration(predictions, by_column, seed=chosen.seed)
    tick()
    clusters = error_clusters(predictions, seed=chosen.seed)
    agreement = cluster_agreement(predictions, seed=chosen.seed)
    tick()
    pairs, pair_noise = _pairs(predictions, features, chosen.seed)
    tick()
    known_noise = noise_of_labels(predictions.labels[features.rows], predictions.probs[features.rows], _fair(features))
    both = train.any() and not train.all()
    tick()
    influences = training_influences(predictions, seed=chosen.seed)
    tick()
    return Diagnosis(
        samples=len(predictions),
        judged=int(judged.sum()),
        wrong=int((judged & ~right).sum()),
        accuracy=wilson_interval(int(right[judged].sum()), int(judged.sum())),
        train_accuracy=wilson_interval(int(right[train].sum()), int(train.sum())) if both else None,
        groups=tuple(groups),
        frequency=accuracy_by_frequency(predictions),
        clusters=clusters,
        agreement=agreement,
        pairs=pairs,
        top_k=top_k_inclusion(predictions),
        calibration=calibrated,
        entropy=_entropies(features, right[features.rows]),
        novelty=far,
        drops=_drops(predictions, far),
        localisation=localisation(predictions, attention),
        modalities=measure_modalities(predictions),
        label_noise=known_noise,
        pair_noise=pair_noise,
        review=review,
        learned=learned,
        influences=influences,
        features=_feature_rows(features, right[features.rows]),
        of_samples=features,
        triage=found,
        missing=_missing(predictions),
        partly=predictions.partly(),
        warnings=_warnings(predictions),
    )


_STEPS = 10


def _ticker(progress: Callable[[int, int], None] | None) -> Callable[[], None]:
    done = 0

    def tick() -> None:
        nonlocal done
        done += 1
        if progress:
            progress(min(done, _STEPS), _STEPS)

    return tick


def _missing(predictions: Predictions) -> dict[str, str]:
    lacks = influence_lacks(predictions)
    found = predictions.missing()
    return found | {"influence": f"which training samples do harm: it needs {lacks}"} if lacks else found


def _fair(features: Features) -> Bools:
    """Return where the model had a fair chance to be right, (s,) bool: only there does being sure accuse the label."""
    fair = np.ones(len(features.rows), bool)
    for name, bound in (("domain_ood_score", 0.97),):
        fair &= ~(features.column(name) >= bound)
    for name, bound in (("attention_hit", 0.0), ("text_words", 0.0), ("image_gain", 0.05), ("domain_seen", 0.0)):
        fair &= ~(features.column(name) <= bound)
    return fair


def _pairs(
    predictions: Predictions, features: Features, seed: int
) -> tuple[PairDistributions | None, NoiseEstimate | None]:
    rows = np.flatnonzero(predictions.judged)
    images, texts = predictions.image_rows, predictions.text_rows
    if images is None or texts is None or images.shape != texts.shape or len(rows) < 3:
        return None, None
    try:
        found = pair_distributions(images[rows], texts[rows], seed=seed)
    except UndefinedMetricError:  # one text for all: there are no wrong pairs
        return None, None
    return found, noise_of_pairs(features.column("pair_rank"))


def _entropies(features: Features, right: Bools) -> tuple[float | None, float | None]:
    entropy = features.column("entropy")
    sides = [entropy[part] for part in (right, ~right)]
    first, second = (float(side.mean()) if len(side) else None for side in sides)
    return first, second


def _drops(predictions: Predictions, far: NoveltyScores | None) -> tuple[Drop, ...]:
    right, judged, train = predictions.right, predictions.judged, predictions.in_training
    found = [domain_drop(right, train, judged & ~train, ("train", "judged"))]
    if far is not None:
        found.append(
            domain_drop(
                right, judged & ~far.new, judged & far.new, ("samples like the training data", "samples unlike it")
            )
        )
    if "domain" in predictions.columns and train.any() and not train.all():
        domain = predictions.columns["domain"]
        seen = np.isin(domain, np.unique(domain[train]))
        found.append(domain_drop(right, judged & seen, judged & ~seen, ("domains trained on", "other domains")))
    return tuple(drop for drop in found if drop is not None)


def _feature_rows(features: Features, right: Bools) -> tuple[FeatureRow, ...]:
    rows = []
    for name in features.known:
        values = features.column(name)
        sides = [values[part & ~np.isnan(values)] for part in (right, ~right)]
        before, after = (float(np.median(side)) if len(side) else None for side in sides)
        rows.append(FeatureRow(name, FEATURES[name], before, after))
    return tuple(rows)


def _warnings(predictions: Predictions) -> tuple[str, ...]:
    judged = predictions.judged
    wrong = int((judged & ~predictions.right).sum())
    found = []
    if int(judged.sum()) < _FEW:
        found.append(
            f"Only {_counted(int(judged.sum()), 'judged')}: intervals are wide, and what is usual cannot be told. "
            f"Take {_FEW} or more, better some hundreds."
        )
    if wrong == 0:
        found.append("Every judged sample is right: there is nothing to find a cause for. Take harder samples.")
    elif wrong == int(judged.sum()):
        found.append(
            "Every judged sample is wrong: no right one says what is usual. Check that columns and labels are in the "
            "same order, and that labels and classes name the same things."
        )
    elif wrong < 10:
        found.append(f"Only {_counted(wrong, 'wrong')}: shares of causes are guesses.")
    words = predictions.partly().get("text")
    if words is not None:
        lost = int(judged.sum()) - words
        found.append(
            f"{_counted(lost, 'judged')} without words and taken as asked so (missing modality). If their texts were "
            "only not written down, leave `text` out of all lines."
        )
    train = predictions.in_training
    if train.all():
        found.append("All samples are of the training split: nothing can be said of new samples.")
    return tuple(found)


def _counted(count: int, what: str) -> str:
    return f"1 sample is {what}" if count == 1 else f"{count} samples are {what}"
