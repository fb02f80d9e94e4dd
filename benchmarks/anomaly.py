"""Few-shot anomaly detection beside its peers: `python -m benchmarks.anomaly [NAME ...] [--tiny] [--photos DIR]`.

coreset: 10 % of 20,000 and 50,000 patch features of 768 channels against anomalib's KCenterGreedy, from the same start
in the same projection. The features are those of a ViT-B/16 with seeded random weights on real photos (`--photos`;
noise if there are none, and the name of the case says so). nearest: 196 patches against 20,000 rows of 768 channels
beside FAISS as it is and tuned; OPENBLAS_CORETYPE says which kernels its BLAS takes. evaluation: nanoseconds a pixel
and mode, all modes. memory_only: a score without the text branch beside one with both. `--tiny` tries everything at
sizes that say nothing. Two threads for everybody.

`--keep` writes the cases that ran into `benchmarks/results/anomaly.json`, beside those of other names.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "2")  # before any library reads it

import numpy as np

from benchmarks.race import Case
from clipfast.kernels.distance import Coreset, greedy_coreset

PACKAGES = ("numpy", "numba", "onnxruntime", "faiss-cpu", "torch", "torchvision", "anomalib")
RESULTS = Path(__file__).resolve().parent / "results" / "anomaly.json"
PROMISED_NS = 20.0
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Setup:
    """Sizes and data of a run.

    Attributes:
        tiny: Sizes that only show that everything runs.
        photos: Folder of real photos, or None.
    """

    tiny: bool
    photos: Path | None

    def size(self, usual: int, tiny: int) -> int:
        """Return the size that this run takes."""
        return tiny if self.tiny else usual


def coreset_cases(setup: Setup) -> list[Case]:
    """Ours beside anomalib's, which takes minutes at 50,000 rows: few rounds."""
    return [_coreset(setup, setup.size(rows, 400)) for rows in ((20_000, 50_000) if not setup.tiny else (400,))]


def _coreset(setup: Setup, rows: int) -> Case:
    from clipfast.anomaly.coreset import projection_channels, random_projection

    source, features = patch_features(setup, rows)
    channels = projection_channels(rows, features.shape[1]) or features.shape[1]
    projected = features @ random_projection(features.shape[1], channels, seed=0)
    size, start = rows // 10, 5

    def agree(answers: Mapping[str, Any]) -> dict[str, float]:
        return _same_picks(projected, answers["clipfast"], answers["anomalib"])

    return Case(
        name=f"coreset, {size:,} of {rows:,} patch features x {features.shape[1]} ({source}) in {channels} channels",
        contenders={
            "clipfast": lambda: greedy_coreset(projected, size, first=start),
            "anomalib": lambda: _anomalib_picks(projected, size, start),
        },
        agree=agree,
        musts={"anomalib": 8.0},
        rounds=3 if rows <= 20_000 else 2,
    )


def _anomalib_picks(projected: Array, size: int, start: int) -> Array:
    """The loop of KCenterGreedy.select_coreset_idxs on given features from a given start."""
    import torch
    from anomalib.models.components.sampling import KCenterGreedy

    rows = torch.from_numpy(projected)
    greedy = KCenterGreedy(rows[:, :, None], size / len(rows))
    greedy.features = rows
    greedy.reset_distances()
    newest = torch.tensor(start)
    picks = [start]
    for _ in range(size - 1):
        greedy.update_distances(newest)
        newest = greedy.get_new_idx()
        greedy.min_distances.scatter_(0, newest.unsqueeze(0).unsqueeze(1), 0.0)
        picks.append(int(newest))
    return np.array(picks)


def _same_picks(rows: Array, ours: Coreset, theirs: Array) -> dict[str, float]:
    """Equal picks until the first tie within 1e-6, and equal cover radius to 1e-5."""
    apart = np.flatnonzero(ours.indices != theirs)
    first = int(apart[0]) if len(apart) else len(theirs)
    if len(apart):
        known = rows[ours.indices[:first]].astype(np.float64)
        far = [
            np.sqrt(((known - rows[picks[first]].astype(np.float64)) ** 2).sum(axis=1).min())
            for picks in (ours.indices, theirs)
        ]
        assert abs(far[0] - far[1]) <= 1e-6 * max(1.0, *far), f"pick {first} differs without a tie: {far}"
    radius = cover_radius(rows, theirs)
    assert abs(ours.radius - radius) <= 1e-5 * max(1.0, radius), (ours.radius, radius)
    return {"picks before the first tie": float(first), "picks": float(len(theirs)), "radius": ours.radius}


def cover_radius(rows: Array, picks: Array) -> float:
    """The largest distance of a row to the nearest pick, in float64, block by block."""
    centres = rows[picks].astype(np.float64)
    squares, largest = (centres**2).sum(axis=1), 0.0
    for begin in range(0, len(rows), 512):
        block = rows[begin : begin + 512].astype(np.float64)
        nearest = ((block**2).sum(axis=1)[:, None] + squares - 2 * block @ centres.T).min(axis=1)
        largest = max(largest, float(nearest.max()))
    return float(np.sqrt(max(largest, 0.0)))


def nearest_cases(setup: Setup) -> list[Case]:
    """The fused product beside FAISS's exact index, as installed and with its products by BLAS."""
    import faiss

    from clipfast.runtime.nearest import NearestRows

    rows, queries = setup.size(20_000, 500), 196
    source, features = patch_features(setup, rows + queries)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    bank, asked = np.ascontiguousarray(unit[:rows]), np.ascontiguousarray(unit[rows:])
    search = NearestRows(bank, threads=2)
    indices = {"inner product": faiss.IndexFlatIP(bank.shape[1]), "L2": faiss.IndexFlatL2(bank.shape[1])}
    for index in indices.values():
        index.add(bank)
    faiss.omp_set_num_threads(2)
    usual = faiss.cvar.distance_compute_blas_threshold

    def by_faiss(index: Any, threshold: int) -> Callable[[], Array]:
        def run() -> Array:
            faiss.cvar.distance_compute_blas_threshold = threshold
            found: Array = index.search(asked, 1)[1][:, 0]
            return found

        return run

    def agree(answers: Mapping[str, Any]) -> dict[str, float]:
        ours = answers["clipfast"]
        same = {name: float(np.mean(found == ours)) for name, found in answers.items() if name != "clipfast"}
        for name, found in answers.items():  # identical, but for rows that are equally near to within rounding
            lost = np.einsum("qc,qc->q", asked, bank[ours]) - np.einsum("qc,qc->q", asked, bank[found])
            assert np.all(np.abs(lost[found != ours]) <= 1e-6), name
        return {f"same indices as {name}": share for name, share in same.items()}

    settings = {"as it is": usual, "always BLAS": 1, "never BLAS": 1 << 30}
    peers = {
        f"FAISS, {metric}, {setting}": by_faiss(index, threshold)
        for metric, index in indices.items()
        for setting, threshold in settings.items()
    }
    kernels = os.environ.get("OPENBLAS_CORETYPE", "as detected")
    return [
        Case(
            name=f"nearest of {rows:,} rows x {bank.shape[1]} for {queries} patches ({source}), OpenBLAS {kernels}",
            contenders={"clipfast": lambda: search.search(asked).places} | peers,
            agree=agree,
            musts=dict.fromkeys(peers, 1.5),
            rounds=15,
        )
    ]


def evaluation_cases(setup: Setup) -> list[Case]:
    """All modes' figures of pixels from maps on the patch grid; the promise is in nanoseconds, not a race."""
    from clipfast.anomaly import BranchMaps, BranchScores, TextEvidence, fit_calibration
    from clipfast.anomaly.grid.figures import pixel_figures
    from clipfast.anomaly.grid.records import GridOptions

    images, side = setup.size(100, 4), setup.size(256, 32)
    rng = np.random.default_rng(0)
    grids = rng.random((2, images, 14, 14), dtype=np.float32) * np.float32(0.1)
    grids += np.array([0.45, 0.05], np.float32)[:, None, None, None]
    grids[:, ::2, 4:7, 4:7] += np.float32(0.05)
    masks = np.zeros((images, side, side), np.uint8)
    masks[::2, side * 4 // 14 : side * 7 // 14, side * 4 // 14 : side * 7 // 14] = 1
    both = [BranchScores.of(each.max(axis=(1, 2)), each) for each in grids]
    maps, options = BranchMaps(*both), GridOptions(size_hw=(side, side), sigma=4 * side / 256)
    calibration = fit_calibration(
        maps.taken(np.arange(1, images, 2)).resized(options.size_hw, options.sigma), evidence=TextEvidence(0.5, "")
    )

    def run() -> Any:
        return pixel_figures(maps, calibration, masks, options, "no other class")

    level, _clock = run()  # compiles

    def agree(answers: Mapping[str, Any]) -> dict[str, float]:
        found = answers["clipfast"][0]
        assert found.modes["memory"].auroc > 0.5
        distinct = len(set(found.modes.values()))
        return {"promised ns a pixel and mode": PROMISED_NS, "modes": len(found.modes), "distinct": distinct}

    pieces = masks.size * len(level.modes)
    name = f"figures of pixels, all modes, {images} maps of {side} x {side}"
    return [Case(name, {"clipfast": run}, agree, rounds=5, pieces=pieces)]


def memory_only_cases(setup: Setup) -> list[Case]:
    """Time of one image with both branches over that with the memory alone, embedded model."""
    import clipfast
    from clipfast.anomaly import AnomalyDetector
    from clipfast.datasets.fabricworld import Wishes, anomaly_samples

    clip = clipfast.Clip.load("mini", threads=2)
    pieces = [each.image for each in anomaly_samples(1, good=5, each=0, wishes=Wishes(fabric="denim", defects=[]))]
    detectors = [
        AnomalyDetector.fit(clip, pieces[:4], class_name="denim", image_mode=mode, pixel_mode=mode)
        for mode in ("memory_only", "memory")
    ]

    def agree(answers: Mapping[str, Any]) -> dict[str, float]:
        apart = float(np.abs(answers["clipfast"].image - answers["both branches"].image).max())
        assert apart <= 1e-5, apart
        return {"difference of scores": apart}

    return [
        Case(
            name="score of one image, memory_only (named clipfast) beside both branches",
            contenders={
                "clipfast": lambda: detectors[0].score(pieces[4]),
                "both branches": lambda: detectors[1].score(pieces[4]),
            },
            agree=agree,
            rounds=setup.size(40, 3),
        )
    ]


@cache
def patch_features(setup: Setup, rows: int) -> tuple[str, Array]:
    """Say what was shown, and return tokens after the eighth block of a ViT-B/16 with seeded weights, (rows, 768)."""
    import torch
    from PIL import Image
    from torchvision.models import vit_b_16

    torch.manual_seed(0)
    model = vit_b_16(weights=None).eval()
    kept: list[Any] = []
    model.encoder.layers[7].register_forward_hook(lambda _module, _inputs, tokens: kept.append(tokens[:, 1:].numpy()))
    paths = [] if setup.photos is None else sorted(setup.photos.rglob("*.jpg"))
    rng = np.random.default_rng(0)
    count = 0
    with torch.inference_mode():
        while count * 196 < rows:
            if paths:
                with Image.open(paths[count % len(paths)]) as image:
                    share = max(0.3, 1.0 - 0.15 * (count // len(paths)))  # few photos: further crops of them
                    side = int(min(image.size) * share)
                    left, top = (int(rng.integers(0, length - side + 1)) for length in image.size)
                    crop = image.convert("RGB").crop((left, top, left + side, top + side))
                    seen = np.asarray(crop.resize((224, 224)))
            else:
                seen = rng.integers(0, 256, (224, 224, 3), dtype=np.uint8)
            model(torch.from_numpy(seen.astype(np.float32) / 127.5 - 1).permute(2, 0, 1)[None])
            count += 1
    source = f"seeded ViT-B/16, {min(count, len(paths))} photos" if paths else "seeded ViT-B/16, noise"
    return source, np.ascontiguousarray(np.concatenate(kept).reshape(-1, kept[0].shape[-1])[:rows], np.float32)


SUITES: dict[str, Callable[[Setup], list[Case]]] = {
    "coreset": coreset_cases,
    "nearest": nearest_cases,
    "evaluation": evaluation_cases,
    "memory_only": memory_only_cases,
}


def main() -> None:
    """Run, print, and store a full run."""
    import torch

    from benchmarks.kernels import report
    from benchmarks.race import machine, race

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(SUITES)}")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--keep", action="store_true", help="write what ran into the stored results")
    parser.add_argument("--photos", type=Path, help="folder of .jpg photos, such as ../shared/data/aerial_cars")
    given = parser.parse_args()
    if unknown := set(given.names) - set(SUITES):
        parser.error(f"names must be of {', '.join(SUITES)}; got {', '.join(sorted(unknown))}")
    torch.set_num_threads(2)
    setup, cases = Setup(given.tiny, given.photos), {}
    for name in given.names or SUITES:
        for case in SUITES[name](setup):
            cases[case.name] = race(case)
            sys.stdout.write(report.section(case.name, cases[case.name]) + "\n\n")
            sys.stdout.flush()
    if given.keep:
        there = json.loads(RESULTS.read_text(encoding="utf-8"))["cases"] if RESULTS.is_file() else {}
        content = {"machine": machine(PACKAGES), "cases": there | cases}
        RESULTS.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
