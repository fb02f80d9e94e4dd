"""Folders of pictures on disk: references for a bank, and the layout of MVTec AD."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image

from clipfast.arguments import require_known, require_names, require_whole
from clipfast.datasets.fabricworld.checks import require_pictures, require_seed
from clipfast.datasets.fabricworld.fabrics import FABRICS
from clipfast.datasets.fabricworld.samples import anomaly_samples, class_samples, piece_seeds
from clipfast.datasets.fabricworld.scene import Wishes, require_wishes
from clipfast.errors import DataError
from clipfast.storage import atomic_write
from clipfast.types import Pixels

__all__ = ["write_folder", "write_mvtec"]

_JPEG_QUALITY = 92


def write_folder(
    root: Path, *, fabrics: Sequence[str], per_fabric: int, seed: int, size: int = 224, quality: int = _JPEG_QUALITY
) -> list[Path]:
    """Write reference pictures as JPEG: `root/<fabric id>/ref_01.jpg`, `ref_02.jpg`, ...; see `class_samples`.

    Args:
        root: Made if it is not there; files of the same names are replaced.
        fabrics: Keys of `FABRICS`, each once.
        per_fabric: Pictures of each, at least 1.
        seed: Not negative; another seed gives other pieces of cloth.
        size: Pixels along each side.
        quality: Of the JPEG, 1 to 95.

    Returns:
        The paths written, fabric by fabric.

    Raises:
        DataError: If a fabric is not in the table, or named twice.
        ShapeError: If a number is not whole, or out of range.
    """
    require_whole("quality", quality, 1, 95)
    paths = []
    for sample in class_samples(seed, per_fabric=per_fabric, fabrics=fabrics, wishes=Wishes(size=size)):
        path = Path(root) / f"{sample.key}.jpg"
        with atomic_write(path) as temporary:
            Image.fromarray(sample.image).save(temporary, format="JPEG", quality=quality)
        paths.append(path)
    return paths


def write_mvtec(
    root: Path,
    *,
    fabrics: Sequence[str],
    seed: int,
    counts: Mapping[str, int] | None = None,
    wishes: Wishes | None = None,
) -> list[Path]:
    """Write products in the layout of MVTec AD, as PNG.

    One folder for each fabric: `<fabric id>/train/good/000.png`, `<fabric id>/test/{good,<defect id>}/000.png` and, of
    damaged ones, `<fabric id>/ground_truth/<defect id>/000_mask.png` with 255 where the cloth is damaged.

    Args:
        root: Made if it is not there; files of the same names are replaced.
        fabrics: Keys of `FABRICS`; a fabric's pictures do not depend on which others are asked for.
        seed: Of the products.
        counts: How many pictures: "train" (10 if left out), "good" (8) and "each" (4), of each defect.
        wishes: Colour, defects (all if left out), camera and size.

    Returns:
        The pictures and masks written.

    Raises:
        DataError: If a fabric, colour, defect or camera is not in its table, a fabric is named twice, or a key of
            `counts` is unknown.
        ShapeError: If a number is not whole, or out of range.
    """
    numbers = {"train": 10, "good": 8, "each": 4}
    if not isinstance(counts, Mapping | None):
        raise DataError(f"counts must say how many by {', '.join(numbers)}; got {counts!r}. Write {{'train': 10}}.")
    for name, number in (counts or {}).items():
        known = require_known("a key of counts", name, numbers)
        numbers[known] = require_pictures(f"counts[{name!r}]", number)
    wanted = require_names("fabrics", fabrics, FABRICS, kind="fabric", once=True)
    seed, asked, root = require_seed(seed), require_wishes(wishes), Path(root)
    paths = []
    for name in wanted:
        product = replace(asked, fabric=name)
        (bolt,) = piece_seeds(seed, name, 1)
        pieces = anomaly_samples(bolt, good=numbers["train"] + numbers["good"], each=numbers["each"], wishes=product)
        for number, sample in enumerate(pieces):
            part, key = ("train", sample.key) if number < numbers["train"] else ("test", sample.key)
            if sample.label == "good" and part == "test":
                key = f"good/{number - numbers['train']:03}"
            paths.append(_write(root / FABRICS[name].id / part / f"{key}.png", sample.image))
            if sample.label != "good":
                paths.append(_write(root / FABRICS[name].id / "ground_truth" / f"{key}_mask.png", sample.mask * 255))
    return paths


def _write(path: Path, pixels: Pixels) -> Path:
    with atomic_write(path) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG")
    return path
