"""Which pictures are the same one: re-encoded, resized, mirrored, turned, or with a little cut off.

A plain perceptual hash misses crops: of copies cut by 2 % at every side half differ in 8 of 64 bits, and one in
twenty in 18, as unrelated pictures may. Here the hash of one picture is compared with those of 256 crops of the other
(0 to 5 % off each of its four sides), and the other way round. The cosine transform is linear, so all 256 are two
products of small matrices. A mirrored picture has the same waves with other signs, and one whose rows and columns are
exchanged has them exchanged, so the whole picture's hash in all eight positions costs nothing more; those that are
turned are looked for at 36 crops first. Pairs that are near are then laid over each other at the crop that fitted
best, and their correlation decides: any within 4 bits, .4 within 8, .75 within 14. What light alone makes of a
picture, a surface of second degree, is taken out before, or two cloths lit from the same side would pass for one.

Measured on fabricworld. Of 73,536 pairs of different pictures (384 of all fabrics and colours, half of them by the
varied camera) none is called a copy. Of 13,248 pairs of pieces of one fabric in one colour three are: gingham, polka
dots and tartan by the plain camera, whose patterns happen to lie in the same place. Of copies of 96 pictures are found:
all that were saved as JPEG of quality 85 or 40, scaled by .25, cut by 1 or 3 % at every side or by 5 % at one, and all
that were mirrored, flipped, or turned by 90, 180 or 270 degrees, also saved again at .7 of the size, or cut by 5 %; of
those cut by 2 % at every side 94, by 4 % 93, by 5 % 95, turned by 90 degrees and cut by 1-3 % 93, brighter by 1.3 94,
turned by 1 degree 94 and by 2 degrees 90, in a border of 2 % 89 and of 5 % 82. Inverted ones are not found. One pair
takes 4 microseconds. On photographs it was not measured.

Where only hashes were kept, as in a bank, `nearly` allows 6 bits and no more: none of 82,656 ordered pairs of different
pictures, nor of 11,520 of one fabric and colour, is within 8 bits.
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
from clipfast.retrieval.references import NO_LOOK
from clipfast.runtime.preprocess import preprocess
from clipfast.types import Floats

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Look", "LookAlike", "copies_between", "copies_within", "look_hash", "look_of", "nearly"]

_GRID = 96  # pixels a side that crops are computed from
_THUMB, _WAVES = 32, 8  # as in `kernels.filters.perceptual_hash`
_MARGINS = (0.0, 1 / 60, 2 / 60, 0.05)
_CUTS = tuple(product(_MARGINS, _MARGINS))  # what is cut off the two ends of one axis; the first is nothing
# Bits up to which two pictures may be one, and how much they must correlate then.
_WANTED = ((4, -1.0), (8, 0.4), (14, 0.75))
_KEPT_BITS = 6  # up to which hashes alone decide
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


def nearly(look: Look, hashes: Hashes) -> NDArray[np.int64]:
    """Return which of pictures, of which only `look_hash` was kept, nearly repeat one; (m,) uint64.

    Without their pixels nothing can be laid over each other, so a few bits decide: the hash must be that of the
    picture, of a part of it, or of it mirrored or turned. What is found so is nearly the same; much is not found.
    """
    if look.hashes is None or look.turned is None:
        return np.zeros(0, np.int64)
    mine = np.concatenate([look.hashes, look.turned])
    kept = np.flatnonzero(hashes != NO_LOOK)
    near = np.bitwise_count(mine ^ hashes[kept, None]).min(axis=1, initial=64) <= _KEPT_BITS
    found: NDArray[np.int64] = kept[near]
    return found


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
    near = np.concatenate([as_it_is, few], axis=1) <= _WANTED[-1][0]  # (m, 8)
    for place in np.flatnonzero(near.any(axis=1)).tolist():
        turns = np.flatnonzero(near[place]).tolist()
        mine_cut = np.bitwise_count(look.hashes ^ turned[place, turns, None])  # (turns, 256)
        theirs_cut = np.bitwise_count(look.turned[turns, None] ^ hashes[place])
        nearest = np.minimum(mine_cut.min(axis=1), theirs_cut.min(axis=1)).tolist()
        for bits, at in sorted(zip(nearest, range(len(turns)), strict=True)):
            wanted = next((least for most, least in _WANTED if bits <= most), None)
            if wanted is None:
                break
            cuts = int(mine_cut[at].argmin()), int(theirs_cut[at].argmin())
            if _overlaid(look, gallery.looks[part.start + place], turns[at], cuts) >= wanted:
                yield part.start + place, bits
                break


def _nearest(mine: Hashes, my_turns: Hashes, theirs: Hashes, their_turns: Hashes) -> NDArray[np.uint8]:
    """Return the bits of every way of turning, at the crop that fits best, (m, turns); crops are (c,) and (m, c)."""
    cut = np.bitwise_count(mine ^ their_turns[:, :, None]).min(axis=2)
    nearest: NDArray[np.uint8] = np.minimum(
        cut, np.bitwise_count(my_turns[None, :, None] ^ theirs[:, None, :]).min(axis=2)
    )
    return nearest


def _overlaid(one: Look, other: Look, turn: int, cuts: tuple[int, int]) -> float:
    """Correlate two pictures, one of them turned and the other cut where it fits best: both ways."""
    return max(_correlation(one, _turned(other, turn), cuts[0]), _correlation(other, _turned(one, turn), cuts[1]))


def _turned(look: Look, turn: int) -> Doubles:
    grey: Doubles = look.grey.astype(np.float64)
    grey = grey.T if turn & 4 else grey
    grey = grey[::-1] if turn & 2 else grey
    return grey[:, ::-1] if turn & 1 else grey


def _correlation(cut: Look, whole: Doubles, cut_number: int) -> float:
    """Correlate a crop of one picture with the whole of another, at 32 x 32, without the light that falls on them."""
    vertical, horizontal = divmod(cut_number, len(_CUTS))
    areas = _cut_areas()
    one = _unlit(areas[vertical] @ cut.grey.astype(np.float64) @ areas[horizontal].T)
    other = _unlit(areas[0] @ whole @ areas[0].T)
    length = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / length if length > 0 else 0.0


def _unlit(small: Doubles) -> Doubles:
    """Take the nearest surface of second degree out: light from one side makes any two pictures alike."""
    basis = _light()
    flat = small.ravel()
    rest: Doubles = flat - basis @ (basis.T @ flat)
    return rest


@lru_cache(maxsize=1)
def _light() -> Doubles:
    """Return an orthonormal basis of the surfaces of second degree over 32 x 32, (1024, 6)."""
    y, x = np.mgrid[-1 : 1 : _THUMB * 1j, -1 : 1 : _THUMB * 1j]
    surfaces = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1).reshape(-1, 6)
    basis: Doubles = np.linalg.qr(surfaces)[0]
    return basis


@lru_cache(maxsize=1)
def _cut_areas() -> Doubles:
    """Return for every cut the matrix that scales what is left of 96 pixels to 32 by area, (16, 32, 96)."""
    return np.stack([_area_matrix(before * _GRID, (1 - after) * _GRID) for before, after in _CUTS])


def _area_matrix(begin: float, end: float) -> Doubles:
    edges = np.linspace(begin, end, _THUMB + 1)
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
