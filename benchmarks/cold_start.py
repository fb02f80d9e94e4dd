"""Process start to first embedding: ours, plain ONNX Runtime and open_clip, each in a fresh process, in turn.

python -m benchmarks.cold_start [--model ViT-B-32] [--rounds 7]

All three read the same seeded weights and the same JPEG from disk, embed it with two threads and stop. What is timed is
the whole life of the process, its end included. The page cache is warm.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

OURS = """
import sys, clipfast
clip = clipfast.Clip.load(sys.argv[1], threads=2)
row = clip.encode_images(sys.argv[2])[0]
"""
PLAIN = """
import sys, numpy as np, onnxruntime as ort
from PIL import Image
options = ort.SessionOptions(); options.intra_op_num_threads = 2
session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
image = Image.open(sys.argv[2]).convert("RGB")
side = int(sys.argv[3]); short = min(image.size)
image = image.resize([int(side * v / short) for v in image.size], Image.Resampling.BICUBIC)
left, top = (int(round((v - side) / 2)) for v in image.size)
x = np.asarray(image.crop((left, top, left + side, top + side)), np.float32) / 255
mean, std = np.float32([.48145466, .4578275, .40821073]), np.float32([.26862954, .26130258, .27577711])
row = session.run(None, {"pixels": ((x - mean) / std).transpose(2, 0, 1)[None]})[0][0]
row = row / np.linalg.norm(row)
"""
OPEN_CLIP = """
import sys, torch, open_clip
from PIL import Image
torch.set_num_threads(2)
model, _, transform = open_clip.create_model_and_transforms(sys.argv[3], pretrained=sys.argv[1])
with torch.inference_mode():
    row = model.eval().encode_image(transform(Image.open(sys.argv[2]))[None], normalize=True)[0].numpy()
"""
SAY = '\nprint(",".join(f"{float(v):.6f}" for v in row[:8]))\n'


def contenders(model: str) -> dict[str, list[str]]:
    """Write weights, graph and photo, and return the command of each contender."""
    from safetensors.torch import save_file

    from benchmarks.engine import models
    from benchmarks.engine.rows import photo

    picture, weights = models.folder() / "photo.jpg", models.folder() / "weights.safetensors"
    picture.write_bytes(photo(1920, 1080))
    save_file({k: v.contiguous() for k, v in models.torch_model(model).state_dict().items()}, weights)
    side = models.artifact(model).manifest.image.size_hw[0]
    run = [sys.executable, "-W", "ignore", "-c"]
    commands = {
        "clipfast": [*run, OURS + SAY, str(models.artifact(model).path), str(picture)],
        "plain ONNX Runtime": [*run, PLAIN + SAY, str(models.plain_graph(model)), str(picture), str(side)],
    }
    if not Path(model).is_file():  # open_clip knows architectures by name
        commands["open_clip"] = [*run, OPEN_CLIP + SAY, str(weights), str(picture), model]
    return commands


def timed(command: list[str]) -> tuple[float, list[float]]:
    """Run one process; its seconds and the first numbers of its embedding."""
    start = time.perf_counter()
    environment = dict(os.environ, OMP_NUM_THREADS="2")
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)  # noqa: S603 - our own scripts
    seconds = time.perf_counter() - start
    return seconds, [float(number) for number in done.stdout.strip().splitlines()[-1].split(",")]


def main() -> None:
    """Time all in turn, compare their rows, and print medians as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cold_start")
    parser.add_argument("--model", default="ViT-B-32", help="an open_clip name or a config file")
    parser.add_argument("--rounds", type=int, default=7)
    chosen = parser.parse_args()
    commands = contenders(chosen.model)
    rows = {name: timed(command)[1] for name, command in commands.items()}  # fills the page cache, compiles bytecode
    for name, row in rows.items():
        apart = max(abs(a - b) for a, b in zip(row, rows["clipfast"], strict=True))
        assert apart < 1e-3, (name, apart)
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    names = list(commands)
    for turn in range(chosen.rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            seconds[name].append(timed(commands[name])[0])
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    found = {
        name: {
            "median_s": medians[name],
            "min_s": min(seconds[name]),
            "times_ours": medians[name] / medians["clipfast"],
        }
        for name in names
    }
    sys.stdout.write(json.dumps({"model": chosen.model, "rounds": chosen.rounds, "contenders": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
