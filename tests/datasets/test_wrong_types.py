"""Every public entry of data sets answers wrong types with one sentence of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clipfast.datasets.box_samples import read_boxes
from clipfast.datasets.box_splits import split_by_source
from clipfast.datasets.folders import iter_fabric_images, list_fabrics, list_images, scan_fabrics
from clipfast.datasets.inspection import InspectionSample, fabricworld_classes, mask_of
from clipfast.datasets.inspection_formats import InspectionQuery, read_inspection
from clipfast.datasets.kind_folders import read_kind_folders
from clipfast.datasets.mvtec import read_mvtec
from clipfast.datasets.shifts import replace_background, shifted
from clipfast.datasets.textiles import read_simulated_textiles, read_tiles
from clipfast.datasets.visa import read_visa
from clipfast.errors import ClipfastError

HERE = Path(__file__).parent
IMAGE = np.zeros((8, 8, 3), np.uint8)
WRONG: tuple[Any, ...] = (5, 1.5, True, [3], {"a": 1}, b"x", object())

CALLS: dict[str, Callable[[Any], Any]] = {
    "format": lambda value: read_boxes(value, HERE),
    "folder": lambda value: read_boxes("voc", value),
    "folder, any format": lambda value: read_boxes("auto", value),
    "split": lambda value: read_boxes("fabricworld", "", split=value),
    "classes": lambda value: read_boxes("fabricworld", "", classes=value),
    "share": lambda value: split_by_source(read_boxes("fabricworld", "", limit=2), value, 0),
    "seed of a split": lambda value: split_by_source(read_boxes("fabricworld", "", limit=2), 0.5, value),
    "fabrics of a folder": list_fabrics,
    "images of a folder": list_images,
    "photos of a folder": lambda value: next(iter_fabric_images(value)),
    "fabric folder": scan_fabrics,
    "format of inspection": lambda value: read_inspection(value, HERE),
    "root of inspection": lambda value: read_inspection("mvtec", value),
    "query": lambda value: read_inspection("mvtec", HERE, value),
    "classes of a query": lambda value: InspectionQuery(classes=value),
    "mvtec": read_mvtec,
    "visa": read_visa,
    "split file of visa": lambda value: read_visa(HERE, split_csv=value),
    "folders of kinds": read_kind_folders,
    "textiles": read_simulated_textiles,
    "photos of tiles": lambda value: read_tiles(value, HERE),
    "masks of tiles": lambda value: read_tiles(HERE, value),
    "fabrics to render": lambda value: fabricworld_classes(value, 0),
    "sample of a mask": lambda value: mask_of(value, (4, 4)),
    "size of a mask": lambda value: mask_of(InspectionSample("a", IMAGE, "good"), value),
    "image to shift": lambda value: shifted(value, "dark"),
    "shift": lambda value: shifted(IMAGE, value),
    "background": lambda value: replace_background(IMAGE, IMAGE[..., 0], value),
}  # fmt: skip
# 5 is a seed, and whole numbers are what these take: what is wrong for them is another list.
NUMBERS: dict[str, Callable[[Any], Any]] = {
    "train": lambda value: fabricworld_classes(["felt"], 0, train=value),
    "train of textiles": lambda value: read_simulated_textiles(HERE, train=value),
    "tile": lambda value: read_tiles(HERE, HERE, tile=value),
    "seed of a split": CALLS.pop("seed of a split"),
    "seed of a shift": lambda value: shifted(IMAGE, "noise", seed=value),
    "good of a query": lambda value: InspectionQuery(good=value),
    "each of a query": lambda value: InspectionQuery(each=value),
    "seed of a query": lambda value: InspectionQuery(seed=value),
    "processes of a query": lambda value: InspectionQuery(processes=value),
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(pytest.param(name, value, id=f"{name}={type(value).__name__}") for name in CALLS for value in WRONG),
        *(
            pytest.param(name, value, id=f"{name}={type(value).__name__}")
            for name in NUMBERS
            for value in ("3", 1.5, True, [3], object())
        ),
    ],
)
def test_wrong_types_are_told(name: str, value: Any) -> None:
    """With what must be and what came; never by an error of Python or NumPy."""
    with pytest.raises(ClipfastError, match="must be"):
        (CALLS | NUMBERS)[name](value)
