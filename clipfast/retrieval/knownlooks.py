"""Pictures of an evaluation set that a bank seems to hold: told by what the bank kept of its photos, without them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from clipfast.errors import DataError
from clipfast.retrieval.looks import look_of, nearly
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
        pairs: What was found: the bank's photo, and the picture that it nearly repeats.
    """

    def __init__(self, references: References) -> None:
        self._references = references
        self._any = bool(references.marks.looks.any())
        self.pairs: dict[str, str] = {}

    def see(self, image: Image.Image, name: str) -> None:
        """Compare one picture, which is called `name`."""
        if not self._any:
            return
        for row in nearly(look_of(image), self._references.marks.looks).tolist():
            self.pairs.setdefault(self._references.paths[row], name)

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
            "remove FABRIC/FILE",
            code="eval_in_bank",
        )


def listed(sentences: Sequence[str]) -> str:
    """Return the first few sentences, and how many there are more."""
    more = f"; and {len(sentences) - _NAMED} more" if len(sentences) > _NAMED else ""
    return "; ".join(sentences[:_NAMED]) + more
