"""Iterators and folders of the procedural world: labels, boxes, pieces of one product, MVTec's layout."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clipfast.datasets.fabricworld import (
    COLOURS,
    DEFECTS,
    FABRICS,
    SHAPES,
    Wishes,
    anomaly_samples,
    caption_samples,
    class_samples,
    compose,
    detection_samples,
    write_mvtec,
)
from clipfast.errors import DataError, ShapeError


def test_classes_take_turns_in_colour() -> None:
    """Picture `i` of every fabric has the same colour, and labels are names, keys folder names."""
    samples = list(class_samples(1, per_fabric=3, fabrics=["polka dots", "felt"], wishes=Wishes(size=48)))

    assert [sample.label for sample in samples] == ["polka dots"] * 3 + ["felt"] * 3
    assert samples[0].key == "polka_dots/ref_01"
    colours = [next(name for name in COLOURS if f" {name} " in sample.caption) for sample in samples]
    assert colours[:3] == colours[3:]
    assert len(set(colours)) == 3


def test_all_classes_are_given_by_default() -> None:
    """Without names, every fabric comes once."""
    assert [sample.label for sample in class_samples(0, per_fabric=1, wishes=Wishes(size=32))] == list(FABRICS)


def test_detection_has_a_box_for_each_name() -> None:
    """One to three objects of known shapes and colours, boxes as rows."""
    samples = list(detection_samples(5, 12, wishes=Wishes(size=96)))

    assert {len(sample.names) for sample in samples} == {1, 2, 3}
    for sample in samples:
        assert sample.boxes.shape == (len(sample.names), 4)
        assert sample.boxes.dtype == np.float32
        for name in sample.names:
            colour, shape = name.split()
            assert (colour in COLOURS, shape in SHAPES) == (True, True)
    assert next(detection_samples(5, 1, wishes=Wishes(objects=["red star"]))).names == ("red star",)


def test_captions_vary_in_what_they_say() -> None:
    """Some pictures show objects, some damage, some neither, and the captions say so."""
    samples = list(caption_samples(0, 30, wishes=Wishes(size=64)))

    assert 5 < sum(bool(sample.names) for sample in samples) < 25
    assert 3 < sum(sample.mask.any() for sample in samples) < 20
    assert all(name in sample.caption for sample in samples for name in sample.names)
    assert len({sample.key for sample in samples}) == 30


def test_pieces_of_a_product_share_their_threads() -> None:
    """The direction and the period of stripes are those of the bolt; another bolt has others; no piece is a copy."""

    def spectrum(seed: int, bolt: int) -> tuple[int, int]:
        scene = compose(seed, Wishes(fabric="stripes", colour="blue", bolt=bolt))
        power = np.abs(np.fft.rfft2(scene.image[..., 0] - scene.image[..., 0].mean()))
        row, column = np.unravel_index(power.argmax(), power.shape)
        return int(row), int(column)

    pieces = [spectrum(seed, 3) for seed in range(4)]
    others = [spectrum(seed, bolt) for seed, bolt in itertools.product(range(1), range(4, 8))]

    assert len(set(pieces)) == 1
    assert len(set(others)) > 1


def test_anomaly_samples_are_good_first() -> None:
    """Intact pieces have empty masks, damaged ones masks, and every kind comes as often as asked for."""
    samples = list(anomaly_samples(2, good=3, each=2, wishes=Wishes(size=64)))

    assert [sample.label for sample in samples[:3]] == ["good"] * 3
    assert not any(sample.mask.any() for sample in samples[:3])
    assert all(sample.mask.any() and set(np.unique(sample.mask)) <= {0, 1} for sample in samples[3:])
    assert [sample.label for sample in samples[3:]] == [kind for kind in DEFECTS for _ in range(2)]
    assert len({sample.image.tobytes() for sample in samples}) == len(samples)


def test_mvtec_layout(tmp_path: Path) -> None:
    """What a reader of MVTec AD looks for is there, readable, and nothing else."""
    wishes = Wishes(defects=["hole", "missing stitches"], size=48)
    paths = write_mvtec(
        tmp_path, fabrics=["polka dots"], seed=1, counts={"train": 3, "good": 2, "each": 2}, wishes=wishes
    )

    found = sorted(path.relative_to(tmp_path / "polka_dots").as_posix() for path in tmp_path.rglob("*.png"))
    assert found == [
        "ground_truth/hole/000_mask.png",
        "ground_truth/hole/001_mask.png",
        "ground_truth/missing_stitches/000_mask.png",
        "ground_truth/missing_stitches/001_mask.png",
        "test/good/000.png",
        "test/good/001.png",
        "test/hole/000.png",
        "test/hole/001.png",
        "test/missing_stitches/000.png",
        "test/missing_stitches/001.png",
        "train/good/000.png",
        "train/good/001.png",
        "train/good/002.png",
    ]
    assert sorted(paths) == sorted(path for path in tmp_path.rglob("*") if path.is_file())
    for mask in tmp_path.rglob("*_mask.png"):
        with (
            Image.open(mask) as image,
            Image.open(str(mask).replace("ground_truth", "test").replace("_mask", "")) as photo,
        ):
            assert (image.mode, image.size) == ("L", photo.size)
            assert set(np.unique(np.asarray(image))) == {0, 255}


def test_mvtec_is_checked_before_it_is_written(tmp_path: Path) -> None:
    """A wrong argument leaves nothing behind."""
    for error, words, arguments in (
        (DataError, "fabric must be one of denim", {"fabrics": ["velour"]}),
        (DataError, "a key of counts must be one of train, good, each; got 'test'", {"counts": {"test": 1}}),
        (ShapeError, r"counts\['train'\] must be a whole number", {"counts": {"train": -1}}),
    ):
        with pytest.raises(error, match=words):
            write_mvtec(tmp_path, **({"fabrics": ["denim"], "seed": 0} | arguments))  # type: ignore[arg-type]  # of mixed types
    assert list(tmp_path.iterdir()) == []
