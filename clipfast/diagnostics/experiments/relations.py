"""Does a model read relations, or only which things are there? Scenes whose relation is known in every pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clipfast.datasets.fabricworld import RELATIONS, Relation, Wishes, render_relation
from clipfast.diagnostics.captions import PairEncoder
from clipfast.errors import ShapeError
from clipfast.metrics.intervals import Interval, wilson_interval

__all__ = ["RelationScore", "relation_probe"]

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
    if scenes < 1:
        raise ShapeError(f"scenes must be at least 1; got {scenes}.")
    found = []
    for number, relation in enumerate(relations):
        seeds = np.random.SeedSequence([seed, number]).generate_state(scenes).tolist()
        drawn = [render_relation(each, relation, wishes=wishes) for each in seeds]
        images = encoder.encode_images([each.scene.image for each in drawn])
        true, false = (
            encoder.encode_texts([f"a photo of {text}" for text in texts])
            for texts in ([each.text for each in drawn], [each.opposite for each in drawn])
        )
        margins = ((true - false) * images).sum(axis=1, dtype=np.float64)
        tied = int((np.abs(margins) <= _TIE).sum())
        share = wilson_interval(int((margins > _TIE).sum()) + tied // 2, scenes)
        found.append(RelationScore(relation, share, tied, share.low > 0.5, float(margins.mean())))
    return tuple(found)
