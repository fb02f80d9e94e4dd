"""Graphs on a GPU: opened so that nothing can end on the CPU unnoticed, and run on buffers of the GPU.

ONNX Runtime has three ways to fall back to the CPU without an error: a wheel without the provider, a provider whose
library does not load, and a retry inside `InferenceSession`. Against them: the provider must be in the wheel, the driver
must answer, the retry is switched off, nodes on the CPU are forbidden, and after opening the session must name the
provider and every node must be assigned to it.

Nothing here was run on a GPU yet; `make gpu-check` does it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipfast.artifact import Artifact, GraphSpec, graph_key
from clipfast.errors import ArtifactError, ClipfastError, ProviderError, ShapeError
from clipfast.runtime.engine_cache import CONTEXT_MODEL, EngineCache, Ingredients
from clipfast.runtime.gpu import Gpu, describe_gpu, tensorrt_version
from clipfast.runtime.provider_options import CudaOptions, TensorRtOptions
from clipfast.storage import cache_dir

__all__ = ["DeviceSession", "Opening", "fit_feeds", "forbid_cpu", "open_device", "open_file", "require_device_graph", "require_on"]

log = logging.getLogger(__name__)

_LEAST_BESIDE_WEIGHTS = 512 << 20  # context, arena and activations of a small batch
_OUT_OF_MEMORY = ("out of memory", "failed to allocate", "cuda failure 2", "available memory")


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


def open_device(
    artifact: Artifact, head: str, options: CudaOptions | TensorRtOptions, precision: str, opening: Opening
) -> DeviceSession:
    """Open one head of an artifact on a GPU.

    Raises:
        ArtifactError: The artifact has no such graph for this provider.
        ProviderError: It cannot run here; the message says why and what to do.
    """
    gpu = describe_gpu(options.device_id)
    spec = require_device_graph(artifact, head, options, precision)
    _require_memory(artifact, spec, options, gpu)
    preload(opening.ort)
    paths = artifact.verified(spec.files)
    if isinstance(options, TensorRtOptions):
        inner = _open_engine(artifact, head, options, spec, opening, gpu=gpu, graph=paths[0])
    else:
        inner = _create(opening, paths[0], options.entries(), opening.session_options())
    return DeviceSession(opening.ort, inner, head, spec.outputs, options)


def open_file(path: Path, options: CudaOptions, opening: Opening) -> Any:
    """Open a graph file wholly on a GPU; returns ONNX Runtime's own session.

    Raises:
        ProviderError: It cannot run here.
    """
    describe_gpu(options.device_id)
    preload(opening.ort)
    return _create(opening, path, options.entries(), opening.session_options())


def require_device_graph(
    artifact: Artifact, head: str, options: CudaOptions | TensorRtOptions, precision: str
) -> GraphSpec:
    """Return the graph of a head that a provider can run.

    Raises:
        ArtifactError: There is none; the message lists those there are, and how to export it.
    """
    graphs = artifact.manifest.graphs
    for key, spec in graphs.items():
        if key == graph_key(head, spec.precision, spec.flavour) and (spec.precision, spec.flavour) == (
            precision,
            options.flavour,
        ):
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
    import ctypes
    import importlib.util

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


def fit_feeds(
    feeds: Mapping[str, NDArray[Any]], shapes: Mapping[str, tuple[int | None, ...]]
) -> dict[str, NDArray[Any]]:
    """Bring inputs into the form that GPU graphs take.

    One `alpha` becomes one per row, (n, 1), and token rows are padded to the length of the graph; both change nothing.

    Args:
        feeds: Inputs by name, as for the CPU's graph.
        shapes: For each input of the graph its dimensions, None where free.

    Raises:
        ShapeError: A row is longer than the graph's.
    """
    rows = max(value.shape[0] for value in feeds.values() if value.ndim)
    fitted = {}
    for name, value in feeds.items():
        wanted = shapes[name]
        if value.ndim == 0 and len(wanted) == 2:
            fitted[name] = np.full((rows, 1), value, value.dtype)
        elif value.ndim == 2 and len(wanted) == 2 and wanted[1] is not None and value.shape[1] != wanted[1]:
            if value.shape[1] > wanted[1]:
                raise ShapeError(f"{name} must be (n, {wanted[1]}) at most; got {value.shape}.")
            fitted[name] = np.pad(value, ((0, 0), (0, wanted[1] - value.shape[1])))
        else:
            fitted[name] = np.ascontiguousarray(value)
    return fitted


class DeviceSession:
    """One graph on a GPU. In latency mode it owns its buffers, and calls wait for each other; else they run freely.

    Args:
        ort: The onnxruntime module.
        inner: Its session.
        head: Which graph.
        outputs: Names of the outputs.
        options: How it runs.
    """

    def __init__(
        self, ort: Any, inner: Any, head: str, outputs: tuple[str, ...], options: CudaOptions | TensorRtOptions
    ) -> None:
        self._inner, self._head, self._outputs, self._options = inner, head, list(outputs), options
        self._shapes = {
            one.name: tuple(d if isinstance(d, int) else None for d in one.shape) for one in inner.get_inputs()
        }
        batch = options.fixed_batch
        self._buffers = None if batch is None else FixedBuffers(ort, inner, batch, ("cuda", options.device_id))

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return every output by name.

        Raises:
            ShapeError: A batch that the engine was not built for.
            ProviderError: The GPU has too little memory, or fails.
        """
        fitted = fit_feeds(feeds, self._shapes)
        try:
            if self._buffers is not None:
                return self._buffers.run(fitted)
            self._options.contains(self._head, len(next(iter(fitted.values()))))
            return dict(zip(self._outputs, self._inner.run(self._outputs, fitted), strict=True))
        except ClipfastError:
            raise
        except Exception as error:  # ONNX Runtime's own classes have no root of their own
            raise ProviderError(_explained(str(error).splitlines()[0])) from error


class FixedBuffers:
    """Inputs and outputs of one batch at fixed addresses, as a CUDA graph needs them.

    Without fixed buffers a replayed graph gives the first image's result for ever (microsoft/onnxruntime issue 20050).

    Args:
        ort: The onnxruntime module.
        inner: Its session.
        batch: The only batch it runs.
        device: ONNX Runtime's name of the device, and which of them.
    """

    def __init__(self, ort: Any, inner: Any, batch: int, device: tuple[str, int]) -> None:
        self._inner, self._batch = inner, batch
        self._lock = threading.Lock()
        self._binding = inner.io_binding()
        self._inputs = {one.name: _buffer(ort, one, batch, device) for one in inner.get_inputs()}
        self._outputs = {one.name: _buffer(ort, one, batch, device) for one in inner.get_outputs()}
        for name, value in self._inputs.items():
            self._binding.bind_ortvalue_input(name, value)
        for name, value in self._outputs.items():
            self._binding.bind_ortvalue_output(name, value)

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return every output by name, for any number of rows: in pieces of the batch, the last one filled with zeros."""
        rows = len(next(iter(feeds.values())))
        pieces = [self._piece(feeds, start, min(self._batch, rows - start)) for start in range(0, rows, self._batch)]
        return {name: np.concatenate([piece[name] for piece in pieces]) for name in self._outputs}

    def _piece(self, feeds: Mapping[str, NDArray[Any]], start: int, rows: int) -> dict[str, NDArray[Any]]:
        with self._lock:
            for name, value in feeds.items():
                part = value[start : start + rows]
                if rows < self._batch:
                    part = np.concatenate([part, np.zeros((self._batch - rows, *part.shape[1:]), part.dtype)])
                self._inputs[name].update_inplace(np.ascontiguousarray(part))
            self._binding.synchronize_inputs()
            self._inner.run_with_iobinding(self._binding)
            self._binding.synchronize_outputs()
            return {name: np.array(value.numpy()[:rows]) for name, value in self._outputs.items()}


_TYPES: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(uint8)": np.uint8,
    "tensor(int64)": np.int64,
}


def _buffer(ort: Any, one: Any, batch: int, device: tuple[str, int]) -> Any:
    shape = [d if isinstance(d, int) else batch for d in one.shape]
    return ort.OrtValue.ortvalue_from_shape_and_type(shape, _TYPES[one.type], *device)


def _open_engine(
    artifact: Artifact,
    head: str,
    options: TensorRtOptions,
    spec: GraphSpec,
    opening: Opening,
    *,
    gpu: Gpu,
    graph: Path,
) -> Any:
    """Open the engine of a graph, building it first where it is missing and may be built."""
    cache = EngineCache(options.engines or cache_dir() / "engines")
    ingredients = engine_ingredients(artifact, head, options, spec, opening.ort.__version__, gpu=gpu)
    context = cache.find(ingredients)
    if context is None:
        if options.build == "never":
            raise ProviderError(_no_engine(cache, ingredients))
        log.warning("Building the TensorRT engine of %s for %s; this takes minutes, once.", head, gpu.name)

        def make(folder: Path) -> None:
            entries = options.build_entries(ingredients.profile, spec.precision, folder / CONTEXT_MODEL, cache.timing)
            _create(opening, graph, entries, opening.session_options())

        context = cache.build(ingredients, make)
    session_options = opening.session_options()
    session_options.graph_optimization_level = opening.ort.GraphOptimizationLevel.ORT_DISABLE_ALL  # one node
    return _create(opening, context, options.entries(), session_options)


def engine_ingredients(
    artifact: Artifact, head: str, options: TensorRtOptions, spec: GraphSpec, ort_version: str, *, gpu: Gpu
) -> Ingredients:
    """Return everything that an engine of this graph, on this GPU, with these options depends on."""
    manifest = artifact.manifest
    return Ingredients(
        head=head,
        files=tuple(manifest.files[name].sha256 for name in spec.files),
        precision=spec.precision,
        profile=profile_shapes(artifact, head, options),
        builder=tuple(sorted((name, value) for name, value in options.entries().items() if name != "device_id")),
        onnxruntime=ort_version,
        tensorrt=tensorrt_version(),
        driver=gpu.driver,
        gpu=gpu.name,
        capability=gpu.capability,
    )


def profile_shapes(artifact: Artifact, head: str, options: TensorRtOptions) -> tuple[str, str, str]:
    """Return the smallest, usual and largest shapes of all inputs of a head, as ONNX Runtime is told them."""
    manifest = artifact.manifest
    rest = {"pixels": (*manifest.image.size_hw, 3), "alpha": (1,), "ids": (manifest.tokenizer.context_length,)}
    profile = options.profile_of(head)
    each = [profile.shapes(name, rest[name]) for name in manifest.graphs[graph_key(head)].inputs]
    low, middle, high = (",".join(part) for part in zip(*each, strict=True))
    return low, middle, high


def _create(opening: Opening, path: Path, entries: dict[str, str], session_options: Any) -> Any:
    """Create a session that is wholly on the provider, or say why there is none."""
    try:
        inner = opening.ort.InferenceSession(
            str(path),
            sess_options=session_options,
            providers=[(opening.ort_provider, entries)],
            enable_fallback=0,
        )
    except Exception as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ProviderError(_explained(f"{opening.ort_provider}: {first}", opening.install)) from error
    require_on(inner, opening.ort_provider, opening.install)
    return inner


def _explained(reason: str, install: str = "") -> str:
    if any(sign in reason.lower() for sign in _OUT_OF_MEMORY):
        return (
            f"The GPU has too little free memory ({reason}). Use smaller batches (ImageOptions(batch_size=...), a smaller "
            "profile), raise gpu_mem_limit, or free the GPU: nvidia-smi shows who uses it."
        )
    return f"The GPU provider cannot run this here: {reason}." + (f" Install it: {install}." if install else "")


def _require_memory(
    artifact: Artifact, spec: GraphSpec, options: CudaOptions | TensorRtOptions, gpu: Gpu
) -> None:
    weights = sum(artifact.manifest.files[name].bytes for name in spec.files)
    limit = getattr(options, "gpu_mem_limit", None) or gpu.memory_bytes
    needed = weights + (0 if limit < gpu.memory_bytes else _LEAST_BESIDE_WEIGHTS)
    if limit < needed:
        what = "gpu_mem_limit" if limit < gpu.memory_bytes else gpu.name
        raise ProviderError(
            f"{what} gives {limit / 1e6:,.0f} MB; this graph needs {needed / 1e6:,.0f} MB at least. Raise the limit, use "
            "fp16 graphs or a smaller model, or another GPU (device_id)."
        )


def _no_engine(cache: EngineCache, ingredients: Ingredients) -> str:
    built = "python -m clipfast.export MODEL --engine tensorrt … on this machine, or TensorRtOptions(build='missing')"
    other = cache.nearest(ingredients)
    if other is None:
        return f"{cache.folder} holds no engine of {ingredients.head!r}. Build it: {built}."
    differing = ", ".join(
        f"{name} ({getattr(other, name)} there, {getattr(ingredients, name)} here)"
        if name in {"gpu", "capability", "driver", "tensorrt", "onnxruntime", "precision"}
        else name
        for name in ingredients.differences(other)
    )
    return (
        f"{cache.folder} holds an engine of {ingredients.head!r}, but of another {differing}; engines cannot be moved. "
        f"Build it: {built}."
    )
