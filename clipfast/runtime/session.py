"""ONNX Runtime sessions that run where they were told to run, or say why they cannot.

The only importer of onnxruntime. ONNX Runtime falls back to the CPU silently in three ways: a provider missing from
the wheel, a provider whose library does not load, and a retry inside `InferenceSession.__init__`. All three are
turned into errors here and in `device`, which opens graphs on GPUs. What only GPUs need is imported where it is used: a
start on a CPU need not wait for it.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from numpy.typing import NDArray

from clipfast.artifact import Artifact, GraphSpec, head_of
from clipfast.errors import ArtifactError, MissingExtraError, ProviderError
from clipfast.runtime.cpu import available_cores, has_int8_products
from clipfast.runtime.provider_options import (
    CpuOptions,
    CudaOptions,
    OpenVinoOptions,
    ProviderOptions,
    TensorRtOptions,
    provider_options,
)
from clipfast.runtime.request import check_request, stored_precision

if TYPE_CHECKING:
    from clipfast.runtime.device import Opening

__all__ = [
    "PROVIDERS",
    "RIVALS",
    "OrtSession",
    "Session",
    "available_cores",
    "installed_wheels",
    "load_gpu_libraries",
    "load_provider",
    "offered_providers",
    "open_packaged",
    "open_resident",
    "open_session",
]

# name: (ONNX Runtime's name, what to install)
PROVIDERS = {
    "cpu": ("CPUExecutionProvider", "pip install 'clipfast[cpu]'"),
    "cuda": (
        "CUDAExecutionProvider",
        "pip uninstall -y onnxruntime faiss-cpu && pip install 'clipfast[gpu]', and CUDA 13 with cuDNN 9",
    ),
    "tensorrt": (
        "TensorrtExecutionProvider",
        "pip uninstall -y onnxruntime faiss-cpu && pip install 'clipfast[gpu]' 'tensorrt-cu13>=10.13,<11', "
        "and CUDA 13 with cuDNN 9",
    ),
}
# Distributions that install the same import name; two of a row overwrite each other's files.
RIVALS = (("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino"), ("faiss-cpu", "faiss-gpu", "faiss-gpu-cuvs"))
_REINSTALL = "Run `clipfast info --system`, or: pip install --force-reinstall --no-deps onnxruntime"


class Session(Protocol):
    """One opened graph. Safe to call from many threads at once."""

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return every output by name."""
        ...


class OrtSession:
    """One graph on ONNX Runtime."""

    def __init__(self, inner: Any, outputs: Sequence[str]) -> None:
        self.inner = inner
        self._outputs = list(outputs)

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return every output by name."""
        return dict(zip(self._outputs, self.inner.run(self._outputs, dict(feeds)), strict=True))


def installed_wheels() -> dict[str, str]:
    """Return the versions of the compute wheels that are installed, by distribution name.

    `onnxruntime` and `onnxruntime-gpu` write the same folder, and so do the faiss wheels: two of a kind clash.
    """
    from importlib import metadata  # 10 ms that a start need not pay

    found = {}
    for name in itertools.chain(*RIVALS):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def offered_providers() -> tuple[str, ...]:
    """Return which of `PROVIDERS` the installed onnxruntime was built with; its libraries may still be missing.

    Raises:
        MissingExtraError: No onnxruntime is installed.
    """
    built = _require_onnxruntime().get_available_providers()
    return tuple(name for name, (ort_name, _) in PROVIDERS.items() if ort_name in built)


def load_provider(provider: str | ProviderOptions) -> None:
    """Import onnxruntime, if the provider is one of its own.

    Raises:
        MissingExtraError: No onnxruntime is installed.
        ProviderError: No provider of that name, or an onnxruntime that does not import.
    """
    if not isinstance(provider_options(provider), OpenVinoOptions):
        _require_onnxruntime()


def load_gpu_libraries() -> None:
    """Load CUDA, cuDNN and TensorRT from their wheels where they are installed so, as opening a graph does.

    Raises:
        MissingExtraError: No onnxruntime is installed.
    """
    from clipfast.runtime.device import preload

    preload(_require_onnxruntime())


def open_session(
    artifact: Artifact, graph: str, *, provider: str | ProviderOptions, precision: str, threads: int
) -> Session:
    """Open one graph of an artifact after verifying the files it reads.

    Args:
        artifact: The opened artifact.
        graph: "embed", "dense", "text".
        provider: A key of `PROVIDERS`, or the options of a GPU provider.
        precision: Must be the graph's own.
        threads: Threads of one run, at least 1.

    Raises:
        ArtifactError: No such graph or precision in the artifact, or a changed file.
        ProviderError: Unknown provider, or one that does not run here; the message says what to install.
    """
    check_request(provider, threads, precision)
    chosen = provider_options(provider)
    if isinstance(chosen, OpenVinoOptions):
        return _open_on_openvino(artifact, graph, chosen, precision, threads)
    ort, ort_provider = _require_provider(chosen.name)
    if not isinstance(chosen, CpuOptions):
        return _open_on_gpu(artifact, graph, chosen, precision, _opening(ort, ort_provider, chosen.name, threads))
    spec = _cpu_graph(artifact, graph, precision)
    return OrtSession(_open_on_cpu(ort, artifact.verified(spec.files)[0], ort_provider, threads), spec.outputs)


def _open_on_openvino(artifact: Artifact, head: str, options: OpenVinoOptions, precision: str, threads: int) -> Session:
    """Open the graph that a CPU runs, on OpenVINO."""
    from clipfast.runtime.openvino import PRECISIONS, open_openvino

    if precision not in PRECISIONS:
        raise ProviderError(
            f"On openvino precision must be one of {', '.join(PRECISIONS)}; got {precision!r}.",
            code="other_precision_here",
            known=", ".join(PRECISIONS),
            got=precision,
        )
    spec = _cpu_graph(artifact, head, stored_precision(options, precision))
    file = artifact.verified(spec.files)[0]
    return open_openvino(file, spec.outputs, precision=precision, threads=threads, int8_rest=options.int8_rest)


def _cpu_graph(artifact: Artifact, head: str, precision: str) -> GraphSpec:
    graphs = artifact.manifest.graphs
    for key, spec in graphs.items():
        if (head_of(key), spec.precision, spec.flavour) == (head, precision, CpuOptions.flavour):
            return spec
    held = ", ".join(f"{head_of(name)} ({spec.precision})" for name, spec in graphs.items())
    raise ArtifactError(
        f"{artifact.path} holds no {head!r} graph in {precision}; it holds {held}. Export it.",
        code="no_graph",
        path=artifact.path,
        head=head,
        precision=precision,
        held=held,
    )


def _open_on_gpu(
    artifact: Artifact, head: str, options: CudaOptions | TensorRtOptions, precision: str, opening: Opening
) -> Session:
    from clipfast.runtime.device import open_file, preload, require_device_graph, require_memory
    from clipfast.runtime.device_session import DeviceSession
    from clipfast.runtime.engines import open_engine
    from clipfast.runtime.gpu import describe_gpu

    gpu = describe_gpu(options.device_id)
    spec = require_device_graph(artifact, head, options, precision)
    require_memory(artifact, spec, options, gpu)
    if isinstance(options, TensorRtOptions):
        preload(opening.ort)
        inner = open_engine(artifact, head, options, spec, opening)
    else:
        inner = open_file(artifact.verified(spec.files)[0], options, opening)
    return DeviceSession(opening.ort, inner, head, spec.outputs, options)


def _opening(ort: Any, ort_provider: str, provider: str, threads: int) -> Opening:
    from clipfast.runtime.device import Opening

    return Opening(ort, ort_provider, lambda: _options(ort, threads, provider), PROVIDERS[provider][1])


def open_packaged(
    path: Path, outputs: Sequence[str], *, threads: int, provider: str | ProviderOptions = "cpu"
) -> Session:
    """Open a graph that no manifest lists: one that comes with the package, or a head folded behind an image graph.

    Args:
        path: The ONNX file.
        outputs: Names of its outputs.
        threads: Of one run, at least 1.
        provider: "cpu", "cuda" or `CudaOptions`; TensorRT would need a profile.

    Raises:
        ArtifactError: ONNX Runtime cannot open the file.
        MissingExtraError: No onnxruntime is installed.
        ProviderError: Fewer than one thread, or a provider that cannot run here.
    """
    check_request(provider, threads)
    chosen = provider_options(provider)
    if isinstance(chosen, TensorRtOptions | OpenVinoOptions):
        raise ProviderError(f"{path.name} runs on cpu or cuda; got {chosen.name}.")
    ort, ort_provider = _require_provider(chosen.name)
    if isinstance(chosen, CudaOptions):
        from clipfast.runtime.device import open_file
        from clipfast.runtime.gpu import describe_gpu

        describe_gpu(chosen.device_id)
        return OrtSession(open_file(path, chosen, _opening(ort, ort_provider, chosen.name, threads)), outputs)
    return OrtSession(_open_on_cpu(ort, path, ort_provider, threads), outputs)


def open_resident(
    path: Path,
    outputs: Sequence[str],
    resident: Mapping[str, NDArray[Any]],
    *,
    threads: int,
    provider: str | ProviderOptions,
) -> Session:
    """Open a packaged graph, as `open_packaged`, with inputs that are copied to its device once and stay there.

    Args:
        path: The ONNX file.
        outputs: Names of its outputs.
        resident: Inputs by name. A call may give another value of one, for that call.
        threads: Of one run, at least 1.
        provider: "cpu", "cuda" or `CudaOptions` without a fixed batch.

    Raises:
        ArtifactError: ONNX Runtime cannot open the file.
        MissingExtraError: No onnxruntime is installed.
        ProviderError: Fewer than one thread, a provider that cannot run here, or too little memory there.
    """
    from clipfast.runtime.device_session import ResidentSession

    chosen = provider_options(provider)
    if isinstance(chosen, CudaOptions) and chosen.fixed_batch is not None:
        raise ProviderError(
            f"{path.name} takes any number of rows; got CudaOptions(fixed_batch={chosen.fixed_batch}). Leave it out."
        )
    opened = open_packaged(path, outputs, threads=threads, provider=chosen)
    if not isinstance(opened, OrtSession):
        raise ProviderError(f"{path.name} runs on cpu or cuda; got {chosen.name}.")
    device = ("cuda", chosen.device_id) if isinstance(chosen, CudaOptions) else ("cpu", 0)
    return ResidentSession(_require_onnxruntime(), opened.inner, outputs, resident, device)


def _open_on_cpu(ort: Any, path: Path, ort_provider: str, threads: int) -> Any:
    options = _options(ort, threads, "cpu")
    try:
        return ort.InferenceSession(str(path), sess_options=options, providers=[ort_provider], enable_fallback=0)
    except Exception as error:
        raise ArtifactError(
            f"ONNX Runtime {ort.__version__} cannot open {path}: {error}",
            code="graph_not_opened",
            path=path,
            error=error,
        ) from error


def _require_provider(provider: str) -> tuple[Any, str]:
    onnxruntime = _require_onnxruntime()
    if provider not in offered_providers():
        raise ProviderError(
            _missing(provider, "the installed onnxruntime wheel was built without it"),
            code="no_provider",
            provider=provider,
        )
    return onnxruntime, PROVIDERS[provider][0]


def _require_onnxruntime() -> Any:
    # Since 1.29 ONNX Runtime reports to its maker from Linux and macOS too, and keeps what it could not send in a
    # database under ~/.cache. Only this variable, read while it is imported, keeps it from both: the call below comes
    # after the first report. A start is 10 ms shorter without.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError as error:
        if error.name not in (None, "onnxruntime"):
            raise ProviderError(
                f"onnxruntime is installed but does not import ({error}). {_REINSTALL}", code="broken_onnxruntime"
            ) from error
        raise MissingExtraError.of("onnxruntime", extra="cpu") from error
    if not hasattr(onnxruntime, "InferenceSession"):
        raise ProviderError(
            f"onnxruntime is installed but empty: another wheel took its files with it. {_REINSTALL}",
            code="broken_onnxruntime",
        )
    onnxruntime.disable_telemetry_events()
    return onnxruntime


def _missing(provider: str, reason: str) -> str:
    return f"Provider {provider!r} cannot run here: {reason}. Install it: {PROVIDERS[provider][1]}."


def _options(ort: Any, threads: int, provider: str) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Workers spin for 3 ms, which bridges the gaps between nodes and the decoding of the next photo, and then sleep for
    # the others. Without spinning a small model takes half as long again; with the default, idle sessions burn a core.
    options.add_session_config_entry("session.intra_op.spin_duration_us", "3000")
    # Packing weights for the registers is most of opening a model; all threads share it.
    options.add_session_config_entry("session.prepack.enable_parallel", "1")
    if provider != "cpu":
        from clipfast.runtime.device import forbid_cpu

        forbid_cpu(options)
    elif not has_int8_products():
        # Without VNNI, products of uint8 and int8 saturate in 16 bits and answers would differ between machines. This
        # takes the exact way, with uint8 weights, which takes nearly twice as long where there is VNNI.
        options.add_session_config_entry("session.x64quantprecision", "1")
    return options
