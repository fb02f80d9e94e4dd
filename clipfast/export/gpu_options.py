"""`make gpu-options`: read the option names out of the shared objects of an onnxruntime-gpu wheel.

ONNX Runtime keeps no list of them and a misspelt name is only refused where the provider loads, which is on machines
with a GPU. The names are plain text inside its libraries, so they can be read anywhere. Run it with a newer wheel and
look at the difference before raising the version in pyproject.toml.
"""

from __future__ import annotations

import argparse
import re
import zipfile
from pathlib import Path

import msgspec

from clipfast.errors import DataError
from clipfast.storage import atomic_write

__all__ = ["LIST", "read_options"]

LIST = Path(__file__).resolve().parent / "gpu_options.json"
_NAME = re.compile(rb"\0([a-z][a-z0-9_]{4,63})(?=\0)")  # whole strings
_LIBRARIES = {"cuda": "libonnxruntime_providers_cuda.so", "tensorrt": "libonnxruntime_providers_tensorrt.so"}
# Session options and run options are in the main library, which the Python module is linked from.
_MAIN = re.compile(r"onnxruntime_pybind11_state.*\.so$|libonnxruntime\.so")
_SESSION_KEYS = re.compile(rb"\0(session\.[a-z_.]{4,60})(?=\0)")
# Of 424,720 strings those that begin like one of CUDA's documented options; a few are names of other things.
_CUDA_WORDS = (
    "arena_extend_strategy", "cudnn_conv", "device_id", "do_copy_in_default_stream", "enable_", "fuse_conv_bias",
    "gpu_external_", "gpu_mem_limit", "has_user_compute_stream", "prefer_nhwc", "sdpa_kernel", "tunable_op_", "use_ep_",
    "use_tf32",
)  # fmt: skip


def read_options(wheel: Path) -> dict[str, list[str]]:
    """Return the option names in a wheel, by "cuda", "tensorrt" and "session", and its version under "wheel".

    Raises:
        DataError: The file is no onnxruntime-gpu wheel.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = {name.rsplit("/", 1)[-1]: name for name in archive.namelist()}
            found = {kind: _names(archive.read(names[library]), kind) for kind, library in _LIBRARIES.items()}
            main = b"".join(archive.read(path) for name, path in names.items() if _MAIN.match(name))
    except (OSError, zipfile.BadZipFile, KeyError) as error:
        raise DataError(f"{wheel} must be a Linux wheel of onnxruntime-gpu; {error}.") from error
    found["session"] = sorted({key.decode() for key in _SESSION_KEYS.findall(main)})
    return {"wheel": ["-".join(wheel.name.split("-")[:2])], **found}


def _names(library: bytes, kind: str) -> list[str]:
    words = {word.decode() for word in _NAME.findall(library)}
    starts = ("trt_", "device_id") if kind == "tensorrt" else _CUDA_WORDS
    return sorted(word for word in words if word.startswith(starts))


def main() -> None:
    """Read a wheel and write the list."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("wheel", type=Path)
    found = read_options(parser.parse_args().wheel)
    with atomic_write(LIST) as temporary:
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")


if __name__ == "__main__":
    main()
