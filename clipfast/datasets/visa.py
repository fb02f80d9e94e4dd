"""VisA's layout: a CSV of images with split, label and mask, beside one folder for each class.

Source: Zou et al., "SPot-the-Difference", ECCV 2022 (amazon-science/spot-diff). Columns: object, split, label, image,
mask.
"""

from __future__ import annotations

import csv
import os
from pathlib import Path, PurePosixPath

from clipfast.arguments import require_path
from clipfast.datasets.inspection import GOOD, InspectionClass, InspectionSample
from clipfast.errors import DataError

__all__ = ["ANOMALY", "read_visa"]

ANOMALY = "anomaly"
"""The label of VisA's damaged images; their kinds are not in the CSV."""

_COLUMNS = ("object", "split", "label", "image", "mask")
_MOST_BYTES = 64 << 20


def read_visa(
    root: str | os.PathLike[str], *, split_csv: str = "split_csv/1cls.csv", masks: bool = True
) -> dict[str, InspectionClass]:
    """List the classes of VisA by its split file; images are not opened.

    Args:
        root: The folder that the paths of the CSV start from.
        split_csv: Path of the split file inside of it; "1cls.csv" is the split for one-class methods.
        masks: Whether damaged test images must have their masks.

    Returns:
        Classes by name, in code-point order.

    Raises:
        DataError: No such file, other columns, rows that cannot be meant, or files that are missing; all are counted,
            the first is named.
    """
    folder = require_path("root", root)
    file = folder / require_path("split_csv", split_csv)
    if not file.is_file():
        raise DataError(f"No split file at {file}. VisA comes with split_csv/1cls.csv; name the folder that holds it.")
    if file.stat().st_size > _MOST_BYTES:
        raise DataError(f"{file} is larger than {_MOST_BYTES:,} bytes; a split file is small.")
    found: dict[str, tuple[list[InspectionSample], list[InspectionSample]]] = {}
    missing: list[Path] = []
    with file.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines)
        if not set(_COLUMNS) <= set(reader.fieldnames or ()):
            raise DataError(f"{file} must have the columns {', '.join(_COLUMNS)}; got {reader.fieldnames}.")
        for number, row in enumerate(reader, start=2):
            sample = _sample(folder, row, f"{file}, line {number}", masks=masks)
            paths = [path for path in (sample.image, sample.mask) if isinstance(path, Path)]
            missing += [path for path in paths if not path.is_file()]
            train, test = found.setdefault(row["object"], ([], []))
            (train if row["split"] == "train" else test).append(sample)
    if missing:
        raise DataError(f"{len(missing)} files of {file} are missing, first {missing[0]}. Unpack VisA completely.")
    if not found:
        raise DataError(f"{file} lists no image.")
    return {name: InspectionClass(name, tuple(found[name][0]), tuple(found[name][1])) for name in sorted(found)}


def _sample(folder: Path, row: dict[str, str], where: str, *, masks: bool) -> InspectionSample:
    if row["split"] not in ("train", "test") or row["label"] not in ("normal", ANOMALY) or not row["object"]:
        raise DataError(
            f"{where}: split must be train or test and label normal or {ANOMALY}; "
            f"got {row['split']!r} and {row['label']!r}."
        )
    damaged = row["label"] == ANOMALY
    if damaged and masks and not row["mask"]:
        raise DataError(
            f"{where}: a damaged image must have a mask; got none. Read without masks to judge images only."
        )
    mask = _inside(folder, row["mask"], where) if damaged and masks else None
    return InspectionSample(row["image"], _inside(folder, row["image"], where), ANOMALY if damaged else GOOD, mask)


def _inside(folder: Path, name: str, where: str) -> Path:
    """A path of the CSV; none leads out of the folder."""
    parts = PurePosixPath(name).parts
    if not parts or PurePosixPath(name).is_absolute() or ".." in parts or "\\" in name or ":" in name:
        raise DataError(f"{where}: paths must be relative and stay inside the data set; got {name!r}.")
    return folder.joinpath(*parts)
