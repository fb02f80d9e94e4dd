"""How long does `clipfast localize --figures none` take, stage by stage, and does its memory stay bounded?

    python -m benchmarks.localize_throughput --images 1000

Draws pictures as JPEG with YOLO's text files, then runs what the command runs: four paths from one forward, boxes at
five percentiles, responses, mAP at three IoU thresholds, 1,000 resamples, the files. Kernels are compiled before; texts
are embedded in the run, from an empty cache. Afterwards the stages are timed one by one on a part of the pictures, on
one thread each but for the forward: their sum may be more than the whole, which overlaps them. Prints a table and
writes JSON; drawing is not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "2")  # before any library reads it

import numpy as np
from PIL import Image

from benchmarks.race import machine
from clipfast import Clip
from clipfast.datasets.box_records import BoxSet
from clipfast.datasets.box_samples import read_boxes
from clipfast.datasets.fabric_boxes import read_fabricworld
from clipfast.provenance import Provenance
from clipfast.report.localise_report import LocaliseReport
from clipfast.runtime.images import load_pixels
from clipfast.surgery.boxes import boxes_above, rank_values
from clipfast.surgery.diagnosis import diagnose
from clipfast.surgery.evaluate import evaluate_localisation, measure_sample
from clipfast.surgery.evidence import ask
from clipfast.surgery.geometry import fit_geometry
from clipfast.surgery.localise_options import LocaliseOptions
from clipfast.surgery.localise_scores import score_records
from clipfast.surgery.map_stream import SampleMaps, sample_digest, stream_maps
from clipfast.surgery.peak import peak_box
from clipfast.surgery.quality import shares_above
from clipfast.surgery.response import map_response
from clipfast.types import Floats

MUST_SECONDS = 120.0
PART = 64  # pictures whose stages are timed alone
PACKAGES = ("numpy", "numba", "onnxruntime", "pillow")


def draw(folder: Path, images: int, side: int) -> None:
    """Pictures as JPEG with YOLO's text files."""
    drawn = read_fabricworld(limit=images, size=side)
    (folder / "classes.txt").write_text("\n".join(drawn.classes))
    for sample in drawn:
        Image.fromarray(np.asarray(sample.image)).save(folder / f"{sample.id}.jpg", quality=92)
        lines = [
            f"{drawn.classes.index(label)} {(x1 + x2) / 2 / side} {(y1 + y2) / 2 / side} {(x2 - x1) / side} "
            f"{(y2 - y1) / side}\n"
            for label, (x1, y1, x2, y2) in zip(sample.labels, sample.boxes.tolist(), strict=True)
        ]
        (folder / f"{sample.id}.txt").write_text("".join(lines))


def whole(clip: Clip, folder: Path, out: Path, options: LocaliseOptions) -> tuple[dict[str, float], list[float]]:
    """Seconds of each step of the command, and megabytes held at every tenth of the pictures."""
    seconds: dict[str, float] = {}
    data = _timed(seconds, "read annotations", lambda: read_boxes("auto", folder))
    _timed(seconds, "embed texts", lambda: clip.encode_texts(options.texts(data.classes), options.maps.templates))
    held: list[float] = []
    every = max(1, len(data) // 10)

    def progress(done: int, _total: int) -> None:
        if done % every == 0:
            held.append(_megabytes())

    records = _timed(
        seconds, "maps, boxes, responses", lambda: evaluate_localisation(clip, data, options, progress=progress)
    )
    scores = _timed(seconds, "figures and intervals", lambda: score_records(records, options))

    def write() -> None:
        found = diagnose(records, scores, options)
        LocaliseReport(data, options, records, scores, found, Provenance.collect(command=["benchmark"])).write(out)

    _timed(seconds, "diagnosis and files", write)
    return seconds, held


def stages(clip: Clip, data: BoxSet, options: LocaliseOptions) -> dict[str, float]:
    """Milliseconds an image of each stage alone."""
    samples = list(islice(data.samples, PART))
    question = ask(clip, options.texts(data.classes), options.paths, options.maps)
    spec = clip.manifest.image
    found: dict[str, float] = {}

    def each(name: str, work: Callable[[], Any]) -> Any:
        return _timed(found, name, work)

    sources = each("read", lambda: [Path(str(s.image)).read_bytes() for s in samples])
    each("hash", lambda: [sample_digest(s, source) for s, source in zip(samples, sources, strict=True)])
    images = each("decode", lambda: [load_pixels(source, max_pixels=clip.max_pixels) for source in sources])
    frames = each("resize", lambda: np.stack([
        fit_geometry(options.geometry, s.size_hw, spec).apply(image) for s, image in zip(samples, images, strict=True)
    ]))  # fmt: skip
    size = options.maps.batch_size
    parts = each("forward", lambda: [question.read(frames[at : at + size]) for at in range(0, len(frames), size)])
    each("score patches", lambda: [question.grid(path, part) for part in parts for path in options.paths])
    maps = list(stream_maps(clip, samples, options.texts(data.classes), options))
    each("measure, all of it", lambda: [measure_sample(one, data.classes, options) for one in maps])
    heats = each("  bilinear maps", lambda: [list(_heats(one, data.classes)) for one in maps])
    flat = [heat for several in heats for heat, _ in several]
    cuts = each("  percentiles", lambda: [rank_values(heat, options.levels) for heat in flat])
    pairs = list(zip(flat, cuts, strict=True))
    each("  boxes", lambda: [boxes_above(heat, cut, options.boxes) for heat, cut in pairs])
    each("  shares", lambda: [shares_above(heat, cut) for heat, cut in pairs])
    each("  peak box", lambda: [peak_box(heat) for heat in flat])
    each("  responses", lambda: [map_response(heat, truths) for several in heats for heat, truths in several])
    return {name: 1e3 * seconds / len(samples) for name, seconds in found.items()}


def _heats(maps: SampleMaps, classes: tuple[str, ...]) -> Iterable[tuple[Floats, Any]]:
    labels = np.array(maps.sample.labels)
    for path in maps.maps:
        for name in dict.fromkeys(maps.sample.labels):
            yield maps.heat(path, classes.index(name)), maps.to_pixels(maps.sample.boxes[labels == name])


def _timed(held: dict[str, float], name: str, work: Callable[[], Any]) -> Any:
    start = time.perf_counter()
    result = work()
    held[name] = time.perf_counter() - start
    return result


def _megabytes() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--side", type=int, default=480, help="pixels of a picture")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--threads", type=int, default=min(2, len(os.sched_getaffinity(0))))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/localize.json"))
    given = parser.parse_args()

    with tempfile.TemporaryDirectory() as temporary:
        folder, cache = Path(temporary) / "pictures", Path(temporary) / "cache"
        folder.mkdir()
        os.environ["CLIPFAST_CACHE"] = str(cache)
        draw(folder, given.images, given.side)
        with Clip.load(given.model, threads=given.threads) as clip:
            clip.warm_up(["dense", "text"])
            options = LocaliseOptions()
            few = read_boxes("auto", folder, limit=4)
            score_records(evaluate_localisation(clip, few, LocaliseOptions(maps=options.maps, resamples=100)), options)
        for remembered in cache.rglob("*"):  # what the warm-up embedded is embedded again in the run
            if remembered.is_file():
                remembered.unlink()
        load, start = os.getloadavg()[0], time.perf_counter()
        with Clip.load(given.model, threads=given.threads) as clip:
            seconds, held = whole(clip, folder, Path(temporary) / "out", options)
            total = time.perf_counter() - start
            alone = stages(clip, read_boxes("auto", folder), options)
    results = {
        "machine": machine(PACKAGES),
        "load_before": load,
        "images": given.images,
        "side": given.side,
        "model": given.model,
        "threads": given.threads,
        "paths": list(options.paths),
        "percentiles": list(options.levels),
        "total_s": total,
        "must_s": MUST_SECONDS * given.images / 1000,
        "steps_s": seconds,
        "alone_ms_an_image": alone,
        "held_mb_by_tenths": held,
    }
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    lines = [f"{given.images} images, {total:.1f} s in all (at most {results['must_s']:.0f})"]
    lines += [f"  {name:28}{value:8.2f} s" for name, value in seconds.items()]
    lines += ["alone, one thread but for the forward:"]
    lines += [f"  {name:28}{value:8.2f} ms an image" for name, value in alone.items()]
    lines += [f"held at every tenth of the images: {', '.join(f'{each:.0f}' for each in held)} MB"]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
