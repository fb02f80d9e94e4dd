"""What a YOLO data set says of itself: class names, and where the images of each split are.

Of YAML only what `data.yaml` uses is understood: `key: value`, lists in brackets, lists of dashes and numbered entries.
Anything else under `names` is refused rather than guessed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from clipfast.datasets.box_files import inside, read_bounded
from clipfast.errors import DataError

__all__ = ["Described", "parse_names", "read_description"]

_LARGEST = 1 << 20
_YAML = ("data.yaml", "dataset.yaml", "data.yml")
_LISTS = ("classes.txt", "obj.names", "_darknet.labels", "classes.names")
_SPLITS = ("train", "val", "valid", "test")


@dataclass(frozen=True, slots=True)
class Described:
    """Class names in the order of their numbers, and the folder of images of each split; empty where not said."""

    names: tuple[str, ...] = ()
    images: Mapping[str | None, PurePosixPath] = field(default_factory=dict)


def read_description(folder: Path) -> Described:
    """Read `data.yaml` or a list of names.

    Raises:
        DataError: Names that are not understood, are empty or occur twice.
    """
    for name in _YAML:
        if (folder / name).is_file():
            text = _text(folder / name)
            return Described(_checked(parse_names(text, folder / name), folder / name), _images(text, folder))
    for name in _LISTS:
        if (folder / name).is_file():
            lines = [line.strip() for line in _text(folder / name).splitlines() if line.strip()]
            return Described(_checked(tuple(lines), folder / name))
    return Described()


def _text(path: Path) -> str:
    return read_bounded(path, _LARGEST).decode("utf-8-sig", "replace")


def _checked(names: tuple[str, ...], source: Path) -> tuple[str, ...]:
    if not names or not all(names) or len(set(names)) < len(names):
        raise DataError(f"{source} must name every class once; got {list(names)}.")
    return names


def parse_names(text: str, source: Path) -> tuple[str, ...]:
    r"""Return the names of `names:` in any of the three forms that YOLO's tools write.

    Raises:
        DataError: There is no `names`, or it has another form.

    >>> parse_names("nc: 2\nnames: ['car', 'truck']", Path("data.yaml"))
    ('car', 'truck')
    >>> parse_names("names:\n  0: car  # small\n  1: truck\n", Path("data.yaml"))
    ('car', 'truck')
    """
    found = re.search(r"^names\s*:(.*)$", text, re.MULTILINE)
    if found is None:
        raise DataError(f"{source} must have `names`; it does not. Add them, or write classes.txt instead.")
    if found.group(1).strip().startswith("["):
        inner = re.match(r"\s*\[([^\[\]]*)\]", text[found.start(1) :])
        if inner is not None:
            return tuple(_plain(item) for item in inner.group(1).split(",") if item.strip())
    elif not found.group(1).split("#")[0].strip():
        return _block(text[found.end() :].splitlines()[1:], source)
    raise DataError(f"{source}: `names` must be a list or numbered entries; got {found.group(1).strip()[:60]!r}.")


def _block(lines: list[str], source: Path) -> tuple[str, ...]:
    names: list[str] = []
    for line in lines:
        if not line.split("#")[0].strip():
            continue
        dashed, numbered = re.match(r"\s*-\s+(.+)$", line), re.match(r"\s+(\d+)\s*:\s*(.+)$", line)
        if numbered is not None and int(numbered.group(1)) == len(names):
            names.append(_plain(numbered.group(2)))
        elif dashed is not None and numbered is None:
            names.append(_plain(dashed.group(1)))
        elif line[0].isspace():
            raise DataError(f"{source}: `names` must be numbered 0, 1, ... in order; got {line.strip()[:60]!r}.")
        else:
            break
    return tuple(names)


def _plain(value: str) -> str:
    """Return a scalar without quotes or trailing remark."""
    value = value.strip()
    quoted = re.match(r"^(['\"])(.*?)\1", value)
    return quoted.group(2) if quoted else value.split(" #")[0].strip()


def _images(text: str, folder: Path) -> dict[str | None, PurePosixPath]:
    """Return the folders of the splits that lie inside the data set; Roboflow's `../train/images` is `train/images`."""
    root = _value(text, "path")
    base = inside(root, folder) if root not in (None, "", ".") and (folder / str(root)).is_dir() else PurePosixPath()
    found: dict[str | None, PurePosixPath] = {}
    for split in _SPLITS:
        value = _value(text, split)
        if not value:
            continue
        place = base / value.removeprefix("../").removeprefix("./")
        if (folder / inside(str(place), folder)).is_dir():
            found[split] = place
    return found


def _value(text: str, key: str) -> str | None:
    found = re.search(rf"^{key}\s*:(.*)$", text, re.MULTILINE)
    return None if found is None else _plain(found.group(1))
