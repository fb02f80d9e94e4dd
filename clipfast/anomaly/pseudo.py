"""Damage drawn onto intact images, to ask a branch whether it would notice any.

Three kinds by turns: a piece cut out and pasted elsewhere (CutPaste; Li et al., CVPR 2021), a thin line, and a soft
blot. They are no model of real defects; they tell a branch that notices nothing, or the opposite, from one that does.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from clipfast.types import Pixels

__all__ = ["damaged"]

_Levels: TypeAlias = NDArray[np.float32]


def damaged(pixels: Pixels, seed: int) -> Pixels:
    """Return a damaged copy; seeds 0, 1, 2, ... take the kinds by turns.

    Args:
        pixels: RGB, (h, w, 3) uint8, 8 x 8 at least.
        seed: Decides place, size and strength.
    """
    rng = np.random.default_rng([seed, 7])
    drawn = (_pasted, _scarred, _blotted)[seed % 3](rng, pixels.astype(np.float32))
    return np.clip(np.rint(drawn), 0, 255).astype(np.uint8)


def _pasted(rng: np.random.Generator, image: _Levels) -> _Levels:
    """Cut a rectangle of 1 to 4 % of the area, turn it, and paste it somewhere else, a little brighter or darker."""
    h, w = image.shape[:2]
    area, ratio = rng.uniform(0.01, 0.04), np.exp(rng.uniform(-0.8, 0.8))
    side = np.sqrt(area * h * w)
    ph, pw = int(np.clip(side * ratio, 2, min(h, w) // 2)), int(np.clip(side / ratio, 2, min(h, w) // 2))
    top, left = int(rng.integers(h - ph + 1)), int(rng.integers(w - pw + 1))
    piece = np.rot90(image[top : top + ph, left : left + pw], int(rng.integers(1, 4))) * rng.uniform(0.75, 1.25)
    qh, qw = piece.shape[:2]
    top, left = int(rng.integers(h - qh + 1)), int(rng.integers(w - qw + 1))
    out = image.copy()
    out[top : top + qh, left : left + qw] = piece
    return out


def _scarred(rng: np.random.Generator, image: _Levels) -> _Levels:
    """Draw a line of 1 to 3 % width across a part of the image, lighter or darker."""
    h, w = image.shape[:2]
    centre, angle = rng.uniform(0.2, 0.8, 2) * (h, w), rng.uniform(0, np.pi)
    length, width = rng.uniform(0.15, 0.4) * min(h, w), max(1.0, rng.uniform(0.01, 0.03) * min(h, w))
    y, x = np.mgrid[:h, :w].astype(np.float32)
    along = (y - centre[0]) * np.sin(angle) + (x - centre[1]) * np.cos(angle)
    across = (y - centre[0]) * np.cos(angle) - (x - centre[1]) * np.sin(angle)
    cover = (np.abs(along) < length / 2) * np.clip(width / 2 + 0.5 - np.abs(across), 0, 1)
    colour = rng.uniform(0, 60) if rng.random() < 0.5 else rng.uniform(195, 255)
    return _blend(image, cover.astype(np.float32) * np.float32(rng.uniform(0.4, 0.9)), colour)


def _blotted(rng: np.random.Generator, image: _Levels) -> _Levels:
    """Lay a soft ellipse of another tone over the image."""
    h, w = image.shape[:2]
    centre = rng.uniform(0.2, 0.8, 2) * (h, w)
    radii = rng.uniform(0.05, 0.14, 2) * min(h, w)
    y, x = np.mgrid[:h, :w].astype(np.float32)
    cover = np.exp(-(((y - centre[0]) / radii[0]) ** 2 + ((x - centre[1]) / radii[1]) ** 2))
    return _blend(image, cover.astype(np.float32) * np.float32(rng.uniform(0.3, 0.8)), rng.uniform(0, 255, 3))


def _blend(image: _Levels, cover: _Levels, colour: object) -> _Levels:
    blend: _Levels = image * (1 - cover[..., None]) + np.asarray(colour, np.float32) * cover[..., None]
    return blend
