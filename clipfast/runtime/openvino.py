"""Graphs on OpenVINO: bf16 on CPUs that have it, behind the same `Session` as ONNX Runtime.

openvino is imported here and in `openvino_graph`, nowhere else.

The native package is used, not ONNX Runtime's plugin, which offers no device on CPUs of other makers. OpenVINO computes
in bf16 by itself wherever a CPU has it, so that the same call would give other numbers on another machine: the hint is
always set, and read back after compiling.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipfast.errors import ArtifactError, MissingExtraError, ProviderError
from clipfast.runtime.cpu import available_cores
from clipfast.runtime.openvino_graph import fix_rows, separate_projections, unpack_weights

__all__ = [
    "PRECISIONS",
    "OpenVinoSession",
    "computes_bf16",
    "open_openvino",
    "openvino_version",
    "require_precision",
]

# What a Clip can run in. int8 is in the graph; what the graph leaves in fp32 stays fp32 unless bf16 is asked for.
PRECISIONS = ("fp32", "bf16", "int8")
_HINTS = {"fp32": "f32", "bf16": "bf16"}
_DEVICE = "CPU"
_PIECE = 8  # rows: 32 at once are not quicker a row
_CAPABILITY = {"bf16": "BF16"}


class _Compiled:
    """One form of a graph, and the requests that nobody is using."""

    def __init__(self, model: Any, outputs: Sequence[str]) -> None:
        self._model = model
        self._outputs = list(outputs)
        self._idle: list[Any] = []
        self._lock = threading.Lock()

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        with self._lock:
            request = self._idle.pop() if self._idle else self._model.create_infer_request()
        try:
            request.infer(dict(feeds), share_inputs=True)
            return {
                name: np.array(request.get_tensor(name).data) for name in self._outputs
            }  # OpenVINO's memory: copied
        finally:
            with self._lock:
                self._idle.append(request)


class OpenVinoSession:
    """One graph on OpenVINO. Safe to call from many threads at once; they wait for one another.

    It is compiled for one row when it is opened, and for `_PIECE` rows when so many come for the first time; a batch is
    run in such pieces and the rest row by row. A graph compiled for any number of rows is no quicker and rounds
    otherwise, so that a row's int8 answer would depend on whether it came alone.
    """

    def __init__(self, compile_for: Callable[[int], Any], outputs: Sequence[str]) -> None:
        self._compile_for = compile_for
        self._outputs = list(outputs)
        self._one = _Compiled(compile_for(1), outputs)
        self._piece: _Compiled | None = None
        self._lock = threading.Lock()

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return every output by name."""
        rows = max((len(value) for value in feeds.values() if value.ndim), default=1)
        if rows == 1:
            return self._one.run(feeds)
        whole = rows - rows % _PIECE
        bounds = [*range(0, whole, _PIECE), *range(whole, rows + 1)]
        found = [
            (self._one if stop - start == 1 else self._for_pieces()).run(
                {name: value[start:stop] if value.ndim else value for name, value in feeds.items()}
            )
            for start, stop in itertools.pairwise(bounds)
        ]
        return {name: np.concatenate([one[name] for one in found]) for name in self._outputs}

    def _for_pieces(self) -> _Compiled:
        with self._lock:
            if self._piece is None:
                self._piece = _Compiled(self._compile_for(_PIECE), self._outputs)
            return self._piece


def open_openvino(
    path: Path, outputs: Sequence[str], *, precision: str, threads: int, int8_rest: str = "fp32"
) -> OpenVinoSession:
    """Open a graph for this CPU.

    Args:
        path: The ONNX file.
        outputs: Names of its outputs.
        precision: One of `PRECISIONS`.
        threads: Of one run.
        int8_rest: What an int8 graph computes in where it is not int8: "fp32" or "bf16".

    Raises:
        ArtifactError: OpenVINO cannot read the file.
        MissingExtraError: openvino is not installed.
        ProviderError: This CPU or OpenVINO refuses; the message has OpenVINO's reason.
    """
    openvino = _require_openvino()
    core = openvino.Core()
    floats = int8_rest if precision == "int8" else precision
    require_precision(floats, _capabilities(core))
    packed = precision != "int8"
    return OpenVinoSession(lambda rows: _compile(core, path, floats, threads, rows, packed=packed), outputs)


def _compile(core: Any, path: Path, floats: str, threads: int, rows: int, *, packed: bool) -> Any:
    """Compile for this many rows, and see that floats are of the precision asked for.

    `packed` says that int8 in the file is a way to store weights, not to multiply them.
    """
    try:
        model = core.read_model(str(path))
        if packed:
            unpack_weights(model)
        separate_projections(model)
        fix_rows(model, rows)
    except Exception as error:
        raise ArtifactError(f"OpenVINO {openvino_version()} cannot read {path}: {_first_line(error)}") from error
    wanted = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",
        "INFERENCE_NUM_THREADS": str(threads),
        "INFERENCE_PRECISION_HINT": _HINTS[floats],
        "EXECUTION_MODE_HINT": "ACCURACY" if packed and floats == "fp32" else "PERFORMANCE",
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0",  # or weights in compact storage would be multiplied in int8
        "ENABLE_HYPER_THREADING": "YES",  # the caller has counted the threads
        # One thread a core stays on it: a scheduler may wake both beside each other for 10 ms. Fewer threads than cores
        # must not be bound, or those of two processes would share the first cores and leave the others idle.
        "ENABLE_CPU_PINNING": "YES" if threads == available_cores() else "NO",
    }
    try:
        compiled = core.compile_model(model, _DEVICE, wanted)
    except Exception as error:
        raise ProviderError(
            f"OpenVINO {openvino_version()} refuses to run {path.name} on this CPU: {_first_line(error)}. "
            "Use provider='cpu'."
        ) from error
    runs_in = _type_name(compiled.get_property("INFERENCE_PRECISION_HINT"))
    if runs_in != _HINTS[floats]:
        raise ProviderError(
            f"{path.name} was to run in {_HINTS[floats]}; OpenVINO {openvino_version()} runs it in {runs_in}. "
            "Use provider='cpu'."
        )
    return compiled


def require_precision(precision: str, capabilities: Sequence[str]) -> None:
    """Refuse what this CPU would only emulate.

    Args:
        precision: Of floats, "fp32" or "bf16".
        capabilities: What OpenVINO says of the device.

    Raises:
        ProviderError: Names what there is.

    >>> require_precision("bf16", ["FP32", "INT8", "BF16"])
    """
    needed = _CAPABILITY.get(precision)
    if needed is not None and needed not in capabilities:
        raise ProviderError(
            f"This CPU has no {precision} arithmetic (avx512_bf16 or AMX): OpenVINO offers {', '.join(capabilities)}. "
            "Use precision='fp32', or int8 where the artifact holds it."
        )


def computes_bf16() -> bool:
    """Whether OpenVINO is installed and this CPU has bf16 arithmetic.

    Raises:
        ProviderError: OpenVINO finds no CPU that it can use.
    """
    return openvino_version() is not None and "BF16" in _capabilities(_require_openvino().Core())


def openvino_version() -> str | None:
    """Return the version of the installed openvino, without importing it; None without it."""
    from importlib import metadata

    try:
        return metadata.version("openvino")
    except metadata.PackageNotFoundError:
        return None


def _capabilities(core: Any) -> list[str]:
    try:
        found = core.get_property(_DEVICE, "OPTIMIZATION_CAPABILITIES")
    except Exception as error:
        raise ProviderError(
            f"OpenVINO {openvino_version()} finds no CPU that it can use here: {_first_line(error)}. "
            "Use provider='cpu'."
        ) from error
    return [str(name) for name in found]


def _require_openvino() -> Any:
    try:
        import openvino
    except ImportError as error:
        if error.name not in (None, "openvino"):
            raise ProviderError(f"openvino is installed but does not import ({error}). Install it again.") from error
        raise MissingExtraError.of("openvino", extra="openvino") from error
    return openvino


def _type_name(hint: Any) -> str:
    """Return "f32" or "bf16" of what OpenVINO gives back, which is an object that prints as "<Type: 'float32'>"."""
    text = hint.to_string() if hasattr(hint, "to_string") else str(hint)
    return {"float32": "f32", "bfloat16": "bf16"}.get(text, text)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else type(error).__name__
