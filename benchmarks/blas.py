"""OpenBLAS's best kernels for NumPy and FAISS, chosen before either is loaded: a peer is raced at its best.

OpenBLAS tells AMD's AVX-512 CPUs from Intel's, and takes kernels of 256 bits for them; an environment may force such
kernels, too. With those of SkylakeX, a NumPy product here takes half the time.
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["choose_kernels"]

_CPUINFO = Path("/proc/cpuinfo")
_BEST = "SkylakeX"


def choose_kernels(cpuinfo: str | None = None) -> str | None:
    """Set OPENBLAS_CORETYPE where the CPU has AVX-512, and return it; elsewhere leave what is there."""
    text = cpuinfo if cpuinfo is not None else _CPUINFO.read_text(encoding="utf-8") if _CPUINFO.is_file() else ""
    flags = next((line.split(":")[1].split() for line in text.splitlines() if line.startswith("flags")), [])
    if {"avx512f", "avx512dq", "avx512bw", "avx512vl"} <= set(flags) and "AuthenticAMD" in text:
        os.environ["OPENBLAS_CORETYPE"] = _BEST
        os.environ.pop("OPENBLAS_L2_SIZE", None)
    return os.environ.get("OPENBLAS_CORETYPE")
