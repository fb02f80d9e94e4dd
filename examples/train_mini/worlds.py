"""Where pictures for measuring come from: this project's world, and the prototype's where its code is at hand.

The prototype's world (`../shared/prototypes/mini/world.py`, needs OpenCV) was never trained on. Its fabrics, colours
and shapes have the same names and other code.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from clipfast.datasets.fabricworld import COLOURS, FABRICS, Scene, Wishes, compose
from clipfast.types import Pixels
from store import draw

PROTOTYPE = Path(__file__).resolve().parents[3] / "shared" / "prototypes" / "mini" / "world.py"
FABRIC_NAMES, COLOUR_NAMES = list(FABRICS), list(COLOURS)


@dataclass(frozen=True, eq=False)
class Truth:
    """A picture to be measured on.

    Attributes:
        image: RGB, (224, 224, 3) uint8.
        fabric: Its name.
        colour: Its name.
        objects: Shape, colour and box (xyxy) of each object.
        mask: Where the cloth is damaged, (224, 224) bool.
    """

    image: Pixels
    fabric: str
    colour: str
    objects: tuple[tuple[str, str, tuple[float, ...]], ...]
    mask: NDArray[np.bool_]


class World(Protocol):
    """What a world can draw."""

    name: str

    def scene(self, seed: int) -> Truth:
        """Draw anything: objects and damage come up in about two of five pictures each."""

    def cloth(self, seed: int, fabric: str, colour: str | None = None, *, damaged: bool = False) -> Truth:
        """Draw a piece of cloth without objects, intact or damaged in one place."""


class Fabricworld:
    """`clipfast.datasets.fabricworld`, as the training sees it."""

    name = "fabricworld"

    def scene(self, seed: int) -> Truth:
        """Draw anything."""
        return _truth(draw(seed))

    def cloth(self, seed: int, fabric: str, colour: str | None = None, *, damaged: bool = False) -> Truth:
        """Draw a piece of cloth."""
        return _truth(compose(seed, Wishes(fabric=fabric, colour=colour, defects=int(damaged))))


class PrototypeWorld:
    """The world on which the targets are set."""

    name = "prototype"

    def __init__(self, path: Path = PROTOTYPE) -> None:
        spec = importlib.util.spec_from_file_location("prototype_world", path)
        if spec is None or spec.loader is None:
            raise SystemExit(f"{path} cannot be loaded.")
        self._world: Any = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self._world)

    def scene(self, seed: int) -> Truth:
        """Draw anything."""
        return self._of(self._world.render(seed))

    def cloth(self, seed: int, fabric: str, colour: str | None = None, *, damaged: bool = False) -> Truth:
        """Draw a piece of cloth."""
        number = None if colour is None else self._world.COLOURS.index(colour)
        wished = {"fab": self._world.FABRICS.index(fabric), "col": number, "objs": 0, "defs": int(damaged)}
        return self._of(self._world.render(seed, **wished))

    def _of(self, drawn: tuple[Pixels, Pixels, dict[str, Any]]) -> Truth:
        image, mask, known = drawn
        world = self._world
        objects = tuple((world.SHAPES[k], world.COLOURS[c], tuple(box)) for k, c, *box in known["o"])
        return Truth(image, world.FABRICS[known["f"]], world.COLOURS[known["c"]], objects, mask > 0)


def worlds() -> list[World]:
    """Return the worlds that can be drawn here."""
    found: list[World] = [Fabricworld()]
    if PROTOTYPE.is_file() and importlib.util.find_spec("cv2") is not None:
        found.append(PrototypeWorld())
    return found


def _truth(scene: Scene) -> Truth:
    objects = tuple((item.shape, item.colour, item.box) for item in scene.objects)
    return Truth(scene.image, scene.fabric, scene.colour, objects, scene.defect_mask > 0)
