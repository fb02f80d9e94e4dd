"""int8: exact folds, constant scales, a search that keeps what is sensitive, and a gate that refuses."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

pytest.importorskip("torch", reason="needs torch: pip install --group test")
pytest.importorskip("open_clip", reason="needs open_clip: pip install --group test")

import onnx_ir as ir

from clipfast.artifact import Artifact, Int8Figures
from clipfast.errors import ArtifactError, DataError
from clipfast.export import int8, int8_images, pipeline
from clipfast.export.int8_gate import LIMITS, reasons_against, same_neighbour
from clipfast.export.int8_graphs import PATCHES, Recipe, _drop_unused, products, quantized_graph
from clipfast.export.int8_numbers import ActivationScale, choose_activation, quantize_weight, smoothing
from clipfast.export.observed import Observed
from clipfast.export.options import ExportOptions
from clipfast.export.sample_inputs import sample_pixels
from clipfast.export.weights import load_model
from clipfast.runtime.clip import Clip
from clipfast.runtime.provider_options import OpenVinoOptions
from clipfast.runtime.request import require_int8
from clipfast.runtime.session import open_packaged

pytestmark = pytest.mark.torch


def _graph(path: Path) -> Any:
    return ir.load(path).graph


MINI = Path(__file__).resolve().parents[2] / "clipfast" / "models" / "mini"


@pytest.fixture(scope="module", autouse=True)
def few_images() -> object:
    """Small sets: these tests ask whether the machinery is right, not for figures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(int8_images, "_CALIBRATION", 16)
        patch.setattr(int8_images, "_SEARCH", 8)
        patch.setattr(int8_images, "_JUDGED", 40)
        patch.setattr(int8_images, "_SIZE", 96)
        patch.setattr(int8, "labelled_scenes", _few_scenes)
        yield


def _few_scenes(spec: object, grid_hw: object) -> object:
    return int8_images.labelled_scenes(spec, grid_hw, per_fabric=1, scenes=8)  # type: ignore[arg-type]  # a spec of the test


@pytest.fixture(scope="module")
def quantized(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """mini, whose weights are trained, with int8 twins of two heads."""
    folder = tmp_path_factory.mktemp("int8") / "mini"
    shutil.copytree(MINI, folder)
    artifact = Artifact.open(folder)
    graphs = {head: artifact.manifest.graphs[head] for head in ("embed", "dense", "text")}
    artifact.manifest = msgspec.structs.replace(artifact.manifest, graphs=graphs)
    int8.add_int8(artifact)
    artifact.write_manifest()
    return Artifact.open(folder)


def test_trained_weights_pass_the_gate(quantized: Artifact) -> None:
    """mini keeps its answers, with the figures in the manifest that a reader opens."""
    report = quantized.manifest.int8

    assert report is not None
    assert report.passed
    assert report.figures.class_cosine is not None
    assert report.figures.class_cosine > 0.999
    assert report.figures.map_auroc_loss is not None
    assert set(quantized.manifest.graphs) == {"embed", "dense", "text", "embed.int8", "dense.int8"}
    assert quantized.manifest.fingerprint() == Artifact.open(MINI).manifest.fingerprint()


def test_a_loaded_int8_model_is_int8_and_near_fp32(quantized: Artifact) -> None:
    """Answers differ from fp32, but little, on either engine; texts are those of fp32."""
    exact, rounded = (Clip.load(quantized.path, provider="cpu", precision=p, threads=1) for p in ("fp32", "int8"))
    chosen = Clip.load(quantized.path, precision="int8", threads=1)  # OpenVINO where it is installed
    pixels = sample_pixels((224, 224), 3, seed=5)
    a, b = exact.encode_images(pixels), rounded.encode_images(pixels)

    assert 1e-4 < np.abs(a - b).max() < 0.05
    texts = exact.encode_texts(["red denim fabric"])
    assert np.array_equal(texts, rounded.encode_texts(["red denim fabric"]))
    assert (chosen.encode_images(pixels) * b).sum(axis=1).min() > 0.99  # noise, which no scale was chosen for
    assert np.abs(chosen.encode_texts(["red denim fabric"]) - texts).max() < 1e-6
    assert rounded.encode_dense(pixels).vv.shape == exact.encode_dense(pixels).vv.shape


def test_an_embedding_does_not_depend_on_its_batch(quantized: Artifact) -> None:
    """Scales are constants: alone or beside a glaring picture, an image gives the same row."""
    clip = Clip.load(quantized.path, provider="cpu", precision="int8", threads=1)
    pixels = sample_pixels((224, 224), 4, seed=6)
    pixels[1:3], pixels[3] = 255, 0

    assert np.abs(clip.encode_images(pixels)[0] - clip.encode_images(pixels[:1])[0]).max() < 1e-6


def test_one_image_on_openvino_is_rounded_as_in_a_batch(quantized: Artifact) -> None:
    """Alone, in a batch, or beside a glaring picture: the same bits."""
    pytest.importorskip("openvino", reason="needs openvino: pip install 'clipfast[openvino]'")
    clip = Clip.load(quantized.path, provider="openvino", precision="int8", threads=1)
    pixels = int8_images.image_sets(quantized.manifest.image, None).judged[:9]
    exact = Clip.load(quantized.path, threads=1).encode_images(pixels)
    alone = np.concatenate([clip.encode_images(pixels[i : i + 1]) for i in range(9)])
    others = clip.encode_images(np.concatenate([pixels[:1], np.full_like(pixels[1:], 255)]))

    assert np.array_equal(clip.encode_images(pixels), alone)
    assert np.array_equal(others[0], alone[0])
    assert (alone * exact).sum(axis=1).min() > 0.999


def test_bf16_for_the_rest_runs_where_the_gate_passed_it(quantized: Artifact) -> None:
    """It is judged on its own, gives other numbers than fp32 for the rest, and is refused where nobody judged it."""
    openvino = pytest.importorskip("openvino", reason="needs openvino: pip install 'clipfast[openvino]'")
    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("needs a CPU with bf16")
    report = quantized.manifest.int8
    assert report is not None
    assert report.figures_bf16_rest is not None
    assert report.reasons_bf16_rest == ()
    assert report.figures_bf16_rest != report.figures_openvino
    halved = OpenVinoOptions(int8_rest="bf16")
    clip = Clip.load(quantized.path, provider=halved, precision="int8", threads=1)
    whole = Clip.load(quantized.path, provider="openvino", precision="int8", threads=1)
    pixels = int8_images.image_sets(quantized.manifest.image, None).judged[:6]
    rows, others = clip.encode_images(pixels), whole.encode_images(pixels)

    assert np.abs(rows - others).max() > 1e-4
    assert (rows * others).sum(axis=1).min() > 0.999
    assert np.array_equal(clip.encode_texts(["red denim"]), whole.encode_texts(["red denim"]))
    for change, reason in (
        ({"figures_bf16_rest": None}, "did not judge it; export again on a CPU with bf16"),
        ({"reasons_bf16_rest": ("loss is 0.02",)}, "gate refused it: loss is 0.02"),
    ):
        unjudged = Artifact(quantized.path, msgspec.structs.replace(quantized.manifest))
        unjudged.manifest = msgspec.structs.replace(unjudged.manifest, int8=msgspec.structs.replace(report, **change))
        with pytest.raises(ArtifactError, match=f"int8_rest='bf16', because .*{reason}"):
            require_int8(unjudged, halved)


def test_every_product_is_int8_with_one_weight_for_all_heads(quantized: Artifact) -> None:
    """Each matrix lies once in the file as int8, a column scale beside it; activations are uint8 and per tensor."""
    for head in ("embed", "dense"):
        graph = _graph(quantized.path / f"{head}.int8.onnx")
        backs = [node for node in graph if node.op_type == "DequantizeLinear"]
        kinds = {str(node.inputs[0].dtype) for node in backs}
        weights = [node for node in backs if node.inputs[0].const_value is not None]

        assert kinds == {"UINT8", "INT8"}
        assert len(weights) == len(products(_graph(MINI / f"{head}.onnx"))) >= 33
        assert all(node.inputs[1].shape == node.inputs[0].shape[1:] for node in weights)
    model = quantized.manifest.model
    matrices = model.layers * 10 * model.width**2 + 3 * model.patch_size**2 * model.width  # the MLP is 3 wide in mini
    assert quantized.manifest.files[int8.INT8_WEIGHTS].bytes < 1.3 * matrices


def test_smoothing_alone_changes_nothing(quantized: Artifact, tmp_path: Path) -> None:
    """Dividing in the norm what is multiplied into the weight is exact; only rounding costs anything."""
    path = MINI / "embed.onnx"
    graph = _graph(path)
    names = {p.place for p in products(graph)}
    recipe = int8.calibrated(
        Artifact(
            MINI, msgspec.structs.replace(quantized.manifest, graphs={"embed": quantized.manifest.graphs["embed"]})
        ),
        int8_images.image_sets(quantized.manifest.image, None),
    )
    place = "blocks.3.qkv"
    model: Any = quantized_graph(path, "embed", recipe, kept=frozenset(names - {place}))
    back = next(n for n in model.graph if n.op_type == "DequantizeLinear" and n.inputs[0].const_value is not None)
    product = next(p for p in products(graph) if p.place == place)
    exact = ir.Value(name="exact", const_value=ir.tensor(product.weight * recipe.factors[place][:, None], name="exact"))
    exact.type, exact.shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape(product.weight.shape)
    model.graph.register_initializer(exact)
    for node, at in list(back.outputs[0].uses()):
        there = node.inputs[0].producer().inputs[0].producer()  # MatMul's input before it was rounded
        node.replace_input_with(0, there.inputs[0])
        node.replace_input_with(at, exact)
    _drop_unused(model.graph)
    ir.save(model, tmp_path / "smoothed.onnx", external_data="smoothed.weights")
    pixels = sample_pixels((224, 224), 2, seed=7)
    smoothed, plain = (
        open_packaged(p, ["embedding"], threads=1).run({"pixels": pixels})["embedding"]
        for p in (tmp_path / "smoothed.onnx", path)
    )

    assert not np.allclose(recipe.factors[place], 1)
    assert np.abs(smoothed - plain).max() < 2e-6


def test_norms_that_share_their_ones_are_smoothed_apart(tiny_artifact: Artifact) -> None:
    """Gains are in the products, so the norms of a graph share one tensor of ones; each gets factors of its own."""
    path = tiny_artifact.path / "embed.onnx"
    found: list[Any] = [product for product in products(_graph(path)) if product.norm is not None]
    rng = np.random.default_rng(0)
    factors = {p.place: rng.uniform(0.5, 2, len(p.weight)).astype(np.float32) for p in products(_graph(path))}
    scales = {product.input_name: ActivationScale(0.1, 128) for product in products(_graph(path))}
    model: Any = quantized_graph(path, "embed", Recipe(factors, {"embed": scales}))
    gains = {node.outputs[0].name: node.inputs[1] for node in model.graph if node.op_type == "LayerNormalization"}

    assert len({product.norm.inputs[1].name for product in found}) == 1
    assert len({product.place for product in found}) == 14
    for product in found:
        got = gains[product.norm.outputs[0].name].const_value.numpy()
        assert np.array_equal(got, 1 / factors[product.place])


def test_outlier_channels_are_refused_and_the_reason_is_told(tiny_config: Path, tmp_path: Path) -> None:
    """Seeded weights whose channels differ by three powers of ten: no int8 graph, figures, one clear sentence."""
    from safetensors.torch import save_file

    state = {k: v.clone() for k, v in load_model(str(tiny_config), None).model.state_dict().items()}
    for name, value in state.items():
        if name.startswith("visual.transformer"):
            steps = np.geomspace(1, 1000, 16)
            for unit, step in enumerate(
                steps
            ):  # grows in one product, shrinks in the next: the function hardly changes
                if name.endswith(("mlp.c_fc.weight", "mlp.c_fc.bias")):
                    value[unit] *= step
                elif name.endswith(("in_proj_weight", "in_proj_bias")):
                    value[2 * 64 + unit] *= step
                elif name.endswith(("mlp.c_proj.weight", "out_proj.weight")):
                    value[:, unit] /= step**0.5
    save_file(state, tmp_path / "outliers.safetensors")
    artifact = pipeline.export(
        ExportOptions(
            str(tiny_config),
            pretrained=str(tmp_path / "outliers.safetensors"),
            activation="gelu",
            heads=("embed", "text"),
            precisions=("fp32", "int8"),
        ),
        tmp_path / "out",
    )
    report = artifact.manifest.int8

    assert report is not None
    assert not report.passed
    assert report.reasons
    assert not any(spec.precision == "int8" for spec in artifact.manifest.graphs.values())
    assert not list(artifact.path.glob("*int8*"))
    with pytest.raises(ArtifactError, match=r"refused them when it was exported, because .*at least 0\.9"):
        Clip.load(artifact.path, precision="int8")
    assert Clip.load(artifact.path, threads=1).encode_images(sample_pixels((64, 64), 1, seed=0)).shape == (1, 48)


def test_an_artifact_without_int8_says_how_to_get_it() -> None:
    """mini as it is shipped was exported in fp32 only."""
    with pytest.raises(ArtifactError, match=r"has no int8 graphs\. Export it with --precision fp32,int8"):
        Clip.load("mini", precision="int8")


def test_few_calibration_images_are_refused(tmp_path: Path) -> None:
    """The message has both numbers; copies of one picture are one, however many files hold it."""
    from PIL import Image

    spec = Artifact.open(MINI).manifest.image
    for number in range(int8_images.MIN_IMAGES + 1):
        Image.fromarray(np.full((32, 32, 3), number % 3, np.uint8)).save(tmp_path / f"{number}.png")

    least = int8_images.MIN_IMAGES
    with pytest.raises(DataError, match=rf"at least {least} different images; .* holds 3 \({least + 1} files, copies"):
        int8_images.image_sets(spec, tmp_path)
    with pytest.raises(DataError, match="must be a folder of images"):
        int8_images.image_sets(spec, tmp_path / "nowhere")


def test_images_of_the_user_serve_one_purpose_each(tmp_path: Path) -> None:
    """Half of them judge; none of those chooses scales or is searched with."""
    from PIL import Image

    for number in range(int8_images.MIN_IMAGES):
        (tmp_path / f"{number % 2}").mkdir(exist_ok=True)
        Image.fromarray(np.full((32, 32, 3), number, np.uint8)).save(tmp_path / f"{number % 2}" / f"{number}.png")
    sets = int8_images.image_sets(Artifact.open(MINI).manifest.image, tmp_path)
    values = [set(pixels[:, 0, 0, 0].tolist()) for pixels in (sets.calibration, sets.search, sets.judged)]

    assert len(values[2]) == int8_images.MIN_IMAGES // 2
    assert set().union(*values) == set(range(int8_images.MIN_IMAGES))
    assert sum(len(v) for v in values) == int8_images.MIN_IMAGES


def test_calibration_without_int8_is_a_mistake() -> None:
    """It would be ignored."""
    with pytest.raises(DataError, match="calibration is for int8 only"):
        ExportOptions("ViT-B-32", calibration=Path())


def test_weights_and_activations_keep_what_they_can() -> None:
    """A column's error is at most half a step of its own scale where nothing is cut; smoothing evens channels out."""
    rng = np.random.default_rng(0)
    weight = rng.normal(0, [[0.01, 1, 100]], (64, 3)).astype(np.float32)
    levels, scale = quantize_weight(weight)
    largest = np.abs(weight).max(axis=0)
    rows = rng.normal(0, np.geomspace(0.01, 10, 64), (200, 64)).astype(np.float32)
    seen = Observed(rows.min(axis=0), rows.max(axis=0), rows)
    factors = smoothing(seen, weight)
    smoothed = choose_activation(seen, factors, weight * factors[:, None])
    plain = choose_activation(seen, np.ones(64, np.float32), weight)
    exact = rows @ weight
    errors = [
        np.square(s.rounded(rows / f) @ (weight * f[:, None]) - exact).sum()
        for s, f in ((smoothed, factors), (plain, np.ones(64, np.float32)))
    ]

    assert np.abs(levels.astype(np.float64) * scale - weight).max(axis=0).tolist() <= (0.32 * largest).tolist()
    assert (
        np.square(levels * scale - weight).sum()
        <= np.square(np.rint(weight / (largest / 127)) * (largest / 127) - weight).sum()
    )
    assert errors[0] < 0.5 * errors[1]


def test_the_gate_names_every_limit_that_is_missed() -> None:
    """One phrase a limit, with figure and limit; NaN is missed too; what was not measured is not judged."""
    good = Int8Figures(
        images=9, class_cosine=1.0, worst_class_cosine=1.0, same_neighbour=1.0, zero_shot_loss=0.0, map_auroc_loss=0.0
    )
    bad = Int8Figures(
        images=9, class_cosine=0.9, worst_class_cosine=0.5, same_neighbour=0.1, zero_shot_loss=0.2, map_auroc_loss=0.1
    )

    assert reasons_against(good) == ()
    assert len(reasons_against(bad)) == len(LIMITS)
    assert "0.9000 (at least 0.99)" in reasons_against(bad)[0]
    assert len(reasons_against(msgspec.structs.replace(good, class_cosine=float("nan")))) == 1
    assert reasons_against(Int8Figures(images=9)) == ()


def test_neighbours_that_change_are_counted() -> None:
    """Rows in another order: every image has another neighbour."""
    before = np.array([[1, 0, 0], [0.9, 0.43589, 0], [0, 0, 1], [0, 0.43589, 0.9]], np.float32)
    after = before[[0, 3, 2, 1]]

    assert same_neighbour(before, before) == 1.0
    assert same_neighbour(before, after) == 0.0


def test_pixels_enter_as_they_are(quantized: Artifact) -> None:
    """The patch projection takes uint8 with scale 1 and zero point 0: nothing of the pixels is rounded."""
    graph = _graph(quantized.path / "embed.int8.onnx")
    node = next(n for n in graph if n.op_type == "DequantizeLinear" and n.inputs[1].name == "pixels.step")

    assert node.inputs[1].const_value.numpy() == 1
    assert node.inputs[2].const_value.numpy() == 0
    assert not any(n.op_type == "Cast" and n.inputs[0].name == "pixels" for n in graph)
    assert PATCHES in {p.place for p in products(_graph(MINI / "embed.onnx"))}
