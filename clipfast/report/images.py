"""Heat maps drawn over images, with Pillow and a colour table; no plotting library."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from clipfast.errors import ShapeError
from clipfast.storage import atomic_write
from clipfast.types import Floats, Pixels

__all__ = ["colourise", "contact_sheet", "overlay", "save_png"]

# Eight stops from dark blue over white to dark red: readable in print and for most colour-blind eyes.
_STOPS = np.array(
    [
        (32, 24, 92), (36, 82, 172), (64, 150, 205), (160, 208, 220),
        (244, 226, 180), (244, 160, 96), (214, 76, 56), (128, 12, 38),
    ],
    np.float32,
)  # fmt: skip
_MARGIN, _CAPTION = 6, 20


def colourise(heat: Floats) -> Pixels:
    """Turn values in [0, 1], (h, w), into colours, (h, w, 3) uint8."""
    if heat.ndim != 2:
        raise ShapeError(f"heat must be (h, w); got {heat.shape}. Pass one map, scaled with unit_range().")
    at = np.clip(heat, 0, 1) * (len(_STOPS) - 1)
    low = np.minimum(at.astype(np.int64), len(_STOPS) - 2)
    share = (at - low)[..., None]
    colours: Pixels = np.rint(_STOPS[low] * (1 - share) + _STOPS[low + 1] * share).astype(np.uint8)
    return colours


def overlay(pixels: Pixels, heat: Floats, *, opacity: float = 0.55) -> Pixels:
    """Blend a map in [0, 1], (h, w), over an image of the same size, (h, w, 3) uint8; cold parts stay clearer."""
    if pixels.shape != (*heat.shape, 3):
        raise ShapeError(f"pixels must be {(*heat.shape, 3)} for this map; got {pixels.shape}.")
    share = (opacity * (0.45 + 0.55 * np.clip(heat, 0, 1)))[..., None]
    blend: Pixels = np.rint(pixels * (1 - share) + colourise(heat) * share).astype(np.uint8)
    return blend


def contact_sheet(tiles: Sequence[Pixels], captions: Sequence[str], *, columns: int) -> Pixels:
    """Lay images of equal height out in rows, each with a caption below."""
    if not tiles or len(tiles) != len(captions):
        raise ShapeError(
            f"there must be as many captions as tiles, and one at least; got {len(captions)}, {len(tiles)}."
        )
    h, w = max(tile.shape[0] for tile in tiles), max(tile.shape[1] for tile in tiles)
    rows = -(-len(tiles) // columns)
    cell_h, cell_w = h + _CAPTION + _MARGIN, w + _MARGIN
    sheet = Image.new("RGB", (columns * cell_w + _MARGIN, rows * cell_h + _MARGIN), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for i, (tile, caption) in enumerate(zip(tiles, captions, strict=True)):
        x, y = _MARGIN + (i % columns) * cell_w, _MARGIN + (i // columns) * cell_h
        sheet.paste(Image.fromarray(tile), (x, y))
        draw.text((x + 2, y + h + 2), caption, fill="black", font=font)
    return np.asarray(sheet)


def save_png(path: Path, pixels: Pixels) -> None:
    """Write an image, atomically."""
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "PNG")
    with atomic_write(path) as temporary:
        temporary.write_bytes(encoded.getvalue())
