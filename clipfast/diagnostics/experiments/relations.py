"""Does a model read relations, or only which things are there? Scenes whose relation is known in every pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clipfast.datasets.fabricworld import RELATIONS, Relation, Wishes, render_relation
from clipfast.diagnostics.captions import PairEncoder
from clipfast.diagnostics.experiments.design import Experiment, compare_arms
from clipfast.diagnostics.predictions import Doubles
from clipfast.errors import ShapeError
from clipfast.metrics.intervals import Interval, wilson_interval

__all__ = ["RelationScore", "relation_experiment", "relation_probe"]

_TIE = 1e-6


@dataclass(frozen=True, slots=True)
class RelationScore:
    """How well one relation is read.

    Attributes:
        relation: "left of", "right of", "on" or "count".
        accuracy: Share of scenes that are closer to the true sentence than to the false one of the same words, with
            Wilson interval; 0.5 is chance. Half of the undecided ones count.
        undecided: Scenes that are equally close to both, as where a model knows none of the words that differ.
        reads: Whether the interval lies above 0.5.
        margin: Mean cosine with the true less the false sentence.
    """

    relation: str
    accuracy: Interval
    undecided: int
    reads: bool
    margin: float


def relation_probe(
    encoder: PairEncoder,
    *,
    scenes: int = 50,
    relations: tuple[Relation, ...] = RELATIONS,
    seed: int = 0,
    wishes: Wishes | None = None,
) -> tuple[RelationScore, ...]:
    """Draw scenes and ask which of two sentences is true: subject and object swapped, or another number.

    A bag of words cannot tell them apart: both hold the same words.

    Args:
        encoder: Of images and texts.
        scenes: Of each relation, at least 1.
        relations: Which.
        seed: Of the scenes.
        wishes: Fabric, colour, camera and size.

    Raises:
        ShapeError: `scenes` is less than 1.
        DataError: A relation is unknown.
    """
    found = []
    for number, relation in enumerate(relations):
        margins = _margins(encoder, scenes, relation, (seed, number), wishes)
        tied = int((np.abs(margins) <= _TIE).sum())
        share = wilson_interval(int((margins > _TIE).sum()) + tied // 2, scenes)
        found.append(RelationScore(relation, share, tied, share.low > 0.5, float(margins.mean())))
    return tuple(found)


def relation_experiment(
    encoder: PairEncoder,
    *,
    scenes: int = 50,
    relations: tuple[Relation, ...] = RELATIONS,
    seeds: Sequence[int] = (0, 1, 2),
    wishes: Wishes | None = None,
) -> Experiment:
    """Ask `relation_probe`'s question with several seeds, each of which draws its own scenes; chance is one half.

    Args:
        encoder: Of images and texts.
        scenes: Of each relation and seed, at least 2.
        relations: Which.
        seeds: Of the scenes.
        wishes: Fabric, colour, camera and size.

    Raises:
        ShapeError: `scenes` is too small.
        DataError: A relation is unknown.
    """
    right = {"by chance": np.full((len(seeds), scenes), 0.5)}
    for number, relation in enumerate(relations):
        runs = [_margins(encoder, scenes, relation, (seed, number), wishes) for seed in seeds]
        right[relation] = np.stack([np.where(np.abs(run) <= _TIE, 0.5, run > 0) for run in runs])
    return compare_arms("relation probe", right, "by chance")


def _margins(
    encoder: PairEncoder, scenes: int, relation: Relation, seed: tuple[int, int], wishes: Wishes | None
) -> Doubles:
    """Return the cosine of each scene with its true less its false sentence, (scenes,)."""
    if scenes < 1:
        raise ShapeError(f"scenes must be at least 1; got {scenes}.")
    seeds = np.random.SeedSequence(seed).generate_state(scenes).tolist()
    drawn = [render_relation(each, relation, wishes=wishes) for each in seeds]
    images = encoder.encode_images([each.scene.image for each in drawn])
    true, false = (
        encoder.encode_texts([f"a photo of {text}" for text in texts])
        for texts in ([each.text for each in drawn], [each.opposite for each in drawn])
    )
    found: Doubles = ((true - false) * images).sum(axis=1, dtype=np.float64)
    return found
