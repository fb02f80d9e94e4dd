"""What is refused before an export, and what a repository promises a server: profiles, folders, sizes, origin."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

torch = pytest.importorskip("torch", reason="needs torch: pip install --group test")
pytest.importorskip("open_clip", reason="needs open_clip: pip install --group test")

from clipfast.artifact import Artifact
from clipfast.errors import ArtifactError, ClipfastError, DataError, MissingExtraError, ParityError, ProviderError
from clipfast.export import cli, engines, gpu_check, reference
from clipfast.export.options import ExportOptions
from clipfast.export.pipeline import export, load_source
from clipfast.export.reverify import verify_against
from clipfast.export.triton import write_repository
from clipfast.export.triton_config import TritonOptions
from clipfast.runtime.engine_cache import CONTEXT_MODEL, EngineCache, Ingredients
from clipfast.runtime.gpu import Gpu
from clipfast.runtime.provider_options import CudaOptions, TensorRtOptions

pytestmark = pytest.mark.torch
A100 = Gpu("NVIDIA A100-SXM4-40GB", "8.0", 40 << 30, "580.65.06")


@pytest.fixture(scope="module")
def checkpoint(tiny_config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model's seeded weights as a file."""
    path = tmp_path_factory.mktemp("weights") / "tiny.pt"
    torch.save(load_source(ExportOptions(str(tiny_config))).model.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def artifact(tiny_config: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """A tiny ViT from that file, with fp16 graphs for TensorRT."""
    options = ExportOptions(
        str(tiny_config),
        pretrained=str(checkpoint),
        activation="gelu",
        heads=("embed", "text"),
        precisions=("fp16",),
        engine="tensorrt",
    )
    return export(options, tmp_path_factory.mktemp("artifact") / "tiny")


def test_an_artifact_with_gpu_graphs_is_verified_against_its_checkpoint(artifact: Artifact, checkpoint: Path) -> None:
    """On the CPU its fp32 graphs, and only those; a precision that no graph of the CPU has is named."""
    rows = verify_against(artifact, checkpoint, provider="cpu", precision="fp32", threads=1)

    assert {row.graph for row in rows} == {"embed", "text"}
    with pytest.raises(ArtifactError, match="it holds embed"):
        verify_against(artifact, checkpoint, provider="cpu", precision="fp16", threads=1)


def test_verification_on_a_gpu_opens_its_graphs_and_holds_them_to_fp16(
    artifact: Artifact, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Heads by name, with the provider's options; what passes in fp16 would not in fp32."""
    from clipfast.export import reverify
    from clipfast.runtime.session import open_session

    opened: list[tuple[str, str]] = []

    class Noisy:
        def __init__(self, head: str) -> None:
            self.inner = open_session(artifact, head, provider="cpu", precision="fp32", threads=1)

        def run(self, feeds: Any) -> dict[str, Any]:
            rng = np.random.default_rng(0)
            return {n: v + rng.normal(0, 1e-3, v.shape).astype(np.float32) for n, v in self.inner.run(feeds).items()}

    def noisy(_artifact: Artifact, head: str, *, precision: str, **_: Any) -> Noisy:
        opened.append((head, precision))
        return Noisy(head)

    monkeypatch.setattr(reverify, "open_session", noisy)
    rows = verify_against(artifact, checkpoint, provider=TensorRtOptions(), precision="fp16", threads=1)

    assert opened == [("embed", "fp16"), ("text", "fp16")]
    assert {row.graph for row in rows} == {"embed.fp16.tensorrt", "text.fp16.tensorrt"}
    with pytest.raises(ParityError):
        verify_against(artifact, checkpoint, provider="cpu", precision="fp32", threads=1)


def _run(*arguments: str) -> Any:
    return CliRunner().invoke(cli.app, list(arguments))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["--profile", "1,4,8"], DataError, "--profile and --engine-dir belong to --engine tensorrt"),
        (["--engine", "cuda", "--engine-dir", "e"], DataError, "got --engine cuda"),
        (["--device-id", "1"], DataError, "--device-id belongs to"),
        (["--engine", "tensorrt", "--profile", "4,8,32", "--triton", "t"], DataError, "begins at 1.*got 4,8,32"),
        (["--image-size", "64", "--size", "64"], DataError, "different sizes; got 64, 64"),
        (["--size", "64", "--size", "8"], ClipfastError, "image_size must be 16 to 4096; got 8"),
        (["--engine", "tensorrt", "--engine-dir", "FILE"], ProviderError, "engine folder .* cannot be written"),
    ],
)
def test_the_command_refuses_before_an_export(
    tiny_config: Path, tmp_path: Path, arguments: list[str], error: type[Exception], message: str
) -> None:
    """What would be ignored, or noticed after minutes, is said at once."""
    (tmp_path / "file").write_text("no folder")
    given = [str(tmp_path / "file") if one == "FILE" else one for one in arguments]
    done = _run(str(tiny_config), "--out", str(tmp_path / "a"), *given)

    assert isinstance(done.exception, error)
    with pytest.raises(error, match=message):
        raise done.exception
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_several_sizes_are_exported_by_one_command(
    tiny_config: Path, artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each size becomes an artifact of its own, and a server can hold both: no two models have one name."""
    asked: list[int | None] = []

    def finished(options: ExportOptions, out: Path) -> Artifact:
        asked.append(options.image_size)
        shutil.copytree(artifact.path, out)
        return Artifact.open(out)

    monkeypatch.setattr(cli, "_export", finished)
    options = ["--engine", "tensorrt", "--precision", "fp16", "--image-size", "32", "--size", "64", "--json"]
    done = _run(str(tiny_config), "--out", str(tmp_path / "a"), "--triton", str(tmp_path / "t"), *options)
    assert done.exit_code == 0, done.exception
    told = json.loads(done.stdout)["artifacts"]

    assert asked == [32, 64]
    assert [row["artifact"] for row in told] == [(tmp_path / "a" / size).as_posix() for size in ("32", "64")]
    names = [p.parent.name for p in sorted(tmp_path.glob("t/*/*_embed/config.pbtxt"))]
    assert names == ["tiny-32_embed", "tiny-64_embed"]
    again = _run(str(tiny_config), "--out", str(tmp_path / "a" / "32"), "--size", "32", "--size", "64")
    assert isinstance(again.exception, DataError)
    assert "is of one size already" in str(again.exception)


def test_texts_are_served_in_batches_that_their_engine_holds(artifact: Artifact, tmp_path: Path) -> None:
    """An image profile to 128 beside a text engine to 64: Triton must not send 128 texts."""
    options = TritonOptions(backend="tensorrt", max_batch=128, preferred=(8, 128), max_texts=64)
    write_repository(artifact, tmp_path / "t", options)
    texts, images = ((tmp_path / "t" / f"tiny_{head}" / "config.pbtxt").read_text() for head in ("text", "embed"))

    assert "max_batch_size: 64\n" in texts
    assert "128" not in texts
    assert "max_batch_size: 128\n" in images
    assert "--maxShapes=ids:64x77" in (tmp_path / "t" / "tiny_text" / "1" / "BUILD.txt").read_text()


def test_a_plan_says_which_server_can_load_it(artifact: Artifact, tmp_path: Path) -> None:
    """TensorRT's version and the GPU, from the engine's own record."""
    built = Ingredients(
        head="embed", files=("0" * 64,), precision="fp16", profile=("a", "b", "c"), builder=(), onnxruntime="1.31.1",
        tensorrt="101601", driver="580.65.06", gpu="NVIDIA L4", capability="8.9",
    )  # fmt: skip

    def make(folder: Path) -> None:
        (folder / CONTEXT_MODEL).write_bytes(b"context")
        (folder / "trt.engine").write_bytes(b"plan")

    engine = EngineCache(tmp_path / "engines").build(built, make).parent
    write_repository(artifact, tmp_path / "t", TritonOptions(backend="tensorrt"), engines={"embed": engine})
    said = (tmp_path / "t" / "tiny_embed" / "1" / "ENGINE.txt").read_text()

    assert "TensorRT 101601 on NVIDIA L4 (compute capability 8.9), driver 580.65.06" in said
    assert not (tmp_path / "t" / "tiny_text" / "1" / "ENGINE.txt").exists()


@pytest.mark.parametrize("name", ["", "../up", "a b"])
def test_names_of_models_are_names_of_folders(name: str) -> None:
    """Nothing leaves the repository."""
    with pytest.raises(DataError, match="it names folders"):
        TritonOptions(name=name)


def test_a_missing_tensorrt_is_noticed_before_anything_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wheel with the provider and a GPU are not enough; CUDA alone does not ask for it."""

    def absent() -> str:
        raise ProviderError("TensorRT 10 does not load (libnvinfer.so.10).")

    monkeypatch.setattr(engines, "offered_providers", lambda: ("cpu", "cuda", "tensorrt"))
    monkeypatch.setattr(engines, "describe_gpu", lambda _: A100)
    monkeypatch.setattr(engines, "tensorrt_version", absent)

    assert engines.why_not_here(CudaOptions()) is None
    assert "TensorRT 10 does not load" in (engines.why_not_here(TensorRtOptions()) or "")


def test_gpu_check_fails_where_one_provider_was_not_checked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The other's table is written, the exit code is 1, and the missing one is named; with both it is 0."""
    missing = {"tensorrt": "TensorRT 10 does not load."}
    rows = [gpu_check.Timing("ViT-B-32", 1, "clipfast cuda", 1.0, 0.9999)]
    monkeypatch.setattr(gpu_check, "why_not_here", lambda options: missing.get(options.name))
    monkeypatch.setattr(gpu_check, "describe_gpu", lambda _: A100)
    monkeypatch.setattr(gpu_check, "check_model", lambda *_: rows)
    arguments = ["--models", "ViT-B-32", "--out", str(tmp_path / "table.md")]

    assert gpu_check.main(arguments) == 1
    assert "error: tensorrt was not checked" in capsys.readouterr().err
    assert "clipfast cuda" in (tmp_path / "table.md").read_text()
    missing.clear()
    assert gpu_check.main(arguments) == 0


@pytest.mark.parametrize("stuck", [False, True])
def test_gpu_check_gives_latency_mode_different_images(
    stuck: bool, artifact: Artifact, tiny_config: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A CUDA graph that repeats its first answer fails the check, though every other session is right."""
    from clipfast.runtime.session import open_session

    class Session:
        def __init__(self, head: str, options: TensorRtOptions) -> None:
            self.inner = open_session(artifact, head, provider="cpu", precision="fp32", threads=1)
            self.first: Any = None
            self.repeats = stuck and options.fixed_batch is not None

        def run(self, feeds: Any) -> Any:
            answer = self.inner.run(feeds)
            if self.repeats:
                self.first = answer if self.first is None else self.first
                return {name: np.resize(self.first[name], value.shape) for name, value in answer.items()}
            return answer

    monkeypatch.setattr(gpu_check, "export", lambda *_: artifact)
    monkeypatch.setattr(gpu_check, "load_source", lambda _: load_source(ExportOptions(str(tiny_config))))
    monkeypatch.setattr(gpu_check, "_providers", lambda *_: (TensorRtOptions(),))
    monkeypatch.setattr(gpu_check, "open_session", lambda _a, head, *, provider, **_: Session(head, provider))
    for name in ("_our_time", "_torch_time", "_trtexec_time"):
        monkeypatch.setattr(gpu_check, name, lambda *_: 1.0)

    if stuck:
        with pytest.raises(ParityError, match=r"embed\.fp16\.tensorrt"):
            gpu_check.check_model("tiny", tmp_path, 0)
        return
    rows = gpu_check.check_model("tiny", tmp_path, 0)
    assert [row.runner for row in rows[::3]] == ["clipfast tensorrt", "torch fp16 + compile", "trtexec"]


def test_the_reference_scales_pixels_where_they_lie(artifact: Artifact) -> None:
    """On the "meta" device, where mixing devices would raise; so a GPU's own scaling can be timed."""
    pixels = torch.zeros(2, 64, 64, 3, dtype=torch.uint8, device="meta")

    assert reference.normalised(pixels, artifact.manifest.image).device.type == "meta"


def test_missing_torch_is_still_one_sentence(monkeypatch: pytest.MonkeyPatch, tiny_config: Path) -> None:
    """Before anything is made."""
    import sys

    monkeypatch.setitem(sys.modules, "clipfast.export.pipeline", None)
    done = _run(str(tiny_config), "--out", "a")

    assert isinstance(done.exception, MissingExtraError)
