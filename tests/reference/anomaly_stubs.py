"""Stand-ins for a model: features that are cheap, exact and known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from clipfast.errors import ArtifactError
from clipfast.types import Floats, Images, JointFeatures, PatchFeatures

GRID = (3, 4)


def features(n: int, seed: int = 0, *, channels: int = 6, blocks: Sequence[int] = (2, 5)) -> PatchFeatures:
    """Seeded patch features of n images on a grid of 3 x 4."""
    rng = np.random.default_rng(seed)
    p = GRID[0] * GRID[1]
    return PatchFeatures({b: rng.normal(size=(n, p, channels)).astype(np.float32) for b in blocks}, GRID)


class PatchStub:
    """Patch features that are the mean colours of the cells of a 3 x 4 grid; block 5 sees their squares."""

    name = "stub"
    precision = "fp32"
    held = (2, 5)

    def fingerprint(self, output: str = "embedding") -> str:
        return f"{self.name}-{output}"

    def encode_patches(self, images: Images, blocks: Sequence[int] | None = None) -> PatchFeatures:
        cells = self._cells(images)
        every = {2: cells, 5: cells * cells}
        wanted = self.held if blocks is None else tuple(blocks)
        if set(wanted) - set(every):
            raise ArtifactError(f"the stub holds blocks 2 and 5, not {wanted}.")
        return PatchFeatures({b: every[b] for b in wanted}, GRID)

    @staticmethod
    def _cells(images: Images) -> Floats:
        rows = []
        listed: Any = images
        for image in listed:
            h, w = image.shape[0] // GRID[0] * GRID[0], image.shape[1] // GRID[1] * GRID[1]
            cut = image[:h, :w].reshape(GRID[0], h // GRID[0], GRID[1], w // GRID[1], 3)
            means = cut.mean(axis=(1, 3)).reshape(-1, 3) / 255
            rows.append(np.column_stack([means, 1 - means, np.ones(len(means))]))
        return np.array(rows, np.float32).reshape(-1, GRID[0] * GRID[1], 7)


class JointStub(PatchStub):
    """The same with texts: "damaged" and its like point along red, everything else along green."""

    def encode_texts(self, texts: Sequence[str], templates: Sequence[str] | None = None) -> Floats:
        bad = ("damaged", "defect", "broken", "flaw", "with")
        rows = np.zeros((len(texts), 3), np.float32)
        for row, text in zip(rows, texts, strict=True):
            is_bad = any(word in text for word in bad) and "without" not in text
            row[:] = (0.8, 0.6, 0) if is_bad else (0.6, 0.8, 0)
        return rows

    def encode_joint(self, images: Images) -> JointFeatures:
        patches = self.encode_patches(images)
        tokens = np.ascontiguousarray(patches.features[2][..., :3]) + np.float32(1e-3)
        mean = tokens.mean(axis=1)
        embedding = mean / np.linalg.norm(mean, axis=1, keepdims=True)
        return JointFeatures(embedding.astype(np.float32), tokens, patches)


def picture(seed: int, *, spot: bool = False) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Greenish noise of 36 x 48 pixels; with a red square in one cell if `spot`."""
    rng = np.random.default_rng(seed)
    pixels = rng.normal((60, 140, 60), 6, (36, 48, 3)).clip(0, 255).astype(np.uint8)
    if spot:
        pixels[12:24, 24:36] = (220, 30, 30)
    return pixels
