"""Scenes of two objects whose relation is known exactly, and of several equal ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np

from clipfast.arguments import require_known, require_names, require_whole
from clipfast.datasets.fabricworld.captions import NUMBERS, with_article
from clipfast.datasets.fabricworld.checks import require_seed
from clipfast.datasets.fabricworld.noise import FRAME
from clipfast.datasets.fabricworld.objects import Place, draw_object, place_in
from clipfast.datasets.fabricworld.scene import Scene, Wishes, require_wishes, split_object
from clipfast.datasets.fabricworld.shapes import SHAPES
from clipfast.datasets.fabricworld.world import Stage, choose
from clipfast.errors import DataError

__all__ = ["RELATIONS", "Related", "Relation", "render_relation"]

Relation: TypeAlias = Literal["left of", "right of", "on", "count"]
RELATIONS: tuple[Relation, ...] = get_args(Relation)

_HALF = FRAME / 2
_CARRIERS = [name for name, shape in SHAPES.items() if shape.room]
_MOST = 5  # objects that are counted


@dataclass(frozen=True, slots=True, eq=False)
class Related:
    """A scene and how its objects lie.

    Attributes:
        scene: Of "left of", "right of" and "on", objects 0 and 1 are the two of the sentence, in its order. Of "count",
            all objects are of one shape and colour.
        relation: A name of `RELATIONS`.
        text: The relation alone, such as "a red star on a blue button" or "three red stars"; the caption says it too.
        opposite: A sentence of the same words, or with another number, that is false.
    """

    scene: Scene
    relation: Relation
    text: str
    opposite: str


def render_relation(
    seed: int, relation: Relation, *, objects: tuple[str, str] | None = None, wishes: Wishes | None = None
) -> Related:
    """Draw a scene in which a relation holds in every pixel.

    "Left of" means that the first object's mask ends before the second's begins; "on", that it has pixels of the second
    on all sides.

    Args:
        seed: Not negative.
        relation: "left of", "right of", "on" or "count".
        objects: Names of the two objects, such as ("red star", "blue button"); drawn if left out. What is lain on must
            have a closed middle: button, patch, triangle or flower. Of "count", the first is drawn several times.
        wishes: Fabric, colour, camera and size.

    Raises:
        DataError: If a name is unknown, there are not two, an object cannot carry another, both are the same, or the
            wishes ask for objects or defects.
        ShapeError: If the seed is no whole number of 0 or more.

    >>> render_relation(4, "on", objects=("red star", "blue button")).text
    'a red star on a blue button'
    """
    require_known("relation", relation, RELATIONS)
    asked = require_wishes(wishes, without=("objects", "defects"), because="a relation is between its own two objects")
    if objects is not None:
        require_whole("the number of objects of a relation", len(require_names("objects", objects)), 2, 2)
    stage = Stage.setup(require_seed(seed), asked)
    first, second = _names(stage, relation, objects)
    if relation == "count":
        return _counted(stage, first, asked)
    rows = stage.object_rng.integers(0, 2, 2) * _HALF
    cells = [(0.0, float(rows[0]), _HALF), (_HALF, float(rows[1]), _HALF)]
    if relation == "on":
        _stack(stage, first, second)
    else:
        for name, cell in zip((first, second), cells if relation == "left of" else reversed(cells), strict=True):
            _draw(stage, name, cell)
    text = f"{with_article(first)} {relation} {with_article(second)}"
    opposite = f"{with_article(second)} {relation} {with_article(first)}"
    return Related(_photograph(stage, text, asked), relation, text, opposite)


def _names(stage: Stage, relation: str, objects: tuple[str, str] | None) -> tuple[str, str]:
    rng = stage.object_rng
    names: list[str] = []
    for _ in range(2):
        shape = choose(rng, _CARRIERS if relation == "on" and names else SHAPES)
        pigments = [each for each in stage.other_colours() if not names or each != names[0].split()[0]]
        names.append(f"{choose(rng, pigments)} {shape}")
    for number, name in enumerate(objects or ()):
        shape, colour = split_object(name)
        names[number] = f"{colour or names[number].split()[0]} {shape}"
    if relation != "count" and names[0] == names[1]:
        raise DataError(f"objects must differ, so that the opposite is false; got {names[0]!r} twice.")
    require_known("object to lie on", names[1].split()[-1], _CARRIERS if relation == "on" else SHAPES)
    return names[0], names[1]


def _draw(stage: Stage, name: str, where: tuple[float, float, float] | Place) -> None:
    shape, colour = split_object(name)
    drawn = draw_object(stage.object_rng, stage.image, shape, str(colour), where, stage.object_mask)
    stage.objects.append(drawn)


def _stack(stage: Stage, first: str, second: str) -> None:
    """Draw the second object large and the first within its closed middle; then number them as the sentence does."""
    rng = stage.object_rng
    corner = rng.uniform(0, _HALF, 2)
    large = place_in(rng, (float(corner[0]), float(corner[1]), _HALF), (38.0, 46.0))
    _draw(stage, second, large)
    room = SHAPES[split_object(second)[0]].room * large.radius - 3  # a margin of the carrier stays visible
    small = Place(large.centre, min(room, 26.0) * rng.uniform(0.75, 1), float(rng.normal(0, 0.25)))
    _draw(stage, first, small)
    stage.objects.reverse()
    stage.object_mask[:] = np.array([0, 2, 1], np.uint8)[stage.object_mask]


def _counted(stage: Stage, name: str, wishes: Wishes) -> Related:
    count = int(stage.object_rng.integers(2, _MOST + 1))
    wrong = int(choose(stage.object_rng, [str(other) for other in range(2, _MOST + 1) if other != count]))
    stage.scatter([name] * count)
    text, opposite = (f"{NUMBERS[number]} {_plural(name)}" for number in (count, wrong))
    return Related(_photograph(stage, text, wishes), "count", text, opposite)


def _photograph(stage: Stage, text: str, wishes: Wishes) -> Scene:
    return stage.photograph(wishes.camera, f"a photo of {text} on {stage.colour} {stage.fabric} fabric")


def _plural(name: str) -> str:
    return f"{name}es" if name.endswith(("ch", "ss")) else f"{name}s"
