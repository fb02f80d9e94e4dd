"""Seeded inputs for parity checks; no PyTorch."""

from __future__ import annotations

import numpy as np

from clipfast.types import Ints, Pixels

__all__ = ["sample_ids", "sample_pixels"]


def sample_pixels(size_hw: tuple[int, int], batch: int, *, seed: int) -> Pixels:
    """Seeded test images: noise on smooth gradients, with the channels kept apart so that a swap shows."""
    rng = np.random.default_rng(seed)
    h, w = size_hw
    y, x = np.mgrid[0:h, 0:w] / max(h, w)
    slope_x, slope_y = rng.uniform(1, 9, (2, batch, 1, 1, 3))
    smooth = 127 + np.array([110, 70, 30]) * np.sin(slope_x * x[None, :, :, None] + slope_y * y[None, :, :, None])
    pixels: Pixels = np.clip(smooth + rng.normal(0, 40, (batch, h, w, 3)), 0, 255).astype(np.uint8)
    return pixels


def sample_ids(context: int, vocab: int, batch: int, *, seed: int) -> Ints:
    """Seeded full-length token rows of different lengths: start, words, end, zeros."""
    rng = np.random.default_rng(seed)
    ids = np.zeros((batch, context), np.int64)
    for row in ids:
        words = int(rng.integers(0, context - 1))
        row[0], row[1 : 1 + words], row[1 + words] = vocab - 2, rng.integers(1, vocab - 2, words), vocab - 1
    return ids
