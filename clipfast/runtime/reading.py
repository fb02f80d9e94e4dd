"""How images are read: options, and one image or many as one thing to iterate over."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal, cast

import numpy as np

from clipfast.errors import ShapeError
from clipfast.runtime.session import available_cores
from clipfast.types import Images, ImageSource

__all__ = ["DEFAULT_MAX_PIXELS", "ImageOptions", "each_image"]

DEFAULT_MAX_PIXELS = 89_478_485
"""The largest image that Pillow itself opens without a warning: 256 MB as RGB."""


@dataclass(frozen=True, slots=True)
class ImageOptions:
    """How images are read.

    Attributes:
        max_pixels: Larger images are refused before they are decoded.
        exif: "apply" turns photos upright as cameras meant them; "ignore" does what open_clip does.
        decode: "exact" gives the pixels that open_clip's transform gives. "fast" decodes large JPEG files at a half, a
            quarter or an eighth of their size, never below twice the model's: off by about half a grey level.
        batch_size: Images of one forward; bounds memory.
        decoders: Threads that decode ahead while a batch is computed, and threads that decode for all callers with one
            image, so that memory does not grow with the number of callers; 0 decodes in the calling thread. The
            default is the cores that this process may use.
    """

    max_pixels: int = DEFAULT_MAX_PIXELS
    exif: Literal["apply", "ignore"] = "apply"
    decode: Literal["exact", "fast"] = "exact"
    batch_size: int = 32
    decoders: int = field(default_factory=available_cores)

    def __post_init__(self) -> None:
        if self.exif not in ("apply", "ignore"):
            raise ShapeError(f'exif must be "apply" or "ignore"; got {self.exif!r}.')
        if self.decode not in ("exact", "fast"):
            raise ShapeError(f'decode must be "exact" or "fast"; got {self.decode!r}.')
        if self.batch_size < 1 or self.decoders < 0 or self.max_pixels < 1:
            raise ShapeError(
                "batch_size and max_pixels must be 1 or more and decoders 0 or more; "
                f"got {self.batch_size}, {self.max_pixels} and {self.decoders}."
            )


def each_image(images: Images) -> Iterable[ImageSource]:
    """One image becomes a list of one; a 4-D array becomes its images; other iterables stay as they are."""
    if isinstance(images, np.ndarray):
        return list(images) if images.ndim == 4 else [images]
    if isinstance(images, str | bytes | os.PathLike) or _is_pillows(images):
        return [cast("ImageSource", images)]
    if hasattr(images, "read"):
        return [cast("ImageSource", images)]
    if not isinstance(images, Iterable):
        raise ShapeError(
            f"images must be an image or an iterable of images; got {type(images).__name__}. "
            "An image is a path, bytes, an open binary file, a PIL image or a uint8 (h, w, 3) array."
        )
    return images if isinstance(images, Iterator) else list(images)


def _is_pillows(images: object) -> bool:
    """Whether it is a PIL image; without Pillow loaded there is none, and a start need not wait for it here."""
    pillow = sys.modules.get("PIL.Image")
    return pillow is not None and isinstance(images, pillow.Image)
