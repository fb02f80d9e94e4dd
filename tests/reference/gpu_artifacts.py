"""The embedded model with graphs that claim to be those of GPU providers, for tests without a GPU."""

from __future__ import annotations

from pathlib import Path

import msgspec

from clipfast.artifact import Artifact, graph_key
from clipfast.runtime.session import PROVIDERS

MINI = Artifact.open(Path(__file__).resolve().parents[2] / "clipfast" / "models" / "mini")
CUDA = PROVIDERS["cuda"][0]


def _with_device_graphs(*flavours: str) -> Artifact:
    """The embedded model, claiming that its own graphs are those of GPU providers."""
    graphs = dict(MINI.manifest.graphs)
    for flavour in flavours:
        for head in ("text", "embed"):
            spec = msgspec.structs.replace(MINI.manifest.graphs[head], flavour=flavour)
            graphs[graph_key(head, "fp32", flavour)] = spec  # type: ignore[arg-type]  # a key made at run time
    return Artifact(MINI.path, msgspec.structs.replace(MINI.manifest, graphs=graphs))


BOTH = _with_device_graphs("cuda", "tensorrt")
