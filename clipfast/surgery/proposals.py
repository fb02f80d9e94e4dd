"""Region proposals from the image itself, scored by a heat map: where edges are, not where patches end.

The image is cut into superpixels (SLIC, Achanta et al., 2012, by scikit-image), which are then joined two at a time,
the most alike neighbours first, until one region is left: every region on the way is a proposal, as in selective search
(Uijlings et al., 2013). Alike are regions of common colours, small ones, and ones that fill each other's gaps; texture
is left out. `score_proposals` ranks them by the map; `snap_boxes` moves boxes of the map onto them.

The only importer of scikit-image; needs: pip install 'clipfast[proposals]'.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clipfast.arguments import Span, require_array, require_number, require_type, require_whole
from clipfast.errors import MissingExtraError, ShapeError
from clipfast.surgery.box_fusion import MARGINS, FusionOptions, Regions, checked_fusion, standing_out
from clipfast.surgery.box_scores import Doubles, MapSums, require_map
from clipfast.surgery.boxes import Boxes
from clipfast.types import Ints, Pixels

__all__ = ["ProposalOptions", "Proposals", "propose", "require_skimage", "score_proposals", "snap_boxes"]

_BINS = 8  # of a colour channel
_MOST_SIDE = 4096


@dataclass(frozen=True, slots=True)
class ProposalOptions:
    """How an image is cut.

    Attributes:
        superpixels: About how many, 2 to 1000; they become nearly twice as many proposals.
        compactness: SLIC's weight of distance against colour, above 0: more gives squarer superpixels.
        smoothing: Width of the Gaussian that SLIC smooths with, in pixels, 0 or more: fine texture is no edge.

    Raises:
        ShapeError: If a number is out of range.
    """

    superpixels: int = 300
    compactness: float = 20.0
    smoothing: float = 2.0

    def __post_init__(self) -> None:
        require_whole("superpixels", self.superpixels, 2, 1000)
        require_number("compactness", self.compactness, Span(0, above=True))
        require_number("smoothing", self.smoothing, Span(0, 50))


@dataclass(frozen=True, slots=True, eq=False)
class Proposals:
    """Regions of one image, each a set of superpixels.

    Attributes:
        superpixels: Number of the superpixel of every pixel, from 0, (h, w) int32.
        members: Which superpixels a region is made of, (m, s) bool; the first s are the superpixels themselves.
        boxes: Around each region, xyxy in pixels, half-open, (m, 4) int64.
        areas: Pixels of each region, (m,) int64.
    """

    superpixels: NDArray[np.int32]
    members: NDArray[np.bool_]
    boxes: Ints
    areas: Ints

    def __len__(self) -> int:
        """Return how many regions there are."""
        return len(self.areas)


def propose(image: Pixels, *, options: ProposalOptions | None = None) -> Proposals:
    """Propose regions of an image; the same image gives the same regions.

    Args:
        image: RGB, (h, w, 3) uint8, at most 4096 pixels a side. Scale it to the size of the maps first: a few hundred
            pixels a side are enough, and time grows with the area.
        options: How it is cut.

    Raises:
        ShapeError: If the image is not RGB, or larger.
        MissingExtraError: scikit-image is not installed.
    """
    require_array("image", image, "uint8 (h, w, 3) RGB")
    chosen = ProposalOptions()
    if options is not None:
        chosen = require_type("options", options, ProposalOptions, "ProposalOptions(...)")
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise ShapeError(f"image must be uint8 (h, w, 3) RGB, not empty; got {image.dtype} {image.shape}.")
    if max(image.shape[:2]) > _MOST_SIDE:
        raise ShapeError(f"image may have {_MOST_SIDE} pixels a side; got {image.shape[:2]}. Scale it down.")
    labels = _superpixels(image, chosen)
    count = int(labels.max()) + 1
    areas = np.bincount(labels.ravel(), minlength=count)
    tree = _Joining(_boxes(labels, count), areas, _histograms(image, labels, count), _neighbours(labels, count))
    tree.join_all()
    return Proposals(labels, tree.members, tree.boxes, tree.areas)


def score_proposals(heatmap: ArrayLike, proposals: Proposals, *, options: FusionOptions | None = None) -> Boxes:
    """Keep the proposals that stand out of a heat map, scored and thinned out as `fused_boxes` does it.

    Args:
        heatmap: One map, (h, w), of the size of the image that was cut.
        proposals: Of that image.
        options: Margin, overlap and smallest size; its percentiles are not used.

    Returns:
        Boxes from the highest score down, scores as those of `fused_boxes`; none of a constant map.

    Raises:
        ShapeError: If the map is not real and finite numbers of the image's size.
    """
    chosen, values = checked_fusion(options), _checked_map(heatmap, proposals)
    if values.min() == values.max():
        return Boxes.none()
    return standing_out(values, _regions(values, proposals), chosen)


def snap_boxes(
    found: Boxes, heatmap: ArrayLike, proposals: Proposals, *, least_iou: float = 0.3, margin: float = 0.4
) -> Boxes:
    """Move each box onto the proposal that stands out most among those that overlap it well enough.

    The map says where, the image's edges say how far: scores and their order stay, corners become those of regions.

    Args:
        found: Boxes of the map, from any source.
        heatmap: As in `score_proposals`.
        proposals: Of the image.
        least_iou: A proposal of less overlap is another place; a box without a candidate stays. 0 to 1.
        margin: Width of the frame that a proposal is compared with, in parts of its box.

    Raises:
        ShapeError: As `score_proposals` does, or if `least_iou` or `margin` is out of range.
    """
    from clipfast.kernels import box_iou

    require_type("found", found, Boxes, "boxes(heatmap)")
    require_number("least_iou", least_iou, Span(0, 1))
    require_number("margin", margin, MARGINS)
    values = _checked_map(heatmap, proposals)
    regions = _regions(values, proposals)
    contrasts = MapSums.of(values).region_contrasts(regions.boxes, regions.areas, regions.sums, margin)
    near: NDArray[np.bool_] = box_iou(found.xyxy, regions.boxes.astype(np.float64)) >= max(
        least_iou, np.finfo(np.float64).tiny
    )
    best = np.where(near, contrasts, -np.inf).argmax(axis=1)
    corners = np.where(near.any(axis=1, keepdims=True), regions.boxes[best], found.xyxy)
    return Boxes(corners.astype(np.float64), found.scores)


def _checked_map(heatmap: ArrayLike, proposals: Proposals) -> NDArray[Any]:
    require_type("proposals", proposals, Proposals, "propose(image)")
    values = require_map(heatmap)
    if values.shape != proposals.superpixels.shape:
        raise ShapeError(
            f"heatmap must have the image's size {proposals.superpixels.shape}; got {values.shape}. "
            "Ask heatmaps for that size: size_hw."
        )
    return values


def _regions(values: NDArray[Any], proposals: Proposals) -> Regions:
    """Sum a map over each proposal."""
    count = proposals.members.shape[1]
    sums = np.bincount(proposals.superpixels.ravel(), weights=values.ravel(), minlength=count).astype(np.float64)
    return Regions(proposals.boxes, proposals.areas, proposals.members @ sums)


def require_skimage() -> Callable[..., Any]:
    """Return scikit-image's SLIC; a long job asks for it before it begins.

    Raises:
        MissingExtraError: scikit-image is not installed.
    """
    try:
        from skimage.segmentation import slic
    except ImportError as error:
        raise MissingExtraError.of("scikit-image", extra="proposals") from error
    found: Callable[..., Any] = slic
    return found


def _superpixels(image: Pixels, options: ProposalOptions) -> NDArray[np.int32]:
    slic = require_skimage()
    found = slic(
        image,
        n_segments=options.superpixels,
        compactness=options.compactness,
        sigma=options.smoothing,
        start_label=0,
        channel_axis=-1,
    )
    labels: NDArray[np.int32] = np.unique(found, return_inverse=True)[1].reshape(found.shape).astype(np.int32)
    return labels


def _boxes(labels: NDArray[np.int32], count: int) -> Ints:
    """Return the box around each label, (count, 4)."""
    height, width = labels.shape
    low = np.full((count, 2), max(height, width), np.int64)
    high = np.zeros((count, 2), np.int64)
    for axis, places in enumerate((np.arange(width)[None, :], np.arange(height)[:, None])):
        where = np.broadcast_to(places, labels.shape).ravel()
        np.minimum.at(low[:, axis], labels.ravel(), where)
        np.maximum.at(high[:, axis], labels.ravel(), where + 1)
    return np.concatenate([low, high], axis=1)


def _histograms(image: Pixels, labels: NDArray[np.int32], count: int) -> Doubles:
    """Return shares of red, green and blue levels of each label, (count, 3 * bins), each row sums to 1."""
    level = image // (256 // _BINS) + _BINS * np.arange(3, dtype=np.uint8)
    at = labels[..., None].astype(np.int64) * (3 * _BINS) + level
    found = np.bincount(at.ravel(), minlength=count * 3 * _BINS).reshape(count, 3 * _BINS)
    shares: Doubles = found / found.sum(axis=1, keepdims=True)
    return shares


def _neighbours(labels: NDArray[np.int32], count: int) -> NDArray[np.bool_]:
    """Return which labels share an edge of a pixel, (count, count), symmetric, False of a label and itself."""
    touching = np.zeros((count, count), np.bool_)
    touching[labels[:, :-1], labels[:, 1:]] = True
    touching[labels[:-1], labels[1:]] = True
    touching |= touching.T
    np.fill_diagonal(touching, val=False)
    return touching


class _Joining:
    """Regions in the making: s superpixels, then one row more for each join, 2 s - 1 in all if the image is connected.

    Attributes:
        boxes: (m, 4); rows beyond `count` are not filled yet, of this and of the others.
        areas: (m,).
        members: (m, s).
    """

    def __init__(self, boxes: Ints, areas: Ints, histograms: Doubles, touching: NDArray[np.bool_]) -> None:
        start = len(areas)
        self.count = start
        self.picture = int(areas.sum())
        self.boxes, self.areas = _room(boxes), _room(areas)
        self.members = _room(np.eye(start, dtype=np.bool_))
        self._histograms = _room(histograms)
        self._touching = np.zeros((2 * start - 1, 2 * start - 1), np.bool_)
        self._touching[:start, :start] = touching
        self._alike = np.full(self._touching.shape, -np.inf)
        for region in range(start):
            self._compare(region)

    def join_all(self) -> None:
        """Join the two most alike neighbours until none are left."""
        while self._touching.any():
            one, other = np.unravel_index(int(self._alike.argmax()), self._alike.shape)
            self._join(int(one), int(other))
        self.boxes, self.areas, self.members = (rows[: self.count] for rows in (self.boxes, self.areas, self.members))

    def _join(self, one: int, other: int) -> None:
        new, pair = self.count, [one, other]
        self.count += 1
        self.boxes[new] = _around(self.boxes[one], self.boxes[other])
        self.areas[new] = self.areas[pair].sum()
        self.members[new] = self.members[one] | self.members[other]
        self._histograms[new] = self.areas[pair] @ self._histograms[pair] / self.areas[new]
        near = self._touching[one] | self._touching[other]
        near[pair] = False
        for gone in pair:
            self._touching[gone] = self._touching[:, gone] = False
            self._alike[gone] = self._alike[:, gone] = -np.inf
        self._touching[new] = self._touching[:, new] = near
        self._compare(new)

    def _compare(self, region: int) -> None:
        """Fill in how alike a region and its neighbours are: common colours, smallness, and how well they fit."""
        near = np.flatnonzero(self._touching[region])
        colours = np.minimum(self._histograms[near], self._histograms[region]).sum(axis=1)
        areas = self.areas[near] + self.areas[region]
        hull = _around(self.boxes[near], self.boxes[region])
        gaps = (hull[:, 2] - hull[:, 0]) * (hull[:, 3] - hull[:, 1]) - areas
        alike = colours + (1 - areas / self.picture) + (1 - gaps / self.picture)
        self._alike[region, near] = self._alike[near, region] = alike


def _room(rows: NDArray[Any]) -> NDArray[Any]:
    """Return the rows with room for all joins."""
    out = np.zeros((2 * len(rows) - 1, *rows.shape[1:]), rows.dtype)
    out[: len(rows)] = rows
    return out


def _around(one: Ints, other: Ints) -> Ints:
    return np.concatenate([np.minimum(one[..., :2], other[..., :2]), np.maximum(one[..., 2:], other[..., 2:])], axis=-1)
