"""TensorRT engines of an artifact's graphs: what one depends on, whether it is there, how it is built and opened."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from clipfast.artifact import Artifact, GraphSpec, graph_key
from clipfast.errors import ProviderError
from clipfast.runtime.device import Opening, create_session, require_device_graph
from clipfast.runtime.engine_cache import CONTEXT_MODEL, EngineCache, Ingredients
from clipfast.runtime.gpu import Gpu, describe_gpu, tensorrt_version
from clipfast.runtime.provider_options import TensorRtOptions
from clipfast.storage import cache_dir

__all__ = ["engine_cache", "engine_ingredients", "find_engine", "open_engine", "profile_shapes"]

log = logging.getLogger(__name__)

# What an engine with engine_hw_compatible is recorded for: any GPU of compute capability 8.0 or later runs it.
_AMPERE, _EVERY_AMPERE, _FROM_AMPERE = 8, "Ampere or later", "8.0+"


def open_engine(artifact: Artifact, head: str, options: TensorRtOptions, spec: GraphSpec, opening: Opening) -> Any:
    """Open the engine of a graph, building it first where it is missing and may be built.

    Returns:
        ONNX Runtime's own session.

    Raises:
        ArtifactError: A file of the graph was changed.
        ProviderError: The engine cannot be built or opened, or is missing and may not be built.
    """
    cache, gpu = engine_cache(options), describe_gpu(options.device_id)
    (graph, *_) = artifact.verified(spec.files)
    ingredients = engine_ingredients(artifact, head, options, spec, opening.ort.__version__, gpu=gpu)
    context = cache.find(ingredients)
    if context is None:
        if options.build == "never":
            raise ProviderError(_no_engine(cache, ingredients))
        log.warning("Building the TensorRT engine of %s for %s; this takes minutes, once.", head, gpu.name)

        def make(folder: Path) -> None:
            entries = options.build_entries(ingredients.profile, spec.precision, folder / CONTEXT_MODEL, cache.timing)
            create_session(opening, graph, entries, opening.session_options())

        context = cache.build(ingredients, make)
    session_options = opening.session_options()
    session_options.graph_optimization_level = opening.ort.GraphOptimizationLevel.ORT_DISABLE_ALL  # one node
    return create_session(opening, context, options.entries(), session_options)


def find_engine(
    artifact: Artifact, head: str, options: TensorRtOptions, precision: str, ort_version: str
) -> Path | None:
    """Return the context model of a head's engine for this machine, or None if it is not built.

    Raises:
        ArtifactError: The artifact has no such graph.
        ProviderError: No GPU here, or no TensorRT.
    """
    spec = require_device_graph(artifact, head, options, precision)
    gpu = describe_gpu(options.device_id)
    return engine_cache(options).find(engine_ingredients(artifact, head, options, spec, ort_version, gpu=gpu))


def engine_cache(options: TensorRtOptions) -> EngineCache:
    """Return the folder of engines that options name."""
    return EngineCache(options.engines or cache_dir() / "engines")


def engine_ingredients(
    artifact: Artifact, head: str, options: TensorRtOptions, spec: GraphSpec, ort_version: str, *, gpu: Gpu
) -> Ingredients:
    """Return everything that an engine of this graph, on this GPU, with these options depends on."""
    manifest = artifact.manifest
    portable = options.engine_hw_compatible and int(gpu.capability.split(".")[0]) >= _AMPERE
    return Ingredients(
        head=head,
        files=tuple(manifest.files[name].sha256 for name in spec.files),
        precision=spec.precision,
        profile=profile_shapes(artifact, head, options),
        builder=tuple(sorted((name, value) for name, value in options.entries().items() if name != "device_id")),
        onnxruntime=ort_version,
        tensorrt=tensorrt_version(),
        driver=gpu.driver,
        gpu=_EVERY_AMPERE if portable else gpu.name,
        capability=_FROM_AMPERE if portable else gpu.capability,
    )


def profile_shapes(artifact: Artifact, head: str, options: TensorRtOptions) -> tuple[str, str, str]:
    """Return the smallest, usual and largest shapes of all inputs of a head, as ONNX Runtime is told them."""
    manifest = artifact.manifest
    rest = {"pixels": (*manifest.image.size_hw, 3), "alpha": (1,), "ids": (manifest.tokenizer.context_length,)}
    profile = options.profile_of(head)
    each = [profile.shapes(name, rest[name]) for name in manifest.graphs[graph_key(head)].inputs]
    low, middle, high = (",".join(part) for part in zip(*each, strict=True))
    return low, middle, high


def _no_engine(cache: EngineCache, ingredients: Ingredients) -> str:
    built = "python -m clipfast.export MODEL --engine tensorrt … on this machine, or TensorRtOptions(build='missing')"
    other = cache.nearest(ingredients)
    if other is None:
        return f"{cache.folder} holds no engine of {ingredients.head!r}. Build it: {built}."
    differing = ", ".join(
        f"{name} ({getattr(other, name)} there, {getattr(ingredients, name)} here)"
        if name in {"gpu", "capability", "driver", "tensorrt", "onnxruntime", "precision"}
        else name
        for name in ingredients.differences(other)
    )
    return (
        f"{cache.folder} holds an engine of {ingredients.head!r}, but of another {differing}; engines cannot be moved. "
        f"Build it: {built}."
    )
