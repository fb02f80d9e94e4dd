"""Tests of clipfast.anomaly.grid: data sets and requests with faults."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image

from clipfast.anomaly import MemoryOptions
from clipfast.anomaly.grid import recompute, run_grid
from clipfast.anomaly.grid.records import GridOptions
from clipfast.datasets.inspection import InspectionClass
from clipfast.datasets.mvtec import read_mvtec
from clipfast.errors import ArtifactError, DataError, FingerprintError, ShapeError
from reference.anomaly_stubs import JointStub
from reference.grid_cases import (
    CLASSES,
    OPTIONS,
    branch_report_of,
    cell_of,
    classes,
    contents,
    request,
    sample,
    write_mvtec_folders,
)

pytestmark = pytest.mark.usefixtures("unflushed")


def changed(name: str, **parts: Any) -> dict[str, InspectionClass]:
    """The data set with a class that is another one."""
    data = classes()
    return data | {name: replace(data[name], **parts)}


def test_a_class_without_damaged_images_has_no_figures_and_says_so(tmp_path: Path) -> None:
    """Its scores are there; the other classes' figures and the means over them are, too."""
    data = classes()
    data["felt"] = replace(data["felt"], test=data["felt"].test[:3])
    found = run_grid(JointStub(), data, tmp_path, request(shots=(2,), seeds=(0,)))
    felt = cell_of(found, "felt", 2, 0)

    assert felt.image is not None
    assert felt.pixel is not None
    assert (felt.image.modes, felt.pixel.modes, felt.image.anomalous) == ({}, {}, 0)
    assert "got 0 positives among 3 items" in (felt.image.undefined or "")
    assert "none of 3 does" in (felt.pixel.undefined or "")
    assert len(felt.scores["memory"]) == 3
    denim, linen = (cell_of(found, name, 2, 0).image for name in ("denim", "linen"))
    (mean,) = [r for r in found.summary if (r.class_name, r.level, r.mode) == (None, "image", "memory")]
    assert denim is not None
    assert linen is not None
    assert mean.figures["auroc"].mean == np.mean([denim.modes["memory"].auroc, linen.modes["memory"].auroc])


@pytest.mark.parametrize("tasks", [("cls", "seg"), ("cls",)])
def test_a_class_without_test_images_has_no_figures_and_says_so(tasks: tuple[Any, ...], tmp_path: Path) -> None:
    """The other classes are judged."""
    asked = request(shots=(2,), seeds=(0,), tasks=tasks)
    found = run_grid(JointStub(), changed("felt", test=()), tmp_path, asked)
    felt, linen = (cell_of(found, name, 2, 0) for name in ("felt", "linen"))

    assert felt.image is not None
    assert (felt.image.modes, felt.image.anomalous, felt.image.intact) == ({}, 0, 0)
    assert felt.image.undefined
    assert felt.pixel is None or (felt.pixel.modes == {} and felt.pixel.undefined)
    assert linen.image is not None
    assert linen.image.modes
    assert recompute(tmp_path).results == found


def test_empty_masks_are_counted_and_leave_pixels_undefined(tmp_path: Path) -> None:
    """Images are judged all the same; one mask that is left makes figures."""
    test = classes()["felt"].test
    blank = tuple(replace(one, mask=np.zeros((36, 48), np.uint8)) if one.is_anomalous else one for one in test)
    found = run_grid(JointStub(), changed("felt", test=blank), tmp_path / "a", request(shots=(2,), seeds=(0,)))
    felt = cell_of(found, "felt", 2, 0)

    assert felt.image is not None
    assert felt.pixel is not None
    assert felt.image.modes["memory"].auroc > 0
    assert felt.pixel.undefined is not None
    assert [(each.empty_masks, each.lost_masks) for each in found.classes] == [(0, 0), (3, 0), (0, 0)]
    thin = np.zeros((36, 48), np.uint8)
    thin[20] = 1  # between the rows that are taken
    lines = tuple(replace(one, mask=thin) if one.is_anomalous else one for one in (*blank[:4], *test[4:]))
    lost = run_grid(JointStub(), changed("felt", test=lines), tmp_path / "c", request(shots=(2,), seeds=(0,)))
    assert [(each.empty_masks, each.lost_masks) for each in lost.classes] == [(0, 0), (0, 3), (0, 0)]
    assert recompute(tmp_path / "c").results == lost
    assert "3 damaged images whose mask is too thin" in branch_report_of(tmp_path / "c")
    partly = run_grid(
        JointStub(), changed("felt", test=(*blank[:5], test[5])), tmp_path / "b", request(shots=(2,), seeds=(0,))
    )
    assert cell_of(partly, "felt", 2, 0).pixel.modes["memory"].aupro is not None  # type: ignore[union-attr]  # there is a pixel level


def test_a_mask_of_another_size_stops_it_before_anything_is_encoded(tmp_path: Path) -> None:
    """By the sentence that names it."""
    root = write_mvtec_folders(tmp_path / "data", classes())
    mask = next((root / "felt/ground_truth/spot").iterdir())
    Image.new("L", (48, 35)).save(mask)
    with pytest.raises(DataError, match=f"{mask.name} must have the size of its image, 48 x 36; got 48 x 35"):
        run_grid(JointStub(), read_mvtec(root), tmp_path / "grid", request())
    assert not (tmp_path / "grid/branches").exists()


def test_missing_masks_are_named_and_images_can_be_judged_without(tmp_path: Path) -> None:
    """With the task that needs none."""
    test = tuple(replace(one, mask=None) for one in classes()["felt"].test)
    with pytest.raises(DataError, match=r"felt/test/spot/1060 is damaged and has no mask.*--tasks cls"):
        run_grid(JointStub(), changed("felt", test=test), tmp_path, request())
    found = run_grid(JointStub(), changed("felt", test=test), tmp_path, request(tasks=("cls",)))

    assert found.tasks == ("cls",)


def test_more_shots_than_intact_images_are_refused(tmp_path: Path) -> None:
    """With the class and the numbers; an image that is there twice counts once."""
    with pytest.raises(DataError, match="6 shots of denim need as many intact images to choose from; there are 5"):
        run_grid(JointStub(), classes(), tmp_path, request(shots=(1, 6)))
    train = classes()["felt"].train
    twice = (*train[:4], replace(train[3], key="felt/train/good/copy"))
    with pytest.raises(DataError, match="5 shots of felt need as many intact images to choose from; there are 4"):
        run_grid(JointStub(), changed("felt", train=twice), tmp_path, request(shots=(5,)))
    assert not (tmp_path / "grid.json").exists()


def test_a_support_image_among_the_test_images_is_refused(tmp_path: Path) -> None:
    """By content, whatever it is called."""
    data = classes()["felt"]
    leaked = replace(data.train[0], key="felt/test/good/renamed")
    with pytest.raises(DataError, match=r"felt/test/good/renamed of the test images of felt is felt/train/good"):
        run_grid(JointStub(), changed("felt", test=(*data.test, leaked)), tmp_path, request(shots=(5,)))


def test_copies_in_other_files_are_found_by_their_pixels(tmp_path: Path) -> None:
    """A training image that was saved again among the test images, and one twice in the pool; JPEGs are others."""
    root = write_mvtec_folders(tmp_path / "data", classes())
    intact = root / "felt/train/good/1000.png"
    Image.open(intact).save(intact.with_name("again.png"), compress_level=0)
    with pytest.raises(DataError, match="6 shots of felt need as many intact images to choose from; there are 5"):
        run_grid(JointStub(), {"felt": read_mvtec(root)["felt"]}, tmp_path / "grid", request(shots=(6,)))
    Image.open(intact).save(root / "felt/test/good/copy.bmp")
    with pytest.raises(DataError, match=r"copy\.bmp of the test images of felt is felt/train/good/1000\.png"):
        run_grid(JointStub(), read_mvtec(root), tmp_path / "grid", request())
    (root / "felt/test/good/copy.bmp").unlink()
    Image.open(intact).save(root / "felt/test/good/copy.jpg")
    run_grid(JointStub(), read_mvtec(root), tmp_path / "grid", request(shots=(1,), seeds=(0,), tasks=("cls",)))


def test_a_grid_that_goes_on_decodes_nothing_that_it_knows(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checksums of pixels are in the plan, by those of the files."""
    monkeypatch.setattr("clipfast.anomaly.grid.plan.pixel_digest", lambda image: pytest.fail("decoded again"))
    run_grid(JointStub(), classes(), whole, request())


def test_leaks_and_contradictions_are_found_whichever_support_is_chosen(tmp_path: Path) -> None:
    """Any training image among the test images, and one image with two truths; a copy is counted and reported."""
    felt = classes()["felt"]
    for one in felt.train:
        leak = (*felt.test, replace(one, key="felt/test/good/copy"))
        with pytest.raises(DataError, match=f"felt/test/good/copy of the test images of felt is {one.key}"):
            run_grid(JointStub(), changed("felt", test=leak), tmp_path, request(shots=(1,), seeds=(0,)))
    both = (*felt.test, replace(felt.test[0], key="felt/test/spot/copy", label="spot", mask=felt.test[5].mask))
    with pytest.raises(DataError, match=f"felt/test/spot/copy and {felt.test[0].key} are one image, once spot"):
        run_grid(JointStub(), changed("felt", test=both), tmp_path, request())
    twice = (*felt.test, replace(felt.test[0], key="felt/test/good/copy"))
    run_grid(JointStub(), changed("felt", test=twice), tmp_path, request(shots=(1,), seeds=(0,), tasks=("cls",)))
    assert "felt of stub has 7 test images, of which 1 are copies" in branch_report_of(tmp_path)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (OPTIONS, DataError),
        (msgspec.structs.replace(OPTIONS, aupro_limit=2.0), ShapeError),
        (msgspec.structs.replace(OPTIONS, sigma=-1.0), ShapeError),
    ],
)
def test_what_cannot_go_on_is_refused_before_the_directory_is_claimed(
    options: GridOptions, error: type[Exception], tmp_path: Path
) -> None:
    """A name that texts cannot hold, and options out of range: the same folder can be used for the mended request."""
    data = classes(["denim", "felt", "zip_ü" if error is DataError else "linen"])
    with pytest.raises(error):
        run_grid(JointStub(), data, tmp_path, request(shots=(1,), seeds=(0,), tasks=("cls",), options=options))
    assert not list(tmp_path.iterdir())
    if error is DataError:
        run_grid(JointStub(), data, tmp_path, request(shots=(1,), seeds=(0,), tasks=("cls",), called={"zip_ü": "zip"}))


class OtherStub(JointStub):
    """Another model."""

    name = "other"


@pytest.mark.parametrize(
    ("model", "data", "options", "message"),
    [
        # what differs, and the sentence that says it
        (OtherStub, {}, OPTIONS, r"made by another model: stub fp32 .* there, other fp32 .* now"),
        (JointStub, {}, msgspec.structs.replace(OPTIONS, sigma=2.0), "options.sigma is 1.0 there and 2.0 now"),
        (
            JointStub,
            {},
            msgspec.structs.replace(OPTIONS, memory=MemoryOptions(coreset=0.5)),
            "options.memory.coreset is 1.0 there and 0.5 now",
        ),
        (JointStub, {"wool": None}, OPTIONS, "now there are the classes wool, too"),
        (JointStub, {"felt": "pool"}, OPTIONS, "2 intact images of felt differ, first felt/train/good/0009"),
        (JointStub, {"felt": "mask"}, OPTIONS, "the masks of felt differ"),
    ],
)
def test_stale_cells_are_refused_with_what_differs(
    model: type[JointStub], data: dict[str, str | None], options: Any, message: str, whole: Path
) -> None:
    """And nothing of the directory is changed."""
    before, given = contents(whole), classes([*CLASSES, *(name for name, part in data.items() if part is None)])
    if data.get("felt") == "pool":
        given["felt"] = replace(given["felt"], train=(*given["felt"].train[1:], sample("felt", "train/good", 9)))
    if data.get("felt") == "mask":
        test = given["felt"].test
        whole_mask = replace(test[-1], mask=np.ones((36, 48), np.uint8))
        given["felt"] = replace(given["felt"], test=(*test[:-1], whole_mask))
    kind = FingerprintError if model is OtherStub else DataError
    with pytest.raises(kind, match=message):
        run_grid(model(), given, whole, request(options=options))
    assert contents(whole) == before


@pytest.mark.parametrize("kind", ["cells", "branches"])
def test_files_of_another_grid_are_refused(kind: str, whole: Path, tmp_path: Path) -> None:
    """Copied into the directory; damaged ones, too."""
    other = msgspec.structs.replace(OPTIONS, sigma=2.0)
    run_grid(JointStub(), classes(), tmp_path, request(options=other))
    suffix = {"cells": "json", "branches": "npz"}[kind]
    name = f"{kind}/felt/shots1_seed0.{suffix}"
    (tmp_path / "cells/felt/shots1_seed0.json").unlink()
    (tmp_path / name).write_bytes(contents(whole)[name])
    with pytest.raises(ArtifactError, match="of a grid with other data, options or model"):
        run_grid(JointStub(), classes(), tmp_path, request(options=other))
    (tmp_path / name).write_bytes(contents(whole)[name][:-1])
    with pytest.raises(ArtifactError, match=r"shots1_seed0"):
        run_grid(JointStub(), classes(), tmp_path, request(options=other))


@pytest.mark.parametrize(
    "asked", [{"shots": ()}, {"shots": (0,)}, {"seeds": (-1,)}, {"tasks": ("all",)}, {"shots": 1}, {"shots": ("1",)}]
)
def test_requests_that_make_no_sense(asked: dict[str, Any]) -> None:
    """Nothing, or what cannot be."""
    with pytest.raises(DataError, match="shots"):
        request(**asked)
