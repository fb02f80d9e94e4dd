"""Which files become photos of which fabric."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np

from clipfast.arguments import require_text
from clipfast.datasets.folders import FabricImage, Ignored, list_images, scan_fabrics
from clipfast.errors import DataError
from clipfast.retrieval.encode import BuildReport, EncodeOptions, Photo, Skipped, encode_photos
from clipfast.retrieval.references import References
from clipfast.types import ImageEncoder, Images, ImageSource

__all__ = ["checked_id", "encode_fabric", "encode_folder"]


def encode_folder(clip: ImageEncoder, root: Path, options: EncodeOptions) -> tuple[References, BuildReport]:
    """Encode `root/<fabric_id>/<photo>`; the report counts fabrics without a photo too.

    Raises:
        DataError: No folder there, or no photo in it that can be read.
        ImageError: `strict`, and a file cannot be used.
    """
    folder = scan_fabrics(root)
    images = [FabricImage(fabric, path) for fabric, paths in folder.fabrics.items() for path in paths]
    photos = [Photo(image.fabric, image.path, image.key) for image in images]
    references, report = encode_photos(clip, photos, options, where=str(root), unusable=_skipped(folder.unusable))
    counts = {fabric: report.counts.get(fabric, 0) for fabric in folder.fabrics}
    return references, replace(report, counts=counts, ignored=_skipped(folder.ignored))


def encode_fabric(
    clip: ImageEncoder, images: Images, fabric_id: str, options: EncodeOptions
) -> tuple[References, BuildReport]:
    """Encode photos of one fabric: those that lie in a folder, one image, or several.

    Raises:
        DataError: `fabric_id` is no folder name, or no photo can be read.
        ImageError: `strict`, and a file cannot be used.
    """
    fabric = checked_id(fabric_id)
    if isinstance(images, str | os.PathLike) and Path(images).is_dir():
        paths, hidden, unusable = list_images(images)
        photos = [_photo(fabric, path) for path in paths]
        references, report = encode_photos(
            clip, photos, options, where=os.fspath(images), unusable=_skipped(unusable, fabric)
        )
        return references, replace(report, ignored=_skipped(hidden, fabric))
    photos = [_photo(fabric, image) for image in _listed(images)]
    return encode_photos(clip, photos, options, where="the list of images")


def _photo(fabric: str, source: ImageSource) -> Photo:
    if isinstance(source, str | os.PathLike):
        return Photo(fabric, source, FabricImage(fabric, Path(source)).key)
    return Photo(fabric, source)


def _listed(images: Images) -> list[ImageSource]:
    if isinstance(images, np.ndarray):
        return list(images) if images.ndim == 4 else [images]
    # An open file is iterable too, but by lines; a PIL image is not iterable.
    if isinstance(images, str | os.PathLike | bytes) or hasattr(images, "read") or not isinstance(images, Iterable):
        return [cast("ImageSource", images)]
    return list(images)


def checked_id(fabric_id: str) -> str:
    """Return a fabric id, NFC; it must do as a folder's name, so that `build` on the same photos gives the same bank.

    Raises:
        DataError: It would not.
    """
    name = unicodedata.normalize("NFC", require_text("fabric_id", fabric_id))
    if not name.strip() or name.startswith(".") or any(sign in "/\\" or not sign.isprintable() for sign in name):
        raise DataError(
            "fabric_id must be a folder name: not empty, no leading dot, no slash, no control character; "
            f"got {fabric_id!r}. Pass the name that its folder would have.",
            code="bad_fabric_id",
            name=fabric_id,
        )
    return name


def _skipped(items: Sequence[Ignored], fabric: str | None = None) -> tuple[Skipped, ...]:
    prefix = "" if fabric is None else f"{fabric}/"
    return tuple(Skipped(f"{prefix}{item.name}", item.reason) for item in items)
