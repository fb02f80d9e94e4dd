"""Graphs on a GPU, opened so that nothing can end on the CPU unnoticed.

ONNX Runtime has three ways to fall back to the CPU without an error: a wheel without the provider, a provider whose
library does not load, and a retry inside `InferenceSession`. Against them: the provider must be in the wheel, the
driver must answer, the retry is switched off, nodes on the CPU are forbidden, and after opening the session must name
the provider and every node must be assigned to it.

Nothing here was run on a GPU yet; `make gpu-check` does it.
"""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clipfast.artifact import Artifact, GraphSpec, head_of
from clipfast.errors import ArtifactError, ProviderError
from clipfast.runtime.device_session import explained, first_line
from clipfast.runtime.gpu import Gpu
from clipfast.runtime.provider_options import CudaOptions, TensorRtOptions

__all__ = [
    "Opening",
    "create_session",
    "forbid_cpu",
    "open_file",
    "preload",
    "require_device_graph",
    "require_memory",
    "require_on",
]

_LEAST_BESIDE_WEIGHTS = 512 << 20  # context, arena and activations of a small batch


@dataclass(frozen=True, slots=True)
class Opening:
    """What opening a graph on a GPU needs to know.

    Attributes:
        ort: The onnxruntime module.
        ort_provider: ONNX Runtime's name of the provider.
        session_options: Makes fresh session options that forbid the CPU.
        install: How to install what may be missing.
    """

    ort: Any
    ort_provider: str
    session_options: Callable[[], Any]
    install: str


def open_file(path: Path, options: CudaOptions, opening: Opening) -> Any:
    """Open a graph file wholly on a GPU; returns ONNX Runtime's own session.

    Raises:
        ProviderError: It cannot run here.
    """
    preload(opening.ort)
    return create_session(opening, path, options.entries(), opening.session_options())


def require_device_graph(
    artifact: Artifact, head: str, options: CudaOptions | TensorRtOptions, precision: str
) -> GraphSpec:
    """Return the graph of a head that a provider can run.

    Raises:
        ArtifactError: There is none; the message lists those there are, and how to export it.
    """
    graphs = artifact.manifest.graphs
    for key, spec in graphs.items():
        if (head_of(key), spec.precision, spec.flavour) == (head, precision, options.flavour):
            return spec
    raise ArtifactError(
        f"{artifact.path} holds no {head!r} graph in {precision} for {options.name}; it holds {', '.join(graphs)}. "
        f"Export it: python -m clipfast.export MODEL --engine {options.name} --precision {precision} --out DIR"
    )


def preload(ort: Any) -> None:
    """Load CUDA, cuDNN and TensorRT from their pip wheels, where they are installed so.

    ONNX Runtime looks for them on the loader's path only, on which pip puts nothing. What does not load here is told
    when the session is opened.
    """
    if hasattr(ort, "preload_dlls"):
        with suppress(Exception):  # prints and raises by its own rules; the session's error is the one that counts
            ort.preload_dlls()
    found = importlib.util.find_spec("tensorrt_libs")
    for folder in (found.submodule_search_locations or ()) if found else ():
        for name in ("libnvinfer.so.10", "libnvinfer_plugin.so.10", "libnvonnxparser.so.10"):
            with suppress(OSError):
                ctypes.CDLL(str(Path(folder) / name), mode=ctypes.RTLD_GLOBAL)


def forbid_cpu(session_options: Any) -> None:
    """Make ONNX Runtime refuse a graph of which any node would run on the CPU, and record where each one runs."""
    session_options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    session_options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")


def require_on(inner: Any, ort_provider: str, install: str) -> None:
    """Refuse a session that is not wholly on a provider.

    Raises:
        ProviderError: The provider is not the session's, or a node is assigned to another.
    """
    if ort_provider not in inner.get_providers():
        raise ProviderError(f"{ort_provider} cannot run here: its library did not load. Install it: {install}.")
    if not hasattr(inner, "get_provider_graph_assignment_info"):
        return  # before 1.24; session.disable_cpu_ep_fallback has refused such a graph already
    strangers = [
        (part.ep_name, node) for part in inner.get_provider_graph_assignment_info() if part.ep_name != ort_provider
        for node in part.get_nodes()
    ]  # fmt: skip
    if strangers:
        other, node = strangers[0]
        raise ProviderError(
            f"{len(strangers)} nodes run on {other} instead of {ort_provider}, the first is "
            f"{getattr(node, 'name', '') or node}. Export the graph again with this version of clipfast, or report it."
        )


def require_memory(artifact: Artifact, spec: GraphSpec, options: CudaOptions | TensorRtOptions, gpu: Gpu) -> None:
    """Refuse a graph whose weights alone do not fit.

    Raises:
        ProviderError: Names the limit or the GPU, and what is needed.
    """
    weights = sum(artifact.manifest.files[name].bytes for name in spec.files)
    limit = getattr(options, "gpu_mem_limit", None) or gpu.memory_bytes
    needed = weights + (0 if limit < gpu.memory_bytes else _LEAST_BESIDE_WEIGHTS)
    if limit < needed:
        what = "gpu_mem_limit" if limit < gpu.memory_bytes else gpu.name
        raise ProviderError(
            f"{what} gives {limit / 1e6:,.0f} MB; this graph needs {needed / 1e6:,.0f} MB at least. Raise the limit, "
            "use fp16 graphs or a smaller model, or another GPU (device_id)."
        )


def create_session(opening: Opening, path: Path, entries: dict[str, str], session_options: Any) -> Any:
    """Create a session that is wholly on the provider, or say why there is none."""
    try:
        inner = opening.ort.InferenceSession(
            str(path),
            sess_options=session_options,
            providers=[(opening.ort_provider, entries)],
            enable_fallback=0,
        )
    except Exception as error:
        raise ProviderError(explained(f"{opening.ort_provider}: {first_line(error)}", opening.install)) from error
    require_on(inner, opening.ort_provider, opening.install)
    return inner
