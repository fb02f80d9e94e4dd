"""Small data sets for grids of detectors on the stand-in model, and what is compared of their directories."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from clipfast.anomaly.grid import TIMINGS_NAME, GridRequest
from clipfast.anomaly.grid.records import CellResult, GridOptions, GridResults, read_results
from clipfast.datasets.inspection import GOOD, InspectionClass, InspectionSample
from clipfast.report.branches import write_branch_report
from reference.anomaly_stubs import picture

CLASSES = ("denim", "felt", "linen")
OPTIONS = GridOptions(size_hw=(18, 24), sigma=1.0)


def request(**asked: Any) -> GridRequest:
    """Two numbers of shots and two seeds at small maps, unless other things are asked for."""
    plain: dict[str, Any] = {"shots": (1, 2), "seeds": (0, 1), "options": OPTIONS}
    return GridRequest("stub", "folder", **(plain | asked))


def classes(names: Sequence[str] = CLASSES, *, spots: int = 3) -> dict[str, InspectionClass]:
    """Five intact images to choose from, three intact and some damaged ones to test, by class."""
    found = {}
    for number, name in enumerate(names):
        first = 1000 * number
        train = [sample(name, "train/good", first + i) for i in range(5)]
        good = [sample(name, "test/good", first + 50 + i) for i in range(3)]
        damaged = [sample(name, "test/spot", first + 60 + i, faint=i) for i in range(spots)]
        found[name] = InspectionClass(name, tuple(train), (*good, *damaged))
    return found


def sample(name: str, place: str, seed: int, *, faint: int | None = None) -> InspectionSample:
    """One image; `faint` damages it, the more faintly the larger, so that rankings are not perfect."""
    key = f"{name}/{place}/{seed:04}"
    pixels = picture(seed)
    if faint is None:
        return InspectionSample(key, pixels, GOOD)
    spotted = picture(seed, spot=True).astype(np.float64)
    share = 0.02 + 0.3 / (1 + 4 * faint)
    blended = np.rint(pixels * (1 - share) + spotted * share).astype(np.uint8)
    mask = np.zeros((36, 48), np.uint8)
    mask[10:22, 20 + 4 * (faint % 2) : 36] = 1
    return InspectionSample(key, blended, "spot", mask)


def write_mvtec_folders(root: Path, data: dict[str, InspectionClass]) -> Path:
    """Write classes in MVTec's layout."""
    for each in data.values():
        for one in (*each.train, *each.test):
            path = root / f"{one.key}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.asarray(one.image)).save(path)
            if one.is_anomalous:
                mask = root / each.name / "ground_truth" / one.label / f"{path.stem}_mask.png"
                mask.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(np.asarray(one.mask) * 255).save(mask)
    return root


def contents(directory: Path) -> dict[str, bytes]:
    """Every file of a directory but the timings, and the table that is made of them."""
    timed = {TIMINGS_NAME, "branch_cost.md"}
    files = sorted(path for path in directory.rglob("*") if path.is_file() and path.name not in timed)
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in files}


def cell_of(results: GridResults, name: str, shots: int, seed: int) -> CellResult:
    """One cell."""
    (cell,) = results.select(class_name=name, shots=shots, seed=seed)
    return cell


def branch_report_of(directory: Path) -> str:
    """Write the report and return it."""
    write_branch_report([read_results(directory)], directory)
    return (directory / "branch_report.md").read_text(encoding="utf-8")
