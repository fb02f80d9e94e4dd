"""The whole gate again, for an artifact that is already there and the checkpoint it claims to come from."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path

from clipfast.artifact import Artifact, Parity, head_of
from clipfast.errors import ArtifactError
from clipfast.export import parity
from clipfast.export.device_proof import only_kind
from clipfast.export.options import ExportOptions
from clipfast.export.pipeline import load_source
from clipfast.export.weights import LoadedModel
from clipfast.runtime.parity import require
from clipfast.runtime.provider_options import ProviderOptions, provider_options
from clipfast.runtime.request import stored_precision
from clipfast.runtime.session import Session, open_session

__all__ = ["source_of", "verify_against"]


def verify_against(
    artifact: Artifact, checkpoint: Path, *, provider: str | ProviderOptions, precision: str, threads: int
) -> tuple[Parity, ...]:
    """Compare every graph of a provider and precision with a checkpoint in PyTorch, at each batch size of the gate.

    Raises:
        ArtifactError: The artifact was made from other weights, or the checkpoint cannot be read, or there are no such
            graphs.
        ParityError: An output is outside the limits.
        ProviderError: The provider cannot run here.
    """
    source = source_of(artifact, checkpoint)
    manifest = only_kind(artifact.manifest, stored_precision(provider, precision), provider_options(provider).flavour)

    def open_graph(key: str) -> Session:
        return open_session(artifact, head_of(key), provider=provider, precision=precision, threads=threads)

    if not manifest.graphs:
        open_graph(artifact.manifest.heads[0])  # says what the artifact holds instead
    rows = parity.measure(manifest, source, open_graph)
    require(rows, precision)
    return rows


def source_of(artifact: Artifact, checkpoint: Path) -> LoadedModel:
    """Load the PyTorch model that an artifact was made from.

    Raises:
        ArtifactError: The artifact was made from other weights, or the checkpoint cannot be read.
    """
    manifest = artifact.manifest
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / f"{manifest.source.architecture}.json"
        config.write_text(json.dumps(json.loads(manifest.source.config)), encoding="utf-8")
        source = load_source(
            ExportOptions(
                architecture=str(config),
                pretrained=str(checkpoint),
                activation=manifest.model.activation,
                compact=manifest.source.compact,
            )
        )
    if source.weights_sha256 != manifest.source.weights_sha256:
        raise ArtifactError(
            f"{artifact.path} was not made from {checkpoint}: its weights have SHA-256 "
            f"{manifest.source.weights_sha256[:16]}…, the checkpoint's {source.weights_sha256[:16]}…."
        )
    return replace(source, image=manifest.image)  # a tag may bring its own mean and std
