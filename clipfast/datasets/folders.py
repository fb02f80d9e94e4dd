"""The fabric folder: `root/<fabric_id>/<photo>`, read in an order that every file system gives alike."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from clipfast.arguments import require_path
from clipfast.errors import DataError

__all__ = [
    "IMAGE_SUFFIXES",
    "FabricFolder",
    "FabricImage",
    "Ignored",
    "iter_fabric_images",
    "list_fabrics",
    "list_images",
    "scan_fabrics",
]

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})
EXPECTED_LAYOUT = "<folder>/<fabric_id>/<photo>.jpg, for example data/fabrics/cotton/ref_01.jpg"


@dataclass(frozen=True, slots=True)
class FabricImage:
    """One reference photo.

    Attributes:
        fabric: The fabric's id: the name of its folder, NFC.
        path: The file.
    """

    fabric: str
    path: Path

    @property
    def key(self) -> str:
        """The photo's name in a bank: `fabric/file`, with a forward slash, NFC."""
        return f"{self.fabric}/{_nfc(self.path.name)}"


@dataclass(frozen=True, slots=True)
class Ignored:
    """An entry that is no reference photo, and why.

    Attributes:
        name: Its path inside the folder that was listed, with forward slashes.
        reason: One phrase.
    """

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class FabricFolder:
    """What a fabric folder holds.

    Attributes:
        fabrics: Photos by fabric id, both in code-point order of the NFC names; a fabric without photos is there too.
        ignored: Entries passed over by rule: hidden ones, files beside the fabric folders, links that lead back.
        unusable: Entries inside a fabric's folder that are not photos by their name.
    """

    fabrics: dict[str, list[Path]]
    ignored: tuple[Ignored, ...]
    unusable: tuple[Ignored, ...]


def list_fabrics(root: str | os.PathLike[str]) -> dict[str, list[Path]]:
    """List the photos of each fabric under `root`, in code-point order of the NFC names.

    Raises:
        DataError: `root` is not a folder.
    """
    return scan_fabrics(root).fabrics


def iter_fabric_images(root: str | os.PathLike[str]) -> Iterator[FabricImage]:
    """Yield every photo under `root` with its fabric id, in the order of `list_fabrics`.

    Raises:
        DataError: `root` is not a folder.
    """
    for fabric, paths in list_fabrics(root).items():
        for path in paths:
            yield FabricImage(fabric, path)


def list_images(folder: str | os.PathLike[str]) -> tuple[list[Path], tuple[Ignored, ...], tuple[Ignored, ...]]:
    """List the photos that lie directly in one folder: photos, hidden entries, entries that are not photos by name.

    Raises:
        DataError: `folder` is not a folder.
    """
    photos: list[Path] = []
    hidden: list[Ignored] = []
    unusable: list[Ignored] = []
    for entry in _entries(require_path("folder", folder)):
        name = _shown(entry.name)
        if entry.name.startswith("."):
            hidden.append(Ignored(name, "hidden"))
        elif reason := _unusable(entry):
            unusable.append(Ignored(name, reason))
        else:
            photos.append(entry)
    return photos, tuple(hidden), tuple(unusable)


def scan_fabrics(root: str | os.PathLike[str]) -> FabricFolder:
    """List the photos of each fabric under `root`, and everything that was passed over.

    Two levels are read and no more, so a link cannot send it in circles; a link to `root` itself or to a folder above
    it is passed over.

    Raises:
        DataError: `root` is not a folder.
    """
    base = require_path("root", root)
    above = {base.resolve(), *base.resolve().parents}
    found: dict[str, list[Path]] = {}
    ignored: list[Ignored] = []
    unusable: list[Ignored] = []
    for entry in _entries(base):
        if reason := _passed_over(entry, above):
            ignored.append(Ignored(_shown(entry.name), reason))
            continue
        photos, hidden, others = list_images(entry)
        fabric = _nfc(entry.name)
        # Two folders whose names differ only in Unicode form are one fabric.
        found.setdefault(fabric, []).extend(photos)
        ignored += [Ignored(f"{fabric}/{item.name}", item.reason) for item in hidden]
        unusable += [Ignored(f"{fabric}/{item.name}", item.reason) for item in others]
    fabrics = {fabric: sorted(found[fabric], key=_by_name) for fabric in sorted(found)}
    return FabricFolder(fabrics, tuple(ignored), tuple(unusable))


def _entries(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise DataError(f"No folder at {folder}. Expected layout: {EXPECTED_LAYOUT}.", code="no_folder", path=folder)
    try:
        return sorted(folder.iterdir(), key=_by_name)
    except OSError as error:
        raise DataError(
            f"{folder} cannot be listed: {error.strerror}. Check who may read it.",
            code="no_access",
            path=folder,
            reason=error.strerror,
        ) from error


def _by_name(path: Path) -> tuple[str, str]:
    return _nfc(path.name), path.name


def _nfc(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _shown(name: str) -> str:
    """A name that can be printed and written as UTF-8, whatever bytes the file system holds."""
    return _nfc(name).encode("utf-8", "backslashreplace").decode()


def _is_text(name: str) -> bool:
    return _shown(name) == _nfc(name)


def _passed_over(entry: Path, above: set[Path]) -> str | None:
    if entry.name.startswith("."):
        return "hidden"
    if not entry.is_dir():
        return "a file beside the fabric folders" if entry.is_file() else "neither a file nor a folder"
    if not _is_text(entry.name):
        return "its name is not UTF-8"
    if entry.is_symlink() and entry.resolve() in above:
        return "a link back to the folder itself or to one above it"
    return None


def _unusable(entry: Path) -> str | None:
    if not _is_text(entry.name):
        return "its name is not UTF-8"
    if entry.is_dir():
        return "a folder inside a fabric's folder is not read"
    if entry.suffix.lower() not in IMAGE_SUFFIXES:
        return f"not an image by its name ({', '.join(sorted(suffix[1:] for suffix in IMAGE_SUFFIXES))})"
    return None if entry.is_file() else "a broken link, or not a file"
