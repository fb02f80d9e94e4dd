"""The picture that `clipfast heatmap` writes: the image, and a panel with a colour bar for each text."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clipfast.errors import ShapeError
from clipfast.report.fonts import drawable, needs_chinese
from clipfast.report.images import colourise, contact_sheet, overlay
from clipfast.surgery import unit_range
from clipfast.types import Floats, Pixels

__all__ = ["MapFacts", "drawn_hw", "heat_sheet", "map_facts"]

_SMALLEST, _LARGEST = 320, 640  # longer side of a panel
_NARROW = 400  # of panels up to this width, four fit beside each other
_BAR = 10  # height of the colour bar below a panel
_LETTER = 7  # pixels that a letter of a caption takes, about


@dataclass(frozen=True, slots=True)
class MapFacts:
    """What can be said about one map.

    Attributes:
        text: What was looked for.
        max: Highest similarity.
        min: Lowest.
        peak_xy: Where the highest is, in pixels of the image.
        seen: Share of the image that the model saw.
    """

    text: str
    max: float
    min: float
    peak_xy: tuple[int, int]
    seen: float


def drawn_hw(size_hw: tuple[int, int]) -> tuple[int, int]:
    """Return the size of a panel: of the image's shape, neither tiny nor larger than a screen shows."""
    longer = max(size_hw)
    ratio = min(max(longer, _SMALLEST), _LARGEST) / longer
    return max(1, round(size_hw[0] * ratio)), max(1, round(size_hw[1] * ratio))


def map_facts(text: str, heat: Floats, image_hw: tuple[int, int]) -> MapFacts:
    """Read the facts of a map (h, w) that covers an image; NaN is what the model did not see."""
    if not np.isfinite(heat).any():
        raise ShapeError(
            f"an image of {image_hw[1]} x {image_hw[0]} pixels is too thin: the model's crop misses every pixel of its "
            "map. Pass --geometry squash or letterbox."
        )
    y, x = divmod(int(np.nanargmax(heat)), heat.shape[1])
    peak = int((x + 0.5) * image_hw[1] / heat.shape[1]), int((y + 0.5) * image_hw[0] / heat.shape[0])
    return MapFacts(text, float(np.nanmax(heat)), float(np.nanmin(heat)), peak, float(np.isfinite(heat).mean()))


def heat_sheet(pixels: Pixels, maps: Floats, facts: list[MapFacts]) -> Pixels:
    """Lay out an image (h, w, 3) and its maps (t, h, w), each from its lowest to its highest value.

    What the model did not see is drawn dark.
    """
    width = pixels.shape[1]
    bar = colourise(np.tile(np.linspace(0, 1, width, dtype=np.float32), (_BAR, 1)))
    panels, captions = [np.concatenate([pixels, np.full_like(bar, 255)])], ["image"]
    for number, (heat, fact) in enumerate(zip(unit_range(maps), facts, strict=True), start=1):
        seen = np.isfinite(heat)
        drawn = np.where(seen[..., None], overlay(pixels, np.where(seen, heat, np.float32(0))), pixels // 3)
        panels.append(np.concatenate([drawn.astype(np.uint8), bar]))
        captions.append(_caption(number, fact, width // _LETTER))
    return contact_sheet(panels, captions, columns=min(len(panels), 4 if width <= _NARROW else 3))


def _caption(number: int, fact: MapFacts, letters: int) -> str:
    """Name the text and the values at the bar's ends.

    Texts that no font at hand can draw are numbers, explained below the picture.
    """
    ends = f"{fact.min:z.3f} to {fact.max:z.3f}"
    name = fact.text if drawable(fact.text) else f"text {number}"
    room = max(8, letters - len(ends) - 2)
    while len(name) + sum(map(needs_chinese, name)) > room:  # a Chinese sign is as wide as two letters
        name = f"{name.removesuffix('..')[:-1]}.."
    return f"{name}  {ends}"
