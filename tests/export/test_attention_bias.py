"""Biases move into the attention nodes only where nothing else reads the sums, and no answer changes by a bit."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from clipfast.export.attention_bias import fold_attention_bias, unfold_attention_bias
from clipfast.runtime.session import open_packaged

WIDTH, TOKENS = 16, 6


def _graph(*, also_read: str = "") -> ir.Model:
    """Attention of one product's thirds, and of its values with themselves; `also_read` names a further output."""
    rng = np.random.default_rng(0)
    weight = ir.tensor(rng.standard_normal((WIDTH, 3 * WIDTH)).astype(np.float32), name="weight")
    bias = ir.tensor(rng.standard_normal(3 * WIDTH).astype(np.float32), name="bias")
    constants = [
        ir.Value(name=t.name, const_value=t, type=ir.TensorType(t.dtype), shape=ir.Shape(list(t.shape.numpy())))
        for t in (weight, bias)
    ]
    x = ir.Value(name="x", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape([1, TOKENS, WIDTH]))
    product = ir.node("MatMul", [x, constants[0]])
    total = ir.node("Add", [product.outputs[0], constants[1]])
    parts = ir.node("Split", [total.outputs[0]], {"axis": -1, "num_outputs": 3}, num_outputs=3)
    q, k, v = parts.outputs
    heads = {"num_heads": 4, "scale": 0.5}
    attentions = [
        ir.node("MultiHeadAttention", inputs, heads, domain="com.microsoft") for inputs in ((q, k, v), (v, v, v))
    ]
    outputs = [node.outputs[0] for node in attentions]
    for name, value in zip(("ordinary", "values"), outputs, strict=True):
        value.name = name
    if also_read:
        v.name = also_read
        outputs.append(v)
    for value in outputs:
        value.type, value.shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape([1, TOKENS, WIDTH])
    graph = ir.Graph(
        [x],
        outputs,
        nodes=[product, total, parts, *attentions],
        initializers=constants,
        opset_imports={"": 20, "com.microsoft": 1},
    )
    return ir.Model(graph, ir_version=10)


def _run(model: ir.Model, path: Path) -> dict[str, np.ndarray]:
    ir.save(model, path)
    session = open_packaged(path, [str(value.name) for value in model.graph.outputs], threads=1)
    return session.run({"x": np.random.default_rng(1).standard_normal((1, TOKENS, WIDTH)).astype(np.float32)})


def test_both_attentions_take_their_own_biases(tmp_path: Path) -> None:
    """The values' bias is given three times to the attention of the values."""
    before = _run(_graph(), tmp_path / "before.onnx")
    model = _graph()

    folded = fold_attention_bias(model)

    assert folded == 2
    assert "Add" not in Counter(node.op_type for node in model.graph)
    assert "bias" not in model.graph.initializers
    assert Counter(node.op_type for node in model.graph) == {"MatMul": 1, "Split": 1, "MultiHeadAttention": 2}
    after = _run(model, tmp_path / "after.onnx")
    for name in ("ordinary", "values"):
        assert np.array_equal(after[name], before[name])

    assert unfold_attention_bias(model) == 2
    again = _run(model, tmp_path / "again.onnx")
    assert Counter(node.op_type for node in model.graph)["Add"] == 1  # before the Split, where it was
    assert all(np.array_equal(again[name], before[name]) for name in before)


def test_what_something_else_reads_stays(tmp_path: Path) -> None:
    """The values leave the graph too, with their bias: nothing may change."""
    model = _graph(also_read="v")

    folded = fold_attention_bias(model)

    assert folded == 0
    assert np.array_equal(
        _run(model, tmp_path / "after.onnx")["v"], _run(_graph(also_read="v"), tmp_path / "b.onnx")["v"]
    )


def test_an_attention_with_an_input_of_another_kind_keeps_the_sums() -> None:
    """One attention reads values without a bias of its own: the sums stay for both that share them."""
    model = _graph()
    second = next(node for node in model.graph if node.outputs[0].name == "values")
    second.replace_input_with(0, model.graph.inputs[0])

    assert fold_attention_bias(model) == 0
    assert Counter(node.op_type for node in model.graph)["Add"] == 1


@pytest.mark.parametrize("head", ["embed", "dense"])
def test_a_shipped_graph_gives_the_same_bits(head: str, tmp_path: Path) -> None:
    """All of mini's attentions that can be folded."""
    folder = Path(__file__).resolve().parents[2] / "clipfast" / "models" / "mini"
    model = ir.load(folder / f"{head}.onnx")
    outputs = [str(value.name) for value in model.graph.outputs]
    pixels = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), np.uint8)
    feeds = {"pixels": pixels} | ({"alpha": np.asarray(0.5, np.float32)} if head == "dense" else {})
    before = open_packaged(folder / f"{head}.onnx", outputs, threads=1).run(feeds)

    assert fold_attention_bias(model) > 0

    shutil.copy(folder / "vision.weights", tmp_path)
    ir.save(model, tmp_path / "folded.onnx")
    after = open_packaged(tmp_path / "folded.onnx", outputs, threads=1).run(feeds)
    assert all(np.array_equal(before[name], after[name]) for name in outputs)

    was = Counter(node.op_type for node in ir.load(folder / f"{head}.onnx").graph)
    assert unfold_attention_bias(model) > 0
    assert Counter(node.op_type for node in model.graph) == was
    ir.save(model, tmp_path / "unfolded.onnx")
    again = open_packaged(tmp_path / "unfolded.onnx", outputs, threads=1).run(feeds)
    assert all(np.array_equal(before[name], again[name]) for name in outputs)
