"""A person who labels as fast as a program can, in a process of its own that may be killed at any moment."""

from __future__ import annotations

from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from clipfast.errors import DataError
from clipfast.retrieval.crops import Region
from clipfast.retrieval.journal import Event
from clipfast.retrieval.labelitems import SeenCrop
from clipfast.retrieval.labels import LabelStore

__all__ = ["LABELS", "SIDE", "add_patches", "label_without_end"]

LABELS = ("cotton", "linen", "wool")
SIDE = 8
_PLACES = 30


def region(number: int) -> Region:
    """Return one of 900 places in a photo of 256 pixels."""
    left, top = SIDE * (number % _PLACES), SIDE * (number // _PLACES % _PLACES)
    return Region(box=(left, top, left + SIDE, top + SIDE))


def add_patches(root: Path, photo: Path, numbers: range, told: Connection) -> None:
    """Add patches one after another, and say each number when it is acknowledged."""
    store = LabelStore(root)
    for number in numbers:
        told.send((number, store.add(photo, LABELS[number % 3], region=region(number)).key))
    told.close()


def label_without_end(root: Path, photo: Path, first: int, seed: int, told: Connection) -> None:
    """Add, undo, rename, merge and queue by chance until killed; say the number of the last event that was returned."""
    rng, number = np.random.default_rng(seed), first
    told.send(0)
    while True:
        store = LabelStore(root)
        kind, (one, other) = (
            rng.choice(["add", "add", "add", "undo", "rename", "merge", "queue"]),
            rng.permutation(LABELS)[:2],
        )
        event: Event
        try:
            match kind:
                case "add":
                    event = store.add(photo, str(one), region=region(number))
                    number += 1
                case "undo":
                    _, event = store.undo()
                case "rename":
                    event = store.rename(str(one), str(other))
                case "merge":
                    event = store.merge(str(one), str(other))
                case _:
                    store.enqueue([SeenCrop(photo, region(number + 450), 0.1, ((str(one), 0.1),))])
                    continue
        except DataError:  # the other person was first, or there is nothing of the kind
            number += 1
            continue
        told.send(event.n)
