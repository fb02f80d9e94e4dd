"""Small storage without loss: weights that are exactly int8 times a scale, or exactly fp16, are stored that way.

The graph turns them back with Cast and Mul on constants, which ONNX Runtime folds when it loads the graph. A weight
that would change by one bit stays as it is.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from torch import nn

from clipfast.types import Floats

__all__ = ["compact_graph", "snap_to_int8"]

_LARGE = 16_384  # values; smaller tensors are not worth a node
_LEVELS = 127


@torch.no_grad()
def snap_to_int8(model: nn.Module) -> None:
    """Round the large matrices of a model to int8 levels per output row, and everything else to fp16, in place.

    Scales are rounded to 11 significant bits, so that level * scale is exact in fp32 and can be recognised later.
    """
    for parameter in model.parameters():
        if parameter.ndim >= 2 and parameter.numel() >= _LARGE:
            rows = parameter.reshape(parameter.shape[0], -1)
            scale = _round_scale((rows.abs().amax(dim=1) / _LEVELS).numpy())
            levels = (rows / torch.from_numpy(scale)[:, None]).round().clamp(-_LEVELS, _LEVELS)
            parameter.copy_((levels * torch.from_numpy(scale)[:, None]).reshape(parameter.shape))
        else:
            parameter.copy_(parameter.half().float())


def compact_graph(model: ir.Model) -> None:
    """Replace large float initialisers by smaller ones of exactly the same value, in place."""
    graph = model.graph
    for value in list(graph.initializers.values()):
        tensor = value.const_value
        if tensor is None or tensor.dtype != ir.DataType.FLOAT or tensor.size < _LARGE:
            continue
        array = tensor.numpy()
        small = _as_int8(array) or _as_half(array)
        if small is None:
            continue
        stored, scale = small
        nodes = _restore(graph, str(value.name), stored, scale)
        ir.convenience.replace_all_uses_with(value, nodes[-1].outputs[0])
        del graph.initializers[str(value.name)]
        graph.insert_before(graph[0], nodes)


def _restore(graph: ir.Graph, name: str, stored: NDArray[np.generic], scale: Floats | None) -> list[ir.Node]:
    """Build the nodes that turn the stored tensor back into the fp32 one."""
    nodes = [ir.node("Cast", [_initializer(graph, f"{name}.stored", stored)], {"to": ir.DataType.FLOAT})]
    if scale is not None:
        nodes.append(ir.node("Mul", [nodes[0].outputs[0], _initializer(graph, f"{name}.scale", scale)]))
    for node in nodes:
        node.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
        node.outputs[0].shape = ir.Shape(stored.shape)
    return nodes


def _initializer(graph: ir.Graph, name: str, array: NDArray[np.generic]) -> ir.Value:
    value = ir.Value(name=name, const_value=ir.tensor(array, name=name))
    value.type = ir.TensorType(ir.DataType.from_numpy(array.dtype))
    value.shape = ir.Shape(array.shape)
    graph.register_initializer(value)
    return value


def _as_int8(array: Floats) -> tuple[NDArray[np.generic], Floats | None] | None:
    """Levels and scales if the array is exactly their product, along one axis or the other."""
    if array.ndim != 2:
        return None
    for axis in (0, 1):  # (in, out) weights have a scale per column, tables one per row
        scale = (np.abs(array).max(axis=axis, keepdims=True) / np.float32(_LEVELS)).astype(np.float32)
        levels = np.rint(array / np.where(scale == 0, 1, scale)).astype(np.int8)
        if np.array_equal(levels.astype(np.float32) * scale, array):
            return levels, scale
    return None


def _as_half(array: Floats) -> tuple[NDArray[np.generic], Floats | None] | None:
    half = array.astype(np.float16)
    return (half, None) if np.array_equal(half.astype(np.float32), array) else None


def _round_scale(scale: Floats) -> Floats:
    mantissa, exponent = np.frexp(scale)
    rounded: Floats = np.ldexp(np.rint(mantissa * 2048) / 2048, exponent).astype(np.float32)
    return np.where(rounded == 0, np.float32(1), rounded)
