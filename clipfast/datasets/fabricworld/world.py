"""Compose a scene: fabric, colour, objects, light and camera."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from clipfast.datasets.fabricworld.cloth import Loom
from clipfast.datasets.fabricworld.colours import COLOURS, dye
from clipfast.datasets.fabricworld.fabrics import FABRICS, Fabric
from clipfast.datasets.fabricworld.noise import FRAME, Field, blur, smooth_noise
from clipfast.datasets.fabricworld.objects import SHAPES, SceneObject, draw_object
from clipfast.errors import DataError, ShapeError
from clipfast.storage import atomic_write
from clipfast.types import Pixels

__all__ = ["MAX_OBJECTS", "Scene", "render", "write_folder"]

SIZES = (32, 4096)
MAX_OBJECTS = 9
_JPEG_QUALITY = 92


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A picture and everything that is known about it.

    Attributes:
        image: RGB, (size, size, 3) uint8.
        fabric: Name of the fabric, a key of `FABRICS`.
        colour: Name of its colour, a key of `COLOURS`.
        objects: What lies on it; no two boxes overlap.
        caption: One English sentence that is true of the picture.
    """

    image: Pixels
    fabric: str
    colour: str
    objects: tuple[SceneObject, ...]
    caption: str


def render(
    seed: int, *, fabric: str | None = None, colour: str | None = None, objects: int = 0, size: int = 224
) -> Scene:
    """Draw a scene; the same arguments give the same picture.

    Cloth, objects and camera each have their own stream of random numbers: the same seed with objects is the same cloth
    in the same light, and in another size the same picture, grain and sharpness apart.

    Args:
        seed: Not negative.
        fabric: A key of `FABRICS`; drawn if left out.
        colour: A key of `COLOURS`; drawn if left out.
        objects: How many, 0 to 9, in colours other than the fabric's.
        size: Pixels along each side, 32 to 4096. Below 224 fine threads alias, as they do in a small camera.

    Raises:
        DataError: If `fabric` or `colour` is not in its table.
        ShapeError: If `size` or `objects` is out of range.

    >>> render(7, fabric="denim", colour="blue").caption
    'a photo of blue denim fabric'
    """
    if not SIZES[0] <= size <= SIZES[1]:
        raise ShapeError(f"size must be {SIZES[0]} to {SIZES[1]} pixels; got {size}.")
    if not 0 <= objects <= MAX_OBJECTS:
        raise ShapeError(f"objects must be 0 to {MAX_OBJECTS}; got {objects}.")
    choice_rng, cloth_rng, object_rng, camera_rng = np.random.default_rng(seed).spawn(4)
    drawn_fabric, drawn_colour = _choose(choice_rng, FABRICS), _choose(choice_rng, COLOURS)
    fabric = _known("fabric", drawn_fabric if fabric is None else fabric, FABRICS)
    colour = _known("colour", drawn_colour if colour is None else colour, COLOURS)

    image = _weave(cloth_rng, FABRICS[fabric], colour, size)
    placed = _scatter(object_rng, image, colour, objects)
    pixels = _photograph(camera_rng, image)
    return Scene(pixels, fabric, colour, placed, _caption(fabric, colour, placed))


def write_folder(
    root: Path, *, fabrics: Sequence[str], per_fabric: int, seed: int, size: int = 224, quality: int = _JPEG_QUALITY
) -> list[Path]:
    """Write reference pictures as JPEG: `root/<fabric id>/ref_01.jpg`, `ref_02.jpg`, ...

    Picture `i` of every fabric has the same colour, and the colours take turns: a colour then says nothing about the
    fabric, and each fabric is shown in as many colours as it has pictures, up to twelve.

    Args:
        root: Made if it is not there; files of the same names are replaced.
        fabrics: Keys of `FABRICS`. A fabric's pictures do not depend on which others are asked for.
        per_fabric: Pictures of each, at least 1.
        seed: Not negative; another seed gives other pieces of cloth.
        size: Pixels along each side.
        quality: Of the JPEG, 1 to 95.

    Returns:
        The paths written, fabric by fabric.

    Raises:
        DataError: If a fabric is not in the table.
        ShapeError: If `per_fabric` or `size` is out of range.
    """
    if per_fabric < 1:
        raise ShapeError(f"per_fabric must be at least 1; got {per_fabric}.")
    for name in fabrics:
        _known("fabric", name, FABRICS)
    colours = np.random.default_rng(seed).permutation(list(COLOURS)).tolist()
    paths = []
    for name in fabrics:
        pieces = np.random.SeedSequence([seed, zlib.crc32(name.encode())]).generate_state(per_fabric)
        for number, piece in enumerate(pieces.tolist()):
            scene = render(piece, fabric=name, colour=colours[number % len(colours)], size=size)
            path = root / FABRICS[name].id / f"ref_{number + 1:02}.jpg"
            with atomic_write(path) as temporary:
                Image.fromarray(scene.image).save(temporary, format="JPEG", quality=quality)
            paths.append(path)
    return paths


def _choose(rng: np.random.Generator, names: Iterable[str]) -> str:
    known = list(names)
    return known[int(rng.integers(len(known)))]


def _known(kind: str, name: str, table: Iterable[str]) -> str:
    if name not in (known := list(table)):
        raise DataError(f"{kind} must be one of {', '.join(known)}; got {name!r}.")
    return name


def _weave(rng: np.random.Generator, fabric: Fabric, colour: str, size: int) -> Field:
    """Return the cloth in its colours, evenly lit, (size, size, 3) in 0..255."""
    first = dye(rng, colour)
    second = _second_colour(rng, fabric, colour, first)
    behind = _background(rng, colour)
    cloth = fabric.pattern(Loom.setup(rng, size))
    share = np.broadcast_to(cloth.second, cloth.shade.shape)[..., None]
    shade = cloth.shade[..., None]
    # The added term keeps relief visible on black, where a factor alone changes nothing.
    image = (first + (second - first) * share) * shade + 8 * (shade - 1)
    if cloth.holes is not None:
        image = image + (behind - image) * cloth.holes[..., None]
    levels: Field = np.clip(image, 0, 255)
    return levels


def _second_colour(rng: np.random.Generator, fabric: Fabric, colour: str, first: Field) -> Field:
    if fabric.second == "darker":
        return first * 0.7
    if fabric.second == "paler":
        return first * 0.8 if colour == "white" else np.clip(first * 0.45 + rng.uniform(120, 140), 0, 255)
    others = [name for name in COLOURS if name != colour]
    likely = ["white"] * 6 + ["black"] * 2 + [_choose(rng, others)] * 2  # as in shops: mostly on white
    return dye(rng, _choose(rng, [name for name in likely if name != colour]))


def _background(rng: np.random.Generator, colour: str) -> Field:
    """Return what lies behind open fabrics: dark behind light ones, light behind black."""
    if colour == "black":
        return np.array([200.0, 198.0, 190.0]) * rng.uniform(0.7, 1)
    if colour == "white":
        return np.array([60.0, 55.0, 55.0]) * rng.uniform(0.4, 1.4)
    return dye(rng, _choose(rng, ("black", "grey", "brown", "white"))) * rng.uniform(0.3, 1)


def _scatter(rng: np.random.Generator, image: Field, colour: str, count: int) -> tuple[SceneObject, ...]:
    """Draw objects in cells of a grid, at most one each: they can neither overlap nor leave the picture."""
    per_side = max(2, math.isqrt(max(count - 1, 0)) + 1)
    side = FRAME / per_side
    others = [name for name in COLOURS if name != colour]
    placed = []
    for cell in rng.permutation(per_side**2)[:count].tolist():
        row, column = divmod(cell, per_side)
        shape, pigment = _choose(rng, SHAPES), _choose(rng, others)
        placed.append(draw_object(rng, image, shape, pigment, (column * side, row * side, side)))
    return tuple(placed)


def _photograph(rng: np.random.Generator, image: Field) -> Pixels:
    """Light the scene from one side and take a slightly imperfect picture of it."""
    size = len(image)
    from_middle = (np.arange(size) + 0.5) / size * 2 - 1
    across, down = rng.uniform(-0.16, 0.16, 2)
    light = rng.uniform(0.82, 1.12) * (1 + across * from_middle[None, :] + down * from_middle[:, None])
    light = light + 0.04 * smooth_noise(rng, size, 110)
    image = image * light[..., None] * rng.normal(1, 0.025, 3)
    grainy, grain, unsharp, sigma = rng.random(), rng.uniform(1, 6), rng.random(), rng.uniform(0.4, 0.9)
    if grainy < 0.5:
        image = image + grain * rng.standard_normal((size, size, 1))
    if unsharp < 0.3:
        image = blur(image, sigma)
    return np.clip(image, 0, 255).astype(np.uint8)


def _caption(fabric: str, colour: str, objects: Sequence[SceneObject]) -> str:
    cloth = f"a photo of {colour} {fabric} fabric"
    if not objects:
        return cloth
    *most, last = [f"{'an' if item.colour[0] in 'aeiou' else 'a'} {item.colour} {item.shape}" for item in objects]
    return f"{cloth} with {', '.join(most)} and {last}" if most else f"{cloth} with {last}"
