"""What is wrong in a data set of boxes is mended and counted, or refused: never silent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clipfast.datasets.box_records import PROBLEMS
from clipfast.datasets.box_samples import BoxFormat, detect_format, read_boxes
from clipfast.errors import DataError, ShapeError
from reference.box_folders import (
    AS_VOC,
    SCENES,
    Boxes,
    box_folder,
    plain_boxes,
    voc_xml,
    write_coco,
    write_image,
    write_voc,
    write_yolo,
)

# --- what is wrong is said -----------------------------------------------------------------------------------------


def test_bad_boxes_are_cut_or_left_out_and_counted(tmp_path: Path) -> None:
    """A click, a reversed box, one outside, one that reaches out, and edges written from 0."""
    objects: Boxes = [
        ("cat", (5, 5, 5, 9)),  # a click
        ("cat", (9, 9, 4, 12)),  # reversed
        ("cat", (70, 2, 80, 9)),  # outside
        ("cat", (51, 31, 99, 99)),  # reaches out
        ("cat", (0, 0, 10, 10)),  # counted from 0
    ]
    found = read_boxes("voc", write_voc(tmp_path, {"a": objects}))

    assert plain_boxes(found) == {"a": [("cat", (50, 30, 60, 40)), ("cat", (0, 0, 10, 10))]}
    assert found.report.counts == {"clipped": 1, "outside": 1, "degenerate": 2}
    assert found.report.examples["degenerate"] == ("a: 5 5 5 9", "a: 9 9 4 12")
    assert (
        "2 had no area (x2 <= x1 or y2 <= y1) and were left out (a: 5 5 5 9; a: 9 9 4 12)" in found.report.sentences()
    )
    assert set(found.report.counts) <= set(PROBLEMS)


def test_missing_files_are_counted(tmp_path: Path) -> None:
    """An image without annotation is left out, for nobody said it is empty; an annotation without image too."""
    write_voc(tmp_path, {"a": AS_VOC["a"]})
    write_image(tmp_path / "JPEGImages" / "lonely.png")
    (tmp_path / "Annotations" / "ghost.xml").write_text(voc_xml(AS_VOC["a"]))
    found = read_boxes("voc", tmp_path)

    assert [sample.id for sample in found] == ["a"]
    assert found.report.counts == {"no_annotation": 1, "no_image": 1}
    yolo = write_yolo(tmp_path / "yolo", SCENES, ["cat", "dog"])
    write_image(yolo / "lonely.png")
    assert read_boxes("yolo", yolo, classes=["cat", "dog"]).report.counts["no_annotation"] == 1


@pytest.mark.parametrize("format_", ["voc", "coco", "yolo"])
def test_a_file_that_is_no_image_is_counted_and_named(tmp_path: Path, format_: BoxFormat) -> None:
    """It does not stop the others; where none is left, the sentence names it."""
    root = box_folder(format_, tmp_path)
    images = sorted(path for path in root.rglob("*.png"))
    images[0].write_bytes(b"not an image")
    found = read_boxes(format_, root)

    assert [sample.id for sample in found] == ["b", "c"]
    assert found.classes == ("cat", "dog")
    assert found.report.counts["unreadable"] == 1
    assert found.report.examples["unreadable"][0].startswith(f"a: {images[0]} cannot be read as an image")
    for path in images:
        path.write_bytes(b"")
    with pytest.raises(DataError, match=r"3 images cannot be read and were left out \(a: "):
        read_boxes(format_, root)


def test_yolo_without_names_says_how_to_give_them(tmp_path: Path) -> None:
    """By the command's option and by Python's argument."""
    root = write_yolo(tmp_path, SCENES, ["cat", "dog"])
    with pytest.raises(DataError, match=r"got class 1 and no names.*--classes car,truck,bus \(classes= in Python\)"):
        read_boxes("yolo", root)


def test_images_of_one_name(tmp_path: Path) -> None:
    """The second is left out and counted; COCO names its files, so there both stay."""
    for format_ in ("voc", "yolo"):
        root = box_folder(format_, tmp_path / format_)
        write_image((root / "JPEGImages" if format_ == "voc" else root) / "a.jpg")
        found = read_boxes(format_, root)

        assert len(found) == 3
        assert found.report.counts["same_name"] == 1
    root = write_coco(tmp_path / "coco", {"a": SCENES["a"], "b": SCENES["b"]})
    file = root / "annotations" / "instances_val.json"
    content = json.loads(file.read_text())
    content["images"][1]["file_name"] = write_image(root / "images" / "a.jpg").name
    file.write_text(json.dumps(content))
    assert [sample.id for sample in read_boxes("coco", root)] == ["a.jpg", "a.png"]


def test_difficult_and_size(tmp_path: Path) -> None:
    """`difficult` is kept, a wrong size is counted, a person's parts are no objects."""
    write_image(tmp_path / "JPEGImages" / "a.jpg", (40, 60))
    (tmp_path / "Annotations").mkdir()
    part = "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>"
    text = voc_xml([("person", (1, 1, 9, 9)), ("cat", (2, 2, 9, 9))], (400, 600), difficult=[1])
    (tmp_path / "Annotations" / "a.xml").write_text(text.replace("</object>", part + "</object>"))
    found = read_boxes("voc", tmp_path)

    assert found.samples[0].difficult.tolist() == [False, True]
    assert found.samples[0].labels == ("person", "cat")
    assert found.report.counts == {"size_differs": 1}


XML_CASES = [
    # text, message
    ('<!DOCTYPE a [<!ENTITY x "y">]><annotation>&x;</annotation>', "must not have a DOCTYPE"),
    ('<!DOCTYPE a SYSTEM "file:///etc/hostname"><annotation/>', "must not have a DOCTYPE"),
    ("<annotation><object></annotation>", "well-formed XML"),
    ("", "well-formed XML"),
    ("<annotation><object><name>cat</name></object></annotation>", "a name and a bndbox"),
    (voc_xml([("cat", (1, 1, 5, 5))]).replace("<xmax>5<", "<xmax>five<"), "must give <xmax> as a number; got 'five'"),
    (voc_xml([("cat", (1, 1, 5, 5))]).replace("<xmax>5<", "<xmax>nan<"), "must be finite"),
]


@pytest.mark.parametrize(("text", "message"), XML_CASES)
def test_xml_that_cannot_be_trusted_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """Entities, broken documents, objects without a box, numbers that are none."""
    write_image(tmp_path / "JPEGImages" / "a.jpg")
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "Annotations" / "a.xml").write_text(text)
    with pytest.raises(DataError, match=message):
        read_boxes("voc", tmp_path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 0.5 0.5 0.1", "line 1: must be `class cx cy w h`"),
        ("cat 0.5 0.5 0.1 0.1", "line 1: must be"),
        ("-1 0.5 0.5 0.1 0.1", "line 1: must be"),
        ("0 30 20 10 10", "must be shares of the image"),
        ("0 inf 0.5 0.1 0.1", "line 1: must be"),
        ("5 0.5 0.5 0.1 0.1", "must have classes with a name; got class 5"),
    ],
)
def test_yolo_lines_that_are_no_boxes(tmp_path: Path, line: str, message: str) -> None:
    """Too few numbers, names, pixels, a class without a name."""
    write_image(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text(line + "\n")
    with pytest.raises(DataError, match=message):
        read_boxes("yolo", tmp_path, classes=["cat", "dog"])


def test_yolo_outlines_become_boxes(tmp_path: Path) -> None:
    """A polygon's bounding box is taken."""
    write_image(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("0 0.1 0.2 0.5 0.1 0.4 0.6\n")

    assert read_boxes("yolo", tmp_path, classes=["cat"]).samples[0].boxes[0] == pytest.approx([6, 4, 30, 24])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nc: 2\n", "must have `names`"),
        ("names: cat, dog\n", "must be a list or numbered entries"),
        ("names:\n  1: cat\n", "numbered 0, 1"),
        ("names: [cat, cat]\n", "must name every class once"),
        ("names: []\n", "must name every class once"),
    ],
)
def test_names_that_are_not_understood_are_refused(tmp_path: Path, text: str, message: str) -> None:
    """Rather than guessed."""
    write_yolo(tmp_path, SCENES, ["cat", "dog"])
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(DataError, match=message):
        read_boxes("yolo", tmp_path)


def test_names_cannot_lead_out_of_thebox_folder(tmp_path: Path) -> None:
    """COCO's file names and splits stay inside."""
    write_coco(tmp_path, {"a": SCENES["a"]})
    file = tmp_path / "annotations" / "instances_val.json"
    content = json.loads(file.read_text())
    for name in ("../../etc/passwd", "/etc/passwd", "C:\\x.jpg", ""):
        content["images"][0]["file_name"] = name
        file.write_text(json.dumps(content))
        with pytest.raises(DataError, match="inside the data set"):
            read_boxes("coco", tmp_path)
    with pytest.raises(DataError, match="inside the data set"):
        read_boxes("voc", write_voc(tmp_path / "voc", AS_VOC, {"val": ["a"]}), split="../val")


def test_coco_that_is_something_else(tmp_path: Path) -> None:
    """Another shape, categories that do not exist, boxes of images that do not exist."""
    write_coco(tmp_path, {"a": SCENES["a"]})
    file = tmp_path / "annotations" / "instances_val.json"
    content = json.loads(file.read_text())
    content["annotations"].append({"image_id": 99, "category_id": 7, "bbox": [0, 0, 1, 1]})
    file.write_text(json.dumps(content))
    assert read_boxes("coco", tmp_path).report.examples["no_image"] == ("image_id 99",)
    content["annotations"][0]["category_id"] = 1234
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match="category_id \\[1234\\]"):
        read_boxes("coco", tmp_path)
    content["annotations"][0]["bbox"] = [1, 2]
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match="must be COCO instances"):
        read_boxes("coco", tmp_path)


@pytest.mark.parametrize(
    ("format_", "message"),
    [
        ("pascal", "format must be one of auto"),
        ("auto", "found none"),
        ("coco", "it holds: none"),
        ("yolo", "must hold"),
    ],
)
def test_folders_that_hold_nothing(tmp_path: Path, format_: Any, message: str) -> None:
    """An unknown format, and an empty folder by every reader."""
    with pytest.raises(DataError, match=message):
        read_boxes(format_, tmp_path)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """Is said by name; so are a bad limit and a split of fabricworld."""
    formats: tuple[BoxFormat, ...] = ("auto", "voc", "coco", "yolo")
    for format_ in formats:
        with pytest.raises(DataError, match="No folder at"):
            read_boxes(format_, tmp_path / "nowhere")
    with pytest.raises(ShapeError, match="limit must be a whole number of 1 or more; got 0"):
        read_boxes("fabricworld", "", limit=0)
    with pytest.raises(DataError, match="train, val, test"):
        read_boxes("fabricworld", "", split="dev")


def test_two_formats_in_onebox_folder(tmp_path: Path) -> None:
    """Must be told apart by the user."""
    write_coco(write_voc(tmp_path, AS_VOC), SCENES)
    with pytest.raises(DataError, match="found voc, coco"):
        detect_format(tmp_path)
