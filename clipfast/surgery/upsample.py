"""From patch grids to pixels: bilinear, and edge-aware by a guided filter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from clipfast.arguments import (
    Span,
    require_array,
    require_known,
    require_number,
    require_size_hw,
    require_type,
    require_whole,
)
from clipfast.errors import ShapeError
from clipfast.types import Floats, Pixels

__all__ = ["EdgeAware", "edge_aware", "resize_maps", "sample_maps"]

Guide: TypeAlias = Literal["colour", "luminance"]

_FLATNESS = Span(1e-6)


@dataclass(frozen=True, slots=True)
class EdgeAware:
    """How maps follow the edges of their image (guided filter, He et al. 2010).

    Attributes:
        guide: "colour", or "luminance", which is quicker and blind to edges between colours of equal brightness.
        radius: Of the windows, in pixels of the map; None takes the side of a patch, the blur that is to be undone.
        eps: Variance of the guide, whose range is [0, 1], that still counts as flat: less follows fainter edges, and
            the grain of a fabric too.

    Raises:
        DataError: If the guide is not one of the two.
        ShapeError: If a number is of another type, or out of range.
    """

    guide: Guide = "colour"
    radius: int | None = None
    eps: float = 1e-3

    def __post_init__(self) -> None:
        require_known("guide", self.guide, get_args(Guide))
        if self.radius is not None:
            require_whole("radius", self.radius, 1)
        require_number("eps", self.eps, _FLATNESS)


def resize_maps(maps: Floats, size_hw: tuple[int, int]) -> Floats:
    """Resize maps (..., gh, gw) to (..., h, w), bilinear with half-pixel centres (align_corners=False)."""
    size_hw = require_size_hw("size_hw", size_hw)
    if require_array("maps", maps, "(..., gh, gw)").ndim < 2:
        raise ShapeError(f"maps must be an array (..., gh, gw); got {maps.shape}.")
    at = [(np.arange(new) + 0.5) * old / new for old, new in zip(maps.shape[-2:], size_hw, strict=True)]
    return sample_maps(maps, at[0], at[1])


def sample_maps(maps: Floats, y: NDArray[np.float64], x: NDArray[np.float64]) -> Floats:
    """Read maps between their cells, at every pair of a row and a column.

    Args:
        maps: (..., gh, gw), or wider apart.
        y: Rows in cells, (h,): cell i covers i to i + 1, so its middle is at i + 0.5. Beyond the outer middles the
            value of the border cell holds.
        x: Columns, (w,), likewise.

    Returns:
        (..., h, w) float32.

    >>> sample_maps(np.array([[0.0, 1.0]], np.float32), np.array([0.5]), np.array([0.0, 0.5, 1.0, 1.5])).tolist()
    [[0.0, 0.0, 0.5, 1.0]]
    """
    if maps.ndim < 2 or 0 in maps.shape[-2:]:
        raise ShapeError(f"maps must be (..., gh, gw), not empty; got {maps.shape}.")
    out: Floats = (_weights(maps.shape[-2], y) @ maps @ _weights(maps.shape[-1], x).T).astype(np.float32, copy=False)
    return out


def edge_aware(maps: Floats, pixels: Pixels, options: EdgeAware, *, patch: float = 1.0) -> Floats:
    """Let the steps of maps fall on the edges of their image.

    Args:
        maps: (..., h, w). Rows and columns that are NaN as a whole, such as those beside a centre crop, stay NaN.
        pixels: The image, RGB (h, w, 3) uint8, of the maps' size.
        options: Which edges.
        patch: Side of a patch in pixels of the map; the radius if the options name none.

    Returns:
        (..., h, w) float32; constant maps stay constant.

    Raises:
        ShapeError: If the image is not of the maps' size.
    """
    from clipfast.kernels.filters import luminance  # this loads Numba, which maps without edges do not need
    from clipfast.kernels.guided import guided_filter

    require_array("maps", maps, "(..., h, w)")
    require_array("pixels", pixels, "(h, w, 3)")
    require_type("options", options, EdgeAware, "EdgeAware()")
    if pixels.shape != (*maps.shape[-2:], 3):
        raise ShapeError(f"pixels must be {(*maps.shape[-2:], 3)} for these maps; got {pixels.shape}. Resize them.")
    guide: Floats = (luminance(pixels) if options.guide == "luminance" else pixels.astype(np.float32)) / np.float32(255)
    radius = options.radius if options.radius is not None else max(1, round(patch))
    known: NDArray[np.bool_] = np.logical_and.reduce(np.isfinite(maps).reshape(-1, *maps.shape[-2:]), axis=0)
    rows, columns = (_span(np.flatnonzero(np.logical_or.reduce(known, axis=axis))) for axis in (1, 0))
    out = np.full(maps.shape, np.nan, np.float32)
    if known.any():
        out[..., rows, columns] = guided_filter(
            maps[..., rows, columns], guide[rows, columns], radius=radius, eps=options.eps
        )
    return out


def _span(known: NDArray[np.intp]) -> slice:
    """From the first to the last that is known."""
    return slice(int(known[0]), int(known[-1]) + 1) if len(known) else slice(0, 0)


def _weights(size: int, at: NDArray[np.float64]) -> Floats:
    """Weights (len(at), size) of linear interpolation along one axis."""
    middle = np.clip(at - 0.5, 0, size - 1)
    low = np.minimum(middle.astype(np.int64), max(size - 2, 0))
    share = (middle - low).astype(np.float32)
    weights = np.zeros((len(at), size), np.float32)
    weights[np.arange(len(at)), low] = 1 - share
    if size > 1:
        weights[np.arange(len(at)), low + 1] += share
    return weights
