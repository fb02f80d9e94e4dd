"""GPU providers without a GPU: options that the wheel knows, and no way to the CPU that is not an error."""

from __future__ import annotations

import importlib.metadata
import json
import types
from dataclasses import fields
from pathlib import Path
from typing import Any

import onnxruntime
import pytest

from clipfast.errors import ClipfastError, ProviderError, ShapeError
from clipfast.runtime import device
from clipfast.runtime.clip import Clip
from clipfast.runtime.gpu import Gpu
from clipfast.runtime.provider_options import CudaOptions, ShapeProfile, TensorRtOptions, provider_options
from clipfast.runtime.session import PROVIDERS, open_session
from reference.gpu_artifacts import BOTH, CUDA, MINI

ROOT = Path(__file__).resolve().parents[2]
KNOWN = json.loads((ROOT / "clipfast" / "export" / "gpu_options.json").read_text())
A100 = Gpu("NVIDIA A100-SXM4-40GB", "8.0", 40 << 30, "580.65.06")


def _everything_set() -> list[tuple[str, dict[str, str]]]:
    cuda = CudaOptions(1, 1 << 30, "kSameAsRequested", use_tf32=True, fixed_batch=2)
    trt = TensorRtOptions(
        1, max_workspace_size=1 << 30, builder_optimization_level=5, auxiliary_streams=0, engine_hw_compatible=True
    )
    shapes = ("pixels:1x2", "pixels:2x2", "pixels:4x2")
    return [("cuda", cuda.entries()), ("tensorrt", trt.build_entries(shapes, "fp16", Path("a/b.onnx"), Path("t")))]


@pytest.mark.parametrize(("kind", "entries"), _everything_set(), ids=["cuda", "tensorrt"])
def test_every_option_is_a_name_that_the_wheel_knows(kind: str, entries: dict[str, str]) -> None:
    """The committed list was read out of the wheel's libraries."""
    assert set(entries) - set(KNOWN[kind]) == set()
    assert all(isinstance(value, str) for value in entries.values())


def test_no_field_is_forgotten() -> None:
    """With everything set, each field of the options is said, or is of ours."""
    ours = {"fixed_batch", "profile", "text_profile", "engines", "build"}
    for options, (_, entries) in zip((CudaOptions, TensorRtOptions), _everything_set(), strict=True):
        said = {name.removeprefix("trt_") for name in entries}
        assert {field.name for field in fields(options)} - ours - said == set()


def test_session_keys_are_names_that_the_wheel_knows() -> None:
    """What forbids the CPU is spelt as ONNX Runtime spells it; it ignores unknown keys without a word."""
    seen: list[str] = []
    device.forbid_cpu(types.SimpleNamespace(add_session_config_entry=lambda key, _value: seen.append(key)))

    assert set(seen) - set(KNOWN["session"]) == set()
    assert "session.intra_op.spin_duration_us" in KNOWN["session"]


def test_precision_is_said_in_types_and_flags() -> None:
    """TensorRT 10 wants a flag before it obeys fp16 types; fp32 engines must not get it."""
    shapes = ("x:1", "x:1", "x:1")
    half, full = (TensorRtOptions().build_entries(shapes, p, Path("c"), Path("t")) for p in ("fp16", "fp32"))

    assert (half["trt_fp16_enable"], full["trt_fp16_enable"]) == ("1", "0")
    assert half["trt_ep_context_embed_mode"] == "0"
    assert CudaOptions().entries()["use_tf32"] == "0"


def test_latency_mode_fixes_the_batch_and_records_a_graph() -> None:
    """CUDA graphs only come with fixed buffers; throughput mode has neither."""
    assert CudaOptions.latency().entries()["enable_cuda_graph"] == "1"
    assert CudaOptions.throughput().entries()["enable_cuda_graph"] == "0"
    assert TensorRtOptions.latency().entries()["trt_cuda_graph_enable"] == "1"
    assert TensorRtOptions.latency().profile_of("text") == ShapeProfile(1, 1, 1)
    assert TensorRtOptions.throughput(largest=64).profile_of("embed").largest == 64


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ShapeProfile(8, 4, 32), "smallest <= usual <= largest"),  # not rising
        (lambda: ShapeProfile(0, 1, 1), "got 0, 1, 1"),  # no image
        (lambda: ShapeProfile.parse("1,8"), "one batch or smallest,usual,largest"),  # two numbers
        (lambda: ShapeProfile.parse("many"), "got 'many'"),  # no number
    ],
)
def test_profiles_that_make_no_sense_are_refused(make: Any, message: str) -> None:
    """The message says what a profile is."""
    with pytest.raises(ShapeError, match=message):
        make()


@pytest.mark.parametrize("batch", [3, 33])  # below and above
def test_a_batch_outside_the_profile_is_refused_with_the_remedy(batch: int) -> None:
    """ONNX Runtime would build another engine without a word."""
    with pytest.raises(ShapeError, match=rf"batches of 4 to 32; got {batch}\. Pass ImageOptions"):
        TensorRtOptions(profile=ShapeProfile(4, 8, 32)).contains("embed", batch)


@pytest.mark.parametrize(
    "make",
    [
        lambda: CudaOptions(-1),
        lambda: CudaOptions(gpu_mem_limit=0),
        lambda: CudaOptions(arena_extend_strategy="big"),  # type: ignore[arg-type]  # wrong on purpose
        lambda: TensorRtOptions(builder_optimization_level=6),
        lambda: TensorRtOptions(auxiliary_streams=-1),
        lambda: TensorRtOptions(build="always"),  # type: ignore[arg-type]  # wrong on purpose
        lambda: provider_options("rocm"),
    ],
)
def test_options_out_of_range_are_refused(make: Any) -> None:
    """Before any GPU is asked."""
    with pytest.raises(ProviderError, match="must be"):
        make()


@pytest.mark.parametrize("provider", [None, 3, "gpu", b"cpu"])
def test_what_is_no_provider_is_named(provider: Any) -> None:
    """Also what is no string at all."""
    with pytest.raises(ProviderError, match=r"provider must be one of cpu, .*; got"):
        provider_options(provider)


def test_clip_takes_options_as_its_provider() -> None:
    """The name is what Clip shows; the options are what opens graphs."""
    clip = Clip.load("mini", provider=CudaOptions(device_id=3), threads=1)

    assert clip.provider == "cuda"
    with pytest.raises(ClipfastError):
        clip.encode_texts(["denim"])


def _has_gpu_wheel() -> bool:
    try:
        importlib.metadata.version("onnxruntime-gpu")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


@pytest.mark.gpuwheel
@pytest.mark.skipif(not _has_gpu_wheel(), reason="needs the GPU wheel in an environment of its own: make gpu-options")
class TestGpuWheel:
    """With onnxruntime-gpu installed and no GPU in the machine."""

    @pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
    def test_the_wheel_lists_the_provider_and_still_fails_in_one_sentence(self, provider: str) -> None:
        """`get_available_providers` says what was compiled in, not what can run."""
        assert PROVIDERS[provider][0] in onnxruntime.get_available_providers()

        with pytest.raises(ProviderError, match="no NVIDIA driver") as caught:
            open_session(BOTH, "text", provider=provider, precision="fp32", threads=1)
        assert "\n" not in str(caught.value)

    def test_onnxruntime_itself_falls_back_and_our_guard_does_not(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """With the driver's absence hidden, the provider's library fails to load: an error here, the CPU elsewhere."""
        plain = onnxruntime.InferenceSession(str(MINI.path / "text.onnx"), providers=[CUDA])
        assert plain.get_providers() == ["CPUExecutionProvider"]  # the silent way

        monkeypatch.setattr("clipfast.runtime.gpu.describe_gpu", lambda _: A100)
        with pytest.raises(ProviderError, match=r"fallback to CPU EP has been explicitly disabled|did not load"):
            open_session(BOTH, "text", provider="cuda", precision="fp32", threads=1)

    def test_the_committed_list_is_of_the_installed_wheel(self) -> None:
        """After an update: make gpu-options, and look at the difference."""
        version = importlib.metadata.version("onnxruntime-gpu")

        assert KNOWN["wheel"] == [f"onnxruntime_gpu-{version}"]
        folder = Path(onnxruntime.__file__).parent / "capi"
        for kind, library in (("cuda", "cuda"), ("tensorrt", "tensorrt")):
            data = (folder / f"libonnxruntime_providers_{library}.so").read_bytes()
            assert [name for name in KNOWN[kind] if b"\0" + name.encode() + b"\0" not in data] == []
