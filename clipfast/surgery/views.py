"""Ways to look at images: as the model's preprocessing does, by a plan for the whole image, or piece by piece."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np

from clipfast.runtime.batching import batches, prefetch
from clipfast.runtime.images import load_pixels
from clipfast.runtime.preprocess import preprocess
from clipfast.runtime.session import available_cores
from clipfast.surgery.evidence import Question
from clipfast.surgery.fusion import fuse_maps
from clipfast.surgery.geometry import Geometry, fit_geometry, image_hw, scaled_rgb
from clipfast.surgery.paths import Path
from clipfast.surgery.upsample import edge_aware, resize_maps
from clipfast.surgery.windows import Blend, Windows, window_boxes
from clipfast.types import Floats, ImageSource, Pixels

__all__ = ["direct_maps", "framed_maps", "window_maps"]

MapsByPath: TypeAlias = dict[Path, Floats]
SizeHW: TypeAlias = tuple[int, int]


def direct_maps(question: Question, sources: Iterable[ImageSource], size_hw: SizeHW | None) -> Iterator[MapsByPath]:
    """Yield the maps of batches; the model reads and prepares the images itself."""
    for group in batches(sources, question.options.batch_size):
        grids = question.grids(group)
        yield grids if size_hw is None else {path: resize_maps(maps, size_hw) for path, maps in grids.items()}


def framed_maps(question: Question, sources: Iterable[ImageSource], size_hw: SizeHW | None) -> Iterator[MapsByPath]:
    """Yield the maps of batches; each image is decoded once, for all graphs, and framed by the geometry asked for."""
    size = question.options.batch_size
    ready = prefetch(partial(_framed, question, size_hw), sources, workers=available_cores(), ahead=2 * size)
    for group in batches(ready, size):
        grids = question.grids(np.stack([each.pixels for each in group]))
        if size_hw is None:
            yield grids
        else:
            yield {
                path: np.stack([_laid(question, each, one, size_hw) for each, one in zip(group, maps, strict=True)])
                for path, maps in grids.items()
            }


def window_maps(question: Question, source: ImageSource, size_hw: SizeHW) -> MapsByPath:
    """Return the maps of one image, (1, t, h, w), blended from windows and averaged over scales."""
    options, manifest = question.options, question.tower.manifest
    image = load_pixels(source, max_pixels=question.tower.max_pixels, exif=question.tower.exif)
    pixels = scaled_rgb(image, image_hw(image))
    windows = options.windows or Windows()
    side = windows.side if windows.side is not None else max(manifest.image.size_hw)
    sides = [max(1, round(min(pixels.shape[:2]) / scale)) for scale in options.scales] or [side]
    looks = [_blended(question, pixels, each, windows.overlap, size_hw) for each in sides]
    fused = {path: fuse_maps([look[path] for look in looks], options.scale_weights) for path in question.paths}
    if options.edge_aware is not None:
        patch = min(sides) / max(manifest.model.grid_hw) * size_hw[0] / pixels.shape[0]
        guide = scaled_rgb(pixels, size_hw)
        fused = {path: edge_aware(maps, guide, options.edge_aware, patch=patch) for path, maps in fused.items()}
    return {path: maps[None] for path, maps in fused.items()}


def _blended(question: Question, pixels: Pixels, side: int, overlap: float, size_hw: SizeHW) -> MapsByPath:
    """Return the maps of one image at one window size, (t, h, w)."""
    whole = image_hw(pixels)
    boxes = window_boxes(whole, (side, side), overlap)
    spec = question.tower.manifest.image
    plan = fit_geometry(question.options.geometry or "squash", (min(side, whole[0]), min(side, whole[1])), spec)
    blends = {path: Blend(whole, question.count, size_hw) for path in question.paths}
    for group in batches(boxes, question.options.batch_size):
        frames = np.stack([plan.apply(pixels[top:bottom, left:right]) for left, top, right, bottom in group])
        for path, found in question.grids(frames).items():
            for box, maps in zip(group, found, strict=True):
                blends[path].add(box, plan, maps)
    return {path: blend.result() for path, blend in blends.items()}


@dataclass(frozen=True, slots=True)
class _Framed:
    """An image made ready: how, the pixels for the model, and the picture whose edges count, if one is wanted."""

    plan: Geometry | None
    pixels: Pixels
    guide: Pixels | None


def _framed(question: Question, size_hw: SizeHW | None, source: ImageSource) -> _Framed:
    options, spec = question.options, question.tower.manifest.image
    image = load_pixels(source, max_pixels=question.tower.max_pixels, exif=question.tower.exif)
    plan = None if options.geometry is None else fit_geometry(options.geometry, image_hw(image), spec)
    pixels = preprocess(image, spec) if plan is None else plan.apply(image)
    guide = None
    if options.edge_aware is not None and size_hw is not None:
        guide = scaled_rgb(pixels if plan is None else image, size_hw)
    return _Framed(plan, pixels, guide)


def _laid(question: Question, framed: _Framed, maps: Floats, size_hw: SizeHW) -> Floats:
    """Lay the maps (t, gh, gw) of one image over what they cover."""
    plan = framed.plan
    laid = resize_maps(maps, size_hw) if plan is None else plan.maps_to_image(maps, size_hw)
    if question.options.edge_aware is None or framed.guide is None:
        return laid
    covered = 1.0 if plan is None else plan.model_hw[0] / plan.scaled_hw[0]  # of the image, by all patches of a column
    patch = covered * size_hw[0] / maps.shape[-2]
    return edge_aware(laid, framed.guide, question.options.edge_aware, patch=patch)
