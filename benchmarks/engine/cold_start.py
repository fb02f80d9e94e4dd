"""Process start to first embedding: ours, plain ONNX Runtime and open_clip, each in a fresh process, in turn.

All read the same seeded weights and the same JPEG from disk, embed it with two threads and stop. What is timed is the
whole life of the process, its end included. The page cache is warm. ONNX Runtime's reports to its maker are off for
all: clipfast switches them off, and they would cost the others 10 ms.

Plain ONNX Runtime is what its documentation shows. It packs weights in one thread unless it is told otherwise, which
few know: so told it runs beside, for what the rest is worth.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.engine import models
from benchmarks.race import Case

__all__ = ["case"]

OURS = """
import sys, clipfast
clip = clipfast.Clip.load(sys.argv[1], threads=2)
row = clip.encode_images(sys.argv[2])[0]
"""
PLAIN = """
import sys, numpy as np, onnxruntime as ort
from PIL import Image
options = ort.SessionOptions(); options.intra_op_num_threads = 2
options.add_session_config_entry("session.prepack.enable_parallel", sys.argv[4])
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


def case(model: str) -> Case:
    """Write weights, graph and photo, and make a process of each contender."""
    from safetensors.torch import save_file

    from benchmarks.engine.rows import photo

    picture, weights = models.folder() / "photo.jpg", models.folder() / f"{Path(model).stem}.safetensors"
    picture.write_bytes(photo(1920, 1080))
    if not weights.is_file():
        save_file({k: v.contiguous() for k, v in models.torch_model(model).state_dict().items()}, weights)
    side = models.artifact(model).manifest.image.size_hw[0]
    run = [sys.executable, "-W", "ignore", "-c"]
    plain = [*run, PLAIN + SAY, str(models.plain_graph(model)), str(picture), str(side)]
    commands = {
        "clipfast": [*run, OURS + SAY, str(models.artifact(model).path), str(picture)],
        "plain ONNX Runtime": [*plain, "0"],
        "plain ONNX Runtime, packing in parallel": [*plain, "1"],
    }
    if not Path(model).is_file():  # open_clip knows architectures by name
        commands["open_clip"] = [*run, OPEN_CLIP + SAY, str(weights), str(picture), model]
    return Case(
        f"process start to first embedding, {model}, fp32",
        {name: partial(first_numbers, command) for name, command in commands.items()},
        _agree,
        {"open_clip": 4.0, "plain ONNX Runtime": 1.3},
        rounds=9,
    )


def first_numbers(command: list[str]) -> list[float]:
    """Run one process, and return the first numbers of its embedding."""
    environment = dict(os.environ, OMP_NUM_THREADS="2", ORT_DISABLE_TELEMETRY="1")
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)  # noqa: S603 - our own scripts
    return [float(number) for number in done.stdout.strip().splitlines()[-1].split(",")]


def _agree(answers: Mapping[str, Any]) -> dict[str, float]:
    apart = {name: float(np.abs(np.subtract(row, answers["clipfast"])).max()) for name, row in answers.items()}
    assert max(apart.values()) < 1e-3, apart
    return {"largest difference": max(apart.values())}
