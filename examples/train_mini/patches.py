"""Patch features and the distance to the nearest one of a memory: what the memory branch of a detector rests on."""

from __future__ import annotations

import numpy as np

from clipfast import Clip
from clipfast.types import Floats, Images


def streams(clip: Clip, images: Images) -> dict[str, Floats]:
    """Return unit patch features (n, p, c) by name: the v-v path's, and each block's, freed of their mean.

    Tokens of an inner block carry a large part that is the same for all; what a layer norm would do is done here.
    """
    found = clip.encode_joint(images)
    inner = {f"block {number}": each - each.mean(2, keepdims=True) for number, each in found.patches.features.items()}
    return {name: _unit(each) for name, each in ({"vv": found.vv} | inner).items()}


def nearest_distances(pictures: Floats, known: Floats) -> Floats:
    """Return the cosine distance (n, p) of each unit patch (n, p, c) to the nearest of `known` (m, c)."""
    rows = pictures.reshape(-1, pictures.shape[-1])
    far: Floats = 1 - np.concatenate([(rows[i : i + 2000] @ known.T).max(1) for i in range(0, len(rows), 2000)])
    return far.reshape(pictures.shape[:2])


def _unit(rows: Floats) -> Floats:
    unit: Floats = rows / np.linalg.norm(rows, axis=-1, keepdims=True)
    return unit
