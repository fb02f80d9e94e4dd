"""What the two branches say about images, before anything is fused."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clipfast.anomaly.maps import at_size
from clipfast.errors import ShapeError
from clipfast.types import Floats

__all__ = ["BranchMaps", "BranchScores", "contrast_of"]


@dataclass(frozen=True, slots=True, eq=False)
class BranchScores:
    """One branch's scores of n images; higher is more anomalous.

    Attributes:
        image: (n,) float32.
        pixel: (n, h, w) float32: the patch grid, or the size that it was scaled to.
        contrast: How far the highest patch stands out of its own map, (n,) float32, in robust standard deviations.
    """

    image: Floats
    pixel: Floats
    contrast: Floats

    def __post_init__(self) -> None:
        n = len(self.image)
        if self.image.shape != (n,) or self.contrast.shape != (n,) or self.pixel.ndim != 3 or len(self.pixel) != n:
            raise ShapeError(
                "a branch must have image (n,), pixel (n, h, w) and contrast (n,); "
                f"got {self.image.shape}, {self.pixel.shape} and {self.contrast.shape}."
            )

    @classmethod
    def of(cls, image: Floats, patches: Floats) -> BranchScores:
        """Scores with the contrast of their patch maps, (n, gh, gw)."""
        return cls(image, patches, contrast_of(patches))

    def taken(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> BranchScores:
        """Return some of the images."""
        return BranchScores(self.image[rows], self.pixel[rows], self.contrast[rows])

    def resized(self, size_hw: tuple[int, int], sigma: float) -> BranchScores:
        """Return the same with maps scaled and blurred; see `clipfast.anomaly.maps.at_size`."""
        return BranchScores(self.image, at_size(self.pixel, size_hw, sigma), self.contrast)


@dataclass(frozen=True, slots=True, eq=False)
class BranchMaps:
    """Raw scores of both branches for n images, from one forward.

    Attributes:
        semantic: The text branch, or None where it was left out.
        memory: The patch memory.
    """

    semantic: BranchScores | None
    memory: BranchScores

    def __post_init__(self) -> None:
        if self.semantic is not None and self.semantic.pixel.shape != self.memory.pixel.shape:
            raise ShapeError(
                "the maps of both branches must have one shape; "
                f"got {self.semantic.pixel.shape} and {self.memory.pixel.shape}."
            )

    def __len__(self) -> int:
        """How many images."""
        return len(self.memory.image)

    def taken(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> BranchMaps:
        """Return some of the images."""
        return BranchMaps(self.semantic and self.semantic.taken(rows), self.memory.taken(rows))

    def resized(self, size_hw: tuple[int, int], sigma: float) -> BranchMaps:
        """Return the same with maps scaled and blurred."""
        return BranchMaps(self.semantic and self.semantic.resized(size_hw, sigma), self.memory.resized(size_hw, sigma))

    def thinned(self, size_hw: tuple[int, int], sigma: float, most: int) -> BranchMaps:
        """Return the same with a regular part of the pixels of the scaled maps, (n, 1, m), `most` of all maps at most.

        Scales need no more, and never are all maps in memory at their size.
        """
        step = max(1, -(-len(self) * size_hw[0] * size_hw[1] // most))

        def thin(scores: BranchScores) -> BranchScores:
            rows = [
                at_size(scores.pixel[i : i + 1], size_hw, sigma).reshape(1, -1)[:, ::step] for i in range(len(self))
            ]
            return BranchScores(scores.image, np.concatenate(rows)[:, None], scores.contrast)

        return BranchMaps(self.semantic and thin(self.semantic), thin(self.memory))

    @classmethod
    def joined(cls, parts: Sequence[BranchMaps]) -> BranchMaps:
        """Put images behind each other; the text branch must be there in all parts, or in none."""
        semantic = [part.semantic for part in parts if part.semantic is not None]
        if len(semantic) not in (0, len(parts)):
            raise ShapeError("all parts must have the semantic branch, or none of them.")
        return cls(_joined(semantic) if semantic else None, _joined([part.memory for part in parts]))


def contrast_of(maps: Floats) -> Floats:
    """Return (highest - median) / (1.4826 * median absolute deviation) of each map, (n,) float32; 0 for a flat one."""
    flat = maps.reshape(len(maps), math.prod(maps.shape[1:]))
    middle = np.median(flat, axis=1, keepdims=True)
    spread = 1.4826 * np.median(np.abs(flat - middle), axis=1)
    above = flat.max(axis=1) - middle[:, 0]
    # Where half of the map is exactly flat, the mean deviation stands in for the median one.
    spread = np.where(spread > 0, spread, np.abs(flat - middle).mean(axis=1))
    contrast: Floats = (above / np.where(spread > 0, spread, 1)).astype(np.float32)
    return contrast


def _joined(parts: Sequence[BranchScores]) -> BranchScores:
    return BranchScores(
        np.concatenate([part.image for part in parts]),
        np.concatenate([part.pixel for part in parts]),
        np.concatenate([part.contrast for part in parts]),
    )
