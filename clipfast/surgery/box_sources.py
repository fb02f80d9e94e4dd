"""Which boxes of a map are scored."""

from __future__ import annotations

from collections.abc import Callable

from clipfast.surgery.box_fusion import FusionOptions, fused_boxes
from clipfast.surgery.boxes import Boxes, boxes_at
from clipfast.surgery.localise_options import BoxSource, LocaliseOptions
from clipfast.types import Floats

__all__ = ["BOX_SOURCES", "scored_boxes"]


def _single(heat: Floats, levels: tuple[Boxes, ...], options: LocaliseOptions) -> Boxes:
    """The boxes of one percentile; not computed again where the quality table has them."""
    if levels:
        return levels[options.levels.index(options.percentile)]
    return boxes_at(heat, (options.percentile,), options=options.boxes)[0]


def _multi(heat: Floats, _levels: tuple[Boxes, ...], options: LocaliseOptions) -> Boxes:
    """Boxes of many thresholds, each place at the one where it stands out most."""
    fusion = FusionOptions(min_size_hw=options.boxes.min_size_hw, connectivity=options.boxes.connectivity)
    return fused_boxes(heat, options=fusion)


BOX_SOURCES: dict[BoxSource, Callable[[Floats, tuple[Boxes, ...], LocaliseOptions], Boxes]] = {
    "percentile": _single,
    "multi": _multi,
}


def scored_boxes(heat: Floats, levels: tuple[Boxes, ...], options: LocaliseOptions) -> Boxes:
    """Return the boxes of a map by the source asked for, from the highest score down.

    Args:
        heat: The map, (h, w).
        levels: Its boxes at `options.levels`, where they are known already; else empty.
        options: What is asked for.
    """
    return BOX_SOURCES[options.box_source](heat, levels, options)
