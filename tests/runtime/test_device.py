"""No way to the CPU, no GPU that is not there, no memory that will not do: all with a pretended driver."""

from __future__ import annotations

import types
from typing import Any

import onnxruntime
import pytest

from clipfast.errors import ArtifactError, ProviderError
from clipfast.runtime import device, device_session, gpu, session
from clipfast.runtime.gpu import Gpu
from clipfast.runtime.provider_options import CudaOptions
from clipfast.runtime.session import PROVIDERS, open_session
from reference.gpu_artifacts import BOTH, CUDA, MINI

A100 = Gpu("NVIDIA A100-SXM4-40GB", "8.0", 40 << 30, "580.65.06")


@pytest.fixture
def pretended_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver that answers and a wheel that lists both providers."""
    monkeypatch.setattr("clipfast.runtime.gpu.describe_gpu", lambda _: A100)
    monkeypatch.setattr("clipfast.runtime.engines.describe_gpu", lambda _: A100)
    monkeypatch.setattr("clipfast.runtime.engines.tensorrt_version", lambda: "101600")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [name for name, _ in PROVIDERS.values()])


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
    monkeypatch.setattr("clipfast.runtime.gpu.describe_gpu", lambda _: Gpu("Tiny", "7.5", 100 << 20, "1"))
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

    def cuInit(self, _flags: int) -> int:  # noqa: N802  # the driver's own name
        return self.code

    def cuDeviceGetCount(self, out: Any) -> int:  # noqa: N802  # the driver's own name
        out._obj.value = 1
        return 0

    def cuDeviceGet(self, out: Any, number: int) -> int:  # noqa: N802  # the driver's own name
        out._obj.value = number
        return 0

    def cuDeviceGetName(self, out: Any, _size: int, _device: Any) -> int:  # noqa: N802  # the driver's own name
        out.value = b"NVIDIA L4"
        return 0

    def cuDeviceTotalMem_v2(self, out: Any, _device: Any) -> int:  # noqa: N802  # the driver's own name
        out._obj.value = 24 << 30
        return 0

    def cuDeviceGetAttribute(self, out: Any, attribute: int, _device: Any) -> int:  # noqa: N802  # the driver's own name
        out._obj.value = {75: 8, 76: 9}[attribute]
        return 0

    def nvmlInit_v2(self) -> int:  # noqa: N802  # the driver's own name
        return 0

    def nvmlSystemGetDriverVersion(self, out: Any, _size: int) -> int:  # noqa: N802  # the driver's own name
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
