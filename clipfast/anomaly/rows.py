"""How rows of a memory are prepared, searched, and turned into scores of images."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clipfast.anomaly.options import MemoryOptions, Metric, RowKind, Search
from clipfast.anomaly.semantic import unit_rows
from clipfast.errors import ShapeError
from clipfast.flat_faiss import exact_by_faiss
from clipfast.runtime.nearest import NearestRows
from clipfast.runtime.provider_options import CudaOptions, ProviderOptions, provider_options
from clipfast.types import Floats, Ints

__all__ = ["IMAGE_SCORES", "BlockDistances", "Preparation", "RowSearch", "image_scores"]

_TOP = 0.01


@dataclass(frozen=True, slots=True, eq=False)
class Preparation:
    """What is done to features before they are compared: (x - shift) * scale, then unit length if `unit`.

    Attributes:
        shift: (c,) float32.
        scale: (c,) float32.
        unit: Whether rows are scaled to unit length at last.
    """

    shift: Floats
    scale: Floats
    unit: bool

    @classmethod
    def fit(cls, rows: Floats, kind: RowKind) -> Preparation:
        """Take mean and deviation of the channels from the support's rows, (m, c), where `kind` wants them.

        "raw" subtracts the mean, too: distances stay the same, and products of smaller numbers round less.
        """
        channels = rows.shape[1]
        shift, scale = np.zeros(channels, np.float32), np.ones(channels, np.float32)
        if kind != "unit":
            shift = rows.mean(axis=0, dtype=np.float64).astype(np.float32)
        if kind == "standardised":
            spread = rows.std(axis=0, dtype=np.float64)
            # A channel that hardly moves must not be blown up to a channel of noise.
            floor = 1e-3 * float(np.median(spread)) or 1.0
            scale = (1 / np.maximum(spread, floor)).astype(np.float32)
        return cls(shift, scale, unit=kind != "raw")

    def apply(self, rows: Floats) -> Floats:
        """Prepare rows, (m, c)."""
        moved = (rows - self.shift) * self.scale
        return unit_rows(moved) if self.unit else moved


@dataclass(frozen=True, slots=True, eq=False)
class BlockDistances:
    """Where the patches of n images are nearest to one block's rows.

    Attributes:
        values: In the bank's metric, (n, p).
        distances: Euclidean, (n, p).
        places: Numbers of the nearest rows, (n, p).
        queries: The prepared patches, (n, p, c).
        rows: The prepared rows of the bank, (m, c).
        barred: Rows that were not allowed, (m,), or None.
    """

    values: Floats
    distances: Floats
    places: Ints
    queries: Floats
    rows: Floats
    barred: NDArray[np.bool_] | None


class RowSearch:
    """One block's prepared rows, searched by `NearestRows` or by FAISS, on the CPU or a GPU."""

    def __init__(self, rows: Floats, search: Search, provider: str | ProviderOptions = "cpu") -> None:
        chosen = provider_options(provider)
        self._product = NearestRows(rows, provider="cpu" if search == "faiss" else chosen)
        self._by_faiss: Callable[[Floats], Ints] | None = None
        if search == "faiss":
            self._by_faiss = exact_by_faiss(rows, gpu=chosen.device_id if isinstance(chosen, CudaOptions) else None)

    def nearest(
        self, queries: Floats, barred: NDArray[np.bool_] | None, metric: Metric, shape: tuple[int, int]
    ) -> BlockDistances:
        """Find the nearest row of each query, (n * p, c); barring rows always takes the product."""
        rows = self._product.rows
        if self._by_faiss is None or barred is not None:
            found = self._product.search(queries, barred)
            places, distances = found.places, found.distances
        else:
            if not np.isfinite(queries).all():
                raise ShapeError("patch features must be finite; got NaN or infinity. Is the model's output sound?")
            places = self._by_faiss(queries)
            apart = queries - rows[places]
            distances = np.sqrt(np.einsum("qc,qc->q", apart, apart))
        # Of unit rows (1 - cosine) / 2 is a quarter of the squared distance, which loses no digits near 0.
        values: Floats = distances * distances * np.float32(0.25) if metric == "cosine" else distances
        return BlockDistances(
            values.reshape(shape),
            distances.reshape(shape),
            places.reshape(shape),
            queries.reshape(*shape, -1),
            rows,
            barred,
        )


def image_scores(patches: Floats, found: Mapping[int, BlockDistances], options: MemoryOptions) -> Floats:
    """Return a score of each image, (n,), from its averaged patch distances, (n, p), and those of each block."""
    return IMAGE_SCORES[options.image_score](patches, found, options)


def _max(patches: Floats, found: Mapping[int, BlockDistances], options: MemoryOptions) -> Floats:  # noqa: ARG001  (one signature)
    highest: Floats = patches.max(axis=1)
    return highest


def _top(patches: Floats, found: Mapping[int, BlockDistances], options: MemoryOptions) -> Floats:  # noqa: ARG001  (one signature)
    count = max(1, math.ceil(_TOP * patches.shape[1]))
    highest: Floats = np.sort(patches, axis=1)[:, -count:].mean(axis=1)
    return highest


def _reweighted(patches: Floats, found: Mapping[int, BlockDistances], options: MemoryOptions) -> Floats:
    """PatchCore's equation 7 at the highest patch, block by block, then averaged.

    With b rows around the nearest row m* (itself among them) the weight is 1 - softmax(|f - b_j|)[m*].
    """
    worst = patches.argmax(axis=1)
    scores = np.zeros(len(patches), np.float32)
    for block in found.values():
        for i, patch in enumerate(worst):
            place = block.places[i, patch]
            apart = ((block.rows - block.rows[place]) ** 2).sum(axis=1)
            if block.barred is not None:
                apart[block.barred] = np.inf
            apart[place] = -1  # itself first, before copies of it
            allowed = len(apart) if block.barred is None else int((~block.barred).sum())
            around = np.argsort(apart, kind="stable")[: min(options.neighbours, allowed)]
            lengths = np.linalg.norm(block.rows[around] - block.queries[i, patch], axis=1).astype(np.float64)
            raised = np.exp(lengths - lengths.max())
            weight = 1 - raised[0] / raised.sum() if len(around) > 1 else 1.0
            scores[i] += np.float32(weight) * block.values[i, patch] / len(found)
    return scores


def _mean(patches: Floats, found: Mapping[int, BlockDistances], options: MemoryOptions) -> Floats:  # noqa: ARG001  (one signature)
    everywhere: Floats = patches.mean(axis=1, dtype=np.float64).astype(np.float32)
    return everywhere


def _contrast(patches: Floats, found: Mapping[int, BlockDistances], options: MemoryOptions) -> Floats:  # noqa: ARG001  (one signature)
    above: Floats = patches.max(axis=1) - np.median(patches, axis=1)
    return above


# How patch distances make an image's score.
IMAGE_SCORES: dict[str, Callable[[Floats, Mapping[int, BlockDistances], MemoryOptions], Floats]] = {
    "max": _max,
    "top": _top,
    "reweighted": _reweighted,
    "mean": _mean,
    "contrast": _contrast,
}
