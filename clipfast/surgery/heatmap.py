"""Heat maps: where in an image is what a text says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from clipfast.errors import DataError, ShapeError
from clipfast.prompts import SURGERY
from clipfast.similarity import cosine_map, feature_surgery
from clipfast.types import DenseEncoder, DenseTokens, Floats, Images

__all__ = ["PATHS", "Path", "heatmaps", "resize_maps", "unit_range"]

Path = Literal["standard", "vv_qk", "vv_vv", "vv_mixed"]


def _standard(dense: DenseTokens, texts: Floats, empty: Floats) -> Floats:
    """CLIP Surgery as published: value-value tokens, then feature surgery; one text is compared with the empty one."""
    return feature_surgery(dense.vv, dense.embedding, texts, redundant=empty if len(texts) == 1 else None)


# How each path scores patches; all four come from one forward.
PATHS: dict[Path, Callable[[DenseTokens, Floats, Floats], Floats]] = {
    "standard": _standard,
    "vv_qk": lambda dense, texts, _: cosine_map(dense.qk, texts),
    "vv_vv": lambda dense, texts, _: cosine_map(dense.vv, texts),
    "vv_mixed": lambda dense, texts, _: cosine_map(dense.mixed, texts),
}


def heatmaps(
    clip: DenseEncoder,
    images: Images,
    texts: Sequence[str],
    path: Path = "standard",
    size_hw: tuple[int, int] | None = None,
) -> Floats:
    """Compute one map per image and text.

    Args:
        clip: A model with a `dense` graph.
        images: One image or an iterable of them. The maps cover what the model sees: the centre square, for models
            that crop.
        texts: Names ("denim") or phrases; each is put into CLIP Surgery's 85 templates.
        path: "standard" is CLIP Surgery: value-value tokens with feature surgery, which compares the texts with each
            other. "vv_vv", "vv_qk" and "vv_mixed" are the plain cosine of that stream with each text.
        size_hw: Bilinear resize to this many pixels; None keeps the patch grid.

    Returns:
        Similarities, (n, t, h, w) float32, higher where the text fits better; not scaled to a range (`unit_range`).

    Raises:
        DataError: No text, or an unknown path.
    """
    names = [texts] if isinstance(texts, str) else list(texts)
    if not names:
        raise DataError("heatmaps needs at least one text; got none.")
    if path not in PATHS:
        raise DataError(f"path must be one of {', '.join(PATHS)}; got {path!r}.")
    rows = clip.encode_texts([*names, ""], SURGERY)
    dense = clip.encode_dense(images)
    scores = PATHS[path](dense, rows[:-1], rows[-1])  # (n, p, t)
    n, _, t = scores.shape
    maps: Floats = scores.transpose(0, 2, 1).reshape(n, t, *dense.grid_hw)
    return maps if size_hw is None else resize_maps(maps, size_hw)


def resize_maps(maps: Floats, size_hw: tuple[int, int]) -> Floats:
    """Resize maps (..., gh, gw) to (..., h, w), bilinear with half-pixel centres (align_corners=False)."""
    if min(size_hw) < 1:
        raise ShapeError(f"size_hw must be positive; got {size_hw}.")
    rows = _bilinear(maps.shape[-2], size_hw[0])
    columns = _bilinear(maps.shape[-1], size_hw[1])
    out: Floats = (rows @ maps @ columns.T).astype(np.float32, copy=False)
    return out


def unit_range(maps: Floats) -> Floats:
    """Scale each map (..., h, w) to [0, 1]; a constant map becomes 0 everywhere."""
    low = maps.min(axis=(-2, -1), keepdims=True)
    span = maps.max(axis=(-2, -1), keepdims=True) - low
    scaled = (maps - low) / np.where(span > 0, span, 1)  # a flat map: 0 / 1
    out: Floats = scaled.astype(np.float32)
    return out


def _bilinear(size: int, new: int) -> Floats:
    """Weights (new, size) of linear interpolation along one axis."""
    at = np.clip((np.arange(new) + 0.5) * size / new - 0.5, 0, size - 1)
    low = np.minimum(at.astype(np.int64), max(size - 2, 0))
    share = (at - low).astype(np.float32)
    weights = np.zeros((new, size), np.float32)
    weights[np.arange(new), low] = 1 - share
    if size > 1:
        weights[np.arange(new), low + 1] += share
    return weights
