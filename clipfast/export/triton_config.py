"""How Triton is to serve a graph: the options, and `config.pbtxt` in protobuf's text format.

The texts follow Triton's `model_config.proto`; the tests parse them with the schema that tritonclient ships.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import onnx_ir as ir

from clipfast.artifact import Precision
from clipfast.errors import ArtifactError, DataError, ShapeError

__all__ = ["Backend", "TritonOptions", "config_text", "pbtxt"]

Backend = Literal["onnxruntime", "tensorrt"]
_PLATFORMS = {"onnxruntime": ("backend", "onnxruntime"), "tensorrt": ("platform", "tensorrt_plan")}
_TYPES = {ir.DataType.UINT8: "TYPE_UINT8", ir.DataType.INT64: "TYPE_INT64", ir.DataType.FLOAT: "TYPE_FP32"}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_SYMBOLS = ("TYPE_", "KIND_")


@dataclass(frozen=True, slots=True)
class TritonOptions:
    """How the server runs the models.

    Attributes:
        backend: ONNX Runtime, or TensorRT with engines of this machine.
        precision: Of the graphs.
        max_batch: Largest batch of the server; with TensorRT within the engine's profile.
        preferred: Batches that are worth waiting for.
        delay_us: How long a request may wait for others, in microseconds.
        instances: Copies of each model on each GPU.
        device: GPUs, or the CPU (onnxruntime only).
        topk: Rows that a search returns.
        max_texts: Largest batch of texts, where their engine holds fewer than `max_batch`; None takes `max_batch`.
        name: How the models' names begin; None takes the artifact's model. Two sizes of a model need two names.
    """

    backend: Backend = "onnxruntime"
    precision: Precision = "fp16"
    max_batch: int = 32
    preferred: tuple[int, ...] = (8, 16, 32)
    delay_us: int = 500
    instances: int = 1
    device: Literal["gpu", "cpu"] = "gpu"
    topk: int = 10
    max_texts: int | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        if self.backend not in _PLATFORMS or self.device not in {"gpu", "cpu"}:
            raise DataError(
                f"backend must be onnxruntime or tensorrt and device gpu or cpu; got {self.backend!r}, {self.device!r}."
            )
        if (self.backend, self.device) == ("tensorrt", "cpu"):
            raise DataError("TensorRT runs on GPUs only; use backend='onnxruntime' for device='cpu'.")
        if min(self.max_batch, self.instances, self.topk, self.max_texts or 1) < 1 or self.delay_us < 0:
            raise ShapeError("max_batch, max_texts, instances and topk must be 1 or more and delay_us 0 or more.")
        if self.name is not None and not _NAME.fullmatch(self.name):
            raise DataError(f"name must be letters, digits, '.', '_' and '-', for it names folders; got {self.name!r}.")
        if bad := [batch for batch in self.preferred if not 1 <= batch <= self.max_batch]:
            raise ShapeError(f"preferred batches must be 1 to max_batch ({self.max_batch}); got {bad[0]}.")

    def of_head(self, head: str) -> TritonOptions:
        """Return the options of one model: with the batches that its engine holds."""
        most = self.max_texts
        if head != "text" or most is None or most >= self.max_batch:
            return self
        return replace(self, max_batch=most, preferred=tuple(batch for batch in self.preferred if batch <= most))


def config_text(name: str, model: ir.Model, options: TritonOptions) -> str:
    """Return `config.pbtxt` of a graph whose first dimension is the batch.

    Args:
        name: Of the model.
        model: The graph; only its inputs and outputs are read.
        options: How it is served.
    """
    inputs, outputs = (
        [_tensor(value) for value in model.graph.inputs],
        [_tensor(value) for value in model.graph.outputs],
    )
    field, value = _PLATFORMS[options.backend]
    batches = sorted({1, *options.preferred, options.max_batch})
    config = {
        "name": name,
        field: value,
        "max_batch_size": options.max_batch,
        "input": inputs,
        "output": outputs,
        "dynamic_batching": {
            "preferred_batch_size": list(options.preferred),
            "max_queue_delay_microseconds": options.delay_us,
        },
        "instance_group": [{"count": options.instances, "kind": f"KIND_{options.device.upper()}"}],
        "model_warmup": [
            {
                "name": f"batch_{batch}",
                "batch_size": batch,
                "inputs": [
                    {
                        "key": one["name"],
                        "value": {"data_type": one["data_type"], "dims": one["dims"], "zero_data": True},
                    }
                    for one in inputs
                ],
            }
            for batch in batches
        ],
    }
    return pbtxt(config)


def _tensor(value: ir.Value) -> dict[str, Any]:
    if value.shape is None or value.dtype not in _TYPES:
        raise ArtifactError(f"{value.name} has no shape or a type that is not served; got {value.dtype}.")
    dims = [dim if isinstance(dim, int) else -1 for dim in list(value.shape)[1:]]
    return {"name": value.name, "data_type": _TYPES[value.dtype], "dims": dims}


def pbtxt(message: Mapping[str, Any], indent: str = "") -> str:
    """Write protobuf's text format: of nested mappings, lists of mappings, lists of numbers, and plain values."""
    lines = []
    for name, value in message.items():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, Mapping):
                lines.append(f"{indent}{name} {{\n{pbtxt(one, indent + '  ')}{indent}}}\n")
            else:
                lines.append(f"{indent}{name}: {_scalar(one)}\n")
    return "".join(lines)


def _scalar(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    text = str(value)
    if text.startswith(_SYMBOLS):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
