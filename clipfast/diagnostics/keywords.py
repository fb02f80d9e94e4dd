"""Is the word of a caption found in its image, and does what stands around the word change where it is found?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clipfast.diagnostics.captions import Captions
from clipfast.diagnostics.pairs import PairDistributions, compared, map_change
from clipfast.errors import DataError
from clipfast.metrics.intervals import Interval, wilson_interval
from clipfast.similarity import cosine_map
from clipfast.types import DenseEncoder

__all__ = ["KeywordFindings", "KeywordOptions", "find_keywords"]


@dataclass(frozen=True, slots=True)
class KeywordOptions:
    """How to look for keywords.

    Attributes:
        most: Pairs at most; of more, so many at random.
        batch_size: Images at once.
        seed: Chooses pairs, and whose keyword is the wrong one.
        progress: Called with (done, total) images.
    """

    most: int = 500
    batch_size: int = 32
    seed: int = 0
    progress: Callable[[int, int], None] | None = None


@dataclass(frozen=True, slots=True)
class KeywordFindings:
    """What was found about keywords.

    Attributes:
        pairs: Pairs with an image and a keyword that were looked at.
        patches: Cosine of the best patch with the pair's own keyword, beside the best one with another pair's keyword.
        moved: Mean distance of the keyword's map from the map of the whole caption: total variation, 0 to 1. Near 0 the
            words around it changed nothing.
        same_peak: Share of pairs whose peak stays where it was.
    """

    pairs: int
    patches: PairDistributions
    moved: float
    same_peak: Interval


def find_keywords(
    encoder: DenseEncoder, captions: Captions, root: Path, options: KeywordOptions | None = None
) -> KeywordFindings | None:
    """Look for each pair's keyword in its image; None with fewer than two different keywords.

    Args:
        encoder: Of patch tokens and texts.
        captions: Pairs; those without a keyword or an image are passed over.
        root: Folder that paths of images start from.
        options: See there.

    Raises:
        DataError: A keyword does not occur in its caption.
        ImageError: An image cannot be read.
    """
    chosen = options or KeywordOptions()
    rng = np.random.default_rng(chosen.seed)
    held = [
        at for at, (word, image) in enumerate(zip(captions.keywords, captions.images, strict=True)) if word and image
    ]
    for at in held:
        if captions.keywords[at].lower() not in captions.texts[at].lower():
            raise DataError(
                f"pair {captions.ids[at]!r}: its keyword must occur in its text; {captions.keywords[at]!r} is not in "
                f"{captions.texts[at]!r}."
            )
    if len(held) > chosen.most:
        held = np.sort(rng.choice(held, chosen.most, replace=False)).tolist()
    words = [captions.keywords[at] for at in held]
    count = len(held)
    if len({word.lower() for word in words}) < 2:
        return None
    others = (np.arange(count) + rng.integers(1, count, count)) % count
    own_rows, whole_rows = encoder.encode_texts(words), encoder.encode_texts([captions.texts[at] for at in held])
    own, wrong = np.empty(count), np.full(count, np.nan)
    moved, same = np.empty(count), np.empty(count, bool)
    for begin in range(0, count, chosen.batch_size):
        part = np.arange(begin, min(begin + chosen.batch_size, count))
        dense = encoder.encode_dense([root / captions.images[held[at]] for at in part.tolist()])
        for place, at in enumerate(part.tolist()):
            texts = np.stack([own_rows[at], own_rows[others[at]], whole_rows[at]])
            maps = cosine_map(dense.vv[place : place + 1], texts)[0].T.reshape(3, *dense.grid_hw)
            own[at] = maps[0].max()
            if words[at].lower() != words[others[at]].lower():
                wrong[at] = maps[1].max()
            lifted = maps - maps.min(axis=(1, 2), keepdims=True)  # only where it is higher counts
            change = map_change(lifted[:1], lifted[2:])
            moved[at], same[at] = change.distance[0], change.same_peak[0]
        if chosen.progress:
            chosen.progress(int(part[-1]) + 1, count)
    if np.isnan(wrong).all():
        return None
    return KeywordFindings(
        count, compared(own, wrong[~np.isnan(wrong)]), float(moved.mean()), wilson_interval(int(same.sum()), count)
    )
