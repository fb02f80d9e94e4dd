"""Damage to the cloth, each kind with its exact mask."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from clipfast.datasets.fabricworld import flaws
from clipfast.datasets.fabricworld.flaws import Outlines, Patch, Site
from clipfast.datasets.fabricworld.noise import FRAME, Field
from clipfast.datasets.fabricworld.raster import fill, window_around
from clipfast.types import Pixels

__all__ = ["DEFECTS", "Defect", "SceneDefect", "as_seen", "draw_defect"]

_TRIES = 24
_MARGIN = 22.0  # units between the centre of a defect and the edge
_COVERED = 0.25  # share of a pixel from which on it belongs to the mask


@dataclass(frozen=True, slots=True)
class Defect:
    """A kind of damage.

    Attributes:
        name: English name, as it stands in captions.
        zh: Chinese name.
        outline: Draws where it is, in units around its centre.
        paint: Changes a patch of the picture.
        local: Of low contrast and confined to a small area: seen only beside intact cloth.
    """

    name: str
    zh: str
    outline: Callable[[Site], Outlines]
    paint: Callable[[Site, Patch], None]
    local: bool = False

    @property
    def id(self) -> str:
        """The name as a folder name."""
        return self.name.replace(" ", "_")


DEFECTS: Mapping[str, Defect] = MappingProxyType(
    {
        defect.name: defect
        for defect in (
            Defect("hole", "破洞", flaws.hole, flaws.paint_hole),
            Defect("stain", "污渍", flaws.stain, flaws.paint_stain),
            Defect("scratch", "划痕", flaws.scratch, flaws.paint_scratch),
            Defect("thread pull", "抽丝", flaws.thread_pull, flaws.paint_thread_pull),
            Defect("missing stitches", "漏针", flaws.missing_stitches, flaws.paint_missing_stitches),
            Defect("faint mark", "淡痕", flaws.faint_mark, flaws.paint_faint_mark, local=True),
            Defect("weave fault", "织疵", flaws.weave_fault, flaws.paint_weave_fault, local=True),
        )
    }
)


@dataclass(frozen=True, slots=True)
class SceneDefect:
    """What was damaged.

    Attributes:
        kind: Name of the defect, a key of `DEFECTS`.
        box: Smallest box that holds its mask: xyxy, half-open. Where a later defect lies over it, the mask is what is
            left to see.
    """

    kind: str
    box: tuple[float, float, float, float]


def draw_defect(rng: np.random.Generator, image: Field, site: Site, labels: Pixels, taken: Pixels) -> SceneDefect:
    """Damage `image` where nothing lies yet.

    Args:
        rng: Where the place comes from; everything else comes from the site's generator.
        image: RGB levels, (size, size, 3) float64; changed in place.
        site: The cloth, and which kind.
        labels: Numbers of defects, (size, size) uint8; the new one is written, in place.
        taken: Numbers of objects, (size, size) uint8; a place that covers little of them is looked for.
    """
    size, scale, defect = len(image), len(image) / FRAME, DEFECTS[site.kind]
    outlines = [outline * scale for outline in defect.outline(site)]
    busy = (labels > 0) | (taken > 0)
    for _ in range(_TRIES):
        centre = rng.uniform(_MARGIN, FRAME - _MARGIN, 2) * scale
        corners = np.concatenate(outlines) + centre
        first, (height, width) = window_around(corners, 8 * scale, size)
        left, top = first.tolist()
        window = (slice(top, top + height), slice(left, left + width))
        cover = fill([outline + centre - first for outline in outlines], (height, width))
        mask = (cover > 0) & (cover >= min(_COVERED, float(cover.max())))
        if np.count_nonzero(mask & busy[window]) * 4 <= np.count_nonzero(mask):
            break
    defect.paint(site, Patch(image, window, cover, scale))
    labels[window][mask] = int(labels.max()) + 1
    return SceneDefect(site.kind, _box_of(labels == labels.max()))


def as_seen(defects: Sequence[SceneDefect], labels: Pixels) -> list[SceneDefect]:
    """Return defects with the boxes of what is left of them to see; one that is wholly covered keeps its box."""
    masks = [labels == number for number in range(1, len(defects) + 1)]
    return [replace(each, box=_box_of(mask)) if mask.any() else each for each, mask in zip(defects, masks, strict=True)]


def _box_of(mask: NDArray[np.bool_]) -> tuple[float, float, float, float]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)
