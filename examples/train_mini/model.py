"""The network that is trained: open_clip's own CLIP, small, with forwards written for training on a CPU.

Weights live in an `open_clip.model.CLIP`, so a checkpoint is an ordinary open_clip state dict. The forwards are our own
for two reasons: attention as plain products is twice as fast to differentiate on a CPU as torch's fused one, and the
dense loss needs the v-v path of CLIP Surgery (arXiv 2304.05653, section 3.2), which open_clip does not compute.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
from torch import Tensor, nn
from torch.nn import functional

from captions import CONTEXT
from clipfast.datasets.fabricworld import COLOURS, DEFECTS, FABRICS, SHAPES

CONFIG: dict[str, Any] = {
    "embed_dim": 192,
    "vision_cfg": {
        "layers": 8,
        "width": 192,
        "head_width": 64,
        "mlp_ratio": 3.0,
        "patch_size": 16,
        "image_size": 224,
    },
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 128, "heads": 2, "layers": 3},
    "quick_gelu": False,
}
GRID = 14
SURGERY_DEPTH = 6
# What patches are read for: shapes and defects have a class for none.
READINGS = {
    "fabric": len(FABRICS),
    "colour": len(COLOURS),
    "shape": len(SHAPES) + 1,
    "defect": len(DEFECTS) + 1,
}


@dataclass(frozen=True)
class ImageRows:
    """What one forward of the image tower gives, unit rows.

    Attributes:
        embedding: Of the whole image, (b, e).
        plain: Ordinary patch tokens, (b, p, e).
        surgery: Patch tokens of the v-v path, (b, p, e).
        last: Patch tokens after the last norm and before the projection, (b, p, c), not normalised.
    """

    embedding: Tensor
    plain: Tensor
    surgery: Tensor
    last: Tensor


class MiniClip(nn.Module):
    """CLIP with a token table that holds only the words of its captions, and what the losses learn besides.

    Attributes:
        clip: open_clip's model; its token embedding is filled in when a checkpoint is written.
        table: One row for each known token and one, the last, for every other.
        row_of_token: Row of each of open_clip's 49,408 tokens, (49408,) int64.
        dense_scale: Logarithm of the sharpness of the dense loss.
        dense_bias: Its offset: most patches are not what most captions say.
        auxiliary: Linear readings of patch tokens, which teach the image tower before the text tower can; dropped at
            export.
    """

    def __init__(self, known_tokens: list[int]) -> None:
        super().__init__()
        vision, text = CLIPVisionCfg(**CONFIG["vision_cfg"]), CLIPTextCfg(**CONFIG["text_cfg"])
        self.clip = CLIP(CONFIG["embed_dim"], vision, text)
        self.clip.logit_scale.data.fill_(math.log(14.0))
        self.clip.token_embedding.requires_grad_(requires_grad=False)
        row_of_token = torch.full((CONFIG["text_cfg"]["vocab_size"],), len(known_tokens))
        row_of_token[torch.tensor(known_tokens)] = torch.arange(len(known_tokens))
        self.register_buffer("row_of_token", row_of_token)
        self.table = nn.Embedding(len(known_tokens) + 1, CONFIG["text_cfg"]["width"])
        nn.init.normal_(self.table.weight, std=0.02)
        self.dense_scale = nn.Parameter(torch.tensor(math.log(8.0)))
        self.dense_bias = nn.Parameter(torch.tensor(-3.0))
        width = CONFIG["vision_cfg"]["width"]
        self.auxiliary = nn.ModuleDict({name: nn.Linear(width, n) for name, n in READINGS.items()})
        for block in self.clip.visual.transformer.resblocks:
            nn.init.normal_(block.attn.out_proj.weight, std=0.02)
            nn.init.normal_(block.mlp.c_proj.weight, std=0.02)

    def images(self, pixels: Tensor, positions: Tensor | None = None) -> ImageRows:
        """Encode normalised images.

        Args:
            pixels: (b, 3, 16 g, 16 g).
            positions: Which of the 14 x 14 positions each patch takes, (b, g * g); None for whole images. Small crops
                take a random window of the grid, so that nothing has to be interpolated.
        """
        visual = self.clip.visual
        x = visual.conv1(pixels).flatten(2).transpose(1, 2)
        embedding = visual.positional_embedding
        where = embedding[1:] if positions is None else embedding[1:][positions]
        first = (visual.class_embedding + embedding[0]).expand(len(x), 1, -1)
        x = visual.ln_pre(torch.cat([first.to(x.dtype), x + where], dim=1))
        blocks = list(visual.transformer.resblocks)
        side: Tensor | None = None
        for number, block in enumerate(blocks):
            q, k, v = _heads(block, block.ln_1(x))
            if number >= len(blocks) - SURGERY_DEPTH:
                side = (x if side is None else side) + block.attn.out_proj(_attend(v, v, v))
            x = x + block.attn.out_proj(_attend(q, k, v))
            x = x + block.mlp(block.ln_2(x))
        if side is None:
            raise ValueError("the Surgery depth must be at least 1")
        last, aside = visual.ln_post(x), visual.ln_post(side[:, 1:])
        rows = _unit(last @ visual.proj)
        return ImageRows(rows[:, 0], rows[:, 1:], _unit(aside @ visual.proj), last[:, 1:].float())

    def texts(self, rows: Tensor, ends: Tensor) -> Tensor:
        """Encode rows of the token table, (t, l), whose text ends at `ends`; unit rows (t, e)."""
        clip = self.clip
        length = int(ends.max()) + 1
        x = self.table(rows[:, :length]) + clip.positional_embedding[:length]
        mask = clip.attn_mask[:length, :length]
        for block in clip.transformer.resblocks:
            q, k, v = _heads(block, block.ln_1(x))
            x = x + block.attn.out_proj(_attend(q, k, v, mask))
            x = x + block.mlp(block.ln_2(x))
        x = clip.ln_final(x)
        return _unit(x[torch.arange(len(x)), ends] @ clip.text_projection)

    def open_clip_state(self) -> dict[str, Tensor]:
        """Return the state dict that open_clip loads: the table spread over all tokens, late positions filled."""
        state = {name: value.detach().clone() for name, value in self.clip.state_dict().items()}
        state["token_embedding.weight"] = self.table.weight.detach()[self.row_of_token].clone()
        state["positional_embedding"][CONTEXT:] = state["positional_embedding"][CONTEXT - 1]
        return state


def _unit(x: Tensor) -> Tensor:
    return functional.normalize(x.float(), dim=-1)


def _heads(block: nn.Module, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values, each (b, heads, n, c / heads)."""
    attention: Any = block.attn
    rows = functional.linear(x, attention.in_proj_weight, attention.in_proj_bias)
    parts = rows.unflatten(-1, (3, attention.num_heads, -1)).permute(2, 0, 3, 1, 4)
    return parts[0], parts[1], parts[2]


def _attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    if mask is not None:
        scores = scores + mask.to(scores.dtype)
    return (scores.softmax(-1).to(v.dtype) @ v).transpose(1, 2).flatten(2)
