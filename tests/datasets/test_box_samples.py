"""Data sets of boxes: every layout is found, every format gives the same boxes, what is wrong is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clipfast.datasets import voc
from clipfast.datasets.box_files import read_bounded
from clipfast.datasets.box_samples import BoxFormat, read_boxes
from clipfast.errors import DataError
from conftest import SHARED
from reference.box_folders import (
    AS_VOC,
    SCENES,
    box_folder,
    plain_boxes,
    voc_xml,
    write_coco,
    write_image,
    write_voc,
    write_yolo,
)


@pytest.mark.parametrize("format_", ["voc", "coco", "yolo"])
def test_every_format_gives_the_same_boxes(tmp_path: Path, format_: BoxFormat) -> None:
    """Half-open pixels from 0, whatever the file says; found by name and by looking."""
    root = box_folder(format_, tmp_path)
    for asked in (format_, "auto"):
        found = read_boxes(asked, root)

        expected: Any = {
            image: [(name, pytest.approx(box)) for name, box in objects] for image, objects in SCENES.items()
        }
        assert plain_boxes(found) == expected
        assert (found.format, found.classes, len(found)) == (format_, ("cat", "dog"), 3)
        assert found.samples[0].size_hw == (40, 60)
        assert found.samples[0].boxes.dtype == np.float64
        assert found.report.counts == {"no_boxes": 1}


@pytest.mark.parametrize("format_", ["voc", "coco", "yolo"])
def test_classes_and_limit(tmp_path: Path, format_: BoxFormat) -> None:
    """Boxes of other classes are left out and counted; the first images by id are taken."""
    root = box_folder(format_, tmp_path)
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

    assert plain_boxes(read_boxes("voc", tmp_path, split="valid")) == {"x": [("cat", (0, 0, 5, 5))]}
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
    root = tmp_path if format_ == "fabricworld" else box_folder(format_, tmp_path)
    if format_ == "voc":  # a class that only an image beyond the limit has
        (root / "Annotations" / "c.xml").write_text(voc_xml([("zebra", (1, 1, 5, 5))]))
    few, more = (read_boxes(format_, root, limit=limit).classes for limit in (1, 3))

    assert few == more
    assert few[-1] == {"voc": "zebra", "fabricworld": "yellow triangle"}.get(format_, "dog")


ONE_CAT = voc_xml([("cat", (1, 1, 5, 5))])


@pytest.mark.parametrize(
    ("text", "classes"),
    [
        (ONE_CAT, ("cat", "dog")),
        (voc_xml([("cat", (1, 1, 5, 5)), ("zebra", (1, 1, 5, 5))]), ("cat", "dog", "zebra")),
        (voc_xml([("cat &amp; dog", (1, 1, 5, 5))]), ("cat", "cat & dog", "dog")),
        (voc_xml([("cat", (1, 1, 5, 5)), ("&#122;ebra", (1, 1, 5, 5))]), ("cat", "dog", "zebra")),
        (voc_xml([("<![CDATA[zebra]]>", (1, 1, 5, 5))]), ("cat", "dog", "zebra")),
        (voc_xml([("鸟", (1, 1, 5, 5))]), ("cat", "dog", "鸟")),
        (ONE_CAT.replace("<name>cat<", '<name lang="en">zebra<'), ("cat", "dog", "zebra")),
        (voc_xml([(" zebra\n", (1, 1, 5, 5))]), ("cat", "dog", "zebra")),
        (ONE_CAT.replace("</object>", "<part><name>head</name></part></object>"), ("cat", "dog")),
        (voc_xml([]), ("cat", "dog")),
    ],
)  # fmt: skip
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_classes_beyond_the_limit_are_those_of_the_parser(
    tmp_path: Path, text: str, classes: tuple[str, ...], encoding: str
) -> None:
    """However a name is written; documents without a new one are passed over unparsed."""
    root = write_voc(tmp_path, AS_VOC)
    (root / "Annotations" / "c.xml").write_bytes(f'<?xml version="1.0" encoding="{encoding}"?>{text}'.encode(encoding))

    assert read_boxes("voc", root, limit=1).classes == read_boxes("voc", root).classes == classes


def test_beyond_the_limit_no_more_is_parsed_than_may_hold_a_new_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A split of thousands costs reading, not parsing; with classes asked for, only until they are found."""
    images = {f"{at:03}": AS_VOC["a"] for at in range(40)} | {"099": [("zebra", (1, 1, 5, 5))]}
    root = write_voc(tmp_path, images)
    read: list[Path] = []
    parsed: list[str] = []
    tree = voc._tree

    def reading(path: Path, most: int) -> bytes:
        read.append(path)
        return read_bounded(path, most)

    def parsing(data: bytes, source: Path) -> Any:
        parsed.append(source.stem)
        return tree(data, source)

    monkeypatch.setattr(voc, "read_bounded", reading)
    monkeypatch.setattr(voc, "_tree", parsing)

    assert read_boxes("voc", root, limit=2).classes == ("cat", "dog", "zebra")
    assert parsed == ["000", "001", "099"]
    assert len(read) == 41
    read.clear()
    assert read_boxes("voc", root, limit=2, classes=["dog"]).classes == ("dog",)
    assert len(read) == 2


def _some(split: str) -> Any:
    return read_boxes("fabricworld", "", split=split, limit=2)


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
