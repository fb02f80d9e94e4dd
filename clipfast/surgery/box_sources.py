"""Which boxes of a map are scored: one table, read by the options and the command line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from clipfast.surgery.box_fusion import FusionOptions, fused_boxes
from clipfast.surgery.boxes import Boxes, boxes_at
from clipfast.surgery.localise_options import BoxSource, LocaliseOptions
from clipfast.surgery.proposals import Proposals, propose, score_proposals, snap_boxes
from clipfast.types import Floats, Pixels

__all__ = ["BOX_SOURCES", "ImageRegions", "scored_boxes"]


@dataclass(eq=False)  # no slots: the proposals are kept
class ImageRegions:
    """What a box source may ask of the image: its region proposals, cut once for all maps and only if asked for.

    Attributes:
        pixels: RGB of the size of the maps, (h, w, 3) uint8.
    """

    pixels: Pixels

    @cached_property
    def proposals(self) -> Proposals:
        """Its regions.

        Raises:
            MissingExtraError: scikit-image is not installed.
        """
        return propose(self.pixels)


Source = Callable[[Floats, tuple[Boxes, ...], ImageRegions, LocaliseOptions], Boxes]


def _percentile(heat: Floats, levels: tuple[Boxes, ...], _regions: ImageRegions, options: LocaliseOptions) -> Boxes:
    """The boxes of one percentile; not computed again where the quality table has them."""
    if levels:
        return levels[options.levels.index(options.percentile)]
    return boxes_at(heat, (options.percentile,), options=options.boxes)[0]


def _multi(heat: Floats, _levels: tuple[Boxes, ...], _regions: ImageRegions, options: LocaliseOptions) -> Boxes:
    """Boxes of many thresholds, each place at the one where it stands out most."""
    return fused_boxes(heat, options=_fusion(options))


def _proposed(heat: Floats, _levels: tuple[Boxes, ...], regions: ImageRegions, options: LocaliseOptions) -> Boxes:
    """Regions of the image that stand out of the map."""
    return score_proposals(heat, regions.proposals, options=_fusion(options))


def _snapped(heat: Floats, levels: tuple[Boxes, ...], regions: ImageRegions, options: LocaliseOptions) -> Boxes:
    """Boxes of many thresholds, moved onto regions of the image."""
    return snap_boxes(_multi(heat, levels, regions, options), heat, regions.proposals)


BOX_SOURCES: dict[BoxSource, Source] = {
    "percentile": _percentile,
    "multi": _multi,
    "proposals": _proposed,
    "snapped": _snapped,
}


def scored_boxes(heat: Floats, levels: tuple[Boxes, ...], regions: ImageRegions, options: LocaliseOptions) -> Boxes:
    """Return the boxes of a map by the source asked for, from the highest score down.

    Args:
        heat: The map, (h, w).
        levels: Its boxes at `options.levels`, where they are known already; else empty.
        regions: Of the image under the map.
        options: What is asked for.

    Raises:
        MissingExtraError: The source needs scikit-image, and it is not installed.
    """
    return BOX_SOURCES[options.box_source](heat, levels, regions, options)


def _fusion(options: LocaliseOptions) -> FusionOptions:
    return FusionOptions(min_size_hw=options.boxes.min_size_hw, connectivity=options.boxes.connectivity)
