"""The one door to images with boxes: VOC XML, DIOR, COCO JSON, YOLO text, and fabricworld."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from clipfast.arguments import require_known, require_names, require_path, require_type, require_whole
from clipfast.datasets.box_records import PROBLEMS, BoxReport, BoxSample, BoxSet
from clipfast.datasets.coco import find_coco, read_coco
from clipfast.datasets.fabric_boxes import read_fabricworld
from clipfast.datasets.voc import find_voc, read_voc
from clipfast.datasets.yolo import find_yolo, read_yolo
from clipfast.errors import DataError

__all__ = ["FORMATS", "PROBLEMS", "BoxFormat", "BoxReport", "BoxSample", "BoxSet", "detect_format", "read_boxes"]

BoxFormat: TypeAlias = Literal["auto", "voc", "dior", "coco", "yolo", "fabricworld"]

# How each format is read; DIOR is VOC's XML in folders of other names, which are found by themselves.
FORMATS: dict[str, Callable[..., BoxSet]] = {
    "voc": read_voc,
    "dior": read_voc,
    "coco": read_coco,
    "yolo": read_yolo,
}


def read_boxes(
    format: BoxFormat,  # noqa: A002  # the field's own word, and the command's option
    folder: str | os.PathLike[str],
    *,
    split: str | None = None,
    classes: Sequence[str] | None = None,
    limit: int | None = None,
) -> BoxSet:
    """Read a data set of boxes.

    Boxes leave as xyxy, half-open, in pixels of the stored image, float64. What is wrong with an annotation is mended
    or left out, counted in `report`, and never silent: see `PROBLEMS`.

    Args:
        format: "auto" looks what the folder holds. "fabricworld" draws pictures and does not read `folder`.
        folder: The data set; its layout is found by itself.
        split: Which part of it; None takes all.
        classes: Names of the classes to keep; None keeps all. For YOLO without a list of names: those names.
        limit: At most so many images, the first by id.

    Raises:
        DataError: A folder, split or class that is not there, an annotation that cannot be read, an unknown format.
        ShapeError: A limit that is no whole number of 1 or more.

    >>> found = read_boxes("fabricworld", "", limit=2)
    >>> len(found), next(iter(found)).boxes.shape[1]
    (2, 4)
    """
    require_known("format", format, get_args(BoxFormat))
    if split is not None:
        require_type("split", split, str, 'split="val"')
    if classes is not None:
        require_names("classes", classes)
    if limit is not None:
        require_whole("limit", limit, 1)
    if format == "fabricworld":
        return read_fabricworld(split=split, classes=classes, limit=limit)
    place = require_path("folder", folder)
    chosen = detect_format(place) if format == "auto" else format
    return FORMATS[chosen](place, split=split, classes=classes, limit=limit)


def detect_format(folder: Path) -> str:
    """Return the format of a folder.

    Raises:
        DataError: It holds none of them, or several.
    """
    if folder.suffix == ".json" and folder.is_file():
        return "coco"
    if not folder.is_dir():
        raise DataError(f"No folder at {folder}. Name the folder of the data set.")
    held = {
        "voc": bool(find_voc(folder)),
        "coco": bool(find_coco(folder)),
        "yolo": find_yolo(folder),
    }
    found = [name for name, there in held.items() if there]
    if len(found) != 1:
        raise DataError(
            f"{folder} must hold VOC XML, COCO JSON or YOLO text files; found {', '.join(found) or 'none'}. "
            "Pass the format."
        )
    return found[0]
