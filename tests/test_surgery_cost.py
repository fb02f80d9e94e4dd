"""The benchmark of Surgery's cost counts what is multiplied; the counts are known in closed form."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from clipfast.runtime.clip import Clip

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def cost() -> ModuleType:
    """The script, which is no part of the package."""
    sys.path.insert(0, str(ROOT))
    try:
        spec = importlib.util.spec_from_file_location("surgery_cost", ROOT / "benchmarks" / "surgery_cost.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(ROOT))
    return module


@pytest.mark.parametrize("batch", [1, 3])
def test_multiplications_are_those_of_the_architecture(mini: Clip, cost: ModuleType, batch: int) -> None:
    """embed: all blocks, the last for the class token only. dense: v-v attention in the last six besides, query-key
    attention of all tokens in the last, three streams projected, and the class token's attention row.
    """
    model, ratio = mini.manifest.model, json.loads(mini.manifest.source.config)["vision_cfg"]["mlp_ratio"]
    c, e, blocks, depth = model.width, model.embed_dim, model.layers, model.surgery_depth
    p = model.grid_hw[0] * model.grid_hw[1]
    n = p + 1
    hidden = int(ratio * c)
    patches = p * 3 * model.patch_size**2 * c
    block = 4 * n * c * c + 2 * n * n * c + 2 * n * c * hidden
    last = 2 * n * c * c + c * c + 2 * n * c + c * c + 2 * c * hidden
    embed = patches + (blocks - 1) * block + last + c * e
    value_value = 2 * n * n * c + n * c * c  # attention and output projection; v is there already
    pixels = np.zeros((batch, *mini.manifest.image.size_hw, 3), np.uint8)
    alpha = np.asarray(0.5, np.float32)
    folder = mini.artifact.path

    assert cost.multiplications(folder / "embed.onnx", {"pixels": pixels}) == batch * embed
    dense = cost.multiplications(folder / "dense.onnx", {"pixels": pixels, "alpha": alpha})
    least = (blocks - 1) * block + depth * (value_value - 3 * n * c) + patches + 3 * p * c * e
    assert batch * max(embed, least) < dense < batch * (embed + block + depth * value_value + 3 * p * c * e + 2 * n * c)


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        (("MatMul", [[2, 5, 4]], [[2, 5, 3]]), 2 * 5 * 3 * 4),  # a constant right side is not listed
        (("FusedMatMul", [[1, 3, 1, 64], [1, 3, 64, 9]], [[1, 3, 1, 9]]), 3 * 9 * 64),
        (("MultiHeadAttention", [[2, 1, 8], [2, 6, 8], [2, 6, 8]], [[2, 1, 8]]), 2 * 2 * 1 * 6 * 8),
        (("Conv", [[1, 3, 8, 8], [5, 3, 2, 2]], [[1, 5, 4, 4]]), 5 * 16 * 12),
        (("Add", [[2, 5, 4], [4]], [[2, 5, 4]]), 0),
    ],
)
def test_one_node(cost: ModuleType, node: tuple[str, list[list[int]], list[list[int]]], expected: int) -> None:
    """From its shapes."""
    kind, inputs, outputs = node

    assert cost.products_of(_profiled(kind, inputs, outputs)) == expected


@pytest.mark.parametrize(
    ("kind", "inputs", "outputs", "message"),
    [
        ("FusedMatMul", [[4, 5], [4, 6]], [[5, 6]], "transposed on the left"),
        ("GroupQueryAttention", [[1, 2, 3]], [[1, 2, 3]], "not counted"),
    ],
)
def test_what_cannot_be_counted_is_said(
    cost: ModuleType, kind: str, inputs: list[list[int]], outputs: list[list[int]], message: str
) -> None:
    """A ratio that leaves something out would be wrong without a word."""
    with pytest.raises(ValueError, match=message):
        cost.products_of(_profiled(kind, inputs, outputs))


def _profiled(kind: str, inputs: list[list[int]], outputs: list[list[int]]) -> dict[str, object]:
    return {
        "op_name": kind,
        "input_type_shape": [{"float": shape} for shape in inputs],
        "output_type_shape": [{"float": shape} for shape in outputs],
    }
