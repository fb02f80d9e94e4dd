"""Own data without a training split: one folder of intact images, one for each kind of defect, masks where there are.

`<class>/good/*.png`, `<class>/<kind>/*.png` and, for figures of pixels, `<class>/ground_truth/<kind>/<name>_mask.png`
as in MVTec AD's layout.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from clipfast.arguments import require_path
from clipfast.datasets.folders import list_images
from clipfast.datasets.inspection import GOOD, InspectionClass, InspectionSample
from clipfast.errors import DataError

__all__ = ["read_kind_folders"]

_MASKS = "ground_truth"


def read_kind_folders(root: str | os.PathLike[str], *, masks: bool = True) -> dict[str, InspectionClass]:
    """List classes; of the intact images, every second by a hash of its name is for the support, the others are tested.

    Args:
        root: A folder of class folders, or one class folder: one that holds `good`.
        masks: Whether every damaged image must have its mask.

    Returns:
        Classes by name, in code-point order.

    Raises:
        DataError: No class there, fewer than two intact images in one, or missing masks; all are counted, the first is
            named.
    """
    folder = require_path("root", root)
    if (folder / GOOD).is_dir():
        return {folder.resolve().name: _read_class(folder, folder.resolve().name, masks=masks)}
    found = sorted(entry for entry in folder.iterdir() if (entry / GOOD).is_dir()) if folder.is_dir() else []
    if not found:
        raise DataError(f"{folder} holds no class. Expected: <class>/{GOOD}/*.png and <class>/<kind of defect>/*.png.")
    return {entry.name: _read_class(entry, entry.name, masks=masks) for entry in found}


def _read_class(folder: Path, name: str, *, masks: bool) -> InspectionClass:
    def listed(kind: str) -> list[InspectionSample]:
        samples = []
        for path in list_images(folder / kind)[0]:
            mask = folder / _MASKS / kind / f"{path.stem}_mask.png" if masks and kind != GOOD else None
            samples.append(InspectionSample(f"{name}/{kind}/{path.name}", path, kind, mask))
        return samples

    intact = sorted(listed(GOOD), key=lambda sample: hashlib.sha256(sample.key.encode("utf-8", "replace")).digest())
    if len(intact) < 2:
        raise DataError(f"{folder / GOOD} must hold two intact images at least: one to learn from, one to test.")
    kinds = sorted(
        entry.name
        for entry in folder.iterdir()
        if entry.is_dir() and entry.name not in (GOOD, _MASKS) and not entry.name.startswith(".")
    )
    damaged = [sample for kind in kinds for sample in listed(kind)]
    missing = [sample.mask for sample in damaged if isinstance(sample.mask, Path) and not sample.mask.is_file()]
    if missing:
        raise DataError(
            f"{len(missing)} masks of {name} are missing, first {missing[0]}. Add them, or read without masks and "
            "judge images only."
        )
    by_key = sorted(intact[1::2], key=lambda sample: sample.key)
    return InspectionClass(name, tuple(sorted(intact[::2], key=lambda sample: sample.key)), (*by_key, *damaged))
