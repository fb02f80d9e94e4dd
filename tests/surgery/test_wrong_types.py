"""Every public entry of surgery answers wrong types with one sentence of its own, before any work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from clipfast.datasets.box_samples import read_boxes
from clipfast.errors import ClipfastError
from clipfast.runtime.clip import Clip
from clipfast.surgery import (
    BoxOptions,
    BoxRefiner,
    EdgeAware,
    FusionOptions,
    MapOptions,
    ProposalOptions,
    RefinerOptions,
    Windows,
    attention_entropy,
    attention_maps,
    boxes,
    boxes_at,
    depth_maps,
    edge_aware,
    fit_geometry,
    fuse_maps,
    fused_boxes,
    heatmaps,
    peak_box,
    points,
    propose,
    resize_maps,
    score_proposals,
    snap_boxes,
    squash,
    unit_range,
    window_boxes,
)
from clipfast.surgery.evaluate import evaluate_localisation
from clipfast.surgery.localise_options import LocaliseOptions
from clipfast.surgery.refine import RefinerLessons
from clipfast.surgery.tuning import SearchSpace, tune

HEAT: Any = np.eye(20)
GRID: Any = np.eye(3)
IMAGE = np.zeros((8, 8, 3), np.uint8)
NOTHING = object()
# A text, a share, a list, a mapping, an object, True: each is wrong for nearly every option.
NAMES = ["x"]
VALUES: tuple[Any, ...] = ("x", 1.5, NAMES, {"a": 1}, NOTHING, True, np.zeros((2, 2)))

# By the option: how it is set, and the values of the list that are right for it.
OPTIONS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    **{f"maps {name}": (lambda value, name=name: MapOptions(**{name: value}), right) for name, right in {
        "templates": (NAMES,), "redundant": ("x",), "labels": (NAMES,), "rivals": (), "alpha": (),
        "class_share": (1.5,),
        "depths": (), "depth_weights": (), "geometry": (), "windows": (), "scales": (), "scale_weights": (),
        "edge_aware": (), "batch_size": (),
    }.items()},
    **{f"boxes {name}": (lambda value, name=name: BoxOptions(**{name: value}), right) for name, right in {
        "morphology": (), "connectivity": (), "min_size_hw": (), "min_area": (1.5,), "score": (), "if_none": (),
    }.items()},
    **{f"fusion {name}": (lambda value, name=name: FusionOptions(**{name: value}), right) for name, right in {
        "percentiles": (), "margin": (1.5,), "most_overlap": (), "min_size_hw": (), "connectivity": (),
    }.items()},
    **{f"proposals {name}": (lambda value, name=name: ProposalOptions(**{name: value}), right) for name, right in {
        "superpixels": (), "compactness": (1.5,), "smoothing": (1.5,),
    }.items()},
    **{f"refiner {name}": (lambda value, name=name: RefinerOptions(**{name: value}), right) for name, right in {
        "cells": (), "reach": (1.5,), "least_iou": (), "ridges": (), "folds": (),
    }.items()},
    **{f"localise {name}": (lambda value, name=name: LocaliseOptions(**{name: value}), right) for name, right in {
        "paths": (NAMES,), "iou_thresholds": (), "percentile": (1.5,), "percentiles": (), "box_source": (), "boxes": (),
        "maps": (), "rivals": (), "phrases": (), "scores": (), "tolerance": (1.5,), "resamples": (), "confidence": (),
        "seed": (),
    }.items()},
    **{f"search {name}": (lambda value, name=name: SearchSpace(**{name: value}), ()) for name in (
        "percentiles", "geometries", "morphologies", "min_sizes", "box_sources",
    )},
    "windows side": (lambda value: Windows(side=value), ()),
    "windows overlap": (lambda value: Windows(overlap=value), ()),
    "edges guide": (lambda value: EdgeAware(guide=value), ()),
    "edges radius": (lambda value: EdgeAware(radius=value), ()),
    "edges eps": (lambda value: EdgeAware(eps=value), (1.5,)),
}  # fmt: skip

CALLS: dict[str, tuple[Callable[[Any], Any], tuple[Any, ...]]] = {
    "map of boxes": (boxes, (VALUES[-1],)),
    "percentile": (lambda value: boxes(HEAT, value), (1.5,)),
    "percentiles": (lambda value: boxes_at(HEAT, value), ()),
    "options of boxes": (lambda value: boxes(HEAT, options=value), ()),
    "options of fused_boxes": (lambda value: fused_boxes(HEAT, options=value), ()),
    "share of peak_box": (lambda value: peak_box(HEAT, value), ()),
    "threshold of points": (lambda value: points(HEAT, threshold=value), ()),
    "down_sample of points": (lambda value: points(HEAT, down_sample=value), ()),
    "size of points": (lambda value: points(HEAT, value), ()),
    "overlap of window_boxes": (lambda value: window_boxes((9, 9), (3, 3), value), ()),
    "image of propose": (propose, ()),
    "options of propose": (lambda value: propose(IMAGE, options=value), ()),
    "proposals of score_proposals": (lambda value: score_proposals(HEAT, value), ()),
    "boxes of snap_boxes": (lambda value: snap_boxes(value, HEAT, value), ()),
    "maps of fuse_maps": (fuse_maps, (VALUES[-1],)),
    "weights of fuse_maps": (lambda value: fuse_maps([HEAT], value), ()),
    "maps of resize_maps": (lambda value: resize_maps(value, (3, 3)), (VALUES[-1],)),
    "maps of unit_range": (unit_range, (VALUES[-1],)),
    "maps of edge_aware": (lambda value: edge_aware(value, IMAGE, EdgeAware()), ()),
    "options of edge_aware": (lambda value: edge_aware(GRID, IMAGE, value), ()),
    "name of fit_geometry": (lambda value: fit_geometry(value, (9, 9), Clip.load("mini").manifest.image), ()),
    "size of maps_to_image": (lambda value: squash((9, 9), (3, 3)).maps_to_image(GRID, value), ()),
    "maps of maps_to_image": (lambda value: squash((9, 9), (3, 3)).maps_to_image(value), (VALUES[-1],)),
    "attention": (lambda value: attention_maps(value, (2, 2)), ()),
    "grid of attention": (lambda value: attention_maps(GRID[None], value), ()),
    "rows of attention_entropy": (attention_entropy, (True,)),
    "fingerprint of a refiner": (lambda value: BoxRefiner.fit([], fingerprint=value, path="vv_vv"), ()),
    "sample of a refiner": (lambda value: RefinerLessons(RefinerOptions()).add(value), ()),
    "options of a refiner": (RefinerLessons, ()),
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param(name, value, id=f"{name}={type(value).__name__}")
        for name, (_, right) in (OPTIONS | CALLS).items()
        for value in VALUES
        if not any(value is each for each in right)
    ],
)
def test_wrong_types_are_told(name: str, value: Any) -> None:
    """With what must be and what came; never by an error of Python or NumPy."""
    with pytest.raises(ClipfastError, match=r"must|got"):
        (OPTIONS | CALLS)[name][0](value)


@pytest.mark.parametrize("name", OPTIONS)
def test_what_is_right_is_taken(name: str) -> None:
    """The table says which values an option takes, and it does: the test above is not passed by refusing all."""
    make, right = OPTIONS[name]
    for value in right:
        make(value)


@pytest.mark.parametrize("value", [5, "x", [1], NOTHING])
def test_questions_of_wrong_types_are_told(mini: Clip, photo: Any, value: Any) -> None:
    """Paths, options and data of the calls that run a model."""
    data = read_boxes("fabricworld", "", limit=2)
    for call in (
        lambda: heatmaps(mini, photo, ["denim"], value),
        lambda: heatmaps(mini, photo, ["denim"], options=value),
        lambda: depth_maps(mini, photo, ["denim"], options=value),
        lambda: evaluate_localisation(mini, value),
        lambda: evaluate_localisation(mini, data, value),
        lambda: tune(mini, data, value),
        lambda: tune(mini, data, LocaliseOptions(), value),
    ):
        with pytest.raises(ClipfastError, match="must be"):
            call()


def test_lists_serve_where_tuples_do() -> None:
    """And NumPy's numbers where Python's do."""
    given: dict[str, Any] = {"scales": [1, 2], "depths": [np.int64(1)], "depth_weights": [np.float32(2)]}
    numbers: dict[str, Any] = {"alpha": np.float32(0.25), "batch_size": np.int32(3)}
    small: Any = [1, 1]

    assert MapOptions(**given, **numbers).batch_size == 3
    assert len(boxes(np.kron(HEAT, np.ones((8, 8))), 90, options=BoxOptions(min_size_hw=small))) > 0
