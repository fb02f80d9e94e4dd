"""JPEG files straight to an array, where simplejpeg is installed (extra `fast`) and gives Pillow's own pixels."""

from __future__ import annotations

import importlib
from functools import cache
from types import ModuleType
from typing import BinaryIO

from PIL.JpegImagePlugin import JpegImageFile

from clipfast.types import Pixels

__all__ = ["decode_rgb"]

_MOST_BYTES = 64 << 20  # the whole file is held at once; larger ones are left to Pillow, which reads in pieces


def decode_rgb(image: JpegImageFile, file: BinaryIO) -> Pixels | None:
    """Decode a JPEG that Pillow opened and nobody decoded yet; None where Pillow has to do it.

    The pixels are Pillow's to the last bit: both decode with libjpeg-turbo's exact transform and smooth upsampling.
    What is not colour, or is damaged in any way, is left to Pillow: it knows how to read on, and what to say.

    Args:
        image: The header, as Pillow read it.
        file: What it was read from.

    Returns:
        RGB, (h, w, 3) uint8, or None.
    """
    library = _simplejpeg()
    if library is None or image.mode != "RGB":
        return None
    file.seek(0)
    data = file.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        return None
    try:
        pixels: Pixels = library.decode_jpeg(data, "RGB", strict=True)
    except ValueError:
        return None
    return pixels if pixels.shape == (image.height, image.width, 3) else None


@cache
def _simplejpeg() -> ModuleType | None:
    try:
        return importlib.import_module("simplejpeg")
    except ImportError:
        return None
