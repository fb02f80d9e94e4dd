"""What may be asked of a model: what no machine, or not this one, could run is refused before anything is opened."""

from __future__ import annotations

import numpy as np

from clipfast.artifact import Artifact, Int8Report
from clipfast.errors import ArtifactError, ProviderError
from clipfast.runtime.cpu import available_cores, has_int8_products
from clipfast.runtime.provider_options import OpenVinoOptions, ProviderOptions, provider_options

__all__ = ["check_request", "require_int8", "stored_precision"]

_MOST_THREADS = 256  # ONNX Runtime starts them all before the first run
_PRECISIONS = ("fp32", "fp16", "bf16", "int8")


def check_request(provider: str | ProviderOptions, threads: int, precision: str = "fp32") -> None:
    """Refuse what no machine could run, without importing onnxruntime.

    Raises:
        ProviderError: Unknown provider or precision, no number of threads, bf16 where nothing computes in it, or int8
            on OpenVINO where the CPU would give other answers.
    """
    chosen = provider_options(provider)
    most = max(_MOST_THREADS, available_cores())
    if isinstance(threads, bool) or not isinstance(threads, int | np.integer) or not 1 <= threads <= most:
        raise ProviderError(
            f"threads must be a whole number, 1 to {most}; got {threads!r}. Leave it out.",
            code="bad_threads",
            most=most,
            got=repr(threads),
        )
    if precision not in _PRECISIONS:
        known = ", ".join(_PRECISIONS)
        raise ProviderError(
            f"precision must be one of {known}; got {precision!r}.",
            code="unknown_precision",
            known=known,
            got=repr(precision),
        )
    if precision == "bf16" and not isinstance(chosen, OpenVinoOptions):
        raise ProviderError(
            f"bf16 runs on provider 'openvino' only; got {chosen.name!r}, where ONNX Runtime has no bf16 products. "
            "Pass provider='openvino' (pip install 'clipfast[openvino]'), or precision='fp32'.",
            code="bf16_elsewhere",
            provider=chosen.name,
        )
    if precision == "int8" and isinstance(chosen, OpenVinoOptions) and has_int8_products() is False:
        raise ProviderError(
            "int8 on openvino needs a CPU with VNNI: without it OpenVINO adds products of int8 in 16 bits, which are "
            "too few, and answers are others (cosine .98). Use provider='cpu', which is exact, or precision='fp32'.",
            code="int8_needs_vnni",
        )


def stored_precision(provider: str | ProviderOptions, precision: str) -> str:
    """Return the precision of the graph that is read: OpenVINO runs the fp32 graph in bf16."""
    return "fp32" if precision == "bf16" and isinstance(provider_options(provider), OpenVinoOptions) else precision


def require_int8(artifact: Artifact, provider: ProviderOptions | None = None) -> None:
    """Refuse int8 where the artifact has none, and say why it has none.

    Raises:
        ArtifactError: It was never made, or the gate refused it; the message has the gate's figures.
    """
    report = artifact.manifest.int8
    if any(spec.precision == "int8" for spec in artifact.manifest.graphs.values()):
        if isinstance(provider, OpenVinoOptions) and provider.int8_rest == "bf16":
            _require_bf16_rest(artifact, report)
        return
    if report is not None:
        raise ArtifactError(
            f"{artifact.path} has no int8 graphs: the accuracy gate refused them when it was exported, because "
            f"{'; '.join(report.reasons)}. Use fp32, or export again with --calibration and images of your own.",
            code="int8_refused",
            path=artifact.path,
        )
    raise ArtifactError(
        f"{artifact.path} has no int8 graphs. Export it with --precision fp32,int8, or use precision fp32.",
        code="no_int8",
        path=artifact.path,
    )


def _require_bf16_rest(artifact: Artifact, report: Int8Report | None) -> None:
    """Refuse int8 with bf16 for the rest where the gate did not see it, or refused it."""
    if report is not None and report.figures_bf16_rest is not None and not report.reasons_bf16_rest:
        return
    why = (
        f"the accuracy gate refused it: {'; '.join(report.reasons_bf16_rest)}"
        if report is not None and report.reasons_bf16_rest
        else "its accuracy gate did not judge it; export again on a CPU with bf16 and OpenVINO"
    )
    raise ArtifactError(f"{artifact.path} does not run with int8_rest='bf16', because {why}. Use int8_rest='fp32'.")
