"""Charts of `report.svg` as PNG, drawn with Pillow: only the elements that are used there."""

from __future__ import annotations

import io
from xml.etree import ElementTree as ET  # elements are built here, nothing is parsed

from PIL import Image, ImageColor, ImageDraw

from clipfast.report.fonts import caption_font

__all__ = ["png_of"]

_SCALE = 2  # pixels a unit
_SIZE = 13
_ANCHORS = {"start": "ls", "middle": "ms", "end": "rs"}


def png_of(chart: ET.Element) -> bytes:
    """Return a chart as PNG on white, two pixels a unit.

    Texts must be ones that `drawable` says can be drawn; others come out as boxes.
    """
    _, _, wide, high = (float(each) for each in chart.attrib["viewBox"].split())
    image = Image.new("RGB", (round(wide * _SCALE), round(high * _SCALE)), "white")
    font = caption_font([each.text or "" for each in chart.iter("text")], round(_SIZE * _SCALE))
    draw = ImageDraw.Draw(image, "RGBA")
    for each in chart:
        at = {name: float(each.get(name, "0")) * _SCALE for name in _PLACES[each.tag]}
        if each.tag == "rect":
            right, bottom = at["x"] + at["width"], at["y"] + at["height"]
            if right > at["x"] and bottom > at["y"]:
                draw.rectangle((at["x"], at["y"], max(right - 1, at["x"]), max(bottom - 1, at["y"])), fill=_fill(each))
        elif each.tag == "line":
            draw.line((at["x1"], at["y1"], at["x2"], at["y2"]), fill=each.get("stroke", "#222"), width=_SCALE)
        elif each.tag == "circle":
            x, y, r = at["cx"], at["cy"], at["r"]
            draw.ellipse((x - r, y - r, x + r, y + r), fill=_fill(each))
        else:
            place, anchor = (at["x"], at["y"]), _ANCHORS[each.get("text-anchor", "start")]
            draw.text(place, each.text or "", fill=_fill(each), font=font, anchor=anchor)
    encoded = io.BytesIO()
    image.save(encoded, "PNG", optimize=True)
    return encoded.getvalue()


_PLACES = {
    "rect": ("x", "y", "width", "height"), "line": ("x1", "y1", "x2", "y2"), "circle": ("cx", "cy", "r"),
    "text": ("x", "y"),
}  # fmt: skip


def _fill(element: ET.Element) -> tuple[int, int, int, int]:
    red, green, blue = ImageColor.getrgb(element.get("fill", "#222"))[:3]
    return red, green, blue, round(255 * float(element.get("fill-opacity", "1")))
