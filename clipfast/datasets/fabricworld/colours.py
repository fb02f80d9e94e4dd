"""The twelve colours, in English and Chinese."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from clipfast.datasets.fabricworld.noise import Field

__all__ = ["COLOURS", "Colour", "dye"]


@dataclass(frozen=True, slots=True)
class Colour:
    """A colour by name, with the RGB levels around which its dyes vary."""

    name: str
    zh: str
    rgb: tuple[int, int, int]
    neutral: bool = False


COLOURS: Mapping[str, Colour] = MappingProxyType(
    {
        colour.name: colour
        for colour in (
            Colour("red", "红色", (200, 28, 32)),
            Colour("orange", "橙色", (236, 120, 24)),
            Colour("yellow", "黄色", (236, 208, 48)),
            Colour("green", "绿色", (36, 138, 56)),
            Colour("turquoise", "青绿色", (48, 190, 186)),
            Colour("blue", "蓝色", (34, 66, 176)),
            Colour("purple", "紫色", (112, 46, 150)),
            Colour("pink", "粉色", (240, 140, 176)),
            Colour("brown", "棕色", (112, 70, 38)),
            Colour("black", "黑色", (36, 36, 39), neutral=True),
            Colour("white", "白色", (236, 234, 228), neutral=True),
            Colour("grey", "灰色", (128, 128, 130), neutral=True),
        )
    }
)


def dye(rng: np.random.Generator, name: str) -> Field:
    """Draw RGB levels that are still called `name`, (3,) float64 in 0..255."""
    colour = COLOURS[name]
    levels = np.array(colour.rgb, dtype=np.float64)
    if not colour.neutral:
        return np.clip(levels * rng.uniform(0.88, 1.1) + rng.normal(0, 9, 3), 6, 250)
    # A neutral colour may be lighter or darker, but three independent shifts would give it a tint.
    shift = rng.normal(0, 9) + rng.normal(0, 2.5, 3)
    if name == "grey":
        return np.clip(levels + shift, 80, 170)
    return np.clip(levels * rng.uniform(0.88, 1.1) + shift, 6, 250)
