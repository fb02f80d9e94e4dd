"""PASCAL VOC's XML, in the folders of VOC, DIOR, labelImg or Roboflow.

VOC counts pixels from 1 and includes the last one: xmin = 1, xmax = 640 is a whole row of 640. Here boxes are half-open
from 0, so 1 is taken from xmin and ymin, and xmax and ymax stay. A box with xmax <= xmin is a click, not a box: it is
left out and counted, though by VOC's letter xmax = xmin is one pixel wide.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias
from xml.etree import ElementTree as ET  # documents with a DOCTYPE are refused before it sees them
from xml.parsers import expat  # used to refuse DOCTYPE, and with it every entity

import numpy as np

from clipfast.datasets.box_files import image_size_hw, inside, list_by_stem, read_bounded, require_folder
from clipfast.datasets.box_records import BoxLog, BoxSample, BoxSet, clean_boxes, known_classes
from clipfast.errors import DataError, ImageError

__all__ = ["VocLayout", "find_voc", "parse_voc", "read_voc"]

_LARGEST_XML = 16 << 20
_LARGEST_LIST = 64 << 20
_XML = frozenset({".xml"})
_ANNOTATIONS = ("Annotations/Horizontal Bounding Boxes", "Annotations", "annotations")  # DIOR's first
_PLAIN_NAME = re.compile(rb"<name>([ !-%'-;=-~\t\r\n]*)</name>")  # ASCII without & and <
_SETS = ("ImageSets/Main", "ImageSets", "Main")

_Said: TypeAlias = tuple[tuple[int, int], list[list[float]], list[str], list[bool]]  # of parse_voc


@dataclass(frozen=True, slots=True)
class VocLayout:
    """Where a VOC data set keeps its files.

    Attributes:
        root: The folder that holds them all.
        annotations: Folder of the XML files.
        images: Folders of the images.
        sets: Folder of the lists of each split; None if there are none.
    """

    root: Path
    annotations: Path
    images: tuple[Path, ...]
    sets: Path | None

    def splits(self) -> list[str]:
        """Return the names of the splits, without VOC's lists of a single class ("aeroplane_train")."""
        if self.sets is None:
            return []
        names = sorted(path.stem for path in self.sets.glob("*.txt"))
        plain = [name for name in names if "_" not in name]
        return plain or names


def find_voc(folder: Path) -> list[VocLayout]:
    """Return the data sets in a folder, or in the first of two levels of folders below it that holds any."""
    below = sorted(path for path in folder.glob("*") if path.is_dir())
    for level in ([folder], below, sorted(path for part in below for path in part.glob("*") if path.is_dir())):
        if found := [layout for place in level if (layout := _layout(place))]:
            return found
    return []


def _layout(root: Path) -> VocLayout | None:
    sets = next((root / name for name in _SETS if (root / name).is_dir()), None)
    for name in _ANNOTATIONS:
        if (root / name).is_dir() and any((root / name).glob("*.xml")):
            images = tuple(
                p for p in sorted(root.glob("*")) if p.is_dir() and p.name.lower().startswith(("jpegimages", "images"))
            )
            return VocLayout(root, root / name, images, sets) if images else None
    if any(root.glob("*.xml")) and list_by_stem([root]):  # images and annotations side by side
        return VocLayout(root, root, (root,), sets)
    return None


def read_voc(
    folder: Path, *, split: str | None = None, classes: Sequence[str] | None = None, limit: int | None = None
) -> BoxSet:
    """Read a data set of VOC XML.

    Args:
        folder: The data set, or a folder above it: `Annotations` and `JPEGImages*` are looked for.
        split: Name of a list in `ImageSets/Main`, or of a folder with images and XML side by side; None takes all.
        classes: Names of the classes to keep; None keeps all that occur in the split, beyond the limit too: every
            annotation of the split is looked into, whatever the limit. With names, looking ends where all are found.
        limit: At most so many images, the first by id.

    Raises:
        DataError: No such layout, split or class; an XML that cannot be read; no annotation at all.
    """
    require_folder(folder)
    if split is not None and (own := _layout(folder / inside(split, folder))) is not None:
        return _read(own, None, split, classes, limit)
    found = find_voc(folder)
    if not found:
        raise DataError(
            f"{folder} must hold Annotations/*.xml and JPEGImages*/, or images and XML side by side; it does not."
        )
    if len(found) > 1:
        names = ", ".join(layout.root.relative_to(folder).as_posix() for layout in found)
        raise DataError(f"{folder} holds several VOC data sets: {names}. Name one of them, or pass it as split.")
    return _read(found[0], _listed(found[0], split), split, classes, limit)


def _listed(layout: VocLayout, split: str | None) -> list[str] | None:
    """Return the ids of a split."""
    if split is None:
        return None
    path = layout.sets / f"{inside(split, layout.root)}.txt" if layout.sets else None
    if path is None or not path.is_file():
        known = ", ".join(layout.splits()) or "none"
        raise DataError(f"{layout.root} must have the split {split!r}; it has: {known}.")
    text = read_bounded(path, _LARGEST_LIST).decode("utf-8-sig", "replace")
    return sorted({str(inside(line.split()[0], path)) for line in text.splitlines() if line.strip()})


def _read(
    layout: VocLayout, ids: list[str] | None, split: str | None, classes: Sequence[str] | None, limit: int | None
) -> BoxSet:
    log = BoxLog()
    images, annotations = list_by_stem(layout.images, log=log), list_by_stem([layout.annotations], _XML)
    raw: list[BoxSample] = []
    names = _ClassNames()
    for name in sorted(images.keys() | annotations.keys()) if ids is None else ids:
        if limit is not None and len(raw) >= limit:
            # VOC lists its classes nowhere; they must not depend on how many images are read.
            if classes is not None and names.seen.issuperset(classes):
                break
            if name in images and name in annotations:
                names.look_into(annotations[name])
        elif name not in images:
            log.add("no_image", name)
        elif name not in annotations:
            log.add("no_annotation", name)
        else:
            document = parse_voc(read_bounded(annotations[name], _LARGEST_XML), annotations[name])
            names.seen.update(document[2])
            try:
                raw.append(_annotated(name, images[name], document, log))
            except ImageError as error:
                log.add("unreadable", f"{name}: {error}")
    if not raw:
        said = "".join(f" {sentence}." for sentence in log.report().sentences())
        raise DataError(
            f"{layout.root} must hold images with an XML of the same name; got none in split {split!r}.{said}"
        )
    kept = known_classes(classes, sorted(names.seen), layout.root)
    samples = [clean_boxes(sample, log, None if classes is None else frozenset(kept)) for sample in raw]
    return BoxSet("voc", split, kept, samples, log.report())


class _ClassNames:
    """The names of classes that annotations hold; those of images beyond the limit are read for nothing else."""

    def __init__(self) -> None:
        self.seen: set[str] = set()

    def look_into(self, annotation: Path) -> None:
        """Add the names of one document, which is parsed only if it may hold a new one.

        Parsing takes most of the time, and few documents name what none before them did. Every `<name>` of the text is
        looked at, those of parts too: if all are known, so are those of the objects.
        """
        data = read_bounded(annotation, _LARGEST_XML)
        plain = _PLAIN_NAME.findall(data)
        # What is written in another way (UTF-16, entities, attributes) is left to the parser.
        if plain and len(plain) == data.count(b"<name") and {each.decode().strip() for each in plain} <= self.seen:
            return
        tree = _tree(data, annotation)
        self.seen |= {(item.findtext("name") or "").strip() for item in tree.findall("object")} - {""}


def _annotated(name: str, image: Path, said: _Said, log: BoxLog) -> BoxSample:
    said_hw, boxes, labels, difficult = said
    size_hw = image_size_hw(image)
    if said_hw not in (size_hw, (0, 0)):
        log.add("size_differs", f"{name}: {said_hw[1]} x {said_hw[0]}, file {size_hw[1]} x {size_hw[0]}")
    half_open = np.array(boxes, np.float64).reshape(-1, 4)
    flat = (half_open[:, 2] <= half_open[:, 0]) | (half_open[:, 3] <= half_open[:, 1])
    half_open[~flat, :2] -= 1
    # Tools that count from 0 write xmin = 0; that is the edge, not a mistake.
    half_open[~flat, :2] = np.where(half_open[~flat, :2] == -1, 0, half_open[~flat, :2])
    return BoxSample(name, image, size_hw, half_open, tuple(labels), np.array(difficult, np.bool_))


def parse_voc(data: bytes, source: Path) -> _Said:
    """Return image size (0, 0 if not said), boxes as written, names and `difficult` of one XML document.

    Raises:
        DataError: It is not well formed, has a DOCTYPE, or an object without name or box.
    """
    root = _tree(data, source)
    size = root.find("size")
    said_hw = (0, 0) if size is None else (int(_number(size, "height", source)), int(_number(size, "width", source)))
    boxes, labels, difficult = [], [], []
    for item in root.findall("object"):  # direct children: the parts of a person have boxes of their own
        box, name = item.find("bndbox"), (item.findtext("name") or "").strip()
        if box is None or not name:
            raise DataError(f"{source} must give every object a name and a bndbox; got {name or 'no name'!r}.")
        boxes.append([_number(box, side, source) for side in ("xmin", "ymin", "xmax", "ymax")])
        labels.append(name)
        difficult.append((item.findtext("difficult") or "0").strip() not in ("", "0"))
    return said_hw, boxes, labels, difficult


def _tree(data: bytes, source: Path) -> ET.Element:
    """Parse a document that declares no entity: those can read files or fill the memory."""
    checker = expat.ParserCreate()
    declared: list[str] = []
    checker.StartDoctypeDeclHandler = lambda name, *_: declared.append(name)
    try:
        checker.Parse(data, True)
        if declared:
            raise DataError(f"{source} must not have a DOCTYPE; got <!DOCTYPE {declared[0]}>. Remove the declaration.")
        return ET.fromstring(data)  # noqa: S314  # without a DOCTYPE there is no entity to expand
    except (expat.ExpatError, ET.ParseError, LookupError) as error:
        raise DataError(f"{source} must be well-formed XML: {error}. Export the annotation again.") from error


def _number(parent: ET.Element, name: str, source: Path) -> float:
    text = (parent.findtext(name) or "").strip()
    try:
        return float(text)
    except ValueError as error:
        raise DataError(f"{source} must give <{name}> as a number; got {text!r}. Mend the annotation.") from error
