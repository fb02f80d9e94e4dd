"""How well do detectors do on cloth that the model has never seen, which branch helps, and what does each cost?

    python examples/anomaly_study.py [--model ARTIFACT] [--data ../shared/data]
                                     [--shots 1,2,4,20] [--seeds 0,1,2] [--out DIR] [--limit N]

Three parts, each left out, and said to be, where its data are not there:

- textiles: the package conformal-clip-data (MIT; `pip install conformal-clip-data`), or its folder below `--data`:
  image AUROC of intact against local and against global defects, all modes, with the highest patch and with the mean of
  all as the memory's score, mean over seeds, 95 % intervals over test images; and whether "auto" stays within 0.03 of
  the memory alone.
- hsst: `hsst_fabric` below `--data`: pixel AUROC, the support taken from defect-free areas of other images.
- cost: seconds an image with both branches and with the memory alone (memory_only), in turns.

Writes anomaly_study.json and anomaly_study.md. Without data it renders its own cloth for the last part.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import clipfast
from clipfast.anomaly import (
    MODES,
    AnomalyDetector,
    AnomalyOptions,
    MemoryOptions,
    branch_maps,
    choose_shots,
    fuse_all,
    fuse_pixels,
)
from clipfast.anomaly.branches import BranchMaps
from clipfast.anomaly.encoding import encode
from clipfast.anomaly.pictures import Viewer
from clipfast.datasets.fabricworld import Wishes, anomaly_samples
from clipfast.datasets.inspection import InspectionClass, InspectionSample
from clipfast.datasets.textiles import read_simulated_textiles, read_tiles
from clipfast.metrics import auroc_score
from clipfast.metrics.auroc_draws import AurocDraws, LabelWeights
from clipfast.provenance import Provenance
from clipfast.report.results import write_json
from clipfast.report.tables import markdown_table, with_ends
from clipfast.runtime.batching import batches
from clipfast.types import Floats, Pixels

MARGIN = 0.03  # by which "auto" may be behind the memory alone
IMAGE_MODES = [name for name in MODES if name not in ("learned_gate", "memory_only", "oracle")]
PIXEL_MODES = ("semantic", "memory", "max", "harmonic", "calibrated_max", "calibrated_mean", "auto")
TILE = 128  # pixels; a defect-free area is a tile without a damaged pixel


def textiles_root(data: Path) -> Path | None:
    if (data / "conformal-clip-data").is_dir():
        inside = [path.parent for path in sorted((data / "conformal-clip-data").rglob("nominal")) if path.is_dir()]
        return inside[0] if inside else None
    if importlib.util.find_spec("conformal_clip_data") is None:
        return None
    import conformal_clip_data

    return Path(conformal_clip_data.textile_simulated_root())


def textiles(clip: clipfast.Clip, root: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Image AUROCs by kind of defect, score of images, shots and mode; every test image is encoded once for all."""
    classes = read_simulated_textiles(root, train=500)
    pool = next(iter(classes.values())).train
    first = min(clip.encode_patches([pool[0].image]).features)
    scored = {
        "max": MemoryOptions(),
        "mean": MemoryOptions(image_score="mean"),
        f"mean, block {first}": MemoryOptions(image_score="mean", blocks=(first,)),
    }
    detectors = {
        (score, shots, seed): _fitted(clip, pool, shots, AnomalyOptions(seed=seed, memory=memory))
        for score, memory in scored.items()
        for shots in given.shots
        for seed in given.seeds
    }
    tests = {kind: _some(data, given.limit) for kind, data in classes.items()}
    images = {sample.key: sample.image for test in tests.values() for sample in test}
    parts: dict[tuple[str, int, int], list[BranchMaps]] = {key: [] for key in detectors}
    for group in batches(Viewer(clip).stream(images.values()), 32):
        features = encode(clip, group, None, text=True)
        for key, detector in detectors.items():
            parts[key].append(branch_maps(features, detector.fitted.bank, detector.fitted.prompts))
    places = {key: place for place, key in enumerate(images)}
    rows = []
    for score, shots in itertools.product(scored, given.shots):
        notes = [" ".join(detectors[score, shots, seed].notes) for seed in given.seeds]
        for kind, test in tests.items():
            found: dict[str, list[Floats]] = {}
            for seed in given.seeds:
                maps = BranchMaps.joined(parts[score, shots, seed]).taken(np.array([places[one.key] for one in test]))
                calibration = detectors[score, shots, seed].calibration
                for mode, fused in fuse_all(maps, calibration, IMAGE_MODES, "image"):
                    found.setdefault(mode, []).append(fused)
            labels = [int(sample.is_anomalous) for sample in test]
            rows.append({"score": score, "kind": kind, "shots": shots, "notes": notes} | _judged(labels, found))
    worst = {score: min(row["auto_less_memory"][0] for row in rows if row["score"] == score) for score in scored}
    return {
        "rows": rows,
        "worst_auto_less_memory": worst,
        "auto_within_margin": {score: bool(each >= -MARGIN) for score, each in worst.items()},
    }


def _judged(labels: list[int], by_mode: dict[str, list[Floats]]) -> dict[str, Any]:
    weights = LabelWeights.of(labels, seed=0)
    draws = {mode: AurocDraws.of(weights, np.stack(each)) for mode, each in by_mode.items()}
    modes = {
        mode: {
            "auroc": _ends(each.estimate, each.draws),
            "by_seed": [auroc_score(labels, one) for one in by_mode[mode]],
        }
        for mode, each in draws.items()
    }
    auto, memory = draws["auto"], draws["memory"]
    ahead = _ends(auto.estimate - memory.estimate, auto.draws - memory.draws)
    counts = {"intact": labels.count(0), "damaged": labels.count(1)}
    return {"modes": modes, "auto_less_memory": ahead} | counts


def hsst(clip: clipfast.Clip, folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Pixel AUROC of each photo's tiles, the support from intact tiles of the other photos."""
    classes = read_tiles(folder / "images", folder / "annotations", tile=TILE)
    damaged = {name: data for name, data in classes.items() if any(s.is_anomalous for s in data.test)}
    names = sorted(damaged)[: given.limit]
    rows = []
    for shots in given.shots:
        by_mode: dict[str, list[list[float]]] = {mode: [] for mode in PIXEL_MODES}
        for name in names:
            others = [sample for other in sorted(classes) if other != name for sample in classes[other].train]
            mine: dict[str, list[float]] = {mode: [] for mode in PIXEL_MODES}
            for seed in given.seeds:
                small = AnomalyOptions(seed=seed, size_hw=(TILE, TILE), sigma=4 * TILE / 256)
                detector = _fitted(clip, others, shots, small)
                options = detector.fitted.options
                test = damaged[name].test
                maps = detector.branch_maps([sample.image for sample in test]).resized(options.size_hw, options.sigma)
                masks = np.stack([_mask(sample) for sample in test])
                for mode in PIXEL_MODES:
                    mine[mode].append(auroc_score(masks, fuse_pixels(maps, detector.calibration, mode)))
            for mode in PIXEL_MODES:
                by_mode[mode].append(mine[mode])
        rng = np.random.default_rng(0)
        places = rng.integers(0, len(names), (2000, len(names)))
        modes = {}
        for mode, values in by_mode.items():
            means = np.array(values).mean(axis=1)
            modes[mode] = {"auroc": _ends(float(means.mean()), means[places].mean(axis=1)), "by_photo": means.tolist()}
        rows.append({"shots": shots, "photos": len(names), "modes": modes})
    return {"rows": rows, "tile": TILE}


def _mask(sample: InspectionSample) -> Pixels:
    """Of a tile of `read_tiles`: an array, or none where it is intact."""
    return sample.mask if isinstance(sample.mask, np.ndarray) else np.zeros((TILE, TILE), np.uint8)


def cost(clip: clipfast.Clip, rounds: int) -> dict[str, Any]:
    """Milliseconds an image with and without the text branch, alternating, on rendered cloth."""
    pieces = [s.image for s in anomaly_samples(1, good=9, each=0, wishes=Wishes(fabric="denim", defects=[]))]
    detectors = {
        mode: AnomalyDetector.fit(clip, pieces[:4], class_name="denim", image_mode=mode, pixel_mode=mode)
        for mode in ("memory", "memory_only")
    }
    times: dict[str, list[float]] = {mode: [] for mode in detectors}
    for turn in range(rounds + 1):
        for mode in sorted(detectors, reverse=bool(turn % 2)):
            start = time.perf_counter()
            detectors[mode].score(pieces[4])
            if turn:  # the first is the warm-up
                times[mode].append(1e3 * (time.perf_counter() - start))
    both, alone = (np.array(times[mode]) for mode in ("memory", "memory_only"))
    rng = np.random.default_rng(0)
    draws = rng.integers(0, rounds, (2000, rounds))
    ratios = np.median(alone[draws], axis=1) / np.median(both[draws], axis=1)
    return {
        "both_ms": statistics.median(times["memory"]),
        "memory_only_ms": statistics.median(times["memory_only"]),
        "saved": _ends(1 - float(np.median(alone) / np.median(both)), 1 - ratios),
        "rounds": rounds,
        "threads": clip.threads,
    }


def _fitted(
    clip: clipfast.Clip, pool: Sequence[InspectionSample], shots: int, options: AnomalyOptions
) -> AnomalyDetector:
    """Fit on as many of the intact images as the seed chooses."""
    images = {sample.key: sample.image for sample in pool}
    chosen = [images[path.as_posix()] for path in choose_shots(list(images), shots, seed=options.seed)]
    options = replace(options, shots_seed=options.seed)
    return AnomalyDetector.fit(clip, chosen, class_name="fabric", options=options)


def _some(data: InspectionClass, limit: int | None) -> list[InspectionSample]:
    """Of each label at most so many, for a quick try."""
    kept: list[InspectionSample] = []
    for damaged in (False, True):
        kept += [sample for sample in data.test if sample.is_anomalous == damaged][:limit]
    return kept


def _ends(value: float, draws: Any) -> tuple[float, float, float]:
    low, high = np.quantile(draws, (0.025, 0.975)).tolist()
    return value, low, high


def markdown(study: dict[str, Any]) -> Iterator[str]:
    yield f"# Anomaly study of {study['model']}\n"
    for part, why in study["left_out"].items():
        yield f"Left out: {part}: {why}\n"
    if found := study.get("textiles"):
        yield "## Textiles: image AUROC, mean over seeds, intervals over test images\n"
        modes = list(found["rows"][0]["modes"])
        for kind, score in dict.fromkeys((row["kind"], row["score"]) for row in found["rows"]):
            rows = [row for row in found["rows"] if (row["kind"], row["score"]) == (kind, score)]
            cells = [[mode, *(with_ends(*row["modes"][mode]["auroc"]) for row in rows)] for mode in modes]
            cells.append(["auto - memory", *(with_ends(*row["auto_less_memory"]) for row in rows)])
            yield f"Intact against {kind}, the memory's image score: {score}\n"
            yield markdown_table(["mode", *(f"{row['shots']} shots" for row in rows)], cells) + "\n"
        for score, worst in found["worst_auto_less_memory"].items():
            verdict = "within" if found["auto_within_margin"][score] else "NOT within"
            yield f"{score}: auto less memory is {worst:+.3f} at worst: {verdict} {MARGIN} of the memory.\n"
    if found := study.get("hsst"):
        yield f"## hsst_fabric: pixel AUROC of tiles of {found['tile']} pixels, mean over photos\n"
        rows = found["rows"]
        cells = [[mode, *(with_ends(*row["modes"][mode]["auroc"]) for row in rows)] for mode in PIXEL_MODES]
        yield f"{rows[0]['photos']} photos; support: defect-free tiles of the other photos; intervals over photos.\n"
        yield markdown_table(["mode", *(f"{row['shots']} shots" for row in rows)], cells) + "\n"
    found = study["cost"]
    yield "## What memory_only saves\n"
    yield (
        f"{found['both_ms']:.1f} ms an image with both branches, {found['memory_only_ms']:.1f} ms with the memory "
        f"alone: saved {with_ends(*found['saved'])} of the time "
        f"({found['rounds']} rounds, {found['threads']} threads).\n"
    )


def numbers(text: str) -> tuple[int, ...]:
    return tuple(int(word) for word in text.split(","))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--data", type=Path, help="folder with conformal-clip-data and hsst_fabric")
    parser.add_argument("--shots", type=numbers, default=(1, 2, 4, 20))
    parser.add_argument("--seeds", type=numbers, default=(0, 1, 2))
    parser.add_argument("--limit", type=int, help="test images of each label, and photos, for a quick try")
    parser.add_argument("--rounds", type=int, default=10, help="of the timing")
    parser.add_argument("--out", type=Path, default=Path("anomaly_study"))
    given = parser.parse_args()

    with clipfast.Clip.load(given.model) as clip:
        provenance = Provenance.collect(model={"name": clip.name, "fingerprint": clip.fingerprint()})
        study: dict[str, Any] = {"model": clip.name, "left_out": {}, "provenance": provenance.as_json()}
        root = None if given.data is None else textiles_root(given.data)
        if root is None:
            study["left_out"]["textiles"] = "name --data, and install conformal-clip-data"
        else:
            study["textiles"] = textiles(clip, root, given)
        folder = None if given.data is None else given.data / "hsst_fabric"
        if folder is None or not folder.is_dir():
            study["left_out"]["hsst"] = "name --data with hsst_fabric in it"
        else:
            study["hsst"] = hsst(clip, folder, given)
        study["cost"] = cost(clip, given.rounds)
    write_json(given.out / "anomaly_study.json", json.loads(json.dumps(study)))
    text = "\n".join(markdown(study))
    (given.out / "anomaly_study.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
