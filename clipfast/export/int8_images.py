"""Images for int8: some to choose scales by, others to search with, and others again to judge by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clipfast.artifact import ImageSpec
from clipfast.datasets.fabricworld import FABRICS, Sample, Wishes, class_samples, detection_samples
from clipfast.datasets.folders import list_images
from clipfast.errors import DataError
from clipfast.runtime.images import load_pixels
from clipfast.runtime.preprocess import preprocess
from clipfast.types import Pixels

__all__ = ["MIN_IMAGES", "ImageSets", "LabelledScenes", "image_sets", "labelled_scenes"]

MIN_IMAGES = 64  # a quarter of them chooses scales; fewer leave channels unseen and say nothing about neighbours
_MAX_IMAGES = 512
_CALIBRATION, _SEARCH, _JUDGED = 64, 32, 192
_SEED = 800_000_000  # of pictures that no training and no published figure uses
_SIZE = 256


@dataclass(frozen=True, slots=True, eq=False)
class ImageSets:
    """Pixels as the graphs take them, each (n, h, w, 3) uint8; no picture is in two sets.

    Attributes:
        source: What they are, for the record.
        calibration: To choose scales by.
        search: To find sensitive products by.
        judged: To judge the result by.
    """

    source: str
    calibration: Pixels
    search: Pixels
    judged: Pixels


@dataclass(frozen=True, slots=True, eq=False)
class LabelledScenes:
    """Rendered pictures whose truth is known.

    Attributes:
        classes: Pixels of cloth, (n, h, w, 3).
        fabrics: The fabric of each.
        scenes: Pixels of cloth with objects on it, (m, h, w, 3).
        names: Of each scene, what lies there, such as "red star".
        inside: Of each scene and name, which patch centres lie in its box, (gh * gw,) bool.
    """

    classes: Pixels
    fabrics: tuple[str, ...]
    scenes: Pixels
    names: tuple[tuple[str, ...], ...]
    inside: tuple[tuple[np.ndarray, ...], ...]


def image_sets(spec: ImageSpec, folder: Path | None) -> ImageSets:
    """Read the user's images, or render fabricworld's.

    Args:
        spec: How pixels become input.
        folder: Images directly in one folder, or in folders in it; None renders.

    Raises:
        DataError: Too few images, or none that can be read.
        ImageError: An image cannot be read.
    """
    if folder is None:
        count = _CALIBRATION + _SEARCH + _JUDGED
        wishes = Wishes(size=_SIZE)
        per_fabric = -(-count // (2 * len(FABRICS)))
        scenes = (sample.image for sample in class_samples(_SEED, per_fabric=per_fabric, wishes=wishes))
        objects = (sample.image for sample in detection_samples(_SEED, -(-count // 2), wishes=wishes))
        mixed = [*scenes, *objects]
        order = np.random.default_rng(_SEED).permutation(len(mixed))[:count]
        pixels = np.stack([preprocess(mixed[at], spec) for at in order])
        first, second = _CALIBRATION, _CALIBRATION + _SEARCH
        return ImageSets("fabricworld", pixels[:first], pixels[first:second], pixels[second:])
    if not folder.is_dir():
        raise DataError(f"--calibration must be a folder of images; {folder} is none.")
    paths = _listed(folder)
    different = _different(_read(paths[:: max(1, -(-len(paths) // _MAX_IMAGES))], spec))
    if len(different) < MIN_IMAGES:
        copies = f" ({len(paths)} files, copies count once)" if len(different) < len(paths) else ""
        raise DataError(
            f"--calibration needs at least {MIN_IMAGES} different images; {folder} holds {len(different)}{copies}. Add "
            "images of the kind the model will see, or leave it out to calibrate on rendered fabrics."
        )
    # Every other image judges, so that both halves hold the same kinds.
    pixels = np.stack(different)
    calibration, judged = pixels[::2], pixels[1::2]
    return ImageSets(
        f"{len(pixels)} images of the user", calibration[_SEARCH // 2 :], calibration[: _SEARCH // 2], judged
    )


def labelled_scenes(
    spec: ImageSpec, grid_hw: tuple[int, int], *, per_fabric: int = 8, scenes: int = 64
) -> LabelledScenes:
    """Render pictures of known fabrics, and pictures of known things in known places."""
    wishes = Wishes(size=min(spec.size_hw))
    classes = list(class_samples(_SEED + 1, per_fabric=per_fabric, wishes=wishes))
    found = list(detection_samples(_SEED + 100_000, scenes, wishes=wishes))
    return LabelledScenes(
        np.stack([preprocess(sample.image, spec) for sample in classes]),
        tuple(sample.label for sample in classes),
        np.stack([preprocess(sample.image, spec) for sample in found]),
        tuple(sample.names for sample in found),
        tuple(_patches_inside(sample, grid_hw) for sample in found),
    )


def _patches_inside(sample: Sample, grid_hw: tuple[int, int]) -> tuple[np.ndarray, ...]:
    gh, gw = grid_hw
    size = sample.image.shape[0]
    y, x = ((np.arange(count) + 0.5) * size / count for count in (gh, gw))
    return tuple(
        (((y >= y0) & (y < y1))[:, None] & ((x >= x0) & (x < x1))[None]).reshape(-1) for x0, y0, x1, y1 in sample.boxes
    )


def _listed(folder: Path) -> list[Path]:
    photos = list_images(folder)[0]
    for inner in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")):
        photos += list_images(inner)[0]
    return photos


def _different(images: Iterable[Pixels]) -> list[Pixels]:
    """Return the images whose pixels no image before had: copies would judge what they had chosen."""
    return list({image.tobytes(): image for image in images}.values())


def _read(paths: Iterable[Path], spec: ImageSpec) -> Iterator[Pixels]:
    return (preprocess(load_pixels(path), spec) for path in paths)
