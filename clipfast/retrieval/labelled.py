"""The folder of labelled patches: `root/<fabric_id>/patch_001.jpg`, with or without a side-car beside each."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clipfast.datasets.folders import FabricImage, scan_fabrics
from clipfast.errors import DataError, ImageError
from clipfast.retrieval.build import encode_folder
from clipfast.retrieval.crops import Sidecar, read_sidecar, sidecar_path
from clipfast.retrieval.declared import Declared, SeenPictures
from clipfast.retrieval.encode import EncodeOptions, Skipped
from clipfast.retrieval.looks import Look, look_of
from clipfast.retrieval.references import References
from clipfast.runtime.batching import prefetch
from clipfast.runtime.images import load_image
from clipfast.storage import sha256_file
from clipfast.types import ImageEncoder

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["LABELLED_FOLDER", "LabelledRows", "Patch", "encode_labelled", "list_patches", "look_at_patches"]

LABELLED_FOLDER = Path("data/patches/labeled")
EXPECTED_LAYOUT = "data/patches/labeled/<fabric_id>/patch_001.jpg, beside it patch_001.json if there is a side-car"
_MAX_FILE_BYTES = 512 << 20
_READ_AHEAD = 8


@dataclass(frozen=True, slots=True)
class Patch:
    """One labelled patch on disk.

    Attributes:
        label: Its fabric: the name of its folder.
        path: The file.
        key: `fabric/file`.
        sidecar: What lies beside it, or None.
    """

    label: str
    path: Path
    key: str
    sidecar: Sidecar | None

    @property
    def photo(self) -> Path | None:
        """The photo that it was cut from, absolute; None where no side-car names one."""
        return None if self.sidecar is None else self.sidecar.photo(self.path)

    @property
    def not_copies(self) -> tuple[str, ...]:
        """Checksums of evaluation pictures that it was declared to be no copy of."""
        return () if self.sidecar is None else self.sidecar.not_copy_of


@dataclass(frozen=True, slots=True)
class SeenPatch:
    """A patch that was read.

    Attributes:
        patch: Where it is and what is said of it.
        sha256: Checksum of its file.
        size_hw: Its size in pixels.
        look: To find copies by.
    """

    patch: Patch
    sha256: str
    size_hw: tuple[int, int]
    look: Look


@dataclass(frozen=True, slots=True, eq=False)
class LabelledRows:
    """Labelled patches as rows, in the order of (fabric, file).

    Attributes:
        references: Embeddings with fabric, name and checksum of each.
        looks: Of each row.
        photos: Source photo of each row, absolute; None where nobody knows.
        skipped: What could not be read.
        files: File of each row.
        not_copies: Checksums of evaluation pictures that each was declared to be no copy of, as its side-car says.
    """

    references: References
    looks: tuple[Look, ...]
    photos: tuple[Path | None, ...]
    skipped: tuple[Skipped, ...]
    files: tuple[Path, ...]
    not_copies: tuple[tuple[str, ...], ...]

    def digests(self, rows: Sequence[int]) -> tuple[str, ...]:
        """Return the checksums of rows and of the photos they were cut from, where those are there; sorted."""
        found = self.digests_by_row()
        return tuple(sorted(set().union(*(found[row] for row in rows))))

    def digests_by_row(self) -> list[frozenset[str]]:
        """Return of each row its checksum and that of the photo it was cut from, where that is there."""
        photos = {photo for photo in self.photos if photo is not None and photo.is_file()}
        sha256 = {photo: sha256_file(photo) for photo in photos}
        return [
            frozenset((own,) if photo not in sha256 else (own, sha256[photo]))
            for own, photo in zip(self.references.sha256, self.photos, strict=True)
        ]

    def seen(self, rows: Sequence[int], declared: Sequence[Declared] = ()) -> SeenPictures:
        """Keep names and looks of rows, and those of the declared pictures that are among them."""
        taken = self.references.taken(rows)
        paths = set(taken.paths)
        return SeenPictures.of(taken.paths, taken.marks.looks, [each for each in declared if each.path in paths])


def list_patches(folder: str | os.PathLike[str]) -> list[Patch]:
    """List the patches of a folder with their side-cars, in the order of (fabric, file).

    Raises:
        DataError: No folder there, no picture in it, or a side-car that is none.
    """
    found = scan_fabrics(folder)
    patches = [
        Patch(fabric, path, FabricImage(fabric, path).key, read_sidecar(path))
        for fabric, paths in found.fabrics.items()
        for path in paths
    ]
    if not patches:
        raise DataError(
            f"{os.fspath(folder)} holds no labelled patch. Expected layout: {EXPECTED_LAYOUT}.",
            code="no_patches",
            folder=folder,
            layout=EXPECTED_LAYOUT,
        )
    return patches


def look_at_patches(
    patches: list[Patch], *, progress: Callable[[int, int], None] | None = None
) -> tuple[list[SeenPatch], list[Skipped]]:
    """Read patches without a model: checksum, size and look of each; what cannot be read is named with its reason."""
    seen: list[SeenPatch] = []
    skipped: list[Skipped] = []
    for done, item in enumerate(prefetch(_look_at, patches, workers=1, ahead=_READ_AHEAD), start=1):
        if isinstance(item, Skipped):
            skipped.append(item)
        else:
            seen.append(item)
        if progress:
            progress(done, len(patches))
    return seen, skipped


def encode_labelled(
    clip: ImageEncoder,
    folder: str | os.PathLike[str],
    *,
    batch_size: int = 32,
    progress: Callable[[int, int], None] | None = None,
) -> LabelledRows:
    """Encode a folder of labelled patches; each file is read once.

    Raises:
        DataError: No folder there, no patch in it that can be read, or a side-car that is none.
    """
    patches = {patch.key: patch for patch in list_patches(folder)}
    looks: dict[str, Look] = {}

    def inspect(name: str, image: Image.Image) -> None:
        looks[name] = look_of(image)

    options = EncodeOptions(batch_size=batch_size, progress=progress, inspect=inspect)
    references, report = encode_folder(clip, Path(folder), options)
    sidecars = {f"{patch.label}/{sidecar_path(patch.path).name}" for patch in patches.values()}
    return LabelledRows(
        references,
        tuple(looks[path] for path in references.paths),
        tuple(patches[path].photo if path in patches else None for path in references.paths),
        tuple(item for item in report.skipped if item.path not in sidecars),
        tuple(patches[path].path if path in patches else Path(folder) / path for path in references.paths),
        tuple(patches[path].not_copies if path in patches else () for path in references.paths),
    )


def read_picture(path: Path) -> tuple[str, Image.Image]:
    """Read a file once: its checksum, and the picture in it.

    Raises:
        ImageError: It cannot be read as a picture.
        OSError: It cannot be read at all.
    """
    size = path.stat().st_size
    if size > _MAX_FILE_BYTES:
        raise ImageError(
            f"{path} must have at most {_MAX_FILE_BYTES:,} bytes; it has {size:,}. Shrink the photo.",
            code="photo_too_large",
            size=size,
            most=_MAX_FILE_BYTES,
        )
    data = path.read_bytes()
    try:
        return hashlib.sha256(data).hexdigest(), load_image(data)
    except ImageError as error:
        reason = str(error).removeprefix(f"the image of {len(data):,} bytes ")
        raise ImageError(f"{path} {reason}", code="unusable_photo", path=path, reason=reason) from error


def _look_at(patch: Patch) -> SeenPatch | Skipped:
    try:
        sha256, image = read_picture(patch.path)
        return SeenPatch(patch, sha256, (image.height, image.width), look_of(image))
    except (ImageError, OSError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).removeprefix(f"{patch.path} ")
        return Skipped(patch.key, reason)
