"""Lines of an evaluation set's file: one JSON object for each picture that is asked about."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import msgspec

from clipfast.artifact import Sha256
from clipfast.errors import DataError
from clipfast.retrieval.crops import PATCH_SIZE

__all__ = ["EvalSample", "place_of", "read_samples"]

Pixel = Annotated[int, msgspec.Meta(ge=0)]


class EvalSample(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One line of the file.

    Attributes:
        image: The picture, relative to the file's folder, with forward slashes.
        coords: Where in the picture, (x, y) in pixels: the click of a source photo, the middle of a patch.
        label: Its fabric.
        sha256: Checksum of the picture's file.
        size: Pixels along each side of what is cut out around `coords`; the line leaves out the usual 224.
        related: Checksums of further files that show it: the labelled patch of a photo, the photo of a patch.
        group: The same number for samples that are not independent: of one photo, or nearly the same picture. The line
            of one that stands alone leaves it out.
    """

    image: str
    coords: tuple[Pixel, Pixel]
    label: Annotated[str, msgspec.Meta(min_length=1)]
    sha256: Sha256
    size: Annotated[int, msgspec.Meta(ge=1)] = PATCH_SIZE
    related: tuple[Sha256, ...] = ()
    group: int | None = None

    @property
    def digests(self) -> frozenset[str]:
        """Checksums of all files that show it."""
        return frozenset((self.sha256, *self.related))


def read_samples(file: Path) -> tuple[EvalSample, ...]:
    """Read the samples of a file.

    Raises:
        DataError: A line is none, or asks about a place a second time, which would count twice.
    """
    decoder = msgspec.json.Decoder(EvalSample)
    found: dict[tuple[object, ...], tuple[int, EvalSample]] = {}
    for number, line in enumerate(file.read_bytes().splitlines(), start=1):
        if not line.strip():
            continue
        try:
            sample = decoder.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise DataError(
                f'{file}, line {number} must be {{"image": ..., "coords": [x, y], "label": ..., "sha256": ...}}; '
                f"{error}. Make the set again: clipfast evalset make",
                code="bad_eval_line",
                path=file,
                line=number,
                error=error,
            ) from error
        first, _ = found.setdefault(place_of(sample), (number, sample))
        if first != number:
            raise DataError(
                f"{file}, line {number} asks about the same place as line {first}: {sample.image} at {sample.coords}. "
                "It would count twice: remove one of the lines, or make the set again: clipfast evalset make --replace",
                code="eval_line_twice",
                path=file,
                line=number,
                first=first,
            )
    return tuple(sample for _, sample in found.values())


def place_of(sample: EvalSample) -> tuple[object, ...]:
    """Return what a sample asks about: its picture, where in it, and how much of it."""
    return os.path.normpath(sample.image), sample.coords, sample.size
