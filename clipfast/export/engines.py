"""`--engine`: build what a GPU provider needs on this machine, or say plainly that this machine cannot.

The artifact is finished before: it can be copied to a machine with a GPU, where the first use (or the same command)
builds the engines. Nothing here was run on a GPU yet.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from clipfast.artifact import Artifact, Precision, graph_key
from clipfast.errors import ClipfastError
from clipfast.runtime.clip import Clip
from clipfast.runtime.engines import find_engine
from clipfast.runtime.gpu import describe_gpu, tensorrt_version
from clipfast.runtime.provider_options import CudaOptions, TensorRtOptions
from clipfast.runtime.session import PROVIDERS, load_gpu_libraries, offered_providers

__all__ = ["BuiltEngine", "build_engines", "engine_folders", "why_not_here"]


@dataclass(frozen=True, slots=True)
class BuiltEngine:
    """One graph that was opened, and with TensorRT built, on this machine's GPU.

    Attributes:
        graph: Its name in the manifest.
        seconds: For building, opening and one run.
    """

    graph: str
    seconds: float


def why_not_here(options: CudaOptions | TensorRtOptions) -> str | None:
    """Return why a provider cannot run on this machine, in one sentence, or None where it can."""
    try:
        if options.name not in offered_providers():
            return (
                f"The installed onnxruntime has no {options.name} provider. Install it: {PROVIDERS[options.name][1]}."
            )
        describe_gpu(options.device_id)
        if isinstance(options, TensorRtOptions):
            load_gpu_libraries()
            tensorrt_version()
    except ClipfastError as error:
        return str(error)
    return None


def build_engines(
    artifact: Artifact,
    options: CudaOptions | TensorRtOptions,
    precisions: tuple[Precision, ...],
    *,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[BuiltEngine, ...]:
    """Open every graph of a provider and run it once; TensorRT's engines are built and kept by that.

    Args:
        artifact: With graphs of that provider.
        options: Of the provider.
        precisions: Which of them.
        progress: Called as `progress(what, done, total)` before each graph.

    Raises:
        ProviderError: The provider cannot run here (ask `why_not_here` first), or a build fails.
        ArtifactError: The artifact holds no graphs of that provider and precision.
    """
    tell = progress or (lambda *_: None)
    wanted = [(precision, head) for precision in precisions for head in artifact.manifest.heads]
    built = []
    for done, (precision, head) in enumerate(wanted):
        tell(f"building {head} in {precision}", done, len(wanted))
        start = time.perf_counter()
        with Clip.load(artifact.path, provider=options, precision=precision) as clip:
            clip.warm_up([head])
        built.append(BuiltEngine(graph_key(head, precision, options.flavour), time.perf_counter() - start))
    return tuple(built)


def engine_folders(artifact: Artifact, options: TensorRtOptions, precision: Precision) -> dict[str, Path]:
    """Return the folder of each head's engine on this machine, for those that are built.

    Raises:
        ProviderError: No GPU here, or no TensorRT.
    """
    version = metadata.version("onnxruntime-gpu")
    found = {head: find_engine(artifact, head, options, precision, version) for head in artifact.manifest.heads}
    return {head: context.parent for head, context in found.items() if context is not None}
