"""One door for images: whatever the caller has becomes a decoded PIL image, or an `ImageError` that says why not.

`PIL.Image.open` checks a limit that is global to the process, by a warning first, and neither a global nor a warning
filter can be changed for one thread alone. So the format is told from the first bytes and Pillow's own class for it is
constructed directly: that reads the header only, and the limit is checked on the size found there.
"""

from __future__ import annotations

import importlib
import io
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile

from clipfast.errors import ImageError, ShapeError
from clipfast.runtime.jpeg import decode_rgb, reduction
from clipfast.runtime.reading import DEFAULT_MAX_PIXELS
from clipfast.types import ImageSource, Pixels

__all__ = ["DEFAULT_MAX_PIXELS", "load_image", "load_pixels"]

# How files begin: what Pillow calls the format.
_FORMATS = {
    b"\xff\xd8\xff": "Jpeg",
    b"\x89PNG\r\n\x1a\n": "Png",
    b"RIFF": "WebP",
    b"BM": "Bmp",
    b"II*\0": "Tiff",
    b"MM\0*": "Tiff",
    b"II+\0": "Tiff",
    b"MM\0+": "Tiff",
}
# What Pillow's decoders raise on damaged data, besides OSError.
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    OverflowError,
    struct.error,
    zlib.error,
)
_ORIENTATION_TAG = 0x0112
_BRIGHTEST = 255
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = {_UPRIGHT[number] for number in (5, 6, 7, 8)}


def load_image(
    source: ImageSource, *, max_pixels: int = DEFAULT_MAX_PIXELS, exif: Literal["apply", "ignore"] = "apply"
) -> Image.Image:
    """Return one decoded image; nothing is converted, scaled or drafted, but 16-bit grey, of which 8 bits are kept.

    Files are JPEG, PNG, WebP, BMP or TIFF, told by their first bytes; of several frames the first is taken.

    Args:
        source: A path, the bytes of a file, an open binary file (read from its start), a PIL image or a uint8
            (h, w, 3) RGB array.
        max_pixels: More are refused before anything is decoded; what is decoded already passes. For TIFF and WebP
            files, Pillow's `PIL.Image.MAX_IMAGE_PIXELS` holds besides.
        exif: Whether the orientation that a camera stored in a file is applied. open_clip ignores it. A PIL image or
            an array comes as it is, and Pillow itself always turns a TIFF upright.

    Raises:
        ImageError: The source cannot be read as an image, is larger than the limit, or has levels of 32 bits.
        ShapeError: An array is not uint8 (h, w, 3).

    >>> load_image(np.zeros((2, 3, 3), np.uint8)).size
    (3, 2)
    """
    if isinstance(source, np.ndarray):
        return Image.fromarray(_checked(source))
    if isinstance(source, Image.Image):
        return _loaded(source, max_pixels)
    name = _name(source)
    with _explained(name), _opened(source, name) as file:
        image = _header(file, name, max_pixels)
        image.load()
    return _eight_bits(_turned(image, _turn(image, exif)), name)


def load_pixels(
    source: ImageSource,
    *,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    exif: Literal["apply", "ignore"] = "apply",
    wanted_hw: tuple[int, int] | None = None,
) -> Image.Image | Pixels:
    """Return what `load_image` returns, or the same pixels as an array where those are to be had sooner.

    That is so for arrays, and for colour JPEGs where simplejpeg is installed. `preprocess` takes both.

    Args:
        source: As for `load_image`.
        max_pixels: As for `load_image`.
        exif: As for `load_image`.
        wanted_hw: None decodes everything. A size lets JPEG files be decoded at a half, a quarter or an eighth, but
            never below twice this size (`jpeg.reduction`): several times faster for photos of megapixels, and off by
            about half a grey level once scaled.

    Returns:
        A decoded PIL image of any mode, or RGB (h, w, 3) uint8.

    Raises:
        ImageError: As for `load_image`.
        ShapeError: As for `load_image`.

    >>> load_pixels(np.zeros((2, 3, 3), np.uint8)).shape
    (2, 3, 3)
    """
    if isinstance(source, np.ndarray):
        return _checked(source)
    if isinstance(source, Image.Image):
        return _loaded(source, max_pixels)
    name = _name(source)
    with _explained(name), _opened(source, name) as file:
        image = _header(file, name, max_pixels)
        pixels = None
        if isinstance(image, JpegImageFile):
            factor = 1 if wanted_hw is None else reduction(_upright_hw(image, exif), wanted_hw)
            pixels = decode_rgb(image, file, factor)
            if pixels is None and factor > 1:
                image.draft(image.mode, (image.width // factor, image.height // factor))
        if pixels is None:
            image.load()
    turn = _turn(image, exif)
    if pixels is None:
        return _eight_bits(_turned(image, turn), name)
    return pixels if turn is None else np.asarray(_turned(Image.fromarray(pixels), turn))


def _checked(array: NDArray[Any]) -> Pixels:
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or not array.size:
        raise ShapeError(
            f"an image array must be uint8 (h, w, 3) RGB, not empty; got {array.dtype} {array.shape}. "
            "Stack a grey image three times, drop alpha, and scale floats to 0..255."
        )
    return np.ascontiguousarray(array)


def _loaded(image: Image.Image, max_pixels: int) -> Image.Image:
    name = getattr(image, "filename", "") or f"the {image.mode} image"
    if getattr(image, "tile", None):  # opened by Pillow, and not decoded yet
        _check_size(image.size, max_pixels, name)
    with _explained(name):
        image.load()
    return _eight_bits(image, name)


def _eight_bits(image: Image.Image, name: str) -> Image.Image:
    """Scale 16-bit grey to 8 bits; Pillow's own conversion cuts everything above 255 off, which leaves white."""
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8))
    if image.mode in {"I", "F"} and (brightest := np.asarray(image).max()) > _BRIGHTEST:
        raise ImageError(
            f"{name} has 32-bit levels up to {brightest:g}. Save it with 8 or 16 bits.",
            code="image_levels",
            name=name,
            brightest=brightest,
        )
    return image


def _name(source: str | os.PathLike[str] | bytes | BinaryIO) -> str:
    if isinstance(source, bytes):
        return f"the image of {len(source):,} bytes"
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    return str(getattr(source, "name", "the image source"))


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """Turn what Pillow and the file system raise into one error that names the source and the reason."""
    try:
        yield
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"{name} must be smaller: {error} Shrink it, or raise PIL.Image.MAX_IMAGE_PIXELS if you trust it.",
            code="image_over_limit",
            name=name,
        ) from error
    except _DAMAGE as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ImageError(
            f"{name} cannot be read as an image: {reason}. Check or replace it.",
            code="image_unreadable",
            name=name,
            reason=reason,
        ) from error


@contextmanager
def _opened(source: str | os.PathLike[str] | bytes | BinaryIO, name: str) -> Iterator[BinaryIO]:
    if isinstance(source, bytes):
        yield io.BytesIO(source)
    elif isinstance(source, str | os.PathLike):
        with Path(source).open("rb") as file:
            yield file
    elif callable(getattr(source, "read", None)):
        yield source if source.seekable() else io.BytesIO(source.read())
    else:
        raise ImageError(
            f"{name} must be a path, bytes, an open binary file, a PIL image or a uint8 (h, w, 3) array; "
            f"got {type(source).__name__}."
        )


def _header(file: BinaryIO, name: str, max_pixels: int) -> ImageFile:
    """Read the header, and no further, of an image of a size that is allowed."""
    file.seek(0)
    start = file.read(16)
    for magic, kind in _FORMATS.items():
        if start.startswith(magic):
            file.seek(0)
            image = _class_of(kind)(file)
            _check_size(image.size, _limit(image, max_pixels), name)
            return image
    found = f"it starts with {start[:8]!r}" if start else "it is empty"
    raise ImageError(
        f"{name} must be a JPEG, PNG, WebP, BMP or TIFF file; {found}. Convert or replace it.",
        code="image_kind",
        name=name,
    )


def _class_of(kind: str) -> type[ImageFile]:
    """Return Pillow's class for a format, loaded with the first image of it: all of them would take a start 6 ms."""
    found: type[ImageFile] = getattr(importlib.import_module(f"PIL.{kind}ImagePlugin"), f"{kind}ImageFile")
    return found


def _limit(image: ImageFile, max_pixels: int) -> int:
    """Pillow asks its own limit again while it decodes a TIFF; refusing here keeps its warning from the caller."""
    if image.format == "TIFF" and Image.MAX_IMAGE_PIXELS is not None:
        return min(max_pixels, Image.MAX_IMAGE_PIXELS)
    return max_pixels


def _check_size(size: tuple[int, int], limit: int, name: str) -> None:
    width, height = size
    if width * height > limit:
        raise ImageError(
            f"{name} must have at most {limit:,} pixels; got {width:,} x {height:,} = {width * height:,}. "
            "Shrink it, or raise max_pixels if you trust it (for TIFF also PIL.Image.MAX_IMAGE_PIXELS).",
            code="too_many_pixels",
            name=name,
            width=width,
            height=height,
            most=limit,
        )
    if width * height == 0:
        raise ImageError(
            f"{name} must have pixels; got {width} x {height}. Check or replace it.",
            code="no_pixels",
            name=name,
            width=width,
            height=height,
        )


def _turn(image: Image.Image, exif: Literal["apply", "ignore"]) -> Image.Transpose | None:
    """Return what makes a photo upright, if anything does and it is wanted."""
    if exif == "ignore":
        return None
    try:
        return _UPRIGHT.get(image.getexif().get(_ORIENTATION_TAG, 1))
    except _DAMAGE:  # damaged metadata does not make the pixels useless
        return None


def _upright_hw(image: Image.Image, exif: Literal["apply", "ignore"]) -> tuple[int, int]:
    size_hw = image.height, image.width
    return size_hw[::-1] if _turn(image, exif) in _SIDEWAYS else size_hw


def _turned(image: Image.Image, turn: Image.Transpose | None) -> Image.Image:
    return image if turn is None else image.transpose(turn)
