"""Reference photos that are there twice: the same bytes, or nearly the same picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clipfast.retrieval.references import NO_PHOTO, References

if TYPE_CHECKING:
    from clipfast.retrieval.looks import Look

__all__ = ["Copy", "equal_copies", "near_copies"]


@dataclass(frozen=True, slots=True)
class Copy:
    """A photo that repeats an earlier one, in the order of (fabric, path).

    Attributes:
        path: The photo.
        of: The earlier one, which may be of another fabric.
        bits: In how many of 64 bits their hashes differ, at the crop that fits best; None where the files, or imported
            vectors, are equal.
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


def near_copies(paths: Sequence[str], looks: Sequence[Look]) -> tuple[Copy, ...]:
    """Return the photos that nearly repeat an earlier one, by the rule of `clipfast.retrieval.looks`.

    The nearest is named. Luminance alone is seen: one print in two colours, from the very same place, is called a copy.

    Args:
        paths: Names of the photos, in order.
        looks: Look of each.
    """
    from clipfast.retrieval.looks import copies_within

    nearest: dict[int, tuple[int, int]] = {}
    for pair in copies_within(looks):
        one, other = sorted((pair.one, pair.other))
        nearest[other] = min(nearest.get(other, (65, one)), (pair.bits, one))
    return tuple(Copy(paths[other], paths[one], bits) for other, (bits, one) in sorted(nearest.items()))
