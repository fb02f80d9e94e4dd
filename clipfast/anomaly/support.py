"""The support: references, what the memory is given of them, and intact views that are held out of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from clipfast.anomaly.branches import BranchMaps
from clipfast.anomaly.calibration import Holdout
from clipfast.anomaly.encoding import Features, branch_maps, encode
from clipfast.anomaly.memory import MemoryBank, Reference
from clipfast.anomaly.options import AnomalyOptions
from clipfast.anomaly.pictures import BANK_VIEWS, HELD_OUT_VIEWS, Picture, View, Viewer
from clipfast.anomaly.pseudo import damaged
from clipfast.anomaly.semantic import TextPrompts
from clipfast.errors import DataError
from clipfast.types import Images, Ints, JointFeatures, PatchEncoder, Pixels

__all__ = ["Support", "bank_features", "damaged_copies", "held_out", "read_support", "remember"]

_HELD_OUT = 40  # held-out pictures that are aimed at; more references need fewer views of each
_MOST_HELD_OUT = 256
_DAMAGED = 48


@dataclass(frozen=True, slots=True, eq=False)
class Support:
    """The references, in the order of their SHA-256, so that the order of a list changes nothing."""

    pictures: tuple[Picture, ...]

    @property
    def references(self) -> tuple[Reference, ...]:
        """Their names and checksums."""
        return tuple(Reference(picture.name, picture.sha256) for picture in self.pictures)


def read_support(viewer: Viewer, images: Images) -> Support:
    """Read the references.

    Raises:
        DataError: There is none.
        ImageError: The file of one cannot be read.
    """
    pictures = sorted(viewer.read(images), key=lambda picture: (picture.sha256, picture.name))
    if not pictures:
        raise DataError("a detector needs at least one intact image; got none.")
    return Support(tuple(pictures))


def remember(
    clip: PatchEncoder, viewer: Viewer, support: Support, options: AnomalyOptions, *, text: bool
) -> tuple[MemoryBank, Features]:
    """Build the memory; the features returned are of all that it was given, copies of the references included."""
    features, owners = bank_features(clip, viewer, support, options, text=text)
    patches = features.patches if isinstance(features, JointFeatures) else features
    bank = MemoryBank.build(patches, support.references, options.memory, owners=owners, seed=options.seed)
    return bank, features


def bank_features(
    clip: PatchEncoder, viewer: Viewer, support: Support, options: AnomalyOptions, *, text: bool
) -> tuple[Features, Ints]:
    """Encode the references, and copies of them, turned or magnified, that the memory shall hold; number each."""
    turns = BANK_VIEWS[options.memory.views]
    views = (View(), *(View.nearer(zoom) for zoom in options.memory.zooms))
    seen: list[Pixels] = []
    for picture in support.pictures:  # one after the other: photos are far larger than what is seen of them
        image = picture.load()
        seen += [viewer.see(image, view) for view in views]
    if len(turns) > 1 and any(pixels.shape[0] != pixels.shape[1] for pixels in seen):
        raise DataError("turned references need a square input; this model's is oblong. Pass views='none'.")
    if options.memory.zooms and len({pixels.shape for pixels in seen}) > 1:
        raise DataError("magnified references need an encoder that tells its image size. Pass zooms=().")
    pictures = [np.rot90(pixels[:, ::-1] if mirror else pixels, turn) for pixels in seen for turn, mirror in turns]
    owners = np.repeat(np.arange(len(support.pictures), dtype=np.int64), len(views) * len(turns))

    def told() -> Iterator[Pixels]:
        for number, pixels in enumerate(pictures, start=1):
            yield np.ascontiguousarray(pixels)
            if options.progress:
                options.progress(number, len(pictures))

    return encode(clip, told(), options.memory.blocks, text=text), owners


def held_out(
    clip: PatchEncoder,
    viewer: Viewer,
    support: Support,
    bank: MemoryBank,
    prompts: TextPrompts | None,
    owners: Sequence[int],
) -> Holdout:
    """Score intact pictures against a memory that does not hold their own image.

    Each reference itself and some views of it (`HELD_OUT_VIEWS`), fewer the more references there are; with a single
    reference only views, against the memory of that reference.

    Args:
        clip: The encoder.
        viewer: How pictures are seen.
        support: The references to hold out.
        bank: The memory.
        prompts: The texts, or None.
        owners: The number of each reference in the bank.
    """
    alone = len(bank.references) == 1
    chosen = list(zip(owners, support.pictures, strict=True))
    step = -(-len(chosen) // _MOST_HELD_OUT)
    views = _views(len(bank.references))
    parts, numbers, original = [], [], []
    for owner, picture in chosen[::step]:
        image = picture.load()
        pictures = [viewer.see(image, view) for view in views]
        features = encode(clip, pictures, tuple(bank.blocks), text=prompts is not None)
        parts.append(branch_maps(features, bank, prompts, without=None if alone else owner))
        numbers += [owner] * len(views)
        original += [not alone and view == View() for view in views]
    return Holdout(BranchMaps.joined(parts), np.array(numbers, np.int64), np.array(original, bool))


def _views(references: int) -> tuple[View, ...]:
    if references == 1:
        return HELD_OUT_VIEWS
    return (View(), *HELD_OUT_VIEWS[: min(4, max(0, _HELD_OUT // references - 1))])


def damaged_copies(
    clip: PatchEncoder,
    viewer: Viewer,
    support: Support,
    branches: tuple[MemoryBank, TextPrompts | None],
    options: AnomalyOptions,
) -> BranchMaps:
    """Score damaged copies of the views that are held out, each against the memory without its own image."""
    bank, prompts = branches
    alone = len(support.pictures) == 1
    views = _views(len(support.pictures))
    pictures: dict[int, list[Pixels]] = {}
    for number in range(_DAMAGED):
        owner = number % len(support.pictures)
        view = views[(number // len(support.pictures)) % len(views)]
        seen = viewer.see(support.pictures[owner].load(), view)
        pictures.setdefault(owner, []).append(damaged(seen, options.seed * _DAMAGED + number))
    parts = []
    for owner, copies in pictures.items():
        features = encode(clip, copies, tuple(bank.blocks), text=prompts is not None)
        parts.append(branch_maps(features, bank, prompts, without=None if alone else owner))
    return BranchMaps.joined(parts)
