"""Files of data sets with boxes: bounded reads, names that stay inside the folder, sizes from image headers."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from PIL import Image

from clipfast.datasets.box_records import BoxLog
from clipfast.datasets.folders import IMAGE_SUFFIXES
from clipfast.errors import DataError, ImageError

__all__ = ["image_size_hw", "inside", "list_by_stem", "read_bounded", "require_folder"]


def require_folder(folder: Path) -> Path:
    """Return the folder.

    Raises:
        DataError: There is none.
    """
    if not folder.is_dir():
        raise DataError(f"No folder at {folder}. Name the folder of the data set.")
    return folder


def read_bounded(path: Path, limit: int) -> bytes:
    """Return the bytes of a file.

    Raises:
        DataError: It is not a file, or larger than `limit` bytes.
    """
    try:
        size = path.stat().st_size
        if size > limit:
            raise DataError(f"{path} must have at most {limit:,} bytes; got {size:,}. Is it really an annotation?")
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}. Check the path and its permissions.") from error
    if len(data) > limit:
        raise DataError(f"{path} must have at most {limit:,} bytes; it grew while it was read.")
    return data


def inside(name: str, source: Path) -> PurePosixPath:
    """Return a relative name that an annotation gives, with forward slashes.

    Raises:
        DataError: It is empty, absolute, or leads out of the folder.
    """
    path = PurePosixPath(name.strip().replace("\\", "/"))
    if not path.name or path.is_absolute() or ".." in path.parts or re.match(r"^[A-Za-z]:", name.strip()):
        raise DataError(f"{source} must name files inside the data set; got {name!r}. Write a relative path.")
    return path


def list_by_stem(
    folders: Iterable[Path], suffixes: frozenset[str] = IMAGE_SUFFIXES, log: BoxLog | None = None
) -> dict[str, Path]:
    """Return the files of these suffixes by name without suffix, in code-point order; the first of equal names.

    Hidden files are passed over. Folders are not searched below. Further files of a name are counted in `log`.
    """
    found: dict[str, Path] = {}
    for folder in folders:
        with os.scandir(folder) as entries:  # knows what is a file without asking for each
            names = sorted(entry.name for entry in entries if not entry.name.startswith(".") and entry.is_file())
        for name in names:
            stem, suffix = os.path.splitext(name)  # noqa: PTH122  # a Path of each of many thousand names takes longer
            if suffix.lower() in suffixes:
                if stem in found and log is not None:
                    log.add("same_name", f"{found[stem].name}, {name}")
                found.setdefault(stem, folder / name)
    return dict(sorted(found.items()))


def image_size_hw(path: Path) -> tuple[int, int]:
    """Return the size of an image as it is stored, from its header: no turn by EXIF.

    Raises:
        ImageError: The file is no image that can be read; readers count it and leave it out.
    """
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ImageError(
            f"{path} cannot be read as an image: {error}. Replace it, or leave it out of the split."
        ) from error
