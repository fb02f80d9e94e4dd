"""Time a diagnosis with every field, step by step: python -m benchmarks.diagnose --samples 100000."""

from __future__ import annotations

import argparse
import time

import numpy as np

from clipfast.diagnostics import Boxes, Predictions, diagnose

GRID = 14


def made(count: int, classes: int, width: int) -> Predictions:
    """Samples around class centres, a tenth wrongly labelled, with every field."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(classes, width)).astype(np.float32)
    true = rng.integers(0, classes, count)
    rows = centres[true] + rng.normal(size=(count, width)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    logits = (20 * rows @ (centres / np.linalg.norm(centres, axis=1, keepdims=True)).T).astype(np.float64)
    probs = np.exp(logits - logits.max(axis=1, keepdims=True))
    labels = np.where(rng.random(count) < 0.1, rng.integers(0, classes, count), true)
    low = rng.random((count, 2)) * 0.7
    return Predictions(
        ids=tuple(map(str, range(count))),
        classes=tuple(map(str, range(classes))),
        labels=labels,
        probs=probs / probs.sum(axis=1, keepdims=True),
        texts=tuple(f"where is thing {label}?" for label in true.tolist()),
        columns={
            "split": np.where(np.arange(count) % 4 == 0, "train", "test"),
            "domain": np.array([f"d{i % 5}" for i in range(count)]),
            "template": np.array([f"t{i % 200}" for i in range(count)]),
        },
        losses=rng.random((count, 5)),
        attention=rng.random((count, GRID, GRID), np.float32) + 0.01,
        boxes=Boxes(np.hstack([low, low + 0.3]), np.arange(count)),
        image_only=np.full_like(probs, 1 / classes),
        text_only=np.full_like(probs, 1 / classes),
        image_rows=rows,
        text_rows=(centres / np.linalg.norm(centres, axis=1, keepdims=True))[true],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=100_000)
    parser.add_argument("--classes", type=int, default=20)
    parser.add_argument("--width", type=int, default=192)
    options = parser.parse_args()
    data = made(options.samples, options.classes, options.width)
    begin = last = time.perf_counter()

    def progress(done: int, total: int) -> None:
        nonlocal last
        now = time.perf_counter()
        print(f"step {done} of {total}: {now - last:7.2f} s")  # noqa: T201  # what a script is for
        last = now

    found = diagnose(data, progress=progress)
    named = ", ".join(finding.cause for finding in found.triage.raised)
    print(f"{options.samples:,} samples: {time.perf_counter() - begin:.2f} s; named: {named}")  # noqa: T201  # what a script is for


if __name__ == "__main__":
    main()
