"""From a proven fp32 graph to one with int8 products: QuantizeLinear and DequantizeLinear around each MatMul.

ONNX Runtime turns the pattern into integer products when it opens the graph, and so does OpenVINO. Attention, norms,
GELU and the residual stream stay fp32. What a product is called is the name of its weight, such as
"blocks.3.qkv", which is the same in every head.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from clipfast.errors import ParityError
from clipfast.export.attention_bias import unfold_attention_bias
from clipfast.export.int8_numbers import ActivationScale, choose_activation, quantize_weight, smoothing
from clipfast.export.observed import Observed, merged
from clipfast.export.weight_parts import sliced, whole_name
from clipfast.types import Floats

__all__ = ["PATCHES", "Product", "Recipe", "make_recipe", "products", "quantized_graph"]

PATCHES = "patch_weight"  # its input is the uint8 pixels themselves, so only its weight is rounded
_LINEAR = ("qkv", "out", "up", "down")


@dataclass(frozen=True, slots=True, eq=False)
class Product:
    """One MatMul with a constant weight.

    Attributes:
        place: Name of the weight.
        node: The MatMul.
        weight: (c, out); a part of the columns where the graph takes a part.
        norm: The LayerNormalization that alone feeds it, if one does.
    """

    place: str
    node: ir.Node
    weight: Floats
    norm: ir.Node | None

    @property
    def input_name(self) -> str:
        """Name of the value that is multiplied."""
        value = self.node.inputs[0]
        return "" if value is None else str(value.name)


@dataclass(frozen=True, slots=True, eq=False)
class Recipe:
    """How every product is rounded.

    Attributes:
        factors: The smoothing of each place, (c,).
        scales: Of each graph, and of the name of each product's input, its scale.
    """

    factors: Mapping[str, Floats]
    scales: Mapping[str, Mapping[str, ActivationScale]]


def products(graph: ir.Graph) -> list[Product]:
    """Return the products that may become int8: patch projection, queries-keys-values, outputs, and both of the MLP.

    Raises:
        ParityError: A graph of this clipfast has none, so it was not made by it.
    """
    found = []
    for node in graph:
        if node.op_type != "MatMul" or node.inputs[0] is None or node.inputs[1] is None:
            continue
        source = _constant(node.inputs[1])
        if source is None:
            continue
        name, weight = source
        place = name.removesuffix(".stored").removesuffix(".weight").removeprefix("tower.")
        if place == PATCHES or place.rpartition(".")[2] in _LINEAR:
            found.append(Product(place, node, weight, _norm_before(node.inputs[0])))
    if not found:
        raise ParityError("The graph has no product with a constant weight. Export the model again.")
    return found


def make_recipe(seen: Mapping[str, Mapping[str, Observed]], graphs: Mapping[str, ir.Graph]) -> Recipe:
    """Choose smoothing for each place, from all graphs together, and scales for each product of each graph.

    Args:
        seen: Of each graph, what each product's input was.
        graphs: The fp32 graphs.
    """
    at: dict[str, list[tuple[str, Product]]] = {}
    for key, graph in graphs.items():
        for product in products(graph):
            if product.place != PATCHES:
                at.setdefault(product.place, []).append((key, product))
    factors: dict[str, Floats] = {}
    scales: dict[str, dict[str, ActivationScale]] = {key: {} for key in graphs}
    for place, users in at.items():
        widest = max((product.weight for _, product in users), key=lambda weight: weight.shape[1])
        everywhere = merged([seen[key][product.input_name] for key, product in users])
        # The same factors everywhere, so that all heads share one weight.
        smooth = all(product.norm is not None for _, product in users)
        factors[place] = smoothing(everywhere, widest) if smooth else np.ones(len(widest), np.float32)
        for key, product in users:
            name = product.input_name
            smoothed = product.weight * factors[place][:, None]
            scales[key][name] = choose_activation(seen[key][name], factors[place], smoothed)
    return Recipe(factors, scales)


def quantized_graph(path: Path, key: str, recipe: Recipe, *, kept: frozenset[str] = frozenset()) -> ir.Model:
    """Return a graph with all products in int8 but those of the places `kept`.

    Args:
        path: The fp32 graph.
        key: Its name in the recipe.
        recipe: From `make_recipe`.
        kept: Places that stay fp32.
    """
    model = ir.load(path)
    unfold_attention_bias(model)  # int8 runs on OpenVINO, if it can
    graph = model.graph
    smoothed: set[str] = set()
    for product in products(graph):
        if product.place in kept:
            continue
        if product.place == PATCHES:
            _quantize_patches(graph, product)
            continue
        factors = recipe.factors[product.place]
        if product.norm is not None and not np.all(factors == 1):
            _fold_into_norm(graph, product, factors, smoothed)
        name = product.input_name
        scale = recipe.scales[key][name]
        weight = _int8_weight(graph, product, product.weight * factors[:, None])
        for node in _parts(graph, product.node):
            node.replace_input_with(0, _quantize_input(graph, node, scale))
            node.replace_input_with(1, weight)
    _unpack_weights(graph)
    _drop_unused(graph)
    return model


def _constant(value: ir.Value) -> tuple[str, NDArray[Any]] | None:
    """Return name and content of a weight: an initialiser, one in compact storage, or a part of either.

    A part has the name of the whole.
    """
    if value.const_value is not None:
        return whole_name(str(value.name)), value.const_value.numpy()
    node = value.producer()
    if node is None or node.op_type not in {"Cast", "Mul", "Slice"} or node.inputs[0] is None:
        return None
    parts = [None if one is None else _constant(one) for one in node.inputs]
    if any(part is None for part in parts):
        return None
    name, arrays = parts[0][0], [part[1] for part in parts if part is not None]  # type: ignore[index]  # none is None
    if node.op_type == "Cast":
        return name, arrays[0].astype(np.float32)
    if node.op_type == "Mul":
        return name, arrays[0] * arrays[1]
    return name, sliced(arrays[0], arrays[1:])


def _norm_before(value: ir.Value) -> ir.Node | None:
    """Return the norm whose output goes into products of one weight and nowhere else, itself or cut to some tokens."""
    node = value.producer()
    while node is not None and node.op_type == "Slice":
        node = node.inputs[0].producer() if node.inputs[0] is not None else None
    if node is None or node.op_type != "LayerNormalization":
        return None
    names = {_weight_of(user) for user in _users(node)}
    return node if len(names) == 1 and None not in names else None


def _users(norm: ir.Node) -> list[ir.Node]:
    users: list[ir.Node] = []
    values = [norm.outputs[0]]
    while values:
        for node, _ in values.pop().uses():
            values.append(node.outputs[0]) if node.op_type == "Slice" else users.append(node)
    return users


def _weight_of(node: ir.Node) -> str | None:
    if node.op_type != "MatMul" or node.inputs[1] is None:
        return None
    found = _constant(node.inputs[1])
    return found[0] if found else None


def _fold_into_norm(graph: ir.Graph, product: Product, factors: Floats, done: set[str]) -> None:
    """Divide the norm's gain and shift by the factors, once a norm; norms may share the ones that hold them."""
    norm = product.norm
    if norm is None or str(norm.outputs[0].name) in done:
        return
    done.add(str(norm.outputs[0].name))
    for at, what in ((1, "gain"), (2, "shift")):
        value = norm.inputs[at]
        if value is None or value.const_value is None:
            raise ParityError(f"The norm before {product.place} has no constant {what}. Export the model again.")
        name = f"{norm.outputs[0].name}.{what}.smoothed"
        norm.replace_input_with(at, _initializer(graph, name, value.const_value.numpy() / factors))


def _parts(graph: ir.Graph, node: ir.Node) -> list[ir.Node]:
    """Return the product itself, or products of the parts where its rows are put together from several.

    OpenVINO moves the rounding of rows that are put together to before that, and then cannot read what it made
    (2026.4.1: "Input shape dimension equal ... cannot be broadcasted"). The weight, in int8, is small enough to be read
    twice.
    """
    rows = node.inputs[0].producer() if node.inputs[0] is not None else None
    if rows is None or rows.op_type != "Concat":
        return [node]
    made = [ir.node("MatMul", [part, node.inputs[1]]) for part in rows.inputs]
    for one, part in zip(made, rows.inputs, strict=True):
        one.outputs[0].name = f"{node.outputs[0].name}.{part.name if part is not None else ''}"
    together = ir.node("Concat", [one.outputs[0] for one in made], rows.attributes)
    old, new = node.outputs[0], together.outputs[0]
    new.type, new.shape = old.type, old.shape
    graph.insert_before(node, [*made, together])
    ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
    graph.remove(node, safe=True)
    return made


def _quantize_input(graph: ir.Graph, node: ir.Node, scale: ActivationScale) -> ir.Value:
    value = node.inputs[0]
    name = str(node.outputs[0].name)
    step = _initializer(graph, f"{name}.step", np.asarray(scale.scale, np.float32))
    zero = _initializer(graph, f"{name}.zero", np.asarray(scale.zero, np.uint8))
    there = ir.node("QuantizeLinear", [value, step, zero])
    back = ir.node("DequantizeLinear", [there.outputs[0], step, zero])
    for made, kind in ((there, ir.DataType.UINT8), (back, ir.DataType.FLOAT)):
        made.outputs[0].type = ir.TensorType(kind)
        made.outputs[0].shape = value.shape if value is not None else None
    graph.insert_before(node, [there, back])
    return back.outputs[0]


def _quantize_patches(graph: ir.Graph, product: Product) -> None:
    """Pixels are uint8 already: with scale 1 and zero point 0 nothing of them is lost."""
    cast = product.node.inputs[0].producer() if product.node.inputs[0] is not None else None
    if cast is None or cast.op_type != "Cast":
        return
    one = _initializer(graph, "pixels.step", np.asarray(1, np.float32))
    zero = _initializer(graph, "pixels.zero", np.asarray(0, np.uint8))
    back = ir.node("DequantizeLinear", [cast.inputs[0], one, zero])
    back.outputs[0].type, back.outputs[0].shape = ir.TensorType(ir.DataType.FLOAT), cast.outputs[0].shape
    graph.insert_before(product.node, [back])
    product.node.replace_input_with(0, back.outputs[0])
    product.node.replace_input_with(1, _int8_weight(graph, product, product.weight))


def _int8_weight(graph: ir.Graph, product: Product, weight: Floats) -> ir.Value:
    levels, scale = quantize_weight(weight)
    name = f"{product.place}.{product.node.outputs[0].name}"
    node = ir.node(
        "DequantizeLinear",
        [_initializer(graph, f"{name}.levels", levels), _initializer(graph, f"{name}.scale", scale)],
        {"axis": 1},
    )
    node.outputs[0].type, node.outputs[0].shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape(weight.shape)
    graph.insert_before(product.node, [node])
    return node.outputs[0]


def _initializer(graph: ir.Graph, name: str, array: NDArray[Any]) -> ir.Value:
    if name in graph.initializers:
        return graph.initializers[name]
    value = ir.Value(name=name, const_value=ir.tensor(np.ascontiguousarray(array), name=name))
    value.type, value.shape = ir.TensorType(ir.DataType.from_numpy(array.dtype)), ir.Shape(array.shape)
    graph.register_initializer(value)
    return value


def _unpack_weights(graph: ir.Graph) -> None:
    """Store weights that stay fp32 as fp32, which compact storage had as int8 levels and scales.

    OpenVINO would take them for weights to multiply in int8 where there is one row: embeddings had a cosine of .9975.
    """
    for node in list(graph):
        weight = node.inputs[1] if node.op_type == "MatMul" else None
        if weight is None or weight.const_value is not None:
            continue
        source = _constant(weight)
        if source is not None:
            node.replace_input_with(1, _initializer(graph, f"{weight.name}.fp32", source[1]))


def _drop_unused(graph: ir.Graph) -> None:
    """Remove what only the replaced products needed, the fp32 weights above all."""
    outputs = set(graph.outputs)
    for node in reversed(list(graph)):
        if not any(value in outputs or value.uses() for value in node.outputs):
            graph.remove(node, safe=True)
    for name, value in list(graph.initializers.items()):
        if not value.uses() and value not in outputs:
            del graph.initializers[name]
