"""Colours by name: the nearest named point in OKLab, where equal distances look about equally different.

The names are the eleven basic colour terms of English (Berlin and Kay, 1969), with turquoise and beige, which cloth is
often called. A name has several points, because light and dark blue are both blue. OKLab is Björn Ottosson's
(https://bottosson.github.io/posts/oklab, 2020).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from clipfast.types import Pixels

__all__ = ["COLOUR_NAMES", "DominantColour", "dominant_colour", "linear_cells", "oklab"]

Doubles: TypeAlias = NDArray[np.float64]
Rgb: TypeAlias = tuple[int, int, int]

COLOUR_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "red": "红色",
        "orange": "橙色",
        "yellow": "黄色",
        "green": "绿色",
        "turquoise": "青绿色",
        "blue": "蓝色",
        "purple": "紫色",
        "pink": "粉色",
        "brown": "棕色",
        "beige": "米色",
        "black": "黑色",
        "white": "白色",
        "grey": "灰色",
    }
)
"""Chinese name by English name."""

_POINTS: tuple[tuple[str, Rgb], ...] = (
    ("red", (200, 28, 32)), ("red", (120, 20, 36)),
    ("orange", (236, 120, 24)), ("orange", (205, 95, 30)),
    ("yellow", (236, 208, 48)), ("yellow", (190, 160, 50)), ("yellow", (245, 230, 140)),
    ("green", (36, 138, 56)), ("green", (26, 84, 40)), ("green", (110, 120, 50)), ("green", (140, 200, 140)),
    ("turquoise", (48, 190, 186)), ("turquoise", (20, 120, 120)),
    ("blue", (34, 66, 176)), ("blue", (24, 36, 84)), ("blue", (110, 160, 220)),
    ("purple", (112, 46, 150)), ("purple", (66, 30, 88)), ("purple", (170, 140, 205)),
    ("pink", (240, 140, 176)), ("pink", (200, 80, 130)),
    ("brown", (112, 70, 38)), ("brown", (66, 44, 30)), ("brown", (150, 105, 70)),
    ("beige", (212, 186, 144)),
    ("black", (30, 30, 33)),
    ("white", (238, 236, 230)),
    ("grey", (128, 128, 130)), ("grey", (185, 184, 182)), ("grey", (78, 78, 80)),
)  # fmt: skip
_NEUTRAL = ("black", "white", "grey")
_NEUTRAL_WEIGHT = 0.5  # red and white checks are called red
_LIGHTNESS_WEIGHT = 0.6  # folds and shadows change lightness first
_CELLS = 16

_TO_CONE = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


@dataclass(frozen=True, slots=True)
class DominantColour:
    """The colour that a cloth is called by.

    Attributes:
        name: A key of `COLOUR_NAMES`.
        rgb: Mean of the parts that have it, 0..255.
        share: Their share of the picture, in (0, 1].
    """

    name: str
    rgb: Rgb
    share: float


def oklab(linear: Doubles) -> Doubles:
    """Turn linear sRGB in [0, 1], (..., 3), into OKLab, (..., 3).

    >>> np.abs(np.round(oklab(np.ones(3)), 3)).tolist()
    [1.0, 0.0, 0.0]
    """
    lab: Doubles = np.cbrt(linear @ _TO_CONE.T) @ _TO_LAB.T
    return lab


def linear_cells(pixels: Pixels, size: int) -> Doubles:
    """Return the mean light of `size` x `size` equal parts, as linear sRGB in [0, 1], (size, size, 3).

    Light is what adds up when threads are too fine to be told apart, so the mean is taken of it and not of levels.
    """
    from clipfast.kernels.filters import area_mean

    light = _linear()[pixels]
    return np.stack([area_mean(light[..., c], (size, size)) for c in range(3)], axis=-1).astype(np.float64)


def dominant_colour(pixels: Pixels) -> DominantColour:
    """Name the colour of a cloth.

    Of 16 x 16 parts each is called by the nearest point; the name with the largest share is taken, where black, white
    and grey count half.

    Args:
        pixels: RGB, (h, w, 3) uint8.
    """
    cells = linear_cells(pixels, _CELLS).reshape(-1, 3)
    points, owners = _points()
    weights = np.array([_LIGHTNESS_WEIGHT, 1, 1])
    distances = (((oklab(cells)[:, None] - points) * weights) ** 2).sum(axis=2)
    named = owners[distances.argmin(axis=1)]
    names = list(COLOUR_NAMES)
    counts = np.bincount(named, minlength=len(names))
    weighted = counts * np.array([_NEUTRAL_WEIGHT if name in _NEUTRAL else 1.0 for name in names])
    best = int(weighted.argmax())
    levels = _levels(cells[named == best].mean(axis=0))
    return DominantColour(names[best], levels, float(counts[best] / len(cells)))


@lru_cache(maxsize=1)
def _linear() -> NDArray[np.float32]:
    levels = np.arange(256) / 255
    light = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    return light.astype(np.float32)


def _levels(light: Doubles) -> Rgb:
    levels = np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.clip(light, 0, 1) ** (1 / 2.4) - 0.055)
    red, green, blue = np.rint(255 * levels).astype(int).clip(0, 255).tolist()
    return red, green, blue


@lru_cache(maxsize=1)
def _points() -> tuple[Doubles, NDArray[Any]]:
    names = list(COLOUR_NAMES)
    light = _linear()[np.array([rgb for _, rgb in _POINTS])].astype(np.float64)
    return oklab(light), np.array([names.index(name) for name, _ in _POINTS])
