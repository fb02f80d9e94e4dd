"""Which GPU and driver this machine has, asked of the driver itself.

ONNX Runtime says nothing useful where a driver is missing, and an engine belongs to one GPU and one driver: both are
reasons to ask first. Only the driver's own libraries are used (libcuda, libnvidia-ml), so nothing is to install.
"""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from clipfast.errors import ProviderError

__all__ = ["Gpu", "describe_gpu", "tensorrt_version"]

_CUDA = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
_NVML = "nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1"
_TENSORRT = "nvinfer_10.dll" if sys.platform == "win32" else "libnvinfer.so.10"
_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_*


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU as its driver describes it.

    Attributes:
        name: Such as "NVIDIA A100-SXM4-40GB".
        capability: Compute capability, such as "8.0".
        memory_bytes: All of its memory.
        driver: The driver's version, such as "580.65.06".
    """

    name: str
    capability: str
    memory_bytes: int
    driver: str


def describe_gpu(device_id: int) -> Gpu:
    """Ask the driver about one GPU.

    Raises:
        ProviderError: No NVIDIA driver, no such GPU, or a driver that does not answer.
    """
    try:
        cuda = ctypes.CDLL(_CUDA)
    except OSError as error:
        raise ProviderError(
            f"This machine has no NVIDIA driver ({_CUDA} does not load), so no GPU provider can run here. "
            "Use provider='cpu', or a machine with an NVIDIA GPU and its driver."
        ) from error
    _ask(cuda, "cuInit", 0)
    count = ctypes.c_int()
    _ask(cuda, "cuDeviceGetCount", ctypes.byref(count))
    if device_id >= count.value:
        raise ProviderError(f"device_id must be below {count.value}, the GPUs the driver shows; got {device_id}.")
    device = ctypes.c_int()
    _ask(cuda, "cuDeviceGet", ctypes.byref(device), device_id)
    name, memory = ctypes.create_string_buffer(256), ctypes.c_size_t()
    _ask(cuda, "cuDeviceGetName", name, len(name), device)
    _ask(cuda, "cuDeviceTotalMem_v2", ctypes.byref(memory), device)
    capability = [ctypes.c_int(), ctypes.c_int()]
    for number, attribute in zip(capability, (_MAJOR, _MINOR), strict=True):
        _ask(cuda, "cuDeviceGetAttribute", ctypes.byref(number), attribute, device)
    return Gpu(
        name.value.decode(), ".".join(str(number.value) for number in capability), memory.value, _driver_version(cuda)
    )


def tensorrt_version() -> str:
    """Return the version of the TensorRT library that ONNX Runtime will load, such as "101600".

    Raises:
        ProviderError: It does not load.
    """
    try:
        library = ctypes.CDLL(_TENSORRT)
    except OSError as error:
        raise ProviderError(
            f"TensorRT 10 does not load ({error}). Install it: pip install 'tensorrt-cu13>=10.13,<11'; version 11 has "
            "another library name, which ONNX Runtime 1.31 does not read."
        ) from error
    return str(library.getInferLibVersion())


def _driver_version(cuda: Any) -> str:
    with suppress(OSError, AttributeError):
        nvml = ctypes.CDLL(_NVML)
        text = ctypes.create_string_buffer(96)
        if nvml.nvmlInit_v2() == 0 and nvml.nvmlSystemGetDriverVersion(text, len(text)) == 0:
            return text.value.decode()
    version = ctypes.c_int()
    _ask(cuda, "cuDriverGetVersion", ctypes.byref(version))
    return f"CUDA {version.value}"


def _ask(cuda: Any, function: str, *arguments: Any) -> None:
    code = getattr(cuda, function)(*arguments)
    if code != 0:
        raise ProviderError(
            f"The NVIDIA driver answers {function} with error {code}. Look at nvidia-smi: the GPU may be missing, in "
            "exclusive use, or not passed into this container (--gpus all)."
        )
