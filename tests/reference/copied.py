"""Pieces of cloth, and the ways in which a picture is copied under another name."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import lru_cache

from PIL import Image

from clipfast.datasets.fabricworld import COLOURS, FABRICS, Camera, render

__all__ = ["CLOTH", "WAYS", "cloth", "cut", "jpeg", "scaled"]

CLOTH = [(name, colour) for name, colour in zip(FABRICS, 2 * list(COLOURS), strict=True)]


@lru_cache(maxsize=64)
def cloth(number: int, seed: int = 0) -> Image.Image:
    """Draw one fabric, each in another colour, every second one by the varied camera."""
    fabric, colour = CLOTH[number % len(CLOTH)]
    camera: Camera = "varied" if (number + seed) % 2 else "plain"
    return Image.fromarray(render(500 + 100 * seed + number, fabric=fabric, colour=colour, camera=camera).image)


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    """Encode again."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(io.BytesIO(file.getvalue()))


def scaled(image: Image.Image, factor: float) -> Image.Image:
    """Scale."""
    return image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.BICUBIC)


def cut(image: Image.Image, *shares: float) -> Image.Image:
    """Cut shares off the left, top, right and bottom."""
    left, top, right, bottom = (round(share * image.width) for share in shares)
    return image.crop((left, top, image.width - right, image.height - bottom))


WAYS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "as JPEG of quality 85": lambda image: jpeg(image, 85),
    "as JPEG of quality 70": lambda image: jpeg(image, 70),
    "half the size": lambda image: scaled(image, 0.5),
    "half as large again": lambda image: scaled(image, 1.5),
    "twice the size": lambda image: scaled(image, 2),
    "2 % off every side": lambda image: cut(image, 0.02, 0.02, 0.02, 0.02),
    "2 % off in all": lambda image: cut(image, 0.01, 0.01, 0.01, 0.01),
    "2 % off one side": lambda image: cut(image, 0.02, 0, 0, 0),
    "2 % off a corner": lambda image: cut(image, 0, 0.02, 0.02, 0),
    "5 % off one side": lambda image: cut(image, 0, 0, 0.05, 0),
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "upside down": lambda image: image.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
    "turned by 90": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "turned by 180": lambda image: image.transpose(Image.Transpose.ROTATE_180),
    "turned by 270": lambda image: image.transpose(Image.Transpose.ROTATE_270),
    "mirrored and more": lambda image: jpeg(
        scaled(cut(image.transpose(Image.Transpose.TRANSVERSE), 0.01, 0.02, 0, 0), 0.7), 80
    ),
    "all of it": lambda image: jpeg(scaled(cut(image, 0.02, 0.02, 0.02, 0.02), 0.7), 80),
}
