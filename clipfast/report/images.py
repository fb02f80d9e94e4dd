"""Heat maps drawn over images, with Pillow and a colour table; no plotting library."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from clipfast.errors import ShapeError
from clipfast.report.fonts import caption_font
from clipfast.storage import atomic_write
from clipfast.types import Floats, Pixels

__all__ = ["colourise", "contact_sheet", "draw_boxes", "overlay", "save_png"]

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


def draw_boxes(pixels: Pixels, boxes: NDArray[np.float64], colour: tuple[int, int, int], *, width: int = 2) -> Pixels:
    """Outline boxes xyxy, (m, 4), on a copy of an image, (h, w, 3) uint8; parts outside of it are not drawn.

    >>> draw_boxes(np.zeros((3, 3, 3), np.uint8), np.array([[0.0, 0, 3, 3]]), (9, 9, 9), width=1)[:, :, 0].tolist()
    [[9, 9, 9], [9, 0, 9], [9, 9, 9]]
    """
    drawn = np.array(pixels)
    height, across = pixels.shape[:2]
    for x1, y1, x2, y2 in np.rint(boxes).astype(np.int64).tolist():
        rows, columns = slice(max(y1, 0), min(y2, height)), slice(max(x1, 0), min(x2, across))
        for left, right in ((x1, x1 + width), (x2 - width, x2)):
            drawn[rows, max(left, columns.start) : max(min(right, columns.stop), 0)] = colour
        for top, bottom in ((y1, y1 + width), (y2 - width, y2)):
            drawn[max(top, rows.start) : max(min(bottom, rows.stop), 0), columns] = colour
    return drawn


def contact_sheet(tiles: Sequence[Pixels], captions: Sequence[str], *, columns: int) -> Pixels:
    """Lay images of equal height out in rows, each with a caption below, which is cut where the widest image ends."""
    if not tiles or len(tiles) != len(captions):
        raise ShapeError(
            f"there must be as many captions as tiles, and one at least; got {len(captions)}, {len(tiles)}."
        )
    h, w = max(tile.shape[0] for tile in tiles), max(tile.shape[1] for tile in tiles)
    rows = -(-len(tiles) // columns)
    cell_h, cell_w = h + _CAPTION + _MARGIN, w + _MARGIN
    sheet = Image.new("RGB", (columns * cell_w + _MARGIN, rows * cell_h + _MARGIN), "white")
    draw, font = ImageDraw.Draw(sheet), caption_font(captions, 13)
    for i, (tile, caption) in enumerate(zip(tiles, captions, strict=True)):
        x, y = _MARGIN + (i % columns) * cell_w, _MARGIN + (i // columns) * cell_h
        sheet.paste(Image.fromarray(tile), (x, y))
        draw.text((x + 2, y + h + 2), _fitted(caption, w - 2, lambda text: draw.textlength(text, font)), "black", font)
    return np.asarray(sheet)


def _fitted(text: str, width: float, length: Callable[[str], float]) -> str:
    """Return a text that is no longer than a width: cut, it ends in dots.

    >>> _fitted("a photo of linen", 8, len), _fitted("linen", 8, len)
    ('a photo…', 'linen')
    """
    if length(text) <= width:
        return text
    kept = len(text) - 1
    while kept > 0 and length(f"{text[:kept].rstrip()}…") > width:
        kept -= 1
    return f"{text[:kept].rstrip()}…"


def save_png(path: Path, pixels: Pixels) -> None:
    """Write an image, atomically."""
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "PNG")
    with atomic_write(path) as temporary:
        temporary.write_bytes(encoded.getvalue())
