"""Image-text pairs: do they belong together, how many do not, and which."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from clipfast.diagnostics.mismatch import NoiseEstimate, noise_of_pairs, pair_ranks
from clipfast.diagnostics.pairs import PairDistributions, pair_distributions
from clipfast.diagnostics.predictions import Doubles
from clipfast.diagnostics.records import CaptionRecord, read_chunks, read_header
from clipfast.errors import DataError, ShapeError, UndefinedMetricError
from clipfast.metrics.intervals import Interval
from clipfast.types import Floats, ImageEncoder, TextEncoder

__all__ = [
    "CaptionDiagnosis",
    "Captions",
    "PairEncoder",
    "PairGroup",
    "Suspect",
    "diagnose_captions",
    "encode_captions",
    "read_captions",
]

_MOST_SUSPECTS = 100
_MOST_GROUPS = 20


class PairEncoder(ImageEncoder, TextEncoder, Protocol):
    """Anything that encodes both images and texts."""


@dataclass(frozen=True, slots=True)
class Captions:
    """Pairs as read.

    Attributes:
        ids: Unique names, n.
        texts: Captions, n.
        images: Paths of images, "" where there is none, n.
        keywords: The word of each caption that is to be found in the image, "" where none is named, n.
        columns: Names to group by, n each, "" where unknown: split and the user's own.
    """

    ids: tuple[str, ...]
    texts: tuple[str, ...]
    images: tuple[str, ...]
    keywords: tuple[str, ...]
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def read_captions(path: Path) -> Captions:
    """Read CAPTIONS.jsonl.

    Raises:
        DataError: A line is wrong; the message says where.
    """
    if read_header(path) is not None:
        raise DataError(f"{path}, line 1: captions have no classes. Remove that line.")
    records = [record for lines in read_chunks(path, CaptionRecord) for _, record in lines]
    own = sorted({name for record in records for name in record.groups})
    if "split" in own:
        raise DataError(f"{path}: groups may not be named 'split'; it has a field of its own.")
    columns = {"split": tuple(record.split or "" for record in records)}
    columns |= {name: tuple(record.groups.get(name, "") for record in records) for name in own}
    return Captions(
        tuple(str(record.id) for record in records),
        tuple(record.text for record in records),
        tuple(record.image or "" for record in records),
        tuple(record.keyword or "" for record in records),
        {name: column for name, column in columns.items() if any(column)},
    )


def encode_captions(
    encoder: PairEncoder,
    captions: Captions,
    root: Path,
    *,
    batch_size: int = 32,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Floats, Floats]:
    """Embed images and texts.

    Raises:
        DataError: A pair has no image.
        ImageError: An image cannot be read.
    """
    lacking = [name for name, image in zip(captions.ids, captions.images, strict=True) if not image]
    if lacking:
        raise DataError(
            f"{len(lacking)} pairs have no image, such as {lacking[0]!r}. Add `image`, or give --embeddings."
        )
    images, count = [], len(captions.ids)
    for begin in range(0, count, batch_size):
        part = [root / name for name in captions.images[begin : begin + batch_size]]
        images.append(encoder.encode_images(part))
        if progress:
            progress(min(begin + batch_size, count), count)
    return np.concatenate(images), encoder.encode_texts(list(captions.texts))


@dataclass(frozen=True, slots=True)
class Suspect:
    """A pair that fits badly.

    Attributes:
        id: Its name.
        text: Its caption.
        rank: Share of wrong pairs that fit at least as well, in [0, 1].
        cosine: Of image and text.
    """

    id: str
    text: str
    rank: float
    cosine: float


@dataclass(frozen=True, slots=True)
class PairGroup:
    """Mismatched pairs of one group.

    Attributes:
        column: What is grouped by.
        name: Of the group; "" holds pairs without a name.
        pairs: How many.
        ratio: Estimated share of mismatched ones.
    """

    column: str
    name: str
    pairs: int
    ratio: Interval


@dataclass(frozen=True, slots=True)
class CaptionDiagnosis:
    """What was found about pairs.

    Attributes:
        count: Pairs.
        distributions: Cosines of matching and shuffled pairs.
        noise: Estimated share of mismatched pairs.
        suspects: The worst pairs, at most 100, of which a tenth or more of the wrong pairs fit as well.
        groups: Mismatches by group, of each column the 20 largest groups, most mismatched first.
        sentences: The result in words.
    """

    count: int
    distributions: PairDistributions
    noise: NoiseEstimate
    suspects: tuple[Suspect, ...]
    groups: tuple[PairGroup, ...]
    sentences: tuple[str, ...]


def diagnose_captions(captions: Captions, image_rows: Floats, text_rows: Floats, *, seed: int = 0) -> CaptionDiagnosis:
    """Diagnose pairs from their embeddings, unit rows (n, e) each.

    Raises:
        DataError: There are fewer than three pairs, or one text only.
        ShapeError: Shapes do not fit.
    """
    count = len(captions.ids)
    if len(image_rows) != count:
        raise ShapeError(f"there must be {count} rows, one a pair; got {len(image_rows)}.")
    try:
        spread = pair_distributions(image_rows, text_rows, seed=seed)
        ranks = pair_ranks(image_rows, text_rows, seed=seed)
    except UndefinedMetricError as error:
        raise DataError(f"These pairs cannot be compared with each other: {error}") from error
    noise = noise_of_pairs(ranks)
    cosines = (image_rows * text_rows).sum(axis=1)
    order = np.lexsort((cosines, -ranks))[:_MOST_SUSPECTS]
    suspects = tuple(
        Suspect(captions.ids[i], captions.texts[i], float(ranks[i]), float(cosines[i]))
        for i in order.tolist()
        if ranks[i] > 0.1
    )
    groups = tuple(group for name, column in captions.columns.items() for group in _by_group(name, column, ranks))
    return CaptionDiagnosis(count, spread, noise, suspects, groups, _sentences(count, spread, noise))


def _by_group(column: str, names: Sequence[str], ranks: Doubles) -> list[PairGroup]:
    found, which, sizes = np.unique(np.array(names), return_inverse=True, return_counts=True)
    largest = np.argsort(-sizes, kind="stable")[:_MOST_GROUPS].tolist()
    groups = [
        PairGroup(column, str(found[at]), int(sizes[at]), noise_of_pairs(ranks[which == at]).ratio) for at in largest
    ]
    return sorted(groups, key=lambda group: -group.ratio.estimate)


def _sentences(count: int, spread: PairDistributions, noise: NoiseEstimate) -> tuple[str, ...]:
    ratio = noise.ratio
    said = [
        f"{count:,} pairs: a matching pair is closer than a shuffled one with probability {spread.auc:.3f} "
        f"(d' {spread.d_prime:z.2f}, overlap {100 * spread.overlap:.0f} %).",
        f"Estimated share of mismatched pairs: {100 * ratio.estimate:.1f} % [{100 * ratio.low:.1f}, "
        f"{100 * ratio.high:.1f}].",
    ]
    if spread.auc < 0.8:
        said.append(
            "Matching and shuffled pairs lie close together: either the model does not know such images and texts, or "
            "many pairs are mismatched. The share above counts both."
        )
    if count < 30:
        said.append(f"Only {count} pairs: the intervals are wide. Take some hundreds.")
    return tuple(said)
