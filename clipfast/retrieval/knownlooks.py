"""Pictures of an evaluation set that a bank seems to hold: told by what the bank kept of its photos, without them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from clipfast.errors import DataError
from clipfast.retrieval.looks import SURE_BITS, look_of, nearly
from clipfast.retrieval.references import References

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["KnownLooks", "listed"]

_NAMED = 5


class KnownLooks:
    """Compares pictures with the looks that a bank kept; banks of older versions kept none, and nothing is found.

    Args:
        references: The bank's photos.

    Attributes:
        pairs: What was found: the bank's photo, and the picture that it nearly repeats; their hashes differ in 2 bits
            of 64 or fewer.
        doubtful: The same for 3 to 6 bits, or where photos of several fabrics are as near. Photographs of different
            cloth in one frame are, so this proves nothing; the photo is not there to be compared.
    """

    def __init__(self, references: References) -> None:
        self._references = references
        self._any = bool(references.marks.looks.any())
        self.pairs: dict[str, str] = {}
        self.doubtful: dict[str, str] = {}

    def see(self, image: Image.Image, name: str) -> None:
        """Compare one picture, which is called `name`."""
        if not self._any:
            return
        near = nearly(look_of(image), self._references.marks.looks)
        # One picture cannot show two fabrics: where it is near both, its hash is that of the frame or the lamp.
        framed = len({self._references.fabrics[row] for row, _ in near}) > 1
        for row, bits in near:
            found = self.pairs if bits <= SURE_BITS and not framed else self.doubtful
            found.setdefault(self._references.paths[row], name)

    def doubts(self) -> str:
        """Say which photos may repeat a picture that was seen; "" where there is none. At most five are named."""
        pairs = sorted((path, name) for path, name in self.doubtful.items() if path not in self.pairs)
        if not pairs:
            return ""
        shown = listed([f"{path} and {name}" for path, name in pairs])
        return (
            f"These have similar hashes: {shown}. The bank kept no pixels, so nobody can tell from it whether they are "
            "copies or only photos with the same frame or lamp. Compare the photos: clipfast bank check FOLDER"
        )

    def require_none(self) -> None:
        """Refuse a bank that seems to hold a picture that was seen.

        Raises:
            DataError: It does; at most five are named.
        """
        if not self.pairs:
            return
        shown = listed([f"{path} is nearly the same picture as {name}" for path, name in sorted(self.pairs.items())])
        raise DataError(
            f"{shown} of the evaluation set, so it would be found by itself. Take it out of the bank: clipfast bank "
            "remove FABRIC/FILE. If they are different photographs, take one again with the cloth filling the picture",
            code="eval_in_bank",
        )


def listed(sentences: Sequence[str]) -> str:
    """Return the first few sentences, and how many there are more."""
    more = f"; and {len(sentences) - _NAMED} more" if len(sentences) > _NAMED else ""
    return "; ".join(sentences[:_NAMED]) + more
