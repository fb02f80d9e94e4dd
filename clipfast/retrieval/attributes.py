"""What can be said of a cloth without a model: colour, sheen, texture, direction, pattern; each with a definition.

The picture is looked at as a model would see it: the middle, at most 224 pixels a side. Every score is in [0, 1]. The
definitions were chosen, and the medians below measured, on fabricworld (24 fabrics in twelve colours, both cameras); on
photographs they were not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from clipfast.artifact import ImageSpec
from clipfast.errors import DataError
from clipfast.retrieval.colours import COLOUR_NAMES, Rgb, dominant_colour, linear_cells, oklab
from clipfast.runtime.images import load_image
from clipfast.runtime.preprocess import preprocess
from clipfast.types import ImageSource, Pixels

__all__ = ["CHOICES", "SCORES", "FabricAttributes", "Pattern", "extract_attributes", "visual_attributes"]

Doubles: TypeAlias = NDArray[np.float64]
Pattern: TypeAlias = Literal["plain", "stripes", "checks", "motif"]

PATTERN_NAMES: Mapping[Pattern, str] = MappingProxyType(
    {"plain": "素色", "stripes": "条纹", "checks": "格纹", "motif": "花纹"}
)
SCORES: Mapping[str, str] = MappingProxyType(
    {
        "sheen_score": "broad soft highlights: 0 matt, 1 glossy",
        "texture_complexity": "fine relief: 0 smooth, 1 rough",
        "directionality": "threads or ribs in one direction: 0 none, 1 all",
    }
)
"""Attributes that are numbers in [0, 1], with what they mean."""
CHOICES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"dominant_color_name": tuple(COLOUR_NAMES), "pattern": get_args(Pattern)}
)
"""Attributes that are one of several words."""

_SIDE, _LEAST = 224, 32
_OFFSET = 8.0  # levels; keeps black cloth from being all texture
_TEXTURE_HALF = 0.1
_BROAD, _SHEEN_FULL, _FINE_WEIGHT = 5.0, 0.2, 0.25
_SMALL = 32
_GRID, _BAND = 56, (4.0, 24.0)
_CONTRAST, _REGULAR, _STRONGEST = 0.06, 0.35, 12
_SECTORS, _HALF_WIDTH = 36, 2
_ONE_WAY, _TWO_WAYS, _SECOND_WAY = 0.8, 0.75, 0.2


@dataclass(frozen=True, slots=True)
class FabricAttributes:
    """The attributes of one cloth.

    Attributes:
        dominant_color_name: Basic colour term in English; see `clipfast.retrieval.colours`.
        dominant_color_zh: The same in Chinese.
        dominant_rgb: Mean of the parts that have this colour, 0..255.
        dominant_share: Their share of the picture, in (0, 1].
        sheen_score: In [0, 1]. With b the deviation of luminance on waves of 1 to 5 a picture, f on shorter waves and g
            the texture below, all over the mean luminance: b² / (b² + f² + g² / 4), times b / .2 up to 1. Medians:
            velvet .85, satin .67, chiffon .69, tweed .24, polka dots .10. Uneven light raises it.
        texture_complexity: In [0, 1]: t / (t + .1), t the mean gradient of luminance over the mean luminance. Medians:
            chiffon .24, satin .32, leather .52, tweed .58.
        directionality: In [0, 1]: coherence of the structure tensor, (λ1 - λ2) / (λ1 + λ2). Medians: stripes .96,
            corduroy .78, twill .18, canvas .01.
        direction_degrees: Which way the lines run, in [0, 180), counted from the horizontal, anticlockwise; means
            little where `directionality` is low.
        pattern: `plain` where 56 x 56 parts differ little in OKLab or not regularly; else `stripes` where the waves
            have one direction, `checks` where they have two at right angles, `motif` otherwise.
    """

    dominant_color_name: str
    dominant_color_zh: str
    dominant_rgb: Rgb
    dominant_share: float
    sheen_score: float
    texture_complexity: float
    directionality: float
    direction_degrees: float
    pattern: Pattern

    @property
    def pattern_zh(self) -> str:
        """The pattern's name in Chinese."""
        return PATTERN_NAMES[self.pattern]

    def as_dict(self) -> dict[str, Any]:
        """Return `{"visual": {...}}`, the form that rules are asked with."""
        return {"visual": {**asdict(self), "pattern_zh": self.pattern_zh}}


def extract_attributes(image: ImageSource) -> FabricAttributes:
    """Measure a picture of cloth.

    Args:
        image: A path, bytes, an open file, a PIL image or a uint8 (h, w, 3) array; a crop that shows cloth only.

    Raises:
        ImageError: It cannot be read.

    >>> from clipfast.datasets.fabricworld import render
    >>> found = extract_attributes(render(1, fabric="stripes", colour="red").image)
    >>> found.dominant_color_name, found.dominant_color_zh, found.pattern, found.directionality > 0.5
    ('red', '红色', 'stripes', True)
    """
    from clipfast.kernels.filters import luminance

    photo = load_image(image)
    side = min(max(min(photo.size), _LEAST), _SIDE)
    pixels = preprocess(photo, ImageSpec((side, side), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)))
    grey = luminance(pixels).astype(np.float64)
    mean = float(grey.mean()) + _OFFSET
    down, right = (np.asarray(slope, np.float64) for slope in np.gradient(grey))
    texture = float(np.hypot(down, right).mean()) / mean
    directionality, degrees = _direction(down, right)
    colour = dominant_colour(pixels)
    return FabricAttributes(
        dominant_color_name=colour.name,
        dominant_color_zh=COLOUR_NAMES[colour.name],
        dominant_rgb=colour.rgb,
        dominant_share=colour.share,
        sheen_score=_sheen(grey, mean, texture),
        texture_complexity=texture / (texture + _TEXTURE_HALF),
        directionality=directionality,
        direction_degrees=degrees,
        pattern=_pattern(pixels),
    )


def visual_attributes(attrs: FabricAttributes | Mapping[str, Any]) -> dict[str, float | str]:
    """Return the attributes that rules know, checked; from `extract_attributes`, or a dict with or without "visual".

    Raises:
        DataError: A value has the wrong type or range, or none of the attributes is there; the known ones are named.
    """
    given: Mapping[str, Any] = attrs.as_dict() if isinstance(attrs, FabricAttributes) else attrs
    if not isinstance(given, Mapping):
        raise DataError(f"attrs must be a dict or what extract_attributes() returns; got {type(given).__name__}.")
    visual = given.get("visual", given)
    if not isinstance(visual, Mapping):
        raise DataError(f'attrs["visual"] must be a dict of attributes; got {type(visual).__name__}.')
    found: dict[str, float | str] = {}
    for name in SCORES:
        if name in visual:
            found[name] = _checked_score(name, visual[name])
    for name, words in CHOICES.items():
        if name in visual:
            if visual[name] not in words:
                raise DataError(f"{name} must be one of {', '.join(words)}; got {visual[name]!r}.")
            found[name] = visual[name]
    if not found:
        raise DataError(
            f"attrs must hold one of {', '.join([*SCORES, *CHOICES])}; got {', '.join(map(str, visual)) or 'none'}. "
            "Pass extract_attributes(image)."
        )
    return found


def _checked_score(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | np.floating) or not 0 <= value <= 1:
        raise DataError(f"{name} must be a number in [0, 1]; got {value!r}.")
    return float(value)


def _direction(down: Doubles, right: Doubles) -> tuple[float, float]:
    """Return the coherence of the structure tensor, and the angle along which the picture changes least."""
    across, along, mixed = float((right**2).mean()), float((down**2).mean()), float((right * down).mean())
    total = across + along
    if total < 1e-9:
        return 0.0, 0.0
    coherence = float(np.hypot(across - along, 2 * mixed)) / total
    steepest = 0.5 * np.arctan2(2 * mixed, across - along)  # rows count downwards
    return min(coherence, 1.0), float((90 - np.degrees(steepest)) % 180)


def _sheen(grey: Doubles, mean: float, texture: float) -> float:
    from clipfast.kernels.filters import area_mean

    small = area_mean(grey.astype(np.float32), (_SMALL, _SMALL)).astype(np.float64)
    power = np.abs(np.fft.fft2(small - small.mean())) ** 2 / _SMALL**4
    radius = _radius(_SMALL)
    broad = float(power[(radius > 0) & (radius <= _BROAD)].sum()) / mean**2
    fine = float(power[radius > _BROAD].sum()) / mean**2 + _FINE_WEIGHT * texture**2
    if broad + fine < 1e-12:
        return 0.0
    return broad / (broad + fine) * min(1.0, float(np.sqrt(broad)) / _SHEEN_FULL)


def _pattern(pixels: Pixels) -> Pattern:
    lab = oklab(linear_cells(pixels, _GRID)).reshape(-1, 3)
    centred = lab - lab.mean(axis=0)
    values, axes = np.linalg.eigh(centred.T @ centred)
    view = (centred @ axes[:, values.argmax()]).reshape(_GRID, _GRID)  # along which it differs most
    window = np.hanning(_GRID)
    power = np.abs(np.fft.fft2(view * window[:, None] * window)) ** 2
    radius = _radius(_GRID)
    band = np.where((radius >= _BAND[0]) & (radius <= _BAND[1]), power, 0.0)
    inside, everything = float(band.sum()), float(power.sum())
    if everything == 0 or inside == 0:
        return "plain"
    contrast = (inside / everything) ** 0.5 * float((centred**2).sum(axis=1).mean()) ** 0.5
    regular = float(np.sort(band.ravel())[-_STRONGEST:].sum()) / inside
    if contrast < _CONTRAST or regular < _REGULAR:
        return "plain"
    first, second = _two_ways(band / inside)
    if first >= _ONE_WAY:
        return "stripes"
    return "checks" if first + second >= _TWO_WAYS and second >= _SECOND_WAY else "motif"


def _two_ways(shares: Doubles) -> tuple[float, float]:
    """Return the share of the waves within 12.5 degrees of the strongest direction, and of that across it."""
    rows, columns = _frequencies(_GRID)
    sector = (np.arctan2(rows, columns) % np.pi / np.pi * _SECTORS).astype(int).clip(0, _SECTORS - 1)
    around = np.bincount(sector.ravel(), weights=shares.ravel(), minlength=_SECTORS)
    near = np.array(
        [around[np.arange(at - _HALF_WIDTH, at + _HALF_WIDTH + 1) % _SECTORS].sum() for at in range(_SECTORS)]
    )
    best = int(near.argmax())
    return float(near[best]), float(near[(best + _SECTORS // 2) % _SECTORS])


def _frequencies(size: int) -> tuple[Doubles, Doubles]:
    waves = np.fft.fftfreq(size, 1 / size)
    rows, columns = np.meshgrid(waves, waves, indexing="ij")
    return rows, columns


def _radius(size: int) -> Doubles:
    radius: Doubles = np.hypot(*_frequencies(size))
    return radius
