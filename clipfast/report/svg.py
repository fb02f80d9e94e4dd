"""Small charts as SVG elements, for pages that must need nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from unicodedata import east_asian_width
from xml.etree import ElementTree as ET  # elements are built here, nothing is parsed

from clipfast.storage import atomic_write

__all__ = ["bar_chart", "dumbbell_chart", "histogram", "reliability_diagram", "save_svg", "share_chart"]

_WIDTH, _ROW, _LABEL = 640, 24, 220
_LETTER = 7.5  # width of one, at the size of a chart's text
_PLOT = 260
_COLOURS = ("#2f6db3", "#d98324", "#7a7a7a")
_DOTS = ("#d98324", "#2f6db3")
_PARTS = (*_DOTS, "#7a7a7a")


def bar_chart(
    names: Sequence[str], values: Sequence[float], ends: Sequence[tuple[float, float] | None], *, top: float = 1.0
) -> ET.Element:
    """Draw horizontal bars from 0 to `top` with their intervals, one row each."""
    height = _ROW * len(names) + 8
    chart = _chart(_WIDTH, height, "bars with intervals")
    scale = (_WIDTH - _LABEL - 80) / (top or 1.0)
    for at, (name, value, end) in enumerate(zip(names, values, ends, strict=True)):
        y = 4 + at * _ROW
        _text(chart, _LABEL - 8, y + 16, _short(name), anchor="end")
        _rect(chart, (_LABEL, y + 4, max(min(value, top), 0) * scale, _ROW - 8), _COLOURS[0])
        right = value
        if end is not None:
            low, high = (max(min(each, top), 0) for each in end)
            _line(chart, (_LABEL + low * scale, y + 12, _LABEL + high * scale, y + 12), "#111")
            right = max(value, high)
        _text(chart, _LABEL + min(right, top) * scale + 6, y + 16, f"{100 * value:.1f} %")
    return chart


def histogram(
    edges: Sequence[float], first: Sequence[float], second: Sequence[float], names: tuple[str, str]
) -> ET.Element:
    """Draw two histograms over each other, with the same bins."""
    chart = _chart(_WIDTH, _PLOT + 40, f"histograms of {names[0]} and {names[1]}")
    most = max([*first, *second, 1e-12])
    width = (_WIDTH - 40) / len(first)
    for values, colour in ((second, _COLOURS[1]), (first, _COLOURS[0])):
        for at, value in enumerate(values):
            tall = value / most * (_PLOT - 30)
            bar = _rect(chart, (20 + at * width, _PLOT - tall, width, tall), colour)
            bar.set("fill-opacity", "0.6")
    for at in (0, len(edges) // 2, len(edges) - 1):
        _text(chart, 20 + at * width, _PLOT + 18, f"{edges[at]:.2f}", anchor="middle")
    for at, name in enumerate(names):
        _rect(chart, (40, 6 + 18 * at, 10, 10), _COLOURS[at])
        _text(chart, 56, 15 + 18 * at, name)
    return chart


def reliability_diagram(
    edges: Sequence[float], accuracy: Sequence[float], confidence: Sequence[float], counts: Sequence[int]
) -> ET.Element:
    """Draw accuracy against confidence by bin, beside the line where they are equal; empty bins are left out."""
    side = _PLOT
    chart = _chart(side + 80, side + 50, "accuracy against confidence")
    _rect(chart, (40, 10, side, side), "#f2f2f2")
    _line(chart, (40, 10 + side, 40 + side, 10), "#888")
    for at, count in enumerate(counts):
        if not count:
            continue
        left, right = edges[at], edges[at + 1]
        bar = _rect(
            chart,
            (40 + left * side, 10 + side * (1 - accuracy[at]), (right - left) * side, accuracy[at] * side),
            _COLOURS[0],
        )
        bar.set("fill-opacity", "0.75")
        ET.SubElement(
            bar, "title"
        ).text = f"{count} samples, confidence {confidence[at]:.3f}, accuracy {accuracy[at]:.3f}"
    for value in (0.0, 0.5, 1.0):
        _text(chart, 40 + value * side, side + 28, f"{value:g}", anchor="middle")
        _text(chart, 34, 14 + side * (1 - value), f"{value:g}", anchor="end")
    _text(chart, 40 + side / 2, side + 44, "confidence", anchor="middle")
    return chart


def dumbbell_chart(
    names: Sequence[str], points: Sequence[Sequence[float]], legend: Sequence[str], title: str = ""
) -> ET.Element:
    """Draw two or three shares in [0, 1] a row as dots on a line, the half marked: chance for an AUROC.

    The line begins at the half where nothing lies below it, else at 0. That of a row joins the first two; names and
    points are of one length, `legend` as long as a row.
    """
    head, height = 30, 30 + _ROW * len(names) + 28
    start = 0.5 if min((value for row in points for value in row), default=0.0) >= 0.5 else 0.0
    chart = _chart(_WIDTH, height, f"{title or 'shares'}: {', '.join(legend)} by row")
    _text(chart, _LABEL - 12, 17, title, anchor="end")
    scale, bottom = _WIDTH - _LABEL - 30, head + _ROW * len(names)

    def across(value: float) -> float:
        return _LABEL + (value - start) / (1 - start) * scale

    for step in range(5):
        value = start + (1 - start) * step / 4
        x = across(value)
        _line(chart, (x, head - 4, x, bottom), "#888" if value == 0.5 else "#ddd")
        _text(chart, x, bottom + 18, f"{100 * value:.3g} %", anchor="middle")
    for at, (name, row) in enumerate(zip(names, points, strict=True)):
        y = head + at * _ROW + _ROW / 2
        _text(chart, _LABEL - 12, y + 5, _short(name), anchor="end")
        _line(chart, (across(row[0]), y, across(row[1]), y), "#999")
        for place, value in enumerate(row):
            _dot(chart, (across(value), y), place).set("fill-opacity", "0.85")
    _legend(chart, legend, dots=True)
    return chart


def share_chart(names: Sequence[str], parts: Sequence[Sequence[int]], legend: Sequence[str]) -> ET.Element:
    """Draw counts as parts of a whole, one bar a row, each part with its count; rows without any count are empty."""
    head = 30
    chart = _chart(_WIDTH, head + _ROW * len(names) + 8, f"{', '.join(legend)} by row")
    width = _WIDTH - _LABEL - 20
    for at, (name, counts) in enumerate(zip(names, parts, strict=True)):
        y, x, whole = head + at * _ROW, float(_LABEL), max(sum(counts), 1)
        _text(chart, _LABEL - 8, y + 16, _short(name), anchor="end")
        for place, count in enumerate(counts):
            if count:
                wide = width * count / whole
                _rect(chart, (x, y + 4, wide, _ROW - 8), _PARTS[place])
                _text(chart, x + wide / 2, y + 17, str(count), anchor="middle").set("fill", "#fff")
                x += wide
    _legend(chart, legend, dots=False)
    return chart


def save_svg(path: Path, chart: ET.Element) -> None:
    """Write a chart as a file of its own, on white, atomically."""
    alone = ET.Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "font-family": "sans-serif", **chart.attrib})
    ET.SubElement(alone, "rect", {"width": "100%", "height": "100%", "fill": "#fff"})
    alone.extend(list(chart))
    with atomic_write(path) as temporary:
        temporary.write_bytes(ET.tostring(alone, encoding="utf-8", xml_declaration=True) + b"\n")


def _legend(chart: ET.Element, names: Sequence[str], *, dots: bool) -> None:
    x = float(_LABEL)
    for at, name in enumerate(names):
        if dots:
            _dot(chart, (x + 5, 12), at)
        else:
            _rect(chart, (x, 7, 10, 10), _PARTS[at])
        _text(chart, x + 16, 17, name)
        x += 40 + _LETTER * len(name)


def _dot(chart: ET.Element, centre: tuple[float, float], place: int) -> ET.Element:
    """A filled circle; the third of a row is smaller and dark, so that it shows on top of another."""
    radius, colour = ("6", _DOTS[place]) if place < 2 else ("3", "#111")
    x, y = (f"{value:.1f}" for value in centre)
    return ET.SubElement(chart, "circle", {"cx": x, "cy": y, "r": radius, "fill": colour})


def _chart(width: float, height: float, label: str) -> ET.Element:
    box = f"0 0 {width:g} {height:g}"
    return ET.Element(
        "svg",
        {"viewBox": box, "width": f"{width:g}", "role": "img", "aria-label": label, "font-size": "13", "fill": "#222"},
    )


def _rect(chart: ET.Element, place: tuple[float, float, float, float], colour: str) -> ET.Element:
    x, y, width, height = (f"{value:.1f}" for value in place)
    return ET.SubElement(chart, "rect", {"x": x, "y": y, "width": width, "height": height, "fill": colour})


def _line(chart: ET.Element, ends: tuple[float, float, float, float], colour: str) -> None:
    names = ("x1", "y1", "x2", "y2")
    ET.SubElement(
        chart, "line", {name: f"{value:.1f}" for name, value in zip(names, ends, strict=True)} | {"stroke": colour}
    )


def _text(chart: ET.Element, x: float, y: float, text: str, *, anchor: str = "start") -> ET.Element:
    element = ET.SubElement(chart, "text", {"x": f"{x:.1f}", "y": f"{y:.1f}", "text-anchor": anchor})
    element.text = text
    return element


def _short(name: str) -> str:
    """Cut a name to the room that it has; signs such as Chinese ones are twice as wide as letters."""
    room = 30
    for at, sign in enumerate(name):
        room -= 2 if east_asian_width(sign) in "WF" else 1
        if room < (1 if at < len(name) - 1 else 0):
            return f"{name[:at]}…"
    return name
