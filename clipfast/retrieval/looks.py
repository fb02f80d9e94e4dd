"""Which pictures are the same one: re-encoded, resized, mirrored, turned, or with a little cut off.

A plain perceptual hash misses crops: of copies cut by 2 % at every side half differ in 8 of 64 bits, and one in
twenty in 18, as unrelated pictures may. Here the hash of one picture is compared with those of 256 crops of the other
(0 to 5 % off each of its four sides), and the other way round. The cosine transform is linear, so all 256 are two
products of small matrices. A mirrored picture has the same waves with other signs, and one whose rows and columns are
exchanged has them exchanged, so the whole picture's hash in all eight positions costs nothing more; those that are
turned are looked for at 36 crops first. Pairs within 14 bits (18, if neither is cut) are then laid over each other at
the three crops that fit best, `alignment.aligned` moves the crop until threads lie on threads, and `overlay.agreement`
decides, always: hashes of photographs that share a table around the swatch, a label or a lamp are as near as those of
copies. docs/fabric-workflow.md has what was measured, on drawn cloth and on photographs. A look takes 40 KB. One pair
takes 4 microseconds, one that is laid over some 10 to 60 milliseconds.

Where only hashes were kept, as in a bank, `nearly` returns what is within 6 bits; no more than `SURE_BITS` are taken
for proof, and these too are wrong at times for swatches on one table.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clipfast.artifact import ImageSpec
from clipfast.kernels.filters import Hashes, area_mean, luminance
from clipfast.retrieval.alignment import aligned
from clipfast.retrieval.overlay import COARSE, GRID, WHOLE, Crop, Detail, Grey, Scale, agreement
from clipfast.retrieval.references import NO_LOOK
from clipfast.runtime.preprocess import preprocess
from clipfast.types import Floats

if TYPE_CHECKING:
    from PIL import Image

__all__ = [
    "NEAR_BITS",
    "SURE_BITS",
    "Hashes",
    "Look",
    "LookAlike",
    "copies_between",
    "copies_within",
    "look_hash",
    "look_of",
    "nearly",
    "repeats",
    "same_pixels",
]

_GRID = 96  # pixels a side that hashes are computed from
_THUMB, _WAVES = 32, 8  # as in `kernels.filters.perceptual_hash`
_MARGINS = (0.0, 1 / 60, 2 / 60, 0.05)
_CUTS = tuple(product(_MARGINS, _MARGINS))  # what is cut off the two ends of one axis; the first is nothing
NEAR_BITS, _WHOLE_BITS = 14, 18  # up to which two pictures are laid over each other; uncut, more bits may differ
_TOGETHER = 0.15  # how well pictures must agree before their crops are looked for, see `Scale.correlation`
_AGREED = 0.6  # how well they must agree then, see `overlay.agreement`
SURE_BITS = 2  # up to which kept hashes alone are enough to refuse
_KEPT_BITS = 6  # up to which kept hashes alone are a reason to look
_SAME_LEVELS = 3  # by which equal pixels may differ after they were turned and scaled
_TRIED = 3  # crops of each picture that are tried in each way of turning, nearest hash first
_FLAT = 0.5  # standard deviation of levels below which there is no pattern to compare
_TURNS = 8  # bit 0 mirrors, bit 1 flips, bit 2 exchanges rows and columns, which comes first
_MANY = 5_000  # pictures; among more, only those are looked for that are not cut: all pairs would take hours
_AT_ONCE = 64  # pictures that one is compared with; what that takes stays in the cache
# Turned copies are looked for at few crops first: where one is this near, at all of them.
_FEW = tuple(at for at, (before, after) in enumerate(_CUTS) if before == after or {before, after} == {0.0, _MARGINS[2]})
_FEW_CUTS = np.array([one * len(_CUTS) + other for one in _FEW for other in _FEW])

Doubles = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What is kept of a picture to find its copies.

    Attributes:
        grey: Luminance, (192, 192) uint8.
        hashes: Perceptual hashes of the picture and its crops, (256,) uint64, the whole picture first; None for a
            picture without any pattern, which is compared with nothing.
        turned: Hashes of the whole picture, mirrored and turned in all eight ways, (8,) uint64, as it is first.
        side: Pixels of its shorter side: of small pictures no threads are compared, which they do not show.
    """

    grey: NDArray[np.uint8]
    hashes: Hashes | None
    turned: Hashes | None = None
    side: int = GRID

    @property
    def hash(self) -> int:
        """What `look_hash` gives: 0 for a picture without any pattern."""
        return NO_LOOK if self.hashes is None else int(self.hashes[0])


@dataclass(frozen=True, slots=True)
class LookAlike:
    """Two pictures that are nearly the same.

    Attributes:
        one: Place of the first, in the first list.
        other: Place of the second, in the second list.
        bits: In how many of 64 bits their hashes differ, at the crop that fits best.
    """

    one: int
    other: int
    bits: int


def look_of(image: Image.Image) -> Look:
    """Measure a decoded picture, whole and squashed to a square.

    Raises:
        ImageError: It has no agreed range of values.
    """
    large = _grey(image)
    kept, grey = np.rint(large).clip(0, 255).astype(np.uint8), area_mean(large, (_GRID, _GRID))
    if float(area_mean(grey, (_THUMB, _THUMB)).std()) < _FLAT:
        return Look(kept, None, side=min(image.size))
    waves, cuts = _cut_waves(), len(_CUTS)
    found = (waves @ grey.astype(np.float64) @ waves.T).reshape(cuts, _WAVES, cuts, _WAVES)
    parts = found.transpose(0, 2, 1, 3).reshape(cuts * cuts, _WAVES, _WAVES)
    # A mirrored picture has the same waves, with the signs of every second changed; an exchanged one, exchanged.
    signs = np.array([1.0, -1.0] * (_WAVES // 2))
    whole = np.stack(
        [
            (parts[0].T if turn & 4 else parts[0]) * (signs[:, None] if turn & 2 else 1) * (signs if turn & 1 else 1)
            for turn in range(_TURNS)
        ]
    )
    return Look(kept, _hashes(parts), _hashes(whole), min(image.size))


def _hashes(waves: Doubles) -> Hashes:
    """Say of each wave whether it is above the median, (n, 8, 8) to (n,)."""
    rows = waves.reshape(len(waves), -1)
    bits = rows > np.median(rows[:, 1:], axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(">u8")[:, 0].astype(np.uint64)


def look_hash(image: Image.Image) -> int:
    """Return the hash of a whole picture alone, the first of its look's; 0 for one without any pattern.

    Raises:
        ImageError: It has no agreed range of values.
    """
    grey = area_mean(_grey(image), (_GRID, _GRID))
    if float(area_mean(grey, (_THUMB, _THUMB)).std()) < _FLAT:
        return NO_LOOK
    waves = _cut_waves()[:_WAVES]
    return int(_hashes((waves @ grey.astype(np.float64) @ waves.T)[None])[0])


def nearly(look: Look, hashes: Hashes, bits: int = _KEPT_BITS) -> list[tuple[int, int]]:
    """Return which of pictures, of which only `look_hash` was kept, may nearly repeat one; (m,) uint64.

    Without their pixels nothing can be laid over each other, and photographs that share a frame, a label or a lamp have
    such hashes, too: it is a reason to look, and proves nothing from 3 bits on. The hash must be that of the picture,
    of a part of it, or of it mirrored or turned. Much is not found.

    Args:
        look: Of the one.
        hashes: Of the others; `NO_LOOK` is near nothing.
        bits: In how many of 64 bits they may differ.

    Returns:
        (place, bits) of those that are near.
    """
    if look.hashes is None or look.turned is None:
        return []
    mine = np.concatenate([look.hashes, look.turned])
    kept = np.flatnonzero(hashes != NO_LOOK)
    apart = np.bitwise_count(mine ^ hashes[kept, None]).min(axis=1, initial=64)
    near = apart <= bits
    return list(zip(kept[near].tolist(), apart[near].tolist(), strict=True))


def repeats(looks: Sequence[Look], hashes: Hashes) -> int:
    """Return how many pictures repeat one of others of which only `look_hash` was kept, (m,) uint64.

    Where a picture is near several that are not near each other, it is their frame or lamp that is near: that is not
    counted.
    """
    found = 0
    for look in looks:
        near = nearly(look, hashes)
        if near and min(bits for _, bits in near) <= SURE_BITS:
            mine = hashes[[place for place, _ in near]]
            found += int(np.bitwise_count(mine ^ mine[:1]).max()) <= _KEPT_BITS
    return found


def same_pixels(one: Look, other: Look) -> bool:
    """Tell whether two pictures are the same to the pixel, mirrored and turned in any way, as far as 192 x 192 tell."""
    mine = one.grey.astype(np.int16)
    return any(int(np.abs(mine - _turned(other.grey, turn)).max()) <= _SAME_LEVELS for turn in range(_TURNS))


def _grey(image: Image.Image) -> Floats:
    pixels = preprocess(image, ImageSpec((GRID, GRID), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), resize="squash"))
    return luminance(pixels)


def copies_between(ones: Sequence[Look], others: Sequence[Look]) -> list[LookAlike]:
    """Return every pair of a picture of the first list and one of the second that are nearly the same."""
    gallery = _Gallery.of(others)
    return [
        LookAlike(one, gallery.places[at], bits)
        for one, look in enumerate(ones)
        for at, bits in _copies_of(look, gallery)
    ]


def copies_within(looks: Sequence[Look]) -> list[LookAlike]:
    """Return every pair of one list that is nearly the same; `one` comes before `other`."""
    gallery = _Gallery.of(looks)
    return [
        LookAlike(place, gallery.places[at], bits)
        for number, place in enumerate(gallery.places)
        for at, bits in _copies_of(looks[place], gallery, after=number)
    ]


@dataclass(frozen=True, slots=True, eq=False)
class _Gallery:
    """Pictures that have a pattern: their places in a list, looks, hashes of crops (m, 256) and of turns (m, 8)."""

    places: list[int]
    looks: list[Look]
    hashes: Hashes
    turned: Hashes

    @classmethod
    def of(cls, looks: Sequence[Look]) -> _Gallery:
        found = [(at, look, look.hashes, look.turned) for at, look in enumerate(looks)]
        kept = [(at, look, cuts, turns) for at, look, cuts, turns in found if cuts is not None and turns is not None]
        cuts = np.array([each[2] for each in kept], np.uint64).reshape(-1, len(_CUTS) ** 2)
        turns = np.array([each[3] for each in kept], np.uint64).reshape(-1, _TURNS)
        return cls([each[0] for each in kept], [each[1] for each in kept], cuts, turns)


def _copies_of(look: Look, gallery: _Gallery, after: int = -1) -> Iterator[tuple[int, int]]:
    """Yield numbers in the gallery, behind `after`, and bits."""
    if look.hashes is None or look.turned is None:
        return
    for start in range(after + 1, len(gallery.looks), _AT_ONCE):
        yield from _copies_among(look, gallery, slice(start, start + _AT_ONCE))


def _copies_among(look: Look, gallery: _Gallery, part: slice) -> Iterator[tuple[int, int]]:
    if look.hashes is None or look.turned is None:
        return
    hashes, turned = gallery.hashes[part], gallery.turned[part]
    near = np.bitwise_count(look.turned[0] ^ turned) <= _WHOLE_BITS  # (m, 8)
    if len(gallery.looks) <= _MANY:
        few = _nearest(look.hashes[_FEW_CUTS], look.turned[1:], hashes[:, _FEW_CUTS], turned[:, 1:])
        as_it_is = _nearest(look.hashes, look.turned[:1], hashes, turned[:, :1])
        near |= np.concatenate([as_it_is, few], axis=1) <= NEAR_BITS
    for place in np.flatnonzero(near.any(axis=1)).tolist():
        turns = np.flatnonzero(near[place]).tolist()
        mine_cut = np.bitwise_count(look.hashes ^ turned[place, turns, None])  # (turns, 256)
        theirs_cut = np.bitwise_count(look.turned[turns, None] ^ hashes[place])
        nearest = np.minimum(mine_cut.min(axis=1), theirs_cut.min(axis=1)).tolist()
        other = gallery.looks[part.start + place]
        mine, theirs, side = look.grey, other.grey, min(look.side, other.side)
        for bits, at in sorted(zip(nearest, range(len(turns)), strict=True)):
            turn = turns[at]
            if _agree(mine, _turned(theirs, turn), mine_cut[at], side) or _agree(
                theirs, _turned(mine, turn), theirs_cut[at], side
            ):
                yield part.start + place, bits
                break


def _nearest(mine: Hashes, my_turns: Hashes, theirs: Hashes, their_turns: Hashes) -> NDArray[np.uint8]:
    """Return the bits of every way of turning, at the crop that fits best, (m, turns); crops are (c,) and (m, c)."""
    cut = np.bitwise_count(mine ^ their_turns[:, :, None]).min(axis=2)
    nearest: NDArray[np.uint8] = np.minimum(
        cut, np.bitwise_count(my_turns[None, :, None] ^ theirs[:, None, :]).min(axis=2)
    )
    return nearest


def _agree(one: NDArray[np.uint8], other: NDArray[np.uint8], bits: NDArray[np.uint8], side: int) -> bool:
    """Lay crops of one picture over the whole of another, those with the nearest hashes; (256,) bits.

    `side` is that of the smaller picture, in pixels.
    """
    cut, whole = one.astype(np.float32), other.astype(np.float32)
    if bits[0] == 0 and float(np.abs(cut - whole).max()) <= _SAME_LEVELS:  # also where there is no detail to compare
        return True
    laid = cache(lambda scale: scale.detail(whole))
    if bits[0] <= _WHOLE_BITS and agreement(partial(_detail, cut, WHOLE), laid, side) >= _AGREED:
        return True
    for number in np.argsort(bits, kind="stable")[:_TRIED].tolist():
        vertical, horizontal = divmod(number, len(_CUTS))
        crop: Crop = (_CUTS[vertical], _CUTS[horizontal])
        if COARSE.correlation(COARSE.detail(cut, crop), laid(COARSE)) < _TOGETHER:
            continue
        crop = aligned(cut, crop, whole)
        if agreement(partial(_detail, cut, crop), laid, side) >= _AGREED:
            return True
    return False


def _detail(grey: Grey, crop: Crop, scale: Scale) -> Detail:
    return scale.detail(grey, crop)


def _turned(grey: NDArray[np.uint8], turn: int) -> NDArray[np.uint8]:
    grey = grey.T if turn & 4 else grey
    grey = grey[::-1] if turn & 2 else grey
    return grey[:, ::-1] if turn & 1 else grey


@lru_cache(maxsize=1)
def _cut_areas() -> Doubles:
    """Return for every cut the matrix that scales what is left of 96 pixels to 32 by area, (16, 32, 96)."""
    return np.stack([_area_matrix(before * _GRID, (1 - after) * _GRID, _THUMB) for before, after in _CUTS])


def _area_matrix(begin: float, end: float, side: int) -> Doubles:
    edges = np.linspace(begin, end, side + 1)
    pixels = np.arange(_GRID)
    covered = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    matrix: Doubles = np.clip(covered, 0, None) / (edges[1] - edges[0])
    return matrix


@lru_cache(maxsize=1)
def _cut_waves() -> Doubles:
    """Return the 8 lowest waves of every cut, (16 * 8, 96)."""
    places = (np.arange(_THUMB) + 0.5) * np.pi / _THUMB
    waves = np.cos(np.arange(_WAVES)[:, None] * places)
    stacked: Doubles = (waves @ _cut_areas()).reshape(-1, _GRID)
    return stacked
