"""How far a graph is from what PyTorch computed: figures, limits, and a check that needs no PyTorch.

Export stores one input and the reference's answers in `reference.npz`, so an artifact can be proven again anywhere: on
another machine, another version of ONNX Runtime, another provider.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipfast.artifact import REFERENCE_NAME, Artifact, Parity, head_of
from clipfast.errors import ArtifactError, ParityError
from clipfast.runtime.provider_options import ProviderOptions, provider_options
from clipfast.runtime.request import stored_precision
from clipfast.runtime.session import open_session
from clipfast.storage import load_sealed_npz

__all__ = ["LIMITS", "MAX_ABS_DIFF", "MAX_NORM_ERROR", "MIN_COSINE", "Limits", "compare", "require", "thin", "verify"]

MAX_ABS_DIFF = 1e-4  # on unit rows, fp32
MIN_COSINE = 1 - 1e-6
MAX_NORM_ERROR = 1e-4
_KEPT_ROWS = 4


@dataclass(frozen=True, slots=True)
class Limits:
    """How far an output may be from the reference.

    Attributes:
        max_abs_diff: Of unit rows.
        min_cosine: Of class-token embeddings.
        min_patch_cosine: Of every other output's rows.
        max_norm_error: Relative, of a row's length.
    """

    max_abs_diff: float
    min_cosine: float
    min_patch_cosine: float
    max_norm_error: float


LIMITS: dict[str, Limits] = {  # by precision
    "fp32": Limits(MAX_ABS_DIFF, MIN_COSINE, MIN_COSINE, MAX_NORM_ERROR),
    "fp16": Limits(0.1, 0.999, 0.995, 0.05),  # cosines are the gate; the others notice a wrong scale or one bad channel
    "bf16": Limits(0.05, 0.9995, 0.999, 0.02),
    # The gate of int8 is in the export, on images. Stored inputs are noise, which nothing was calibrated for: this only
    # notices broken graphs.
    "int8": Limits(0.5, 0.9, 0.8, 0.3),
}


def compare(graph: str, output: str, got: NDArray[Any], wanted: NDArray[Any]) -> Parity:
    """Measure one output against its reference, on unit rows.

    Args:
        graph: Name of the graph.
        output: Name of the output.
        got: What the graph gave, (batch, ..., e).
        wanted: What it must give, the same shape.

    Raises:
        ParityError: The shapes differ.
    """
    if got.shape != wanted.shape:
        raise ParityError(f"{graph}.{output} must be {wanted.shape}; the graph gives {got.shape}.")
    lengths, wanted_lengths = _lengths(got), _lengths(wanted)
    mine, theirs = got / lengths, wanted / wanted_lengths
    return Parity(
        graph=graph,
        output=output,
        batch=len(got),
        max_abs_diff=float(np.abs(mine - theirs).max()),
        min_cosine=float((mine * theirs).sum(axis=-1).min()),
        max_norm_error=float(np.abs(lengths / wanted_lengths - 1).max()),
    )


def require(rows: tuple[Parity, ...], precision: str = "fp32") -> None:
    """Raise if any row is outside the limits of a precision.

    Raises:
        ParityError: Names the output, the figures and the limits.
    """
    limits = LIMITS[precision]
    for row in rows:
        min_cosine = limits.min_cosine if row.output == "embedding" else limits.min_patch_cosine
        # Written so that NaN fails too.
        within = row.max_abs_diff <= limits.max_abs_diff and row.max_norm_error <= limits.max_norm_error
        if not (within and row.min_cosine >= min_cosine):
            raise ParityError(
                f"{row.graph}.{row.output} at batch {row.batch} differs from the PyTorch reference: max |diff| "
                f"{row.max_abs_diff:.2e} (limit {limits.max_abs_diff:.0e}), min cosine {row.min_cosine:.8f} (limit "
                f"{min_cosine}), max error of a length {row.max_norm_error:.2e} (limit "
                f"{limits.max_norm_error:.0e}). Do not use it; please report the model and the versions in use."
            )


def thin(tokens: NDArray[Any]) -> NDArray[Any]:
    """Keep four rows of the patch axis, evenly spaced: enough to notice a difference, small enough to store."""
    if tokens.ndim < 3:
        return tokens
    at = np.unique(np.linspace(0, tokens.shape[-2] - 1, _KEPT_ROWS).astype(np.int64))
    return np.take(tokens, at, axis=-2)


def verify(
    artifact: Artifact, *, provider: str | ProviderOptions = "cpu", precision: str = "fp32", threads: int = 1
) -> tuple[Parity, ...]:
    """Hash every file, run every graph of a provider on the stored input, and compare with PyTorch's stored answers.

    Returns:
        One row per graph and output, at batch 1.

    Raises:
        ArtifactError: A file is missing or was changed, or a graph is of another precision.
        ParityError: An output is outside the limits.
        ProviderError: The provider cannot run here.
    """
    artifact.verified(artifact.manifest.files, rehash=True)
    stored = load_sealed_npz(artifact.path / REFERENCE_NAME, kind="parity reference")
    rows: list[Parity] = []
    kind = (stored_precision(provider, precision), provider_options(provider).flavour)
    graphs = {key: spec for key, spec in artifact.manifest.graphs.items() if (spec.precision, spec.flavour) == kind}
    for name, spec in (graphs or artifact.manifest.graphs).items():  # without any, opening says what there is
        head = head_of(name)
        session = open_session(artifact, head, provider=provider, precision=precision, threads=threads)
        outputs = session.run(_inputs(stored, spec.inputs, artifact))
        found = [compare(name, output, thin(outputs[output]), stored[f"{head}.{output}"]) for output in spec.outputs]
        require(tuple(found), precision)
        rows += found
    return tuple(rows)


def _inputs(stored: Mapping[str, NDArray[Any]], names: tuple[str, ...], artifact: Artifact) -> dict[str, NDArray[Any]]:
    if missing := [name for name in names if name not in stored]:
        raise ArtifactError(f"{artifact.path / REFERENCE_NAME} holds no {', '.join(missing)}. Export the model again.")
    return {name: stored[name] for name in names}


def _lengths(x: NDArray[Any]) -> NDArray[np.float64]:
    lengths: NDArray[np.float64] = np.linalg.norm(x.astype(np.float64), axis=-1, keepdims=True)
    return lengths
