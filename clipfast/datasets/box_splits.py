"""Training images and images to be scored, from a data set that has no such split."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from clipfast.arguments import Span, require_number, require_whole
from clipfast.datasets.box_records import BoxSet
from clipfast.errors import DataError

__all__ = ["several_sources", "split_by_source"]


def split_by_source(data: BoxSet, share: float, seed: int) -> tuple[BoxSet, BoxSet]:
    """Split a data set into training images and images to be scored.

    Frames of one video look alike, so images whose names differ only in the number at their end are one source and go
    to the same side. Where all are one source, images are drawn one by one.

    Args:
        data: At least two images.
        share: About which part is for training, in (0, 1).
        seed: Of the draw.

    Raises:
        DataError: There are fewer than two images, or the share is 0 or 1.
        ShapeError: The share or the seed is no number that can be meant.
    """
    require_number("share", share, Span(0, 1))
    require_whole("seed", seed, 0)
    if len(data) < 2 or not 0 < share < 1:
        raise DataError(f"a split needs two images or more and a share in (0, 1); got {len(data)} and {share}.")
    sources = _sources(data)
    parts = sources if len(sources) > 1 else [[at] for at in range(len(data))]
    order = np.random.default_rng(seed).permutation(len(parts)).tolist()
    training: set[int] = set()
    for number in order[:-1]:
        if training and len(training) + len(parts[number]) > share * len(data):
            continue
        training.update(parts[number])
    sides = [
        replace(data, samples=[data.samples[at] for at in range(len(data)) if (at in training) == wanted])
        for wanted in (True, False)
    ]
    return sides[0], sides[1]


def several_sources(data: BoxSet) -> bool:
    """Whether `split_by_source` draws whole sources; if not, all images are of one and it draws single images."""
    return len(_sources(data)) > 1


def _sources(data: BoxSet) -> list[list[int]]:
    """Return the numbers of the images of each source."""
    found: dict[str, list[int]] = {}
    for at, sample in enumerate(data.samples):
        found.setdefault(re.sub(r"[-_ ]*\d+$", "", sample.id), []).append(at)
    return list(found.values())
