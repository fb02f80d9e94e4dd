"""From images with boxes to what patches are told: pixels as the model sees them, and which patches a class covers."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from clipfast.artifact import ImageSpec
from clipfast.datasets.fabricworld import detection_samples
from clipfast.runtime.images import load_image
from clipfast.runtime.preprocess import preprocess
from clipfast.types import Pixels

__all__ = ["FABRICWORLD_SEEDS", "BoxedImage", "Examples", "load_samples", "patch_shares"]

# Of the parts of fabricworld; the embedded models were trained on seeds from 0, and measured on those from 900,000,000.
FABRICWORLD_SEEDS = {"train": 700_000_000, "val": 800_000_000}
_USUAL = 400  # pictures of fabricworld that are drawn if no number is given


class BoxedImage(Protocol):
    """What an image with boxes has to tell; `clipfast.datasets.box_samples.BoxSample` does."""

    @property
    def id(self) -> str:
        """Name of the image in its data set."""
        ...

    @property
    def image(self) -> Path | Pixels:
        """The file, or RGB (h, w, 3) uint8."""
        ...

    @property
    def size_hw(self) -> tuple[int, int]:
        """Pixels of the image as it is stored."""
        ...

    @property
    def boxes(self) -> NDArray[np.float64]:
        """Xyxy in pixels, half-open, (m, 4)."""
        ...

    @property
    def labels(self) -> tuple[str, ...]:
        """Class of each box, (m,)."""
        ...


@dataclass(frozen=True, eq=False)
class _Drawn:
    """A picture of fabricworld as a boxed image."""

    id: str
    image: Pixels
    size_hw: tuple[int, int]
    boxes: NDArray[np.float64]
    labels: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Examples:
    """Images of one split, scaled to the model's square, and their boxes in it.

    The whole image is squeezed into the square, so that its map covers all of it and no box is cut.

    Attributes:
        ids: Names, (n,).
        pixels: (n, s, s, 3) uint8.
        boxes: For each image, xyxy in pixels of the square, (m, 4).
        labels: For each image, the number of each box's class, (m,).
        classes: Names of the classes.
    """

    ids: tuple[str, ...]
    pixels: Pixels
    boxes: tuple[NDArray[np.float64], ...]
    labels: tuple[NDArray[np.int64], ...]
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def of(cls, samples: Iterable[BoxedImage], image: ImageSpec, classes: tuple[str, ...] | None = None) -> Examples:
        """Scale images and boxes; classes that are given number the labels, and other boxes are left out.

        Raises:
            SystemExit: If there is no image with a box.
        """
        squeezed = _squeezed(image)
        side_hw = np.array(image.size_hw, np.float64)
        ids, pixels, boxes, names = [], [], [], []
        for sample in samples:
            ids.append(sample.id)
            source = sample.image if isinstance(sample.image, np.ndarray) else load_image(sample.image, exif="ignore")
            pixels.append(preprocess(source, squeezed))
            scale = (side_hw / sample.size_hw)[::-1]
            boxes.append(np.asarray(sample.boxes, np.float64).reshape(-1, 4) * np.tile(scale, 2))
            names.append(sample.labels)
        known = classes or tuple(sorted({name for each in names for name in each}))
        number = {name: i for i, name in enumerate(known)}
        kept = [np.array([name in number for name in each], np.bool_) for each in names]
        if not any(each.any() for each in kept):
            raise SystemExit(f"No image has a box of a known class; {len(ids)} images were read. Name another split.")
        labels = [np.array([number[name] for name in each if name in number], np.int64) for each in names]
        inside = tuple(each[keep] for each, keep in zip(boxes, kept, strict=True))
        return cls(tuple(ids), np.stack(pixels), inside, tuple(labels), known)

    def mirrored(self, i: int) -> tuple[Pixels, NDArray[np.float64]]:
        """Return image and boxes with left and right exchanged."""
        width = self.pixels.shape[2]
        boxes = self.boxes[i].copy()
        boxes[:, [0, 2]] = width - boxes[:, [2, 0]]
        return self.pixels[i][:, ::-1], boxes


def load_samples(format_: str, folder: Path | None, split: str | None, limit: int | None) -> Iterator[BoxedImage]:
    """Give the images of a data set: fabricworld, or what `clipfast.datasets.box_samples` reads."""
    if format_ == "fabricworld":
        part = split or "train"
        if part not in FABRICWORLD_SEEDS:
            raise SystemExit(f"--split of fabricworld must be one of {', '.join(FABRICWORLD_SEEDS)}; got {part!r}.")
        return _fabricworld(FABRICWORLD_SEEDS[part], limit or _USUAL)
    if folder is None:
        raise SystemExit(f"--format {format_} reads a folder: name it with --data.")
    readers = importlib.import_module("clipfast.datasets.box_samples")  # VOC, DIOR, COCO and YOLO
    return islice(iter(readers.read_boxes(format_, folder, split=split, limit=limit)), limit)


def patch_shares(boxes: NDArray[np.float64], grid_hw: tuple[int, int], patch: int) -> NDArray[np.float32]:
    """Return which share of each patch each box covers, (m, gh * gw), exactly.

    >>> patch_shares(np.array([[8.0, 0.0, 32.0, 8.0]]), (2, 2), 16).tolist()
    [[0.25, 0.5, 0.0, 0.0]]
    """
    begin = [np.arange(side) * patch for side in grid_hw]
    down, across = (
        np.clip(np.minimum(boxes[:, axis + 2, None], start + patch) - np.maximum(boxes[:, axis, None], start), 0, None)
        for axis, start in ((1, begin[0]), (0, begin[1]))
    )
    shares: NDArray[np.float32] = (down[:, :, None] * across[:, None, :] / patch**2).astype(np.float32)
    return shares.reshape(len(boxes), -1)


def _squeezed(image: ImageSpec) -> ImageSpec:
    """Return the same input with the whole image squeezed into it."""
    return ImageSpec(size_hw=image.size_hw, mean=image.mean, std=image.std, resize="squash")


def _fabricworld(seed: int, count: int) -> Iterator[BoxedImage]:
    for sample in detection_samples(seed, count):
        yield _Drawn(sample.key, sample.image, sample.image.shape[:2], sample.boxes.astype(np.float64), sample.names)
