"""Time a diagnosis with every field, step by step.

python -m benchmarks.diagnose --samples 100000                 # of arrays
python -m benchmarks.diagnose --samples 100000 --files DIR     # of files, as the command does: read, diagnose, write
python -m benchmarks.diagnose --files DIR --only-write         # the files alone, to time `clipfast diagnose` on them
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import msgspec
import numpy as np

from clipfast.diagnostics import Boxes, Predictions, diagnose, read_predictions
from clipfast.report.diagnosis import DiagnosisReport

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


def write(data: Predictions, folder: Path) -> tuple[Path, Path]:
    """Write PREDICTIONS.jsonl, numbers to five digits, and the embeddings beside it."""
    assert data.attention is not None
    assert data.boxes is not None
    assert data.losses is not None
    assert data.image_only is not None
    assert data.texts is not None
    maps, boxes = data.attention.astype(np.float64).round(5), data.boxes.xyxy.round(5)
    folder.mkdir(parents=True, exist_ok=True)
    path, rows = folder / "predictions.jsonl", folder / "embeddings.npz"
    encode = msgspec.json.Encoder().encode
    with path.open("wb") as file:
        file.write(encode({"classes": data.classes}) + b"\n")
        for at, name in enumerate(data.ids):
            alone = data.image_only[at].round(5).tolist()
            line = {
                "id": name, "label": data.classes[int(data.labels[at])], "probs": data.probs[at].round(5).tolist(),
                "text": data.texts[at], "loss": data.losses[at].round(5).tolist(), "attention": maps[at].tolist(),
                "boxes": [boxes[at].tolist()], "image_only_probs": alone, "text_only_probs": alone,
                **{column: str(values[at]) for column, values in data.columns.items()},
            }  # fmt: skip
            file.write(encode(line) + b"\n")
    np.savez(rows, ids=np.array(data.ids), image=data.image_rows, text=data.text_rows)  # type: ignore[arg-type]  # drawn data have both
    return path, rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=100_000)
    parser.add_argument("--classes", type=int, default=20)
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--files", type=Path, metavar="DIR", help="write the samples as files, and read them")
    parser.add_argument("--only-write", action="store_true")
    options = parser.parse_args()
    data = made(options.samples, options.classes, options.width)
    paths = None if options.files is None else write(data, options.files)
    if options.only_write:
        return
    begin = last = time.perf_counter()

    def lap(what: str) -> None:
        nonlocal last
        now = time.perf_counter()
        print(f"{what}: {now - last:7.2f} s")  # noqa: T201  # what a script is for
        last = now

    if paths is not None:
        data = read_predictions(paths[0], embeddings=paths[1])
        lap(f"read {paths[0].stat().st_size / 1e6:.0f} MB")
    found = diagnose(data, progress=lambda done, total: lap(f"step {done} of {total}"))
    if paths is not None:
        DiagnosisReport("benchmark", found, data).save(options.files / "out")
        lap("report")
    named = ", ".join(finding.cause for finding in found.triage.raised)
    print(f"{options.samples:,} samples: {time.perf_counter() - begin:.2f} s; named: {named}")  # noqa: T201  # likewise


if __name__ == "__main__":
    main()
