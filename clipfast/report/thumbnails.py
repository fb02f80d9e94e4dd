"""Small pictures inside pages."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from clipfast.errors import ShapeError
from clipfast.report.images import overlay
from clipfast.types import Floats, Pixels

__all__ = ["thumbnail_uri"]


def thumbnail_uri(pixels: Pixels, heat: Floats | None = None, *, side: int = 160) -> str:
    """Return a small JPEG as a data URI.

    Args:
        pixels: RGB, (h, w, 3) uint8.
        heat: Weights of a grid of patches, at least 0, laid over the picture; None shows it as it is.
        side: Of the longer side.

    Raises:
        ShapeError: `pixels` is no RGB image.
    """
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise ShapeError(f"pixels must be (h, w, 3) uint8; got {pixels.dtype} {pixels.shape}.")
    image = Image.fromarray(pixels)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    if heat is not None:
        top = float(heat.max()) or 1.0
        scaled = Image.fromarray((heat / top).astype(np.float32)).resize(image.size, Image.Resampling.BILINEAR)
        image = Image.fromarray(overlay(np.asarray(image), np.asarray(scaled)))
    encoded = io.BytesIO()
    image.save(encoded, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(encoded.getvalue()).decode()
