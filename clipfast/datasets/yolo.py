"""YOLO's text files: a line a box, `class cx cy w h` as shares of the image, beside the images or in `labels/`.

A line with more numbers is an outline, `class x1 y1 x2 y2 ...`; its bounding box is taken. Class names come from
`data.yaml`, `classes.txt`, `obj.names` or `_darknet.labels`; without any of these, `classes` names them in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from clipfast.datasets.box_files import image_size_hw, inside, list_by_stem, read_bounded, require_folder
from clipfast.datasets.box_records import BoxLog, BoxSample, BoxSet, Doubles, clean_boxes, known_classes
from clipfast.datasets.yolo_names import Described, read_description
from clipfast.errors import DataError, ImageError

__all__ = ["find_yolo", "read_yolo"]

_LARGEST = 16 << 20
_TXT = frozenset({".txt"})
_FAR = 2.0  # shares beyond this are pixels, not boxes that reach out of the image


def find_yolo(folder: Path) -> bool:
    """Tell whether a folder holds images with YOLO's text files."""
    return any(_with_labels(pair) for pair in _places(folder, Described(), None))


def read_yolo(
    folder: Path, *, split: str | None = None, classes: Sequence[str] | None = None, limit: int | None = None
) -> BoxSet:
    """Read a YOLO data set.

    Args:
        folder: Images and text files side by side, `images/` and `labels/` (each with a folder a split, if any), or a
            folder a split with `images/` and `labels/` in it; a `data.yaml` may say where.
        split: Name of the split; None takes all.
        classes: Names of the classes to keep; None keeps all. Where the data set names none, these are the names of
            its classes 0, 1, ... instead.
        limit: At most so many images, the first by id.

    Raises:
        DataError: No such layout, split or class; a line that is no box; classes without names.
    """
    described = read_description(require_folder(folder))
    places = [pair for pair in _places(folder, described, split) if _with_labels(pair)]
    if not places:
        raise DataError(
            f"{folder} must hold images with text files beside them or in labels/, for split {split!r}; it does not."
        )
    names = described.names or tuple(classes or ())
    log = BoxLog()
    raw: list[BoxSample] = []
    for key, image, label in _pairs(folder, places, log):
        if limit is not None and len(raw) >= limit:
            break
        if label is None:
            log.add("no_annotation", key)
            continue
        try:
            raw.append(_annotated(key, image, label, names))
        except ImageError as error:
            log.add("unreadable", f"{key}: {error}")
    if not raw:
        said = "".join(f" {sentence}." for sentence in log.report().sentences())
        raise DataError(
            f"{folder} must hold an image with a text file of its name; got none for split {split!r}.{said}"
        )
    kept = known_classes(classes, names, folder)
    wanted = None if classes is None else frozenset(kept)
    return BoxSet("yolo", split, kept, [clean_boxes(sample, log, wanted) for sample in raw], log.report())


def _places(folder: Path, described: Described, split: str | None) -> list[tuple[Path, Path]]:
    """Return folders of images and of their text files, that of the split where one is named."""
    if split is not None:
        inside(split, folder)
    if split in described.images:
        images = folder / described.images[split]
        return [(images, _labels_of(images, folder))]
    splits = [split] if split is not None else sorted({p.name for p in folder.glob("images/*") if p.is_dir()})
    pairs = [(folder / "images" / part, folder / "labels" / part) for part in splits]
    pairs += [
        (part / "images", part / "labels")
        for part in ([folder / split] if split is not None else sorted(folder.glob("*")))
    ]
    pairs += [(folder / split, folder / split)] if split is not None else [(folder, folder)]
    pairs += [] if split is not None else [(folder / "images", folder / "labels")]
    return [(images, labels) for images, labels in pairs if images.is_dir() and labels.is_dir()]


def _labels_of(images: Path, root: Path) -> Path:
    """Return the folder of text files, by YOLO's rule: the last `images` of the path becomes `labels`."""
    parts = list(images.relative_to(root).parts)
    for at in reversed(range(len(parts))):
        if parts[at] == "images":
            parts[at] = "labels"
            return root.joinpath(*parts)
    return images


def _with_labels(pair: tuple[Path, Path]) -> bool:
    if not all(place.is_dir() for place in pair):
        return False
    images = list_by_stem([pair[0]])
    return any(stem in images for stem in list_by_stem([pair[1]], _TXT))


def _pairs(folder: Path, places: list[tuple[Path, Path]], log: BoxLog) -> list[tuple[str, Path, Path | None]]:
    """Return ids, images and text files of all places, by id."""
    found = []
    for images, labels in places:
        texts = list_by_stem([labels], _TXT)
        for stem, image in list_by_stem([images], log=log).items():
            part = images.relative_to(folder).as_posix().replace("images", "").strip("/.")
            found.append((f"{part}/{stem}" if part and len(places) > 1 else stem, image, texts.get(stem)))
    return sorted(found, key=lambda pair: pair[0])


def _annotated(key: str, image: Path, label: Path, names: tuple[str, ...]) -> BoxSample:
    numbers, shares = _parse(label)
    if numbers and max(numbers) >= len(names):
        had = f"the names {', '.join(names)}" if names else "no names"
        raise DataError(
            f"{label} must have classes with a name; got class {max(numbers)} and {had}. Write classes.txt, one name "
            "a line, or name the classes 0, 1, ... in order: --classes car,truck,bus (classes= in Python)."
        )
    size_hw = image_size_hw(image)
    boxes = shares * np.array([size_hw[1], size_hw[0], size_hw[1], size_hw[0]])
    labels = tuple(names[number] for number in numbers)
    return BoxSample(key, image, size_hw, boxes, labels, np.zeros(len(labels), np.bool_))


def _parse(label: Path) -> tuple[list[int], Doubles]:
    """Return class numbers and boxes xyxy as shares of the image."""
    numbers, boxes = [], []
    text = read_bounded(label, _LARGEST).decode("utf-8-sig", "replace")
    for at, line in enumerate(text.splitlines(), start=1):
        if not (fields := line.split()):
            continue
        try:
            number, values = int(fields[0]), [float(field) for field in fields[1:]]
        except ValueError:
            number, values = -1, []
        outline = len(values) >= 6 and len(values) % 2 == 0
        if number < 0 or not (len(values) == 4 or outline) or not np.isfinite(values).all():
            raise DataError(f"{label}, line {at}: must be `class cx cy w h` or an outline; got {line.strip()[:60]!r}.")
        if max(map(abs, values)) > _FAR:
            raise DataError(f"{label}, line {at}: must be shares of the image, 0 to 1; got {line.strip()[:60]!r}.")
        numbers.append(number)
        boxes.append(_corners(values))
    return numbers, np.array(boxes, np.float64).reshape(-1, 4)


def _corners(values: list[float]) -> list[float]:
    if len(values) > 4:
        return [min(values[0::2]), min(values[1::2]), max(values[0::2]), max(values[1::2])]
    cx, cy, width, height = values
    return [cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2]
