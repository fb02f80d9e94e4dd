"""Connected components with areas and boxes, beside OpenCV, cc3d, SciPy and scikit-image.

Two floors are shown with them: copying the mask from uint8 to int32, which every labelling does at least, and cc3d's
labels without any statistics.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from benchmarks.race import Case
from clipfast.kernels.components import label_components, label_stack

SIDE = 3162
WORK = "components, areas and boxes, 8-connected"
Array = np.ndarray[Any, Any]
Found = tuple[Array, Array | None]  # labels, and areas by label from 1
MUSTS = {"OpenCV, with statistics": 4.0, "cc3d, labels alone": 1.3}


def cases() -> list[Case]:
    """10 million pixels of three kinds, and a thousand small masks."""
    rng = np.random.default_rng(0)
    big = {"blobs": smooth(rng, SIDE, 12, 0.26), "sparse": smooth(rng, SIDE, 4, 0.007), "noise": noise(rng, SIDE, 0.5)}
    masks = np.stack([smooth(rng, 224, 6, 0.1) for _ in range(1000)])
    return [*(_one(kind, mask) for kind, mask in big.items()), _many(masks)]


def smooth(rng: np.random.Generator, side: int, radius: float, share: float) -> Array:
    """The highest `share` of smoothed noise, uint8."""
    from scipy.ndimage import gaussian_filter

    field = gaussian_filter(rng.standard_normal((side, side), np.float32), radius)
    mask: Array = (field > np.quantile(field, 1 - share)).astype(np.uint8)
    return mask


def noise(rng: np.random.Generator, side: int, share: float) -> Array:
    """Every pixel by itself, uint8."""
    return (rng.random((side, side)) < share).astype(np.uint8)


def _one(kind: str, mask: Array) -> Case:
    return Case(
        name=f"{WORK}, {SIDE} x {SIDE}, {kind} ({mask.mean():.1%} foreground)",
        contenders={
            "clipfast": lambda: _ours(mask),
            **{name: partial(call, mask) for name, call in _peers().items()},
            "floor: copy to int32": lambda: (mask.astype(np.int32), None),
        },
        agree=_same_partitions,
        musts=MUSTS,
    )


def _many(masks: Array) -> Case:
    def each(call: Callable[[Array], Found]) -> list[Found]:
        return [call(mask) for mask in masks]

    def ours() -> list[Found]:
        found = label_stack(masks, threads=2)
        parts = zip(found.labels, np.split(found.areas, found.offsets[1:-1]), strict=True)
        return [(labels, areas) for labels, areas in parts]

    return Case(
        name=f"{WORK}, {len(masks)} masks of 224 x 224 ({masks.mean():.1%} foreground)",
        contenders={
            "clipfast": ours,
            **{name: partial(each, call) for name, call in _peers().items()},
            "floor: copy to int32": lambda: (masks.astype(np.int32), None),
        },
        agree=_same_partitions,
        musts=MUSTS,
    )


def _ours(mask: Array) -> Found:
    found = label_components(mask, threads=2)
    return found.labels, found.areas


def _peers() -> dict[str, Callable[[Array], Found]]:
    """Each at its best on a two-dimensional mask."""
    import cc3d
    import cv2
    from scipy import ndimage
    from skimage import measure

    cv2.setNumThreads(2)
    ones = np.ones((3, 3), int)

    def opencv(mask: Array) -> Found:
        _, labels, statistics, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
        return labels, statistics[1:, cv2.CC_STAT_AREA]

    def cc3d_labels(mask: Array) -> Array:
        labels: Array = cc3d.connected_components(mask.view(bool), connectivity=8, binary_image=True)
        return labels

    def cc3d_statistics(mask: Array) -> Found:
        labels = cc3d_labels(mask)
        return labels, cc3d.statistics(labels, no_slice_conversion=True)["voxel_counts"][1:]

    def scipy(mask: Array) -> Found:
        labels, _ = ndimage.label(mask, ones)
        ndimage.find_objects(labels)
        return labels, np.bincount(labels.ravel())[1:]

    return {
        "OpenCV, with statistics": opencv,
        "OpenCV, labels alone": lambda mask: (cv2.connectedComponents(mask, connectivity=8)[1], None),
        "cc3d, with statistics": cc3d_statistics,
        "cc3d, labels alone": lambda mask: (cc3d_labels(mask), None),
        "SciPy, with areas and boxes": scipy,
        "scikit-image, labels alone": lambda mask: (measure.label(mask, connectivity=2), None),
    }


def _same_partitions(answers: Mapping[str, Any]) -> dict[str, float]:
    """All divide the foreground alike, and areas are the same numbers."""
    several = isinstance(answers["clipfast"], list)
    ours: list[Found] = answers["clipfast"] if several else [answers["clipfast"]]
    components = 0
    for name, answer in answers.items():
        if name.startswith("floor"):
            continue
        theirs = answer if several else [answer]
        for (labels, areas), (other, other_areas) in zip(ours, theirs, strict=True):
            count = int(labels.max(initial=0))
            pairs = np.unique(labels.astype(np.int64) * (int(other.max(initial=0)) + 1) + other)
            assert len(pairs) == count + bool((labels == 0).any()), name  # each of ours meets one of theirs
            assert count == int(other.max(initial=0)), name
            assert areas is not None
            if other_areas is not None:
                assert np.array_equal(np.sort(areas), np.sort(other_areas)), name
            components += count if name == "clipfast" else 0
    return {"components": float(components)}
