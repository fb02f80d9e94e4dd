"""Rendered scenes on disk: drawn once by two processes, read many times by the training."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipfast.datasets.fabricworld import COLOURS, DEFECTS, FABRICS, SHAPES, Camera, Scene, render

SIZE = 224
HALF = SIZE // 2
MOST_OBJECTS, MOST_DEFECTS = 3, 2
VARIED = 0.35  # share of pictures by the varied camera
# Scenes of each purpose have seeds of their own: nothing that is measured was ever trained on.
TRAINING_SEEDS, CHOICE_SEEDS, TEST_SEEDS = 0, 500_000_000, 900_000_000

_FABRICS, _COLOURS, _SHAPES, _DEFECTS = list(FABRICS), list(COLOURS), list(SHAPES), list(DEFECTS)


@dataclass(frozen=True)
class Store:
    """Scenes as arrays; `n` rows each.

    Attributes:
        images: (n, 224, 224, 3) uint8, mapped from disk.
        object_masks: Number of the object plus one at every second pixel, 0 for none, (n, 112, 112) uint8.
        defect_masks: The same of defects, any of the 2 x 2 pixels, (n, 112, 112) uint8.
        fabrics: Number of the fabric, (n,) int16.
        colours: Number of its colour, (n,) int16.
        objects: Shape and colour numbers, -1 where there is no object, (n, 3, 2) int16.
        defects: Numbers of the defects, -1 where there is none, (n, 2) int16.
    """

    images: NDArray[np.uint8]
    object_masks: NDArray[np.uint8]
    defect_masks: NDArray[np.uint8]
    fabrics: NDArray[np.int16]
    colours: NDArray[np.int16]
    objects: NDArray[np.int16]
    defects: NDArray[np.int16]

    def __len__(self) -> int:
        return len(self.images)

    @classmethod
    def open(cls, folder: Path) -> Store:
        """Open what `write_store` wrote; images stay on disk."""
        names = ("object_masks", "defect_masks", "fabrics", "colours", "objects", "defects")
        return cls(np.load(folder / "images.npy", mmap_mode="r"), *(np.load(folder / f"{name}.npy") for name in names))


def draw(seed: int) -> Scene:
    """Draw the scene of a seed as the training sees it: three in five with objects, two in five with defects."""
    rng = np.random.default_rng([seed, 1])
    objects = int(rng.integers(1, MOST_OBJECTS + 1)) if rng.random() < 0.6 else 0
    defects = int(rng.integers(1, MOST_DEFECTS + 1)) if rng.random() < 0.42 else 0
    varied = rng.random() < VARIED
    # Grey cloth through a workshop's camera is what inspection sees.
    colour = "grey" if varied and rng.random() < 0.15 else None
    camera: Camera = "varied" if varied else "plain"
    return render(seed, colour=colour, objects=objects, defects=defects, camera=camera, size=SIZE)


def write_store(folder: Path, count: int, seed: int, progress: Callable[[int, int], None] | None = None) -> Store:
    """Render scenes `seed` to `seed + count - 1`, or open them if they are all there."""
    if (folder / "defects.npy").is_file():
        store = Store.open(folder)
        if len(store) != count:
            raise SystemExit(f"{folder} holds {len(store):,} scenes, not {count:,}: delete it, or name another folder.")
        return store
    folder.mkdir(parents=True, exist_ok=True)
    images = np.lib.format.open_memmap(folder / "images.npy", "w+", np.uint8, (count, SIZE, SIZE, 3))
    object_masks, defect_masks = (np.zeros((count, HALF, HALF), np.uint8) for _ in range(2))
    fabrics, colours = np.zeros(count, np.int16), np.zeros(count, np.int16)
    objects = np.full((count, MOST_OBJECTS, 2), -1, np.int16)
    defects = np.full((count, MOST_DEFECTS), -1, np.int16)
    # Two processes with one BLAS thread each: with two they would wait for each other. A child that is spawned loads
    # NumPy anew and sees the variable; a forked one would not.
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        for i, scene in enumerate(pool.map(draw, range(seed, seed + count), chunksize=16)):
            images[i] = scene.image
            object_masks[i] = scene.object_mask[1::2, 1::2]
            defect_masks[i] = scene.defect_mask.reshape(HALF, 2, HALF, 2).max((1, 3))
            fabrics[i], colours[i] = _FABRICS.index(scene.fabric), _COLOURS.index(scene.colour)
            for j, item in enumerate(scene.objects):
                objects[i, j] = _SHAPES.index(item.shape), _COLOURS.index(item.colour)
            for j, flaw in enumerate(scene.defects):
                defects[i, j] = _DEFECTS.index(flaw.kind)
            if progress is not None:
                progress(i + 1, count)
    images.flush()
    truth: dict[str, NDArray[Any]] = {
        "object_masks": object_masks,
        "defect_masks": defect_masks,
        "fabrics": fabrics,
        "colours": colours,
        "objects": objects,
        "defects": defects,
    }
    for name, array in truth.items():  # the last one says: complete
        np.save(folder / f"{name}.npy", array)
    return Store.open(folder)
