"""open_clip's weights rewrapped for inference: the vision tower that all heads stand on, and the text tower.

Written for the graph that comes out, not for training. Weights are stored as (in, out), so that a linear layer is one
MatMul and one Add; pixels enter as uint8 (b, h, w, 3) and `x / 255`, mean and std are folded into the patch
projection, which is exact because the projection has no padding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from clipfast.artifact import ImageSpec

__all__ = ["ATTENTION", "Block", "Flavour", "TextTower", "VisionTower", "plain_attention"]

Flavour = Literal["fused", "plain"]
Attend = Callable[[Tensor, Tensor, Tensor, int, bool], Tensor]


def _fused_attention(q: Tensor, k: Tensor, v: Tensor, heads: int, causal: bool) -> Tensor:  # noqa: FBT001  (both forms share one positional signature)
    """One `com.microsoft.MultiHeadAttention` node; exists in the graph only, torch cannot compute it."""
    attributes = {"num_heads": heads, "scale": (q.shape[-1] // heads) ** -0.5, "unidirectional": int(causal)}
    out: Tensor = torch.onnx.ops.symbolic(
        "com.microsoft::MultiHeadAttention", [q, k, v], attributes, dtype=q.dtype, shape=q.shape, version=1
    )
    return out


def plain_attention(q: Tensor, k: Tensor, v: Tensor, heads: int, causal: bool) -> Tensor:  # noqa: FBT001  (both forms share one positional signature)
    """MatMul, Softmax, MatMul: what every engine can read, and what torch can compute."""
    width = q.shape[-1] // heads

    def split(x: Tensor) -> Tensor:  # (b, n, c) -> (b, heads, n, c / heads)
        return x.reshape(x.shape[0], x.shape[1], heads, width).transpose(1, 2)

    scores = (split(q) * width**-0.5) @ split(k).transpose(-1, -2)
    if causal:
        # Half of the lowest number: exp() of it is 0 in fp32 and fp16, and no engine makes NaN of it as of -inf.
        lowest = torch.finfo(scores.dtype).min / 2
        scores = scores + torch.full(scores.shape[-2:], lowest, dtype=scores.dtype).triu(1)
    return (scores.softmax(-1) @ split(v)).transpose(1, 2).reshape(q.shape)


ATTENTION: dict[Flavour, Attend] = {"fused": _fused_attention, "plain": plain_attention}


class _Linear(nn.Module):
    """`x @ weight + bias` with the weight stored as (in, out), computed in the weight's type."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.detach().T.contiguous(), requires_grad=False)
        self.bias = nn.Parameter(bias.detach().clone(), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return x.to(self.weight.dtype) @ self.weight + self.bias

    def part(self, x: Tensor, begin: int, end: int) -> Tensor:
        """Only the output columns `begin:end`; a slice of the one weight, which `weight_parts` cuts."""
        return x.to(self.weight.dtype) @ self.weight[:, begin:end] + self.bias[begin:end]

    @torch.no_grad()
    def absorb(self, norm: _LayerNorm) -> None:
        """Take gain and shift from the norm before it, in place: (u g + s) W + b = u (diag(g) W) + (s W + b).

        Computed in double precision and rounded once. The norm is left with ones and zeros, so nothing else may read
        it.
        """
        weight = self.weight.double()
        self.bias.copy_(self.bias.double() + norm.bias.double() @ weight)
        self.weight.copy_(norm.weight.double()[:, None] * weight)
        norm.weight.fill_(1.0)
        norm.bias.fill_(0.0)


class _LayerNorm(nn.Module):
    def __init__(self, norm: nn.LayerNorm) -> None:
        super().__init__()
        self.weight = nn.Parameter(norm.weight.detach().clone(), requires_grad=False)
        self.bias = nn.Parameter(norm.bias.detach().clone(), requires_grad=False)
        self.eps = norm.eps

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.layer_norm(x.to(self.weight.dtype), self.weight.shape, self.weight, self.bias, self.eps)


class Block(nn.Module):
    """One pre-norm residual block of open_clip, taken apart so that heads can use its pieces."""

    def __init__(self, block: nn.Module, attend: Attend, *, quick_gelu: bool) -> None:
        super().__init__()
        self.norm_1, self.norm_2 = _LayerNorm(block.ln_1), _LayerNorm(block.ln_2)
        self.qkv = _Linear(block.attn.in_proj_weight, block.attn.in_proj_bias)
        self.out = _Linear(block.attn.out_proj.weight, block.attn.out_proj.bias)
        self.up = _Linear(block.mlp.c_fc.weight, block.mlp.c_fc.bias)
        self.down = _Linear(block.mlp.c_proj.weight, block.mlp.c_proj.bias)
        self.heads: int = block.attn.num_heads
        self.attend = attend
        self.quick_gelu = quick_gelu

    def fold_norms(self, *, first: bool = True) -> None:
        """Move gain and shift of the norms into the products behind them, in place; of `first` only if it is true.

        ONNX Runtime multiplies in any case. OpenVINO makes an operation of its own of it, which ones and zeros spare.
        """
        if first:
            self.qkv.absorb(self.norm_1)
        self.up.absorb(self.norm_2)

    def mlp(self, x: Tensor) -> Tensor:
        """Add the MLP of the norm."""
        hidden = self.up(self.norm_2(x))
        hidden = hidden * torch.sigmoid(1.702 * hidden) if self.quick_gelu else nn.functional.gelu(hidden)
        return x + self.down(hidden)

    def split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of the normalised input, each (b, n, c)."""
        q, k, v = self.qkv(self.norm_1(x)).chunk(3, -1)
        return q, k, v

    def attention(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """softmax(s q k^T) v over all heads, before the output projection."""
        return self.attend(q, k, v, self.heads, False)

    def forward(self, x: Tensor, *, causal: bool = False) -> Tensor:
        """The whole block, (b, n, c) to (b, n, c)."""
        q, k, v = self.split(x)
        return self.mlp(x + self.out(self.attend(q, k, v, self.heads, causal)))

    def first_token(self, x: Tensor) -> Tensor:
        """The block's output for the first token alone, (b, 1, c): keys and values of all, query and MLP of one."""
        c = x.shape[-1]
        u = self.norm_1(x)
        k, v = self.qkv.part(u, c, 3 * c).chunk(2, -1)
        q = self.qkv.part(u[:, :1], 0, c)
        return self.mlp(x[:, :1] + self.out(self.attend(q, k, v, self.heads, False)))


class VisionTower(nn.Module):
    """open_clip's ViT: pixels to tokens, its blocks, and the last norm with the projection."""

    def __init__(self, visual: nn.Module, image: ImageSpec, *, quick_gelu: bool, flavour: Flavour = "fused") -> None:
        super().__init__()
        self.patch: int = visual.patch_size[0]
        self.grid_hw: tuple[int, int] = tuple(visual.grid_size)
        self.patch_weight, shift = _folded_projection(visual.conv1.weight.detach(), image)
        position = visual.positional_embedding.detach()
        self.class_token = nn.Parameter(
            (visual.class_embedding.detach() + position[0])[None, None], requires_grad=False
        )
        self.position = nn.Parameter((position[1:] + shift)[None], requires_grad=False)
        self.norm_pre, self.norm_post = _LayerNorm(visual.ln_pre), _LayerNorm(visual.ln_post)
        attend = ATTENTION[flavour]
        self.blocks = nn.ModuleList(
            [Block(block, attend, quick_gelu=quick_gelu) for block in visual.transformer.resblocks]
        )
        self.projection = nn.Parameter(visual.proj.detach().clone(), requires_grad=False)

    def tokens(self, pixels: Tensor) -> Tensor:
        """Uint8 (b, h, w, 3) to the input of the first block, (b, 1 + p, c)."""
        b, (gh, gw), s = pixels.shape[0], self.grid_hw, self.patch
        cells = pixels[:, : gh * s, : gw * s].reshape(b, gh, s, gw, s, 3).permute(0, 1, 3, 2, 4, 5)
        x = cells.reshape(b, gh * gw, s * s * 3).to(torch.float32) @ self.patch_weight + self.position
        return self.norm_pre(torch.cat([self.class_token.expand(b, -1, -1), x], dim=1))

    def project(self, x: Tensor) -> Tensor:
        """Last norm and projection of every row, (..., c) to (..., e)."""
        return self.norm_post(x) @ self.projection

    def blend(self, alpha: Tensor, first: Tensor, second: Tensor) -> Tensor:
        """The share `alpha`, a scalar, of the first stream and the rest of the second, (b, p, c)."""
        return alpha * first + (1.0 - alpha) * second

    def embedding(self, class_token: Tensor) -> Tensor:
        """(b, 1, c) to unit rows (b, e)."""
        return _unit(self.project(class_token)[:, 0])


class TextTower(nn.Module):
    """open_clip's text transformer, pooled at the end-of-text token (the largest id)."""

    def __init__(self, model: nn.Module, *, quick_gelu: bool, flavour: Flavour = "fused") -> None:
        super().__init__()
        table = model.token_embedding.weight.detach()
        rows, row_of_token = torch.unique(table, dim=0, return_inverse=True)
        self.row_of_token: Tensor | None = None
        if len(rows) * 4 < len(table):  # a small model that knows few words: store each different row once
            table, self.row_of_token = rows, row_of_token.to(torch.int16)
        self.table = nn.Parameter(table.clone(), requires_grad=False)
        self.position = nn.Parameter(model.positional_embedding.detach().clone(), requires_grad=False)
        attend = ATTENTION[flavour]
        self.blocks = nn.ModuleList(
            [Block(block, attend, quick_gelu=quick_gelu) for block in model.transformer.resblocks]
        )
        self.norm_final = _LayerNorm(model.ln_final)
        projection = model.text_projection
        self.projection = nn.Parameter(projection.detach().clone(), requires_grad=False)

    def forward(self, ids: Tensor) -> Tensor:
        """Token ids (t, l), zero-padded behind the end token, to unit rows (t, e).

        The mask is causal and the row of the end token is taken, so padding changes nothing and `l` may be the
        longest text of the batch.
        """
        rows = ids if self.row_of_token is None else self.row_of_token[ids].to(torch.int64)
        x = self.table[rows] + self.position[: ids.shape[1]]
        for block in self.blocks:
            x = block(x, causal=True)
        end = ids.argmax(dim=-1)
        at_end = torch.gather(x, 1, end[:, None, None].expand(-1, 1, x.shape[-1]))[:, 0]
        return _unit(self.norm_final(at_end) @ self.projection)


def _unit(x: Tensor) -> Tensor:
    return x / torch.linalg.vector_norm(x, dim=-1, keepdim=True)


def _folded_projection(conv: Tensor, image: ImageSpec) -> tuple[nn.Parameter, Tensor]:
    """Patch projection of raw uint8 pixels: weight (s*s*3, c), and what the subtracted mean adds to each patch (c,).

    Computed in double precision, so that folding loses nothing but the last rounding.
    """
    mean, std = (torch.tensor(v, dtype=torch.float64) for v in (image.mean, image.std))
    weight = conv.double().permute(2, 3, 1, 0)  # (c, 3, s, s) -> (s, s, 3, c), the order of HWC pixels
    shift = -(weight * (mean / std)[:, None]).sum(dim=(0, 1, 2))
    folded = (weight / (255.0 * std)[:, None]).reshape(-1, conv.shape[0])
    return nn.Parameter(folded.float().contiguous(), requires_grad=False), shift.float()
