"""Keeps a folder of labels apart from the evaluation set beside it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from clipfast.errors import DataError
from clipfast.retrieval.declared import HOW_TO_DECLARE
from clipfast.retrieval.evalguard import EvalGuard
from clipfast.retrieval.heldout import declared_copy, find_eval_set
from clipfast.retrieval.labelitems import absolute
from clipfast.retrieval.looks import look_of

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["FolderGuard"]


@dataclass(slots=True, eq=False)
class FolderGuard:
    """Asks the evaluation set beside a folder, as it is when asked.

    Attributes:
        root: The folder.
    """

    root: Path
    _guard: EvalGuard | None = field(default=None, init=False)
    _key: tuple[int, int, Path] | None = field(default=None, init=False)

    def require_unseen(
        self, path: Path, photo_sha256: str, patch: Image.Image, *, not_a_copy: bool = False
    ) -> tuple[bool, tuple[str, ...]]:
        """Refuse a near copy of an evaluation picture.

        Args:
            path: The photo.
            photo_sha256: Checksum of its file.
            patch: What is cut out of it.
            not_a_copy: Whether it is declared to be none.

        Returns:
            Whether the photo is in the evaluation set, and the checksums of pictures that it was declared to be no copy
            of.

        Raises:
            DataError: It is one, or is declared and the same to the pixel, or a picture of the set was moved or
                changed.
        """
        guard = self._present()
        if guard is None:
            return False, ()
        declared: list[str] = []
        for copy in guard.copies([look_of(patch)]):
            if not not_a_copy:
                raise DataError(
                    f"{path} is nearly the same picture as {copy.image} of the evaluation set {guard.eval_set.path}, "
                    f"which is never trained on. Label another place or another photo. {HOW_TO_DECLARE}",
                    code="label_of_eval",
                    path=path,
                    image=copy.image,
                )
            declared.append(declared_copy(path.as_posix(), photo_sha256, copy).of)
        return guard.holds(photo_sha256, absolute(path)), tuple(sorted(set(declared)))

    def holds(self, photo: Path, sha256: str) -> bool:
        """Tell whether a photo is in the evaluation set, or a patch of it is."""
        guard = self._present()
        return guard is not None and guard.holds(sha256, absolute(photo))

    def _present(self) -> EvalGuard | None:
        held = find_eval_set(self.root)
        if held is None or held.path is None:
            return None
        facts = held.path.stat()
        key = (facts.st_mtime_ns, facts.st_size, held.path)
        if key != self._key:
            self._guard, self._key = EvalGuard(held), key  # kept: its looks take a while to measure
        return self._guard
