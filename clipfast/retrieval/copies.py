"""Reference photos that are there twice: the same bytes, or nearly the same picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clipfast.retrieval.photos import PhotoFacts
from clipfast.retrieval.references import NO_PHOTO, References

__all__ = ["Copy", "equal_copies", "near_copies"]


@dataclass(frozen=True, slots=True)
class Copy:
    """A photo that repeats an earlier one, in the order of (fabric, path).

    Attributes:
        path: The photo.
        of: The earlier one, which may be of another fabric.
        bits: In how many of 64 bits their hashes differ; None where the files, or imported vectors, are equal.
    """

    path: str
    of: str
    bits: int | None


def equal_copies(references: References) -> tuple[Copy, ...]:
    """Return the photos whose file has the bytes of an earlier one; of imported vectors, those that are equal."""
    first: dict[str | bytes, str] = {}
    copies = []
    for path, sha256, row in zip(references.paths, references.sha256, references.embeddings, strict=True):
        earlier = first.setdefault(row.tobytes() if sha256 == NO_PHOTO else sha256, path)
        if earlier != path:
            copies.append(Copy(path, earlier, None))
    return tuple(copies)


def near_copies(photos: Sequence[PhotoFacts], bits: int) -> tuple[Copy, ...]:
    """Return the photos whose hash differs in at most `bits` of 64 bits from an earlier one; the nearest is named.

    Pictures without a pattern have no hash and are passed over. The hash sees luminance only: one print in two colours,
    from the very same place, is called a copy.
    """
    from clipfast.kernels.filters import hamming

    hashed = [photo for photo in photos if photo.phash is not None]
    hashes = np.array([int(photo.phash or "", 16) for photo in hashed], dtype=np.uint64)
    copies = []
    for row in range(1, len(hashed)):
        distances = hamming(hashes[:row], hashes[row : row + 1])
        nearest = int(distances.argmin())
        if distances[nearest] <= bits:
            copies.append(Copy(hashed[row].path, hashed[nearest].path, int(distances[nearest])))
    return tuple(copies)
