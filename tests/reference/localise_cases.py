"""Maps that are known: planted squares instead of a model's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clipfast.datasets.box_records import BoxReport, BoxSample, BoxSet
from clipfast.surgery.evaluate import measure_sample
from clipfast.surgery.geometry import GEOMETRIES, Geometry, GeometryName
from clipfast.surgery.localise_options import LocaliseOptions
from clipfast.surgery.localise_records import Records, RecordsBuilder
from clipfast.surgery.map_stream import SampleMaps

Doubles = NDArray[np.float64]
GRID = 32
SIDE = 224


def sample(name: str, boxes: Mapping[str, tuple[float, ...]], size_hw: tuple[int, int] = (300, 400)) -> BoxSample:
    """An image with one box a class; a class that begins with "hard" is difficult."""
    return BoxSample(
        name,
        Path(f"{name}.png"),
        size_hw,
        np.array(list(boxes.values()), np.float64).reshape(-1, 4),
        tuple(boxes),
        np.array([label.startswith("hard") for label in boxes], np.bool_),
    )


def planted(
    each: BoxSample,
    classes: tuple[str, ...],
    paths: Mapping[str, Callable[[Doubles], Doubles]],
    geometry: GeometryName = "squash",
    grid: int = GRID,
) -> SampleMaps:
    """Maps that are 1 in the patches of a class's boxes and 0 elsewhere, changed by each path's function."""
    plan: Geometry = GEOMETRIES[geometry](each.size_hw, (SIDE, SIDE))
    truth = np.zeros((len(classes), grid, grid))
    centres = (np.arange(grid) + 0.5) * SIDE / grid
    for box, label in zip(plan.to_model(each.boxes), each.labels, strict=True):
        rows = (centres >= box[1]) & (centres < box[3])
        columns = (centres >= box[0]) & (centres < box[2])
        truth[classes.index(label)][np.ix_(rows, columns)] = 1
    (top, left), (high, wide) = plan.offset_yx, plan.scaled_hw
    y1, x1 = max(top, 0), max(left, 0)
    seen = np.zeros((min(top + high, SIDE) - y1, min(left + wide, SIDE) - x1, 3), np.uint8)
    maps = {path: change(truth).astype(np.float32) for path, change in paths.items()}
    return SampleMaps(each, f"sha-{each.id}", seen, plan, (x1, y1), (SIDE / grid, SIDE / grid), maps)


def dataset(*samples: BoxSample) -> BoxSet:
    """A data set of these."""
    classes = sorted({label for each in samples for label in each.labels})
    return BoxSet("voc", "test", tuple(classes), list(samples), BoxReport())


def measured(data: BoxSet, paths: Mapping[str, Callable[[Doubles], Doubles]], options: LocaliseOptions) -> Records:
    """Records of planted maps."""
    builder = RecordsBuilder(tuple(paths), len(options.levels))
    for each in data:
        builder.add(measure_sample(planted(each, data.classes, paths, options.geometry), data.classes, options))
    return builder.build()
