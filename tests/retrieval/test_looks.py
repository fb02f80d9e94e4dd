"""Copies are found however they were made, and different pieces of the same cloth are not taken for copies."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from clipfast.errors import DataError
from clipfast.kernels.filters import luminance, perceptual_hash
from clipfast.retrieval.knownlooks import KnownLooks
from clipfast.retrieval.looks import Look, copies_between, copies_within, look_hash, look_of, nearly
from clipfast.types import Pixels
from reference.copied import CLOTH, WAYS, cloth, cut, jpeg, scaled

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))

from fabric_copies import labelled, lit  # the scenes of the study; found by then


def is_copy(one: Image.Image, other: Image.Image) -> bool:
    """Ask both ways round, which must agree."""
    looks = look_of(one), look_of(other)
    found = bool(copies_between(looks[:1], looks[1:]))
    assert found == bool(copies_between(looks[1:], looks[:1])) == bool(copies_within(looks))
    return found


@pytest.mark.parametrize("way", WAYS)
def test_copies_are_found_on_every_fabric(way: str) -> None:
    """All 24 fabrics, each in another colour: none may be missed."""
    missed = [CLOTH[at] for at in range(len(CLOTH)) if not is_copy(cloth(at), WAYS[way](cloth(at)))]
    assert missed == []


@settings(max_examples=8, deadline=None)
@given(shares=st.tuples(*[st.floats(0, 0.025)] * 4), factor=st.floats(0.6, 1.6), quality=st.integers(75, 95))
def test_any_small_cut_at_any_size_and_quality_is_a_copy(
    shares: tuple[float, ...], factor: float, quality: int
) -> None:
    """Cut, scaled and encoded again, in any amounts up to these: all but one of 24 are found, at worst."""
    looks = [look_of(cloth(number)) for number in range(24)]
    copied = [look_of(jpeg(scaled(cut(cloth(number), *shares), factor), quality)) for number in range(24)]
    found = {pair.one for pair in copies_between(looks, copied) if pair.one == pair.other}
    assert len(found) >= 23


def framed(image: Image.Image, share: float, seed: int) -> Image.Image:
    """Lay cloth on a white table, which has the noise of a camera."""
    table = np.random.default_rng(seed).normal(245, 2, (320, 320, 3)).clip(0, 255).astype(np.uint8)
    side = int(320 * share)
    photo = Image.fromarray(table)
    photo.paste(image.resize((side, side)), ((320 - side) // 2,) * 2)
    return photo


SCENES: dict[str, Callable[[int], Image.Image]] = {
    "swatch of 60 % on a table": lambda at: framed(cloth(at), 0.6, at),
    "swatch of 90 % on a table": lambda at: framed(cloth(at), 0.9, at),
    "swatch of 80 % on a table": lambda at: framed(cloth(at), 0.8, at),
    "ruler and label": lambda at: labelled(cloth(at)),
    "one lamp": lambda at: lit(cloth(at), 0.6),
    "plain cloths under one lamp": lambda at: lit(plain(at), 0.3),
}


def plain(seed: int) -> Image.Image:
    """Return a plain colour with the noise of a camera."""
    rng = np.random.default_rng(seed)
    levels = rng.uniform(60, 230, 3) + rng.normal(0, 2, (224, 224, 1))
    return Image.fromarray(levels.clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize("scene", SCENES)
def test_different_cloths_in_one_scene_are_no_copies(scene: str) -> None:
    """What all photos share - table, label, ruler, lamp - makes no two of 11 cloths one: 55 pairs."""
    assert copies_within([look_of(SCENES[scene](at)) for at in range(11)]) == []


@pytest.mark.parametrize("scene", list(SCENES)[1:5])
def test_copies_in_one_scene_are_found(scene: str) -> None:
    """The same photos saved again, smaller and turned, are copies in spite of the frame."""
    photos = [SCENES[scene](at) for at in range(8)]
    copied = [look_of(WAYS["turned by 90"](jpeg(scaled(photo, 0.7), 85))) for photo in photos]
    pairs = [(pair.one, pair.other) for pair in copies_between([look_of(photo) for photo in photos], copied)]
    assert pairs == [(at, at) for at in range(8)]


def test_pieces_of_one_fabric_in_one_colour_are_no_copies() -> None:
    """Of 48 pieces, two of each fabric in its colour, no two are copies: 1,128 pairs."""
    looks = [look_of(cloth(number, seed)) for seed in (0, 2) for number in range(24)]
    assert copies_within(looks) == []


def test_the_first_hash_is_the_plain_one() -> None:
    """The whole picture's hash agrees with the kernel's, but for the shrinking in two steps."""
    image = cloth(3)
    look = look_of(image)
    assert look.hashes is not None
    plain = perceptual_hash(luminance(np.asarray(image)))
    assert int(look.hashes[0] ^ np.uint64(plain)).bit_count() <= 2
    assert look.hashes.shape == (256,)


def test_each_cut_is_the_hash_of_that_cut() -> None:
    """Crops computed from the small picture hash as if they had been cut from the large one."""
    image = scaled(cloth(11), 360 / 224)
    look = look_of(image)
    assert look.hashes is not None
    for number, shares in ((5, (1 / 60, 0, 1 / 60, 0)), (10 * 16 + 10, (1 / 30,) * 4)):
        pixels: Pixels = np.asarray(cut(image, *shares))
        assert int(look.hashes[number] ^ np.uint64(perceptual_hash(luminance(pixels)))).bit_count() <= 4


def test_each_turn_is_the_hash_of_that_turn() -> None:
    """Signs and exchanges of the waves are those of the turned picture; only waves at the median may differ."""
    image = cloth(11)
    turned = look_of(image).turned
    assert turned is not None
    for turn in range(8):
        picture = image.transpose(Image.Transpose.TRANSPOSE) if turn & 4 else image
        picture = picture.transpose(Image.Transpose.FLIP_TOP_BOTTOM) if turn & 2 else picture
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if turn & 1 else picture
        assert int(turned[turn] ^ np.uint64(look_hash(picture))).bit_count() <= 2


def test_what_a_bank_kept_of_a_photo_tells_it_again() -> None:
    """By hashes alone: the same picture, a part of it, or turned; no other picture of the 24 fabrics."""
    kept = np.array([look_hash(cloth(number)) for number in range(24)], np.uint64)
    ways = (WAYS["as JPEG of quality 85"], WAYS["half the size"], WAYS["turned by 90"], WAYS["mirrored"])
    for number in range(24):
        found = [[row for row, _ in nearly(look_of(way(cloth(number))), kept)] for way in ways]
        assert all(rows in ([], [number]) for rows in found)
        assert sum(rows == [number] for rows in found) >= 3
    assert nearly(look_of(cloth(0)), np.zeros(3, np.uint64)) == []
    assert look_hash(Image.new("RGB", (64, 64), (9, 9, 9))) == 0


def test_pictures_without_a_pattern_are_compared_with_nothing() -> None:
    """Plain colours have no hash, so two of them are not called copies."""
    plain: list[Look] = [look_of(Image.new("RGB", (64, 64), (level, 90, 90))) for level in (10, 10)]
    assert plain[0].hashes is None
    assert copies_within(plain) == copies_between(plain, [look_of(cloth(0))]) == []


def test_modes_do_not_matter() -> None:
    """Palette, grey and 16-bit pictures are measured like the RGB that they show."""
    image = cloth(6).convert("L")
    deep = Image.fromarray(np.asarray(image).astype(np.uint16) * 256)
    assert is_copy(image, deep)
    assert is_copy(image, image.convert("P"))


def test_a_bank_of_photos_in_one_scene_is_doubted_and_a_copy_refused() -> None:
    """Hashes of labelled photos of several fabrics are near, so they only warn; on bare cloth a copy is named."""
    paths = [f"fabric {at:02}/a.png" for at in range(24)]

    def bank(photos: list[Image.Image]) -> KnownLooks:
        return KnownLooks(paths, np.array([look_hash(photo) for photo in photos], np.uint64))

    labels = bank([labelled(cloth(at)) for at in range(24)])
    for at in range(24):
        labels.see(look_of(labelled(cloth(at, seed=2))), "other.png")
    labels.require_none()
    assert "similar hashes" in labels.doubts()

    bare = bank([cloth(at) for at in range(24)])
    bare.see(look_of(WAYS["mirrored"](cloth(3))), "copy.png")
    assert bare.pairs == {paths[3]: "copy.png"}
    with pytest.raises(DataError, match=r"nearly the same picture as copy\.png"):
        bare.require_none()
