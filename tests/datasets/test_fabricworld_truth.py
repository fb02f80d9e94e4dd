"""The truth of the procedural world: masks, boxes and captions that no machine may change."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest

from clipfast.datasets.fabricworld import (
    CAMERAS,
    CHINESE,
    COLOURS,
    DEFECTS,
    ENGLISH,
    FABRICS,
    RELATIONS,
    SHAPES,
    Relation,
    Wishes,
    english_name,
    english_prompt,
    render,
    render_relation,
)
from clipfast.errors import DataError, ShapeError
from clipfast.types import Pixels


def truth_hash(seeds: range, **wishes: Any) -> str:
    """Hash masks, boxes and captions of scenes, not their pixels."""
    digest = hashlib.sha256()
    for seed in seeds:
        scene = render(seed, **wishes)
        boxes = [item.box for item in scene.objects] + [flaw.box for flaw in scene.defects]
        kinds = [item.shape + item.colour for item in scene.objects] + [flaw.kind for flaw in scene.defects]
        digest.update(repr((scene.fabric, scene.colour, scene.caption, boxes, kinds)).encode())
        digest.update(scene.object_mask.tobytes() + scene.defect_mask.tobytes())
    return digest.hexdigest()[:16]


@pytest.mark.parametrize(
    ("wishes", "expected"),
    [
        ({"objects": 3}, "75b1d82571fe7939"),
        ({"objects": 2, "defects": 2}, "54fb48e0cd9beb65"),
        ({"defects": list(DEFECTS)[:4], "camera": "varied"}, "d98c9952fbac6132"),
        ({"defects": list(DEFECTS)[3:], "size": 301}, "ba26d91093d3d327"),
    ],
)
def test_truth_is_the_same_on_every_machine(wishes: dict[str, Any], expected: str) -> None:
    """Masks, boxes and captions of twelve seeds have the hash they had when they were frozen."""
    assert truth_hash(range(12), **wishes) == expected


def extent(mask: Pixels) -> tuple[float, float, float, float]:
    """Return the smallest box around the pixels that are set."""
    rows, columns = np.nonzero(mask)
    return float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1)


@pytest.mark.parametrize("camera", CAMERAS)
@pytest.mark.parametrize("size", [48, 224])
def test_masks_lie_in_their_boxes(size: int, camera: str) -> None:
    """Each object and each defect has pixels of its own number; a defect's box is tight around what it shows."""
    for seed in range(6):
        scene = render(seed, objects=3, defects=2, size=size, camera=camera)  # type: ignore[arg-type]  # a str out of the table

        assert set(np.unique(scene.object_mask)) == {0, 1, 2, 3}
        for number, item in enumerate(scene.objects, start=1):
            x0, y0, x1, y1 = extent(scene.object_mask == number)
            assert item.box[0] <= x0 < x1 <= item.box[2]
            assert item.box[1] <= y0 < y1 <= item.box[3]
            assert max(x0 - item.box[0], item.box[2] - x1, y0 - item.box[1], item.box[3] - y1) <= 0.05 * size
        for number, flaw in enumerate(scene.defects, start=1):
            x0, y0, x1, y1 = extent(scene.defect_mask == number)
            assert flaw.box == (x0, y0, x1, y1)


def test_a_covered_defect_has_the_box_of_what_is_left_to_see() -> None:
    """Seed 146 draws a thread pull of which the second defect hides more than half."""
    scene = render(146, defects=2)

    assert [flaw.box for flaw in scene.defects] == [extent(scene.defect_mask == number) for number in (1, 2)]
    assert scene.defects[0].box[2] - scene.defects[0].box[0] < 40


@pytest.mark.parametrize("kind", DEFECTS)
def test_damage_changes_the_cloth_where_its_mask_says(kind: str) -> None:
    """The same seed without the defect is the same picture, but for the mask and a soft edge around it."""
    inside, outside = [], []
    for seed in range(16):
        intact, damaged = render(seed, fabric="twill"), render(seed, fabric="twill", defects=[kind])
        change = np.abs(intact.image.astype(int) - damaged.image).max(axis=2)
        mask = damaged.defect_mask > 0
        x0, y0, x1, y1 = (int(edge) for edge in damaged.defects[0].box)
        around = np.zeros_like(mask)
        around[max(0, y0 - 14) : y1 + 14, max(0, x0 - 14) : x1 + 14] = True
        inside.append(change[mask].mean())
        outside.append(change[~mask].mean())

        assert not change[~around].any()
        assert f"fabric with {'' if kind == 'missing stitches' else 'a '}{kind}" in damaged.caption
    assert np.mean(inside) > 30 * np.mean(outside)
    assert np.mean(inside) > (4 if DEFECTS[kind].local else 12)


def test_named_objects_are_drawn() -> None:
    """Names give shape and colour, also the cloth's own; a shape alone takes another colour."""
    scene = render(3, colour="red", objects=["red star", "button"])

    assert [item.shape for item in scene.objects] == ["star", "button"]
    assert scene.objects[0].colour == "red"
    assert scene.objects[1].colour != "red"


@pytest.mark.parametrize("camera", CAMERAS)
def test_a_camera_changes_the_picture_and_not_what_lies_where(camera: str) -> None:
    """Objects keep their boxes; the picture is reproducible and neither black nor white."""
    plain, scene = render(9, objects=3), render(9, objects=3, camera=camera)  # type: ignore[arg-type]  # a str out of the table

    assert scene.objects == plain.objects
    assert scene.caption == plain.caption
    assert np.array_equal(scene.image, render(9, objects=3, camera=camera).image)  # type: ignore[arg-type]  # a str out of the table
    assert 10 < scene.image.mean() < 245


def test_every_fabric_is_equally_frequent() -> None:
    """Seeds draw all fabrics, the later ones too, and 22 of 24 seeds keep the fabric they always had."""
    drawn = [render(seed, size=32).fabric for seed in range(720)]

    assert set(drawn) == set(FABRICS)
    assert 0.04 < np.mean([name in ("leather", "felt") for name in drawn]) < 0.13


@pytest.mark.parametrize("relation", RELATIONS)
def test_relations_hold_in_the_masks(relation: Relation) -> None:
    """Left ends before right begins, what lies on another has it on all sides, and numbers are right."""
    for seed in range(25):
        related = render_relation(seed, relation, wishes=Wishes(camera="varied" if seed % 2 else "plain"))
        scene, mask = related.scene, related.scene.object_mask

        assert related.text in scene.caption
        assert related.opposite != related.text
        if relation == "count":
            words = ("two", "three", "four", "five")
            assert len(scene.objects) == words.index(related.text.split()[0]) + 2 == int(mask.max())
            assert len({(item.shape, item.colour) for item in scene.objects}) == 1
            continue
        first, second = (extent(mask == number) for number in (1, 2))
        for item, box in zip(scene.objects, (first, second), strict=True):
            assert f"{item.colour} {item.shape}" in related.text
            assert item.box[0] <= box[0] < box[2] <= item.box[2]
        if relation == "left of":
            assert first[2] <= second[0]
        elif relation == "right of":
            assert second[2] <= first[0]
        else:
            near = mask == 1
            for _ in range(2):
                grown = np.pad(near, 1)
                near = grown[1:-1, 1:-1] | grown[:-2, 1:-1] | grown[2:, 1:-1] | grown[1:-1, :-2] | grown[1:-1, 2:]
            # Half-covered pixels at the rim belong to one or the other, never to the cloth, a ring's middle excepted.
            assert set(np.unique(mask[near])) == {1, 2}


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"objects": ["red sock"]}, DataError, "object must be one of button, .*; got 'sock'"),
        ({"objects": ["mauve star"]}, DataError, "colour of an object must be one of red, .*; got 'mauve'"),
        ({"objects": "star"}, DataError, r"Write \['star'\]"),
        ({"defects": ["rip"]}, DataError, "defect must be one of hole, .*; got 'rip'"),
        ({"defects": 5}, ShapeError, "must be a whole number from 0 to 4; got 5"),
        ({"defects": ["hole"] * 5}, ShapeError, "got 5"),
        ({"camera": "phone"}, DataError, "camera must be one of plain, varied; got 'phone'"),
    ],
)
def test_unknown_names_are_answered_with_the_known(
    arguments: dict[str, Any], error: type[Exception], words: str
) -> None:
    """The message lists what is known and what came."""
    with pytest.raises(error, match=words):
        render(0, **arguments)


def test_wrong_relations_are_answered_with_the_known() -> None:
    """An unknown relation, and an object with an open middle that should carry another."""
    with pytest.raises(DataError, match=r"relation must be one of left of, .*; got 'under'"):
        render_relation(0, "under")  # type: ignore[arg-type]  # what must be refused
    with pytest.raises(DataError, match=r"object to lie on must be one of button, .*; got 'ring'"):
        render_relation(0, "on", objects=("red star", "blue ring"))


def test_chinese_table_is_complete() -> None:
    """Every fabric, colour, defect and shape has one Chinese name, and no Chinese name means two things."""
    names = [name for table in (FABRICS, COLOURS, DEFECTS, SHAPES) for name in table]

    assert sorted(CHINESE) == sorted(names)
    assert len(ENGLISH) == len(names)
    assert all("一" <= letter <= "鿿" for zh in ENGLISH for letter in zh)
    assert [english_name(zh) for zh in CHINESE.values()] == list(CHINESE)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("牛仔布", "a photo of denim fabric"),
        ("红色", "a photo of red fabric"),
        ("破洞", "a photo of fabric with a hole"),
        ("青绿色粗麻布", "a photo of turquoise burlap fabric"),  # not green, and not a part of linen
        ("带橙色星形的黑色毛毡", "a photo of black felt fabric with an orange star"),
        ("有漏针和污渍的灰色平纹布", "a photo of grey plain weave fabric with missing stitches and a stain"),
    ],
)
def test_chinese_phrases_become_english_prompts(text: str, expected: str) -> None:
    """Longest names first, colours to what follows them, fillers skipped."""
    assert english_prompt(text) == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("红色和蓝色格子棉布", "says 'blue' after 'red'"),
        ("牛仔布红色", "ends with one"),
        ("牛仔布亚麻布", "says 'linen' after 'denim'"),
        ("有红色破洞的牛仔布", "says 'hole' after 'red'"),
    ],
)
def test_phrases_of_which_a_part_would_be_lost_are_refused(text: str, why: str) -> None:
    """Two fabrics, a colour that nothing follows, the colour of a hole."""
    with pytest.raises(DataError, match=why):
        english_prompt(text)


def test_two_equal_objects_have_no_false_opposite() -> None:
    """ "a red star left of a red star" says the same the other way round."""
    with pytest.raises(DataError, match="must differ"):
        render_relation(0, "left of", objects=("red star", "red star"))


@pytest.mark.parametrize("text", ["龙", "红色的龙", "", "的"])
def test_unknown_chinese_is_answered_with_the_known(text: str) -> None:
    """The message lists Chinese and English names."""
    with pytest.raises(DataError, match=r"牛仔布 \(denim\)"):
        english_prompt(text)
    with pytest.raises(DataError, match=r"牛仔布 \(denim\)"):
        english_name("龙")
