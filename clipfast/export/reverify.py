"""The whole gate again, for an artifact that is already there and the checkpoint it claims to come from."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

from clipfast.artifact import Artifact, Parity
from clipfast.errors import ArtifactError
from clipfast.export import parity
from clipfast.export.options import ExportOptions
from clipfast.export.pipeline import load_source
from clipfast.export.weights import LoadedModel
from clipfast.runtime.parity import require
from clipfast.runtime.session import open_session

__all__ = ["source_of", "verify_against"]


def verify_against(
    artifact: Artifact, checkpoint: Path, *, provider: str, precision: str, threads: int
) -> tuple[Parity, ...]:
    """Compare every graph with a checkpoint in PyTorch, at each batch size of the gate.

    Raises:
        ArtifactError: The artifact was made from other weights, or the checkpoint cannot be read.
        ParityError: An output is outside the limits.
        ProviderError: The provider cannot run here.
    """
    manifest, source = artifact.manifest, source_of(artifact, checkpoint)
    open_graph = partial(open_session, artifact, provider=provider, precision=precision, threads=threads)
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
