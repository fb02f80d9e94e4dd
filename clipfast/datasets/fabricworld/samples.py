"""Iterators of labelled pictures; nothing is held in memory but the picture at hand."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from clipfast.arguments import require_names
from clipfast.datasets.fabricworld.checks import require_pictures, require_seed
from clipfast.datasets.fabricworld.colours import COLOURS
from clipfast.datasets.fabricworld.defects import DEFECTS
from clipfast.datasets.fabricworld.fabrics import FABRICS
from clipfast.datasets.fabricworld.scene import Scene, Wishes, require_wishes
from clipfast.datasets.fabricworld.world import compose
from clipfast.errors import DataError
from clipfast.types import Floats, Pixels

__all__ = ["Sample", "anomaly_samples", "caption_samples", "class_samples", "detection_samples", "piece_seeds"]


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """A picture with one label.

    Attributes:
        key: Path of the picture in a folder of its kind, without suffix, such as "denim/ref_01".
        image: RGB, (size, size, 3) uint8.
        label: The class: a fabric, or of anomaly detection "good" or the defect.
        caption: An English sentence that is true of the picture.
        names: What the boxes hold, such as "red star".
        boxes: Exact boxes, xyxy, half-open, (m, 4) float32.
        mask: Where the cloth is damaged, 0 or 1, (size, size) uint8.
    """

    key: str
    image: Pixels
    label: str
    caption: str
    names: tuple[str, ...]
    boxes: Floats
    mask: Pixels

    @classmethod
    def of(cls, scene: Scene, key: str, label: str) -> Sample:
        """Label a scene."""
        names = tuple(f"{item.colour} {item.shape}" for item in scene.objects)
        boxes = np.array([item.box for item in scene.objects], np.float32).reshape(-1, 4)
        mask = (scene.defect_mask > 0).astype(np.uint8)
        return cls(key, scene.image, label, scene.caption, names, boxes, mask)


def class_samples(
    seed: int, *, per_fabric: int, fabrics: Sequence[str] | None = None, wishes: Wishes | None = None
) -> Iterator[Sample]:
    """Give pictures of each fabric, fabric by fabric.

    Picture `i` of every fabric has the same colour, and the colours take turns: a colour then says nothing about the
    fabric, and each fabric is shown in as many colours as it has pictures, up to twelve.

    Args:
        seed: Not negative; another seed gives other pieces of cloth.
        per_fabric: Pictures of each, at least 1.
        fabrics: Keys of `FABRICS`, all if left out. A fabric's pictures do not depend on which others are asked for.
        wishes: Objects, defects, camera and size; its fabric and colour are not used.

    Raises:
        DataError: If a fabric is not in the table, or named twice.
        ShapeError: If the seed or `per_fabric` is not a whole number, or out of range.

    >>> [sample.key for sample in class_samples(0, per_fabric=2, fabrics=["felt"], wishes=Wishes(size=32))]
    ['felt/ref_01', 'felt/ref_02']
    """
    named = list(FABRICS) if fabrics is None else fabrics
    wanted = require_names("fabrics", named, FABRICS, kind="fabric", once=True)
    return _classes(require_seed(seed), require_pictures("per_fabric", per_fabric, 1), wanted, require_wishes(wishes))


def _classes(seed: int, per_fabric: int, fabrics: Sequence[str], wishes: Wishes) -> Iterator[Sample]:
    colours = np.random.default_rng(seed).permutation(list(COLOURS)).tolist()
    for name in fabrics:
        for number, piece in enumerate(piece_seeds(seed, name, per_fabric)):
            scene = compose(piece, replace(wishes, fabric=name, colour=colours[number % len(colours)]))
            yield Sample.of(scene, f"{FABRICS[name].id}/ref_{number + 1:02}", name)


def detection_samples(seed: int, count: int, *, wishes: Wishes | None = None) -> Iterator[Sample]:
    """Give pictures with one to three objects and their boxes, or with the objects wished for.

    Raises:
        ShapeError: If a number is not whole, or out of range.

    >>> sample = next(detection_samples(0, 1))
    >>> len(sample.names) == len(sample.boxes) > 0
    True
    """
    return _detections(require_seed(seed), require_pictures("count", count), require_wishes(wishes))


def _detections(seed: int, count: int, wishes: Wishes) -> Iterator[Sample]:
    for piece in range(seed, seed + count):
        objects = wishes.objects or int(np.random.default_rng([piece, 2]).integers(1, 4))
        scene = compose(piece, replace(wishes, objects=objects))
        yield Sample.of(scene, f"{piece:09}", scene.fabric)


def caption_samples(seed: int, count: int, *, wishes: Wishes | None = None) -> Iterator[Sample]:
    """Give pictures with captions that say all that is in them: half of them show objects, a third damage.

    Raises:
        ShapeError: If a number is not whole, or out of range.

    >>> [sample.caption[:10] for sample in caption_samples(0, 2)]
    ['a photo of', 'a photo of']
    """
    return _captioned(require_seed(seed), require_pictures("count", count), require_wishes(wishes))


def _captioned(seed: int, count: int, wishes: Wishes) -> Iterator[Sample]:
    for piece in range(seed, seed + count):
        draw = np.random.default_rng([piece, 3])
        objects, defects = int(draw.integers(1, 4)) * (draw.random() < 0.5), int(draw.random() < 1 / 3)
        scene = compose(piece, replace(wishes, objects=wishes.objects or objects, defects=wishes.defects or defects))
        yield Sample.of(scene, f"{piece:09}", scene.fabric)


def anomaly_samples(seed: int, *, good: int, each: int, wishes: Wishes | None = None) -> Iterator[Sample]:
    """Give pieces of one product: first intact ones, then `each` of every defect.

    Pieces have the same threads and colours; their place in the pattern, irregularities and light differ.

    Args:
        seed: Of the product and its pieces.
        good: How many intact ones.
        each: How many of each defect, of the defects wished for or of all.
        wishes: Fabric, colour, defects by name, camera and size; no objects, which would be neither intact cloth nor
            a defect.

    Raises:
        DataError: If objects are wished for, defects by their number, or one twice.
        ShapeError: If a number is not whole, or out of range.

    >>> [sample.label for sample in anomaly_samples(0, good=2, each=1, wishes=Wishes(defects=["hole"], size=32))]
    ['good', 'good', 'hole']
    """
    asked = require_wishes(
        wishes, without=("objects",), because="what lies on intact cloth is neither intact nor a defect"
    )
    if not isinstance(asked.defects, Sequence) and asked.defects:
        raise DataError(f"defects must be a list of kinds here; got {asked.defects!r}. {', '.join(DEFECTS)} are known.")
    require_names("defects", asked.named_defects(), once=True)
    counts = require_pictures("good", good), require_pictures("each", each)
    return _pieces(require_seed(seed), *counts, asked)


def _pieces(seed: int, good: int, each: int, wishes: Wishes) -> Iterator[Sample]:
    drawn = compose(seed, replace(wishes, size=32, objects=0, defects=0))
    product = replace(
        wishes, fabric=drawn.fabric, colour=drawn.colour, bolt=seed if wishes.bolt is None else wishes.bolt
    )
    kinds = ["good"] * good
    for kind in wishes.named_defects() or DEFECTS:
        kinds += [kind] * each
    seeds = piece_seeds(seed, "pieces", len(kinds))
    numbers: dict[str, int] = {}
    for kind, piece in zip(kinds, seeds, strict=True):
        number = numbers[kind] = numbers.get(kind, -1) + 1
        scene = compose(piece, replace(product, defects=0 if kind == "good" else [kind]))
        folder = "good" if kind == "good" else DEFECTS[kind].id
        yield Sample.of(scene, f"{folder}/{number:03}", kind)


def piece_seeds(seed: int, what: str, count: int) -> list[int]:
    """Return seeds for `count` pictures of one purpose; other purposes, such as other fabrics, have others.

    >>> piece_seeds(0, "felt", 2) == piece_seeds(0, "felt", 3)[:2] != piece_seeds(0, "lace", 2)
    True
    """
    if count == 0:
        return []
    states = np.random.SeedSequence([seed, zlib.crc32(what.encode())]).generate_state(count)
    return [int(state) for state in states]
