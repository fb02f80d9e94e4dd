"""Parts of weights, cut when a graph is exported and not each time it is opened; no answer changes by a bit.

`embed` takes the last block's queries of one token, and its keys and values of all: two slices of one weight. ONNX
Runtime would cut them whenever it opens the graph, some 20 of 170 ms for ViT-B/32. Beside the whole weight, which other
heads read, they are 2 % of the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

__all__ = ["cut_weights", "sliced", "whole_name"]

_PART = ".part."


def cut_weights(model: ir.Model) -> int:
    """Replace slices of stored weights by weights of their own, in place; return how many.

    A weight in compact storage is computed in the graph, so it keeps its slices: small files are what that is for.
    """
    graph = model.graph
    done = 0
    for node in [node for node in graph if node.op_type == "Slice"]:
        inputs = [value for value in node.inputs if value is not None and value.const_value is not None]
        if len(inputs) < len(node.inputs):
            continue
        whole, old = inputs[0], node.outputs[0]
        array, *bounds = [value.const_value.numpy() for value in inputs if value.const_value is not None]
        cut = sliced(array, bounds)
        name = f"{whole.name}{_PART}{old.name}"
        part = ir.Value(name=name, const_value=ir.tensor(cut, name=name))
        part.type, part.shape = old.type, ir.Shape(cut.shape)
        graph.register_initializer(part)
        ir.convenience.replace_all_uses_with(old, part)
        graph.remove(node, safe=True)
        done += 1
        for value in inputs:
            if not value.uses():
                del graph.initializers[str(value.name)]
    return done


def sliced(array: NDArray[Any], bounds: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return what ONNX's Slice gives: `bounds` are starts, ends, and if they are given axes and steps.

    >>> sliced(np.arange(12).reshape(3, 4), [np.array([1]), np.array([3]), np.array([1])]).tolist()
    [[1, 2], [5, 6], [9, 10]]
    """
    starts, ends = bounds[:2]
    axes = bounds[2] if len(bounds) > 2 else np.arange(len(starts))
    steps = bounds[3] if len(bounds) > 3 else np.ones(len(starts), np.int64)
    cut = [slice(None)] * array.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        cut[int(axis)] = slice(int(start), int(end), int(step))
    return np.ascontiguousarray(array[tuple(cut)])


def whole_name(name: str) -> str:
    """Return the name of the weight that a part was cut from; of a whole weight its own.

    >>> whole_name("blocks.11.qkv.weight.part.slice_2"), whole_name("blocks.11.qkv.weight")
    ('blocks.11.qkv.weight', 'blocks.11.qkv.weight')
    """
    return name.partition(_PART)[0]
