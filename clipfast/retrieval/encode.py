"""From photos to rows: read, check, encode in batches; a photo that cannot be read is skipped with its reason."""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from os import PathLike
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal

import numpy as np

from clipfast.arguments import require_type, require_whole
from clipfast.errors import DataError, ImageError, ShapeError
from clipfast.retrieval.crops import read_sidecar
from clipfast.retrieval.references import NO_LOOK, NO_PHOTO, Marks, References
from clipfast.runtime.batching import prefetch
from clipfast.runtime.images import DEFAULT_MAX_PIXELS, load_image
from clipfast.storage import sha256_file
from clipfast.types import Floats, ImageEncoder, ImageSource

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["BuildReport", "EncodeOptions", "Photo", "Skipped", "encode_photos"]

EXPECTED_LAYOUT = "data/fabrics/<fabric_id>/<photo>.jpg (jpg, jpeg, png, webp, bmp, tif, tiff), 3-5 photos of each"
SMALL_SIDE = 224
# Decoded photos wait for their batch; together they take 3 bytes a pixel, so a batch of large ones is cut short.
_PIXELS_PER_BATCH = 64_000_000
_MAX_FILE_BYTES = 512 << 20
_DECODE_AHEAD = 4


@dataclass(frozen=True, slots=True)
class Photo:
    """One photo to be encoded.

    Attributes:
        fabric: Its fabric id.
        source: Where its pixels come from.
        path: Its name in the bank, `fabric/file`; None names it by its content.
    """

    fabric: str
    source: ImageSource
    path: str | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that is not in the bank, and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What happened to every file.

    Attributes:
        counts: Photos taken by fabric id, zero included.
        skipped: Files that were meant to be photos and could not be used.
        ignored: Entries passed over by rule: hidden ones and files beside the fabric folders.
        replaced: Paths that the bank held already; the new photo took their place.
        repeated: Paths whose content is the same, byte for byte, as that of an earlier path. They are in the bank.
        small: Paths of photos smaller than 224 x 224 pixels. They are in the bank.
        seconds: How long it took.
    """

    counts: dict[str, int]
    skipped: tuple[Skipped, ...] = ()
    ignored: tuple[Skipped, ...] = ()
    replaced: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()
    small: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class EncodeOptions:
    """How photos are read and encoded.

    Attributes:
        strict: The first photo that cannot be used is an error, instead of being skipped.
        batch_size: Photos an encoder call, at most.
        max_pixels: Larger photos are refused before they are decoded.
        progress: Called with (done, total) files.
        inspect: Called with the name and the decoded image of every photo that is kept.
    """

    strict: bool = False
    batch_size: int = 32
    max_pixels: int = DEFAULT_MAX_PIXELS
    progress: Callable[[int, int], None] | None = None
    inspect: Callable[[str, Image.Image], None] | None = None

    def __post_init__(self) -> None:
        require_whole("batch_size", self.batch_size, 1)
        require_whole("max_pixels", self.max_pixels, 1)


@dataclass(frozen=True, slots=True)
class _Facts:
    """What is kept of a photo: `source` and `look` as in `Marks`."""

    fabric: str
    sha256: str
    source: str
    look: int


@dataclass(frozen=True, slots=True)
class _Loaded:
    path: str
    image: Image.Image
    facts: _Facts


class _NamedBytes(io.BytesIO):
    """A file's bytes under the name that errors shall use."""

    def __init__(self, data: bytes, name: str) -> None:
        super().__init__(data)
        self.name = name


def encode_photos(
    clip: ImageEncoder, photos: Sequence[Photo], options: EncodeOptions, *, where: str, unusable: Sequence[Skipped] = ()
) -> tuple[References, BuildReport]:
    """Read and encode photos; each file is read once, hashed, and decoded once.

    Args:
        clip: The encoder.
        photos: What to encode.
        options: How.
        where: Where they come from, for the error text.
        unusable: Files beside them that are no photos by their names; they count as skipped.

    Raises:
        ImageError: `strict`, and a photo cannot be read, or a file is unusable; the message names it.
        DataError: No photo is left; the message shows the expected layout.
    """
    require_type("clip", clip, ImageEncoder, "Clip.load()")  # type: ignore[type-abstract]  # only asked whether it is one
    begun = time.perf_counter()
    if options.strict and unusable:
        raise ImageError(
            f"{unusable[0].path}: {unusable[0].reason}. Remove or replace it, or build without strict.",
            code="unusable_photo",
            path=unusable[0].path,
            reason=unusable[0].reason,
        )
    found = _Collector(clip, options)
    found.skipped += unusable
    for done, item in enumerate(
        prefetch(partial(_read, options, getattr(clip, "exif", "apply")), photos, workers=1, ahead=_DECODE_AHEAD),
        start=1,
    ):
        found.take(item)
        if options.progress:
            options.progress(done, len(photos))
    found.flush()
    references = found.references(where)
    report = BuildReport(
        counts=dict(zip(references.names, references.counts.tolist(), strict=True)),
        skipped=tuple(sorted(found.skipped, key=lambda item: item.path)),
        repeated=_repeated(references),
        small=tuple(sorted(found.small)),
        seconds=time.perf_counter() - begun,
    )
    return references, report


class _Collector:
    """Takes photos as they are read, encodes them in batches, and keeps rows and what was skipped, in order."""

    def __init__(self, clip: ImageEncoder, options: EncodeOptions) -> None:
        self._clip = clip
        self._options = options
        self._waiting: list[_Loaded] = []
        self._pixels = 0
        self._rows: list[Floats] = []
        self._kept: dict[str, _Facts] = {}
        self.skipped: list[Skipped] = []
        self.small: list[str] = []

    def take(self, item: _Loaded | Skipped) -> None:
        """Queue a photo; a batch ends at its size, or when its pixels take too much memory."""
        if isinstance(item, Skipped):
            self.skipped.append(item)
            return
        pixels = item.image.width * item.image.height
        if self._waiting and self._pixels + pixels > _PIXELS_PER_BATCH:
            self.flush()
        self._waiting.append(item)
        self._pixels += pixels
        if len(self._waiting) == self._options.batch_size:
            self.flush()

    def flush(self) -> None:
        """Encode what is queued; if the encoder refuses a photo of the batch, encode one by one to find which."""
        batch, self._waiting, self._pixels = self._waiting, [], 0
        if not batch:
            return
        try:
            self._keep(batch)
        except ImageError as error:
            if self._options.strict:
                raise
            if len(batch) == 1:
                self.skipped.append(Skipped(batch[0].path, str(error)))
                return
            for item in batch:
                self._waiting = [item]
                self.flush()

    def references(self, where: str) -> References:
        """Return all rows.

        Raises:
            DataError: There is none.
        """
        if not self._rows:
            first = "".join(f"; the first: {item.path}: {item.reason.rstrip('.')}" for item in self.skipped[:1])
            raise DataError(
                f"No embeddings collected: {where} gave no readable photo ({len(self.skipped)} skipped{first}). "
                f"Expected layout: {EXPECTED_LAYOUT}.",
                code="no_embeddings",
                where=where,
                skipped=len(self.skipped),
                layout=EXPECTED_LAYOUT,
            )
        kept = self._kept.values()
        looks = np.array([item.look for item in kept], np.uint64)
        return References(
            np.concatenate(self._rows),
            [item.fabric for item in kept],
            list(self._kept),
            [item.sha256 for item in kept],
            Marks(tuple(item.source for item in kept), looks),
        )

    def _keep(self, batch: list[_Loaded]) -> None:
        rows = self._clip.encode_images([item.image for item in batch])
        for item, row in zip(batch, rows, strict=True):
            path = item.path
            if path in self._kept and self._kept[path].sha256 != item.facts.sha256:
                path = _renamed(path, item.facts.sha256)  # cameras in two folders count from 0001 both
            if path in self._kept:
                self.skipped.append(Skipped(path, "a photo of that name and content came before it"))
                continue
            self._rows.append(row[None])
            self._kept[path] = item.facts
            if min(item.image.size) < SMALL_SIDE:
                self.small.append(path)
            if self._options.inspect:
                self._options.inspect(path, item.image)


def _renamed(path: str, sha256: str) -> str:
    """Another photo of a name that is taken: its checksum's beginning goes before the suffix."""
    name = PurePosixPath(path)
    return (name.parent / f"{name.stem}-{sha256[:8]}{name.suffix}").as_posix()


def _repeated(references: References) -> tuple[str, ...]:
    first: dict[str, str] = {}
    for path, sha256 in zip(references.paths, references.sha256, strict=True):
        first.setdefault(sha256, path)
    return tuple(
        path for path, sha256 in zip(references.paths, references.sha256, strict=True) if first[sha256] != path
    )


def _read(options: EncodeOptions, exif: Literal["apply", "ignore"], photo: Photo) -> _Loaded | Skipped:
    name = photo.path or f"a photo of {photo.fabric}"
    try:
        data = _bytes_of(photo.source)
        source = photo.source if data is None else _NamedBytes(data, name)
        image = load_image(source, max_pixels=options.max_pixels, exif=exif)  # as the clip reads its queries
    except (ImageError, ShapeError, OSError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).removeprefix(f"{name} ")
        if options.strict:
            raise ImageError(f"{name}: {reason}", code="unusable_photo", path=name, reason=reason) from error
        return Skipped(name, reason)
    sha256 = _sha256(image) if data is None else hashlib.sha256(data).hexdigest()
    facts = _Facts(photo.fabric, sha256, _source_sha256(photo.source), _look(image))
    return _Loaded(photo.path or f"{photo.fabric}/{sha256[:16]}", image, facts)


def _look(image: Image.Image) -> int:
    from clipfast.retrieval.looks import look_hash  # here: asking a bank does not need it

    with suppress(ImageError):  # a picture that cannot be measured; the encoder may refuse it, too
        return look_hash(image)
    return NO_LOOK


def _source_sha256(source: ImageSource) -> str:
    """Return the checksum of the photo that the side-car of a file names, if it is there; whatever else lies there."""
    if not isinstance(source, str | PathLike):
        return NO_PHOTO
    file = Path(source)
    with suppress(DataError, OSError):
        sidecar = read_sidecar(file)
        photo = None if sidecar is None else sidecar.photo(file)
        if photo is not None and photo.is_file():
            return sha256_file(photo)
    return NO_PHOTO


def _bytes_of(source: ImageSource) -> bytes | None:
    """The file's bytes, or None where there is no file; what is hashed is what is decoded."""
    if isinstance(source, bytes):
        return source
    if isinstance(source, str | PathLike):
        size = Path(source).stat().st_size
        if size > _MAX_FILE_BYTES:
            raise ImageError(
                f"the file must have at most {_MAX_FILE_BYTES:,} bytes; got {size:,}. Shrink the photo.",
                code="photo_too_large",
                size=size,
                most=_MAX_FILE_BYTES,
            )
        return Path(source).read_bytes()
    read = getattr(source, "read", None)  # an open file has it; images and arrays do not
    return read(_MAX_FILE_BYTES) if callable(read) else None


def _sha256(image: Image.Image) -> str:
    return hashlib.sha256(f"{image.mode} {image.size} ".encode() + image.tobytes()).hexdigest()
