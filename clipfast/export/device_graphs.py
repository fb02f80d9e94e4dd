"""The towers once more, for GPU engines: no shape arithmetic, pixels cast first, and fp16 where fp16 is safe.

What an engine asks of a graph, and what is done here about it:

- TensorRT reads uint8 only where a Cast follows the input ("does not support UINT8 types for intermediate tensors"), so
  pixels are cast before they are cut into patches.
- ONNX Runtime's CUDA provider computes shapes on the CPU, which a session that forbids the CPU refuses.
  Nothing here needs the batch size as a number: the class token's row comes from arithmetic instead of Expand, and
  texts have the full context length.
- In opset 20 the CUDA provider has no Pad, no Equal and no ReduceMax (its newest are of opset 13 and 18); they are not
  used. `device_checks.CUDA_OPS` holds the list.
- `alpha` is one number per image, (n, 1), so that a server can put requests into one batch.

**Types in fp16.** Products and attention are fp16: that is where the time goes, and the engines' fused attention wants
fp16 on both sides of the softmax, which they compute in fp32 inside. Unit length is fp32: squares overflow first. The
flavours differ in the residual stream and the norms:

- "tensorrt": fp32, as in PyTorch's autocast. Norms in fp16 are TensorRT's known way to lose accuracy (NVIDIA/TensorRT
  issues 2564 and 4493), the stream never overflows, and TensorRT fuses the casts. TensorRT 11 and trtexec's
  --stronglyTyped take every type as it is written. ONNX Runtime 1.31 makes weakly typed networks of TensorRT 10: there
  fp16 types and the fp16 flag allow fp16 everywhere, and what is typed fp32 is a wish. The gate on the GPU decides.
- "cuda": fp16; ONNX Runtime's own norm takes fp16 and sums in fp32, and each cast would be a kernel of its own.

Patches are projected as `(pixel - 128) / 64`, exact in fp16, with the weight scaled up by 64: unscaled it would hold
numbers below fp16's normal range.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from clipfast.artifact import Precision
from clipfast.errors import DataError
from clipfast.export.graphs import Flavour as Attention
from clipfast.export.graphs import TextTower, VisionTower
from clipfast.export.options import ExportOptions
from clipfast.export.plan import GraphPlan, plan_on
from clipfast.export.weights import LoadedModel

__all__ = ["DEVICE_FLAVOURS", "DeviceFlavour", "DeviceTextTower", "DeviceTower", "plan_device_graphs"]

DeviceFlavour = Literal["cuda", "tensorrt"]
_ATTENTION: dict[DeviceFlavour, Attention] = {"cuda": "fused", "tensorrt": "plain"}
DEVICE_FLAVOURS: tuple[DeviceFlavour, ...] = tuple(_ATTENTION)
_FP32_OF_TENSORRT = ("norm_1", "norm_2", "norm_pre", "norm_post", "norm_final", "position", "class_token")
_CENTRE, _SCALE = 128.0, 64.0
_EXACT_INTEGERS = 1 << 24  # of fp32


class DeviceTower(VisionTower):
    """The vision tower as GPU engines like it."""

    def __init__(
        self,
        source: LoadedModel,
        *,
        flavour: DeviceFlavour,
        precision: Precision,
        attention: Attention | None = None,
    ) -> None:
        super().__init__(
            source.model.visual,
            source.image,
            quick_gelu=source.activation == "quick_gelu",
            flavour=attention or _ATTENTION[flavour],
        )
        weight = self.patch_weight.double()
        centred = self.position.double() + _CENTRE * weight.sum(dim=0)
        self.position = _constant(centred.float())
        self.patch_weight = _constant((weight * _SCALE).float())
        _set_types(self, flavour, precision)

    def tokens(self, pixels: Tensor) -> Tensor:
        """Uint8 (b, h, w, 3) to the input of the first block, (b, 1 + p, c)."""
        b, (gh, gw), s = pixels.shape[0], self.grid_hw, self.patch
        x = (pixels.to(self.patch_weight.dtype) - _CENTRE) * (1 / _SCALE)
        if tuple(pixels.shape[1:3]) != (gh * s, gw * s):
            x = x[:, : gh * s, : gw * s]
        cells = x.reshape(b, gh, s, gw, s, 3).permute(0, 1, 3, 2, 4, 5).reshape(b, gh * gw, s * s * 3)
        patches = cells @ self.patch_weight + self.position
        first = patches[:, :1] * 0.0 + self.class_token  # Expand would ask for the batch size
        return self.norm_pre(torch.cat([first, patches], dim=1))

    def project(self, x: Tensor) -> Tensor:
        """Last norm and projection of every row, (..., c) to (..., e), in fp32."""
        return (self.norm_post(x).to(self.projection.dtype) @ self.projection).to(torch.float32)

    def blend(self, alpha: Tensor, first: Tensor, second: Tensor) -> Tensor:
        """As in the ordinary tower, with one `alpha` per image, (b, 1)."""
        share = alpha.reshape(-1, 1, 1).to(first.dtype)
        return share * first + (1.0 - share) * second


class DeviceTextTower(TextTower):
    """The text tower for the full context length."""

    def __init__(
        self,
        source: LoadedModel,
        *,
        flavour: DeviceFlavour,
        precision: Precision,
        attention: Attention | None = None,
    ) -> None:
        super().__init__(
            source.model,
            quick_gelu=source.activation == "quick_gelu",
            flavour=attention or _ATTENTION[flavour],
        )
        context, vocabulary = self.position.shape[0], source.model.token_embedding.weight.shape[0]
        places = 1 << math.ceil(math.log2(context))
        if vocabulary * places >= _EXACT_INTEGERS:
            raise DataError(
                f"GPU text graphs count to {_EXACT_INTEGERS:,}; vocabulary {vocabulary} and context {context} "
                "go beyond it. Leave text out of --heads."
            )
        self.places = float(places)
        self.at = torch.arange(context, dtype=torch.float32)
        if self.row_of_token is not None:  # int16 is unknown to TensorRT
            self.row_of_token = self.row_of_token.to(torch.int64)
        _set_types(self, flavour, precision)

    def forward(self, ids: Tensor) -> Tensor:
        """Token ids (t, context), zero-padded, to unit rows (t, e)."""
        rows = ids.reshape(-1)
        rows = rows if self.row_of_token is None else self.row_of_token.index_select(0, rows)
        x = self.table.index_select(0, rows).reshape(ids.shape[0], *self.position.shape)
        x = x.to(self.position.dtype) + self.position
        for block in self.blocks:
            x = block(x, causal=True)
        at_end = (self._end_of_text(ids).to(x.dtype)[:, None] @ x)[:, 0]
        rows_out = (self.norm_final(at_end).to(self.projection.dtype) @ self.projection).to(torch.float32)
        return rows_out / torch.linalg.vector_norm(rows_out, dim=-1, keepdim=True)

    def _end_of_text(self, ids: Tensor) -> Tensor:
        """1 at the first largest id of each row and 0 elsewhere, (t, context) fp32.

        The earlier of two equal ids is made the larger one, so nothing depends on how an engine breaks ties.
        """
        end = (ids.to(torch.float32) * self.places - self.at).argmax(dim=-1, keepdim=True).to(torch.float32)
        return (self.at >= end).to(torch.float32) - (self.at > end).to(torch.float32)


def plan_device_graphs(
    source: LoadedModel,
    options: ExportOptions,
    flavour: DeviceFlavour,
    precision: Precision,
    *,
    attention: Attention | None = None,
) -> dict[str, GraphPlan]:
    """Return the GPU graphs of `options.heads` by head.

    Args:
        source: The model.
        options: Which heads, and what they hold.
        flavour: For which engine.
        precision: Of the products; see the module's text.
        attention: None takes the flavour's own; "plain" makes the "cuda" flavour computable by torch.
    """
    tower = DeviceTower(source, flavour=flavour, precision=precision, attention=attention)
    text = DeviceTextTower(source, flavour=flavour, precision=precision, attention=attention)
    plans = plan_on(tower, text, source, options)
    if "dense" in plans:
        dense = plans["dense"]
        alpha = {"alpha": torch.full((2, 1), 0.5)}
        plans["dense"] = GraphPlan(dense.module, dense.inputs | alpha, dense.outputs, [{0: "n"}, {0: "n"}])
    if "text" in plans:
        ids = {"ids": torch.zeros(2, text.position.shape[0], dtype=torch.int64)}
        plans["text"] = GraphPlan(text, ids, plans["text"].outputs, [{0: "t"}])
    return plans


def _constant(value: Tensor) -> nn.Parameter:
    return nn.Parameter(value.contiguous(), requires_grad=False)


def _set_types(tower: VisionTower | TextTower, flavour: DeviceFlavour, precision: Precision) -> None:
    """Give each parameter the type that its operation is to be computed in."""
    if precision == "fp32":
        return
    kept = _FP32_OF_TENSORRT if flavour == "tensorrt" else ()
    for name, parameter in tower.named_parameters():
        if not any(part in kept for part in name.split(".")):
            parameter.data = parameter.data.half()
