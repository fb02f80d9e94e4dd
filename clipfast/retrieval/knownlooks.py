"""Evaluation pictures that a bank, a head or weights seem to know: told by looks that were kept, without the photos."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from clipfast.errors import DataError
from clipfast.retrieval.declared import Declared
from clipfast.retrieval.looks import SURE_BITS, Hashes, Look, nearly

__all__ = ["FITTED", "IN_BANK", "TRAINED", "Holder", "KnownLooks", "listed"]

_NAMED = 5


@dataclass(frozen=True, slots=True)
class Holder:
    """What is said of who knows an evaluation picture.

    Attributes:
        why: Why that is wrong, and what to do.
        code: Of the error.
    """

    why: str
    code: str


IN_BANK = Holder(
    "so it would be found by itself. Take it out of the bank: clipfast bank remove FABRIC/FILE", "eval_in_bank"
)
TRAINED = Holder("and the head was trained on it. Train it again without", "eval_trained_on")
FITTED = Holder("and the weights were fitted on it. Fit them again without", "eval_fitted_on")


@dataclass(slots=True, eq=False)
class KnownLooks:
    """Compares pictures with looks that were kept; files of older versions kept none, and nothing is found.

    Attributes:
        paths: Names of what was kept, `fabric/file`.
        looks: Their hashes, (m,) uint64.
        holder: Who kept them.
        declared: Of which of them it was said that they are no copies, of which pictures.
        not_copies: Names of those of which it is said now, of all pictures.
        pairs: What was found: the name, and the picture that it nearly repeats; hashes differ in 2 bits of 64 or fewer.
        doubtful: The same for 3 to 6 bits, or where photos of several fabrics are as near. Photographs of different
            cloth in one frame are, so this proves nothing; the photo is not there to be compared.
        waved: What was found and is declared: the name, and the picture.
    """

    paths: Sequence[str]
    looks: Hashes
    holder: Holder = IN_BANK
    declared: Sequence[Declared] = ()
    not_copies: Collection[str] = ()
    pairs: dict[str, str] = field(default_factory=dict, init=False)
    doubtful: dict[str, str] = field(default_factory=dict, init=False)
    waved: dict[str, str] = field(default_factory=dict, init=False)

    def see(self, look: Look, name: str, digests: Collection[str] = ()) -> None:
        """Compare one picture, which is called `name` and shown by files of these checksums."""
        if not self.looks.any():
            return
        near = nearly(look, self.looks)
        # One picture cannot show two fabrics: where it is near both, its hash is that of the frame or the lamp.
        framed = len({self.paths[row].partition("/")[0] for row, _ in near}) > 1
        for row, bits in near:
            path = self.paths[row]
            said = any(each.path == path and each.of in digests for each in self.declared)
            if said or (path in self.not_copies and bits):  # an equal hash may be of equal pixels, which nobody sees
                self.waved.setdefault(path, name)
                continue
            found = self.pairs if bits <= SURE_BITS and not framed else self.doubtful
            found.setdefault(path, name)

    def doubts(self) -> str:
        """Say which photos may repeat a picture that was seen; "" where there is none. At most five are named."""
        pairs = sorted((path, name) for path, name in self.doubtful.items() if path not in self.pairs)
        if not pairs:
            return ""
        shown = listed([f"{path} and {name}" for path, name in pairs])
        return (
            f"These have similar hashes: {shown}. No pixels were kept, so nobody can tell from that whether they are "
            "copies or only photos with the same frame or lamp. Compare the photos: clipfast bank check FOLDER"
        )

    def require_none(self) -> None:
        """Refuse what seems to hold a picture that was seen.

        Raises:
            DataError: It does; at most five are named.
        """
        if not self.pairs:
            return
        shown = listed([f"{path} is nearly the same picture as {name}" for path, name in sorted(self.pairs.items())])
        raise DataError(
            f"{shown} of the evaluation set, {self.holder.why}. If they are two photographs: --not-a-copy FABRIC/FILE, "
            "which is written down",
            code=self.holder.code,
        )


def listed(sentences: Sequence[str]) -> str:
    """Return the first few sentences, and how many there are more."""
    more = f"; and {len(sentences) - _NAMED} more" if len(sentences) > _NAMED else ""
    return "; ".join(sentences[:_NAMED]) + more
