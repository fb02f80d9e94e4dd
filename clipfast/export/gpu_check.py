"""`make gpu-check`: on a machine with a GPU, everything that could not be shown without one.

For each model: export with seeded weights, build the engines, run the whole gate on the GPU (fp16: class tokens 0.999,
patches 0.995), with sessions that refuse any node elsewhere, and measure against PyTorch in fp16 with `torch.compile`
and against TensorRT's own `trtexec`. The table goes to standard output and to `--out`. Without a GPU it says so and
exits with 2; where one of the two providers cannot run, the other is checked and the exit code is 1.

Not yet run on a GPU.
"""

from __future__ import annotations

import argparse
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec
import torch

from clipfast.artifact import Artifact, graph_key, head_of
from clipfast.errors import ClipfastError
from clipfast.export import parity
from clipfast.export.device_proof import only_kind
from clipfast.export.engines import why_not_here
from clipfast.export.options import ExportOptions
from clipfast.export.pipeline import export, load_source
from clipfast.export.reference import normalised
from clipfast.export.weights import LoadedModel
from clipfast.runtime.engines import profile_shapes
from clipfast.runtime.gpu import Gpu, describe_gpu
from clipfast.runtime.parity import require
from clipfast.runtime.provider_options import CudaOptions, ShapeProfile, TensorRtOptions
from clipfast.runtime.session import Session, open_session

__all__ = ["Timing", "check_model", "main", "table", "timed", "trtexec_milliseconds"]

MODELS = ("ViT-B-32", "ViT-B-16", "ViT-L-14")
BATCHES = (1, 8, 32)
_WARM_UP, _ROUNDS = 20, 100
_MEDIAN = re.compile(r"GPU Compute Time:.*median = ([0-9.]+) ms")


@dataclass(frozen=True, slots=True)
class Timing:
    """One row of the table.

    Attributes:
        model: Which model.
        batch: Images of one forward.
        runner: Who computed it.
        milliseconds: Median of one forward; None where the runner is not installed.
        min_cosine: Smallest cosine of an embedding with PyTorch's in fp32; None where it is not compared.
    """

    model: str
    batch: int
    runner: str
    milliseconds: float | None
    min_cosine: float | None


def timed(run: Callable[[], object], *, warm_up: int = _WARM_UP, rounds: int = _ROUNDS) -> float:
    """Return the median of `run`'s wall time in milliseconds; it must return when the GPU has finished."""
    for _ in range(warm_up):
        run()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e3


def check_model(name: str, folder: Path, device_id: int) -> list[Timing]:
    """Export one model, hold the gate on the GPU for every head, and measure `embed`.

    `embed` passes the gate in latency mode, too: a CUDA graph whose buffers moved would give the first image's result
    for ever, which only different images in one session show.

    Raises:
        ParityError: An output is outside the limits of fp16.
        ProviderError: A provider cannot run here, or a node would run elsewhere.
    """
    options = ExportOptions(name, precisions=("fp16",))
    artifact = export(options, folder / name)
    source = load_source(options)
    rows = []
    for provider in _providers(device_id, folder):
        manifest = only_kind(artifact.manifest, "fp16", provider.flavour)
        measured = parity.measure(manifest, source, partial(_open, artifact, provider))
        require(measured, "fp16")
        embed = msgspec.structs.replace(
            manifest, graphs={k: g for k, g in manifest.graphs.items() if head_of(k) == "embed"}
        )
        require(parity.measure(embed, source, partial(_open, artifact, _latency(provider))), "fp16")
        worst = min(row.min_cosine for row in measured if row.output == "embedding")
        runner = f"clipfast {provider.name}"
        rows += [Timing(name, batch, runner, _our_time(artifact, provider, batch), worst) for batch in BATCHES]
    rows += [
        Timing(name, batch, "torch fp16 + compile", _torch_time(source, batch, device_id), None) for batch in BATCHES
    ]
    rows += [Timing(name, batch, "trtexec", _trtexec_time(artifact, batch), None) for batch in BATCHES]
    return rows


def _open(artifact: Artifact, provider: CudaOptions | TensorRtOptions, key: str) -> Session:
    return open_session(artifact, head_of(key), provider=provider, precision="fp16", threads=1)


def _providers(device_id: int, folder: Path) -> tuple[CudaOptions | TensorRtOptions, ...]:
    options = (CudaOptions(device_id), TensorRtOptions(device_id, engines=folder / "engines"))
    return tuple(one for one in options if why_not_here(one) is None)


def _latency(provider: CudaOptions | TensorRtOptions) -> CudaOptions | TensorRtOptions:
    return replace(provider, fixed_batch=1)


def _our_time(artifact: Artifact, provider: CudaOptions | TensorRtOptions, batch: int) -> float:
    """Host to host, pixels in, embeddings out; latency mode for one image, else an engine tuned for the batch."""
    pixels = parity.sample_pixels(artifact.manifest.image.size_hw, batch, seed=0)
    chosen = provider
    if batch == 1:
        chosen = _latency(provider)
    elif isinstance(provider, TensorRtOptions):
        chosen = replace(provider, profile=ShapeProfile(1, batch, batch))
    session = open_session(artifact, "embed", provider=chosen, precision="fp16", threads=1)
    return timed(lambda: session.run({"pixels": pixels}))


def _torch_time(source: LoadedModel, batch: int, device_id: int) -> float:
    device = torch.device("cuda", device_id)
    visual = source.model.visual.half().to(device)
    compiled = torch.compile(visual, mode="max-autotune")
    pixels = torch.from_numpy(parity.sample_pixels(source.image.size_hw, batch, seed=0))

    def run() -> Any:
        with torch.no_grad():  # pixels travel as bytes and are scaled on the GPU, as ours are
            return compiled(normalised(pixels.to(device), source.image).half()).float().cpu()

    return timed(run)


def _trtexec_time(artifact: Artifact, batch: int) -> float | None:
    """TensorRT alone on the same graph; without copies, so the floor of what is possible."""
    program = shutil.which("trtexec")
    if program is None:
        return None
    key = graph_key("embed", "fp16", "tensorrt")
    one = TensorRtOptions(profile=ShapeProfile(batch, batch, batch))
    command = [
        program,
        f"--onnx={artifact.path / artifact.manifest.graphs[key].files[0]}",
        f"--shapes={profile_shapes(artifact, 'embed', one)[0]}",
        "--stronglyTyped",
        "--useCudaGraph",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=3600)  # noqa: S603  # found on the PATH, with arguments of our own
    return trtexec_milliseconds(done.stdout) if done.returncode == 0 else None


def trtexec_milliseconds(output: str) -> float | None:
    """Return the median GPU time that trtexec reports, or None.

    >>> trtexec_milliseconds("[I] GPU Compute Time: min = 1.02 ms, max = 1.30 ms, mean = 1.10 ms, median = 1.09 ms, …")
    1.09
    """
    found = _MEDIAN.search(output)
    return float(found.group(1)) if found else None


def table(rows: Sequence[Timing], gpu: Gpu) -> str:
    """Return the Markdown table with what it was measured on."""
    versions = ", ".join(f"{name} {_version(name)}" for name in ("onnxruntime-gpu", "tensorrt-cu13", "torch"))
    lines = [
        f"{gpu.name} (compute capability {gpu.capability}), driver {gpu.driver}, {platform.platform()}; {versions}. "
        f"Seeded weights, fp16; median of {_ROUNDS} forwards, host to host; trtexec without copies.",
        "",
        "| model | batch | runner | ms | images/s | min cosine |",
        "|---|--:|---|--:|--:|--:|",
    ]
    for row in rows:
        took = row.milliseconds
        speed = "not installed | " if took is None else f"{took:.2f} | {row.batch / took * 1e3:,.0f}"
        cosine = "" if row.min_cosine is None else f"{row.min_cosine:.6f}"
        lines.append(f"| {row.model} | {row.batch} | {row.runner} | {speed} | {cosine} |")
    return "\n".join(lines) + "\n"


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def main(arguments: Sequence[str] | None = None) -> int:
    """Check and measure; 0 done, 1 a check failed, 2 no GPU provider can run here."""
    parser = argparse.ArgumentParser(prog="make gpu-check", description="Prove and measure the GPU providers.")
    parser.add_argument("--models", default=",".join(MODELS), help="open_clip names with commas")
    parser.add_argument("--device-id", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("gpu-check.md"))
    chosen = parser.parse_args(arguments)
    reasons = {
        one.name: why_not_here(one) for one in (CudaOptions(chosen.device_id), TensorRtOptions(chosen.device_id))
    }
    for name, reason in reasons.items():
        if reason:
            sys.stderr.write(f"{name}: {reason}\n")
    if all(reasons.values()):
        sys.stderr.write(
            "Nothing was checked; this is not yet run on a GPU: no GPU provider can run on this machine.\n"
        )
        return 2
    rows: list[Timing] = []
    try:
        gpu = describe_gpu(chosen.device_id)
        with tempfile.TemporaryDirectory() as folder:
            for model in chosen.models.split(","):
                rows += check_model(model, Path(folder), chosen.device_id)
    except ClipfastError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    text = table(rows, gpu)
    chosen.out.write_text(text, encoding="utf-8")
    sys.stdout.write(text)
    if missing := [name for name, reason in reasons.items() if reason]:
        sys.stderr.write(f"error: {', '.join(missing)} was not checked; the reason is above.\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
