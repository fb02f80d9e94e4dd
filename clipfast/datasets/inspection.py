"""Data sets of anomaly detection: classes of products with intact images to learn from and a test split with masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, UnidentifiedImageError

from clipfast.arguments import require_names, require_size_hw, require_type, require_whole
from clipfast.datasets.fabricworld import FABRICS, Wishes, anomaly_samples, english_name
from clipfast.datasets.fabricworld.samples import piece_seeds
from clipfast.errors import DataError
from clipfast.types import ImageSource, Pixels

__all__ = ["GOOD", "InspectionClass", "InspectionSample", "fabricworld_classes", "mask_of", "scaled_mask", "whole_mask"]

GOOD = "good"
"""The label of intact images."""

_MOST_PIXELS = 89_478_485
_ORIENTATION_TAG, _SIDEWAYS = 0x0112, (5, 6, 7, 8)


@dataclass(frozen=True, slots=True, eq=False)
class InspectionSample:
    """One image of a data set.

    Attributes:
        key: Its path in the data set, with forward slashes: "carpet/test/hole/000.png".
        image: The file, or the pixels where it was rendered.
        label: `GOOD`, or the kind of defect.
        mask: Where it is damaged: a file, or 0 and 1, (h, w) uint8; None if it is intact, or masks are not read.
    """

    key: str
    image: ImageSource
    label: str
    mask: Path | Pixels | None = None

    @property
    def is_anomalous(self) -> bool:
        """Whether it is not intact."""
        return self.label != GOOD


@dataclass(frozen=True, slots=True, eq=False)
class InspectionClass:
    """One class of products.

    Attributes:
        name: Of the class, as its folder is called.
        train: Intact images to choose a support from.
        test: Intact and damaged ones to judge by.
    """

    name: str
    train: tuple[InspectionSample, ...]
    test: tuple[InspectionSample, ...]

    def __post_init__(self) -> None:
        if bad := [sample.key for sample in self.train if sample.is_anomalous]:
            raise DataError(f"the training images of {self.name} must be intact; {bad[0]} is not.")
        if not self.train:
            raise DataError(f"{self.name} has no intact training image. A support is chosen from them.")

    @property
    def labels(self) -> list[int]:
        """Of the test images: 0 intact, 1 anomalous."""
        return [int(sample.is_anomalous) for sample in self.test]


def mask_of(
    sample: InspectionSample, size_hw: tuple[int, int], *, exif: Literal["apply", "ignore"] = "apply"
) -> Pixels:
    """Return where a sample is damaged, 0 or 1, at a size: (h, w) uint8.

    Every value above 0 counts as damaged (VisA numbers its defects). Scaling takes the nearest pixel, so masks stay
    sharp. Intact images have a mask of zeros; that of a damaged image may be empty, too, where the data set says so.

    Args:
        sample: Of a data set that was read with masks.
        size_hw: Usually that of the pixel maps.
        exif: Whether the image is seen as the camera's orientation says, so that its mask must have that size, or as it
            is stored. A mask's own orientation is never read.

    Raises:
        DataError: A damaged image without mask, a file that is no mask, an array that is not (h, w) of integers or
            bool, or a mask of another size than its image.
        ShapeError: `size_hw` is not positive.
    """
    size_hw = require_size_hw("size_hw", size_hw)
    require_type("sample", sample, InspectionSample, "one of read_inspection(...)")
    if sample.mask is None and not sample.is_anomalous:
        return np.zeros(size_hw, np.uint8)
    return scaled_mask(whole_mask(sample, exif=exif), size_hw)


def whole_mask(sample: InspectionSample, *, exif: Literal["apply", "ignore"] = "apply") -> Pixels:
    """Return the mask of a sample at its own size, 0 or 1, (h, w) uint8; see `mask_of`.

    Raises:
        DataError: As `mask_of`; or there is no mask.
    """
    if sample.mask is None:
        raise DataError(f"{sample.key} is damaged, and its mask was not read. Read the data set with masks=True.")
    found = _read_mask(sample.mask) if isinstance(sample.mask, Path) else _checked(sample)
    name, wanted = _mask_name(sample), _image_size(sample, exif)
    if wanted is not None and found.shape != wanted[::-1]:
        raise DataError(
            f"{name} must have the size of its image, {wanted[0]} x {wanted[1]}; got {found.shape[1]} x "
            f"{found.shape[0]}. Mask and image do not belong together."
        )
    return found


def scaled_mask(mask: Pixels, size_hw: tuple[int, int]) -> Pixels:
    """Return a mask at another size by the nearest pixel."""
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(np.int64) for new, old in zip(size_hw, mask.shape, strict=True)
    )
    scaled: Pixels = mask[rows[:, None], columns]
    return scaled


def fabricworld_classes(
    fabrics: Sequence[str], seed: int, *, train: int = 8, good: int = 12, each: int = 3, wishes: Wishes | None = None
) -> dict[str, InspectionClass]:
    """Render classes of cloth on the fly, one product a fabric, with exact masks.

    Args:
        fabrics: Names in English or Chinese.
        seed: Of the products; a fabric's pictures do not depend on which others are asked for.
        train: Intact pieces to choose a support from.
        good: Intact pieces to test.
        each: Damaged ones of every kind.
        wishes: Colour, defects, camera and size; its fabric is not used.

    Raises:
        DataError: An unknown fabric.
        ShapeError: A number is negative, or `train` is 0.
    """
    require_whole("train", train, 1)
    classes = {}
    for fabric in require_names("fabrics", fabrics):
        name = english_name(fabric)
        if name not in FABRICS:
            raise DataError(f"fabrics must be of {', '.join(FABRICS)}; got {fabric!r}.")
        product = replace(wishes or Wishes(), fabric=name)
        (bolt,) = piece_seeds(seed, name, 1)
        samples = []
        for number, piece in enumerate(anomaly_samples(bolt, good=train + good, each=each, wishes=product)):
            split = "train" if number < train else "test"
            mask = piece.mask if piece.label != GOOD else None
            samples.append(InspectionSample(f"{name}/{split}/{piece.key}", piece.image, piece.label, mask))
        classes[name] = InspectionClass(name, tuple(samples[:train]), tuple(samples[train:]))
    return classes


def _read_mask(path: Path) -> Pixels:
    try:
        with Image.open(path) as image:
            size = image.size
            if size[0] * size[1] > _MOST_PIXELS:
                raise DataError(f"{path} must have at most {_MOST_PIXELS:,} pixels; got {size[0]} x {size[1]}.")
            values = np.asarray(image.convert("I") if image.mode.startswith("I") else image.convert("L"))
    except (OSError, SyntaxError, UnidentifiedImageError) as error:
        raise DataError(f"{path} cannot be read as a mask: {error}. Check or replace it.") from error
    found: Pixels = (values > 0).astype(np.uint8)
    return found


def _checked(sample: InspectionSample) -> Pixels:
    """A mask that is an array; shares and scores are refused, because no threshold is meant."""
    values = np.asarray(sample.mask)
    if values.ndim != 2 or not values.size or values.dtype.kind not in "bui":
        raise DataError(
            f"{_mask_name(sample)} must be (h, w) of integers or bool; got {values.shape} of {values.dtype}. "
            "Compare it with a threshold, or take one channel."
        )
    found: Pixels = (values > 0).astype(np.uint8)
    return found


def _mask_name(sample: InspectionSample) -> str:
    return str(sample.mask) if isinstance(sample.mask, Path) else f"the mask of {sample.key}"


def _image_size(sample: InspectionSample, exif: Literal["apply", "ignore"]) -> tuple[int, int] | None:
    """Width and height of the image, of a file from its header; None where only decoding would tell."""
    if isinstance(sample.image, np.ndarray):
        return sample.image.shape[1], sample.image.shape[0]
    if isinstance(sample.image, Image.Image):
        return _upright(sample.image, exif)
    if not isinstance(sample.image, str | Path):
        return None
    try:
        with Image.open(sample.image) as image:
            return _upright(image, exif)
    except (OSError, SyntaxError) as error:
        raise DataError(f"{sample.image} cannot be read as an image: {error}. Check or replace it.") from error


def _upright(image: Image.Image, exif: Literal["apply", "ignore"]) -> tuple[int, int]:
    if exif == "ignore":
        return image.size
    turn = image.getexif().get(_ORIENTATION_TAG, 1)
    return (image.height, image.width) if turn in _SIDEWAYS else image.size
