"""From similarities with photos to a ranking of fabrics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Literal, TypeAlias

import numpy as np

from clipfast.errors import ShapeError
from clipfast.retrieval.references import References
from clipfast.types import Floats

__all__ = ["CLASS_SCORES", "CLOSE", "ClassScore", "Neighbour", "Ranked", "class_scores", "products", "ranking"]

ClassScore: TypeAlias = Literal["max", "mean", "centroid"]

CLOSE = 0.03
"""Below this distance of the first two centroid scores, the photos themselves decide."""


class _Record:
    """Lets a frozen record be read as `record["name"]` too."""

    __slots__ = ()

    def __getitem__(self, name: str) -> str | float:
        names = [field.name for field in fields(self)]  # type: ignore[arg-type]  # the subclasses are dataclasses
        if name not in names:
            raise KeyError(f"{name!r} is not a field; the fields are {', '.join(names)}")
        value: str | float = getattr(self, name)
        return value


@dataclass(frozen=True, slots=True)
class Ranked(_Record):
    """One fabric of an answer.

    Attributes:
        id: The fabric.
        score: Its class score; higher is more similar.

    >>> answer = Ranked("cotton", 0.5)
    >>> answer.id == answer["id"]
    True
    """

    id: str
    score: float


@dataclass(frozen=True, slots=True)
class Neighbour(_Record):
    """One reference photo of an answer.

    Attributes:
        path: Its name in the bank: `fabric/file`.
        fabric: Its fabric.
        score: Cosine with the query.
    """

    path: str
    fabric: str
    score: float


def products(queries: Floats, rows: Floats) -> Floats:
    """Return all inner products, (q, m) float32.

    Not by BLAS: there, equal rows of one matrix were measured to differ in the last bit by where they stand, and a
    query's answer to depend on its batch. This sums every pair in one order, and is as fast for one query.
    """
    result: Floats = np.einsum("qe,me->qm", queries, rows)
    return result


def _max_scores(queries: Floats, references: References) -> Floats:
    """Highest cosine with a photo of the fabric."""
    result: Floats = np.maximum.reduceat(products(queries, references.embeddings), references.starts, axis=1)
    return result


def _mean_scores(queries: Floats, references: References) -> Floats:
    """Mean of the cosines with the fabric's photos."""
    cosines = products(queries, references.embeddings)
    sums = np.add.reduceat(cosines, references.starts, axis=1, dtype=np.float64)
    return (sums / references.counts).astype(np.float32)


def _centroid_scores(queries: Floats, references: References) -> Floats:
    """Cosine with the normalised mean of the fabric's photos; where that is too close to call, the photos decide.

    Too close: the first two are less than CLOSE apart. Then the whole answer moves to the max score, so that its
    scores are of one kind, and only the shortlist (fabrics less than CLOSE behind the first) can be at the top: a
    fabric outside it that would overtake gets the score just below the shortlist's lowest.
    """
    scores = products(queries, references.centroids)
    if scores.shape[1] < 2:
        return scores
    first_two = np.partition(scores, -2, axis=1)[:, -2:]
    best = first_two[:, 1:]
    close = (best - first_two[:, :1] < CLOSE)[:, 0]
    if not close.any():
        return scores
    shortlist = best[close] - scores[close] < CLOSE
    photos = _max_scores(queries[close], references)
    lowest = np.where(shortlist, photos, np.float32(np.inf)).min(axis=1, keepdims=True)
    cap = np.nextafter(lowest, np.float32(-np.inf))
    scores[close] = np.where(shortlist, photos, np.minimum(photos, cap))
    return scores


CLASS_SCORES: dict[ClassScore, Callable[[Floats, References], Floats]] = {
    "max": _max_scores,
    "mean": _mean_scores,
    "centroid": _centroid_scores,
}


def class_scores(queries: Floats, references: References, score: ClassScore = "max") -> Floats:
    """Score every fabric for every query.

    - `max`: the highest cosine with one of its photos.
    - `mean`: the mean of the cosines with its photos.
    - `centroid`: the cosine with the normalised mean of its photos. Where the first two fabrics are less than .03
      apart, the answer is re-scored by `max`; fabrics .03 or more behind the first stay behind all others.

    Args:
        queries: Unit rows, (q, e) float32.
        references: The photos.
        score: Which score.

    Returns:
        Scores in the order of `references.names`, (q, c) float32.

    Raises:
        ShapeError: `score` is unknown.
    """
    if not isinstance(score, str) or score not in CLASS_SCORES:
        raise ShapeError(f"score must be one of {', '.join(CLASS_SCORES)}; got {score!r}.")
    return CLASS_SCORES[score](queries, references)


def ranking(scores: Floats, references: References, topk: int) -> list[Ranked]:
    """Return the best `topk` fabrics for one query's scores, (c,); equal scores stand in the order of fabric ids."""
    order = np.argsort(-scores, kind="stable")[:topk]  # columns are in the order of ids, so stable is enough
    return [Ranked(references.names[column], float(scores[column])) for column in order]
