"""Coloured shapes that lie on the cloth, each with its exact box."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from PIL import Image, ImageDraw

from clipfast.datasets.fabricworld.colours import dye
from clipfast.datasets.fabricworld.noise import FRAME, Field, blur, fraction, smooth_noise
from clipfast.types import Ints

__all__ = ["SHAPES", "SceneObject", "Shape", "draw_object"]

_SUBPIXELS = 4  # along each side, when an outline is filled


@dataclass(frozen=True, slots=True)
class SceneObject:
    """What was drawn.

    Attributes:
        shape: Name of the shape, a key of `SHAPES`.
        colour: Name of the colour, a key of `COLOURS`.
        box: Smallest box that holds every pixel the shape covers at least partly, without its shadow: xyxy, half-open.
    """

    shape: str
    colour: str
    box: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Shape:
    """A shape.

    Attributes:
        name: English name.
        zh: Chinese name.
        outline: Corners inside the unit circle, y downwards, (corners, 2).
    """

    name: str
    zh: str
    outline: Field


@dataclass(frozen=True, slots=True, eq=False)
class _Placed:
    """A shape in its place, seen through a window of the picture that is just large enough for it and its shadow.

    Attributes:
        colour: Name of its colour.
        left_top: Where the window begins, in pixels of the picture, (2,) int64.
        size_hw: Pixels of the window.
        outline: Corners in pixels of the window, (corners, 2).
        centre: In pixels of the window, (2,).
        radius: In pixels.
        angle: In radians.
    """

    colour: str
    left_top: Ints
    size_hw: tuple[int, int]
    outline: Field
    centre: Field
    radius: float
    angle: float

    @property
    def x(self) -> Field:
        """Distance of pixels from the centre to the right, in radii, (1, w)."""
        across: Field = (np.arange(self.size_hw[1]) + 0.5 - self.centre[0]) / self.radius
        return across[None, :]

    @property
    def y(self) -> Field:
        """Distance of pixels from the centre downwards, in radii, (h, 1)."""
        down: Field = (np.arange(self.size_hw[0]) + 0.5 - self.centre[1]) / self.radius
        return down[:, None]

    def fill(self, factor: float = 1.0) -> Field:
        """Return how much of each pixel lies inside the outline, shrunk towards the centre, (h, w) in 0..1."""
        outline = (self.outline - self.centre) * factor + self.centre
        height, width = self.size_hw
        drawing = Image.new("L", (width * _SUBPIXELS, height * _SUBPIXELS))
        # Pillow counts from the centre of the first (sub)pixel, we count from its corner.
        ImageDraw.Draw(drawing).polygon([(x, y) for x, y in (outline * _SUBPIXELS - 0.5).tolist()], fill=255)
        return np.asarray(drawing.reduce(_SUBPIXELS), dtype=np.float64) / 255


def draw_object(
    rng: np.random.Generator, image: Field, shape: str, colour: str, cell: tuple[float, float, float]
) -> SceneObject:
    """Draw one object and its shadow into `image`, somewhere inside a square cell.

    Args:
        rng: Where size, place, angle and dye come from.
        image: RGB levels, (size, size, 3) float64; changed in place.
        shape: A key of `SHAPES`.
        colour: A key of `COLOURS`.
        cell: Left, top and side of the cell in units; no pixel of the shape leaves it.

    Returns:
        What was drawn.
    """
    size = len(image)
    placed = _place(rng, SHAPES[shape].outline, colour, size, cell)
    cover = placed.fill()
    if shape == "ring":
        cover = cover - placed.fill(rng.uniform(0.5, 0.68))
    (left, top), (height, width) = placed.left_top.tolist(), placed.size_hw
    window = (slice(top, top + height), slice(left, left + width))
    pigment = np.broadcast_to(dye(rng, colour), (height, width, 3))
    shade = 1 + 0.04 * smooth_noise(rng, size, 3)[window]
    shade = shade + 0.12 * (placed.x * rng.uniform(-1, 1) + placed.y * rng.uniform(-1, 1))
    if decorate := _DECORATIONS.get(shape):
        pigment, shade = decorate(placed, pigment, shade)
    mask = cover[..., None]
    shadowed = image[window] * (1 - _shadow(rng, cover, size / FRAME))[..., None]
    image[window] = np.clip(shadowed * (1 - mask) + pigment * shade[..., None] * mask, 0, 255)
    return SceneObject(shape, colour, _tight_box(cover, left, top))


def _place(
    rng: np.random.Generator, outline: Field, colour: str, size: int, cell: tuple[float, float, float]
) -> _Placed:
    scale = size / FRAME
    left, top, side = cell
    # The gap keeps the shadow's offset, at most 3 units, from running out of the window.
    gap = 4.0
    radius = rng.uniform(15, min(44.0, side / 2 - gap - 1))
    centre = np.array([left, top]) + rng.uniform(radius + gap, side - radius - gap, 2)
    upright = rng.random() < 0.7
    angle = rng.normal(0, 0.25) if upright else rng.uniform(0, 2 * np.pi)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    corners = (outline @ turn * radius + centre) * scale
    margin = 10 * scale
    first = np.clip(np.floor(corners.min(axis=0) - margin), 0, size).astype(np.int64)
    width, height = (np.clip(np.ceil(corners.max(axis=0) + margin), 0, size).astype(np.int64) - first).tolist()
    return _Placed(colour, first, (height, width), corners - first, centre * scale - first, radius * scale, angle)


def _shadow(rng: np.random.Generator, cover: Field, scale: float) -> Field:
    """Return the darkening around an object, not under it."""
    down, across = int(rng.integers(1, 4) * scale), int(rng.integers(-3, 4) * scale)
    return 0.4 * blur(np.roll(cover, (down, across), axis=(0, 1)), 2 * scale) * (1 - cover)


def _tight_box(cover: Field, left: int, top: int) -> tuple[float, float, float, float]:
    rows, columns = np.flatnonzero(cover.any(axis=1)) + top, np.flatnonzero(cover.any(axis=0)) + left
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def _sew_button(placed: _Placed, pigment: Field, shade: Field) -> tuple[Field, Field]:
    """Press a groove near the rim and cut four holes."""
    from_centre = np.hypot(placed.x, placed.y)
    shade = shade * (1 - 0.3 * np.exp(-(((from_centre - 0.78) / 0.07) ** 2)))
    for quarter in range(4):
        direction = placed.angle + (quarter + 0.5) * np.pi / 2
        hole = np.hypot(placed.x - 0.27 * np.cos(direction), placed.y - 0.27 * np.sin(direction)) < 0.11
        shade = np.where(hole, 0.15 * shade, shade)
    return pigment, shade


def _grow_flower(placed: _Placed, pigment: Field, shade: Field) -> tuple[Field, Field]:
    """Put a yellow disc in the middle, brown in a yellow flower."""
    middle = np.hypot(placed.x, placed.y) < 0.24
    disc = (120.0, 70.0, 30.0) if placed.colour == "yellow" else (245.0, 205.0, 60.0)
    return np.where(middle[..., None], disc, pigment), shade


def _stitch_patch(placed: _Placed, pigment: Field, shade: Field) -> tuple[Field, Field]:
    """Sew a dashed seam along the edge, light on dark and dark on light."""
    seam = placed.fill(0.86) - placed.fill(0.78)
    dashes = fraction((placed.x + placed.y) * 6) < 0.6
    contrast = 0.5 if pigment[0, 0].mean() < 110 else -0.45
    return pigment, shade * (1 + contrast * seam * dashes)


_DECORATIONS: Mapping[str, Callable[[_Placed, Field, Field], tuple[Field, Field]]] = {
    "button": _sew_button,
    "flower": _grow_flower,
    "patch": _stitch_patch,
}


def _polar(radii: Field) -> Field:
    """Return corners at equal angles, the first straight up, then clockwise."""
    angles = np.arange(len(radii)) * 2 * np.pi / len(radii)
    return np.stack([radii * np.sin(angles), -radii * np.cos(angles)], axis=1)


def _heart() -> Field:
    angles = np.arange(72) * 2 * np.pi / 72
    across = 16 * np.sin(angles) ** 3
    up = 13 * np.cos(angles) - 5 * np.cos(2 * angles) - 2 * np.cos(3 * angles) - np.cos(4 * angles)
    return np.stack([across, -up], axis=1) / 17.1


_ARM = 0.32  # half the width of an arm of the cross
_CIRCLE = _polar(np.ones(72))
_CROSS_CORNER = np.array([(-_ARM, -1), (_ARM, -1), (_ARM, -_ARM)])
_QUARTER = np.array([(0, 1), (-1, 0)])  # turns a row of corners clockwise, y downwards
_CROSS = np.concatenate([_CROSS_CORNER @ np.linalg.matrix_power(_QUARTER, turns) for turns in range(4)])

SHAPES: Mapping[str, Shape] = MappingProxyType(
    {
        shape.name: shape
        for shape in (
            Shape("button", "纽扣", _CIRCLE),
            Shape("patch", "补丁", np.array([(-0.75, -0.65), (0.75, -0.65), (0.75, 0.65), (-0.75, 0.65)])),
            Shape("star", "星形", _polar(np.tile([1.0, 0.42], 5))),
            Shape("ring", "圆环", _CIRCLE),
            Shape("triangle", "三角形", _polar(np.ones(3))),
            Shape("cross", "十字形", 0.95 * _CROSS),
            Shape("heart", "心形", _heart()),
            Shape("flower", "花形", _polar(0.72 + 0.28 * np.cos(5 * np.arange(72) * 2 * np.pi / 72))),
        )
    }
)
