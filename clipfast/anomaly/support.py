"""The support: references, what the memory is given of them, and pictures of them that are held out of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from clipfast.anomaly.branches import BranchMaps
from clipfast.anomaly.calibration import Holdout
from clipfast.anomaly.encoding import Features, branch_maps, encode
from clipfast.anomaly.leaveout import LeaveOut
from clipfast.anomaly.memory import Reference
from clipfast.anomaly.options import MemoryOptions
from clipfast.anomaly.pictures import BANK_VIEWS, HELD_OUT_VIEWS, Picture, View, Viewer, pixel_digest
from clipfast.anomaly.pseudo import damaged
from clipfast.anomaly.semantic import TextPrompts
from clipfast.errors import DataError
from clipfast.types import Images, Ints, JointFeatures, PatchEncoder, PatchFeatures, Pixels

__all__ = ["HeldOut", "SupportEncoder", "SupportFeatures", "bank_features", "hold_out", "read_support"]

_HELD_OUT = 40  # held-out pictures that are aimed at; more references need fewer views of each
_MOST_HELD_OUT = 256
_DAMAGED = 48

Support = tuple[Picture, ...]
"""The references, in the order of their SHA-256, so that the order of a list changes nothing."""


@dataclass(slots=True, eq=False)
class SupportEncoder:
    """Encodes the pictures of a support, and tells how many of all of them are done.

    Attributes:
        clip: The encoder.
        viewer: How pictures are seen.
        text: Whether the text branch runs.
        progress: Told (done, total).
        total: Pictures that will be encoded.
    """

    clip: PatchEncoder
    viewer: Viewer
    text: bool
    progress: Callable[[int, int], None] | None = None
    total: int = 0
    _done: int = field(default=0, init=False)

    def features(self, pictures: Iterable[Pixels], blocks: Sequence[int] | None) -> Features:
        """Encode pictures, one forward each."""

        def told() -> Iterator[Pixels]:
            for pixels in pictures:
                yield np.ascontiguousarray(pixels)
                self._done += 1
                if self.progress:
                    self.progress(self._done, self.total)

        return encode(self.clip, told(), blocks, text=self.text)

    def expect(self, support: Support, options: MemoryOptions, known: int, *, damage: bool) -> None:
        """Count what `bank_features` and `hold_out` will encode; `known` references are there already."""
        held = _held(range(len(support)))
        copies = len(support) * _copies(options)
        self.total = copies + len(held) * len(_views(known + len(support))) + (_DAMAGED if damage else 0)


@dataclass(frozen=True, slots=True, eq=False)
class SupportFeatures:
    """What a memory is made of.

    Attributes:
        features: Of the references and of the copies of them that the memory shall hold, n pictures.
        owners: Number of the reference of each, (n,).
        references: Names and checksums.
    """

    features: Features
    owners: Ints
    references: tuple[Reference, ...]

    @property
    def patches(self) -> PatchFeatures:
        """Patch features by block, (n, p, c)."""
        return self.features.patches if isinstance(self.features, JointFeatures) else self.features

    def without(self, gone: Collection[int]) -> tuple[PatchFeatures, tuple[Reference, ...], Ints]:
        """Return patches, references and owners of the other references, numbered anew."""
        left = [number for number in range(len(self.references)) if number not in gone]
        rows = np.flatnonzero(np.isin(self.owners, left))
        patches = {block: values[rows] for block, values in self.patches.features.items()}
        owners = np.searchsorted(left, self.owners[rows]).astype(np.int64)
        return PatchFeatures(patches, self.patches.grid_hw), tuple(self.references[i] for i in left), owners


@dataclass(frozen=True, slots=True, eq=False)
class HeldOut:
    """Scores of pictures whose reference the memory was not allowed to know.

    Attributes:
        intact: Of references and views of them.
        damaged: Of damaged copies of the same; None where none were asked for.
        together: How many references at most were left out of a memory at once.
    """

    intact: Holdout
    damaged: BranchMaps | None
    together: int


def read_support(viewer: Viewer, images: Images) -> Support:
    """Read the references.

    Raises:
        DataError: There is none.
        ImageError: The file of one cannot be read.
    """
    pictures = sorted(viewer.read(images), key=lambda picture: (picture.sha256, picture.name))
    if not pictures:
        raise DataError("a detector needs at least one intact image; got none.")
    return tuple(pictures)


def bank_features(encoder: SupportEncoder, support: Support, options: MemoryOptions) -> SupportFeatures:
    """Encode the references, and copies of them, turned or magnified, that the memory shall hold; number each."""
    turns = BANK_VIEWS[options.views]
    views = (View(), *(View.nearer(zoom) for zoom in options.zooms))
    seen: list[Pixels] = []
    references = []
    for picture in support:  # one after the other: photos are far larger than what is seen of them
        image = picture.load()
        references.append(Reference(picture.name, picture.sha256, pixel_digest(image)))
        seen += [encoder.viewer.see(image, view) for view in views]
    if len(turns) > 1 and any(pixels.shape[0] != pixels.shape[1] for pixels in seen):
        raise DataError("turned references need a square input; this model's is oblong. Pass views='none'.")
    if options.zooms and len({pixels.shape for pixels in seen}) > 1:
        raise DataError("magnified references need an encoder that tells its image size. Pass zooms=().")
    pictures = (np.rot90(pixels[:, ::-1] if mirror else pixels, turn) for pixels in seen for turn, mirror in turns)
    owners = np.repeat(np.arange(len(support), dtype=np.int64), _copies(options))
    return SupportFeatures(encoder.features(pictures, options.blocks), owners, tuple(references))


def hold_out(
    encoder: SupportEncoder, support: Support, memories: LeaveOut, prompts: TextPrompts | None, damage: int | None
) -> HeldOut:
    """Score pictures of the support against memories that do not hold their own image.

    Each reference itself and some views of it (`HELD_OUT_VIEWS`), fewer the more references there are; with a single
    reference only views, against the memory of that reference.

    Args:
        encoder: Of the pictures.
        support: The references to hold out.
        memories: For each of them one that does not know it.
        prompts: The texts, or None.
        damage: Seed of the damage that is drawn on copies; None draws none.
    """
    blocks = tuple(memories.bank.blocks)
    alone = len(memories.bank.references) == 1
    views = _views(len(memories.bank.references))
    held = _held(range(len(support)))
    drawn = {} if damage is None else _damage_of(held, len(views))
    parts, broken, numbers, original = [], [], [], []
    for place, bank, barred in memories.each(held):
        image = support[place].load()
        seen = [encoder.viewer.see(image, view) for view in views]
        intact = encoder.features(seen, blocks)
        parts.append(branch_maps(intact, bank, prompts, without=barred))
        numbers += [memories.first + place] * len(views)
        original += [not alone and view == View() for view in views]
        if copies := drawn.get(place):
            spoilt = [damaged(seen[view], (damage or 0) * _DAMAGED + number) for number, view in copies]
            broken.append(branch_maps(encoder.features(spoilt, blocks), bank, prompts, without=barred))
    holdout = Holdout(BranchMaps.joined(parts), np.array(numbers, np.int64), np.array(original, bool))
    return HeldOut(holdout, BranchMaps.joined(broken) if broken else None, memories.together(len(held)))


def _held(places: Sequence[int]) -> Sequence[int]:
    """A regular part of many references."""
    return places[:: -(-len(places) // _MOST_HELD_OUT)]


def _copies(options: MemoryOptions) -> int:
    """Pictures of each reference in the memory."""
    return len(BANK_VIEWS[options.views]) * (1 + len(options.zooms))


def _views(references: int) -> tuple[View, ...]:
    if references == 1:
        return HELD_OUT_VIEWS
    return (View(), *HELD_OUT_VIEWS[: min(4, max(0, _HELD_OUT // references - 1))])


def _damage_of(held: Sequence[int], views: int) -> dict[int, list[tuple[int, int]]]:
    """Number of the damage and of the view it is drawn on, by reference: references first, then views, by turns."""
    drawn: dict[int, list[tuple[int, int]]] = {}
    for number in range(_DAMAGED):
        drawn.setdefault(held[number % len(held)], []).append((number, (number // len(held)) % views))
    return drawn
