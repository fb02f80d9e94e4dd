"""The procedural fabrics: one seed is one picture, boxes are exact, wrong names are answered with the right ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clipfast.datasets import fabricworld
from clipfast.datasets.fabricworld import COLOURS, FABRICS, SHAPES, Scene, render
from clipfast.datasets.fabricworld.colours import dye
from clipfast.datasets.fabricworld.objects import draw_object
from clipfast.errors import DataError, ShapeError

SHADOW = 16  # pixels at 224: how far a shadow and the camera's blur may reach past a box


@pytest.mark.parametrize("fabric", FABRICS)
def test_every_fabric_is_drawn_from_its_seed(fabric: str) -> None:
    """The same seed gives the same bytes, another seed another picture, and the picture is not flat."""
    scene = render(3, fabric=fabric, size=96)

    assert scene.fabric == fabric
    assert scene.image.shape == (96, 96, 3)
    assert scene.image.dtype == np.uint8
    assert scene.image.std(axis=(0, 1)).max() > 1
    assert np.array_equal(scene.image, render(3, fabric=fabric, size=96).image)
    assert not np.array_equal(scene.image, render(4, fabric=fabric, size=96).image)


@pytest.mark.parametrize("colour", COLOURS)
def test_dyes_scatter_around_the_colour_they_are_named_after(colour: str) -> None:
    """Many dyes of one name have its levels as their mean, and those of a neutral colour take no tint."""
    rng = np.random.default_rng(0)
    dyes = np.array([dye(rng, colour) for _ in range(200)])

    assert np.abs(dyes.mean(axis=0) - COLOURS[colour].rgb).max() < 5
    assert 0 <= dyes.min() <= dyes.max() <= 255
    if COLOURS[colour].neutral:
        assert np.ptp(dyes, axis=1).max() < 25


def test_tables_have_both_languages() -> None:
    """Keys are English names, Chinese names are Chinese, and no two rows share one."""
    for table in (FABRICS, COLOURS, SHAPES):
        assert [row.name for row in table.values()] == list(table)
        chinese = [row.zh for row in table.values()]
        assert all("一" <= letter <= "鿿" for word in chinese for letter in word)
        assert len(set(chinese)) == len(chinese)
    assert len(FABRICS) >= 15
    assert len(COLOURS) == 12
    assert len(SHAPES) == 8


def block_means(scene: Scene) -> list[list[str]]:
    """Return the mean RGB of an 8 x 8 grid of blocks as hexadecimal colours."""
    side = len(scene.image) // 8
    means = scene.image.reshape(8, side, 8, side, 3).mean(axis=(1, 3)).round().astype(int)
    return [["".join(f"{level:02x}" for level in cell) for cell in row] for row in means.tolist()]


# Made by `block_means(render(7, fabric=..., colour=..., objects=3))`: coarse, so that another machine's rounding fits.
FROZEN = {
    ("denim", "blue"): """
        284678 355281 325288 31528a 305188 31538b 385b95 345a9a
        264271 284678 365384 315188 2f5088 305189 2a4f8b 294f8e
        2a426a 274371 295666 2b5871 30528a 34548a 284a83 2a4b83
        28416a 2a4571 2b4d6d 2d4f77 355386 2b4c83 28497e 2d4b7d
        284472 3c3475 3e2f74 344774 314c7a 3a5170 365076 304d7f
        2b4270 372c6e 28396f 36336f 264373 91843d b49d38 8a8654
        1d3660 353069 392c6d 273e6e 224175 515d5b a79334 596561
        182f54 21385e 294169 2a4572 274577 224276 294778 2f4d7e
    """,
    ("satin", "red"): """
        9e2f1f 952717 aa311f d15442 8c2415 892213 a12917 992614
        a74030 a63828 a93220 af3826 b23e2d b94130 be402d 852111
        a24335 a33d2d 8b645e 6e453e b8412f b03c2b a93928 7a1e10
        a24234 8d2b1c 90473c 813124 ba4432 962a19 a13727 9d3424
        7b2012 7e3050 772d56 711e19 9f3727 9a432e aa4531 b2402f
        903025 5a1c41 671b1e 5a1b35 932f20 3b582d 2d6935 605e34
        812d20 66233e 5e1e44 75221b a83e2f 6e4429 296030 5f391d
        58180e 702317 8d2d1e 973324 731d10 912f20 b44635 a33120
    """,
}


def levels(grid: list[list[str]]) -> list[list[int]]:
    """Turn hexadecimal colours into numbers, one row of the grid per list."""
    return [list(bytes.fromhex("".join(row))) for row in grid]


@pytest.mark.parametrize(("fabric", "colour"), FROZEN)
def test_pictures_stay_what_they_were(fabric: str, colour: str) -> None:
    """Stored references stay comparable with new pictures: block means are within one level of those frozen here."""
    expected = levels([line.split() for line in FROZEN[fabric, colour].strip().splitlines()])

    found = levels(block_means(render(7, fabric=fabric, colour=colour, objects=3)))

    assert np.abs(np.subtract(found, expected)).max() <= 1


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [64, 224, 301])
def test_box_is_tight_around_the_pixels_of_the_shape(shape: str, size: int) -> None:
    """On a grey ground only the shape is coloured, its shadow is not: the box is the extent of coloured pixels."""
    for seed in range(4):
        image = np.full((size, size, 3), 150.0)

        drawn = draw_object(np.random.default_rng(seed), image, shape, "red", (112.0, 0.0, 112.0))

        rows, columns = np.nonzero(np.ptp(image, axis=2) > 1e-6)
        assert drawn.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert columns.min() >= size // 2
        assert rows.max() < size // 2 + 1


@pytest.mark.parametrize("count", [1, 2, 4, 5, 9])
def test_objects_lie_inside_and_apart(count: int) -> None:
    """As many objects as asked for, inside the picture, no two boxes overlapping, none in the fabric's colour."""
    for seed in range(5):
        scene = render(seed, objects=count, size=160)

        assert len(scene.objects) == count
        covered = np.zeros((160, 160), dtype=int)
        for item in scene.objects:
            x0, y0, x1, y1 = (int(edge) for edge in item.box)
            assert (float(x0), float(y0), float(x1), float(y1)) == item.box
            assert 0 <= x0 < x1 <= 160
            assert 0 <= y0 < y1 <= 160
            assert item.shape in SHAPES
            assert item.colour in set(COLOURS) - {scene.colour}
            assert f"{item.colour} {item.shape}" in scene.caption
            covered[y0:y1, x0:x1] += 1
        assert covered.max() == 1


@pytest.mark.parametrize("seed", range(6))
def test_objects_leave_the_cloth_around_them_alone(seed: int) -> None:
    """The same seed without objects is the same picture, except in the boxes and just around them."""
    bare, scene = render(seed, colour="blue"), render(seed, colour="blue", objects=3)
    changed = (bare.image != scene.image).any(axis=2)
    allowed = np.zeros_like(changed)
    for item in scene.objects:
        x0, y0, x1, y1 = (int(edge) for edge in item.box)
        assert changed[y0:y1, x0:x1].mean() > 0.2  # a ring or a star fills little of its box
        allowed[max(0, y0 - SHADOW) : y1 + SHADOW, max(0, x0 - SHADOW) : x1 + SHADOW] = True

    assert not (changed & ~allowed).any()


def test_size_samples_the_same_scene() -> None:
    """A larger picture of the same seed shows the same objects, its boxes grow with it."""
    small, large = render(5, objects=4), render(5, objects=4, size=448)

    assert small.caption == large.caption
    for one, other in zip(small.objects, large.objects, strict=True):
        assert np.allclose(np.multiply(one.box, 2), other.box, atol=2)
    halved = np.asarray(Image.fromarray(large.image).reduce(8), dtype=int)
    assert np.abs(halved - np.asarray(Image.fromarray(small.image).reduce(4), dtype=int)).mean() < 8


@pytest.mark.parametrize(
    ("fabric", "colour", "caption"),
    [
        ("denim", "blue", "a photo of blue denim fabric"),
        ("polka dots", "orange", "a photo of orange polka dots fabric"),
    ],
)
def test_caption_of_plain_cloth(fabric: str, colour: str, caption: str) -> None:
    """Without objects the caption is the fabric and its colour."""
    assert render(0, fabric=fabric, colour=colour, size=32).caption == caption


def test_caption_joins_objects_as_english_does() -> None:
    """Commas, one "and", and "an" before an orange thing."""
    captions = [render(seed, objects=count, size=32).caption for seed in range(20) for count in (1, 3)]

    assert all(caption.count(" and ") == index % 2 for index, caption in enumerate(captions))
    assert any(" an orange " in caption for caption in captions)
    assert not any(" a orange " in caption for caption in captions)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"fabric": "velour"}, DataError, "fabric must be one of denim, .*; got 'velour'"),
        ({"fabric": ""}, DataError, "got ''"),
        ({"colour": "mauve"}, DataError, "colour must be one of red, .*; got 'mauve'"),
        ({"size": 31}, ShapeError, "size must be a whole number from 32 to 4096; got 31"),
        ({"size": 4097}, ShapeError, "got 4097"),
        ({"objects": 10}, ShapeError, "objects, if no list of names, must be a whole number from 0 to 9; got 10"),
        ({"objects": -1}, ShapeError, "got -1"),
    ],
)
def test_bad_arguments_are_answered(arguments: dict[str, Any], error: type[Exception], words: str) -> None:
    """The message lists what is known and what came."""
    with pytest.raises(error, match=words):
        render(0, **arguments)


def test_folder_has_one_directory_per_fabric(tmp_path: Path) -> None:
    """Files are named by fabric id and number, readable, and the same whichever other fabrics are asked for."""
    paths = fabricworld.write_folder(tmp_path / "a", fabrics=["polka dots", "denim"], per_fabric=2, seed=5, size=48)
    alone = fabricworld.write_folder(tmp_path / "b", fabrics=["denim"], per_fabric=2, seed=5, size=48)

    expected = ["polka_dots/ref_01.jpg", "polka_dots/ref_02.jpg", "denim/ref_01.jpg", "denim/ref_02.jpg"]
    assert [path.relative_to(tmp_path / "a").as_posix() for path in paths] == expected
    assert sorted(path for path in (tmp_path / "a").rglob("*") if path.is_file()) == sorted(paths)
    with Image.open(paths[0]) as image:
        assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (48, 48))
    assert [path.read_bytes() for path in paths[2:]] == [path.read_bytes() for path in alone]
    assert len({path.read_bytes() for path in paths}) == len(paths)


@pytest.mark.parametrize(
    ("fabrics", "per_fabric", "error", "words"),
    [
        (["denim", "polka_dots"], 1, DataError, "got 'polka_dots'"),  # names, not folder names
        (["denim"], 0, ShapeError, "per_fabric must be a whole number from 1 to 1000000; got 0"),
    ],
)
def test_folder_is_checked_before_it_is_written(
    tmp_path: Path, fabrics: list[str], per_fabric: int, error: type[Exception], words: str
) -> None:
    """A wrong argument leaves nothing behind."""
    with pytest.raises(error, match=words):
        fabricworld.write_folder(tmp_path / "refs", fabrics=fabrics, per_fabric=per_fabric, seed=0)

    assert list(tmp_path.iterdir()) == []
