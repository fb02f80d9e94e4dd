"""Which fabrics a bank takes for each other: every photo is asked for among all the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from clipfast.arguments import require_type
from clipfast.retrieval.references import References
from clipfast.retrieval.scoring import products
from clipfast.types import Ints

__all__ = ["Confusion", "LeaveOneOut", "leave_one_out"]

_QUERIES_PER_PRODUCT = 64


@dataclass(frozen=True, slots=True)
class Confusion:
    """Photos of one fabric that are most similar to a photo of another.

    Attributes:
        fabric: Their fabric.
        taken_for: The other one.
        photos: Their names.
        of: How many photos the fabric has.
    """

    fabric: str
    taken_for: str
    photos: tuple[str, ...]
    of: int


@dataclass(frozen=True, slots=True)
class LeaveOneOut:
    """How well the photos of a bank find each other's fabric.

    Attributes:
        accuracy: Share of the photos asked with whose nearest other photo is of their fabric; None where none was.
        asked: How many photos were asked with.
        alone: Fabrics of one photo: without it nothing of them is left to be found, so it was not asked with.
        confusions: Who is taken for whom, most photos first.
    """

    accuracy: float | None
    asked: int
    alone: tuple[str, ...]
    confusions: tuple[Confusion, ...]


def leave_one_out(references: References, *, progress: Callable[[int, int], None] | None = None) -> LeaveOneOut:
    """Rank every photo against all others without itself, and count whose fabric comes first.

    The nearest photo decides, which is what `max` scores do; of equal ones the first in (fabric, path) order. A bank
    with copies of a photo looks better than it is, because they find each other. Takes m² products of rows: a second
    for some thousand photos.

    Args:
        references: The photos.
        progress: Called with (done, total) photos.
    """
    count = len(require_type("references", references, References, "bank.references"))
    nearest: Ints = np.zeros(count, dtype=np.int64)
    for start in range(0, count, _QUERIES_PER_PRODUCT):
        rows = np.arange(start, min(start + _QUERIES_PER_PRODUCT, count))
        cosines = products(references.embeddings[rows], references.embeddings)
        cosines[rows - start, rows] = -np.inf
        nearest[rows] = cosines.argmax(axis=1)
        if progress:
            progress(int(rows[-1]) + 1, count)
    own = np.repeat(np.arange(len(references.names)), references.counts)
    asked = references.counts[own] > 1
    found = own[nearest]
    right = int((own == found)[asked].sum())
    total = int(asked.sum())
    return LeaveOneOut(
        accuracy=right / total if total else None,
        asked=total,
        alone=tuple(references.names[column] for column in np.flatnonzero(references.counts == 1)),
        confusions=_confusions(references, own, found, np.flatnonzero(asked & (own != found))),
    )


def _confusions(references: References, own: Ints, found: Ints, wrong: Ints) -> tuple[Confusion, ...]:
    photos: dict[tuple[int, int], list[str]] = {}
    for row in wrong.tolist():
        photos.setdefault((int(own[row]), int(found[row])), []).append(references.paths[row])
    pairs = sorted(photos, key=lambda pair: (-len(photos[pair]), pair))  # columns are in the order of ids
    names = references.names
    return tuple(
        Confusion(names[one], names[other], tuple(photos[one, other]), int(references.counts[one]))
        for one, other in pairs
    )
