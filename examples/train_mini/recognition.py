"""How well whole pictures are recognised: by text, by references, by caption."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipfast import Clip
from clipfast.datasets.fabricworld import SHAPES
from clipfast.types import Floats
from figures import Figure, auroc, share
from worlds import COLOUR_NAMES, FABRIC_NAMES, Truth, World

CLOTH = ("a photo of {} fabric", "a close-up photo of {} fabric", "{} fabric", "a photo of {}")
FLAWLESS = ["a photo of flawless fabric", "a photo of undamaged fabric", "fabric without defects"]
DAMAGED = ["a photo of damaged fabric", "a photo of defective fabric", "fabric with a defect"]
SHAPE_NAMES = list(SHAPES)
REFERENCES, DRAWS = 3, 3


def zero_shot(clip: Clip, truths: Sequence[Truth], images: Floats) -> list[Figure]:
    """Measure names of fabrics, colours and shapes, and damage, by text."""
    fabric = np.array([FABRIC_NAMES.index(truth.fabric) for truth in truths])
    colour = np.array([COLOUR_NAMES.index(truth.colour) for truth in truths])
    by_fabric = images @ clip.encode_texts(FABRIC_NAMES, CLOTH).T
    by_colour = images @ clip.encode_texts(COLOUR_NAMES, CLOTH).T
    single = np.array([number for number, truth in enumerate(truths) if len(truth.objects) == 1], np.int64)
    shape = np.array([SHAPE_NAMES.index(truths[number].objects[0][0]) for number in single], np.int64)
    by_shape = images[single] @ clip.encode_texts([f"a photo of a {name}" for name in SHAPE_NAMES]).T
    damage = _mean(clip, DAMAGED) - _mean(clip, FLAWLESS)
    damaged = np.array([truth.mask.any() for truth in truths])
    return [
        share("zero-shot fabric top-1", among_top(by_fabric, fabric, 1)),
        share("zero-shot fabric top-3", among_top(by_fabric, fabric, 3)),
        share("zero-shot colour top-1", among_top(by_colour, colour, 1)),
        share("zero-shot shape top-1, one object", among_top(by_shape, shape, 1)),
        auroc("damaged by text, image AUROC", damaged, (images @ damage).astype(np.float64)),
    ]


def bank(clip: Clip, world: World, truths: Sequence[Truth], images: Floats, seed: int) -> list[Figure]:
    """Measure retrieval of the fabric with three references each, of any colour."""
    fabric = np.array([FABRIC_NAMES.index(truth.fabric) for truth in truths])
    nearest, mean = [], []
    for draw in range(DRAWS):
        first = seed + 1000 * draw
        names = [name for name in FABRIC_NAMES for _ in range(REFERENCES)]
        references = clip.encode_images([world.cloth(first + i, name).image for i, name in enumerate(names)])
        scores = (images @ references.T).reshape(len(images), len(FABRIC_NAMES), REFERENCES)
        nearest.append(among_top(scores.max(2), fabric, 1))
        mean.append(among_top(scores.mean(2), fabric, 1))
    return [
        share("bank, 3 references of any colour, nearest", np.mean(nearest, axis=0)),
        share("bank, 3 references of any colour, mean", np.mean(mean, axis=0)),
    ]


def linear_head(train: tuple[Sequence[Truth], Floats], test: tuple[Sequence[Truth], Floats]) -> list[Figure]:
    """Measure a linear head for fabrics and one for colours, fitted on pictures that are not measured on."""
    from sklearn.linear_model import LogisticRegression

    figures = []
    for name in ("fabric", "colour"):
        head = LogisticRegression(C=100.0, max_iter=2000)  # of unit rows; fixed beforehand
        head.fit(train[1], [getattr(truth, name) for truth in train[0]])
        right = head.predict(test[1]) == np.array([getattr(truth, name) for truth in test[0]])
        figures.append(share(f"linear head, {len(train[0]):,} samples, {name} top-1", right))
    return figures


def captions(clip: Clip, texts: Sequence[str], images: Floats) -> list[Figure]:
    """Measure how often a picture's caption is the first of all, and among the first five; equal captions are one."""
    different = sorted(set(texts))
    own = np.array([different.index(text) for text in texts])
    scores = images @ clip.encode_texts(different).T
    among = f"of {len(different)} captions"
    return [
        share(f"caption retrieval R@1, {among}", among_top(scores, own, 1)),
        share(f"caption retrieval R@5, {among}", among_top(scores, own, 5)),
    ]


def among_top(scores: NDArray[Any], right: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """Return 1 where the right column is among the k highest of its row, else 0."""
    own = np.take_along_axis(scores, right[:, None], axis=1)
    hit: NDArray[np.float64] = ((scores > own).sum(1) < k).astype(np.float64)
    return hit


def _mean(clip: Clip, texts: list[str]) -> Floats:
    rows: Floats = clip.encode_texts(texts).mean(0)
    return rows
