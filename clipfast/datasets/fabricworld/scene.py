"""What a scene is asked to hold, and what it then holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from clipfast.arguments import require_known, require_names, require_whole
from clipfast.datasets.fabricworld.camera import Camera
from clipfast.datasets.fabricworld.checks import require_seed
from clipfast.datasets.fabricworld.colours import COLOURS
from clipfast.datasets.fabricworld.defects import DEFECTS, SceneDefect
from clipfast.datasets.fabricworld.fabrics import FABRICS
from clipfast.datasets.fabricworld.objects import SceneObject
from clipfast.datasets.fabricworld.shapes import SHAPES
from clipfast.errors import DataError
from clipfast.types import Pixels

__all__ = ["MAX_DEFECTS", "MAX_OBJECTS", "SIZES", "Scene", "Wishes", "require_wishes", "split_object"]

SIZES = (32, 4096)
MAX_OBJECTS = 9
MAX_DEFECTS = 4


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A picture and everything that is known about it.

    Attributes:
        image: RGB, (size, size, 3) uint8.
        fabric: Name of the fabric, a key of `FABRICS`.
        colour: Name of its colour, a key of `COLOURS`.
        objects: What lies on it; no two boxes overlap, except where one thing lies on another (`render_relation`).
        defects: How it is damaged.
        object_mask: 0 for cloth, `i + 1` where `objects[i]` covers at least half of the pixel, (size, size) uint8.
        defect_mask: 0 for intact, `i + 1` where `defects[i]` covers at least a quarter of it, (size, size) uint8.
        caption: One English sentence that is true of the picture.
    """

    image: Pixels
    fabric: str
    colour: str
    objects: tuple[SceneObject, ...]
    defects: tuple[SceneDefect, ...]
    object_mask: Pixels
    defect_mask: Pixels
    caption: str


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a scene is asked to hold; None and numbers leave the choice to the seed.

    Attributes:
        fabric: A key of `FABRICS`.
        colour: A key of `COLOURS`.
        objects: How many, or which: a shape ("star"), or a colour and a shape ("red star").
        defects: How many, or which: keys of `DEFECTS`.
        camera: Which camera takes the picture, a key of `CAMERAS`.
        bolt: Number of a bolt of cloth, 0 or more: scenes that share it, the fabric and the colour are pieces of one
            product.
        size: Pixels along each side.

    Raises:
        DataError: If a name is unknown, or something is no list of names.
        ShapeError: If a number is not whole, or out of range.
    """

    fabric: str | None = None
    colour: str | None = None
    objects: int | Sequence[str] = 0
    defects: int | Sequence[str] = 0
    camera: Camera = "plain"
    bolt: int | None = None
    size: int = 224

    def __post_init__(self) -> None:
        require_whole("size", self.size, *SIZES)
        if self.bolt is not None:
            require_seed(self.bolt, "bolt")
        if self.fabric is not None:
            require_known("fabric", self.fabric, FABRICS)
        if self.colour is not None:
            require_known("colour", self.colour, COLOURS)
        require_known("camera", self.camera, get_args(Camera))
        for what, wish, most in (("objects", self.objects, MAX_OBJECTS), ("defects", self.defects, MAX_DEFECTS)):
            if isinstance(wish, Sequence):
                require_whole(f"the number of {what}", len(require_names(what, wish)), 0, most)
            else:
                require_whole(f"{what}, if no list of names,", wish, 0, most)
        for name in self.named_objects():
            split_object(name)
        for name in self.named_defects():
            require_known("defect", name, DEFECTS)

    def named_objects(self) -> Sequence[str]:
        """Return the objects asked for by name, none if only their number was given."""
        return self.objects if isinstance(self.objects, Sequence) else ()

    def named_defects(self) -> Sequence[str]:
        """Return the defects asked for by name, none if only their number was given."""
        return self.defects if isinstance(self.defects, Sequence) else ()


def require_wishes(wishes: object, *, without: Sequence[str] = (), because: str = "") -> Wishes:
    """Return wishes, or those that ask for nothing if None.

    Args:
        wishes: What came.
        without: What may not be wished for: "objects", "defects".
        because: Why not, as the end of a sentence.

    Raises:
        DataError: They are something else, or ask for what may not be.
    """
    if wishes is None:
        return Wishes()
    if not isinstance(wishes, Wishes):
        raise DataError(f"wishes must be Wishes; got {type(wishes).__name__}. Write Wishes(fabric=..., size=...).")
    for what in without:
        if wish := getattr(wishes, what):
            raise DataError(f"{what} cannot be wished for here: {because}; got {wish!r}. Leave them out.")
    return wishes


def split_object(name: str) -> tuple[str, str | None]:
    """Return the shape and the colour of an object's name, None if it has no colour.

    Raises:
        DataError: The shape or the colour is unknown; the message lists the known ones.

    >>> split_object("red star"), split_object("button")
    (('star', 'red'), ('button', None))
    """
    colour, _, shape = require_names("objects", [name])[0].rpartition(" ")
    require_known("object", shape, SHAPES)
    return shape, require_known("colour of an object", colour, COLOURS) if colour else None
