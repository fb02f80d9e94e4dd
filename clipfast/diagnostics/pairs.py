"""Do images and texts that belong together lie together? Distributions of cosines, keywords, contexts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clipfast.diagnostics.predictions import Doubles
from clipfast.errors import ShapeError, UndefinedMetricError
from clipfast.metrics.ranking import auroc_score
from clipfast.similarity import cosine_map
from clipfast.types import Floats

__all__ = ["MapChange", "PairDistributions", "keyword_similarity", "map_change", "pair_distributions"]

_BINS = 40


@dataclass(frozen=True, slots=True)
class PairDistributions:
    """Cosines of matching pairs beside those of shuffled ones.

    Attributes:
        pairs: How many.
        auc: Share of (matching, shuffled) couples in which the matching one is higher; 0.5 is chance.
        d_prime: Distance of the means over the root mean variance.
        overlap: Common area of the two histograms, in [0, 1].
        mean_matching: Mean cosine of matching pairs.
        mean_shuffled: Mean cosine of shuffled ones.
        edges: Of the histograms, 41.
        matching: Share of matching pairs in each bin, 40.
        shuffled: Share of shuffled pairs in each bin, 40.
    """

    pairs: int
    auc: float
    d_prime: float
    overlap: float
    mean_matching: float
    mean_shuffled: float
    edges: tuple[float, ...]
    matching: tuple[float, ...]
    shuffled: tuple[float, ...]


def pair_distributions(image_rows: Floats, text_rows: Floats, *, seed: int = 0, draws: int = 4) -> PairDistributions:
    """Compare the cosines of pairs with those of images and other pairs' texts.

    Args:
        image_rows: Unit rows, (n, e).
        text_rows: Unit rows, (n, e).
        seed: Shuffles.
        draws: Shuffled texts for each image.

    Raises:
        ShapeError: Shapes differ.
        UndefinedMetricError: There are fewer than two pairs, or all texts are the same.
    """
    if image_rows.shape != text_rows.shape or image_rows.ndim != 2:
        raise ShapeError(f"image and text rows must be (n, e) alike; got {image_rows.shape} and {text_rows.shape}.")
    count = len(image_rows)
    if count < 2:
        raise UndefinedMetricError(f"a shuffle needs two pairs or more; got {count}.")
    rng = np.random.default_rng(seed)
    own = (image_rows * text_rows).sum(axis=1, dtype=np.float64)
    wrong = []
    for _ in range(draws):
        others = (np.arange(count) + rng.integers(1, count, count)) % count  # never the own text
        differs = (text_rows * text_rows[others]).sum(axis=1) < 1 - 1e-5
        wrong.append((image_rows[differs] * text_rows[others[differs]]).sum(axis=1, dtype=np.float64))
    return compared(own, np.concatenate(wrong))


def compared(matching: Doubles, shuffled: Doubles) -> PairDistributions:
    """Compare two samples of similarities."""
    if not len(matching) or not len(shuffled):
        raise UndefinedMetricError(
            f"both matching and shuffled pairs are needed; got {len(matching)} and {len(shuffled)}. "
            "Are all texts the same?"
        )
    both = np.concatenate([matching, shuffled])
    truth = np.concatenate([np.ones(len(matching), np.int64), np.zeros(len(shuffled), np.int64)])
    low, high = float(both.min()), float(both.max())
    edges = np.linspace(low, high if high > low else low + 1e-6, _BINS + 1)
    shares = [np.histogram(part, edges)[0] / len(part) for part in (matching, shuffled)]
    spread = float(np.sqrt((matching.var() + shuffled.var()) / 2))
    gap = float(matching.mean() - shuffled.mean())
    return PairDistributions(
        pairs=len(matching),
        auc=auroc_score(truth, both),
        d_prime=gap / spread if spread > 0 else float("nan"),
        overlap=float(np.minimum(*shares).sum()),
        mean_matching=float(matching.mean()),
        mean_shuffled=float(shuffled.mean()),
        edges=tuple(edges.tolist()),
        matching=tuple(shares[0].tolist()),
        shuffled=tuple(shares[1].tolist()),
    )


def keyword_similarity(tokens: Floats, keyword_rows: Floats, *, seed: int = 0) -> PairDistributions:
    """Compare the best patch for a sample's keyword with the best patch for another sample's keyword.

    Args:
        tokens: Patch tokens, (n, p, e); normalised here.
        keyword_rows: Unit rows of each sample's keyword, (n, e).
        seed: Chooses the other keyword.

    Raises:
        ShapeError: Shapes do not fit.
        UndefinedMetricError: There are fewer than two samples, or one keyword only.
    """
    count = len(tokens)
    if keyword_rows.shape != (count, tokens.shape[-1]):
        raise ShapeError(f"keyword_rows must be ({count}, {tokens.shape[-1]}); got {keyword_rows.shape}.")
    if count < 2:
        raise UndefinedMetricError(f"a shuffle needs two samples or more; got {count}.")
    others = (np.arange(count) + np.random.default_rng(seed).integers(1, count, count)) % count
    own, wrong = np.empty(count), np.empty(count)
    for at in range(count):
        both = cosine_map(tokens[at : at + 1], keyword_rows[[at, int(others[at])]])[0]
        own[at], wrong[at] = both.max(axis=0)
    differs = (keyword_rows * keyword_rows[others]).sum(axis=1) < 1 - 1e-5
    return compared(own, wrong[differs])


@dataclass(frozen=True, slots=True, eq=False)
class MapChange:
    """How a word's map changes when its context does.

    Attributes:
        distance: Total variation of the two maps as distributions, in [0, 1], (n,): 0 means that the context was not
            used.
        same_peak: Whether the peak stays where it was, (n,) bool.
    """

    distance: Doubles
    same_peak: NDArray[np.bool_]


def map_change(maps: Floats, other_maps: Floats) -> MapChange:
    """Compare the maps of a word in one context with those in another, (n, gh, gw) each, at least 0.

    Raises:
        ShapeError: Shapes differ, or a value is negative.
    """
    if maps.shape != other_maps.shape or maps.ndim != 3:
        raise ShapeError(f"both maps must be (n, gh, gw) alike; got {maps.shape} and {other_maps.shape}.")
    if (maps < 0).any() or (other_maps < 0).any():
        raise ShapeError("maps must be at least 0. Scale them with clipfast.surgery.heatmap.unit_range().")
    left, right = (m.reshape(len(m), -1).astype(np.float64) for m in (maps, other_maps))
    shares = [m / np.maximum(m.sum(axis=1, keepdims=True), 1e-12) for m in (left, right)]
    return MapChange(np.abs(shares[0] - shares[1]).sum(axis=1) / 2, left.argmax(axis=1) == right.argmax(axis=1))
