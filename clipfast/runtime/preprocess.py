"""From a decoded image to the pixels that a model reads, equal to what open_clip computes before its ToTensor."""

from __future__ import annotations

import importlib
import sys

import numpy as np
import PIL
from PIL import Image

from clipfast.artifact import ImageSpec
from clipfast.errors import ImageError
from clipfast.runtime.images import DEFAULT_MAX_PIXELS
from clipfast.types import Pixels

__all__ = ["covering_window", "load_kernel", "preprocess"]

_PILLOW = int(PIL.__version__.split(".")[0])
_KERNEL = "clipfast.kernels.resize"


def load_kernel() -> None:
    """Load the compiled resize, about 0.3 s, so that `preprocess` uses it from now on.

    Until then Pillow computes the same pixels: a command that reads one photo must not wait for a compiler that saves
    it 2 ms.
    """
    importlib.import_module(_KERNEL).resize_bicubic(np.zeros((2, 2, 3), np.uint8), (1, 1))


def preprocess(image: Image.Image | Pixels, spec: ImageSpec, *, threads: int = 1) -> Pixels:
    """Resize, crop and convert an image as the model's training did.

    The rule: the pixels of the same Pillow operations in the same order as open_clip. That is bicubic on the
    image's own mode, the centre crop, and only then RGB. `shortest` scales until the image covers `spec.size_hw`, then
    crops; `squash` scales both sides and crops nothing. Two exceptions, where open_clip's result is not meant by
    anyone:

    - Palette and 1-bit images are expanded to RGB, RGBA or L first; Pillow would pick nearest neighbours.
    - 16-bit greys (and 32-bit integers, if they fit into 16 bits) are divided by 256 first; Pillow would clip at 255.

    Args:
        image: The decoded image, or RGB (h, w, 3) uint8.
        spec: Size and resize rule, from the manifest.
        threads: Share the scaling of a large image, once the kernel is loaded; the pixels do not depend on it.

    Returns:
        RGB, (h, w, 3) uint8, read-only.

    Raises:
        ImageError: The image has no agreed range (float), cannot be RGB, or is so narrow that scaling it to
            the size would need more than `DEFAULT_MAX_PIXELS` pixels.
    """
    if isinstance(image, Image.Image):
        image = _eight_bits(image)
    size_hw = image.shape[:2] if isinstance(image, np.ndarray) else (image.height, image.width)
    height, width = spec.size_hw
    if spec.resize == "squash":
        (new_h, new_w), (top, left) = spec.size_hw, (0, 0)
    else:
        (new_h, new_w), (top, left) = covering_window(size_hw, spec.size_hw)
    if new_h * new_w > max(DEFAULT_MAX_PIXELS, height * width):
        raise ImageError(
            f"an image of {size_hw[1]:,} x {size_hw[0]:,} is too narrow: {new_w:,} x {new_h:,} pixels would be "
            f"computed to keep {width} x {height}. Crop it to the part that matters.",
            code="too_narrow",
            width=size_hw[1],
            height=size_hw[0],
        )
    if _KERNEL in sys.modules and _is_kernels(image, size_hw, (new_h, new_w)):
        return _resized(np.asarray(image), (new_h, new_w), (top, left, height, width), threads)
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    image = image.resize((new_w, new_h), Image.Resampling.BICUBIC)
    image = image.crop((left, top, left + width, top + height))
    try:
        return np.asarray(image.convert("RGB"))
    except ValueError as error:
        raise ImageError(
            f"an image must be convertible to RGB; got mode {image.mode} ({error}). Convert it first.",
            code="image_mode",
            mode=image.mode,
        ) from error


def _is_kernels(image: Image.Image | Pixels, size_hw: tuple[int, int], new_hw: tuple[int, int]) -> bool:
    """RGB to another size; not the extreme strips for which Pillow 12.2 and 12.3 have a rule of their own."""
    rgb = isinstance(image, np.ndarray) or image.mode == "RGB"
    return rgb and size_hw != new_hw and (_PILLOW >= 13 or size_hw[0] <= 100 * size_hw[1])


def _resized(pixels: Pixels, size_hw: tuple[int, int], crop: tuple[int, int, int, int], threads: int) -> Pixels:
    """Return the window of the scaled image, as Pillow computes it and several times faster."""
    from clipfast.kernels.resize import resize_bicubic

    # Pillow's order of passes shows in the last bit. Since 13.0, images that lose more than twice as many rows as
    # columns begin with the vertical one.
    lost_h, lost_w = pixels.shape[0] - size_hw[0], pixels.shape[1] - size_hw[1]
    vertical_first = _PILLOW >= 13 and lost_h > max(0, 2 * lost_w)
    window = resize_bicubic(pixels, size_hw, crop=crop, vertical_first=vertical_first, threads=threads)
    window.flags.writeable = False
    return window


def covering_window(size_hw: tuple[int, int], target_hw: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the size that `shortest` scales an image to, and where its centre crop begins in that size.

    torchvision truncates the long side, timm's rule for oblongs rounds both.

    Args:
        size_hw: Of the image.
        target_hw: Of the crop.

    Returns:
        (height, width) that covers the target, and (top, left) of the crop.

    >>> covering_window((480, 640), (224, 224))
    ((224, 298), (0, 37))
    """
    (rows, columns), (height, width) = size_hw, target_hw
    if height != width:
        ratio = min(rows / height, columns / width)
        scaled = round(rows / ratio), round(columns / ratio)
    elif columns <= rows:
        scaled = int(height * rows / columns), width
    else:
        scaled = height, int(width * columns / rows)
    return scaled, (round((scaled[0] - height) / 2), round((scaled[1] - width) / 2))


def _eight_bits(image: Image.Image) -> Image.Image:
    mode = image.mode
    if mode in ("P", "PA"):
        return image.convert("RGBA" if image.has_transparency_data else "RGB")
    if mode == "1":
        return image.convert("L")
    if mode == "F":
        raise ImageError(
            "an image must have 8-bit or 16-bit integer values; got mode F (float), whose range nobody agrees on. "
            "Scale it to 0..255 and convert it to L or RGB.",
            code="image_mode",
            mode=mode,
        )
    if mode != "I" and not mode.startswith("I;16"):
        return image
    values = np.asarray(image)
    if mode == "I" and (values.min() < 0 or values.max() > 0xFFFF):
        raise ImageError(
            f"a 32-bit integer image must lie in 0..65535; got {values.min()}..{values.max()}. Scale it to 0..65535.",
            code="image_levels",
            name="I",
            brightest=values.max(),
        )
    return Image.fromarray((values >> 8).astype(np.uint8))
