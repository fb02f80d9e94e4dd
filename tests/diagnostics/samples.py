"""Made-up predictions for the tests of diagnostics."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from clipfast.diagnostics import Predictions


def write_lines(path: Path, lines: list[Any]) -> Path:
    """Write JSON lines; strings are written as they are."""
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines) + "\n")
    return path


def clustered(
    count: int = 400, *, classes: int = 8, noise: float = 0.0, seed: int = 0, train: float = 0.5
) -> Predictions:
    """Samples around class centres, answered by the true centres; a share of the labels is wrong."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(classes, 24))
    true = rng.integers(0, classes, count)
    rows = centres[true] + 0.7 * rng.normal(size=(count, 24))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    logits = 15 * rows @ (centres / np.linalg.norm(centres, axis=1, keepdims=True)).T
    probs = np.exp(logits - logits.max(axis=1, keepdims=True))
    labels = true.copy()
    flipped = rng.permutation(count)[: round(noise * count)]
    labels[flipped] = (true[flipped] + rng.integers(1, classes, len(flipped))) % classes
    split = np.where(np.arange(count) < train * count, "train", "test")
    return Predictions(
        ids=tuple(f"s{i}" for i in range(count)),
        classes=tuple(f"class {i}" for i in range(classes)),
        labels=labels,
        probs=probs / probs.sum(axis=1, keepdims=True),
        texts=tuple(f"where is thing {label}" for label in true.tolist()),
        columns={"split": split, "question_type": np.where(np.arange(count) % 3 > 0, "where", "count")},
        image_rows=rows.astype(np.float32),
    )
