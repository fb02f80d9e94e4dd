"""Parts of weights are cut when a graph is exported, and no answer changes by a bit."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs torch: pip install --group test")

import onnx_ir as ir

from clipfast.artifact import Artifact
from clipfast.export.int8_graphs import products
from clipfast.export.weight_parts import cut_weights, sliced, whole_name
from clipfast.runtime.session import open_packaged


def _graph(*, also_whole: bool = False) -> ir.Model:
    """Two products with parts of one weight, and if asked for one with the whole."""
    weight = ir.tensor(np.random.default_rng(0).standard_normal((8, 24)).astype(np.float32), name="qkv.weight")
    bounds = {
        name: ir.tensor(np.array([value]), name=name) for name, value in (("b", 0), ("m", 8), ("e", 24), ("a", 1))
    }
    held = {
        tensor.name: ir.Value(
            name=tensor.name,
            const_value=tensor,
            type=ir.TensorType(tensor.dtype),
            shape=ir.Shape(list(tensor.shape.numpy())),
        )
        for tensor in (weight, *bounds.values())
    }
    x = ir.Value(name="x", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape([3, 8]))
    whole = held["qkv.weight"]
    cuts = [ir.node("Slice", [whole, held[begin], held[end], held["a"]]) for begin, end in (("b", "m"), ("m", "e"))]
    for cut, name in zip(cuts, ("slice_0", "slice_1"), strict=True):
        cut.outputs[0].name, cut.outputs[0].type = name, ir.TensorType(ir.DataType.FLOAT)
    used = [cut.outputs[0] for cut in cuts] + ([whole] if also_whole else [])
    products = [ir.node("MatMul", [x, value]) for value in used]
    for number, (node, width) in enumerate(zip(products, (8, 16, 24), strict=False)):
        out = node.outputs[0]
        out.name, out.type, out.shape = f"y{number}", ir.TensorType(ir.DataType.FLOAT), ir.Shape([3, width])
    graph = ir.Graph(
        [x],
        [node.outputs[0] for node in products],
        nodes=[*cuts, *products],
        initializers=list(held.values()),
        opset_imports={"": 20},
    )
    return ir.Model(graph, ir_version=10)


def _run(model: ir.Model, path: Path) -> dict[str, np.ndarray]:
    ir.save(model, path)
    session = open_packaged(path, [str(value.name) for value in model.graph.outputs], threads=1)
    return session.run({"x": np.random.default_rng(1).standard_normal((3, 8)).astype(np.float32)})


def _stored(model: ir.Model) -> dict[str, np.ndarray]:
    tensors = {name: value.const_value for name, value in model.graph.initializers.items()}
    return {name: tensor.numpy() for name, tensor in tensors.items() if tensor is not None}


@pytest.mark.parametrize("also_whole", [False, True])
def test_parts_become_weights_of_their_own(tmp_path: Path, *, also_whole: bool) -> None:
    """The whole stays where something else reads it, and the numbers that said where to cut go."""
    before = _run(_graph(also_whole=also_whole), tmp_path / "before.onnx")
    model = _graph(also_whole=also_whole)

    assert cut_weights(model) == 2

    assert {node.op_type for node in model.graph} == {"MatMul"}
    parts = {"qkv.weight.part.slice_0": (8, 8), "qkv.weight.part.slice_1": (8, 16)}
    wanted = parts | ({"qkv.weight": (8, 24)} if also_whole else {})
    assert {name: array.shape for name, array in _stored(model).items()} == wanted
    assert {whole_name(name) for name in wanted} == {"qkv.weight"}
    after = _run(model, tmp_path / "after.onnx")
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert cut_weights(model) == 0


def test_what_is_computed_is_not_cut() -> None:
    """A slice of an input, or of a weight in compact storage, stays."""
    model = _graph()
    first = next(node for node in model.graph if node.op_type == "Slice")
    first.replace_input_with(0, model.graph.inputs[0])

    assert cut_weights(model) == 1
    assert Counter(node.op_type for node in model.graph)["Slice"] == 1


@pytest.mark.parametrize("given", [2, 3, 4])
def test_slices_are_those_of_onnx(given: int, tmp_path: Path) -> None:
    """With and without axes and steps, negative and past the end, against ONNX Runtime."""
    array = np.arange(60, dtype=np.float32).reshape(5, 12)
    bounds = [np.array([1, -9]), np.array([99, -1]), np.array([0, -1]), np.array([2, 3])][:given]
    inputs = [
        ir.Value(name=f"i{n}", type=ir.TensorType(ir.DataType.from_numpy(a.dtype)), shape=ir.Shape(a.shape))
        for n, a in enumerate([array, *bounds])
    ]
    node = ir.node("Slice", inputs)
    node.outputs[0].name, node.outputs[0].type = "y", ir.TensorType(ir.DataType.FLOAT)
    ir.save(
        ir.Model(ir.Graph(inputs, node.outputs, nodes=[node], opset_imports={"": 20}), ir_version=10),
        tmp_path / "s.onnx",
    )
    feeds = {f"i{n}": a for n, a in enumerate([array, *bounds])}

    assert np.array_equal(sliced(array, bounds), open_packaged(tmp_path / "s.onnx", ["y"], threads=1).run(feeds)["y"])


@pytest.mark.torch
def test_an_exported_embedding_reads_no_part_of_a_weight(tiny_artifact: Artifact) -> None:
    """The last block's query of one token, and keys and values of all, are weights; int8 still knows whose they are."""
    paths = [tiny_artifact.path / f"{head}.onnx" for head in ("embed", "dense")]
    embed = ir.load(paths[0]).graph
    layers, width = tiny_artifact.manifest.model.layers, tiny_artifact.manifest.model.width

    assert not [n for n in embed if n.op_type == "Slice" and n.inputs[0] is not None and n.inputs[0].const_value]
    ours, theirs = (products(ir.load(path).graph) for path in paths)
    parts = [product for product in ours if product.place == f"blocks.{layers - 1}.qkv"]
    assert sorted(part.weight.shape for part in parts) == [(width, width), (width, 2 * width)]
    assert all(part.norm is not None for part in parts)
    assert {product.place for product in ours} == {product.place for product in theirs}
