"""Graphs for GPU providers, in half and full precision: what they hold, what they give, what the checks notice."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clipfast.artifact import Artifact, Parity, Peak, head_of
from clipfast.errors import DataError, ParityError
from clipfast.export import device_checks, parity
from clipfast.export.device_checks import HalfSession, check_graph, largest_value, require_safe
from clipfast.export.device_graphs import DEVICE_FLAVOURS, DeviceFlavour, DeviceTextTower, plan_device_graphs
from clipfast.export.device_proof import device_kinds, kind_of
from clipfast.export.graphs import TextTower
from clipfast.export.options import PRESET_NAMES, ExportOptions
from clipfast.export.pipeline import export, load_source
from clipfast.export.plan import plan_graphs
from clipfast.export.weights import LoadedModel
from clipfast.runtime.clip import Clip
from clipfast.runtime.parity import compare, require, verify

torch = pytest.importorskip("torch", reason="needs torch: pip install --group test")
pytest.importorskip("open_clip", reason="needs open_clip: pip install --group test")
onnx = pytest.importorskip("onnx", reason="needs onnx: pip install --group test")
pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def full(tiny_config: Path, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """The same in fp32 for TensorRT."""
    options = ExportOptions(str(tiny_config), engine="tensorrt", heads=("embed", "dense", "text"))
    return export(options, tmp_path_factory.mktemp("full") / "tiny")


@pytest.fixture(scope="module")
def source(tiny_config: Path) -> LoadedModel:
    """The weights alone."""
    return load_source(ExportOptions(str(tiny_config)))


def _device_files(artifact: Artifact) -> list[tuple[Path, DeviceFlavour]]:
    return [
        (artifact.path / spec.files[0], spec.flavour)
        for spec in artifact.manifest.graphs.values()
        if spec.flavour != "fused"
    ]


def test_every_head_is_there_for_both_providers(half: Artifact) -> None:
    """Names say precision and flavour; the CPU's graphs are what they were."""
    heads = ("embed", "dense", "text", "patches", "joint", "tokens")
    expected = {*heads, *(f"{head}.fp16.{flavour}" for head in heads for flavour in DEVICE_FLAVOURS)}

    assert set(half.manifest.graphs) == expected
    assert half.manifest.heads == heads
    assert {half.manifest.graphs[key].precision for key in expected - set(heads)} == {"fp16"}


def test_weights_are_stored_once_and_in_half(half: Artifact) -> None:
    """Both flavours share a file of about half the size."""
    graphs, files = half.manifest.graphs, half.manifest.files

    assert graphs["embed.fp16.cuda"].files[1:] == graphs["joint.fp16.tensorrt"].files[1:] == ("vision.fp16.weights",)
    assert files["vision.fp16.weights"].bytes < 0.6 * files["vision.weights"].bytes
    assert files["text.fp16.weights"].bytes < 0.6 * files["text.weights"].bytes


def test_files_pass_the_checks_at_every_batch(half: Artifact, full: Artifact) -> None:
    """ONNX's own checker, complete shapes, weights in place, only operations that the engines have."""
    files = [*_device_files(half), *_device_files(full)]
    for path, flavour in files:
        check_graph(path, flavour, (1, 8, 32))

    assert len(files) == 15


def test_tensorrt_graphs_hold_plain_operations_and_typed_halves(half: Artifact) -> None:
    """No operation outside ONNX's own domain, norms in fp32, products in fp16, fp32 and integers at the ends."""
    for path, flavour in _device_files(half):
        model = onnx.shape_inference.infer_shapes(onnx.load(str(path), load_external_data=False))
        types = {v.name: v.type.tensor_type.elem_type for v in (*model.graph.value_info, *model.graph.input)}
        types |= {tensor.name: tensor.data_type for tensor in model.graph.initializer}
        ends = {v.type.tensor_type.elem_type for v in (*model.graph.input, *model.graph.output)}

        assert ends <= {onnx.TensorProto.FLOAT, onnx.TensorProto.UINT8, onnx.TensorProto.INT64}
        assert not {node.op_type for node in model.graph.node} & {"Shape", "Expand", "Pad", "Equal", "ReduceMax"}
        if flavour == "tensorrt":
            assert {node.domain for node in model.graph.node} == {""}
            assert model.opset_import[0].version >= 17
            norms = {
                types[name] for node in model.graph.node if node.op_type == "LayerNormalization" for name in node.input
            }
            products = {
                types[node.input[1]] for node in model.graph.node if node.op_type == "MatMul" and node.input[1] in types
            }
            assert norms == {onnx.TensorProto.FLOAT}
            assert onnx.TensorProto.FLOAT16 in products


def test_the_gate_of_fp16_is_recorded(half: Artifact) -> None:
    """Every output at both batches, from PyTorch in fp16; class tokens above 0.999, others above 0.995."""
    rows = [row for row in half.manifest.parity if ".fp16." in row.graph]
    outputs = {(key, o) for key, spec in half.manifest.graphs.items() if spec.precision == "fp16" for o in spec.outputs}

    assert {(row.graph, row.output, row.batch) for row in rows} == {(k, o, b) for k, o in outputs for b in (1, 5)}
    assert min(row.min_cosine for row in rows if row.output == "embedding") > 0.9999
    assert min(row.min_cosine for row in rows) > 0.999
    assert max(row.max_abs_diff for row in rows) > 1e-4  # it is fp16 that was measured, not fp32


def test_the_largest_values_are_recorded_and_small_enough(half: Artifact) -> None:
    """One row a head, with the place."""
    peaks = half.manifest.peaks

    assert [peak.head for peak in peaks] == list(half.manifest.heads)
    assert all(1 < peak.largest < device_checks.LARGEST_SAFE and peak.where for peak in peaks)


def test_the_cpu_gives_what_it_gave(half: Artifact) -> None:
    """GPU graphs beside them change nothing for the CPU: Clip, warm-up, verification."""
    with Clip.load(half.path, threads=1) as clip:
        clip.warm_up()
        assert clip.encode_images(parity.sample_pixels((64, 64), 2, seed=0)).shape == (2, 48)
    assert {row.graph for row in verify(half)} == set(half.manifest.heads)


@pytest.mark.parametrize("flavour", DEVICE_FLAVOURS)
def test_fp32_device_graphs_are_the_model(source: LoadedModel, tiny_config: Path, flavour: DeviceFlavour) -> None:
    """Moving the cast, centring pixels and taking the end of text by arithmetic changes nothing but roundings."""
    options = ExportOptions(str(tiny_config), heads=("dense", "text", "patches"))
    plans = plan_device_graphs(source, options, flavour, "fp32", attention="plain")
    ordinary = plan_graphs(source, options, flavour="plain")
    feeds = _feeds(3)
    for head, plan in plans.items():
        got, wanted = HalfSession(plan).run(feeds), HalfSession(ordinary[head]).run(feeds | {"alpha": np.float32(0.3)})
        for output, value in wanted.items():
            assert compare(head, output, got[output], value).max_abs_diff < 5e-6


def _feeds(batch: int) -> dict[str, Any]:
    return {
        "pixels": parity.sample_pixels((64, 64), batch, seed=7),
        "alpha": np.full((batch, 1), 0.3, np.float32),
        "ids": parity.sample_ids(77, 49408, batch, seed=7),
    }


def test_one_alpha_a_row_blends_each_image_for_itself(source: LoadedModel, tiny_config: Path) -> None:
    """A server may put two requests with different shares into one batch."""
    plan = plan_device_graphs(
        source, ExportOptions(str(tiny_config), heads=("dense",)), "cuda", "fp32", attention="plain"
    )
    feeds = _feeds(2) | {"alpha": np.array([[1.0], [0.0]], np.float32)}
    out = HalfSession(plan["dense"]).run(feeds)

    assert np.abs(out["mixed"][0] - out["qk"][0]).max() < 1e-5
    assert np.abs(out["mixed"][1] - out["vv"][1]).max() < 1e-5


def test_the_first_of_equal_end_tokens_is_taken(source: LoadedModel) -> None:
    """As torch's argmax does; an engine may break ties as it likes."""
    tower = DeviceTextTower(source, flavour="tensorrt", precision="fp32")
    ids = torch.zeros(2, 77, dtype=torch.int64)
    ids[0, :6] = torch.tensor([49406, 5, 49407, 5, 49407, 3])
    ids[1, 0] = 7

    assert tower._end_of_text(ids).argmax(dim=-1).tolist() == [2, 0]
    assert tower._end_of_text(ids).sum(dim=-1).tolist() == [1, 1]
    expected = TextTower(source.model, quick_gelu=False, flavour="plain")(ids)
    assert (tower(ids) - expected).abs().max() < 1e-5


def _with_outliers(source: LoadedModel, size: float, *, rows: float = 1.0) -> None:
    """Let two channels of the residual stream carry far more than the others, as trained ViTs do.

    Trained models have them as constants from an early block on (Sun et al. 2024, Massive Activations); `rows` also
    makes the weights that write those channels larger.
    """
    blocks = source.model.visual.transformer.resblocks
    with torch.no_grad():
        blocks[1].mlp.c_proj.bias[3] += size
        blocks[1].mlp.c_proj.bias[40] -= size
        for block in blocks:
            for layer in (block.attn.out_proj, block.mlp.c_proj):
                layer.weight[[3, 40]] *= rows


@pytest.mark.parametrize("flavour", DEVICE_FLAVOURS)
def test_fp16_keeps_its_gate_with_outlier_channels(tiny_config: Path, flavour: DeviceFlavour) -> None:
    """Two channels fifty times the others' size, judged by PyTorch in fp16 against the plain modules in fp32."""
    options = ExportOptions(str(tiny_config), presets=PRESET_NAMES, class_attention=True)
    source = load_source(options)
    _with_outliers(source, 150.0, rows=8.0)
    ordinary = plan_graphs(source, options, flavour="plain")
    plans = plan_device_graphs(source, options, flavour, "fp16", attention="plain")
    feeds = _feeds(4)
    stream = HalfSession(ordinary["patches"]).run(feeds)
    sizes = np.abs(stream["block_5"]).mean(axis=(0, 1))
    assert sizes[[3, 40]].min() > 40 * np.median(sizes)  # there are outliers

    rows: list[Parity] = []
    for head, plan in plans.items():
        got, wanted = HalfSession(plan).run(feeds), HalfSession(ordinary[head]).run(feeds | {"alpha": np.float32(0.3)})
        rows += [compare(head, output, got[output], value) for output, value in wanted.items()]
    require(tuple(rows), "fp16")
    require_safe(largest_value(plan, feeds | {"alpha": np.float32(0.3)}, head) for head, plan in ordinary.items())


def test_a_model_beyond_the_range_of_fp16_is_refused(tiny_config: Path, tmp_path: Path) -> None:
    """The largest value, its place and what to do; nothing is written."""
    source = load_source(ExportOptions(str(tiny_config)))
    _with_outliers(source, 1e5)
    peak = largest_value(plan_graphs(source, ExportOptions(str(tiny_config)), "plain")["embed"], _feeds(2), "embed")

    assert peak.largest > 65_504
    with pytest.raises(ParityError, match=r"embed reaches .* at blocks\.\d.*--precision fp32"):
        require_safe([peak])
    with pytest.raises(ParityError, match="reaches nan"):
        require_safe([Peak(head="embed", where="x", largest=float("nan"))])


def test_the_gate_notices_a_wrong_half(source: LoadedModel, tiny_config: Path) -> None:
    """Scaled queries, as one slip in the types would do it, are outside the limits."""
    options = ExportOptions(str(tiny_config), heads=("embed",))
    plan = plan_device_graphs(source, options, "tensorrt", "fp16", attention="plain")["embed"]
    plan.module.tower.blocks[2].up.bias.data += 0.5
    wanted = HalfSession(plan_graphs(source, options, "plain")["embed"]).run(_feeds(2))
    got = HalfSession(plan).run(_feeds(2))

    with pytest.raises(ParityError, match="min cosine"):
        require((compare("embed", "embedding", got["embedding"], wanted["embedding"]),), "fp16")


def _break(path: Path, change: str) -> None:
    model = onnx.load(str(path), load_external_data=False)
    if change == "cut weights":
        file = path.parent / "vision.fp16.weights"
        file.write_bytes(file.read_bytes()[:-4096])
        return
    if change == "contrib op":
        model.graph.node[5].domain = "com.microsoft"
        model.graph.node[5].op_type = "QuickGelu"
        model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    elif change == "uint8 inside":
        node = next(node for node in model.graph.node if node.op_type == "Cast" and node.input[0] == "pixels")
        model.graph.node.insert(0, onnx.helper.make_node("Reshape", ["pixels", "same"], ["reshaped"]))
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([-1, 64, 64, 3]), "same"))
        node.input[0] = "reshaped"
    elif change == "unknown shape":
        model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = ""
        model.graph.input[0].type.tensor_type.shape.dim[1].ClearField("dim_value")
    elif change == "not valid":
        model.graph.node[0].input[0] = "nothing"
    path.write_bytes(model.SerializeToString())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("cut weights", r"needs [\d,]+ bytes of vision.fp16.weights"),
        ("contrib op", "holds QuickGelu, which tensorrt cannot run"),
        ("uint8 inside", "reads uint8 in Reshape"),
        ("unknown shape", "the shape of .* is unknown at batch 1|not valid ONNX"),
        ("not valid", "is not valid ONNX"),
    ],
)
def test_the_checks_notice(half: Artifact, tmp_path: Path, change: str, message: str) -> None:
    """Each thing that a check is there for."""
    for name in ("embed.fp16.tensorrt.onnx", "vision.fp16.weights"):
        (tmp_path / name).write_bytes((half.path / name).read_bytes())
    path = tmp_path / "embed.fp16.tensorrt.onnx"
    check_graph(path, "tensorrt", (1,))
    _break(path, change)

    with pytest.raises(ParityError, match=message):
        check_graph(path, "tensorrt", (1,))


def test_kinds_follow_what_was_asked() -> None:
    """fp16 alone for both providers; with an engine every precision, for it alone."""
    table: Mapping[tuple[tuple[str, ...], str], set[tuple[str, str]]] = {
        (("fp32",), "none"): set(),
        (("fp32", "fp16"), "none"): {("cuda", "fp16"), ("tensorrt", "fp16")},
        (("fp16",), "cuda"): {("cuda", "fp16")},
        (("fp32", "fp16"), "tensorrt"): {("tensorrt", "fp32"), ("tensorrt", "fp16")},
    }
    for (precisions, engine), expected in table.items():
        options = ExportOptions("ViT-B-32", precisions=precisions, engine=engine)  # type: ignore[arg-type]  # wrong on purpose
        assert set(device_kinds(options)) == expected
    for key in ("embed", "embed.cuda", "embed.fp16.tensorrt"):
        assert head_of(key) == "embed"
        assert ".".join(["embed", *(k for k in kind_of(key) if k not in {"fp32", "fused"})]) == key
    with pytest.raises(DataError, match="engine must be"):
        ExportOptions("ViT-B-32", engine="rocm")  # type: ignore[arg-type]  # wrong on purpose
