"""GPU providers without a GPU: options that the wheel knows, and no way to the CPU that is not an error."""

from __future__ import annotations

import importlib.metadata
import json
import types
from dataclasses import fields
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnxruntime
import pytest

from clipfast.artifact import Artifact, graph_key
from clipfast.errors import ArtifactError, ClipfastError, ProviderError, ShapeError
from clipfast.runtime import device, device_session, gpu, session
from clipfast.runtime.clip import Clip
from clipfast.runtime.device_session import DeviceSession, FixedBuffers, fit_feeds
from clipfast.runtime.gpu import Gpu
from clipfast.runtime.provider_options import CudaOptions, ShapeProfile, TensorRtOptions, provider_options
from clipfast.runtime.session import PROVIDERS, open_session

ROOT = Path(__file__).resolve().parents[2]
MINI = Artifact.open(ROOT / "clipfast" / "models" / "mini")
KNOWN = json.loads((ROOT / "clipfast" / "export" / "gpu_options.json").read_text())
A100 = Gpu("NVIDIA A100-SXM4-40GB", "8.0", 40 << 30, "580.65.06")
CUDA = PROVIDERS["cuda"][0]


def _with_device_graphs(*flavours: str) -> Artifact:
    """The embedded model, claiming that its own graphs are those of GPU providers."""
    graphs = dict(MINI.manifest.graphs)
    for flavour in flavours:
        for head in ("text", "embed"):
            spec = msgspec.structs.replace(MINI.manifest.graphs[head], flavour=flavour)
            graphs[graph_key(head, "fp32", flavour)] = spec  # type: ignore[arg-type]
    return Artifact(MINI.path, msgspec.structs.replace(MINI.manifest, graphs=graphs))


BOTH = _with_device_graphs("cuda", "tensorrt")


@pytest.fixture
def pretended_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver that answers and a wheel that lists both providers."""
    monkeypatch.setattr(session, "describe_gpu", lambda _: A100)
    monkeypatch.setattr("clipfast.runtime.engines.describe_gpu", lambda _: A100)
    monkeypatch.setattr("clipfast.runtime.engines.tensorrt_version", lambda: "101600")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [name for name, _ in PROVIDERS.values()])


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
        lambda: CudaOptions(arena_extend_strategy="big"),  # type: ignore[arg-type]
        lambda: TensorRtOptions(builder_optimization_level=6),
        lambda: TensorRtOptions(auxiliary_streams=-1),
        lambda: TensorRtOptions(build="always"),  # type: ignore[arg-type]
        lambda: provider_options("rocm"),
    ],
)
def test_options_out_of_range_are_refused(make: Any) -> None:
    """Before any GPU is asked."""
    with pytest.raises(ProviderError, match="must be"):
        make()


class _Fallen:
    """An InferenceSession that quietly ended on the CPU."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def get_providers(self) -> list[str]:
        return ["CPUExecutionProvider"]


class _Partly(_Fallen):
    """A session of the provider, of which one node runs on the CPU."""

    def get_providers(self) -> list[str]:
        return [CUDA, "CPUExecutionProvider"]

    def get_provider_graph_assignment_info(self) -> list[Any]:
        def part(name: str, *nodes: str) -> Any:
            return types.SimpleNamespace(
                ep_name=name, get_nodes=lambda: [types.SimpleNamespace(name=node) for node in nodes]
            )

        return [part(CUDA, "MatMul_1"), part("CPUExecutionProvider", "ReduceMax_7")]


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_first_silent_way_the_wheel_has_no_provider(provider: str) -> None:
    """onnxruntime alone would warn and use the CPU."""
    if PROVIDERS[provider][0] in onnxruntime.get_available_providers():
        pytest.skip("this wheel has the provider")

    with pytest.raises(ProviderError, match=r"built without it\. Install it: .*clipfast\[gpu\]"):
        open_session(BOTH, "text", provider=provider, precision="fp32", threads=1)


@pytest.mark.usefixtures("pretended_gpu")
@pytest.mark.parametrize(
    ("inner", "message"),
    [
        (_Fallen, "its library did not load"),  # the provider is not the session's
        (_Partly, "1 nodes run on CPUExecutionProvider instead of CUDAExecutionProvider, the first is ReduceMax_7"),
    ],
)
def test_second_silent_way_the_library_does_not_load(
    inner: type, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session says where it runs, as a whole and node by node."""
    monkeypatch.setattr(onnxruntime, "InferenceSession", inner)

    with pytest.raises(ProviderError, match=message):
        open_session(BOTH, "text", provider="cuda", precision="fp32", threads=1)


@pytest.mark.usefixtures("pretended_gpu")
@pytest.mark.parametrize("options", [CudaOptions(gpu_mem_limit=1 << 30), CudaOptions.latency()])
def test_third_silent_way_the_retry_is_off(options: CudaOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    """InferenceSession gets one provider with its options, and no second try."""
    seen: dict[str, Any] = {}

    def refuse(*_: object, **given: object) -> None:
        seen.update(given)
        raise RuntimeError("CUDA failure 35: driver too old\nmore")

    monkeypatch.setattr(onnxruntime, "InferenceSession", refuse)

    with pytest.raises(ProviderError, match="CUDA failure 35: driver too old"):
        open_session(BOTH, "text", provider=options, precision="fp32", threads=1)
    assert seen["enable_fallback"] == 0
    assert seen["providers"] == [(CUDA, options.entries())]
    assert seen["sess_options"].get_session_config_entry("session.disable_cpu_ep_fallback") == "1"


def test_a_real_session_on_the_cpu_is_seen_as_one() -> None:
    """The node-by-node guard reads ONNX Runtime's own answer."""
    options = session._options(onnxruntime, 1, "cpu")
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    inner = onnxruntime.InferenceSession(str(MINI.path / "text.onnx"), options, providers=["CPUExecutionProvider"])

    device.require_on(inner, "CPUExecutionProvider", "")
    with pytest.raises(ProviderError, match="its library did not load"):
        device.require_on(inner, CUDA, "it")
    renamed = types.SimpleNamespace(
        get_providers=lambda: [CUDA], get_provider_graph_assignment_info=inner.get_provider_graph_assignment_info
    )
    with pytest.raises(ProviderError, match=r"\d+ nodes run on CPUExecutionProvider instead of CUDA"):
        device.require_on(renamed, CUDA, "it")


@pytest.mark.usefixtures("pretended_gpu")
@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_an_artifact_without_gpu_graphs_says_how_to_export_them(provider: str) -> None:
    """The CPU's graphs hold shape arithmetic, which a GPU session would refuse less clearly."""
    with pytest.raises(ArtifactError, match=rf"no 'text' graph in fp16 for {provider}; .*--engine {provider}"):
        open_session(MINI, "text", provider=provider, precision="fp16", threads=1)


@pytest.mark.usefixtures("pretended_gpu")
def test_too_little_memory_is_told_before_anything_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the limit that was set, and by the GPU's own size."""
    with pytest.raises(ProviderError, match=r"gpu_mem_limit gives 0 MB; this graph needs"):
        open_session(BOTH, "embed", provider=CudaOptions(gpu_mem_limit=1000), precision="fp32", threads=1)
    monkeypatch.setattr(session, "describe_gpu", lambda _: Gpu("Tiny", "7.5", 100 << 20, "1"))
    with pytest.raises(ProviderError, match="Tiny gives 105 MB"):
        open_session(BOTH, "embed", provider="cuda", precision="fp32", threads=1)


def test_memory_that_runs_out_later_is_explained() -> None:
    """ONNX Runtime's words stay, the remedy is added."""
    text = device_session.explained("Failed to allocate memory for requested buffer of size 9437184")

    assert "smaller batches" in text
    assert "9437184" in text


def test_a_machine_without_a_driver_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence, before ONNX Runtime is asked."""

    def missing(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr("clipfast.runtime.gpu.ctypes.CDLL", missing)

    with pytest.raises(ProviderError, match=r"has no NVIDIA driver \(libcuda.so.1 does not load\)"):
        gpu.describe_gpu(0)
    with pytest.raises(ProviderError, match=r"pip install 'tensorrt-cu13>=10.13,<11'"):
        gpu.tensorrt_version()


class _Driver:
    """libcuda of a machine with one GPU."""

    def __init__(self, code: int = 0) -> None:
        self.code = code

    def cuInit(self, _flags: int) -> int:  # noqa: N802
        return self.code

    def cuDeviceGetCount(self, out: Any) -> int:  # noqa: N802
        out._obj.value = 1
        return 0

    def cuDeviceGet(self, out: Any, number: int) -> int:  # noqa: N802
        out._obj.value = number
        return 0

    def cuDeviceGetName(self, out: Any, _size: int, _device: Any) -> int:  # noqa: N802
        out.value = b"NVIDIA L4"
        return 0

    def cuDeviceTotalMem_v2(self, out: Any, _device: Any) -> int:  # noqa: N802
        out._obj.value = 24 << 30
        return 0

    def cuDeviceGetAttribute(self, out: Any, attribute: int, _device: Any) -> int:  # noqa: N802
        out._obj.value = {75: 8, 76: 9}[attribute]
        return 0

    def nvmlInit_v2(self) -> int:  # noqa: N802
        return 0

    def nvmlSystemGetDriverVersion(self, out: Any, _size: int) -> int:  # noqa: N802
        out.value = b"580.65.06"
        return 0


def test_the_driver_is_asked_in_its_own_language(monkeypatch: pytest.MonkeyPatch) -> None:
    """Name, compute capability, memory and version; a device that is not there is named."""
    monkeypatch.setattr("clipfast.runtime.gpu.ctypes.CDLL", lambda _: _Driver())

    assert gpu.describe_gpu(0) == Gpu("NVIDIA L4", "8.9", 24 << 30, "580.65.06")
    with pytest.raises(ProviderError, match="device_id must be below 1"):
        gpu.describe_gpu(1)
    monkeypatch.setattr("clipfast.runtime.gpu.ctypes.CDLL", lambda _: _Driver(code=100))
    with pytest.raises(ProviderError, match="cuInit with error 100"):
        gpu.describe_gpu(0)


SHAPES: dict[str, tuple[int | None, ...]] = {"pixels": (None, 2, 2, 3), "alpha": (None, 1), "ids": (None, 5)}


def test_inputs_are_brought_into_the_gpu_graphs_form() -> None:
    """One alpha a row; token rows of the full length; pixels as they are."""
    pixels, ids = np.zeros((3, 2, 2, 3), np.uint8), np.array([[7, 9], [8, 9]])
    fitted = fit_feeds({"pixels": pixels, "alpha": np.asarray(0.25, np.float32)}, SHAPES)

    assert fitted["alpha"].tolist() == [[0.25], [0.25], [0.25]]
    assert fitted["pixels"].shape == pixels.shape
    assert fit_feeds({"ids": ids}, SHAPES)["ids"].tolist() == [[7, 9, 0, 0, 0], [8, 9, 0, 0, 0]]
    with pytest.raises(ShapeError, match=r"ids must be \(n, 5\) at most; got \(1, 6\)"):
        fit_feeds({"ids": np.zeros((1, 6), np.int64)}, SHAPES)


def test_fixed_buffers_give_each_image_its_own_result() -> None:
    """Run here on the CPU's buffers: pieces of two, the last filled up, and never the first image's result again."""
    inner = onnxruntime.InferenceSession(str(MINI.path / "embed.onnx"), providers=["CPUExecutionProvider"])
    pixels = np.random.default_rng(0).integers(0, 256, (5, 224, 224, 3), dtype=np.uint8)
    expected = inner.run(["embedding"], {"pixels": pixels})[0]
    buffers = FixedBuffers(onnxruntime, inner, 2, ("cpu", 0))
    once, again = buffers.run({"pixels": pixels})["embedding"], buffers.run({"pixels": pixels[::-1]})["embedding"]

    assert np.abs(once - expected).max() < 1e-5
    assert np.abs(again - expected[::-1]).max() < 1e-5


def test_a_device_session_holds_the_profile() -> None:
    """A batch that the engine was not built for never reaches it."""
    inner = onnxruntime.InferenceSession(str(MINI.path / "embed.onnx"), providers=["CPUExecutionProvider"])
    options = TensorRtOptions(profile=ShapeProfile(1, 1, 2))
    opened = DeviceSession(onnxruntime, inner, "embed", ("embedding",), options)
    pixels = np.zeros((3, 224, 224, 3), np.uint8)

    assert opened.run({"pixels": pixels[:2]})["embedding"].shape == (2, 192)
    with pytest.raises(ShapeError, match="batches of 1 to 2; got 3"):
        opened.run({"pixels": pixels})


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

        monkeypatch.setattr(session, "describe_gpu", lambda _: A100)
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
