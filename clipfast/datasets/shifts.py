"""Pictures as another camera, light or file would give them: what a model should not mind, and often does."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal, TypeAlias, get_args

import numpy as np
from PIL import Image

from clipfast.arguments import require_array, require_known, require_whole
from clipfast.errors import ShapeError
from clipfast.types import Pixels

__all__ = ["RANDOM_SHIFTS", "SHIFTS", "Shift", "replace_background", "shifted"]

Shift: TypeAlias = Literal["dark", "bright", "warm light", "low contrast", "turned", "noise", "jpeg"]

_QUALITY = 10


def shifted(image: Pixels, shift: Shift, *, seed: int = 0) -> Pixels:
    """Return the picture under a shift.

    Args:
        image: RGB, (h, w, 3) uint8.
        shift: A name of `SHIFTS`.
        seed: Of how far it is turned, and of noise.

    Raises:
        DataError: The shift is unknown.
        ShapeError: The image is none, or the seed no whole number.

    >>> int(shifted(np.full((8, 8, 3), 100, np.uint8), "dark").max())
    45
    """
    require_known("shift", shift, get_args(Shift))
    require_whole("seed", seed, 0)
    if require_array("image", image, "(h, w, 3) uint8").ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ShapeError(f"image must be (h, w, 3) uint8; got {image.dtype} {image.shape}.")
    return SHIFTS[shift](image, np.random.default_rng(seed))


def replace_background(image: Pixels, mask: Pixels, background: Pixels) -> Pixels:
    """Keep what the mask covers, (h, w), and take the rest from another picture of the same size."""
    for name, picture in (("image", image), ("mask", mask), ("background", background)):
        require_array(name, picture, "(h, w) or (h, w, 3)")
    if image.shape != background.shape or mask.shape != image.shape[:2]:
        raise ShapeError(f"image, mask and background must fit; got {image.shape}, {mask.shape}, {background.shape}.")
    found: Pixels = np.where(mask[..., None] > 0, image, background)
    return found


def _scaled(factor: tuple[float, float, float]) -> Callable[[Pixels, np.random.Generator], Pixels]:
    def apply(image: Pixels, _: np.random.Generator) -> Pixels:
        found: Pixels = np.clip(image * np.array(factor), 0, 255).astype(np.uint8)
        return found

    return apply


def _faint(image: Pixels, _: np.random.Generator) -> Pixels:
    mean = image.mean()
    found: Pixels = np.clip(mean + 0.35 * (image - mean), 0, 255).astype(np.uint8)
    return found


def _turned(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Turn by 15 to 40 degrees either way, and fill the corners with the mean colour."""
    angle = float(rng.uniform(15, 40) * rng.choice([-1, 1]))
    red, green, blue = (int(value) for value in image.mean(axis=(0, 1)))
    turned = Image.fromarray(image).rotate(angle, Image.Resampling.BICUBIC, fillcolor=(red, green, blue))
    return np.asarray(turned)


def _noisy(image: Pixels, rng: np.random.Generator) -> Pixels:
    found: Pixels = np.clip(image + rng.normal(0, 25, image.shape), 0, 255).astype(np.uint8)
    return found


def _jpeg(image: Pixels, _: np.random.Generator) -> Pixels:
    encoded = io.BytesIO()
    Image.fromarray(image).save(encoded, "JPEG", quality=_QUALITY)
    return np.asarray(Image.open(io.BytesIO(encoded.getvalue()), formats=["JPEG"]).convert("RGB"))


SHIFTS: Mapping[Shift, Callable[[Pixels, np.random.Generator], Pixels]] = MappingProxyType(
    {
        "dark": _scaled((0.45, 0.45, 0.45)),
        "bright": _scaled((1.6, 1.6, 1.6)),
        "warm light": _scaled((1.1, 0.85, 0.55)),
        "low contrast": _faint,
        "turned": _turned,
        "noise": _noisy,
        "jpeg": _jpeg,
    }
)

RANDOM_SHIFTS: frozenset[Shift] = frozenset({"turned", "noise"})
"""Shifts that depend on the seed."""
