"""What can be proven of a GPU graph without a GPU.

That it is valid and whole, that shapes are known for every batch of a profile, that the engines have every operation,
and how large the numbers inside become. Precision is judged by running the fp16 modules in PyTorch (`HalfSession`):
ONNX Runtime's CPU provider computes fp16 graphs in fp32, which proves validity only.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from clipfast.artifact import Flavour, Peak
from clipfast.errors import ParityError
from clipfast.export.plan import GraphPlan

__all__ = ["CUDA_OPS", "LARGEST_SAFE", "TENSORRT_OPS", "HalfSession", "check_graph", "largest_value", "require_safe"]

LARGEST_SAFE = 32_768.0  # half of fp16's largest power of two: other images may go somewhat higher than the samples

# Operations of opset 20 that TensorRT reads (onnx/onnx-tensorrt, docs/operators.md), as far as the graphs need them.
TENSORRT_OPS = frozenset({
    "Add", "ArgMax", "Cast", "Concat", "Div", "Gather", "Gelu", "LayerNormalization", "Less", "LessOrEqual", "MatMul",
    "Mul", "ReduceL2", "ReduceMean", "Reshape", "Sigmoid", "Slice", "Softmax", "Split", "Sub", "Transpose", "Unsqueeze",
})  # fmt: skip
# The same list has a CUDA kernel for exactly the version that opset 20 means (microsoft/onnxruntime,
# docs/OperatorKernels.md); not so Equal, Pad, ReduceMax, and everything that answers with a shape.
CUDA_OPS = TENSORRT_OPS | {"MultiHeadAttention"}
_UNREAL = -1e30  # values below are masks, whose exp() is 0


class HalfSession:
    """Runs a plan's module in PyTorch, in the types it was given, in place of an engine.

    Products take fp16 and give fp16 and are summed in fp32, as GPUs do it.
    """

    def __init__(self, plan: GraphPlan) -> None:
        self._plan = plan

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return every output by name."""
        with torch.no_grad(), _SumsInFp32():
            out = self._plan.module(*(torch.from_numpy(np.asarray(feeds[name])) for name in self._plan.inputs))
        outputs = out if isinstance(out, tuple) else (out,)
        return {name: value.numpy() for name, value in zip(self._plan.outputs, outputs, strict=True)}


def check_graph(path: Path, flavour: Flavour, batches: Iterable[int]) -> None:
    """Prove what a file alone can show.

    Args:
        path: The ONNX file, with its weights beside it.
        flavour: Decides which operations may be in it.
        batches: For each, every value of the graph must have a known shape: the smallest, usual and largest of a
            profile.

    Raises:
        ParityError: The file is not valid ONNX, weights are missing, an operation has no kernel, or a shape is unknown.
    """
    import onnx

    try:
        onnx.checker.check_model(str(path), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ParityError(f"{path.name} is not valid ONNX: {error}. Please report the model and versions.") from error
    model = onnx.load(str(path), load_external_data=False)
    _require_weights(model, path)
    allowed = TENSORRT_OPS if flavour == "tensorrt" else CUDA_OPS
    if strangers := sorted({node.op_type for node in model.graph.node} - allowed):
        raise ParityError(
            f"{path.name} holds {', '.join(strangers)}, which {flavour} cannot run at this opset. "
            "Please report the model."
        )
    _require_cast_pixels(model, path)
    for batch in batches:
        _require_shapes(model, batch, path)


def _require_weights(model: Any, path: Path) -> None:
    """Every external tensor lies inside its file, so a cut file is noticed before an engine reads past its end."""
    for tensor in model.graph.initializer:
        where = {entry.key: entry.value for entry in tensor.external_data}
        if not where:
            continue
        file = path.parent / where["location"]
        end = int(where.get("offset", 0)) + int(where["length"])
        if not file.is_file() or file.stat().st_size < end:
            raise ParityError(f"{path.name} needs {end:,} bytes of {file.name}, which are not there. Export again.")


def _require_cast_pixels(model: Any, path: Path) -> None:
    import onnx

    raw = {value.name for value in model.graph.input if value.type.tensor_type.elem_type == onnx.TensorProto.UINT8}
    for node in model.graph.node:
        if raw & set(node.input) and node.op_type != "Cast":
            raise ParityError(f"{path.name} reads uint8 in {node.op_type}; engines take it only in a Cast.")


def _require_shapes(model: Any, batch: int, path: Path) -> None:
    """ONNX's inference knows no fused attention: there it goes on from the shape that the exporter wrote down."""
    import onnx

    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    free = {dim.dim_param for value in model.graph.input for dim in value.type.tensor_type.shape.dim if dim.dim_param}
    fused = {name for node in model.graph.node if node.domain for name in node.output}
    kept = [value for value in model.graph.value_info if value.name in fused]
    del fixed.graph.value_info[:]
    fixed.graph.value_info.extend(kept)
    for value in (*fixed.graph.input, *fixed.graph.output, *fixed.graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in free:
                dim.dim_value = batch
    inferred = onnx.shape_inference.infer_shapes(fixed, check_type=True, strict_mode=True, data_prop=True)
    known = {
        value.name: value.type.tensor_type.HasField("shape")
        and all(dim.HasField("dim_value") for dim in value.type.tensor_type.shape.dim)
        for value in (*inferred.graph.value_info, *inferred.graph.output)
    }
    for node in inferred.graph.node:
        for name in node.output:
            if name and not known.get(name, False):
                raise ParityError(f"{path.name}: the shape of {name} ({node.op_type}) is unknown at batch {batch}.")


def largest_value(plan: GraphPlan, feeds: Mapping[str, NDArray[Any]], head: str) -> Peak:
    """Run a module and return the largest absolute value of any operation in it, masks left out.

    Args:
        plan: In fp32, with plain attention.
        feeds: Sample inputs by name.
        head: Its name, for the record.
    """
    watch = _Watch()
    hooks = [
        module.register_forward_pre_hook(watch.entering(name))
        for name, module in plan.module.named_modules()
        if not list(module.children())
    ]
    try:
        with torch.no_grad(), watch:
            plan.module(*(torch.from_numpy(np.asarray(feeds[name])) for name in plan.inputs))
    finally:
        for hook in hooks:
            hook.remove()
    return Peak(head=head, where=watch.where.removeprefix("tower."), largest=watch.largest)


class _SumsInFp32(TorchDispatchMode):
    """Computes products of fp16 in fp32 and rounds the result: quicker on CPUs than their fp16, and closer to GPUs."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        products = (torch.ops.aten.mm.default, torch.ops.aten.bmm.default, torch.ops.aten.addmm.default)
        if func in products and all(a.dtype == torch.float16 for a in args if isinstance(a, torch.Tensor)):
            wide = [a.float() if isinstance(a, torch.Tensor) else a for a in args]
            return func(*wide, **(kwargs or {})).half()
        return func(*args, **(kwargs or {}))


class _Watch(TorchDispatchMode):
    """Sees what enters each module and every operation's result; pixels before the first module are left out."""

    def __init__(self) -> None:
        super().__init__()
        self.largest, self.where = 0.0, ""
        self._inside: str | None = None

    def entering(self, name: str) -> Any:
        """Return a hook that notes a module's name and its input."""

        def hook(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            self._inside = None
            entered = inputs[0].abs().max().item()
            self._inside = name
            self._note(entered, "input")

        return hook

    def _note(self, value: float, what: str) -> None:
        if value > self.largest or math.isnan(value):
            self.largest, self.where = value, f"{self._inside} {what}"

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if self._inside is None:
            return out
        for value in out if isinstance(out, tuple | list) else (out,):
            if isinstance(value, torch.Tensor) and value.is_floating_point() and value.numel():
                real = torch.where(value < _UNREAL, 0.0, value).abs().max().item()
                self._note(real, func.__name__.split(".")[0])
        return out


def require_safe(peaks: Iterable[Peak]) -> None:
    """Refuse fp16 for a model whose values come near the end of its range.

    Raises:
        ParityError: Names the head, the place and the value.
    """
    for peak in peaks:
        if not peak.largest < LARGEST_SAFE:  # written so that NaN fails too
            raise ParityError(
                f"{peak.head} reaches {peak.largest:,.0f} at {peak.where} on sample inputs; fp16 ends at 65,504 and "
                f"{LARGEST_SAFE:,.0f} is the limit here. Export this model in fp32 only: --precision fp32."
            )
