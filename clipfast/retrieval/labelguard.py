"""Keeps a folder of labels apart from the evaluation set beside it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from clipfast.errors import DataError
from clipfast.retrieval.evalguard import EvalGuard
from clipfast.retrieval.heldout import find_eval_set
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

    def require_unseen(self, path: Path, photo_sha256: str, patch: Image.Image) -> bool:
        """Refuse a near copy of an evaluation picture; tell whether the photo is in the evaluation set.

        Raises:
            DataError: It is one, or a picture of the set was moved or changed.
        """
        guard = self._present()
        if guard is None:
            return False
        for _, image in guard.copies([look_of(patch)]):
            raise DataError(
                f"{path} is nearly the same picture as {image} of the evaluation set {guard.eval_set.path}, which is "
                "never trained on. Label another place or another photo.",
                code="label_of_eval",
                path=path,
                image=image,
            )
        return guard.holds(photo_sha256, absolute(path))

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
