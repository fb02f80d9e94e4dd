"""The one box around a map's highest pixel, at a share of the map's range: no percentile, no score, nothing to choose.

This is how weakly supervised localisation reads a map (Zhou et al., CVPR 2016, with the range in place of the maximum).
`clipfast localize` measures it for every map beside the boxes that are scored, so that maps are compared by where and
how far they are bright, whatever box source is asked for.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from clipfast.arguments import Span, require_number
from clipfast.surgery.box_scores import require_map
from clipfast.surgery.boxes import Boxes

__all__ = ["PEAK_SHARE", "peak_box"]

PEAK_SHARE = 0.6  # fixed before the maps were seen


def peak_box(heatmap: ArrayLike, share: float = PEAK_SHARE) -> Boxes:
    """Box what hangs together with the highest pixel at or above a share of the map's range.

    Args:
        heatmap: One map, (h, w), real and finite, at the resolution in which the box is wanted.
        share: Where to cut between the lowest (0) and the highest value (1), above 0 and at most 1.

    Returns:
        One box, scored by the map's highest value; none of a constant map. Of several highest pixels the first in
        raster order counts; pixels that share a corner hang together.

    Raises:
        ShapeError: If the map is not (h, w) real and finite numbers, or the share is out of range.

    >>> heat = np.zeros((20, 30))
    >>> heat[4:10, 5:15], heat[14:18, 20:28] = 1.0, 0.8
    >>> peak_box(heat).xyxy.tolist()
    [[5.0, 4.0, 15.0, 10.0]]
    """
    from clipfast.kernels import label_components

    require_number("share", share, Span(0, 1, above=True))
    values = require_map(heatmap)
    low, high = float(values.min()), float(values.max())
    if low == high:
        return Boxes.none()
    cut = min(low * (1 - share) + high * share, high)  # in two parts: no difference of finite numbers overflows
    found = label_components(values >= values.dtype.type(cut), connectivity=8)
    row, column = divmod(int(values.argmax()), values.shape[1])
    return Boxes(found.boxes[int(found.labels[row, column]) - 1].astype(np.float64)[None], np.array([high], np.float64))
