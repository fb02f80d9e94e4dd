"""Model repositories for Triton: valid by its published schema, complete, and computing what the model computes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs torch: pip install --group test")
pytest.importorskip("open_clip", reason="needs open_clip: pip install --group test")

from clipfast.artifact import Artifact
from clipfast.errors import ArtifactError, DataError, ShapeError
from clipfast.export import parity
from clipfast.export.options import ExportOptions
from clipfast.export.pipeline import export
from clipfast.export.triton import write_repository
from clipfast.export.triton_config import TritonOptions, pbtxt
from clipfast.runtime.clip import Clip
from clipfast.runtime.device_session import fit_feeds
from clipfast.runtime.session import open_packaged

pytestmark = pytest.mark.torch
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def artifact(tiny_config: Path, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """A tiny ViT in fp16 for both providers."""
    options = ExportOptions(str(tiny_config), heads=("embed", "dense", "text"), precisions=("fp16",))
    return export(options, tmp_path_factory.mktemp("triton") / "tiny")


@pytest.fixture(scope="module")
def bank() -> Any:
    """Thirty unit rows."""
    rows = np.random.default_rng(0).normal(size=(30, 48)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def repository(artifact: Artifact, bank: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Served by ONNX Runtime, with a bank."""
    folder = tmp_path_factory.mktemp("repository") / "models"
    assert write_repository(artifact, folder, TritonOptions(topk=5, instances=2), bank=bank) == ()
    return folder


def _config(path: Path) -> Any:
    schema = pytest.importorskip("tritonclient.grpc.model_config_pb2", reason="needs tritonclient[grpc]")
    from google.protobuf import text_format

    return text_format.Parse(path.read_text(), schema.ModelConfig())


def _shape(values: Any) -> dict[str, tuple[str, list[int]]]:
    schema = pytest.importorskip("tritonclient.grpc.model_config_pb2", reason="needs tritonclient[grpc]")
    return {value.name: (schema.DataType.Name(value.data_type), list(value.dims)) for value in values}


def test_every_config_is_valid_by_tritons_schema(repository: Path) -> None:
    """Parsed by the schema that NVIDIA's client ships; an unknown field or a wrong type would raise."""
    configs = {path.parent.name: _config(path) for path in sorted(repository.glob("*/config.pbtxt"))}

    assert list(configs) == ["tiny_dense", "tiny_embed", "tiny_rows", "tiny_search", "tiny_text"]
    assert all(config.name == name and config.max_batch_size == 32 for name, config in configs.items())


def test_a_model_is_batched_warmed_up_and_copied(repository: Path) -> None:
    """What the server is told of `dense`: its inputs and outputs without the batch, and how to run it."""
    config = _config(repository / "tiny_dense" / "config.pbtxt")

    assert config.backend == "onnxruntime"
    assert _shape(config.input) == {"pixels": ("TYPE_UINT8", [64, 64, 3]), "alpha": ("TYPE_FP32", [1])}
    assert _shape(config.output) == {
        "embedding": ("TYPE_FP32", [48]),
        "qk": ("TYPE_FP32", [16, 48]),
        "vv": ("TYPE_FP32", [16, 48]),
        "mixed": ("TYPE_FP32", [16, 48]),
    }
    assert list(config.dynamic_batching.preferred_batch_size) == [8, 16, 32]
    assert config.dynamic_batching.max_queue_delay_microseconds == 500
    (group,) = config.instance_group
    assert (group.count, group.Kind.Name(group.kind)) == (2, "KIND_GPU")
    assert [warm.batch_size for warm in config.model_warmup] == [1, 8, 16, 32]
    for warm in config.model_warmup:
        assert set(warm.inputs) == {"pixels", "alpha"}
        assert list(warm.inputs["pixels"].dims) == [64, 64, 3]
        assert warm.inputs["pixels"].zero_data


def test_the_served_files_compute_the_model(artifact: Artifact, repository: Path, bank: Any) -> None:
    """Opened where they lie, weights beside them; the ensemble's two steps give the bank's best rows."""
    pixels = parity.sample_pixels((64, 64), 3, seed=1)
    embed = open_packaged(repository / "tiny_embed" / "1" / "model.onnx" / "model.onnx", ["embedding"], threads=1)
    rows = open_packaged(repository / "tiny_rows" / "1" / "model.onnx", ["scores", "rows"], threads=1)
    vector = embed.run({"pixels": pixels})["embedding"]
    found = rows.run({"embedding": vector})
    with Clip.load(artifact.path, threads=1) as clip:
        expected = clip.encode_images(pixels)

    assert (vector * expected).sum(axis=1).min() > 0.9999
    assert found["rows"].tolist() == np.argsort(-vector @ bank.T, axis=1)[:, :5].tolist()
    assert np.abs(found["scores"] - np.sort(vector @ bank.T, axis=1)[:, ::-1][:, :5]).max() < 1e-5


def test_texts_have_the_full_length(repository: Path, artifact: Artifact) -> None:
    """What a client sends is what the server is told to expect."""
    config = _config(repository / "tiny_text" / "config.pbtxt")
    text = open_packaged(repository / "tiny_text" / "1" / "model.onnx" / "model.onnx", ["embedding"], threads=1)
    with Clip.load(artifact.path, threads=1) as clip:
        expected = clip.encode_texts(["blue denim", "linen"])
        ids = clip._opened.tokenizer()(["blue denim", "linen"])
    feeds = fit_feeds({"ids": ids}, {"ids": (None, 77)})

    assert _shape(config.input) == {"ids": ("TYPE_INT64", [77])}
    assert (text.run(feeds)["embedding"] * expected).sum(axis=1).min() > 0.9999


def test_the_ensemble_connects_the_two_models(repository: Path) -> None:
    """Its names are those of the models' own inputs and outputs."""
    config = _config(repository / "tiny_search" / "config.pbtxt")
    embed, rows = config.ensemble_scheduling.step

    assert (config.platform, embed.model_name, rows.model_name) == ("ensemble", "tiny_embed", "tiny_rows")
    assert dict(embed.output_map) == {"embedding": "vector"}
    assert dict(rows.input_map) == {"embedding": "vector"}
    assert _shape(config.output) == {"scores": ("TYPE_FP32", [5]), "rows": ("TYPE_INT64", [5])}
    assert (repository / "tiny_search" / "1").is_dir()  # Triton wants a version folder even of an ensemble


def test_tensorrt_takes_the_engine_where_there_is_one(artifact: Artifact, tmp_path: Path) -> None:
    """The engine becomes model.plan; for heads without one, the line that makes it."""
    engine = tmp_path / "engine"
    engine.mkdir()
    (engine / "trt_1.engine").write_bytes(b"plan")
    options = TritonOptions(backend="tensorrt", max_batch=8, preferred=(4, 8))
    lacking = write_repository(artifact, tmp_path / "models", options, engines={"embed": engine})

    assert lacking == ("tiny_dense", "tiny_text")
    assert (tmp_path / "models" / "tiny_embed" / "1" / "model.plan").read_bytes() == b"plan"
    line = (tmp_path / "models" / "tiny_dense" / "1" / "BUILD.txt").read_text()
    assert "--onnx=ARTIFACT/dense.fp16.tensorrt.onnx --stronglyTyped" in line
    assert "--maxShapes=pixels:8x64x64x3,alpha:8x1" in line
    config = _config(tmp_path / "models" / "tiny_embed" / "config.pbtxt")
    assert config.platform == "tensorrt_plan"


def test_a_repository_is_replaced_whole_and_nothing_else_is(artifact: Artifact, tmp_path: Path) -> None:
    """A folder of something else is left alone."""
    folder = tmp_path / "models"
    for _ in range(2):
        write_repository(artifact, folder, TritonOptions())
        (folder / "stale").write_text("")
    write_repository(artifact, folder, TritonOptions())

    assert not (folder / "stale").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["models"]
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years")
    with pytest.raises(ArtifactError, match="no repository of clipfast"):
        write_repository(artifact, tmp_path / "thesis", TritonOptions())


def test_what_cannot_be_served_is_refused(artifact: Artifact, bank: Any, tmp_path: Path) -> None:
    """Before or while writing; no half repository stays."""
    with pytest.raises(ArtifactError, match=r"holds no embed\.cuda; .*--precision fp32 --engine cuda"):
        write_repository(artifact, tmp_path / "a", TritonOptions(precision="fp32"))
    with pytest.raises(ShapeError, match="unit rows"):
        write_repository(artifact, tmp_path / "b", TritonOptions(), bank=2 * bank)
    with pytest.raises(ShapeError, match=r"bank must be float32 rows \(m, 48\)"):
        write_repository(artifact, tmp_path / "c", TritonOptions(), bank=bank[:, :5])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"backend": "torch"}, DataError),  # no such back end here
        ({"backend": "tensorrt", "device": "cpu"}, DataError),  # GPUs only
        ({"max_batch": 4}, ShapeError),  # preferred batches of 8 and more
        ({"instances": 0}, ShapeError),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], error: type[Exception]) -> None:
    """When they are made."""
    with pytest.raises(error):
        TritonOptions(**options)


def test_text_format_quotes_what_must_be_quoted() -> None:
    """Strings in quotes with escapes, symbols and numbers without, lists one line an item."""
    text = pbtxt({"name": 'a "b" \\', "kind": "KIND_GPU", "dims": [1, 2], "flag": True, "part": {"count": 1}})

    assert text == 'name: "a \\"b\\" \\\\"\nkind: KIND_GPU\ndims: 1\ndims: 2\nflag: true\npart {\n  count: 1\n}\n'


def test_the_client_example_explains_itself() -> None:
    """It starts without a server, and says what is missing if tritonclient is."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "triton_client.py"), "--help"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert "--model" in done.stdout
