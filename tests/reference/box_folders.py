"""Small data sets of boxes on disk, in every layout that is read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Boxes = Sequence[tuple[str, tuple[float, float, float, float]]]

# xyxy, half-open; VOC writes x1 + 1 and y1 + 1.
SCENES: dict[str, Boxes] = {
    "a": [("cat", (2, 3, 20, 30)), ("dog", (30, 5, 50, 25))],
    "b": [("cat", (0, 0, 60, 40))],
    "c": [],
}
AS_VOC: dict[str, Boxes] = {
    image: [(name, (box[0] + 1, box[1] + 1, box[2], box[3])) for name, box in objects]
    for image, objects in SCENES.items()
}


def write_image(path: Path, size_hw: tuple[int, int] = (40, 60), level: int = 90) -> Path:
    """A grey picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size_hw, 3), level, np.uint8)).save(path)
    return path


def voc_xml(objects: Boxes, size_hw: tuple[int, int] = (40, 60), difficult: Sequence[int] = ()) -> str:
    """VOC's XML; boxes are written as they are given: from 1, last pixel included."""
    parts = [f"<size><width>{size_hw[1]}</width><height>{size_hw[0]}</height><depth>3</depth></size>"]
    for at, (name, (x1, y1, x2, y2)) in enumerate(objects):
        parts.append(
            f"<object><name>{name}</name><difficult>{int(at in difficult)}</difficult><bndbox><xmin>{x1}</xmin>"
            f"<ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
        )
    return f"<annotation>{''.join(parts)}</annotation>"


def write_voc(root: Path, images: Mapping[str, Boxes], splits: Mapping[str, Sequence[str]] | None = None) -> Path:
    """`JPEGImages`, `Annotations` and, if there are splits, `ImageSets/Main`."""
    for name, objects in images.items():
        write_image(root / "JPEGImages" / f"{name}.png")
        _write(root / "Annotations" / f"{name}.xml", voc_xml(objects))
    for split, names in (splits or {}).items():
        _write(root / "ImageSets" / "Main" / f"{split}.txt", "".join(f"{name}\n" for name in names))
    return root


def write_coco(
    root: Path, images: Mapping[str, Boxes], file: str = "annotations/instances_val.json", crowd: int | None = None
) -> Path:
    """`images` and one JSON; boxes are given as xyxy."""
    names = sorted({name for objects in images.values() for name, _ in objects})
    annotations: list[dict[str, object]] = []
    for number, (image, objects) in enumerate(images.items(), start=1):
        write_image(root / "images" / f"{image}.png")
        for name, (x1, y1, x2, y2) in objects:
            annotations.append(
                {"image_id": number, "category_id": 7 + names.index(name), "bbox": [x1, y1, x2 - x1, y2 - y1]}
                | {"id": len(annotations), "area": 1.0, "iscrowd": int(len(annotations) == crowd)}
            )
    content = {
        "images": [
            {"id": number, "file_name": f"{image}.png", "height": 40, "width": 60}
            for number, image in enumerate(images, start=1)
        ],
        "annotations": annotations,
        "categories": [{"id": 7 + at, "name": name} for at, name in enumerate(names)],
    }
    _write(root / file, json.dumps(content))
    return root


def write_yolo(
    root: Path, images: Mapping[str, Boxes], names: Sequence[str], places: tuple[str, str] = (".", ".")
) -> Path:
    """Pictures and text files in two folders, or in one; boxes are given as xyxy of 60 x 40 pixels."""
    for image, objects in images.items():
        write_image(root / places[0] / f"{image}.png")
        lines = [
            f"{names.index(name)} {(x1 + x2) / 120} {(y1 + y2) / 80} {(x2 - x1) / 60} {(y2 - y1) / 40}\n"
            for name, (x1, y1, x2, y2) in objects
        ]
        _write(root / places[1] / f"{image}.txt", "".join(lines))
    return root


def box_folder(format_: str, root: Path) -> Path:
    """The scenes in a format."""
    if format_ == "voc":
        return write_voc(root, AS_VOC)
    if format_ == "coco":
        return write_coco(root, SCENES)
    write_yolo(root, SCENES, ["cat", "dog"])
    (root / "classes.txt").write_text("cat\ndog\n")
    return root


def plain_boxes(found: Any) -> dict[str, Boxes]:
    """Boxes and labels by image."""
    return {
        sample.id: [(label, tuple(box)) for label, box in zip(sample.labels, sample.boxes.tolist(), strict=True)]
        for sample in found
    }


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
