"""Branch maps as named arrays of an .npz, and back, each checked again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipfast.anomaly.branches import BranchMaps, BranchScores
from clipfast.anomaly.calibration import Holdout
from clipfast.errors import ShapeError

__all__ = ["Arrays", "branch_arrays", "holdout_arrays", "read_branches", "read_floats", "read_holdout"]

Arrays = dict[str, NDArray[Any]]


def branch_arrays(maps: BranchMaps, prefix: str) -> Arrays:
    """Return scores of images and patches of both branches; contrasts follow from the patches."""
    arrays: Arrays = {}
    for branch, scores in (("memory", maps.memory), ("semantic", maps.semantic)):
        if scores is not None:
            arrays |= {f"{prefix}_{branch}_image": scores.image, f"{prefix}_{branch}_pixel": scores.pixel}
    return arrays


def read_branches(arrays: Mapping[str, NDArray[Any]], prefix: str, *, semantic: bool) -> BranchMaps:
    """Read what `branch_arrays` gave.

    Args:
        arrays: By name.
        prefix: As there.
        semantic: Whether the text branch must be among them.

    Raises:
        KeyError: An array is missing.
        ShapeError: An array is no finite float32 of its dimensions, or they do not fit.
    """

    def read(branch: str) -> BranchScores:
        image, pixel = f"{prefix}_{branch}_image", f"{prefix}_{branch}_pixel"
        return BranchScores.of(read_floats(arrays, image, 1), read_floats(arrays, pixel, 3))

    return BranchMaps(read("semantic") if semantic else None, read("memory"))


def holdout_arrays(holdout: Holdout) -> Arrays:
    """Return held-out scores and whose they are."""
    owners: Arrays = {"holdout_owners": holdout.owners, "holdout_original": holdout.original}
    return owners | branch_arrays(holdout.maps, "holdout")


def read_holdout(arrays: Mapping[str, NDArray[Any]], *, semantic: bool) -> Holdout:
    """Read what `holdout_arrays` gave; errors are those of `read_branches`."""
    maps = read_branches(arrays, "holdout", semantic=semantic)
    owners, original = arrays["holdout_owners"], arrays["holdout_original"]
    if owners.shape != (len(maps),) or original.shape != (len(maps),) or original.dtype != np.bool_ or not len(maps):
        raise ShapeError("the held-out scores do not fit together.")
    return Holdout(maps, owners, original)


def read_floats(arrays: Mapping[str, NDArray[Any]], name: str, dimensions: int) -> NDArray[np.float32]:
    """Return an array that must be finite float32.

    Raises:
        KeyError: It is missing.
        ShapeError: It is something else.
    """
    array = arrays[name]
    if array.ndim != dimensions or array.dtype != np.float32 or not np.isfinite(array).all():
        raise ShapeError(f"{name} must be finite float32 of {dimensions} dimensions; got {array.shape} {array.dtype}.")
    return array
