"""Compose a scene: fabric, colour, objects, defects, light and camera."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from clipfast.datasets.fabricworld.camera import CAMERAS, Camera, zoom_of
from clipfast.datasets.fabricworld.captions import describe
from clipfast.datasets.fabricworld.checks import require_seed
from clipfast.datasets.fabricworld.cloth import Loom
from clipfast.datasets.fabricworld.colours import COLOURS, dye
from clipfast.datasets.fabricworld.defects import DEFECTS, SceneDefect, as_seen, draw_defect
from clipfast.datasets.fabricworld.fabrics import FABRICS, Fabric
from clipfast.datasets.fabricworld.flaws import Site
from clipfast.datasets.fabricworld.noise import FRAME, Field
from clipfast.datasets.fabricworld.objects import SceneObject, draw_object
from clipfast.datasets.fabricworld.scene import Scene, Wishes, require_wishes, split_object
from clipfast.datasets.fabricworld.shapes import SHAPES
from clipfast.types import Pixels

__all__ = ["Stage", "compose", "render"]

# Fabrics that the first release could draw. Seeds go on choosing among them as they did, and one in twelve then takes
# a later fabric: seen over many seeds every fabric is equally frequent, and the pictures of eleven in twelve stay.
_FIRST_FABRICS = 22
_DARK = 100  # mean level of a colour's table entry below which damage shows bright


def render(  # noqa: PLR0913  # one argument for each thing a scene holds; all but the seed are optional
    seed: int,
    *,
    fabric: str | None = None,
    colour: str | None = None,
    objects: int | Sequence[str] = 0,
    defects: int | Sequence[str] = 0,
    camera: Camera = "plain",
    size: int = 224,
) -> Scene:
    """Draw a scene; the same arguments give the same picture.

    Cloth, objects, defects and camera each have their own stream of random numbers: the same seed with objects is the
    same cloth in the same light, and in another size the same picture, grain and sharpness apart. Boxes, masks and
    captions are the same on any machine, pixels within one level.

    Args:
        seed: A whole number of 0 or more.
        fabric: A key of `FABRICS`; drawn if left out.
        colour: A key of `COLOURS`; drawn if left out.
        objects: How many, 0 to 9, in colours other than the fabric's; or which, such as `["red star", "button"]`.
        defects: How many, 0 to 4; or which, such as `["hole"]`.
        camera: "plain", or "varied": nearer or farther, uneven light, low contrast, blur, sensor noise.
        size: Pixels along each side, 32 to 4096. Below 224 fine threads alias, as they do in a small camera.

    Raises:
        DataError: If a fabric, colour, object, defect or camera is not in its table.
        ShapeError: If `size`, the seed or a number is not whole, or out of range.

    >>> render(7, fabric="denim", colour="blue").caption
    'a photo of blue denim fabric'
    >>> scene = render(7, fabric="denim", colour="blue", objects=["red star"], defects=["hole"])
    >>> scene.caption, int(scene.object_mask.max()), int(scene.defect_mask.max())
    ('a photo of blue denim fabric with a red star and a hole', 1, 1)
    """
    return compose(seed, Wishes(fabric, colour, objects, defects, camera, None, size))


def compose(seed: int, wishes: Wishes) -> Scene:
    """Draw the scene that was wished for; see `render`.

    Raises:
        DataError: If the wishes are none.
        ShapeError: If the seed is no whole number of 0 or more.

    >>> compose(3, Wishes(fabric="felt", colour="green", bolt=5, size=64)).image.shape
    (64, 64, 3)
    """
    stage = Stage.setup(require_seed(seed), require_wishes(wishes))
    stage.scatter(wishes.objects)
    stage.damage(wishes.defects)
    return stage.photograph(wishes.camera)


@dataclass(slots=True, eq=False)
class Stage:
    """A scene in the making: cloth first, then what lies on it, then damage, then the picture.

    Attributes:
        fabric: Name of the fabric.
        colour: Name of its colour.
        image: RGB levels, (size, size, 3) float64.
        dye: RGB levels of the first colour, (3,).
        angle: Direction across the warp threads, in radians.
        objects: What was drawn so far.
        defects: What was damaged so far.
        object_mask: Numbers of objects, (size, size) uint8.
        defect_mask: Numbers of defects, (size, size) uint8.
        object_rng: Where objects come from.
        defect_rng: Where defects come from.
        camera_rng: Where light and camera come from.
    """

    fabric: str
    colour: str
    image: Field
    dye: Field
    angle: float
    objects: list[SceneObject]
    defects: list[SceneDefect]
    object_mask: Pixels
    defect_mask: Pixels
    object_rng: np.random.Generator
    defect_rng: np.random.Generator
    camera_rng: np.random.Generator

    @classmethod
    def setup(cls, seed: int, wishes: Wishes) -> Stage:
        """Weave the cloth."""
        rngs = np.random.default_rng(seed).spawn(7)
        choice_rng, cloth_rng, object_rng, camera_rng, late_rng, defect_rng, zoom_rng = rngs
        fabric, colour = _draw_fabric(choice_rng, late_rng), choose(choice_rng, COLOURS)
        fabric, colour = wishes.fabric or fabric, wishes.colour or colour
        grain = None
        if wishes.bolt is not None:
            grain, cloth_rng = cloth_rng, np.random.default_rng([wishes.bolt, 1])
        zoom = zoom_of(zoom_rng, wishes.camera)
        image, first, angle = _weave(cloth_rng, FABRICS[fabric], colour, (wishes.size, grain, zoom))
        objects, defects = (np.zeros((wishes.size, wishes.size), np.uint8) for _ in range(2))
        return cls(fabric, colour, image, first, angle, [], [], objects, defects, object_rng, defect_rng, camera_rng)

    def scatter(self, wish: int | Sequence[str]) -> None:
        """Draw objects in cells of a grid, at most one each: they can neither overlap nor leave the picture."""
        count = len(wish) if isinstance(wish, Sequence) else wish
        per_side = max(2, math.isqrt(max(count - 1, 0)) + 1)
        side = FRAME / per_side
        for number, cell in enumerate(self.object_rng.permutation(per_side**2)[:count].tolist()):
            row, column = divmod(cell, per_side)
            shape, pigment = choose(self.object_rng, SHAPES), choose(self.object_rng, self.other_colours())
            if isinstance(wish, Sequence):
                shape, asked = split_object(wish[number])
                pigment = asked or pigment
            where = (column * side, row * side, side)
            self.objects.append(draw_object(self.object_rng, self.image, shape, pigment, where, self.object_mask))

    def damage(self, wish: int | Sequence[str]) -> None:
        """Draw defects, each where little else lies."""
        dark = sum(COLOURS[self.colour].rgb) < 3 * _DARK
        for number in range(len(wish) if isinstance(wish, Sequence) else wish):
            kind = choose(self.defect_rng, DEFECTS)
            site = Site(
                self.defect_rng, wish[number] if isinstance(wish, Sequence) else kind, self.angle, dark, self.dye
            )
            self.defects.append(draw_defect(self.defect_rng, self.image, site, self.defect_mask, self.object_mask))
        self.defects[:] = as_seen(self.defects, self.defect_mask)

    def photograph(self, camera: Camera, caption: str | None = None) -> Scene:
        """Take the picture; the caption is made of what was drawn, unless it is given."""
        pixels = CAMERAS[camera](self.camera_rng, self.image)
        objects, defects = tuple(self.objects), tuple(self.defects)
        said = caption or describe(self.fabric, self.colour, objects, defects)
        return Scene(pixels, self.fabric, self.colour, objects, defects, self.object_mask, self.defect_mask, said)

    def other_colours(self) -> list[str]:
        """Return the colours that stand out from the cloth's."""
        return [name for name in COLOURS if name != self.colour]


def choose(rng: np.random.Generator, names: Iterable[str]) -> str:
    """Draw one of the names."""
    known = list(names)
    return known[int(rng.integers(len(known)))]


def _draw_fabric(rng: np.random.Generator, late_rng: np.random.Generator) -> str:
    names = list(FABRICS)
    first, later = choose(rng, names[:_FIRST_FABRICS]), choose(late_rng, names[_FIRST_FABRICS:])
    return later if late_rng.integers(len(names)) >= _FIRST_FABRICS else first


def _weave(
    rng: np.random.Generator, fabric: Fabric, colour: str, piece: tuple[int, np.random.Generator | None, float]
) -> tuple[Field, Field, float]:
    """Return the cloth in its colours, evenly lit, (size, size, 3) in 0..255; its first colour and its angle."""
    size, grain, zoom = piece
    first = dye(rng, colour)
    second = _second_colour(rng, fabric, colour, first)
    behind = _background(rng, colour)
    loom = Loom.setup(rng, size, grain=grain, zoom=zoom)
    cloth = fabric.pattern(loom)
    share = np.broadcast_to(cloth.second, cloth.shade.shape)[..., None]
    shade = cloth.shade[..., None]
    # The added term keeps relief visible on black, where a factor alone changes nothing.
    image = (first + (second - first) * share) * shade + 8 * (shade - 1)
    if cloth.holes is not None:
        image = image + (behind - image) * cloth.holes[..., None]
    return np.clip(image, 0, 255), first, loom.angle


def _second_colour(rng: np.random.Generator, fabric: Fabric, colour: str, first: Field) -> Field:
    if fabric.second == "darker":
        return first * 0.7
    if fabric.second == "paler":
        return first * 0.8 if colour == "white" else np.clip(first * 0.45 + rng.uniform(120, 140), 0, 255)
    others = [name for name in COLOURS if name != colour]
    likely = ["white"] * 6 + ["black"] * 2 + [choose(rng, others)] * 2  # as in shops: mostly on white
    return dye(rng, choose(rng, [name for name in likely if name != colour]))


def _background(rng: np.random.Generator, colour: str) -> Field:
    """Return what lies behind open fabrics: dark behind light ones, light behind black."""
    if colour == "black":
        return np.array([200.0, 198.0, 190.0]) * rng.uniform(0.7, 1)
    if colour == "white":
        return np.array([60.0, 55.0, 55.0]) * rng.uniform(0.4, 1.4)
    return dye(rng, choose(rng, ("black", "grey", "brown", "white"))) * rng.uniform(0.3, 1)
