"""Which images are tuned on: never those that are scored."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from shutil import copyfile

import pytest

from clipfast.cli.clip_options import ClipOptions
from clipfast.cli.localize_run import LocalizeRun
from clipfast.datasets.box_samples import read_boxes
from clipfast.errors import DataError, MissingExtraError
from clipfast.surgery.localise_options import LocaliseOptions
from reference.box_folders import write_image, write_yolo

BOX = [("cat", (2.0, 3.0, 20.0, 30.0))]


def _run(folder: Path, **changes: object) -> LocalizeRun:
    plain = LocalizeRun(folder, "yolo", None, ("cat",), None, folder / "out", 0, None, 200, None)
    return replace(plain, **changes)  # type: ignore[arg-type]  # fields of LocalizeRun


def _videos(root: Path) -> Path:
    names = [f"{video}_{frame}" for video in ("north", "south") for frame in range(3)]
    write_yolo(root, dict.fromkeys(names, BOX), ["cat"])
    for level, name in enumerate(names):
        write_image(root / f"{name}.png", level=40 + level)  # no two are equal
    return root


def test_whole_sources_are_halved(tmp_path: Path) -> None:
    """One video to tune on, the other to score; a limit shortens each side, not the choice."""
    run = _run(_videos(tmp_path), limit=2, tune_limit=1)
    data = read_boxes("yolo", tmp_path, classes=["cat"])
    training, scored, source = run._training(data, seed=0)

    assert {sample.id[:5] for sample in training} | {sample.id[:5] for sample in scored} == {"north", "south"}
    assert {sample.id[:5] for sample in training} & {sample.id[:5] for sample in scored} == set()
    assert (len(training), len(scored)) == (1, 2)
    assert source == "about half of the sources, drawn with seed 0; the rest is scored"
    north = replace(data, samples=[sample for sample in data.samples if sample.id.startswith("north")])
    assert (
        run._training(north, seed=0)[2]
        == "half of the images, all of one source, drawn with seed 0; the rest is scored"
    )


def test_images_that_are_scored_too_are_left_out(tmp_path: Path) -> None:
    """The same bytes under another name; if nothing is left, that is an error."""
    _videos(tmp_path / "train")
    _videos(tmp_path / "test")
    write_image(tmp_path / "train" / "north_1.png", level=200)
    run = _run(tmp_path, split="test", tune_limit=200)
    data = read_boxes("yolo", tmp_path, split="test", classes=["cat"])
    training, scored, source = run._training(data, seed=0)

    assert [sample.id for sample in training] == ["north_1"]
    assert len(scored) == 6
    assert source == "split train; 5 that are scored too were left out"
    copyfile(tmp_path / "test" / "north_0.png", tmp_path / "train" / "north_1.png")
    with pytest.raises(DataError, match="tuning needs images that are not scored"):
        run._training(data, seed=0)


def test_the_split_that_is_tuned_on(tmp_path: Path) -> None:
    """Named, else train where another is scored, else halves."""
    assert _run(tmp_path, split="test")._split_to_tune_on() == "train"
    assert _run(tmp_path, split="test", tune_split="val")._split_to_tune_on() == "val"
    assert _run(tmp_path)._split_to_tune_on() is None
    assert _run(tmp_path, split="train")._split_to_tune_on() is None
    assert _run(tmp_path, format="fabricworld")._split_to_tune_on() == "train"


def test_a_refiner_never_learns_from_what_is_scored(tmp_path: Path) -> None:
    """Neither by the split's name, nor by the bytes of an image under another name, nor from a folder."""
    _videos(tmp_path / "train")
    _videos(tmp_path / "test")
    _videos(tmp_path / "other")
    run = _run(tmp_path, split="test")
    data = read_boxes("yolo", tmp_path, split="test", classes=["cat"])
    with pytest.raises(DataError, match=r"must not learn from what is scored; both are the split 'test'"):
        run._to_refine_on(data, "test")
    for named in ("train", f"{tmp_path}/other"):
        with pytest.raises(
            DataError, match=r"6 of 6 images of .* are scored too, such as north_0\. Score another split"
        ):
            run._to_refine_on(data, named)
    for at in range(3):
        write_image(tmp_path / "train" / f"north_{at}.png", level=200 + at)
        write_image(tmp_path / "train" / f"south_{at}.png", level=210 + at)
        write_image(tmp_path / "other" / f"north_{at}.png", level=220 + at)
        write_image(tmp_path / "other" / f"south_{at}.png", level=230 + at)

    assert len(run._to_refine_on(data, "train")[0]) == 6
    training, source, sha = replace(run, refine_limit=2)._to_refine_on(data, f"{tmp_path}/other")
    assert (len(training), source) == (2, f"folder {tmp_path}/other")
    assert sha != run._to_refine_on(data, "train")[2]


def test_what_cannot_be_refined(tmp_path: Path) -> None:
    """Boxes of another detector have no maps."""
    run = _run(_videos(tmp_path), predictions=tmp_path / "boxes.json", tune_limit=None, refine="train")
    with pytest.raises(DataError, match="no maps to learn from"):
        run.run(LocaliseOptions(), ClipOptions("mini"))


def test_regions_need_their_extra_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pip line comes first, not after the first image: there is not even a folder here."""
    monkeypatch.setitem(sys.modules, "skimage.segmentation", None)
    run = _run(tmp_path / "nowhere", tune_limit=None)
    for source in ("proposals", "snapped"):
        with pytest.raises(MissingExtraError, match=r"pip install 'clipfast\[proposals\]'"):
            run.run(LocaliseOptions(box_source=source), ClipOptions("mini"))
