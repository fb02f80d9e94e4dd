"""Where a result comes from: command, versions, seeds, data, model and machine, for every result file."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

__all__ = ["PACKAGES", "Provenance", "digest", "machine", "versions"]

# What can change a figure; those that are not installed are left out.
PACKAGES = (
    "clipfast", "numpy", "numba", "scipy", "onnxruntime", "onnxruntime-gpu", "openvino", "faiss-cpu", "faiss-gpu",
    "pillow", "simplejpeg", "tokenizers", "scikit-learn", "scikit-image", "matplotlib",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a result was made with. It holds no path but those that the user typed, no host name and no user name.

    Attributes:
        command: The command line, or what the caller says that he did.
        versions: Of Python and of the packages that can change a figure.
        seeds: By what they decide.
        data: SHA-256 by what it was taken of, such as "samples".
        model: Name, fingerprint, precision, provider, of the model that ran; empty where none did.
        machine: Operating system, processor, cores.
    """

    command: tuple[str, ...]
    versions: Mapping[str, str]
    seeds: Mapping[str, int] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)
    model: Mapping[str, str] = field(default_factory=dict)
    machine: Mapping[str, str | int] = field(default_factory=dict)

    @classmethod
    def collect(
        cls,
        *,
        command: Sequence[str] | None = None,
        seeds: Mapping[str, int] | None = None,
        data: Mapping[str, str] | None = None,
        model: Mapping[str, str] | None = None,
    ) -> Provenance:
        """Gather what can be known here.

        Args:
            command: What was done; None takes the arguments of this process behind the program's bare name.
            seeds: By what they decide.
            data: SHA-256 by what it was taken of.
            model: What identifies the model.

        >>> Provenance.collect(command=["clipfast", "localize"], seeds={"bootstrap": 0}).seeds
        {'bootstrap': 0}
        """
        typed = [Path(sys.argv[0]).name, *sys.argv[1:]] if command is None else list(command)
        return cls(tuple(typed), versions(), dict(seeds or {}), dict(data or {}), dict(model or {}), machine())

    def as_json(self) -> dict[str, Any]:
        """Return plain dicts and lists."""
        return {
            "command": list(self.command),
            "versions": dict(self.versions),
            "seeds": dict(self.seeds),
            "data": dict(self.data),
            "model": dict(self.model),
            "machine": dict(self.machine),
        }


def versions() -> dict[str, str]:
    """Return the version of Python and of each installed package of `PACKAGES`, without importing any."""
    from clipfast import __version__

    found = {"python": platform.python_version(), "clipfast": __version__}
    for name in PACKAGES:
        if name in found:
            continue
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, str | int]:
    """Return what decides speed and rounding: system, processor, and the cores that this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {"system": platform.system(), "architecture": platform.machine(), "processor": _processor(), "cores": cores}


def digest(parts: Iterable[str | bytes]) -> str:
    """Return the SHA-256 of a sequence of texts and bytes; each is told apart from the next.

    >>> digest(["ab", "c"]) != digest(["a", "bc"])
    True
    """
    total = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(len(data).to_bytes(8, "little") + data)
    return total.hexdigest()


def _processor() -> str:
    """Return the processor's name; Linux tells `platform` nothing but the architecture."""
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor()
