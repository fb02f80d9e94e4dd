"""A bank's photos beside an evaluation set, by pixels, where they are still there."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clipfast.errors import DataError, ImageError
from clipfast.retrieval.declared import Declared
from clipfast.retrieval.evalguard import EvalGuard
from clipfast.retrieval.heldout import declared_copy
from clipfast.retrieval.knownlooks import IN_BANK, listed
from clipfast.retrieval.labelled import read_picture
from clipfast.retrieval.looks import NEAR_BITS, look_of, nearly
from clipfast.retrieval.references import References

__all__ = ["ComparedPhotos", "compare_photos"]

_MANY = 2_000  # photos; of more only those are read whose hash is near


@dataclass(frozen=True, slots=True)
class ComparedPhotos:
    """What was found.

    Attributes:
        compared: Names of the photos that were there and compared: what their hashes say does not count any more.
        declared: Those that look like an evaluation picture and were declared to be no copies.
    """

    compared: frozenset[str]
    declared: tuple[Declared, ...]


def compare_photos(
    references: References, folder: Path, guard: EvalGuard, not_copies: Collection[str] = ()
) -> ComparedPhotos:
    """Compare a bank's photos with an evaluation set by the rule of `clipfast bank build`.

    Args:
        references: The bank's photos.
        folder: Where they lie: `fabric/file`, unchanged; those that do not are passed over.
        guard: Of the set.
        not_copies: Names that are declared to be no copies.

    Raises:
        DataError: A photo nearly repeats a picture of the set, or is declared and the same to the pixel; or a picture
            of the set was moved or changed.
    """
    rows = _worth_reading(references, guard)
    said = [each for marks in references.marks.declared for each in marks]
    compared: set[str] = set()
    pairs: dict[str, str] = {}
    declared: list[Declared] = []
    for row in rows:
        path = references.paths[row]
        found = None
        with suppress(ImageError, OSError):
            found = read_picture(folder / path)
        if found is None or found[0] != references.sha256[row]:
            continue
        compared.add(path)
        for copy in guard.copies([look_of(found[1])]):
            if path in not_copies or any(each.path == path and each.of in copy.digests for each in said):
                declared.append(declared_copy(path, found[0], copy))
            else:
                pairs.setdefault(path, copy.image)
    if pairs:
        shown = listed([f"{path} is nearly the same picture as {image}" for path, image in sorted(pairs.items())])
        raise DataError(
            f"{shown} of the evaluation set, {IN_BANK.why}. If they are two photographs: --not-a-copy FABRIC/FILE, "
            "which is written down",
            code=IN_BANK.code,
        )
    return ComparedPhotos(frozenset(compared), tuple(declared))


def _worth_reading(references: References, guard: EvalGuard) -> Sequence[int]:
    if len(references) <= _MANY:
        return range(len(references))
    looks = references.marks.looks
    near = np.zeros(len(references), bool)
    for look, _ in guard.looks():
        near[[row for row, _ in nearly(look, looks, NEAR_BITS)]] = True
    found: list[int] = np.flatnonzero(near).tolist()
    return found
