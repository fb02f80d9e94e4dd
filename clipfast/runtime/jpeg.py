"""JPEG files straight to an array, where simplejpeg is installed (extra `fast`) and gives Pillow's own pixels."""

from __future__ import annotations

import importlib
from functools import cache
from types import ModuleType
from typing import BinaryIO

from PIL.JpegImagePlugin import JpegImageFile

from clipfast.types import Pixels

__all__ = ["decode_rgb", "reduction"]

_SPARE = 2  # a picture decoded smaller is still this many times larger than what it is scaled to
_MOST_BYTES = 64 << 20  # the whole file is held at once; larger ones are left to Pillow, which reads in pieces


def reduction(size_hw: tuple[int, int], wanted_hw: tuple[int, int]) -> int:
    """Return by how much a JPEG may be decoded smaller: 8, 4, 2 or 1.

    A JPEG is stored in blocks of 8 x 8 frequencies; leaving out the high ones gives the picture at a half, a quarter or
    an eighth of its size, and most of the work is never done. What is left must be at least twice as large as what it
    will be scaled to on both sides, so that the scaling still decides which frequencies remain.

    >>> reduction((1080, 1920), (224, 224)), reduction((3000, 4000), (224, 224)), reduction((300, 300), (224, 224))
    (2, 4, 1)
    """
    scale = max(wanted / size for wanted, size in zip(wanted_hw, size_hw, strict=True))
    return next((factor for factor in (8, 4, 2) if factor * scale <= 1 / _SPARE), 1)


def decode_rgb(image: JpegImageFile, file: BinaryIO, factor: int = 1) -> Pixels | None:
    """Decode a JPEG that Pillow opened and nobody decoded yet; None where Pillow has to do it.

    The pixels are Pillow's to the last bit: both decode with libjpeg-turbo's exact transform and smooth upsampling.
    What is not colour, or is damaged in any way, is left to Pillow: it knows how to read on, and what to say.

    Args:
        image: The header, as Pillow read it.
        file: What it was read from.
        factor: How many times smaller, 1, 2, 4 or 8; sides are rounded up.

    Returns:
        RGB, (h, w, 3) uint8, or None.
    """
    library = _simplejpeg()
    if library is None or image.mode != "RGB":
        return None
    height, width = (-(-side // factor) for side in (image.height, image.width))
    file.seek(0)
    data = file.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        return None
    try:
        pixels: Pixels = library.decode_jpeg(
            data, "RGB", min_height=height, min_width=width, min_factor=factor, strict=True
        )
    except ValueError:
        return None
    return pixels if pixels.shape == (height, width, 3) else None


@cache
def _simplejpeg() -> ModuleType | None:
    try:
        return importlib.import_module("simplejpeg")
    except ImportError:
        return None
