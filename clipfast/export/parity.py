"""The gate: every output of every graph against the PyTorch reference, or nothing is written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from clipfast.artifact import Artifact, Parity
from clipfast.errors import ParityError
from clipfast.export import reference
from clipfast.export.weights import LoadedModel
from clipfast.runtime.session import Session, available_cores, open_session
from clipfast.types import Floats, Ints, Pixels

__all__ = ["BATCHES", "MAX_ABS_DIFF", "MIN_COSINE", "measure", "require", "sample_ids", "sample_pixels"]

BATCHES = (1, 5)
MAX_ABS_DIFF = 1e-4  # on unit rows, fp32
MIN_COSINE = 1 - 1e-6
_ALPHAS = (0.5, 0.2)  # the default, and one that tells the two streams apart


@dataclass(frozen=True, slots=True)
class _Case:
    graph: str
    output: str
    got: Floats
    wanted: Floats


def measure(artifact: Artifact, source: LoadedModel, *, seed: int = 0) -> tuple[Parity, ...]:
    """Run every graph of an artifact beside the reference on seeded inputs, at each batch size of `BATCHES`.

    Returns:
        One row per graph, output and batch size: largest absolute difference and smallest cosine of unit rows.
    """
    threads = available_cores()
    sessions = {
        name: open_session(artifact, name, provider="cpu", precision=spec.precision, threads=threads)
        for name, spec in artifact.manifest.graphs.items()
    }
    rows: dict[tuple[str, str, int], Parity] = {}
    for batch in BATCHES:
        for case in _cases(artifact, source, sessions, batch=batch, seed=seed + batch):
            row = _compare(case, batch)
            key = (case.graph, case.output, batch)
            rows[key] = _worse(rows[key], row) if key in rows else row
    return tuple(rows.values())


def require(rows: tuple[Parity, ...]) -> None:
    """Raise if any row is outside the fp32 limits.

    Raises:
        ParityError: Names the output, the figures and the limits.
    """
    for row in rows:
        # Written so that NaN fails too.
        if not (row.max_abs_diff <= MAX_ABS_DIFF and row.min_cosine >= MIN_COSINE):
            raise ParityError(
                f"{row.graph}.{row.output} at batch {row.batch} differs from the PyTorch reference: max |diff| "
                f"{row.max_abs_diff:.2e} (limit {MAX_ABS_DIFF:.0e}), min cosine {row.min_cosine:.8f} (limit "
                f"{MIN_COSINE}). Nothing was written. Please report the model and the versions in use."
            )


def sample_pixels(size_hw: tuple[int, int], batch: int, *, seed: int) -> Pixels:
    """Seeded test images: noise on smooth gradients, with the channels kept apart so that a swap shows."""
    rng = np.random.default_rng(seed)
    h, w = size_hw
    y, x = np.mgrid[0:h, 0:w] / max(h, w)
    waves = (
        rng.uniform(1, 9, (batch, 1, 1, 3)) * x[None, :, :, None]
        + rng.uniform(1, 9, (batch, 1, 1, 3)) * y[None, :, :, None]
    )
    smooth = 127 + np.array([110, 70, 30]) * np.sin(waves)
    pixels: Pixels = np.clip(smooth + rng.normal(0, 40, (batch, h, w, 3)), 0, 255).astype(np.uint8)
    return pixels


def sample_ids(context: int, vocab: int, batch: int, *, seed: int) -> Ints:
    """Seeded full-length token rows of different lengths: start, words, end, zeros."""
    rng = np.random.default_rng(seed)
    ids = np.zeros((batch, context), np.int64)
    for row in ids:
        words = int(rng.integers(0, context - 1))
        row[0], row[1 : 1 + words], row[1 + words] = vocab - 2, rng.integers(1, vocab - 2, words), vocab - 1
    return ids


def _cases(
    artifact: Artifact, source: LoadedModel, sessions: dict[str, Session], *, batch: int, seed: int
) -> Iterator[_Case]:
    manifest = artifact.manifest
    pixels = sample_pixels(manifest.image.size_hw, batch, seed=seed)
    tensor = torch.from_numpy(pixels)
    embedding = reference.image_embedding(source.model, tensor, source.image).numpy()
    yield _Case("embed", "embedding", sessions["embed"].run({"pixels": pixels})["embedding"], embedding)

    qk, vv = reference.surgery_streams(source.model, tensor, source.image, depth=manifest.model.surgery_depth)
    for alpha in _ALPHAS:
        wanted = reference.surgery_tokens(source.model, (qk, vv, alpha * qk + (1 - alpha) * vv))
        got = sessions["dense"].run({"pixels": pixels, "alpha": np.asarray(alpha, np.float32)})
        yield _Case("dense", "embedding", got["embedding"], embedding)
        for name, tokens in zip(("qk", "vv", "mixed"), wanted, strict=True):
            yield _Case("dense", name, got[name], tokens.numpy())

    spec = manifest.tokenizer
    ids = sample_ids(spec.context_length, spec.vocab_size, batch, seed=seed)
    trimmed = ids[:, : int((ids != 0).sum(axis=1).max())]
    texts = reference.text_embedding(source.model, torch.from_numpy(ids)).numpy()
    yield _Case("text", "embedding", sessions["text"].run({"ids": trimmed})["embedding"], texts)


def _compare(case: _Case, batch: int) -> Parity:
    if case.got.shape != case.wanted.shape:
        raise ParityError(f"{case.graph}.{case.output} must be {case.wanted.shape}; the graph gives {case.got.shape}.")
    got, wanted = _unit_rows(case.got), _unit_rows(case.wanted)
    return Parity(
        graph=case.graph,
        output=case.output,
        batch=batch,
        max_abs_diff=float(np.abs(got - wanted).max()),
        min_cosine=float((got * wanted).sum(axis=-1).min()),
    )


def _worse(a: Parity, b: Parity) -> Parity:
    return Parity(
        graph=a.graph,
        output=a.output,
        batch=a.batch,
        max_abs_diff=float(np.maximum(a.max_abs_diff, b.max_abs_diff)),  # keeps NaN, max() may not
        min_cosine=float(np.minimum(a.min_cosine, b.min_cosine)),
    )


def _unit_rows(x: Floats) -> np.ndarray:
    wide = x.astype(np.float64)
    rows: np.ndarray = wide / np.linalg.norm(wide, axis=-1, keepdims=True)
    return rows
