"""The PyTorch reference of patch features, plain tokens, presets and the depth sweep, one image and head at a time.

Written from the papers' formulas with loops, on open_clip's own modules; shares nothing with `token_heads.py`.
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor, nn

from clipfast.artifact import ImageSpec
from clipfast.export.reference import normalised

__all__ = ["block_tokens", "class_attention", "plain_tokens", "preset_tokens"]


@torch.no_grad()
def block_tokens(model: nn.Module, pixels: Tensor, image: ImageSpec) -> list[Tensor]:
    """Tokens before the first block and after each block, L + 1 of (b, 1 + p, c)."""
    x = model.visual._embeds(normalised(pixels, image))  # noqa: SLF001  (open_clip has no public name for it)
    tokens = [x]
    for block in model.visual.transformer.resblocks:
        x = block(x)
        tokens.append(x)
    return tokens


@torch.no_grad()
def plain_tokens(model: nn.Module, tokens: list[Tensor]) -> Tensor:
    """The unmodified tower's patch tokens in the joint space, (b, p, e)."""
    return _project(model, tokens[-1])


@torch.no_grad()
def class_attention(model: nn.Module, tokens: list[Tensor]) -> Tensor:
    """How the class token looks at all tokens in the last block, (b, heads, 1 + p)."""
    block = model.visual.transformer.resblocks[-1]
    q, k, _ = _qkv(block, tokens[-2])
    return torch.stack([_softmax(a, c)[:, 0] for a, c in zip(q, k, strict=True)], dim=1)


@torch.no_grad()
def preset_tokens(model: nn.Module, tokens: list[Tensor], name: str, *, depth: int) -> Tensor:
    """Patch tokens of one preset, (b, p, e); of "sweep", (b, L, p, e)."""
    blocks = model.visual.transformer.resblocks
    if name == "sweep":
        added = _side_additions(model, tokens, 0, "vv")
        starts = reversed(range(len(blocks)))
        return torch.stack([_project(model, tokens[first] + sum(added[first:])) for first in starts], dim=1)
    if name == "gem":
        first = len(blocks) - depth
        return _project(model, tokens[first] + sum(_side_additions(model, tokens, first, "gem")))
    last, x = blocks[-1], tokens[-2]
    q, k, v = _qkv(last, x)
    heads = []
    for qh, kh, vh in zip(q, k, v, strict=True):
        if name == "maskclip":
            heads.append(vh)
        elif name == "clearclip":
            heads.append(_softmax(qh, qh) @ vh)
        elif name == "sclip":
            heads.append((_softmax(qh, qh) + _softmax(kh, kh)) @ vh)
        elif name == "naclip":
            heads.append(_softmax(kh, kh, bonus=_gaussian(model.visual.grid_size)) @ vh)
        elif name == "segearth":
            heads.append((_softmax(qh, qh) + _softmax(kh, kh) + _softmax(vh, vh)) @ vh)
    out = last.attn.out_proj(torch.cat(heads, dim=-1))
    if name == "sclip":
        out = x + out
        out = out + last.mlp(last.ln_2(out))
    return _project(model, out)


def _side_additions(model: nn.Module, tokens: list[Tensor], first: int, kind: str) -> list[Tensor]:
    """What each block from `first` on adds to a side stream; it depends on the ordinary stream alone."""
    added = []
    for block, x in zip(list(model.visual.transformer.resblocks)[first:], tokens[first:-1], strict=True):
        q, k, v = _qkv(block, x)
        if kind == "vv":
            heads = [_softmax(vh, vh) @ vh for vh in v]
        else:
            lengths = block.ln_1(x).norm(dim=-1).mean(dim=-1)
            heads = [_gem(parts, lengths) for parts in zip(q, k, v, strict=True)]
        added.append(block.attn.out_proj(torch.cat(heads, dim=-1)))
    return added


def _gem(parts: tuple[Tensor, Tensor, Tensor], lengths: Tensor) -> Tensor:
    """One head: p <- norm(p); p <- softmax(t p p^T) p; p <- norm(p); softmax(t p p^T) v; mean over p in q, k, v."""
    v = parts[2]
    temperature = (lengths / math.sqrt(v.shape[-1]))[:, None, None]
    total = torch.zeros_like(v)
    for rows in parts:
        p = nn.functional.normalize(rows, dim=-1)
        p = torch.softmax(temperature * p @ p.transpose(1, 2), dim=-1) @ p
        p = nn.functional.normalize(p, dim=-1)
        total += torch.softmax(temperature * p @ p.transpose(1, 2), dim=-1) @ v
    return total / 3


@cache
def _gaussian(grid_hw: tuple[int, int], sigma: float = 5.0) -> Tensor:
    gh, gw = grid_hw
    bonus = torch.zeros(1 + gh * gw, 1 + gh * gw)
    for i in range(gh * gw):
        for j in range(gh * gw):
            square = (i // gw - j // gw) ** 2 + (i % gw - j % gw) ** 2
            bonus[1 + i, 1 + j] = math.exp(-square / (2 * sigma**2))
    return bonus


def _qkv(block: nn.Module, x: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Queries, keys and values of each head, (b, n, c / heads)."""
    attention = block.attn
    rows = nn.functional.linear(block.ln_1(x), attention.in_proj_weight, attention.in_proj_bias)
    q, k, v = rows.chunk(3, dim=-1)
    heads = attention.num_heads
    return q.chunk(heads, dim=-1), k.chunk(heads, dim=-1), v.chunk(heads, dim=-1)


def _softmax(a: Tensor, b: Tensor, bonus: Tensor | float = 0.0) -> Tensor:
    return torch.softmax(a @ b.transpose(1, 2) / math.sqrt(a.shape[-1]) + bonus, dim=-1)


def _project(model: nn.Module, x: Tensor) -> Tensor:
    visual = model.visual
    out: Tensor = (visual.ln_post(x) @ visual.proj)[:, 1:]
    return out
