"""COCO's JSON of instances: `images`, `annotations`, `categories`; boxes are x, y, width, height from 0."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import msgspec
import numpy as np

from clipfast.datasets.box_files import image_size_hw, inside, read_bounded, require_folder
from clipfast.datasets.box_records import BoxLog, BoxSample, BoxSet, clean_boxes, known_classes
from clipfast.errors import DataError, ImageError

__all__ = ["find_coco", "read_coco"]

_LARGEST = 1 << 30
_PLACES = ("annotations", ".", "Annotations")


class _Image(msgspec.Struct):
    id: int | str
    file_name: str
    height: int = 0
    width: int = 0


class _Annotation(msgspec.Struct):
    image_id: int | str
    category_id: int
    bbox: tuple[float, float, float, float]
    iscrowd: int = 0


class _Category(msgspec.Struct):
    id: int
    name: str


class _Instances(msgspec.Struct):
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category]


def find_coco(folder: Path) -> list[Path]:
    """Return the JSON files that may hold instances, in code-point order; Roboflow's lie beside the images."""
    places = [folder / name for name in _PLACES] + sorted(path for path in folder.glob("*") if path.is_dir())
    found = {path for place in places if place.is_dir() for path in place.glob("*.json")}
    return sorted(path for path in found if _starts_like_coco(path))


def _starts_like_coco(path: Path) -> bool:
    """Tell instances from results and settings without reading the whole file: all three keys must occur."""
    if path.stat().st_size > _LARGEST:
        return True  # let the reader refuse it by name
    data = path.read_bytes()
    return all(key in data for key in (b'"images"', b'"annotations"', b'"categories"', b'"bbox"'))


def read_coco(
    folder: Path, *, split: str | None = None, classes: Sequence[str] | None = None, limit: int | None = None
) -> BoxSet:
    """Read COCO instances.

    Args:
        folder: The data set; JSON files are looked for in it, in `annotations/` and one folder below. Or the JSON file.
        split: Part of the file's path ("val2017" for `instances_val2017.json`); needed where there are several.
        classes: Names of the categories to keep; None keeps all.
        limit: At most so many images, the first by id.

    Raises:
        DataError: No such file, several without a split, an unknown class, or JSON of another shape.
    """
    source = folder if folder.suffix == ".json" and folder.is_file() else _chosen(require_folder(folder), split)
    beside = source.parent.parent if source.parent.name.lower() == "annotations" else source.parent
    root = beside if folder == source else folder
    held = _decoded(source)
    names = {category.id: category.name for category in sorted(held.categories, key=lambda c: c.id)}
    if len(set(names.values())) < len(held.categories):
        raise DataError(f"{source} must name every category once; got {', '.join(c.name for c in held.categories)}.")
    kept = known_classes(classes, list(names.values()), source)
    log = BoxLog()
    by_image: dict[int | str, list[_Annotation]] = {}
    for annotation in held.annotations:
        by_image.setdefault(annotation.image_id, []).append(annotation)
    for stranger in sorted(map(str, by_image.keys() - {image.id for image in held.images})):
        log.add("no_image", f"image_id {stranger}")
    wanted = None if classes is None else frozenset(kept)
    files = sorted(((inside(image.file_name, source), image) for image in held.images), key=lambda f: f[0].as_posix())
    stems = Counter(name.with_suffix("") for name, _ in files)
    samples: list[BoxSample] = []
    for name, image in files:
        if limit is not None and len(samples) >= limit:
            break
        path = _find_image(root, source, name, split)
        if path is None:
            log.add("no_image", image.file_name)
            continue
        # Two images that differ in their suffix only keep it in their ids.
        key = (name.with_suffix("") if stems[name.with_suffix("")] == 1 else name).as_posix()
        try:
            sample = _sample(key, path, by_image.get(image.id, []), names)
        except ImageError as error:
            log.add("unreadable", f"{key}: {error}")
            continue
        if (image.height, image.width) not in ((0, 0), sample.size_hw):
            height, width = sample.size_hw
            log.add("size_differs", f"{key}: {image.width} x {image.height}, file {width} x {height}")
        samples.append(clean_boxes(sample, log, wanted))
    if not samples:
        said = "".join(f" {sentence}." for sentence in log.report().sentences())
        raise DataError(f"{source} must name images that lie in {root}; found none of {len(held.images)}.{said}")
    return BoxSet("coco", split, kept, samples, log.report())


def _chosen(folder: Path, split: str | None) -> Path:
    found = find_coco(folder)
    matching = [path for path in found if split is None or split in path.relative_to(folder).as_posix()]
    if len(matching) == 1:
        return matching[0]
    names = ", ".join(path.relative_to(folder).as_posix() for path in found) or "none"
    raise DataError(
        f"{folder} must hold one JSON of COCO instances for split {split!r}; it holds: {names}. Pass a split."
    )


def _decoded(source: Path) -> _Instances:
    try:
        return msgspec.json.decode(read_bounded(source, _LARGEST), type=_Instances)
    except msgspec.DecodeError as error:
        raise DataError(f"{source} must be COCO instances (images, annotations, categories): {error}.") from error


def _find_image(root: Path, source: Path, name: PurePosixPath, split: str | None) -> Path | None:
    """Look where data sets put their images: beside the JSON, in `images/`, in a folder of the split's name."""
    part = split or source.stem.removeprefix("instances_")
    places = (source.parent, root, root / "images", root / part, root / "images" / part)
    return next((place / name for place in places if (place / name).is_file()), None)


def _sample(key: str, path: Path, annotations: list[_Annotation], names: dict[int, str]) -> BoxSample:
    size_hw = image_size_hw(path)
    if strangers := {a.category_id for a in annotations} - names.keys():
        raise DataError(f"{key} must have categories of the file; got category_id {sorted(strangers)}.")
    sides = np.array([a.bbox for a in annotations], np.float64).reshape(-1, 4)
    boxes = np.concatenate([sides[:, :2], sides[:, :2] + sides[:, 2:]], axis=1)
    labels = tuple(names[a.category_id] for a in annotations)
    return BoxSample(key, path, size_hw, boxes, labels, np.array([a.iscrowd != 0 for a in annotations], np.bool_))
