"""The gate: every output of every graph against the PyTorch reference, or nothing is written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from clipfast.artifact import REFERENCE_NAME, Manifest, Parity, head_of
from clipfast.export import reference, reference_tokens
from clipfast.export.sample_inputs import sample_ids, sample_pixels
from clipfast.export.weights import LoadedModel
from clipfast.runtime.parity import compare, thin
from clipfast.runtime.session import Session
from clipfast.storage import save_sealed_npz

__all__ = ["BATCHES", "measure", "sample_ids", "sample_pixels", "write_reference"]

BATCHES = (1, 5)
_ALPHAS = (0.5, 0.2)  # the default, and one that tells the two streams apart
Answers = dict[str, dict[str, NDArray[Any]]]


def measure(
    manifest: Manifest, source: LoadedModel, open_graph: Callable[[str], Session], *, seed: int = 0
) -> tuple[Parity, ...]:
    """Run every graph beside the reference on seeded inputs, at each batch size of `BATCHES`.

    Args:
        manifest: Of the artifact.
        source: The model it was made from.
        open_graph: Opens a graph of the manifest. Each is let go before the next: of a large model, all at once do not
            fit into memory.
        seed: Of the inputs.

    Returns:
        One row per graph, output and batch size: largest absolute difference and smallest cosine of unit rows.
    """
    cases = []
    for batch in BATCHES:
        for alpha in _ALPHAS:
            inputs = sample_inputs(manifest, batch, alpha=alpha, seed=seed + batch)
            graphs = [g for g, spec in manifest.graphs.items() if alpha == _ALPHAS[0] or "alpha" in spec.inputs]
            wanted = answers(manifest, source, inputs, graphs)
            cases.append((inputs | {"ids": _trimmed(inputs["ids"])}, wanted))
    rows: dict[tuple[str, str, int], Parity] = {}
    for graph, spec in manifest.graphs.items():
        session = open_graph(graph)
        for inputs, wanted in cases:
            if graph not in wanted:
                continue
            got = session.run({name: inputs[name] for name in spec.inputs})
            for output, value in wanted[graph].items():
                row = compare(graph, output, got[output], value)
                key = (graph, output, row.batch)
                rows[key] = _worse(rows[key], row) if key in rows else row
        del session
    return tuple(rows.values())


def write_reference(manifest: Manifest, source: LoadedModel, folder: Path, *, seed: int = 0) -> None:
    """Store one input and the reference's answers, thinned, so that the artifact can be verified without PyTorch."""
    inputs = sample_inputs(manifest, 1, alpha=_ALPHAS[1], seed=seed)
    wanted = answers(manifest, source, inputs, manifest.graphs)
    stored = {
        f"{head_of(graph)}.{output}": thin(value)
        for graph, outputs in wanted.items()
        for output, value in outputs.items()
    }
    save_sealed_npz(folder / REFERENCE_NAME, inputs | {"ids": _trimmed(inputs["ids"])} | stored)


def sample_inputs(manifest: Manifest, batch: int, *, alpha: float, seed: int) -> dict[str, NDArray[Any]]:
    """Seeded inputs of every graph, by name."""
    spec = manifest.tokenizer
    return {
        "pixels": sample_pixels(manifest.image.size_hw, batch, seed=seed),
        "alpha": np.asarray(alpha, np.float32),
        "ids": sample_ids(spec.context_length, spec.vocab_size, batch, seed=seed),
    }


def answers(
    manifest: Manifest, source: LoadedModel, inputs: Mapping[str, NDArray[Any]], graphs: Iterable[str]
) -> Answers:
    """Return what the reference gives for every output of some of the manifest's graphs."""
    model, image = source.model, source.image
    pixels, alpha = torch.from_numpy(inputs["pixels"]), float(inputs["alpha"])
    depth = manifest.model.surgery_depth
    tokens = reference_tokens.block_tokens(model, pixels, image)
    qk, vv = reference.surgery_streams(model, pixels, image, depth=depth)
    streams = reference.surgery_tokens(model, (qk, vv, alpha * qk + (1 - alpha) * vv))
    known = dict(zip(("qk", "vv", "mixed"), streams, strict=True))
    known["embedding"] = reference.image_embedding(model, pixels, image)

    def vision(output: str) -> torch.Tensor:
        if output in known:
            return known[output]
        if output.startswith("block_"):
            return tokens[int(output.removeprefix("block_"))][:, 1:]
        if output == "plain":
            return reference_tokens.plain_tokens(model, tokens)
        if output == "class_attention":
            return reference_tokens.class_attention(model, tokens)
        return reference_tokens.preset_tokens(model, tokens, output, depth=depth)

    def answer(graph: str, output: str) -> torch.Tensor:
        if head_of(graph) == "text":
            return reference.text_embedding(model, torch.from_numpy(inputs["ids"]))
        return vision(output)

    return {
        graph: {output: answer(graph, output).numpy() for output in manifest.graphs[graph].outputs} for graph in graphs
    }


def _trimmed(ids: NDArray[Any]) -> NDArray[Any]:
    """Without the columns in which every row is padding, as the tokenizer gives them."""
    return np.ascontiguousarray(ids[:, : int((ids != 0).sum(axis=1).max())])


def _worse(a: Parity, b: Parity) -> Parity:
    return Parity(
        graph=a.graph,
        output=a.output,
        batch=a.batch,
        max_abs_diff=float(np.maximum(a.max_abs_diff, b.max_abs_diff)),  # keeps NaN, max() may not
        min_cosine=float(np.minimum(a.min_cosine, b.min_cosine)),
        max_norm_error=float(np.maximum(a.max_norm_error, b.max_norm_error)),
    )
