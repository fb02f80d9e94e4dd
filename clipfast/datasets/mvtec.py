"""MVTec AD's layout, for own data, too: `<class>/train/good`, `<class>/test/<kind>`, `<class>/ground_truth/<kind>`.

Source: Bergmann et al., "MVTec AD", CVPR 2019. The data are not part of this package; their licence is non-commercial.
"""

from __future__ import annotations

import os
from pathlib import Path

from clipfast.arguments import require_path
from clipfast.datasets.folders import list_images
from clipfast.datasets.inspection import GOOD, InspectionClass, InspectionSample
from clipfast.errors import DataError

__all__ = ["read_mvtec"]


def read_mvtec(root: str | os.PathLike[str], *, masks: bool = True) -> dict[str, InspectionClass]:
    """List the classes of a folder in MVTec AD's layout; images are not opened.

    A class without damaged test images is listed: its image AUROC is undefined, its thresholds are not.

    Args:
        root: A folder of class folders, or one class folder.
        masks: Whether every damaged test image must have its mask, `ground_truth/<kind>/<name>_mask.png`.

    Returns:
        Classes by name, in code-point order.

    Raises:
        DataError: No class there, a class without intact training images, or missing masks; all are counted, the first
            is named.
    """
    folder = require_path("root", root)
    if not folder.is_dir():
        raise DataError(f"No folder at {folder}. Expected layout: <class>/train/good/000.png.")
    if (folder / "train").is_dir():
        return {folder.resolve().name: _read_class(folder, folder.resolve().name, masks=masks)}
    found = sorted(entry for entry in folder.iterdir() if (entry / "train").is_dir())
    if not found:
        raise DataError(f"{folder} holds no class: no folder in it has a train folder. Expected: <class>/train/good.")
    return {entry.name: _read_class(entry, entry.name, masks=masks) for entry in found}


def _read_class(folder: Path, name: str, *, masks: bool) -> InspectionClass:
    if not (folder / "train" / GOOD).is_dir():
        raise DataError(f"{folder} has no train/{GOOD}. Put the intact images there.")
    train = [
        InspectionSample(f"{name}/train/{GOOD}/{path.name}", path, GOOD)
        for path in list_images(folder / "train" / GOOD)[0]
    ]
    test: list[InspectionSample] = []
    missing: list[Path] = []
    kinds = sorted(entry for entry in (folder / "test").glob("*") if entry.is_dir())
    for kind in kinds:
        for path in list_images(kind)[0]:
            mask = None
            if masks and kind.name != GOOD:
                mask = folder / "ground_truth" / kind.name / f"{path.stem}_mask.png"
                if not mask.is_file():
                    missing.append(mask)
            test.append(InspectionSample(f"{name}/test/{kind.name}/{path.name}", path, kind.name, mask))
    if missing:
        raise DataError(
            f"{len(missing)} masks of {name} are missing, first {missing[0]}. Add them, or read without masks and "
            "judge images only."
        )
    return InspectionClass(name, tuple(train), tuple(test))
