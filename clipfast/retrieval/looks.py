"""Which pictures are the same one: re-encoded, resized, mirrored, turned, or with a little cut off.

A plain perceptual hash misses crops: of copies cut by 2 % at every side half differ in 8 of 64 bits, and one in
twenty in 18, as unrelated pictures may. Here the hash of one picture is compared with those of 256 crops of the other
(0 to 5 % off each of its four sides), and the other way round. The cosine transform is linear, so all 256 are two
products of small matrices. A mirrored picture has the same waves with other signs, and one whose rows and columns are
exchanged has them exchanged, so the whole picture's hash in all eight positions costs nothing more; those that are
turned are looked for at 36 crops first. Pairs within 14 bits are then laid over each other at
the crops that fit best, and `overlay.agreement` decides, always: hashes of photographs that share a table around the
swatch, a label or a lamp are as near as those of copies. docs/fabric-workflow.md has what was measured, on drawn cloth
and on photographs. One pair takes 4 microseconds, one that is laid over 1 to 8 milliseconds.

Where only hashes were kept, as in a bank, `nearly` returns what is within 6 bits; no more than `SURE_BITS` are taken
for proof, and these too are wrong at times for swatches on one table.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clipfast.artifact import ImageSpec
from clipfast.kernels.filters import Hashes, area_mean, luminance
from clipfast.retrieval.overlay import SIDE, Detail, agreement, detail_of
from clipfast.retrieval.references import NO_LOOK
from clipfast.runtime.preprocess import preprocess
from clipfast.types import Floats

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["SURE_BITS", "Look", "LookAlike", "copies_between", "copies_within", "look_hash", "look_of", "nearly"]

_GRID = 96  # pixels a side that crops are computed from
_THUMB, _WAVES = 32, 8  # as in `kernels.filters.perceptual_hash`
_MARGINS = (0.0, 1 / 60, 2 / 60, 0.05)
_CUTS = tuple(product(_MARGINS, _MARGINS))  # what is cut off the two ends of one axis; the first is nothing
_NEAR_BITS = 14  # up to which two pictures are laid over each other
_AGREED = 0.4  # how well they must agree then, see `overlay.agreement`
SURE_BITS = 2  # up to which kept hashes alone are enough to refuse
_KEPT_BITS = 6  # up to which kept hashes alone are a reason to look
_TRIED = 6  # crops that are tried in each way of turning, nearest hash first
_HOPED, _HOPELESS = 2, 0.1  # after so many, who agrees less than this is given up: photos in one frame are all near
_FLAT = 0.5  # standard deviation of levels below which there is no pattern to compare
_TURNS = 8  # bit 0 mirrors, bit 1 flips, bit 2 exchanges rows and columns, which comes first
_AT_ONCE = 64  # pictures that one is compared with; what that takes stays in the cache
# Turned copies are looked for at few crops first: where one is this near, at all of them.
_FEW = tuple(at for at, (before, after) in enumerate(_CUTS) if before == after or {before, after} == {0.0, _MARGINS[2]})
_FEW_CUTS = np.array([one * len(_CUTS) + other for one in _FEW for other in _FEW])

Doubles = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What is kept of a picture to find its copies.

    Attributes:
        grey: Luminance, (96, 96) float16.
        hashes: Perceptual hashes of the picture and its crops, (256,) uint64, the whole picture first; None for a
            picture without any pattern, which is compared with nothing.
        turned: Hashes of the whole picture, mirrored and turned in all eight ways, (8,) uint64, as it is first.
    """

    grey: NDArray[np.float16]
    hashes: Hashes | None
    turned: Hashes | None = None


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
    grey = _grey(image)
    if float(area_mean(grey, (_THUMB, _THUMB)).std()) < _FLAT:
        return Look(grey.astype(np.float16), None)
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
    return Look(grey.astype(np.float16), _hashes(parts), _hashes(whole))


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
    grey = _grey(image)
    if float(area_mean(grey, (_THUMB, _THUMB)).std()) < _FLAT:
        return NO_LOOK
    waves = _cut_waves()[:_WAVES]
    return int(_hashes((waves @ grey.astype(np.float64) @ waves.T)[None])[0])


def nearly(look: Look, hashes: Hashes) -> list[tuple[int, int]]:
    """Return which of pictures, of which only `look_hash` was kept, may nearly repeat one; (m,) uint64.

    Without their pixels nothing can be laid over each other, and photographs that share a frame, a label or a lamp have
    such hashes, too: it is a reason to look, and proves nothing from 3 bits on. The hash must be that of the picture,
    of a part of it, or of it mirrored or turned. Much is not found.

    Returns:
        (place, bits) of those within 6 bits of 64.
    """
    if look.hashes is None or look.turned is None:
        return []
    mine = np.concatenate([look.hashes, look.turned])
    kept = np.flatnonzero(hashes != NO_LOOK)
    bits = np.bitwise_count(mine ^ hashes[kept, None]).min(axis=1, initial=64)
    near = bits <= _KEPT_BITS
    return list(zip(kept[near].tolist(), bits[near].tolist(), strict=True))


def _grey(image: Image.Image) -> Floats:
    side = 2 * _GRID
    pixels = preprocess(image, ImageSpec((side, side), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), resize="squash"))
    return area_mean(luminance(pixels), (_GRID, _GRID))


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
    few = _nearest(look.hashes[_FEW_CUTS], look.turned[1:], hashes[:, _FEW_CUTS], turned[:, 1:])
    as_it_is = _nearest(look.hashes, look.turned[:1], hashes, turned[:, :1])
    near = np.concatenate([as_it_is, few], axis=1) <= _NEAR_BITS  # (m, 8)
    for place in np.flatnonzero(near.any(axis=1)).tolist():
        turns = np.flatnonzero(near[place]).tolist()
        mine_cut = np.bitwise_count(look.hashes ^ turned[place, turns, None])  # (turns, 256)
        theirs_cut = np.bitwise_count(look.turned[turns, None] ^ hashes[place])
        nearest = np.minimum(mine_cut.min(axis=1), theirs_cut.min(axis=1)).tolist()
        other = gallery.looks[part.start + place]
        for bits, at in sorted(zip(nearest, range(len(turns)), strict=True)):
            if _agree(look, _turned(other, turns[at]), mine_cut[at]) or _agree(
                other, _turned(look, turns[at]), theirs_cut[at]
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


def _agree(cut: Look, whole: Doubles, bits: NDArray[np.uint8]) -> bool:
    """Lay crops of one picture over the whole of another, those with the nearest hashes; (256,) bits."""
    areas = _overlay_areas()
    laid: Detail | None = None
    best = -1.0
    for tried, number in enumerate(np.argsort(bits, kind="stable")[:_TRIED].tolist()):
        if bits[number] > _NEAR_BITS or (tried == _HOPED and best < _HOPELESS):
            return False
        laid = laid or detail_of(areas[0] @ whole @ areas[0].T)
        vertical, horizontal = divmod(number, len(_CUTS))
        mine = detail_of(areas[vertical] @ cut.grey.astype(np.float64) @ areas[horizontal].T)
        best = max(best, agreement(mine, laid))
        if best >= _AGREED:
            return True
    return False


def _turned(look: Look, turn: int) -> Doubles:
    grey: Doubles = look.grey.astype(np.float64)
    grey = grey.T if turn & 4 else grey
    grey = grey[::-1] if turn & 2 else grey
    return grey[:, ::-1] if turn & 1 else grey


@lru_cache(maxsize=1)
def _overlay_areas() -> Doubles:
    """Return for every cut the matrix that scales what is left of 96 pixels to 52 by area, (16, 52, 96)."""
    return np.stack([_area_matrix(before * _GRID, (1 - after) * _GRID, SIDE) for before, after in _CUTS])


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
