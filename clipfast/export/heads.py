"""What the vision graphs give: five heads on one tower, so that they share one weights file.

Every head takes uint8 pixels (b, h, w, 3). Patch tokens and patch features leave without the class token's row and are
not normalised; embeddings are unit rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from clipfast.export.graphs import VisionTower

__all__ = ["DenseHead", "EmbedHead", "JointHead", "PatchesHead"]


class SurgeryPass(NamedTuple):
    """One run through the tower with CLIP Surgery's side paths.

    Attributes:
        class_token: Of the last block, (b, 1, c).
        z_qk: Accumulator of ordinary attention, patches only, (b, p, c).
        z_vv: Accumulator of value-value attention, (b, p, c).
        features: Patch tokens after the blocks asked for, each (b, p, c).
        query: The class token's query in the last block, (b, 1, c).
        keys: Keys of the last block, (b, 1 + p, c).
    """

    class_token: Tensor
    z_qk: Tensor
    z_vv: Tensor
    features: list[Tensor]
    query: Tensor
    keys: Tensor


def surgery_pass(tower: VisionTower, pixels: Tensor, depth: int, blocks: Sequence[int] = ()) -> SurgeryPass:
    """Run all blocks once, collecting the side paths of the last `depth` and the features after `blocks` (from 1).

    In the last `depth` blocks two accumulators start from the patch tokens and collect the attention outputs, without
    FFN and without feeding back. The ordinary path goes on as in CLIP; in the last block it is computed for the class
    token alone, unless features of the last block are asked for.
    Source: xmed-lab/CLIP_Surgery, clip/clip_surgery_model.py.
    """
    x = tower.tokens(pixels)
    n, count = x.shape[1], len(tower.blocks)
    kept: dict[int, Tensor] = {}
    sums = torch.cat([x, x], dim=1)  # both accumulators in one tensor: one Add a block, and no slices between
    for number, block in enumerate(tower.blocks, start=1):
        if number <= count - depth:
            x = block(x)
            sums = torch.cat([x, x], dim=1)
        else:
            q, k, v = block.split(x)
            both = torch.cat([block.attention(q, k, v), block.attention(v, v, v)], dim=1)
            both = block.out(both)  # the weight is read once for both paths
            sums = sums + both
            x = x + both[:, :n]
            x = block.mlp(x[:, :1] if number == count and number not in blocks else x)
        if number in blocks:
            kept[number] = x[:, 1:]
    z_qk, z_vv = sums[:, 1:n], sums[:, n + 1 :]
    return SurgeryPass(x[:, :1], z_qk, z_vv, [kept[number] for number in blocks], q[:, :1], k)


class EmbedHead(nn.Module):
    """Only the image embedding: the last block is computed for the class token alone."""

    def __init__(self, tower: VisionTower) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, pixels: Tensor) -> Tensor:
        """Give the embedding, (b, e)."""
        x = self.tower.tokens(pixels)
        *body, last = self.tower.blocks
        for block in body:
            x = block(x)
        return self.tower.embedding(last.first_token(x))


class DenseHead(nn.Module):
    """CLIP Surgery's two paths and their blend in one forward; optionally the class token's attention."""

    def __init__(self, tower: VisionTower, depth: int, *, class_attention: bool = False) -> None:
        super().__init__()
        self.tower = tower
        self.depth = depth
        self.class_attention = class_attention

    def forward(self, pixels: Tensor, alpha: Tensor) -> tuple[Tensor, ...]:
        """Give embedding (b, e), qk, vv and mixed (b, p, e), and if asked for class_attention (b, heads, 1 + p)."""
        run = surgery_pass(self.tower, pixels, self.depth)
        # The last norm is not linear: streams are blended before it.
        mixed = self.tower.blend(alpha, run.z_qk, run.z_vv)
        project = self.tower.project
        outputs = (self.tower.embedding(run.class_token), project(run.z_qk), project(run.z_vv), project(mixed))
        return (*outputs, self._attention(run)) if self.class_attention else outputs

    def _attention(self, run: SurgeryPass) -> Tensor:
        heads = self.tower.blocks[-1].heads
        b, n, c = run.keys.shape
        q = run.query.reshape(b, heads, 1, c // heads)
        k = run.keys.reshape(b, n, heads, c // heads).permute(0, 2, 3, 1)
        return (q @ k * (c // heads) ** -0.5).softmax(-1)[:, :, 0].to(torch.float32)


class PatchesHead(nn.Module):
    """Patch features after chosen blocks, numbered from 1; later blocks are not computed."""

    def __init__(self, tower: VisionTower, blocks: Sequence[int]) -> None:
        super().__init__()
        self.tower = tower
        self.numbers = tuple(blocks)

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Give the patch tokens after each chosen block, (b, p, c)."""
        x = self.tower.tokens(pixels)
        kept = {}
        for number, block in enumerate(list(self.tower.blocks)[: max(self.numbers)], start=1):
            x = block(x)
            kept[number] = x[:, 1:]
        return tuple(kept[number].to(torch.float32) for number in self.numbers)


class JointHead(nn.Module):
    """All that few-shot anomaly detection needs in one pass: embedding, z_vv and patch features."""

    def __init__(self, tower: VisionTower, depth: int, blocks: Sequence[int]) -> None:
        super().__init__()
        self.tower = tower
        self.depth = depth
        self.numbers = tuple(blocks)

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Give embedding (b, e), vv (b, p, e), and the patch tokens after each chosen block (b, p, c)."""
        run = surgery_pass(self.tower, pixels, self.depth, self.numbers)
        features = (tokens.to(torch.float32) for tokens in run.features)
        return (self.tower.embedding(run.class_token), self.tower.project(run.z_vv), *features)
