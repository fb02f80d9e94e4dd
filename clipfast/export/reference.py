"""The PyTorch reference: plain open_clip, and CLIP Surgery's definition written as plainly as possible.

Nothing here is fast and nothing is shared with `graphs.py`: two texts that agree are the evidence of the parity gate.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional

from clipfast.artifact import ImageSpec

__all__ = ["image_embedding", "normalised", "surgery_streams", "surgery_tokens", "text_embedding"]


def normalised(pixels: Tensor, image: ImageSpec) -> Tensor:
    """Uint8 (b, h, w, 3) to what torchvision's ToTensor and Normalize give, (b, 3, h, w) float32."""
    mean, std = (torch.tensor(value, device=pixels.device) for value in (image.mean, image.std))
    return ((pixels.float() / 255.0 - mean) / std).permute(0, 3, 1, 2)


@torch.no_grad()
def image_embedding(model: nn.Module, pixels: Tensor, image: ImageSpec) -> Tensor:
    """open_clip's own image embedding, unit rows (b, e)."""
    out: Tensor = model.encode_image(normalised(pixels, image), normalize=True)
    return out


@torch.no_grad()
def text_embedding(model: nn.Module, ids: Tensor) -> Tensor:
    """open_clip's own text embedding of full-length ids (t, context), unit rows (t, e)."""
    out: Tensor = model.encode_text(ids, normalize=True)
    return out


@torch.no_grad()
def surgery_streams(model: nn.Module, pixels: Tensor, image: ImageSpec, *, depth: int) -> tuple[Tensor, Tensor]:
    """The two accumulators before the last norm, z_qk and z_vv, each (b, 1 + p, c) with the class token's row.

    x^l are the tokens that enter block l of L. With u = LN1(x^l), [q, k, v] = W u + b:

        z = x^(L-d+1) + sum over the last d blocks of out_proj(softmax(s a b^T) v),   (a, b) = (q, k) or (v, v).
    """
    visual = model.visual
    x = visual._embeds(normalised(pixels, image))  # noqa: SLF001  (open_clip has no public name for it)
    blocks = list(visual.transformer.resblocks)
    for block in blocks[:-depth]:
        x = block(x)
    z_qk, z_vv = x.clone(), x.clone()
    for block in blocks[-depth:]:
        attention = block.attn
        u = block.ln_1(x)
        q, k, v = functional.linear(u, attention.in_proj_weight, attention.in_proj_bias).chunk(3, dim=-1)
        z_qk += attention.out_proj(_attention(q, k, v, attention.num_heads))
        z_vv += attention.out_proj(_attention(v, v, v, attention.num_heads))
        x = block(x)
    return z_qk, z_vv


@torch.no_grad()
def surgery_tokens(model: nn.Module, streams: Iterable[Tensor]) -> list[Tensor]:
    """Last norm and projection of streams, patches only, each (b, p, e), not normalised."""
    visual = model.visual
    return [(visual.ln_post(z) @ visual.proj)[:, 1:] for z in streams]


def _attention(a: Tensor, b: Tensor, v: Tensor, heads: int) -> Tensor:
    """Softmax attention of rows (batch, n, c), head by head."""
    size = a.shape[-1] // heads
    parts = []
    for h in range(heads):
        at = slice(h * size, (h + 1) * size)
        weights = torch.softmax(a[..., at] @ b[..., at].transpose(1, 2) / size**0.5, dim=-1)
        parts.append(weights @ v[..., at])
    return torch.cat(parts, dim=-1)
