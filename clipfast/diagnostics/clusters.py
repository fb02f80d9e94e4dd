"""Clusters of embeddings: what wrong samples have in common, and whether images and texts are sorted alike."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clipfast.diagnostics.predictions import Doubles, Predictions
from clipfast.errors import ShapeError
from clipfast.metrics.clustering import adjusted_rand_score, normalised_mutual_information_score
from clipfast.types import Floats, Ints

__all__ = ["Agreement", "ErrorCluster", "cluster_agreement", "error_clusters", "k_means", "typical_words"]

_ROUNDS = 50
_MOST_ROWS = 20_000
_HAN = "\u3400-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_HAN}]+|[^\W{_HAN}]+")


def k_means(rows: Floats, count: int, *, seed: int) -> tuple[Ints, Floats]:
    """Sort rows into clusters: k-means++ starts, then Lloyd's steps until nothing moves (at most 50).

    Args:
        rows: (n, e).
        count: How many clusters, 1 <= count <= n; fewer come back where rows are equal.
        seed: Chooses the starts.

    Returns:
        Cluster of each row, (n,) int64, numbered by size, largest first; and the centres, (k, e) float32.

    Raises:
        ShapeError: `count` is out of range.

    >>> k_means(np.array([[0.0], [9], [0], [9], [0]], np.float32), 2, seed=0)[0].tolist()
    [0, 1, 0, 1, 0]
    """
    if rows.ndim != 2 or not 1 <= count <= len(rows):
        raise ShapeError(f"count must be 1 to the number of rows; got {count} for rows {rows.shape}.")
    rng = np.random.default_rng(seed)
    wide = rows.astype(np.float64)
    squares = (wide**2).sum(axis=1)
    centres = wide[[int(rng.integers(len(rows)))]]
    nearest = _distances(wide, squares, centres)[:, 0]
    while len(centres) < count and nearest.sum() > 0:
        pick = int(rng.choice(len(rows), p=nearest / nearest.sum()))
        centres = np.vstack([centres, wide[pick]])
        nearest = np.minimum(nearest, _distances(wide, squares, centres[-1:])[:, 0])
    which = np.full(len(rows), -1)
    for _ in range(_ROUNDS):
        moved = _distances(wide, squares, centres).argmin(axis=1)
        if (moved == which).all():
            break
        which = moved
        for at in range(len(centres)):
            if (which == at).any():
                centres[at] = wide[which == at].mean(axis=0)
    sizes = np.bincount(which, minlength=len(centres))
    order = np.argsort(-sizes, kind="stable")
    order = order[sizes[order] > 0]
    place = np.empty(len(centres), np.int64)
    place[order] = np.arange(len(order))
    return place[which], centres[order].astype(np.float32)


def _distances(rows: Doubles, squares: Doubles, centres: Doubles) -> Doubles:
    """Return squared distances, (n, k); `squares` are those of the rows' lengths, (n,)."""
    found: Doubles = np.maximum(squares[:, None] - 2 * (rows @ centres.T) + (centres**2).sum(axis=1), 0)
    return found


@dataclass(frozen=True, slots=True)
class ErrorCluster:
    """A cluster of wrong samples.

    Attributes:
        samples: How many.
        words: Words that its texts use more than the texts of other samples, most typical first.
        labels: The most frequent labels and how often.
        examples: Ids nearest to the centre.
    """

    samples: int
    words: tuple[str, ...]
    labels: tuple[tuple[str, int], ...]
    examples: tuple[str, ...]


def error_clusters(predictions: Predictions, *, seed: int = 0, most: int = 8) -> tuple[ErrorCluster, ...]:
    """Cluster the wrong judged samples by their embeddings; of many, a random 20,000. None without embeddings."""
    rows = predictions.image_rows if predictions.image_rows is not None else predictions.text_rows
    wrong = np.flatnonzero(predictions.judged & ~predictions.right)
    if rows is None or len(wrong) < 2:
        return ()
    if len(wrong) > _MOST_ROWS:
        wrong = np.sort(np.random.default_rng(seed).choice(wrong, _MOST_ROWS, replace=False))
    which, centres = k_means(rows[wrong], min(most, max(1, int((len(wrong) / 2) ** 0.5))), seed=seed)
    found = []
    for at in range(len(centres)):
        inside, others = wrong[which == at], wrong[which != at]
        near = inside[np.argsort(-(rows[inside] @ centres[at]), kind="stable")][:5]
        labels = Counter(predictions.classes[label] for label in predictions.labels[inside].tolist())
        words: tuple[str, ...] = ()
        if predictions.texts is not None:
            texts = predictions.texts
            words = typical_words([texts[i] for i in inside.tolist()], [texts[i] for i in others.tolist()])
        found.append(
            ErrorCluster(
                len(inside), words, tuple(labels.most_common(3)), tuple(predictions.ids[i] for i in near.tolist())
            )
        )
    return tuple(found)


def typical_words(texts: Sequence[str], others: Sequence[str], *, most: int = 6) -> tuple[str, ...]:
    """Return the words that texts use more often than others do, by their log odds with one half added.

    Words are counted once a text. Chinese has no spaces: each two signs that stand together count as a word.

    >>> typical_words(["a red star", "a red dot"], ["a blue star", "a blue dot"])
    ('red',)
    >>> typical_words(["红色的星", "红色的点"], ["蓝色的星", "蓝色的点"])
    ('红色',)
    """
    ours, theirs = (Counter(w for text in group for w in _words_of(text)) for group in (texts, others))
    odds = {
        word: np.log((count + 0.5) / (len(texts) - count + 0.5))
        - np.log((theirs[word] + 0.5) / (len(others) - theirs[word] + 0.5))
        for word, count in ours.items()
        if count >= 2 or len(texts) < 4
    }
    ranked = sorted((-value, word) for word, value in odds.items() if value > 0.7)
    return tuple(word for _, word in ranked[:most])


def _words_of(text: str) -> set[str]:
    found: set[str] = set()
    for run in _WORD.findall(text.lower()):
        pairs = len(run) > 1 and re.match(f"[{_HAN}]", run)
        found.update(run[at : at + 2] for at in range(len(run) - 1)) if pairs else found.add(run)
    return found


@dataclass(frozen=True, slots=True)
class Agreement:
    """How well clusters of embeddings agree with classes.

    Attributes:
        clusters: How many clusters: as many as classes.
        image_nmi: Of clusters of images with the labels; None without image embeddings. Likewise the rest.
        image_ari: Adjusted Rand index of the same.
        text_nmi: Of clusters of texts with the labels.
        image_text_nmi: Of clusters of images with clusters of texts.
    """

    clusters: int
    image_nmi: float | None
    image_ari: float | None
    text_nmi: float | None
    image_text_nmi: float | None


def cluster_agreement(predictions: Predictions, *, seed: int = 0) -> Agreement | None:
    """Cluster images and texts of the judged samples (at most 20,000) and compare with the labels; None without."""
    images, texts = predictions.image_rows, predictions.text_rows
    if images is None and texts is None:
        return None
    rows = np.flatnonzero(predictions.judged)
    if len(rows) > _MOST_ROWS:
        rows = np.sort(np.random.default_rng(seed).choice(rows, _MOST_ROWS, replace=False))
    labels = predictions.labels[rows]
    count = min(len(np.unique(labels)), 64, len(rows))
    by_image, by_text = (None if e is None else k_means(e[rows], count, seed=seed)[0] for e in (images, texts))
    return Agreement(
        clusters=count,
        image_nmi=None if by_image is None else normalised_mutual_information_score(labels, by_image),
        image_ari=None if by_image is None else adjusted_rand_score(labels, by_image),
        text_nmi=None if by_text is None else normalised_mutual_information_score(labels, by_text),
        image_text_nmi=None
        if by_image is None or by_text is None
        else normalised_mutual_information_score(by_image, by_text),
    )
