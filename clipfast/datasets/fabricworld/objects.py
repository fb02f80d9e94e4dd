"""Coloured shapes that lie on the cloth, each with its exact box and mask."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from clipfast.datasets.fabricworld.colours import dye
from clipfast.datasets.fabricworld.noise import FRAME, Field, blur, fraction, smooth_noise
from clipfast.datasets.fabricworld.raster import fill, window_around
from clipfast.datasets.fabricworld.shapes import SHAPES
from clipfast.types import Ints, Pixels

__all__ = ["Place", "SceneObject", "draw_object", "place_in"]

_RADII = (15.0, 44.0)  # of objects, in units


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


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Where an object lies, in units: its centre (2,), its radius, and its angle in radians."""

    centre: Field
    radius: float
    angle: float


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
        return fill([(self.outline - self.centre) * factor + self.centre], self.size_hw)


def draw_object(
    rng: np.random.Generator,
    image: Field,
    shape: str,
    colour: str,
    where: tuple[float, float, float] | Place,
    labels: Pixels | None = None,
) -> SceneObject:
    """Draw one object and its shadow into `image`, somewhere inside a square cell or in a given place.

    Args:
        rng: Where size, place, angle and dye come from.
        image: RGB levels, (size, size, 3) float64; changed in place.
        shape: A key of `SHAPES`.
        colour: A key of `COLOURS`.
        where: Left, top and side of the cell in units, and no pixel of the shape leaves it; or the place.
        labels: Numbers of objects, (size, size) uint8: pixels of which the shape covers at least half get the next
            number, in place.

    Returns:
        What was drawn.
    """
    size = len(image)
    place = where if isinstance(where, Place) else place_in(rng, where)
    placed = _put(place, SHAPES[shape].outline, colour, size)
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
    if labels is not None:
        labels[window][cover >= min(0.5, float(cover.max()))] = int(labels.max()) + 1
    return SceneObject(shape, colour, _tight_box(cover, left, top))


def place_in(rng: np.random.Generator, cell: tuple[float, float, float], radii: tuple[float, float] = _RADII) -> Place:
    """Draw a place inside a square cell: left, top and side in units."""
    left, top, side = cell
    # The gap keeps the shadow's offset, at most 3 units, from running out of the window.
    gap = 4.0
    radius = rng.uniform(radii[0], min(radii[1], side / 2 - gap - 1))
    centre = np.array([left, top]) + rng.uniform(radius + gap, side - radius - gap, 2)
    upright = rng.random() < 0.7
    angle = rng.normal(0, 0.25) if upright else rng.uniform(0, 2 * np.pi)
    return Place(centre, radius, angle)


def _put(place: Place, outline: Field, colour: str, size: int) -> _Placed:
    scale = size / FRAME
    cos, sin = np.cos(place.angle), np.sin(place.angle)
    corners = (outline @ np.array([[cos, sin], [-sin, cos]]) * place.radius + place.centre) * scale
    first, size_hw = window_around(corners, 10 * scale, size)
    centre = place.centre * scale - first
    return _Placed(colour, first, size_hw, corners - first, centre, place.radius * scale, place.angle)


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
