"""How a heat map answers a ground truth: response inside and outside the boxes, pointing game, energy inside.

Definitions, all in pixels of the map:

* inside: pixels whose centre lies in a box that counts (at least the pixel under a box's centre, so that no box is too
  small to be seen); background: pixels in no box of the class, difficult ones included.
* response: mean and maximum of the raw similarity inside, mean of the background; contrast is inside less background.
* pointing game (Zhang et al., ECCV 2016): does the first pixel of the highest similarity, in raster order, lie in a box
  that counts, or within `tolerance` pixels of one? The original allows 15 pixels; here it is 0 unless asked for.
* energy inside (Wang et al., Score-CAM, CVPRW 2020): share of the map's sum that lies inside. Similarities have no
  natural zero, so the map's minimum is taken from it first; of a constant map it is the share of the area.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipfast.errors import ShapeError

__all__ = ["RESPONSE_FIELDS", "MapResponse", "inside_mask", "map_response"]

Doubles = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class MapResponse:
    """What one map says about one class of one image.

    Attributes:
        inside_mean: Mean raw similarity inside; NaN if no box lies in what the map covers.
        inside_max: Highest inside; NaN likewise.
        background_mean: Mean outside; NaN if there is no background.
        spread: Standard deviation over the map.
        energy: Share of the shifted map inside, 0 to 1; NaN like `inside_mean`.
        pointing: 1 if the peak hits, 0 if not; NaN like `inside_mean`.
        area: Share of the map that is inside.
    """

    inside_mean: float
    inside_max: float
    background_mean: float
    spread: float
    energy: float
    pointing: float
    area: float


RESPONSE_FIELDS = ("inside_mean", "inside_max", "background_mean", "spread", "energy", "pointing", "area")


def map_response(
    heat: NDArray[Any], truths: Doubles, difficult: NDArray[np.bool_] | None = None, *, tolerance: float = 0.0
) -> MapResponse:
    """Measure one map against the boxes of its class.

    Args:
        heat: Raw similarity, (h, w), finite.
        truths: Boxes xyxy in pixels of the map, half-open, (m, 4); they may reach beyond it.
        difficult: Boxes that nobody has to find, (m,): neither inside nor background.
        tolerance: How many pixels beside a box the peak may lie.

    Raises:
        ShapeError: If shapes do not fit, or the tolerance is negative.

    >>> heat = np.zeros((4, 4)); heat[1, 2] = 1.0
    >>> found = map_response(heat, np.array([[2.0, 0.0, 4.0, 2.0]]))
    >>> found.inside_mean, found.background_mean, found.energy, found.pointing, found.area
    (0.25, 0.0, 1.0, 1.0, 0.25)
    """
    spared = np.zeros(len(truths), np.bool_) if difficult is None else difficult
    if heat.ndim != 2 or truths.shape != (len(spared), 4) or tolerance < 0:
        raise ShapeError(
            f"heat must be (h, w), truths (m, 4), difficult (m,) and tolerance at least 0; got {heat.shape}, "
            f"{truths.shape}, {spared.shape} and {tolerance}."
        )
    counted = truths[~spared]
    inside = inside_mask(counted, heat.shape)
    taken = inside | inside_mask(truths[spared], heat.shape) if spared.any() else inside
    size, within = heat.size, int(np.count_nonzero(inside))
    total = float(heat.sum(dtype=np.float64))
    spread = float(heat.std(dtype=np.float64))
    outside = size - int(np.count_nonzero(taken))
    held = heat[inside]
    inside_sum = float(held.sum(dtype=np.float64))
    taken_sum = inside_sum if taken is inside else float(heat[taken].sum(dtype=np.float64))
    background = (total - taken_sum) / outside if outside else np.nan
    if not within:
        return MapResponse(np.nan, np.nan, background, spread, np.nan, np.nan, 0.0)
    low = float(heat.min())
    energy = (inside_sum - low * within) / (total - low * size) if float(heat.max()) > low else within / size
    return MapResponse(
        inside_mean=inside_sum / within,
        inside_max=float(held.max()),
        background_mean=background,
        spread=spread,
        energy=energy,
        pointing=float(_points_at(heat, counted, tolerance)),
        area=within / size,
    )


def inside_mask(boxes: Doubles, size_hw: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return the pixels whose centre lies in a box, at least the one under its centre; boxes outside leave none.

    >>> inside_mask(np.array([[0.6, 0.0, 2.4, 1.0]]), (2, 3)).astype(int).tolist()
    [[0, 1, 0], [0, 0, 0]]
    """
    height, width = size_hw
    mask = np.zeros((height, width), np.bool_)
    for x1, y1, x2, y2 in boxes.tolist():
        if x2 <= 0 or y2 <= 0 or x1 >= width or y1 >= height:
            continue
        (top, bottom), (left, right) = _span(y1, y2, height), _span(x1, x2, width)
        mask[top:bottom, left:right] = True
    return mask


def _span(begin: float, end: float, size: int) -> tuple[int, int]:
    """Return the pixels of one axis whose centre lies in [begin, end), or the one under the middle."""
    begin, end = max(begin, 0.0), min(end, float(size))
    first, last = int(np.ceil(begin - 0.5)), int(np.ceil(end - 0.5))
    if first < last:
        return first, last
    middle = min(int((begin + end) / 2), size - 1)
    return middle, middle + 1


def _points_at(heat: NDArray[Any], boxes: Doubles, tolerance: float) -> bool:
    y, x = divmod(int(heat.argmax()), heat.shape[1])
    mask = inside_mask(boxes, heat.shape)
    if mask[y, x] or not tolerance:
        return bool(mask[y, x])
    aside = np.maximum(np.maximum(boxes[:, 0] - (x + 0.5), (x + 0.5) - boxes[:, 2]), 0)
    above = np.maximum(np.maximum(boxes[:, 1] - (y + 0.5), (y + 0.5) - boxes[:, 3]), 0)
    return bool((np.hypot(aside, above) <= tolerance).any())
