"""An open_clip image tower that can be trained where CLIP Surgery looks: its v-v path, and low-rank adapters.

The forward gives in one pass what the exported `dense` graph gives (CLIP Surgery, arXiv 2304.05653, section 3.2), with
gradients. Adapters are LoRA's (arXiv 2106.09685): a matrix W becomes W + B A with thin A and B; merged, the model is an
ordinary one again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

__all__ = ["LowRank", "adapt", "encode_images", "encode_names", "merge", "trainable"]

_MATRICES = (("attn", "in_proj_weight"), ("attn.out_proj", "weight"), ("mlp.c_fc", "weight"), ("mlp.c_proj", "weight"))
_TEXTS_AT_ONCE = 512


class LowRank(nn.Module):
    """Adds a product of two thin matrices to a weight; nothing at first, for one of them is 0."""

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.randn(rank, weight.shape[1]) / math.sqrt(weight.shape[1]))
        self.up = nn.Parameter(torch.zeros(weight.shape[0], rank))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the adapted weight."""
        return weight + self.up @ self.down


def trainable(model: nn.Module, blocks: int, rank: int) -> list[nn.Parameter]:
    """Freeze a CLIP but for its last image blocks, and return what is left to learn.

    Args:
        model: open_clip's CLIP.
        blocks: How many blocks from the end, at least 1.
        rank: 0 trains these blocks, the last norm and the projection; otherwise adapters of this rank on the blocks'
            matrices, and nothing else.
    """
    model.requires_grad_(requires_grad=False)
    visual = model.visual
    chosen = list(visual.transformer.resblocks)[-blocks:]
    if rank:
        return [p for block in chosen for p in adapt(block, rank)]
    learned = [*visual.ln_post.parameters(), visual.proj, *(p for block in chosen for p in block.parameters())]
    for parameter in learned:
        parameter.requires_grad_(requires_grad=True)
    return learned


def adapt(block: nn.Module, rank: int) -> Iterator[nn.Parameter]:
    """Put an adapter on each matrix of a block and give their parameters."""
    for place, name in _MATRICES:
        module = block.get_submodule(place)
        low_rank = LowRank(getattr(module, name), rank)
        parametrize.register_parametrization(module, name, low_rank)
        yield from low_rank.parameters()


def merge(model: nn.Module) -> None:
    """Add every adapter to its weight and take it off."""
    for module in list(model.visual.modules()):
        for _, name in _MATRICES:
            if parametrize.is_parametrized(module, name):
                parametrize.remove_parametrizations(module, name, leave_parametrized=True)


def encode_images(model: nn.Module, pixels: Tensor, depth: int) -> tuple[Tensor, Tensor]:
    """Return unit rows of images (b, e) and of their v-v patch tokens (b, p, e).

    Args:
        model: open_clip's CLIP.
        pixels: Normalised, (b, 3, h, w).
        depth: How many blocks from the end the v-v path collects.
    """
    visual = model.visual
    x = visual._embeds(pixels)  # noqa: SLF001  # open_clip has no public name for it
    blocks = list(visual.transformer.resblocks)
    side = None
    for number, block in enumerate(blocks):
        q, k, v = _heads(block, block.ln_1(x))
        if number >= len(blocks) - depth:
            side = (x if side is None else side) + block.attn.out_proj(_attend(v, v, v))
        x = x + block.attn.out_proj(_attend(q, k, v))
        x = x + block.mlp(block.ln_2(x))
    if side is None:
        raise ValueError("depth must be at least 1")
    rows = visual.ln_post(torch.cat([x[:, :1], side[:, 1:]], dim=1)) @ visual.proj
    rows = functional.normalize(rows, dim=-1)
    return rows[:, 0], rows[:, 1:]


@torch.no_grad()
def encode_names(model: nn.Module, names: Sequence[str], templates: Sequence[str]) -> Tensor:
    """Return one unit row a name, (t, e): the normalised mean over templates, as `Clip.encode_texts` gives it."""
    from open_clip import tokenize

    ids = tokenize([template.format(name) for name in names for template in templates])
    rows = torch.cat([_encode_ids(model, part) for part in ids.split(_TEXTS_AT_ONCE)])
    rows = functional.normalize(rows, dim=-1).unflatten(0, (len(names), len(templates)))
    return functional.normalize(rows.mean(1), dim=-1)


def _encode_ids(model: nn.Module, ids: Tensor) -> Tensor:
    """Encode texts without the padding behind the longest of them: what follows a text's end cannot reach it."""
    ends = ids.argmax(1)  # the end has the highest number
    length = int(ends.max()) + 1
    x = model.token_embedding(ids[:, :length]) + model.positional_embedding[:length]
    mask = model.attn_mask[:length, :length]
    for block in model.transformer.resblocks:
        x = block(x, attn_mask=mask)
    rows: Tensor = model.ln_final(x)[torch.arange(len(ids)), ends] @ model.text_projection
    return rows


def _heads(block: nn.Module, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values, each (b, heads, n, c / heads)."""
    attention = block.attn
    rows = functional.linear(x, attention.in_proj_weight, attention.in_proj_bias)
    parts = rows.unflatten(-1, (3, attention.num_heads, -1)).permute(2, 0, 3, 1, 4)
    return parts[0], parts[1], parts[2]


def _attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    return (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)
