"""Plain patch tokens, and what published dense-CLIP variants make of the same tower.

The variants differ in the attention of the last block (or, for GEM, of the last blocks' side path); all of them come
from one run of the shared blocks.

    maskclip   the values themselves                                  RogerQi/maskclip_onnx, `forward_v`
    clearclip  softmax(s q q^T) v                                     mc-lan/ClearCLIP
    sclip      (softmax(s q q^T) + softmax(s k k^T)) v, residual, FFN  wangf3014/SCLIP
    naclip     softmax(s k k^T + w) v, w a Gaussian of grid distance  sinahmr/NACLIP
    segearth   (softmax(qq) + softmax(kk) + softmax(vv)) v            likyoo/SegEarth-OV
    gem        mean over q, k, v of refined self-self attention        WalBouss/GEM
    sweep      z_vv for every depth 1..L, stacked

Except for sclip neither residual nor FFN is used, as in their sources.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from clipfast.export.graphs import Block, VisionTower

__all__ = ["PRESETS", "TokensHead", "neighbour_weights"]

NACLIP_SIGMA = 5.0


class TokensHead(nn.Module):
    """The unmodified tower's patch tokens, and any presets beside them."""

    def __init__(self, tower: VisionTower, depth: int, presets: Sequence[str] = ()) -> None:
        super().__init__()
        self.tower = tower
        self.depth = depth
        self.presets = tuple(presets)
        self.near = neighbour_weights(tower.grid_hw)

    def norms_read(self) -> range:
        """Indices of the blocks whose first norm is read for itself, beside queries, keys and values: GEM's."""
        count = len(self.tower.blocks)
        return range(count - self.depth if "gem" in self.presets else count, count)

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Give embedding (b, e), plain (b, p, e), and each preset (b, p, e); sweep is (b, L, p, e)."""
        tower = self.tower
        inputs = [tower.tokens(pixels)]
        for block in tower.blocks:
            inputs.append(block(inputs[-1]))
        last: Block = tower.blocks[-1]
        made = [self._preset(name, inputs[:-1], last) for name in self.presets]
        final = inputs[-1]
        return (tower.embedding(final[:, :1]), tower.project(final[:, 1:]), *made)

    def _preset(self, name: str, inputs: list[Tensor], last: Block) -> Tensor:
        if name == "gem":
            return self.tower.project(self._gem(inputs))
        if name == "sweep":
            return self.tower.project(self._sweep(inputs))
        x = inputs[-1]
        out = last.out(PRESETS[name](last, *last.split(x), self.near))
        if name == "sclip":
            out = last.mlp(x + out)
        return self.tower.project(out[:, 1:])

    def _side(self, inputs: list[Tensor], number: int) -> Tensor:
        """What value-value attention of block `number` adds to the patches, (b, p, c)."""
        block = self.tower.blocks[number]
        _, _, v = block.split(inputs[number])
        out: Tensor = block.out(block.attention(v[:, 1:], v, v))
        return out.to(inputs[number].dtype)

    def _sweep(self, inputs: list[Tensor]) -> Tensor:
        """z_vv of depth d is the input of its first block plus the side paths from there on: suffix sums."""
        total: Tensor | float = 0.0
        streams = []
        for number in reversed(range(len(inputs))):
            total = self._side(inputs, number) + total
            streams.append(inputs[number][:, 1:] + total)
        return torch.stack(streams, dim=1)

    def _gem(self, inputs: list[Tensor]) -> Tensor:
        first = len(inputs) - self.depth
        z = inputs[first][:, 1:]
        for number in range(first, len(inputs)):
            block = self.tower.blocks[number]
            q, k, v = block.split(inputs[number])
            z = z + block.out(_gem_attention(block.norm_1(inputs[number]), (q, k, v), block.heads))[:, 1:]
        return z


def _gem_attention(u: Tensor, qkv: tuple[Tensor, Tensor, Tensor], heads: int) -> Tensor:
    """Mean of three self-self attentions, each refined once, with a temperature from the tokens' mean length."""
    b, n, c = u.shape
    values = _by_head(qkv[2], heads)
    lengths = torch.linalg.vector_norm(u.to(torch.float32), dim=-1)  # squares of fp16 could overflow
    inverse_temperature = (lengths.mean(-1).reshape(b, 1, 1, 1) * (c // heads) ** -0.5).to(values.dtype)

    def attend(p: Tensor, what: Tensor) -> Tensor:
        return (p @ p.transpose(-1, -2) * inverse_temperature).softmax(-1) @ what

    parts = []
    for rows in qkv:
        p = _unit_heads(_by_head(rows, heads))
        p = _unit_heads(attend(p, p))
        parts.append(attend(p, values))
    mean = (parts[0] + parts[1] + parts[2]) / 3.0
    return mean.transpose(1, 2).reshape(b, n, c)


def neighbour_weights(grid_hw: tuple[int, int]) -> Tensor:
    """NACLIP's bonus for near patches, (1 + p, 1 + p): exp(-d^2 / 2 sigma^2) of grid distance; class token 0."""
    gh, gw = grid_hw
    y, x = torch.meshgrid(torch.arange(gh), torch.arange(gw), indexing="ij")
    at = torch.stack([y.flatten(), x.flatten()], dim=1).float()
    square = ((at[:, None] - at[None]) ** 2).sum(-1)
    return nn.functional.pad(torch.exp(-square / (2 * NACLIP_SIGMA**2)), (1, 0, 1, 0))


def _naclip(block: Block, _q: Tensor, k: Tensor, v: Tensor, near: Tensor) -> Tensor:
    keys, values = _by_head(k, block.heads), _by_head(v, block.heads)
    scores = keys @ keys.transpose(-1, -2) * keys.shape[-1] ** -0.5 + near.to(keys.dtype)
    return (scores.softmax(-1) @ values).transpose(1, 2).reshape(v.shape)


# name: attention of the last block from (block, q, k, v, neighbour weights), before the output projection
PRESETS: dict[str, Callable[[Block, Tensor, Tensor, Tensor, Tensor], Tensor]] = {
    "maskclip": lambda _block, _q, _k, v, _near: v,
    "clearclip": lambda block, q, _k, v, _near: block.attention(q, q, v),
    "sclip": lambda block, q, k, v, _near: block.attention(q, q, v) + block.attention(k, k, v),
    "naclip": _naclip,
    "segearth": lambda block, q, k, v, _near: (
        block.attention(q, q, v) + block.attention(k, k, v) + block.attention(v, v, v)
    ),
}


def _by_head(x: Tensor, heads: int) -> Tensor:
    return x.reshape(x.shape[0], x.shape[1], heads, x.shape[2] // heads).transpose(1, 2)


def _unit_heads(x: Tensor) -> Tensor:
    return x / torch.linalg.vector_norm(x.to(torch.float32), dim=-1, keepdim=True).to(x.dtype)
