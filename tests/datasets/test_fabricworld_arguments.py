"""Every public entry of fabricworld answers wrong types, ranges and names with one sentence of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clipfast.datasets.box_samples import read_boxes
from clipfast.datasets.fabric_boxes import read_fabricworld
from clipfast.datasets.fabricworld import (
    Wishes,
    anomaly_samples,
    caption_samples,
    class_samples,
    compose,
    detection_samples,
    english_name,
    english_prompt,
    render,
    render_relation,
    write_folder,
    write_mvtec,
)
from clipfast.datasets.inspection import fabricworld_classes
from clipfast.errors import DataError, ShapeError

NOWHERE = Path("/nowhere")
NO_WHOLE_NUMBERS = (-1, 1.5, True, "3", None, [3], np.float32(2), float("nan"))
SMALL = Wishes(size=32)


NUMBERS: dict[str, Callable[[Any], object]] = {
    "seed of render": render,
    "seed of compose": lambda value: compose(value, SMALL),
    "seed of class_samples": lambda value: class_samples(value, per_fabric=1),
    "seed of detection_samples": lambda value: detection_samples(value, 1),
    "seed of caption_samples": lambda value: caption_samples(value, 1),
    "seed of anomaly_samples": lambda value: anomaly_samples(value, good=1, each=0),
    "seed of render_relation": lambda value: render_relation(value, "on"),
    "seed of write_folder": lambda value: write_folder(NOWHERE, fabrics=["felt"], per_fabric=1, seed=value),
    "seed of write_mvtec": lambda value: write_mvtec(NOWHERE, fabrics=["felt"], seed=value),
    "size": lambda value: render(0, size=value),
    "size of write_folder": lambda value: write_folder(NOWHERE, fabrics=["felt"], per_fabric=1, seed=0, size=value),
    "size of read_fabricworld": lambda value: read_fabricworld(size=value),
    "quality": lambda value: write_folder(NOWHERE, fabrics=["felt"], per_fabric=1, seed=0, quality=value),
    "per_fabric": lambda value: class_samples(0, per_fabric=value),
    "count of detection_samples": lambda value: detection_samples(0, value),
    "count of caption_samples": lambda value: caption_samples(0, value),
    "good": lambda value: anomaly_samples(0, good=value, each=0),
    "each": lambda value: anomaly_samples(0, good=0, each=value),
    "counts": lambda value: write_mvtec(NOWHERE, fabrics=["felt"], seed=0, counts={"train": value}),
}
OPTIONAL: dict[str, Callable[[Any], object]] = {  # None leaves them out
    "bolt": lambda value: Wishes(bolt=value),
    "limit": lambda value: read_fabricworld(limit=value),
    "limit of read_boxes": lambda value: read_boxes("voc", NOWHERE, limit=value),
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, value) for name in NUMBERS for value in NO_WHOLE_NUMBERS),
        *((name, value) for name in OPTIONAL for value in NO_WHOLE_NUMBERS if value is not None),
    ],
)
def test_what_is_no_whole_number_is_refused_before_anything_is_drawn(name: str, value: Any) -> None:
    """Types as well as ranges; None as a seed would draw another picture each time."""
    with pytest.raises(ShapeError, match=r"must be a whole number (of \d+ or more|from \d+ to \d+); got "):
        (NUMBERS | OPTIONAL)[name](value)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: render(0, size=32.5), "size must be a whole number from 32 to 4096; got 32.5"),  # type: ignore[arg-type]  # wrong on purpose
        (lambda: render(0, size="224"), "got '224'"),  # type: ignore[arg-type]  # wrong on purpose
        (lambda: render(0, objects=10), "from 0 to 9; got 10"),
        (lambda: render(0, objects=["star"] * 10), "the number of objects must be a whole number from 0 to 9; got 10"),
        (lambda: render(0, defects=["hole"] * 5), "the number of defects must be a whole number from 0 to 4; got 5"),
        (lambda: write_folder(NOWHERE, fabrics=["felt"], per_fabric=1, seed=0, quality=200), "from 1 to 95; got 200"),
        (lambda: class_samples(0, per_fabric=10**12), "from 1 to 1000000"),  # before memory is taken
        (lambda: render_relation(0, "on", objects=("star",) * 3), "of a relation must be a whole number from 2 to 2"),  # type: ignore[arg-type]  # wrong on purpose
    ],
)
def test_numbers_out_of_range(call: Callable[[], object], words: str) -> None:
    """The range, and what came."""
    with pytest.raises(ShapeError, match=words):
        call()


@pytest.mark.parametrize("wish", [1.5, None, True, -1, {"star": 1}])
@pytest.mark.parametrize("what", ["objects", "defects"])
def test_wishes_are_a_number_or_names(what: str, wish: Any) -> None:
    """Nothing else."""
    with pytest.raises(ShapeError, match=f"{what}, if no list of names, must be a whole number from 0 to"):
        render(0, **{what: wish})


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: render(0, objects=[3]), r"objects must be a list of names; got \[3\]"),  # type: ignore[list-item]  # wrong on purpose
        (lambda: render(0, objects="star"), r"got the text 'star'. Write \['star'\]"),
        (lambda: render(0, defects=[None]), "defects must be a list of names"),  # type: ignore[list-item]  # wrong on purpose
        (lambda: render(0, fabric=3), "fabric must be one of denim, .*; got 3"),  # type: ignore[arg-type]  # wrong on purpose
        (lambda: render(0, camera=None), "camera must be one of plain, varied; got None"),  # type: ignore[arg-type]  # wrong on purpose
        (lambda: compose(0, {"size": 32}), "wishes must be Wishes; got dict"),  # type: ignore[arg-type]  # wrong on purpose
        (lambda: class_samples(0, per_fabric=1, fabrics=["felt", "lace", "felt"]), "got 'felt' twice"),
        (lambda: class_samples(0, per_fabric=1, fabrics="felt"), r"fabrics must be a list .*Write \['felt'\]"),
        (lambda: class_samples(0, per_fabric=1, fabrics=3), "fabrics must be a list of names; got 3"),  # type: ignore[arg-type]  # wrong on purpose
        (lambda: write_mvtec(NOWHERE, fabrics=["felt", "felt"], seed=0), "got 'felt' twice"),
        (lambda: write_mvtec(NOWHERE, fabrics=["felt"], seed=0, counts=[3]), r"counts must say how many.*got \[3\]"),  # type: ignore[arg-type]  # wrong on purpose
        (lambda: anomaly_samples(0, good=1, each=1, wishes=Wishes(objects=2)), "objects cannot be wished for here"),
        (lambda: anomaly_samples(0, good=1, each=1, wishes=Wishes(defects=2)), "must be a list of kinds here; got 2"),
        (lambda: anomaly_samples(0, good=1, each=1, wishes=Wishes(defects=["hole"] * 2)), "got 'hole' twice"),
        (lambda: fabricworld_classes(["felt"], 0, wishes=Wishes(objects=2)), "objects cannot be wished for here"),
        (lambda: write_mvtec(NOWHERE, fabrics=["felt"], seed=0, wishes=Wishes(objects=1)), "cannot be wished for"),
        (lambda: render_relation(0, "on", wishes=Wishes(objects=2)), "a relation is between its own two objects"),
        (lambda: render_relation(0, "on", wishes=Wishes(defects=1)), "defects cannot be wished for here"),
        (lambda: render_relation(0, "on", objects="ab"), "objects must be a list of names; got the text 'ab'"),  # type: ignore[arg-type]  # wrong on purpose
        (lambda: render_relation(0, ["on"]), r"relation must be one of left of, .*; got \['on'\]"),  # type: ignore[arg-type]  # wrong on purpose
        (lambda: english_name(None), "name must be one of .*; got None"),  # type: ignore[arg-type]  # wrong on purpose
        (lambda: english_name(["felt"]), "name must be one of"),  # type: ignore[arg-type]  # wrong on purpose
        (lambda: english_prompt(3), "text must be a phrase; got 3"),  # type: ignore[arg-type]  # wrong on purpose
    ],
)
def test_names_and_wishes_that_cannot_be(call: Callable[[], object], words: str) -> None:
    """Unknown, twice, no list, or what a picture of this kind cannot hold."""
    with pytest.raises(DataError, match=words):
        call()


def test_whole_numbers_of_numpy_are_some() -> None:
    """What a loop over an array passes."""
    assert np.array_equal(render(np.int64(3), size=np.int32(40)).image, render(3, size=40).image)  # type: ignore[arg-type]  # taken where Python's are
