"""An app that imports clipfast: client threads send JPEGs, latency percentiles and memory growth are printed.

    python examples/downstream_service.py --seconds 600 --clients 8 --model artifacts/vit-b-32

One thread a request: as many requests as cores run side by side without waiting for each other, which serves more of
them, each sooner, than all cores for every request. `--threads 2` halves the latency of a client that is alone. Large
photos are decoded at a fraction of their size (`--decode fast`).

The photos are rendered, 640 x 480 to 12 megapixels, as phones and scanners send them. Memory is what the system counts
as resident, with no request under way; "growth" is after against before, in per cent and in per cent a minute.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from PIL import Image

import clipfast
from clipfast.datasets import fabricworld

SIZES = [(640, 480), (1280, 960), (1920, 1080), (4000, 3000)]


def photos() -> list[bytes]:
    """A JPEG of each size."""
    scene = Image.fromarray(fabricworld.render(5, fabric="denim", size=1024).image)
    encoded = []
    for size in SIZES:
        data = io.BytesIO()
        scene.resize(size).save(data, "JPEG", quality=90)
        encoded.append(data.getvalue())
    return encoded


def resident_mb() -> float:
    """Memory of this process, as the system counts it."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return float("nan")


def serve(bank: clipfast.FabricBank, requests: list[bytes], clients: int, seconds: float) -> list[float]:
    """Let `clients` threads ask for `seconds`; return every latency in milliseconds."""
    end = time.perf_counter() + seconds
    latencies: list[list[float]] = [[] for _ in range(clients)]

    def client(number: int) -> None:
        turn = number
        while time.perf_counter() < end:
            begin = time.perf_counter()
            bank.rank(requests[turn % len(requests)], topk=5)
            latencies[number].append((time.perf_counter() - begin) * 1e3)
            turn += 1

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [value for one in latencies for value in one]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--provider", help="cpu, openvino, cuda, tensorrt; by precision if left out")
    parser.add_argument("--precision", default="fp32", help="fp32, int8, bf16 (openvino), fp16 (GPUs)")
    parser.add_argument("--threads", type=int, default=1, help="of one request")
    parser.add_argument("--decode", default="fast", choices=["fast", "exact"])
    parser.add_argument("--clients", default="1,4,8")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each number of clients")
    parser.add_argument("--warm-up", type=float, default=None, help="seconds before memory counts; up to 20")
    parser.add_argument("--small", action="store_true", help="640 x 480 photos only")
    arguments = parser.parse_args()
    requests = photos()[: 1 if arguments.small else None]
    counts = [int(count) for count in arguments.clients.split(",")]
    with tempfile.TemporaryDirectory() as folder:
        fabricworld.write_folder(Path(folder), fabrics=list(fabricworld.FABRICS)[:15], per_fabric=3, seed=0)
        clip = clipfast.Clip.load(
            arguments.model,
            provider=arguments.provider,
            precision=arguments.precision,
            threads=arguments.threads,
            images=clipfast.ImageOptions(decode=arguments.decode),
        )
        bank = clipfast.FabricBank.build(clip, folder)
        clip.warm_up(["embed"])
    warm_up = min(arguments.seconds, 20.0) if arguments.warm_up is None else arguments.warm_up
    serve(bank, requests, max(counts), warm_up)  # pools reach their size
    kinds = f"{len(requests)} kinds of photos, decode {arguments.decode}"
    print(f"{clip.name}, {clip.precision} on {clip.provider}, threads of a request: {clip.threads}, {kinds}")
    print(f"{arguments.seconds:g} s a row")
    print(f"{'':40}|{'memory, MB':^15}|{'growth':^16}")
    print("clients requests p50 ms p95 ms p99 ms per s| before   after|      %   %/min")
    for clients in counts:
        before = resident_mb()
        values = serve(bank, requests, clients, arguments.seconds)
        after = resident_mb()
        p50, p95, p99 = np.percentile(values, (50, 95, 99))
        growth, rate = 100 * (after / before - 1), len(values) / arguments.seconds
        print(
            f"{clients:>7} {len(values):>8} {p50:>6.1f} {p95:>6.1f} {p99:>6.1f} {rate:>5.1f}|"
            f"{before:>7.1f} {after:>7.1f}|{growth:>+7.2f} {growth * 60 / arguments.seconds:>+7.2f}"
        )


main()
