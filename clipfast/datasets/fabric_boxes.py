"""Pictures of fabricworld as a data set of boxes: objects of one to three colours and shapes on cloth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np

from clipfast.arguments import require_whole
from clipfast.datasets.box_records import BoxLog, BoxSample, BoxSet, clean_boxes, known_classes
from clipfast.datasets.fabricworld import COLOURS, SHAPES, Wishes, detection_samples
from clipfast.datasets.fabricworld.checks import require_pictures
from clipfast.datasets.fabricworld.scene import SIZES
from clipfast.errors import DataError

__all__ = ["FABRICWORLD_CLASSES", "SPLIT_SEEDS", "FabricBoxes", "read_fabricworld"]

# Every object that may be drawn: what pictures show must not decide it, or it would depend on how many are read.
FABRICWORLD_CLASSES = tuple(sorted(f"{colour} {shape}" for colour in COLOURS for shape in SHAPES))

# Far from the seeds that the embedded model was trained on (those from 0) and chosen by (those from 500,000,000).
SPLIT_SEEDS = {"train": 700_000_000, "val": 800_000_000, "test": 900_000_000}
_USUAL = 100


@dataclass(frozen=True, slots=True)
class FabricBoxes(Sequence[BoxSample]):
    """Samples that are drawn when they are asked for, so that none is held in memory.

    Attributes:
        seed: Of the first picture; the next has the next seed.
        length: How many.
        wanted: Classes to keep, such as "red star"; None keeps all.
        size: Pixels along each side.
    """

    seed: int
    length: int
    wanted: frozenset[str] | None = None
    size: int = 224

    def __len__(self) -> int:
        return self.length

    @overload
    def __getitem__(self, at: int) -> BoxSample: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[BoxSample]: ...
    def __getitem__(self, at: int | slice) -> BoxSample | Sequence[BoxSample]:
        """Draw one, or several."""
        if isinstance(at, slice):
            return [self[i] for i in range(*at.indices(self.length))]
        number = range(self.length)[at]
        drawn = next(detection_samples(self.seed + number, 1, wishes=Wishes(size=self.size)))
        size_hw = (self.size, self.size)
        plain = np.zeros(len(drawn.names), np.bool_)
        sample = BoxSample(drawn.key, drawn.image, size_hw, drawn.boxes.astype(np.float64), drawn.names, plain)
        return clean_boxes(sample, BoxLog(), self.wanted)

    def __iter__(self) -> Iterator[BoxSample]:
        return (self[i] for i in range(self.length))


def read_fabricworld(
    *, split: str | None = None, classes: Sequence[str] | None = None, limit: int | None = None, size: int = 224
) -> BoxSet:
    """Give pictures of fabricworld with the boxes of their objects; nothing is read from disk.

    Args:
        split: A key of `SPLIT_SEEDS`, "test" if None; no picture is in two of them.
        classes: Colours and shapes to keep ("red star"), of `FABRICWORLD_CLASSES`; None keeps all.
        limit: How many pictures, 100 if None.
        size: Pixels along each side.

    Raises:
        DataError: An unknown split or class.
        ShapeError: A limit or a size that is not whole, or out of range.
    """
    part = split or "test"
    if part not in SPLIT_SEEDS:
        raise DataError(f"split must be one of {', '.join(SPLIT_SEEDS)}; got {split!r}.")
    count = _USUAL if limit is None else require_pictures("limit", limit, 1)
    require_whole("size", size, *SIZES)
    kept = known_classes(classes, FABRICWORLD_CLASSES, "fabricworld")
    wanted = None if classes is None else frozenset(kept)
    log = BoxLog()
    if wanted is not None:
        # Colours, shapes and boxes do not depend on the size, so what is left out is counted in small pictures.
        for sample in FabricBoxes(SPLIT_SEEDS[part], count, size=32):
            clean_boxes(sample, log, wanted)
    return BoxSet("fabricworld", part, kept, FabricBoxes(SPLIT_SEEDS[part], count, wanted, size), log.report())
