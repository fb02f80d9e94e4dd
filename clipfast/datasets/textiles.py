"""Two sets of real or simulated cloth without a training split of their own, read as classes of inspection.

`read_simulated_textiles`: the images of the package conformal-clip-data (MIT), folders nominal, local and global.
`read_tiles`: photos with masks and no intact ones among them, such as HSST's; intact tiles of a photo are its support.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image

from clipfast.arguments import require_path, require_whole
from clipfast.datasets.folders import list_images
from clipfast.datasets.inspection import GOOD, InspectionClass, InspectionSample, mask_of
from clipfast.errors import DataError

__all__ = ["read_simulated_textiles", "read_tiles"]

_NOMINAL, _DAMAGED = "nominal", ("local", "global")


def read_simulated_textiles(root: str | os.PathLike[str], *, train: int = 500) -> dict[str, InspectionClass]:
    """List nominal against local and nominal against global defects; there are no masks.

    Args:
        root: The folder that holds nominal, local and global; `conformal_clip_data.textile_simulated_root()`.
        train: How many nominal images, by name, are there to choose a support from; the others are tested.

    Returns:
        Two classes, "local" and "global"; both have the same nominal images, so they are not independent and neither
        may teach the other.

    Raises:
        DataError: A folder is missing, or fewer nominal images than asked for.
        ShapeError: `train` is less than 1.
    """
    folder = require_path("root", root)
    require_whole("train", train, 1)
    nominal = _listed(folder, _NOMINAL, GOOD)
    if len(nominal) <= train:
        raise DataError(
            f"{folder / _NOMINAL} holds {len(nominal)} images; {train} to train and one more are needed. Lower train."
        )
    return {
        kind: InspectionClass(kind, nominal[:train], nominal[train:] + _listed(folder, kind, kind)) for kind in _DAMAGED
    }


def read_tiles(
    images: str | os.PathLike[str], masks: str | os.PathLike[str], *, tile: int = 128
) -> dict[str, InspectionClass]:
    """Cut photos into square tiles; every second intact tile is for the support, all others are tested.

    Photos without an intact tile, or with a single one, are left out. What does not fill a tile at the right or lower
    edge is left out, too.

    Args:
        images: Folder of photos.
        masks: Folder of masks with the same names, ".png".
        tile: Side in pixels.

    Returns:
        One class a photo, by its name without suffix.

    Raises:
        DataError: A folder or a mask is missing, a mask does not fit, or no photo is left.
        ShapeError: `tile` is less than 8.
    """
    require_whole("tile", tile, 8)
    beside = require_path("masks", masks)
    classes = {}
    for path in list_images(images)[0]:
        mask = beside / f"{path.stem}.png"
        if not mask.is_file():
            raise DataError(f"No mask at {mask}. Every photo needs one of its name.")
        found = _tiles(path, mask, tile)
        intact = [sample for sample in found if not sample.is_anomalous]
        support = intact[::2]
        test = [sample for sample in found if sample not in support]
        if len(intact) >= 2:
            classes[path.stem] = InspectionClass(path.stem, tuple(support), tuple(test))
    if not classes:
        raise DataError(f"no photo of {images} has two intact tiles of {tile} pixels. Choose smaller ones.")
    return classes


def _listed(folder: Path, kind: str, label: str) -> tuple[InspectionSample, ...]:
    paths = list_images(folder / kind)[0]
    if not paths:
        raise DataError(f"{folder / kind} holds no image.")
    return tuple(InspectionSample(f"{kind}/{path.name}", path, label) for path in paths)


def _tiles(path: Path, mask: Path, tile: int) -> list[InspectionSample]:
    try:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError) as error:
        raise DataError(f"{path} cannot be read as an image: {error}. Check or replace it.") from error
    damage = mask_of(InspectionSample(path.name, path, "defect", mask), pixels.shape[:2], exif="ignore")
    found = []
    for top in range(0, pixels.shape[0] - tile + 1, tile):
        for left in range(0, pixels.shape[1] - tile + 1, tile):
            window = (slice(top, top + tile), slice(left, left + tile))
            here = damage[window]
            label = "defect" if here.any() else GOOD
            key = f"{path.stem}/{top:04}_{left:04}"
            found.append(
                InspectionSample(key, np.ascontiguousarray(pixels[window]), label, here if here.any() else None)
            )
    return found
