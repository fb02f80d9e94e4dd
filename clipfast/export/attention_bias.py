"""Biases of queries, keys and values, moved from an Add before an attention node into the node itself.

ONNX Runtime adds them while it sorts the values by head, which it does in any case: one pass over memory less, and the
same sums to the last bit. Where queries, keys or values serve anything else beside attention, nothing is changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from clipfast.types import Floats

__all__ = ["fold_attention_bias", "unfold_attention_bias"]

_ATTENTION = "MultiHeadAttention"


@dataclass(frozen=True, slots=True, eq=False)
class _Biased:
    """One `product + bias` whose values only attention nodes read, whole or in equal parts.

    Attributes:
        add: The node.
        product: What the bias is added to.
        bias: (c,).
        split: The node that cuts the sum into parts; None if it is read whole.
    """

    add: ir.Node
    product: ir.Value
    bias: Floats
    split: ir.Node | None

    def values(self) -> Sequence[ir.Value]:
        return self.add.outputs if self.split is None else self.split.outputs

    def bias_of(self, value: ir.Value) -> Floats:
        """The part of the bias that belongs to one of the values."""
        values = list(self.values())
        part: Floats = np.split(self.bias, len(values))[values.index(value)]
        return part


def fold_attention_bias(model: ir.Model) -> int:
    """Give attention nodes the biases of their inputs, in place; return how many nodes were given one."""
    graph = model.graph
    attentions = [node for node in graph if node.op_type == _ATTENTION and len(node.inputs) == 3]
    found = [biased for node in graph if (biased := _biased(node)) is not None]
    source = {value: biased for biased in found for value in biased.values()}
    # A node takes the biases of all of its inputs or of none, and a sum disappears only if all its readers take it.
    while True:
        able = {node for node in attentions if all(value in source for value in node.inputs if value is not None)}
        kept = {
            value: biased
            for value, biased in source.items()
            if all(user in able for one in biased.values() for user, _ in one.uses())
            and not any(one.is_graph_output() for one in biased.values())
        }
        if len(kept) == len(source):
            break
        source = kept
    for node in attentions:
        if node in able:
            _fold(graph, node, source)
    for biased in {id(biased): biased for biased in source.values()}.values():
        if biased.split is not None:
            biased.split.replace_input_with(0, biased.product)
        bias = biased.add.inputs[1 if biased.add.inputs[0] is biased.product else 0]
        graph.remove(biased.add, safe=True)
        if bias is not None and not bias.uses():
            del graph.initializers[str(bias.name)]
    return len(able)


def _biased(node: ir.Node) -> _Biased | None:
    if node.op_type != "Add" or len(node.inputs) != 2:
        return None
    constants = [value is not None and value.const_value is not None for value in node.inputs]
    if sum(constants) != 1:
        return None
    product, bias = node.inputs[constants.index(False)], node.inputs[constants.index(True)]
    if product is None or bias is None or bias.const_value is None or bias.const_value.shape.rank() != 1:
        return None
    readers = [user for user, _ in node.outputs[0].uses()]
    split = readers[0] if len(readers) == 1 and readers[0].op_type == "Split" else None
    if split is not None and not _equal_parts(split):
        return None
    return _Biased(node, product, bias.const_value.numpy(), split)


def _equal_parts(split: ir.Node) -> bool:
    sizes = split.inputs[1] if len(split.inputs) > 1 else None
    if sizes is None:
        return True
    return sizes.const_value is not None and len(set(sizes.const_value.numpy().tolist())) == 1


def _fold(graph: ir.Graph, node: ir.Node, source: dict[ir.Value, _Biased]) -> None:
    values = [value for value in node.inputs if value is not None]
    biases = [source[value].bias_of(value) for value in values]
    # What was split stays split, before the bias; what was a sum is read as the product.
    raw = [source[value].product if source[value].split is None else value for value in values]
    bias = _initializer(graph, f"{node.outputs[0].name}.bias", np.concatenate(biases))
    _replace_attention(graph, node, [*raw, bias])


def _replace_attention(graph: ir.Graph, node: ir.Node, inputs: Sequence[ir.Value]) -> None:
    new = ir.node(_ATTENTION, inputs, node.attributes, domain=node.domain, num_outputs=1, name=node.name)
    old = node.outputs[0]
    new.outputs[0].name, new.outputs[0].type, new.outputs[0].shape = old.name, old.type, old.shape
    graph.insert_before(node, new)
    ir.convenience.replace_all_uses_with(old, new.outputs[0], replace_graph_outputs=True)
    graph.remove(node, safe=True)


def _initializer(graph: ir.Graph, name: str, array: Floats) -> ir.Value:
    value = ir.Value(name=name, const_value=ir.tensor(np.ascontiguousarray(array), name=name))
    value.type, value.shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape(array.shape)
    graph.register_initializer(value)
    return value


def unfold_attention_bias(model: ir.Model) -> int:
    """Undo `fold_attention_bias`, in place; return how many nodes gave up a bias.

    For OpenVINO, which adds a bias within the product before it, and would make three sums and three
    sortings of it here.
    """
    graph = model.graph
    attentions = [node for node in graph if node.op_type == _ATTENTION and len(node.inputs) == 4]
    parts: dict[ir.Value, Floats] = {}
    for node in attentions:
        bias = node.inputs[3]
        values = [value for value in node.inputs[:3] if value is not None]
        if bias is None or bias.const_value is None or len(values) < 3:
            continue
        parts |= dict(zip(values, np.split(bias.const_value.numpy(), 3), strict=True))
        _replace_attention(graph, node, values)
        if not bias.uses():
            del graph.initializers[str(bias.name)]
    for value in list(parts):
        source = value.producer()
        if value not in parts or source is None:
            continue
        split = source if source.op_type == "Split" else None
        biases = [parts.pop(one) for one in (split.outputs if split is not None else [value])]
        _add_bias(graph, split.inputs[0] if split is not None else value, np.concatenate(biases))
    return len(attentions)


def _add_bias(graph: ir.Graph, value: ir.Value | None, bias: Floats) -> None:
    """Let all readers of a value read its sum with the bias."""
    source = None if value is None else value.producer()
    if value is None or source is None:
        return
    readers = list(value.uses())
    add = ir.node("Add", [value, _initializer(graph, f"{value.name}.bias", bias)])
    add.outputs[0].name = f"{value.name}.sum"
    add.outputs[0].type, add.outputs[0].shape = value.type, value.shape
    graph.insert_after(source, add)
    for user, at in readers:
        user.replace_input_with(at, add.outputs[0])
