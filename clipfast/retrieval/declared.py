"""Photographs that somebody declared to be no copies of what they look like, and by what pictures are known again.

A near copy of an evaluation picture is refused, and at times two photographs are taken for one. `--not-a-copy FILE`
says so of one file. It is written down with the evaluation picture that it resembled, in head, bank, weights or
side-car, and holds for these two only. Files of equal bytes and pictures of equal pixels stay refused.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
from numpy.typing import NDArray

from clipfast.artifact import Sha256
from clipfast.errors import DataError

__all__ = ["HOW_TO_DECLARE", "Declared", "NotCopies", "SeenPicture", "SeenPictures", "same_picture"]

HOW_TO_DECLARE = "If they are two photographs: --not-a-copy FILE (not_copies=[...]), which is written down."

Hash = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{16}$")]


class Declared(msgspec.Struct, frozen=True, kw_only=True):
    """One photograph that was declared to be no copy.

    Attributes:
        path: Its name, `fabric/file`.
        file: Checksum of its file.
        image: The evaluation picture that it resembles, as the set calls it.
        of: Checksum of that picture's file.
    """

    path: str
    file: Sha256
    image: str
    of: Sha256


class SeenPicture(msgspec.Struct, frozen=True, array_like=True):
    """A picture that something was made of: its name `fabric/file`, and `look_hash` in hexadecimal digits."""

    path: str
    look: Hash


class SeenPictures(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of the pictures that a head or weights were made of.

    Attributes:
        pictures: Name and look of each.
        declared: Those that were declared to be no copies.
    """

    pictures: tuple[SeenPicture, ...] = ()
    declared: tuple[Declared, ...] = ()

    @classmethod
    def of(cls, paths: Iterable[str], looks: NDArray[np.uint64], declared: Iterable[Declared] = ()) -> SeenPictures:
        """Keep names and looks, (n,) uint64."""
        pictures = tuple(SeenPicture(path, f"{look:016x}") for path, look in zip(paths, looks.tolist(), strict=True))
        return cls(pictures=pictures, declared=tuple(declared))

    @property
    def paths(self) -> tuple[str, ...]:
        """Names of the pictures."""
        return tuple(picture.path for picture in self.pictures)

    @property
    def looks(self) -> NDArray[np.uint64]:
        """Looks of the pictures, (n,) uint64."""
        return np.array([int(picture.look, 16) for picture in self.pictures], np.uint64)


class NotCopies:
    """The files that are declared in one call.

    Args:
        files: Their paths, or names `fabric/file`.
    """

    def __init__(self, files: Iterable[str | os.PathLike[str]] = ()) -> None:
        self._given = {os.fspath(file): _absolute(file) for file in files}
        self._met: set[str] = set()

    def names(self, path: str | os.PathLike[str], key: str = "") -> bool:
        """Tell whether a file was declared, by its path or by its name."""
        place = _absolute(path)
        found = {given for given, wanted in self._given.items() if wanted == place or Path(given).as_posix() == key}
        self._met |= found
        return bool(found)

    def require_met(self) -> None:
        """Refuse declarations of files that are not among those asked about.

        Raises:
            DataError: There are some.
        """
        if unmet := sorted(set(self._given) - self._met):
            raise DataError(
                f"{unmet[0]} is declared to be no copy, and is not among the pictures. Name the file as it lies there, "
                "or as fabric/file.",
                code="declared_unknown",
                path=unmet[0],
            )


def same_picture(path: str, image: str) -> DataError:
    """Return the error for a declared file that shows the very pixels of an evaluation picture."""
    return DataError(
        f"{path} shows the very pixels of {image} of the evaluation set: that is a copy, whatever is declared. Remove "
        "it.",
        code="declared_same",
        path=path,
        image=image,
    )


def _absolute(path: str | os.PathLike[str]) -> Path:
    return Path(os.path.normpath(Path(path).absolute()))
