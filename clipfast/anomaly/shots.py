"""Which intact images a detector is fitted on, chosen so that anyone chooses the same, and kept apart from the test."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from clipfast.anomaly.memory import Reference
from clipfast.anomaly.options import require_number
from clipfast.anomaly.pictures import pixel_digest, read_picture
from clipfast.datasets.folders import list_images
from clipfast.errors import DataError, ShapeError
from clipfast.types import ImageSource

__all__ = ["ShotManifest", "as_reference", "check_leak", "check_leak_of", "choose_shots", "list_normals"]


@dataclass(frozen=True, slots=True)
class ShotManifest:
    """The support of a detector.

    Attributes:
        seed: That chose the images; None where they were named.
        shots: Names (relative paths, where they come from a folder) and SHA-256, in the order of their SHA-256.
    """

    seed: int | None
    shots: tuple[Reference, ...]


def choose_shots(
    paths: Iterable[str | os.PathLike[str]], shots: int, *, seed: int, root: Path | None = None
) -> list[Path]:
    """Choose K images of many, by a hash of the seed and each one's path.

    The choice depends neither on the order of the list nor on the file system, and a further image changes at most one
    place of it. Choices of fewer shots with the same seed are part of those of more.

    Args:
        paths: The intact images.
        shots: How many, 1 or more.
        seed: Another seed, another choice.
        root: Paths are hashed relative to it; None hashes them as they are.

    Raises:
        DataError: There are fewer images than shots, or a number is none.
        ShapeError: `shots` is less than 1.

    >>> [str(path) for path in choose_shots(["a.png", "b.png", "c.png"], 2, seed=0)]
    ['c.png', 'b.png']
    """
    require_number("shots", shots, whole=True)
    require_number("seed", seed, whole=True)
    listed = sorted({Path(path) for path in paths}, key=lambda path: _key(path, root))
    if shots < 1:
        raise ShapeError(f"shots must be 1 or more; got {shots}.")
    if shots > len(listed):
        raise DataError(
            f"{shots} shots need as many intact images; there are {len(listed)}. Lower --shots, or add images."
        )
    return sorted(listed, key=lambda path: hashlib.sha256(f"{seed}:{_key(path, root)}".encode()).digest())[:shots]


def list_normals(folder: Path) -> list[Path]:
    """List the intact images of a folder: its own, or those of `train/good` (MVTec AD) or `good` inside of it.

    Raises:
        DataError: No folder there, or no image in it.
    """
    for place in (folder / "train" / "good", folder / "good", folder):
        if place.is_dir():
            photos, _, _ = list_images(place)
            if photos:
                return photos
    if not folder.is_dir():
        raise DataError(f"No folder at {folder}. Name one with intact images, or an MVTec class with train/good.")
    raise DataError(f"{folder} holds no image, nor do its train/good and good. Put intact images there.")


def check_leak(support: Sequence[Reference], scored: Iterable[ImageSource]) -> None:
    """Refuse an evaluation in which an image of the support is scored, too: it would be recognised, not judged.

    Images are compared by the bytes of their files and by their decoded pixels, so that a picture in another lossless
    file is found, too; a JPEG copy of it has other pixels, and is not.

    Raises:
        DataError: Some images are in both; the message names them.
        ImageError: An image cannot be read.
    """
    check_leak_of(support, map(as_reference, scored))


def check_leak_of(support: Sequence[Reference], scored: Iterable[Reference]) -> None:
    """Do the same where the checksums of the scored images are known already."""
    known = {each: reference.name for reference in support for each in reference.prints}
    found = [(one.name, known[same.pop()]) for one in scored if (same := one.prints & known.keys())]
    if found:
        shown = "; ".join(f"{name} is the reference {reference}" for name, reference in found[:3])
        raise DataError(
            f"{len(found)} of the scored images are in the support ({shown}). Take them out of one of the two: "
            "scores of images that the detector remembers say nothing."
        )


def as_reference(source: ImageSource) -> Reference:
    """Return an image's name and both its checksums.

    Raises:
        ImageError: It cannot be read.
    """
    picture = read_picture(source)
    return Reference(picture.name, picture.sha256, pixel_digest(picture.load()))


def _key(path: Path, root: Path | None) -> str:
    shown = path.relative_to(root) if root is not None and path.is_relative_to(root) else path
    return unicodedata.normalize("NFC", shown.as_posix())
