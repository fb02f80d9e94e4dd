"""Data sets of boxes: every layout is found, every format gives the same boxes, what is wrong is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clipfast.datasets.box_records import PROBLEMS
from clipfast.datasets.box_samples import BoxFormat, detect_format, read_boxes
from clipfast.errors import DataError, ShapeError
from conftest import SHARED
from reference.box_folders import Boxes, voc_xml, write_coco, write_image, write_voc, write_yolo

# xyxy, half-open; VOC writes x1 + 1 and y1 + 1.
SCENES: dict[str, Boxes] = {
    "a": [("cat", (2, 3, 20, 30)), ("dog", (30, 5, 50, 25))],
    "b": [("cat", (0, 0, 60, 40))],
    "c": [],
}
AS_VOC: dict[str, Boxes] = {
    image: [(name, (box[0] + 1, box[1] + 1, box[2], box[3])) for name, box in objects]
    for image, objects in SCENES.items()
}


def _plain(found: Any) -> dict[str, Boxes]:
    return {
        sample.id: [(label, tuple(box)) for label, box in zip(sample.labels, sample.boxes.tolist(), strict=True)]
        for sample in found
    }


def _folder(format_: str, root: Path) -> Path:
    if format_ == "voc":
        return write_voc(root, AS_VOC)
    if format_ == "coco":
        return write_coco(root, SCENES)
    write_yolo(root, SCENES, ["cat", "dog"])
    (root / "classes.txt").write_text("cat\ndog\n")
    return root


@pytest.mark.parametrize("format_", ["voc", "coco", "yolo"])
def test_every_format_gives_the_same_boxes(tmp_path: Path, format_: BoxFormat) -> None:
    """Half-open pixels from 0, whatever the file says; found by name and by looking."""
    root = _folder(format_, tmp_path)
    for asked in (format_, "auto"):
        found = read_boxes(asked, root)

        expected: Any = {
            image: [(name, pytest.approx(box)) for name, box in objects] for image, objects in SCENES.items()
        }
        assert _plain(found) == expected
        assert (found.format, found.classes, len(found)) == (format_, ("cat", "dog"), 3)
        assert found.samples[0].size_hw == (40, 60)
        assert found.samples[0].boxes.dtype == np.float64
        assert found.report.counts == {"no_boxes": 1}


@pytest.mark.parametrize("format_", ["voc", "coco", "yolo"])
def test_classes_and_limit(tmp_path: Path, format_: BoxFormat) -> None:
    """Boxes of other classes are left out and counted; the first images by id are taken."""
    root = _folder(format_, tmp_path)
    found = read_boxes(format_, root, classes=["dog"], limit=2)

    assert [sample.labels for sample in found] == [("dog",), ()]
    assert found.classes == ("dog",)
    assert found.report.counts["other_class"] == 2
    with pytest.raises(DataError, match="has the classes cat, dog; got cow"):
        read_boxes(format_, root, classes=["cow"])


# --- layouts -------------------------------------------------------------------------------------------------------


def test_voc_splits_and_the_folder_above(tmp_path: Path) -> None:
    """ImageSets name the images; the data set may lie one or two folders below."""
    write_voc(tmp_path / "VOCdevkit" / "VOC2007", AS_VOC, {"train": ["b"], "val": ["c", "a"], "cat_val": ["a"]})
    found = read_boxes("auto", tmp_path, split="val")

    assert [sample.id for sample in found] == ["a", "c"]
    assert found.split == "val"
    with pytest.raises(DataError, match="must have the split 'test'; it has: train, val"):
        read_boxes("voc", tmp_path, split="test")
    write_voc(tmp_path / "VOCdevkit" / "VOC2012", AS_VOC)
    with pytest.raises(DataError, match="several VOC data sets"):
        read_boxes("voc", tmp_path)


def test_dior_is_found_by_itself(tmp_path: Path) -> None:
    """Images in two folders, horizontal boxes in one of two folders of annotations, lists in Main."""
    write_image(tmp_path / "JPEGImages-trainval" / "00001.jpg")
    write_image(tmp_path / "JPEGImages-test" / "00002.jpg")
    boxes = tmp_path / "Annotations" / "Horizontal Bounding Boxes"
    boxes.mkdir(parents=True)
    for name in ("00001", "00002"):
        (boxes / f"{name}.xml").write_text(voc_xml([("Expressway-Service-area", (1, 1, 9, 9))]))
    (tmp_path / "Main").mkdir()
    (tmp_path / "Main" / "test.txt").write_text("00002\n")

    assert [sample.id for sample in read_boxes("auto", tmp_path)] == ["00001", "00002"]
    assert [sample.id for sample in read_boxes("dior", tmp_path, split="test")] == ["00002"]


def test_voc_side_by_side_in_a_folder_a_split(tmp_path: Path) -> None:
    """Roboflow's layout: the split is a folder, and without one the folders are named."""
    for split in ("train", "valid"):
        write_image(tmp_path / split / "x.jpg")
        (tmp_path / split / "x.xml").write_text(voc_xml([("cat", (1, 1, 5, 5))]))

    assert _plain(read_boxes("voc", tmp_path, split="valid")) == {"x": [("cat", (0, 0, 5, 5))]}
    with pytest.raises(DataError, match="several VOC data sets"):
        read_boxes("voc", tmp_path)


@pytest.mark.parametrize(
    ("places", "split"),
    [
        (("images", "labels"), None),
        (("images/val", "labels/val"), "val"),
        (("images/val", "labels/val"), None),
        (("val/images", "val/labels"), "val"),
        (("val/images", "val/labels"), None),
        (("val", "val"), "val"),
    ],
)
def test_yolo_layouts(tmp_path: Path, places: tuple[str, str], split: str | None) -> None:
    """`images` and `labels`, with the split above or below them or alone."""
    write_yolo(tmp_path, SCENES, ["cat", "dog"], places)
    (tmp_path / "data.yaml").write_text("path: .\nnc: 2\nnames:\n  - cat\n  - dog\n")
    found = read_boxes("yolo", tmp_path, split=split)

    assert {sample.id: sample.labels for sample in found} == {"a": ("cat", "dog"), "b": ("cat",), "c": ()}


def test_yolo_yaml_says_where_a_split_is(tmp_path: Path) -> None:
    """A folder of images whose name is not the split's, Roboflow's two dots included."""
    write_yolo(tmp_path, SCENES, ["cat", "dog"], ("held/images", "held/labels"))
    (tmp_path / "data.yaml").write_text("test: ../held/images\nnames: ['cat', \"dog\"]\n")

    assert len(read_boxes("yolo", tmp_path, split="test")) == 3


def test_coco_splits(tmp_path: Path) -> None:
    """Several JSON files need a split, a part of the name; crowds are difficult."""
    write_coco(tmp_path, SCENES, "annotations/instances_train2017.json")
    write_coco(tmp_path, {"b": SCENES["b"]}, "annotations/instances_val2017.json", crowd=0)
    found = read_boxes("coco", tmp_path, split="val2017")

    assert [sample.difficult.tolist() for sample in found] == [[True]]
    assert len(read_boxes("coco", tmp_path / "annotations" / "instances_val2017.json", limit=5)) == 1
    with pytest.raises(DataError, match="one JSON of COCO instances"):
        read_boxes("coco", tmp_path)


def test_fabricworld_is_drawn_when_it_is_asked_for() -> None:
    """Splits share no picture; of classes that were asked for, what else is there is counted."""
    found = read_boxes("fabricworld", "", limit=4)
    drawn = list(found)

    assert {label for sample in drawn for label in sample.labels} < set(found.classes)
    assert len({sample.id for split in ("train", "val", "test") for sample in _some(split)}) == 6
    assert np.array_equal(np.asarray(found.samples[-1].image), np.asarray(drawn[3].image))
    assert [sample.id for sample in found.samples[1:3]] == [sample.id for sample in drawn[1:3]]
    wanted = drawn[0].labels[0]
    only = read_boxes("fabricworld", "", limit=4, classes=[wanted])
    assert {label for sample in only for label in sample.labels} == {wanted}
    assert only.report.counts["other_class"] == sum(len(s.labels) for s in drawn) - sum(len(s.labels) for s in only)


@pytest.mark.parametrize("format_", ["voc", "coco", "yolo", "fabricworld"])
def test_classes_do_not_depend_on_how_many_images_are_read(tmp_path: Path, format_: BoxFormat) -> None:
    """They decide what `standard` compares with what."""
    root = tmp_path if format_ == "fabricworld" else _folder(format_, tmp_path)
    if format_ == "voc":  # a class that only an image beyond the limit has
        (root / "Annotations" / "c.xml").write_text(voc_xml([("zebra", (1, 1, 5, 5))]))
    few, more = (read_boxes(format_, root, limit=limit).classes for limit in (1, 3))

    assert few == more
    assert few[-1] == {"voc": "zebra", "fabricworld": "yellow triangle"}.get(format_, "dog")


def _some(split: str) -> Any:
    return read_boxes("fabricworld", "", split=split, limit=2)


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

    assert _plain(found) == {"a": [("cat", (50, 30, 60, 40)), ("cat", (0, 0, 10, 10))]}
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
    root = _folder(format_, tmp_path)
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
        root = _folder(format_, tmp_path / format_)
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


def test_names_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
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


def test_two_formats_in_one_folder(tmp_path: Path) -> None:
    """Must be told apart by the user."""
    write_coco(write_voc(tmp_path, AS_VOC), SCENES)
    with pytest.raises(DataError, match="found voc, coco"):
        detect_format(tmp_path)


# --- real data -----------------------------------------------------------------------------------------------------


@pytest.mark.shared
def test_the_blood_cells() -> None:
    """Counts of its README: 364 images, RBC 4155, WBC 372, platelets 361, two of them clicks."""
    found = read_boxes("auto", SHARED / "bccd")
    labels = [label for sample in found for label in sample.labels]

    assert (len(found), found.report.counts) == (364, {"degenerate": 2})
    assert len(labels) == 4155 + 372 + 361 - 2
    assert len(read_boxes("voc", SHARED / "bccd", split="test")) == 72


@pytest.mark.shared
def test_the_aerial_cars() -> None:
    """Boxes equal those of its table in pixels, up to the image's edge."""
    import csv

    found = read_boxes("auto", SHARED / "aerial_cars", classes=["car", "truck", "bus", "minibus"])
    with (SHARED / "aerial_cars" / "boxes.csv").open() as file:
        rows = list(csv.DictReader(file))
    table: dict[str, list[Any]] = {}
    for row in rows:
        box = [float(row[side]) for side in ("xmin", "ymin", "xmax", "ymax")]
        table.setdefault(Path(row["image"]).stem, []).append((row["class"], box))

    assert len(found) == 89
    for sample in found:
        height, width = sample.size_hw
        for label, box, (name, expected) in zip(sample.labels, sample.boxes, table[sample.id], strict=True):
            assert label == name
            assert box == pytest.approx(np.clip(expected, 0, [width, height, width, height]), abs=0.06)
