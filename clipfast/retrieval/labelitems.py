"""What goes into a folder of labels: who said it of which part of a photo, and what is written beside the patch."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from clipfast.arguments import shown
from clipfast.datasets.folders import IMAGE_SUFFIXES
from clipfast.errors import DataError, ShapeError
from clipfast.retrieval.crops import Region, Sidecar
from clipfast.retrieval.journal import Picked, QueueItem
from clipfast.retrieval.labelled import read_picture
from clipfast.storage import sha256_file

if TYPE_CHECKING:
    from PIL import Image

    from clipfast.retrieval.answers import Answer
    from clipfast.retrieval.recommend import Recommendation

__all__ = [
    "Labeller",
    "SeenCrop",
    "absolute",
    "asked_photo",
    "existing_photo",
    "patch_bytes",
    "photo_path",
    "queue_item",
    "read_photo",
    "sidecar_of",
]

_PNG_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I;16"})


@dataclass(frozen=True, slots=True)
class Labeller:
    """Who says so, looking at what.

    Attributes:
        who: A person's name.
        when: ISO 8601 with its offset; None is now.
        model: Whose answer was looked at.
        confidence: Its probability, in [0, 1].

    Raises:
        ShapeError: The confidence is no number in [0, 1].
    """

    who: str | None = None
    when: str | None = None
    model: str | None = None
    confidence: float | None = None

    def __post_init__(self) -> None:
        if self.confidence is not None:
            _require_prob("confidence", self.confidence)

    @property
    def moment(self) -> str:
        """When, or else now."""
        return self.when or datetime.now().astimezone().isoformat(timespec="seconds")


@dataclass(frozen=True, slots=True)
class SeenCrop:
    """A part of a photo that the system answered.

    Attributes:
        photo: The photo's file.
        region: Which part.
        confidence: Probability that the first answer is right, in [0, 1].
        answers: Fabrics with their shares in [0, 1], best first.
        model: Whose answers they are.
        none: True where the answer was "none of these".

    Raises:
        ShapeError: The confidence is no number in [0, 1]: such a crop would never wait for a label. Or a share is none.
    """

    photo: Path
    region: Region
    confidence: float
    answers: tuple[tuple[str, float], ...]
    model: str | None = None
    none: bool = False

    def __post_init__(self) -> None:
        _require_prob("confidence", self.confidence)
        if not isinstance(self.answers, tuple | list) or not all(map(_is_answer, self.answers)):
            raise DataError(f'answers must be pairs such as (("cotton", 0.6),); got {shown(self.answers)}.')
        for name, share in self.answers:
            _require_prob(f"the share of {name!r}", share)

    @classmethod
    def of(cls, photo: Path, region: Region, answer: Answer[Recommendation], *, model: str | None = None) -> SeenCrop:
        """Take down what `fuse_with_clip` answered; sums of shares may round above 1."""
        shares = tuple((name, min(score, 1.0)) for name, score, *_ in answer)
        return cls(photo, region, min(answer.confidence, 1.0), shares, model, none=answer.none_of_these)


def read_photo(path: Path) -> tuple[str, Image.Image]:
    """Return a photo's checksum and its picture.

    Raises:
        DataError: It is not there.
        ImageError: It cannot be read.
    """
    return read_picture(existing_photo(path))


def photo_path(photo: str | os.PathLike[str]) -> Path:
    """Return a photo's path.

    Raises:
        DataError: It is none.
    """
    if not isinstance(photo, str | os.PathLike):
        raise DataError(f"photo must be the path of a file; got {photo!r}.", code="no_photo", path=photo)
    return Path(photo)


def existing_photo(photo: str | os.PathLike[str]) -> Path:
    """Return the path of a photo that is there.

    Raises:
        DataError: It is not there.
    """
    path = photo_path(photo)
    if not path.is_file():
        raise DataError(f"No photo at {path}. Name a photo that is there.", code="no_photo", path=path)
    return path


def patch_bytes(path: Path, patch: Image.Image, *, whole: bool) -> tuple[bytes, str]:
    """Return a patch's file and its suffix: the photo's own bytes, or what was cut as PNG, which loses nothing."""
    if whole and path.suffix.lower() in IMAGE_SUFFIXES:
        return path.read_bytes(), path.suffix.lower()
    data = io.BytesIO()
    (patch if patch.mode in _PNG_MODES else patch.convert("RGB")).save(data, "PNG")
    return data.getvalue(), ".png"


def sidecar_of(folder: Path, photo: Path, region: Region, by: Labeller, item: QueueItem | None) -> Sidecar:
    """Return what is written beside a patch; what waited in the queue says itself what was answered."""
    return Sidecar(
        source=_from(folder, photo),
        coords=region.coords,
        size=region.size if region.coords is not None else None,
        box=region.box,
        who=by.who,
        when=by.moment,
        model=by.model if item is None else item.model,
        confidence=by.confidence if item is None else item.confidence,
        answer=item.answers[0][0] if item is not None and item.answers else None,
        picked=None if item is None else item.picked,
    )


def queue_item(root: Path, crop: SeenCrop, *, name: str, sha256: str, picked: Picked) -> QueueItem:
    """Return what waits, with the photo's path from the labels' folder."""
    return QueueItem(
        id=name,
        photo=_from(root, crop.photo),
        sha256=sha256,
        region=crop.region,
        confidence=crop.confidence,
        answers=crop.answers,
        picked=picked,
        model=crop.model,
    )


def asked_photo(root: Path, item: QueueItem) -> Path:
    """Return the photo that an item asks about.

    Raises:
        DataError: It is gone, or is not the one that was looked at.
    """
    path = absolute(root / item.photo)
    skip = f"Put the old file back, or let it go: clipfast label next --skip {item.id}"
    if not path.is_file():
        raise DataError(
            f"No photo at {path}, which {item.id} asks about. {skip}", code="photo_gone", path=path, item=item.id
        )
    if sha256_file(path) != item.sha256:
        raise DataError(
            f"{path} was changed since {item.id} was asked about: its checksum differs. {skip}",
            code="photo_changed",
            path=path,
            item=item.id,
        )
    return path


def absolute(path: Path) -> Path:
    """Return a path from the root, without `..`; links are not followed."""
    return Path(os.path.normpath(path.absolute()))


def _is_answer(pair: object) -> bool:
    return isinstance(pair, tuple | list) and len(pair) == 2 and isinstance(pair[0], str)


def _require_prob(what: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float | np.floating) or not 0 <= value <= 1:
        raise ShapeError(f"{what} must be a number in [0, 1]; got {value!r}.")


def _from(folder: Path, photo: Path) -> str:
    """Return a photo's path from a folder, with forward slashes; absolute where it is on another drive."""
    try:
        return Path(os.path.relpath(photo.absolute(), folder.absolute())).as_posix()
    except ValueError:
        return photo.absolute().as_posix()
