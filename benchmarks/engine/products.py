"""The floor of a race: the products with weights alone, in a chain, by the libraries that compute the models."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.engine.models import THREADS, Array, artifact, folder, torch_model
from clipfast.runtime.openvino import open_openvino
from clipfast.runtime.session import Session, open_packaged

__all__ = ["giga_flop", "openvino_products", "ort_products", "product_shapes"]


def product_shapes(model: str, batch: int) -> list[tuple[int, int, int]]:
    """(m, k, n) of every product with a weight in the `embed` graph: what remains if all else were free."""
    spec = artifact(model).manifest.model
    tokens, c, side = spec.grid_hw[0] * spec.grid_hw[1] + 1, spec.width, spec.patch_size
    hidden = _mlp_width(model)
    block = [(tokens, c, 3 * c), (tokens, c, c), (tokens, c, hidden), (tokens, hidden, c)]
    last = [(tokens, c, 2 * c), (1, c, c), (1, c, c), (1, c, hidden), (1, hidden, c), (1, c, spec.embed_dim)]
    one = [(tokens - 1, 3 * side * side, c), *block * (spec.layers - 1), *last]
    return [(batch * m, k, n) for m, k, n in one]


def _mlp_width(model: str) -> int:
    """Columns of the first MLP product."""
    width: int = torch_model(model).visual.transformer.resblocks[0].mlp.c_fc.weight.shape[0]
    return width


def giga_flop(model: str, batch: int) -> float:
    """Of those products, in units of 10^9, a multiply-add counting two."""
    return sum(2.0 * m * k * n for m, k, n in product_shapes(model, batch)) / 1e9


@functools.cache
def _products_graph(model: str, batch: int) -> tuple[Path, list[str]]:
    """The products as a graph, and its outputs: a chain, so that each waits for the one before.

    Every product has its own weight, which streams from memory. Where the product before gave more than the next one
    takes, as that of queries, keys and values does, the next takes a corner of it.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    nodes, stored = [], [numpy_helper.from_array(np.zeros(2, np.int64), "corner")]
    before: tuple[str, tuple[int, int]] | None = None
    for at, (m, k, n) in enumerate(product_shapes(model, batch)):
        stored.append(numpy_helper.from_array(rng.standard_normal((k, n), np.float32) / np.float32(k**0.5), f"w{at}"))
        if before is None or before[1] != (m, k):
            stored.append(numpy_helper.from_array(np.array([m, k], np.int64), f"shape{at}"))
            if before is not None and before[1][0] >= m and before[1][1] >= k:
                nodes.append(helper.make_node("Slice", [before[0], "corner", f"shape{at}"], [f"x{at}"]))
            else:
                nodes.append(helper.make_node("Expand", ["seed", f"shape{at}"], [f"x{at}"]))
            before = (f"x{at}", (m, k))
        nodes.append(helper.make_node("MatMul", [before[0], f"w{at}"], [f"y{at}"]))
        before = (f"y{at}", (m, n))
    outputs = [node.output[0] for node in nodes if node.op_type == "MatMul"]
    used = {name for node in nodes for name in node.input}
    ends = [name for name in outputs if name not in used]
    graph = helper.make_graph(
        nodes,
        "products",
        [helper.make_tensor_value_info("seed", TensorProto.FLOAT, [1, 1])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ends],
        stored,
    )
    path = folder() / f"{Path(model).stem}.products.onnx"
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(made, str(path), save_as_external_data=True, location=f"{path.name}.data")
    return path, ends


def ort_products(model: str, batch: int) -> Callable[[], Array]:
    """The products by ONNX Runtime's own library."""
    path, ends = _products_graph(model, batch)
    return _last(open_packaged(path, ends, threads=THREADS), ends)


def openvino_products(model: str, batch: int) -> Callable[[], Array]:
    """The products by OpenVINO's choice of libraries."""
    path, ends = _products_graph(model, batch)
    return _last(open_openvino(path, ends, precision="fp32", threads=THREADS), ends)


def _last(session: Session, ends: list[str]) -> Callable[[], Array]:
    feeds = {"seed": np.ones((1, 1), np.float32)}

    def run() -> Array:
        return session.run(feeds)[ends[-1]]

    return run
