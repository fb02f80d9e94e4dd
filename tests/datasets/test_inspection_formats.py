"""Tests of clipfast.datasets.inspection_formats and kind_folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clipfast.datasets.inspection_formats import INSPECTION_FORMATS, InspectionQuery, read_inspection
from clipfast.datasets.kind_folders import read_kind_folders
from clipfast.errors import DataError


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Two classes of own data: five intact images and two kinds of defects with masks."""
    for name in ("zip", "button"):
        for kind, count in (("good", 5), ("cut", 2), ("stain", 1)):
            for number in range(count):
                path = tmp_path / "own" / name / kind / f"{number:03}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (20, 10), (number, len(kind), len(name))).save(path)
                if kind != "good":
                    mask = tmp_path / "own" / name / "ground_truth" / kind / f"{number:03}_mask.png"
                    mask.parent.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(np.eye(10, 20, dtype=np.uint8) * 255).save(mask)
    return tmp_path / "own"


def test_own_folders_are_split_without_a_training_split(own: Path) -> None:
    """No intact image is on both sides, all are on one; kinds are labels, masks belong to their images."""
    found = read_kind_folders(own)
    each = found["zip"]
    sides = [{s.key for s in part if not s.is_anomalous} for part in (each.train, each.test)]

    assert list(found) == ["button", "zip"]
    assert sides[0] | sides[1] == {f"zip/good/{i:03}.png" for i in range(5)}
    assert (len(sides[0]), len(sides[1])) == (3, 2)
    assert [s.label for s in each.test] == ["good", "good", "cut", "cut", "stain"]
    assert each.test[2].mask == own / "zip/ground_truth/cut/000_mask.png"
    assert [s.key for s in read_kind_folders(own / "zip")["zip"].train] == [s.key for s in each.train]


def test_own_folders_that_lack_something(own: Path) -> None:
    """Masks, intact images, or everything."""
    (own / "zip/ground_truth/cut/001_mask.png").unlink()
    with pytest.raises(DataError, match=r"1 masks of zip are missing, first .*001_mask\.png"):
        read_kind_folders(own)
    assert read_kind_folders(own, masks=False)["zip"].test[2].mask is None
    for path in list((own / "zip/good").iterdir())[1:]:
        path.unlink()
    with pytest.raises(DataError, match="two intact images"):
        read_kind_folders(own, masks=False)
    with pytest.raises(DataError, match="holds no class"):
        read_kind_folders(own / "nowhere")


def test_formats_by_name(own: Path) -> None:
    """Classes are chosen by name; an unknown format or class is refused with what there is."""
    assert set(INSPECTION_FORMATS) == {"mvtec", "visa", "fabricworld", "textiles", "folder"}
    assert list(read_inspection("folder", own, InspectionQuery(classes=("zip",)))) == ["zip"]
    with pytest.raises(DataError, match="holds the classes button, zip; got shoe"):
        read_inspection("folder", own, InspectionQuery(classes=("zip", "shoe")))
    with pytest.raises(DataError, match="format must be one of mvtec"):
        read_inspection("coco", own)
    with pytest.raises(DataError, match=r"no masks.*--tasks cls"):
        read_inspection("textiles", own)


def test_rendered_classes_do_not_depend_on_the_processes() -> None:
    """One after the other, or side by side."""
    asked = {"classes": ("felt", "denim"), "train": 1, "good": 1, "each": 0}
    one, two = (
        read_inspection("fabricworld", "any", InspectionQuery(**asked, processes=count))  # type: ignore[arg-type]  # fields of InspectionQuery
        for count in (1, 2)
    )

    assert list(one) == list(two) == ["denim", "felt"]
    for name in one:
        for mine, other in zip(one[name].test, two[name].test, strict=True):
            assert mine.key == other.key
            np.testing.assert_array_equal(mine.image, other.image)
