"""Pictures that must never be trained on: those of an evaluation set, patches of its photos, and near copies."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from clipfast.errors import ImageError
from clipfast.retrieval.crops import crop_patch, read_sidecar
from clipfast.retrieval.evalset import EvalSample, EvalSet
from clipfast.retrieval.labelled import read_picture
from clipfast.retrieval.looks import Look, copies_between, look_of, same_pixels

__all__ = ["EvalCopy", "EvalGuard"]


@dataclass(frozen=True, slots=True)
class EvalCopy:
    """A picture that nearly repeats one of an evaluation set.

    Attributes:
        place: Of the picture, in the list that was asked about.
        image: The set's picture.
        digests: Checksums of the files that show it.
        sha256: Checksum of its own file.
        identical: Whether both are the same to the pixel.
    """

    place: int
    image: str
    digests: frozenset[str]
    sha256: str
    identical: bool


@dataclass(slots=True, eq=False)
class EvalGuard:
    """Knows a picture of an evaluation set when it sees one.

    Attributes:
        eval_set: The set.
        digests: Checksums of its pictures, of the patches cut from them and the photos they were cut from.
        photos: Its pictures' files and the photos that they were cut from, absolute.
    """

    eval_set: EvalSet
    digests: frozenset[str] = field(init=False)
    photos: frozenset[Path] = field(init=False)
    _looks: list[tuple[Look, EvalSample]] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        files = {self.eval_set.file(sample) for sample in self.eval_set.samples}
        self.digests = self.eval_set.pictures
        self.photos = frozenset(files | {photo for path in files if (photo := _source(path)) is not None})

    def holds(self, sha256: str, photo: Path | None) -> bool:
        """Tell whether a file is one of the set's, or was cut from one of its photos."""
        return sha256 in self.digests or (photo is not None and photo in self.photos)

    def image_of(self, sha256: str) -> str:
        """Return the set's picture that a file shows, by its checksum."""
        return next((sample.image for sample in self.eval_set.samples if sha256 in sample.digests), sha256)

    def copies(self, looks: Sequence[Look]) -> list[EvalCopy]:
        """Return which pictures nearly repeat one of the set, or its whole photo.

        Raises:
            DataError: A picture of the set was moved or changed.
        """
        known = self.looks()
        found: dict[tuple[int, str], EvalCopy] = {}
        for pair in copies_between(looks, [look for look, _ in known]):
            look, sample = known[pair.other]
            before = found.get((pair.one, sample.image))
            identical = same_pixels(looks[pair.one], look) or (before is not None and before.identical)
            found[pair.one, sample.image] = EvalCopy(pair.one, sample.image, sample.digests, sample.sha256, identical)
        return list(found.values())

    def looks(self) -> list[tuple[Look, EvalSample]]:
        """Look at what is asked about, and at the whole photos, once; the sample of each beside it.

        Raises:
            DataError: A picture of the set was moved or changed.
        """
        if self._looks is None:
            self._looks = self._measured()
        return self._looks

    def _measured(self) -> list[tuple[Look, EvalSample]]:
        """Look at what is asked about, and once at each whole photo that it is only a part of.

        That is the picture of the sample, or the photo that a patch was cut from, where it is there.
        """
        looks: list[tuple[Look, EvalSample]] = []
        whole: set[str] = set()
        for sample in self.eval_set.samples:
            picture = self.eval_set.picture(sample)
            crop = crop_patch(picture, sample.coords, sample.size)
            looks.append((look_of(crop), sample))
            if crop.size != picture.size and sample.image not in whole:
                whole.add(sample.image)
                looks.append((look_of(picture), sample))
            photo = _source(self.eval_set.file(sample))
            if photo is not None and photo.as_posix() not in whole and photo.is_file():
                whole.add(photo.as_posix())
                with suppress(ImageError, OSError):  # whatever lies there now, it is no picture
                    looks.append((look_of(read_picture(photo)[1]), sample))
        return looks


def _source(path: Path) -> Path | None:
    sidecar = read_sidecar(path)
    return None if sidecar is None else sidecar.photo(path)
