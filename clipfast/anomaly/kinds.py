"""Is it a texture or an object? Estimated from where intact patches look different."""

from __future__ import annotations

import numpy as np

from clipfast.anomaly.options import Kind
from clipfast.anomaly.semantic import unit_rows
from clipfast.types import Floats, PatchFeatures

__all__ = ["OBJECT_FROM", "estimate_kind", "place_ratio"]

# Between what the embedded model gives for rendered cloth (24 fabrics, 95 % below 0.03) and for a disc of one cloth on
# another (95 % above 0.53); examples/anomaly_kinds.py measures it for other models.
OBJECT_FROM = 0.15


def place_ratio(features: Floats, grid_hw: tuple[int, int]) -> float:
    """Return how differently the middle and the border of images look, beside how patches differ anyway.

    That is |mean of the middle - mean of the border|^2 over the mean squared distance of patches to their own mean,
    with unit rows; the middle is the inner half of each side. A texture is alike everywhere, so the ratio is small; an
    object lies in the middle on something else.

    Args:
        features: Patches of intact images, (n, p, c).
        grid_hw: Patch grid.
    """
    gh, gw = grid_hw
    patches = unit_rows(features).reshape(len(features), gh, gw, -1).astype(np.float64)
    middle = np.zeros((gh, gw), bool)
    middle[gh // 4 : gh - gh // 4, gw // 4 : gw - gw // 4] = True
    if middle.all():
        return 0.0
    inner, outer = patches[:, middle].reshape(-1, patches.shape[-1]), patches[:, ~middle].reshape(-1, patches.shape[-1])
    between = float(((inner.mean(axis=0) - outer.mean(axis=0)) ** 2).sum())
    within = [float(((part - part.mean(axis=0)) ** 2).sum(axis=1).mean()) for part in (inner, outer)]
    return between / max(float(np.mean(within)), 1e-12)


def estimate_kind(patches: PatchFeatures) -> Kind:
    """Return "object" where the middle of intact images looks unlike their border, else "texture".

    A rule of thumb: an object that fills the picture passes for a texture, and lighting that falls off may make a
    texture an object. "logical" (parts missing, misplaced or too many) cannot be seen in intact images: say so.
    """
    deepest = max(patches.features)
    ratio = place_ratio(patches.features[deepest], patches.grid_hw)
    return "object" if ratio >= OBJECT_FROM else "texture"
