"""Which provider runs where the caller names none: the fastest that is installed for the precision, and never hidden.

ONNX Runtime computes fp32, so that adding a package never changes an fp32 answer by a bit. Only OpenVINO computes
bf16. int8 is quicker on OpenVINO, from the same graph with the same numbers, so it runs there if OpenVINO is installed
and the CPU multiplies int8 by itself: without VNNI OpenVINO's sums overflow. Elsewhere it runs on ONNX Runtime, and
`Clip.load` says so. What was chosen is `Clip.provider`. A provider
that turns out not to run here is an error as ever, not a reason to take another one.
"""

from __future__ import annotations

from clipfast.runtime.cpu import has_int8_products
from clipfast.runtime.openvino import openvino_version
from clipfast.runtime.provider_options import CpuOptions, OpenVinoOptions, ProviderOptions, provider_options

__all__ = ["MIN_OPENVINO", "choose_provider", "has_openvino", "openvino_hint"]

# 2025.3 to 2026.1 end the whole process (SIGFPE) on some CPUs of AMD: openvinotoolkit/openvino issue 35943.
MIN_OPENVINO = (2026, 2)


def choose_provider(provider: str | ProviderOptions | None, precision: str) -> ProviderOptions:
    """Return the options of the provider that is named, or of the one that suits the precision here.

    Args:
        provider: A name, options, or None for a choice by precision.
        precision: Of the graphs.

    Raises:
        ProviderError: No provider of that name.

    >>> choose_provider(None, "fp32").name, choose_provider(None, "bf16").name
    ('cpu', 'openvino')
    """
    if provider is not None:
        return provider_options(provider)
    if precision == "bf16" or (precision == "int8" and has_openvino() and has_int8_products()):
        return OpenVinoOptions()
    return CpuOptions()


def openvino_hint(provider: str | ProviderOptions | None, precision: str) -> str | None:
    """Return one sentence if int8 runs on ONNX Runtime only because OpenVINO is missing or too old, else None."""
    if provider is not None or precision != "int8" or has_openvino() or not has_int8_products():
        return None
    version = openvino_version()
    why = "openvino is not installed" if version is None else f"openvino {version} is too old to be chosen by itself"
    return (
        f"int8 runs on ONNX Runtime, because {why}; OpenVINO runs the same graph quicker: "
        "pip install --upgrade 'clipfast[openvino]'. provider='cpu' or 'openvino' chooses, and silences this."
    )


def has_openvino() -> bool:
    """Whether an openvino is installed that is new enough to be chosen without being asked for."""
    version = openvino_version()
    return version is not None and _numbers(version) >= MIN_OPENVINO


def _numbers(version: str) -> tuple[int, ...]:
    """Return year and release.

    >>> _numbers("2026.4.1"), _numbers("2026.5.0rc1")
    ((2026, 4), (2026, 5))
    """
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
