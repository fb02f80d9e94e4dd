"""Running a graph on a GPU: inputs in the form that GPU graphs take, and buffers that stay where they are.

Nothing here was run on a GPU yet; the tests run it on the CPU's own buffers.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipfast.errors import ClipfastError, ProviderError, ShapeError
from clipfast.runtime.provider_options import CudaOptions, TensorRtOptions

__all__ = ["DeviceSession", "FixedBuffers", "ResidentSession", "explained", "first_line", "fit_feeds"]

_BUILD_FAILED = ("failed to create engine", "failed to build engine", "failed to create context")
_OUT_OF_MEMORY = ("out of memory", "failed to allocate", "cuda failure 2", "available memory")
_TYPES: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(uint8)": np.uint8,
    "tensor(int64)": np.int64,
}


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
            raise ProviderError(explained(first_line(error))) from error


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
        """Return every output by name, for any number of rows: in pieces, the last one filled up with zeros."""
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


class ResidentSession:
    """A graph of which some inputs were copied to the device once and stay there; safe from many threads.

    Args:
        ort: The onnxruntime module.
        inner: Its session.
        outputs: Names of the outputs, which come back to the CPU.
        resident: Inputs that stay; a call may still give another value of one.
        device: ONNX Runtime's name of the device, and which of them.
    """

    def __init__(
        self,
        ort: Any,
        inner: Any,
        outputs: Sequence[str],
        resident: Mapping[str, NDArray[Any]],
        device: tuple[str, int],
    ) -> None:
        self._inner, self._outputs = inner, tuple(outputs)
        try:
            self._resident = {
                name: ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(value), *device)
                for name, value in resident.items()
            }
        except Exception as error:  # ONNX Runtime's own classes have no root of their own
            raise ProviderError(explained(first_line(error))) from error

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return every output by name.

        Raises:
            ProviderError: The device has too little memory, or fails.
        """
        try:
            binding = self._inner.io_binding()
            for name, value in feeds.items():
                binding.bind_cpu_input(name, np.ascontiguousarray(value))
            for name, held in self._resident.items():
                if name not in feeds:
                    binding.bind_ortvalue_input(name, held)
            for name in self._outputs:
                binding.bind_output(name)
            self._inner.run_with_iobinding(binding)
            return dict(zip(self._outputs, binding.copy_outputs_to_cpu(), strict=True))
        except Exception as error:
            raise ProviderError(explained(first_line(error))) from error


def _buffer(ort: Any, one: Any, batch: int, device: tuple[str, int]) -> Any:
    shape = [d if isinstance(d, int) else batch for d in one.shape]
    return ort.OrtValue.ortvalue_from_shape_and_type(shape, _TYPES[one.type], *device)


def first_line(error: Exception) -> str:
    """Return the first line of what ONNX Runtime said, or the error's name where it said nothing."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def explained(reason: str, install: str = "") -> str:
    """Return the sentence that tells what ONNX Runtime said, with the remedy where memory ran out.

    Args:
        reason: ONNX Runtime's own words.
        install: What to install if something is missing; empty where nothing can be.
    """
    if any(sign in reason.lower() for sign in _OUT_OF_MEMORY):
        return (
            f"The GPU has too little free memory ({reason}). Use smaller batches (ImageOptions(batch_size=...), a "
            "smaller profile), raise gpu_mem_limit, or free the GPU: nvidia-smi shows who uses it."
        )
    if any(sign in reason.lower() for sign in _BUILD_FAILED):
        return (
            f"TensorRT could not build or start the engine ({reason}). Most often memory is short: free the GPU "
            "(nvidia-smi), take a smaller profile, or allow more with TensorRtOptions(max_workspace_size=...)."
        )
    return f"The GPU provider cannot run this here: {reason}." + (f" Install it: {install}." if install else "")
