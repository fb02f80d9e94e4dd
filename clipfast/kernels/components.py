"""Connected components of a mask or of a stack of masks: labels, areas, boxes, and sums of a score image.

How it is done is told in `component_runs`; this file says what comes out and checks what comes in.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clipfast.errors import ShapeError
from clipfast.kernels.array_inputs import as_array
from clipfast.kernels.component_stripes import label_tall
from clipfast.types import Ints

__all__ = ["REACH", "ComponentStack", "Components", "label_components", "label_stack"]

# How far past its ends a run touches runs of the next row: diagonal neighbours count only with connectivity 8.
REACH = {4: 0, 8: 1}


@dataclass(frozen=True, slots=True, eq=False)
class Components:
    """The connected components of a mask, numbered in raster order of their first pixel.

    Attributes:
        labels: 0 for background, 1 to `count` for the components, (h, w) int32.
        count: How many components there are.
        areas: Pixels of each component, (count,) int64; row `i` belongs to label `i + 1`.
        boxes: Tight boxes xyxy in pixels, half-open, (count, 4) int64.
        sums: Sum of the scores under each component, (count,) float64; None if no scores were given.
    """

    labels: NDArray[np.int32]
    count: int
    areas: Ints
    boxes: Ints
    sums: NDArray[np.float64] | None = None

    @property
    def means(self) -> NDArray[np.float64] | None:
        """Mean of the scores under each component, (count,) float64; None if no scores were given."""
        return None if self.sums is None else self.sums / self.areas


@dataclass(frozen=True, slots=True, eq=False)
class ComponentStack:
    """The connected components of a stack of masks; each mask is numbered from 1 as if it were alone.

    Attributes:
        labels: 0 for background, 1 to the count of the mask for its components, (n, h, w) int32.
        offsets: Components of mask `i` are rows `offsets[i]` to `offsets[i + 1]` of what follows, (n + 1,) int64.
        areas: Pixels of each component, (count,) int64; row `offsets[i] + l - 1` belongs to label `l` of mask `i`.
        boxes: Tight boxes xyxy in pixels of the mask, half-open, (count, 4) int64.
        sums: Sum of the scores under each component, (count,) float64; None if no scores were given.
    """

    labels: NDArray[np.int32]
    offsets: Ints
    areas: Ints
    boxes: Ints
    sums: NDArray[np.float64] | None = None

    @property
    def counts(self) -> Ints:
        """How many components each mask has, (n,) int64."""
        return np.diff(self.offsets)

    @property
    def means(self) -> NDArray[np.float64] | None:
        """Mean of the scores under each component, (count,) float64; None if no scores were given."""
        return None if self.sums is None else self.sums / self.areas

    def __len__(self) -> int:
        """Return how many masks there are."""
        return len(self.labels)

    def __iter__(self) -> Iterator[Components]:
        """Give the components of each mask in turn, as views."""
        return (self[mask] for mask in range(len(self)))

    def __getitem__(self, mask: int) -> Components:
        """Return the components of one mask, as views.

        Raises:
            IndexError: If there is no such mask.
        """
        mask = range(len(self))[mask]
        rows = slice(int(self.offsets[mask]), int(self.offsets[mask + 1]))
        sums = None if self.sums is None else self.sums[rows]
        return Components(self.labels[mask], rows.stop - rows.start, self.areas[rows], self.boxes[rows], sums)


def label_components(
    mask: ArrayLike,
    connectivity: Literal[4, 8] = 8,
    *,
    scores: ArrayLike | None = None,
    threads: int | None = None,
) -> Components:
    """Label the connected components of a mask.

    Args:
        mask: Bool or integer, (h, w), of any memory layout; what is not zero is foreground.
        connectivity: 4 joins pixels that share an edge, 8 also those that share a corner.
        scores: Real numbers, (h, w), to be summed by component in float64, in an order that only the shape of the
            mask decides; what lies under the background is not read. None sums nothing.
        threads: How many threads share the work; no result depends on it. None takes the cores that this process may
            use, and small masks take one.

    Returns:
        Labels, areas, boxes and sums; an empty mask has no component.

    Raises:
        ShapeError: If `mask` is not two-dimensional, is neither bool nor integer, or `connectivity` is unknown; if
            `scores` has another shape, or NaN or infinite values under the foreground; if `threads` is not positive.

    >>> found = label_components(np.eye(3, dtype=bool), connectivity=8, scores=np.full((3, 3), 0.5))
    >>> found.count, found.areas.tolist(), found.boxes.tolist(), found.sums.tolist()
    (1, [3], [[0, 0, 3, 3]], [1.5])
    """
    pixels = as_array("mask", mask)
    if pixels.ndim != 2:
        raise ShapeError(f"mask must be (h, w); got {pixels.shape}. Pass many of one size to label_stack.")
    weights = _required(pixels, connectivity, scores)
    stack = None if weights is None else weights[None]
    labels, _, areas, boxes, sums = label_tall(pixels[None], REACH[connectivity], stack, threads)
    return Components(labels[0], len(areas), areas, boxes, sums)


def label_stack(
    masks: ArrayLike,
    connectivity: Literal[4, 8] = 8,
    *,
    scores: ArrayLike | None = None,
    threads: int | None = None,
) -> ComponentStack:
    """Label the connected components of many masks of one size in one call.

    Args:
        masks: Bool or integer, (n, h, w), of any memory layout; what is not zero is foreground.
        connectivity: 4 joins pixels that share an edge, 8 also those that share a corner.
        scores: Real numbers, (n, h, w), to be summed by component as `label_components` does, bit for bit. None sums
            nothing.
        threads: How many threads share the work; no result depends on it. None takes the cores that this process may
            use.

    Returns:
        Each mask's components as `label_components` finds them; areas, boxes and sums of all masks lie in flat arrays.

    Raises:
        ShapeError: As `label_components` does.

    >>> found = label_stack(np.stack([np.eye(3, dtype=bool), np.zeros((3, 3), dtype=bool)]), connectivity=4)
    >>> found.offsets.tolist(), found.areas.tolist(), found[0].count
    ([0, 3, 3], [1, 1, 1], 3)
    """
    pixels = as_array("masks", masks)
    if pixels.ndim != 3:
        raise ShapeError(f"masks must be (n, h, w); got {pixels.shape}. Pass a single mask to label_components.")
    weights = _required(pixels, connectivity, scores)
    return ComponentStack(*label_tall(pixels, REACH[connectivity], weights, threads))


def _required(masks: NDArray[Any], connectivity: int, scores: ArrayLike | None) -> NDArray[Any] | None:
    """Return the scores as an array, once everything is checked."""
    if masks.dtype.kind not in "biu":
        raise ShapeError(f"mask must be bool or integer; got {masks.dtype}. Threshold it first: scores > threshold.")
    if connectivity not in REACH:
        raise ShapeError(f"connectivity must be one of {sorted(REACH)}; got {connectivity!r}.")
    if masks.size >= 2**31:
        raise ShapeError(f"masks must hold fewer than 2**31 pixels; got {masks.shape}. Label them in several calls.")
    if scores is None:
        return None
    weights = as_array("scores", scores)
    if weights.shape != masks.shape or weights.dtype.kind not in "biuf":
        raise ShapeError(
            f"scores must be real numbers of the mask's shape {masks.shape}; got {weights.dtype} {weights.shape}."
        )
    return weights
