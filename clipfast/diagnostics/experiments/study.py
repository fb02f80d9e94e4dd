"""Chosen experiments on one model and one data set: what each asks, what it needs, and what came out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from clipfast.datasets.shifts import replace_background
from clipfast.diagnostics.captions import PairEncoder
from clipfast.diagnostics.experiments import heads, probes
from clipfast.diagnostics.experiments.ablation import head_ablation
from clipfast.diagnostics.experiments.design import Experiment
from clipfast.diagnostics.experiments.encoded import EncodedStudy, pixels_of
from clipfast.diagnostics.experiments.relations import relation_experiment
from clipfast.diagnostics.experiments.study_data import StudyData
from clipfast.errors import DataError
from clipfast.types import Ints

__all__ = ["EXPERIMENTS", "Outcome", "Plan", "Skipped", "Study", "StudyOptions", "run_study"]


@dataclass(frozen=True, slots=True)
class StudyOptions:
    """How to run experiments.

    Attributes:
        seeds: Of whatever is random; three to five are usual.
        knowledge: Synonyms and definitions by class (`read_knowledge`).
        most: Pictures at most that an experiment opens again, such as to change their light.
        scenes: Drawn for each relation and seed.
        batch_size: Images at once.
        progress: Called with (done, total) experiments.
    """

    seeds: tuple[int, ...] = (0, 1, 2)
    knowledge: Mapping[str, Sequence[str]] | None = None
    most: int = 200
    scenes: int = 50
    batch_size: int = 32
    progress: Callable[[int, int], None] | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an experiment found.

    Attributes:
        name: A name of `EXPERIMENTS`.
        cause: The cause that it settles.
        question: What it asks.
        result: The arms.
    """

    name: str
    cause: str
    question: str
    result: Experiment


@dataclass(frozen=True, slots=True)
class Skipped:
    """An experiment that was not run.

    Attributes:
        name: A name of `EXPERIMENTS`.
        lacks: What the data lack for it.
    """

    name: str
    lacks: str


@dataclass(frozen=True, slots=True)
class Study:
    """Experiments on one model and one data set.

    Attributes:
        data: Name of the data set.
        fingerprint: Of the model.
        seeds: Of whatever is random.
        outcomes: In the order of `EXPERIMENTS`.
        skipped: What was not run, and why.
    """

    data: str
    fingerprint: str
    seeds: tuple[int, ...]
    outcomes: tuple[Outcome, ...]
    skipped: tuple[Skipped, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """One experiment of the table.

    Attributes:
        cause: The cause that it settles.
        question: What it asks.
        lacks: Says what the data lack for it, "" if nothing.
        run: Runs it.
    """

    cause: str
    question: str
    lacks: Callable[[StudyData, StudyOptions], str]
    run: Callable[[EncodedStudy, StudyOptions], Experiment]


def run_study(
    encoder: PairEncoder, data: StudyData, names: Sequence[str] = (), options: StudyOptions | None = None
) -> Study:
    """Run experiments.

    Args:
        encoder: Of images and texts, such as a `Clip`.
        data: The data set.
        names: Of `EXPERIMENTS`; none takes all for which the data suffice, and says of the others what is missing.
        options: See there.

    Raises:
        DataError: A name is unknown, the data lack what a named experiment needs, or there is no seed.
        ImageError: An image cannot be read.
    """
    chosen = options or StudyOptions()
    strangers = [name for name in names if name not in EXPERIMENTS]
    if strangers:
        raise DataError(f"experiments are {', '.join(EXPERIMENTS)}; got {strangers[0]!r}.")
    if not chosen.seeds or min(chosen.seeds) < 0:
        raise DataError(f"seeds must be one number of 0 or more at least; got {list(chosen.seeds)}.")
    wanted = [name for name in EXPERIMENTS if not names or name in names]
    lacks = {name: EXPERIMENTS[name].lacks(data, chosen) for name in wanted}
    for name, what in lacks.items():
        if what and names:
            raise DataError(f"{name} cannot be run on {data.name}: {what}")
    held = EncodedStudy(encoder, data, batch_size=chosen.batch_size)
    possible = [name for name in wanted if not lacks[name]]
    outcomes = []
    for done, name in enumerate(possible, start=1):
        plan = EXPERIMENTS[name]
        outcomes.append(Outcome(name, plan.cause, plan.question, plan.run(held, chosen)))
        if chosen.progress:
            chosen.progress(done, len(possible))
    skipped = tuple(Skipped(name, what) for name, what in lacks.items() if what)
    return Study(data.name, encoder.fingerprint(), chosen.seeds, tuple(outcomes), skipped)


def _needs_labels(data: StudyData, _: StudyOptions) -> str:
    if len(data.classes) < 2 or (data.test.labels < 0).any():
        return "every sample needs a `label`, of two classes or more."
    return "" if len(data.test) > 1 else "two judged samples or more are needed."


def _needs_training(data: StudyData, options: StudyOptions) -> str:
    if data.train is None:
        return 'it fits a head: mark training samples with "split": "train".'
    if (data.train.labels < 0).any() or len(data.train) < 10:
        return "there must be ten training samples or more, each with a `label`."
    return _needs_labels(data, options)


def _needs_other(data: StudyData, options: StudyOptions) -> str:
    if data.other is None:
        return "there is no other data set: give --other FILE, or a `domain` that was not trained on."
    if (data.other.labels < 0).any() or len(data.other) < 4:
        return "the other data set needs four samples or more, each with a `label`."
    return _needs_training(data, options)


def _needs_texts(data: StudyData, options: StudyOptions) -> str:
    parts = [part for part in (data.train, data.test) if part is not None]
    if not all(text for part in parts for text in part.texts):
        return "every sample needs a `text`."
    return _needs_training(data, options)


def _needs_keywords(data: StudyData, _: StudyOptions) -> str:
    if len(_with_keyword(data)) < 2:
        return "two judged samples or more need a `keyword` that occurs in their `text`."
    return ""


def _with_keyword(data: StudyData) -> Ints:
    """Return judged samples whose keyword occurs in their text."""
    pairs = zip(data.test.keywords, data.test.texts, strict=True)
    return np.array([at for at, (word, text) in enumerate(pairs) if word and word in text], np.int64)


def _needs_knowledge(data: StudyData, options: StudyOptions) -> str:
    if not options.knowledge:
        return "give --knowledge FILE.toml with synonyms and definitions of the classes."
    return _needs_labels(data, options)


def _needs_regions(data: StudyData, _: StudyOptions) -> str:
    return "" if data.regions is not None else "two samples or more need `candidates`, `answer` and `text`."


def _needs_nothing(_: StudyData, __: StudyOptions) -> str:
    return ""


def _few_shot(held: EncodedStudy, options: StudyOptions) -> Experiment:
    pool, tested = held.other_halves()
    other = held.data.other
    assert other is not None  # noqa: S101  # `lacks` has said so; for the type checker
    images = held.images
    data = heads.HeadData(images.train, images.train_labels, held.other[tested], other.labels[tested], images.classes)
    return heads.few_shot_curve(data, held.other[pool], other.labels[pool], seeds=options.seeds)


def _cross(held: EncodedStudy, options: StudyOptions) -> Experiment:
    assert held.data.other is not None  # noqa: S101  # likewise
    return heads.cross_dataset_runs(held.images, held.other, held.data.other.labels, seeds=options.seeds)


def _context(held: EncodedStudy, options: StudyOptions) -> Experiment:
    rows, part = _some(_with_keyword(held.data), options), held.data.test
    texts, keywords = ([words[at] for at in rows.tolist()] for words in (part.texts, part.keywords))
    return probes.context_ablation(held.encoder, held.test[rows], texts, keywords, seeds=options.seeds)


def _knowledge(held: EncodedStudy, options: StudyOptions) -> Experiment:
    data = held.data
    return probes.prompt_knowledge(held.encoder, held.test, data.test.labels, data.classes, options.knowledge or {})


def _localisation(held: EncodedStudy, options: StudyOptions) -> Experiment:
    found = held.data.regions
    assert found is not None  # noqa: S101  # likewise
    rows = _some(np.arange(len(found.images)), options).tolist()
    images = [pixels_of(found.images[at]) for at in rows]
    boxes = [_in_pixels(found.candidates[at], image.shape) for at, image in zip(rows, images, strict=True)]
    texts, answers = [found.texts[at] for at in rows], [found.answers[at] for at in rows]
    return probes.localisation_probe(held.encoder, images, boxes, texts, answers)


def _in_pixels(shares: Any, shape: tuple[int, ...]) -> Ints:
    """Return whole pixels around boxes, at least one each way and none outside."""
    high, wide = shape[:2]
    low = np.floor(shares[:, :2] * [wide, high]).astype(np.int64)
    low = np.minimum(np.maximum(low, 0), [wide - 1, high - 1])
    top = np.minimum(np.ceil(shares[:, 2:] * [wide, high] - 1e-9).astype(np.int64), [wide, high])
    found: Ints = np.hstack([low, np.maximum(top, low + 1)])
    return found


def _augmentation(held: EncodedStudy, options: StudyOptions) -> Experiment:
    things = held.data.objects
    if things is not None:
        behind = things.images[1:] + things.images[:1]
        backgrounds = [
            replace_background(image, mask, other)
            for image, mask, other in zip(things.images, things.masks, behind, strict=True)
        ]
        texts = [f"a photo of a {name}" for name in things.names]
        return probes.augmentation_shift(
            held.encoder, list(things.images), things.labels, texts, backgrounds=backgrounds, seeds=options.seeds
        )
    part = held.data.test
    rows = _some(np.arange(len(part)), options).tolist()
    images = [pixels_of(part.images[at]) for at in rows]
    return probes.augmentation_shift(held.encoder, images, part.labels[rows], held.data.classes, seeds=options.seeds)


def _some(rows: Ints, options: StudyOptions) -> Ints:
    """Return all of the samples, or a random part of many."""
    if len(rows) <= options.most:
        return rows
    found: Ints = np.sort(np.random.default_rng(options.seeds[0]).choice(rows, options.most, replace=False))
    return found


def _texts_if_any(held: EncodedStudy, options: StudyOptions) -> heads.HeadData | None:
    return None if _needs_texts(held.data, options) else held.texts


EXPERIMENTS: Mapping[str, Plan] = MappingProxyType(
    {
        "noise-injection": Plan(
            "noise", "How much does accuracy fall when labels are made wrong?", _needs_training,
            lambda held, options: heads.noise_injection(held.images, seeds=options.seeds),
        ),
        "cleaning": Plan(
            "noise", "Does dropping suspects help more than dropping random samples?", _needs_training,
            lambda held, options: heads.cleaning(held.images, seeds=options.seeds),
        ),
        "cross-dataset": Plan("generalisation", "How much is lost on another data set?", _needs_other, _cross),
        "few-shot": Plan("generalisation", "How fast do a few new samples win it back?", _needs_other, _few_shot),
        "augmentation": Plan(
            "generalisation", "Does it stand other light, angles, backgrounds, compression?", _needs_labels,
            _augmentation,
        ),
        "localisation": Plan("alignment", "Does it find the box that a text means?", _needs_regions, _localisation),
        "relation": Plan(
            "alignment", "Does it read relations, or only which things are there?", _needs_nothing,
            lambda held, options: relation_experiment(held.encoder, scenes=options.scenes, seeds=options.seeds),
        ),
        "modality-drop": Plan(
            "missing modality", "Does training with dropped modalities make it sturdier?", _needs_texts,
            lambda held, options: heads.modality_drop(held.images, held.texts, seeds=options.seeds),
        ),
        "imputation": Plan(
            "missing modality", "Does the nearest caption make up for a missing text?", _needs_texts,
            lambda held, options: heads.imputation(held.images, held.texts, seeds=options.seeds),
        ),
        "context": Plan("ambiguity", "Do the words around the keyword count?", _needs_keywords, _context),
        "knowledge": Plan("ambiguity", "Do synonyms and definitions help?", _needs_knowledge, _knowledge),
        "factors": Plan(
            "capacity", "What does each part of the head do, one at a time?", _needs_training,
            lambda held, options: head_ablation(held.images, _texts_if_any(held, options), seeds=options.seeds),
        ),
    }
)  # fmt: skip
"""Every experiment by the name that users type."""
