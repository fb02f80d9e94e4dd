"""How many cores there are for us, and what the CPU lacks for int8, read from where Linux says it."""

from __future__ import annotations

import functools
import os
from pathlib import Path

__all__ = ["available_cores", "has_int8_products", "int8_shortcoming"]

_CPUINFO = Path("/proc/cpuinfo")
_DOT_PRODUCTS = {"avx512_vnni", "avx_vnni", "avx512vnni", "asimddp", "i8mm"}  # x86's names and Arm's
_WIDE = {"avx512f"}


def available_cores() -> int:
    """Return how many cores this process may use; ONNX Runtime's own default counts those of the host."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@functools.cache
def has_int8_products() -> bool | None:
    """Whether this CPU multiplies int8 by instructions of its own; None where nobody says so."""
    flags, _ = _flags(_read())
    return bool(flags & _DOT_PRODUCTS) if flags else None


def int8_shortcoming(cpuinfo: str | None = None) -> str | None:
    """Return one sentence about what makes int8 slower here than elsewhere, or None.

    Args:
        cpuinfo: The text of /proc/cpuinfo; None reads it. Where there is none, nothing is known and nothing is said.

    >>> int8_shortcoming("flags : avx2 avx512f avx512_vnni") is None
    True
    >>> print(int8_shortcoming("flags : avx2"))
    This CPU has neither VNNI nor AVX-512: int8 works on ONNX Runtime, with the same answers, but gains little.
    """
    flags, is_arm = _flags(_read() if cpuinfo is None else cpuinfo)
    if not flags or flags & _DOT_PRODUCTS:
        return None
    lacking = "no VNNI" if flags & _WIDE else "neither VNNI nor AVX-512"
    if is_arm:
        lacking = "no int8 dot products (asimddp, i8mm)"
    return f"This CPU has {lacking}: int8 works on ONNX Runtime, with the same answers, but gains little."


def _read() -> str:
    try:
        return _CPUINFO.read_text(encoding="utf-8")
    except OSError:
        return ""


def _flags(cpuinfo: str) -> tuple[set[str], bool]:
    """What the first core can, and whether it is one of Arm's, which call it features."""
    lines = [line for line in cpuinfo.splitlines() if line.lower().startswith(("flags", "features"))]
    if not lines:
        return set(), False
    return set(lines[0].partition(":")[2].split()), lines[0].lower().startswith("features")
