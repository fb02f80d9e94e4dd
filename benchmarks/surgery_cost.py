"""What Surgery costs: the `dense` graph beside `embed`, and feature surgery alone.

    python -m benchmarks.surgery_cost mini ViT-B-32 ViT-B-16 ViT-L-14

One `dense` forward gives all four paths. Its time over that of `embed`, in rounds that take turns, stands beside the
ratio of their multiplications, which are counted from the shapes of what ONNX Runtime really ran. A model is an
artifact's folder, `mini`, or an open_clip name, which is exported with seeded weights first (needs clipfast[export]):
speed does not depend on the values. Then feature surgery of 59 texts on 1,024 patches: its time, and the memory that it
takes at four sizes. Prints tables and writes JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Mapping
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "2")  # before any library reads it

import numpy as np
import onnxruntime as ort

from benchmarks.race import Case, machine, race
from clipfast.artifact import Artifact
from clipfast.runtime.models import embedded_models, find_model
from clipfast.runtime.session import open_session
from clipfast.similarity import feature_surgery
from clipfast.types import Floats, Pixels

SLACK, AIM = 0.04, 0.01  # beyond the ratio of multiplications: at most, and what is aimed at
TEXTS, PATCHES, WIDTH = 59, 1024, 512
MUST_MS = 5.0
PACKAGES = ("numpy", "onnxruntime")


def multiplications(graph: Path, feeds: Mapping[str, Any]) -> int:
    """Count the multiply-accumulates of matrix products, convolutions and attention that a graph runs.

    Read from ONNX Runtime's profile: the shapes of what was executed after its own rewriting, not of what was written.
    """
    with tempfile.TemporaryDirectory() as folder:
        options = ort.SessionOptions()
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        options.log_severity_level = 3
        session = ort.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
        session.run(None, dict(feeds))
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    return sum(
        products_of(event["args"])
        for event in events
        if event.get("cat") == "Node" and "output_type_shape" in event.get("args", {})
    )


def products_of(node: Mapping[str, Any]) -> int:
    """Count the multiply-accumulates of one executed node of a profile.

    Raises:
        ValueError: Its kind multiplies matrices in a way that is not known here.
    """
    kind = node["op_name"]
    inputs, outputs = ([shape for each in node[f"{side}_type_shape"] for shape in each.values()] for side in _SIDES)
    if kind in {"MatMul", "FusedMatMul", "Gemm", "FusedGemm", "MatMulScale"}:
        left, out = inputs[0], outputs[0]  # a constant right side is packed and not listed
        if left[-2:-1] != out[-2:-1]:
            raise ValueError(f"{kind} of {inputs} to {outputs} is transposed on the left; that is not counted here.")
        return int(prod(out) * left[-1])
    if kind == "MultiHeadAttention":
        (batch, queries, width), keys = inputs[0], inputs[1][1]
        return int(2 * batch * queries * keys * width)
    if kind in {"Conv", "FusedConv"}:
        return int(prod(outputs[0]) * prod(inputs[1][1:]))
    if any(part in kind for part in ("Attention", "MatMul", "Gemm", "Conv", "Einsum")):
        raise ValueError(f"multiplications of {kind} are not counted; teach products_of its shapes.")
    return 0


_SIDES = ("input", "output")


def cost(name: str, artifact: Artifact, threads: int, batch: int, rounds: int) -> dict[str, Any]:
    """Race `dense` against `embed`; the ratio is dense over embed."""
    sessions = {
        graph: open_session(artifact, graph, provider="cpu", precision="fp32", threads=threads)
        for graph in ("embed", "dense")
    }
    size_hw = artifact.manifest.image.size_hw
    pixels: Pixels = np.random.default_rng(0).integers(0, 256, (batch, *size_hw, 3), dtype=np.uint8)
    feeds: dict[str, dict[str, Any]] = {
        "embed": {"pixels": pixels},
        "dense": {"pixels": pixels, "alpha": np.asarray(0.5, np.float32)},
    }

    def same(answers: Mapping[str, Any]) -> dict[str, float]:
        gap = float(np.abs(answers["clipfast"]["embedding"] - answers["dense"]["embedding"]).max())
        if gap > 1e-4:
            raise AssertionError(f"dense and embed must give one embedding; they differ by {gap:g}.")
        return {"largest_difference": gap}

    contenders = {  # the race calls its base `clipfast`
        "clipfast": partial(sessions["embed"].run, feeds["embed"]),
        "dense": partial(sessions["dense"].run, feeds["dense"]),
    }
    case = Case(f"{name}, batch {batch}", contenders, same, rounds=rounds)
    found = race(case)
    counts = {graph: multiplications(artifact.path / f"{graph}.onnx", feeds[graph]) for graph in feeds}
    by_count = counts["dense"] / counts["embed"]
    ratio = found["ratios"]["dense"]
    return {
        "model": name,
        "batch": batch,
        "embed_ms": found["contenders"]["clipfast"],
        "dense_ms": found["contenders"]["dense"],
        "load_before": found["load_before"],
        "ratio": ratio,
        "multiplications": counts,
        "multiplication_ratio": by_count,
        "at_most": by_count + SLACK,
        "aim": by_count + AIM,
        "reached": None if name == "mini" else ratio["ratio"] <= by_count + SLACK,
    }


def surgery_alone(rounds: int) -> dict[str, Any]:
    """Time and memory of feature surgery; memory at four sizes shows what it grows with."""
    times = []
    tokens, embedding, texts = _unit(1, PATCHES, WIDTH), _unit(1, WIDTH), _unit(TEXTS, WIDTH)
    feature_surgery(tokens, embedding, texts)
    for _ in range(rounds):
        start = time.perf_counter()
        feature_surgery(tokens, embedding, texts)
        times.append(1e3 * (time.perf_counter() - start))
    memory = []
    for patches, count in ((PATCHES, TEXTS), (2 * PATCHES, TEXTS), (PATCHES, 2 * TEXTS), (2 * PATCHES, 2 * TEXTS)):
        given = _unit(1, patches, WIDTH), embedding, _unit(count, WIDTH)
        tracemalloc.start()
        result = feature_surgery(*given)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        memory.append({
            "patches": patches, "texts": count, "peak_bytes": peak, "result_bytes": result.nbytes,
            "peak_of_result": peak / result.nbytes, "original_bytes": 4 * patches * count * WIDTH,
        })  # fmt: skip
    low, high = np.percentile(times, [2.5, 97.5])
    return {
        "texts": TEXTS, "patches": PATCHES, "width": WIDTH, "median_ms": statistics.median(times), "low_ms": float(low),
        "high_ms": float(high), "rounds": rounds, "must_ms": MUST_MS, "reached": statistics.median(times) <= MUST_MS,
        "memory": memory,
    }  # fmt: skip


def artifact_of(name: str, folder: Path) -> Artifact:
    """Open a folder or an embedded model, or export an open_clip model with seeded weights into a folder."""
    if name in embedded_models() or (Path(name) / "manifest.json").is_file():
        return Artifact.open(find_model(name))
    from clipfast.export.options import ExportOptions
    from clipfast.export.pipeline import export

    return export(ExportOptions(name, heads=("embed", "dense")), folder / name)


def _unit(*shape: int) -> Floats:
    rows = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    out: Floats = rows / np.linalg.norm(rows, axis=-1, keepdims=True)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["mini"], help="artifacts, mini, or open_clip names")
    parser.add_argument("--batches", default="1,8")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=min(2, len(os.sched_getaffinity(0))))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/surgery_cost.json"))
    given = parser.parse_args()

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in given.models:
            artifact = artifact_of(name, Path(folder))
            for batch in map(int, given.batches.split(",")):
                row = cost(name, artifact, given.threads, batch, given.rounds)
                rows.append(row)
                ratio = row["ratio"]
                said = {None: "reported only", True: "reached", False: "MISSED"}[row["reached"]]
                _say(
                    f"{name}, batch {batch}: embed {row['embed_ms']['median_ms']:.1f} ms, dense "
                    f"{row['dense_ms']['median_ms']:.1f} ms; ratio {ratio['ratio']:.3f} [{ratio['low']:.3f}, "
                    f"{ratio['high']:.3f}]; by multiplications {row['multiplication_ratio']:.3f}, at most "
                    f"{row['at_most']:.3f}, aim {row['aim']:.3f}: {said}"
                )
    alone = surgery_alone(10 * given.rounds)
    _say(
        f"feature surgery, {TEXTS} texts on {PATCHES:,} patches: {alone['median_ms']:.2f} ms "
        f"[{alone['low_ms']:.2f}, {alone['high_ms']:.2f}], at most {MUST_MS:g}"
    )
    for row in alone["memory"]:
        _say(
            f"  {row['texts']} texts, {row['patches']:,} patches: peak {row['peak_bytes'] / 1e6:.2f} MB, "
            f"{row['peak_of_result']:.2f} times the result; the original's {row['original_bytes'] / 1e6:.0f} MB"
        )
    results = {"machine": machine(PACKAGES), "threads": given.threads, "graphs": rows, "feature_surgery": alone}
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
