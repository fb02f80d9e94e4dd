"""Tests of clipfast.datasets.inspection, mvtec and visa."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clipfast.datasets.fabricworld import Wishes, write_mvtec
from clipfast.datasets.inspection import InspectionClass, InspectionSample, fabricworld_classes, mask_of
from clipfast.datasets.mvtec import read_mvtec
from clipfast.datasets.visa import read_visa
from clipfast.errors import DataError, ShapeError


@pytest.fixture
def mvtec(tmp_path: Path) -> Path:
    """Two classes in MVTec's layout, rendered."""
    root = tmp_path / "mvtec"
    wishes = Wishes(size=48, defects=["hole", "stain"])
    write_mvtec(
        root, fabrics=["plain weave", "denim"], seed=1, counts={"train": 3, "good": 2, "each": 2}, wishes=wishes
    )
    return root


@pytest.fixture
def visa(tmp_path: Path) -> Path:
    """Two classes in VisA's layout; masks number their defects."""
    root = tmp_path / "visa"
    lines = ["object,split,label,image,mask"]
    for name in ("candle", "abacus"):
        for split, label, number in (
            ("train", "normal", 0),
            ("train", "normal", 1),
            ("test", "normal", 2),
            ("test", "anomaly", 3),
        ):
            image = f"{name}/Data/Images/{label.title()}/{number:03}.JPG"
            mask = f"{name}/Data/Masks/Anomaly/{number:03}.png" if label == "anomaly" else ""
            (root / image).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (20, 10), (number, 0, 0)).save(root / image, "JPEG")
            if mask:
                values = np.zeros((10, 20), np.uint8)
                values[2:4, 5:10] = 3
                (root / mask).parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(values).save(root / mask)
            lines.append(f"{name},{split},{label},{image},{mask}")
    (root / "split_csv").mkdir()
    (root / "split_csv/1cls.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


def test_classes_of_mvtec_are_read_in_order(mvtec: Path) -> None:
    """Names, splits, labels, keys and masks."""
    classes = read_mvtec(mvtec)
    denim = classes["denim"]

    assert list(classes) == ["denim", "plain_weave"]
    assert [sample.key for sample in denim.train] == [f"denim/train/good/00{i}.png" for i in range(3)]
    assert [sample.label for sample in denim.test] == ["good", "good", "hole", "hole", "stain", "stain"]
    assert denim.labels == [0, 0, 1, 1, 1, 1]
    assert denim.test[2].mask == mvtec / "denim/ground_truth/hole/000_mask.png"
    assert read_mvtec(mvtec / "denim")["denim"].test[5].key == "denim/test/stain/001.png"
    assert read_mvtec(mvtec, masks=False)["denim"].test[2].mask is None


def test_masks_are_those_that_were_rendered(mvtec: Path) -> None:
    """At their own size equal to the file, at half of it the nearest pixels, and zeros for intact images."""
    damaged, intact = read_mvtec(mvtec)["denim"].test[2], read_mvtec(mvtec)["denim"].test[0]
    file = np.asarray(Image.open(str(damaged.mask))) > 0

    assert np.array_equal(mask_of(damaged, (48, 48)), file)
    assert np.array_equal(mask_of(damaged, (24, 24)), file[1::2, 1::2])
    assert set(np.unique(mask_of(damaged, (100, 90)))) == {0, 1}
    assert not mask_of(intact, (5, 7)).any()


def test_a_class_without_damaged_test_images_is_read(mvtec: Path) -> None:
    """What is undefined for it is for the evaluation to say."""
    for kind in ("hole", "stain"):
        for path in (mvtec / "denim/test" / kind).iterdir():
            path.unlink()

    assert set(read_mvtec(mvtec)["denim"].labels) == {0}


def test_missing_masks_are_counted_and_named(mvtec: Path) -> None:
    """Two of one class; without masks the class can still be judged by images."""
    for number in (0, 1):
        (mvtec / f"denim/ground_truth/stain/00{number}_mask.png").unlink()

    with pytest.raises(DataError, match=r"2 masks of denim are missing, first .*stain/000_mask.png"):
        read_mvtec(mvtec)
    assert len(read_mvtec(mvtec, masks=False)["denim"].test) == 6


def test_masks_of_another_size_and_files_that_are_none(mvtec: Path) -> None:
    """Both are refused when they are read."""
    damaged = read_mvtec(mvtec)["denim"].test[2]
    Image.new("L", (47, 48)).save(str(damaged.mask))
    with pytest.raises(DataError, match="must have the size of its image, 48 x 48; got 47 x 48"):
        mask_of(damaged, (48, 48))
    Path(str(damaged.mask)).write_text("no")
    with pytest.raises(DataError, match="cannot be read as a mask"):
        mask_of(damaged, (48, 48))
    with pytest.raises(ShapeError, match="size_hw must be two whole numbers"):
        mask_of(damaged, (0, 4))
    with pytest.raises(DataError, match="its mask was not read"):
        mask_of(read_mvtec(mvtec, masks=False)["denim"].test[2], (48, 48))


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.zeros((5, 7), np.uint8), "the mask of a must have the size of its image, 48 x 36; got 7 x 5"),
        (np.zeros((0, 0), np.uint8), "must be"),
        (np.zeros((36, 48, 3), np.uint8), r"must be \(h, w\) of integers or bool; got \(36, 48, 3\)"),
        (np.full((36, 48), 0.1), "of float64"),
    ],
)
def test_arrays_that_are_no_masks_of_their_image(mask: Any, message: str) -> None:
    """As strict as for files; bool and integers beyond a byte are masks."""
    image = np.zeros((36, 48, 3), np.uint8)
    with pytest.raises(DataError, match=message):
        mask_of(InspectionSample("a", image, "hole", mask), (18, 24))
    for good in (np.ones((36, 48), bool), np.full((36, 48), 256, np.int32)):
        assert mask_of(InspectionSample("a", image, "hole", good), (18, 24)).all()  # type: ignore[arg-type]  # taken too


def test_a_turned_photo_has_an_upright_mask(tmp_path: Path) -> None:
    """The mask goes with what the encoder sees; where the orientation is ignored, with what is stored."""
    photo, mask = tmp_path / "a.jpg", tmp_path / "a.png"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 20)).save(photo, exif=exif)
    Image.new("L", (20, 40)).save(mask)
    sample = InspectionSample("a", photo, "hole", mask)

    assert mask_of(sample, (8, 4)).shape == (8, 4)
    with pytest.raises(DataError, match="40 x 20; got 20 x 40"):
        mask_of(sample, (8, 4), exif="ignore")


def test_an_empty_mask_stays_empty(mvtec: Path) -> None:
    """Some data sets have damaged images whose mask marks nothing."""
    damaged = read_mvtec(mvtec)["denim"].test[2]
    Image.new("L", (48, 48)).save(str(damaged.mask))

    assert not mask_of(damaged, (48, 48)).any()


@pytest.mark.parametrize("missing", ["", "train", "train/good"])
def test_folders_that_are_no_class_are_refused(missing: str, tmp_path: Path) -> None:
    """Nothing there, an empty class, and one without intact images."""
    (tmp_path / "carpet" / missing).mkdir(parents=True)
    with pytest.raises(DataError, match=r"holds no class|has no train/good|no intact training image"):
        read_mvtec(tmp_path)
    with pytest.raises(DataError, match="No folder at"):
        read_mvtec(tmp_path / "nowhere")


def test_classes_of_visa_follow_the_csv(visa: Path) -> None:
    """Splits and labels by the file, masks above 0."""
    classes = read_visa(visa)
    candle = classes["candle"]

    assert list(classes) == ["abacus", "candle"]
    assert [sample.key.split("/")[-1] for sample in candle.train] == ["000.JPG", "001.JPG"]
    assert [sample.label for sample in candle.test] == ["good", "anomaly"]
    assert mask_of(candle.test[1], (10, 20)).sum() == 10
    assert read_visa(visa, masks=False)["candle"].test[1].mask is None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("object,split", "thing,split", "must have the columns object, split"),
        ("candle,test,anomaly", "candle,valid,anomaly", "line 5: split must be train or test"),
        ("candle,test,anomaly", "candle,test,odd", "line 5: split must be train or test"),
        ("candle/Data/Masks/Anomaly/003.png", "", "line 5: a damaged image must have a mask"),
        ("candle/Data/Masks/Anomaly/003.png", "../003.png", "stay inside the data set"),
        ("candle/Data/Masks/Anomaly/003.png", "/003.png", "stay inside the data set"),
        ("Normal/002.JPG", "Normal/009.JPG", "2 files of .* are missing"),
        ("train,normal", "test,normal", "no intact training image"),
        ("train,normal", "train,anomaly", "must be intact|must have a mask"),
    ],
)
def test_split_files_that_cannot_be_meant(old: str, new: str, message: str, visa: Path) -> None:
    """Each fault has its sentence and its line."""
    file = visa / "split_csv/1cls.csv"
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(DataError, match=message):
        read_visa(visa)


def test_no_split_file(tmp_path: Path) -> None:
    """The message says what VisA comes with."""
    with pytest.raises(DataError, match=r"split_csv/1cls.csv"):
        read_visa(tmp_path)


def test_cloth_is_rendered_as_classes() -> None:
    """Counts, exact masks, Chinese names; a fabric does not depend on the others."""
    wishes = Wishes(size=32, defects=["hole"])
    both = fabricworld_classes(["亚麻布", "denim"], 3, train=2, good=1, each=2, wishes=wishes)
    alone = fabricworld_classes(["denim"], 3, train=2, good=1, each=2, wishes=wishes)["denim"]

    assert list(both) == ["linen", "denim"]
    assert [sample.label for sample in alone.test] == ["good", "hole", "hole"]
    assert mask_of(alone.test[1], (32, 32)).any()
    for one, other in zip(both["denim"].test, alone.test, strict=True):
        assert one.key == other.key
        assert np.array_equal(np.asarray(one.image), np.asarray(other.image))
    with pytest.raises(DataError, match="fabrics must be of"):
        fabricworld_classes(["hole"], 3)
    with pytest.raises(ShapeError, match="train must be a whole number of 1 or more"):
        fabricworld_classes(["denim"], 3, train=0)


def test_damaged_training_images_are_refused() -> None:
    """A support is chosen from them."""
    bad: Any = InspectionSample("a.png", b"", "hole")
    with pytest.raises(DataError, match=r"must be intact; a\.png is not"):
        InspectionClass("a", (bad,), ())
