"""What can be said of a picture, as bits: a caption is true of a picture exactly if all of its claims are.

That turns a batch of pictures and captions into an exact table of what is true of what, so that a caption which happens
to fit another picture of the batch is never taught as wrong.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clipfast.datasets.fabricworld import COLOURS, DEFECTS, FABRICS, SHAPES

FABRIC_NAMES, COLOUR_NAMES = list(FABRICS), list(COLOURS)
SHAPE_NAMES, DEFECT_NAMES = list(SHAPES), list(DEFECTS)

FABRIC = 0
COLOUR = FABRIC + len(FABRIC_NAMES)
SHAPE = COLOUR + len(COLOUR_NAMES)
OBJECT = SHAPE + len(SHAPE_NAMES)  # a shape in a colour: OBJECT + shape * 12 + colour
OBJECT_COLOUR = OBJECT + len(SHAPE_NAMES) * len(COLOUR_NAMES)  # something, of any shape, in a colour
DEFECT = OBJECT_COLOUR + len(COLOUR_NAMES)
DAMAGED = DEFECT + len(DEFECT_NAMES)
FLAWLESS = DAMAGED + 1
EMPTY = FLAWLESS + 1  # no object lies on the cloth
COUNT = EMPTY + 1


@dataclass(frozen=True)
class Seen:
    """What a crop shows.

    Attributes:
        fabric: Number of the fabric.
        colour: Number of its colour.
        objects: Shape and colour numbers of the objects that are visible enough to be named.
        defects: Numbers of the defects that are visible enough to be named.
        unsure: A part of a defect shows that is too small to be named: neither damaged nor flawless is claimed.
        empty: No part of any object shows.
    """

    fabric: int
    colour: int
    objects: tuple[tuple[int, int], ...]
    defects: tuple[int, ...]
    unsure: bool
    empty: bool


def object_claim(shape: int, colour: int) -> int:
    """Return the claim "a red star"."""
    return OBJECT + shape * len(COLOUR_NAMES) + colour


def shape_of(claim: int) -> int:
    """Return the shape of the claim of an object."""
    return (claim - OBJECT) // len(COLOUR_NAMES)


def colour_of(claim: int) -> int:
    """Return the colour of the claim of an object."""
    return (claim - OBJECT) % len(COLOUR_NAMES)


def true_claims(seen: Seen) -> NDArray[np.float32]:
    """Return every claim that holds, (COUNT,) of 0 and 1."""
    bits = np.zeros(COUNT, np.float32)
    bits[[FABRIC + seen.fabric, COLOUR + seen.colour]] = 1
    for shape, colour in seen.objects:
        bits[[SHAPE + shape, object_claim(shape, colour), OBJECT_COLOUR + colour]] = 1
    for defect in seen.defects:
        bits[DEFECT + defect] = 1
    bits[EMPTY] = seen.empty
    if seen.defects or not seen.unsure:
        bits[DAMAGED if seen.defects else FLAWLESS] = 1
    return bits


def sample_claims(rng: np.random.Generator, bits: NDArray[np.float32]) -> list[int]:
    """Choose what the caption of a picture says: some of what is true, at least one claim."""
    true = np.flatnonzero(bits)
    fabric, colour = (int(claim) for claim in true[true < SHAPE])
    objects = [int(c) for c in true if OBJECT <= c < OBJECT_COLOUR]
    defects = [int(c) for c in true if DEFECT <= c < DAMAGED]
    state = [int(c) for c in true if c in (DAMAGED, FLAWLESS)]
    chosen = [claim for claim, share in ((fabric, 0.75), (colour, 0.6)) if rng.random() < share]
    named = [claim for claim in objects if rng.random() < 0.7]
    chosen += [claim if rng.random() < 0.7 else SHAPE + shape_of(claim) for claim in named]
    if defects and rng.random() < 0.5:
        chosen += [claim for claim in defects if rng.random() < 0.8]
    elif state and rng.random() < 0.45:
        chosen += state
    if bits[EMPTY] and rng.random() < 0.08:
        chosen.append(EMPTY)
    return chosen or [fabric]


def has_object(claims: list[int]) -> bool:
    """Return whether a caption names an object."""
    return any(SHAPE <= claim < OBJECT_COLOUR for claim in claims)


def wrong_claims(rng: np.random.Generator, claims: list[int], bits: NDArray[np.float32]) -> list[int]:
    """Return claims that differ in one and are false: the same colour and another shape, another fabric, ...

    Objects are changed whenever there is one: shapes are what the prototype of this model never learned, because
    another colour was always enough to tell its captions apart.
    """
    objects = [c for c in claims if SHAPE <= c < OBJECT_COLOUR]
    changed = int(rng.choice(objects or claims))
    for _ in range(20):
        other = _other(rng, changed)
        if not bits[other]:
            return [other if claim == changed else claim for claim in claims]
    return claims


def single_claim(rng: np.random.Generator, present: list[int]) -> int:
    """Choose what one caption of the dense loss says; objects that are in the batch come up more often."""
    draw = rng.random()
    if draw < 0.24:
        return FABRIC + int(rng.integers(len(FABRIC_NAMES)))
    if draw < 0.33:
        return COLOUR + int(rng.integers(len(COLOUR_NAMES)))
    if draw < 0.53:
        return SHAPE + int(rng.integers(len(SHAPE_NAMES)))
    if draw < 0.76:
        near = bool(present) and rng.random() < 0.85
        return int(rng.choice(present)) if near else OBJECT + int(rng.integers(OBJECT_COLOUR - OBJECT))
    if draw < 0.79:
        return OBJECT_COLOUR + int(rng.integers(len(COLOUR_NAMES)))
    if draw < 0.92:
        return DEFECT + int(rng.integers(len(DEFECT_NAMES)))
    return DAMAGED if rng.random() < 0.5 else FLAWLESS


def _other(rng: np.random.Generator, claim: int) -> int:
    """Return a claim of the same kind; of an object, mostly another shape in the same colour."""
    if OBJECT <= claim < OBJECT_COLOUR:
        shape, colour = shape_of(claim), colour_of(claim)
        if rng.random() < 0.75:
            return object_claim(int(rng.integers(len(SHAPE_NAMES))), colour)
        return object_claim(shape, int(rng.integers(len(COLOUR_NAMES))))
    if claim == DAMAGED:
        return FLAWLESS
    if claim == FLAWLESS:
        return DAMAGED
    bounds = ((FABRIC, COLOUR), (COLOUR, SHAPE), (SHAPE, OBJECT), (OBJECT_COLOUR, DEFECT), (DEFECT, DAMAGED))
    for begin, end in bounds:
        if begin <= claim < end:
            return begin + int(rng.integers(end - begin))
    return claim
