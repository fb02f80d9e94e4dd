"""The engine's races are fair: the bare products are those of the graph, and peers answer what ours answers."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs torch: pip install --group test")
pytest.importorskip("open_clip", reason="needs open_clip: pip install --group test")

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """The benchmark's models, made in a folder of the test; `rows` and `surgery_cost` can be imported beside."""
    sys.path.insert(0, str(ROOT))
    try:
        module = importlib.import_module("benchmarks.engine.models")
        module.keep_in(tmp_path_factory.mktemp("engine"))
        yield module
    finally:
        sys.path.remove(str(ROOT))


@pytest.mark.parametrize("batch", [1, 3])
def test_bare_products_are_all_that_the_graph_multiplies_but_attention(
    models: ModuleType, tiny_config: Path, batch: int
) -> None:
    """Counted from what ONNX Runtime ran; attention's own products have no weights."""
    count = importlib.import_module("benchmarks.surgery_cost").multiplications
    floor = importlib.import_module("benchmarks.engine.products")
    model = str(tiny_config)
    artifact = models.artifact(model)
    pixels, _ = models.inputs(model, batch)
    spec = artifact.manifest.model
    tokens = spec.grid_hw[0] * spec.grid_hw[1] + 1
    attention = batch * 2 * spec.width * tokens * ((spec.layers - 1) * tokens + 1)
    products = sum(m * k * n for m, k, n in floor.product_shapes(model, batch))

    assert count(artifact.path / "embed.onnx", {"pixels": pixels}) == products + attention
    assert floor.giga_flop(model, batch) == pytest.approx(2e-9 * products)


def test_bare_products_give_the_last_shape(models: ModuleType, tiny_config: Path) -> None:
    """In ONNX Runtime and on OpenVINO, with numbers that neither overflow nor vanish."""
    pytest.importorskip("openvino", reason="needs openvino: pip install 'clipfast[openvino]'")
    products = importlib.import_module("benchmarks.engine.products")
    model = str(tiny_config)
    m, _, n = products.product_shapes(model, 1)[-1]
    for run in (products.ort_products(model, 1), products.openvino_products(model, 1)):
        assert run().shape == (m, n)
        assert np.isfinite(run()).all()
        assert np.abs(run()).max() > 1e-3


def test_the_plain_graph_answers_what_ours_answers(models: ModuleType, tiny_config: Path) -> None:
    """open_clip in PyTorch, its default export, and ours."""
    model = str(tiny_config)
    pixels, tensor = models.inputs(model, 2)
    ours = models.clip(model).encode_images(pixels)

    assert np.abs(models.eager(model, tensor)() - ours).max() < 1e-4
    assert np.abs(models.by_ort(models.plain_graph(model), tensor)() - ours).max() < 1e-4


def test_every_row_has_a_name_of_its_own(models: ModuleType) -> None:
    """Nothing is made before a row's turn comes."""
    rows = importlib.import_module("benchmarks.engine.rows").rows(("a", "b"))

    assert {"embed-a", "bf16-b", "int8-a", "cold-b", "jpeg-1080p-exact"} <= set(rows)
