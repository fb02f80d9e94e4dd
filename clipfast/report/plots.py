"""Figures drawn with matplotlib, an extra; nothing else imports it. Nothing here touches pyplot's global state."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clipfast.errors import DataError, MissingExtraError, ShapeError
from clipfast.report.fonts import NO_CHINESE_FONT, chinese_font, needs_chinese
from clipfast.types import Floats, Pixels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Curve", "LocalisationPanel", "curve_figure", "localisation_figure", "require_matplotlib"]

Doubles = NDArray[np.float64]
_TRUTH, _FOUND = "lime", "red"
_OPACITY = 0.5
_COLUMN, _HEADING = 3.9, 0.3  # inches
_FLATTEST, _TALLEST = 0.3, 1.6  # height of an image, in parts of its width


@dataclass(frozen=True, slots=True, eq=False)
class LocalisationPanel:
    """One row of a figure: a class in an image.

    Attributes:
        title: Above the row.
        pixels: RGB, (h, w, 3) uint8.
        heat: Raw similarity over the pixels, (h, w).
        extent: What `pixels` covers: left, top, right, bottom in the coordinates of the boxes.
        truths: Ground truths xyxy, (m, 4).
        found: Boxes xyxy, (d, 4).
        scores: Of the boxes, (d,).
    """

    title: str
    pixels: Pixels
    heat: Floats
    extent: tuple[float, float, float, float]
    truths: Doubles
    found: Doubles
    scores: Doubles


@dataclass(frozen=True, slots=True)
class Curve:
    """One line of a figure.

    Attributes:
        name: In the legend.
        x: Where, (n,).
        y: How much, (n,).
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]


def curve_figure(
    curves: Sequence[Curve], *, title: str, x_label: str, y_label: str, mark: float | None = None
) -> bytes:
    """Draw lines over one axis, as PNG.

    Args:
        curves: At least one, each of two points or more.
        title: Above the figure; Chinese needs a font for it, see `clipfast.report.fonts`, and is an error without.
        x_label: Below.
        y_label: At the left.
        mark: Where an upright line stands, or None.

    Raises:
        MissingExtraError: matplotlib is not installed.
        ShapeError: There is no curve, or its lengths differ.
        DataError: A text needs a font with Chinese glyphs, and none is installed.
    """
    if not curves or any(len(curve.x) != len(curve.y) or len(curve.x) < 2 for curve in curves):
        raise ShapeError("there must be a curve, and each must have as many x as y, two at least.")
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    texts = [title, x_label, y_label, *(curve.name for curve in curves)]
    encoded = io.BytesIO()
    with _fonts_for("".join(texts)):
        figure = Figure(figsize=(7, 4), dpi=110, layout="tight")
        axis = figure.subplots()
        for curve in curves:
            axis.plot(curve.x, curve.y, marker="o", markersize=3, label=curve.name)
        if mark is not None:
            axis.axvline(mark, color="grey", linestyle="dashed", linewidth=1)
        axis.set(title=title, xlabel=x_label, ylabel=y_label)
        axis.grid(alpha=0.3)
        axis.legend()
        canvas: Any = FigureCanvasAgg(figure)  # its print_png has no annotations
        canvas.print_png(encoded, metadata={"Software": "clipfast"})
    return encoded.getvalue()


def require_matplotlib() -> None:
    """Fail early where matplotlib is not installed.

    Raises:
        MissingExtraError: It is not.
    """
    try:
        import matplotlib.figure  # noqa: F401  # only whether it is there
    except ImportError as error:
        raise MissingExtraError.of("matplotlib", extra="report") from error


def localisation_figure(panels: Sequence[LocalisationPanel], *, dpi: int = 80) -> bytes:
    """Draw three columns a panel, as PNG.

    Image with the ground truth in green; the map over it (jet, half transparent) with its scale of raw similarity;
    ground truth (green, solid) against boxes found (red, dashed) with their scores.

    Args:
        panels: One row each, at least one.
        dpi: Dots per inch; a column is 4 inches wide, and a row as high as its image then is.

    Raises:
        MissingExtraError: matplotlib is not installed.
        ShapeError: There is no panel, or a map does not cover its image.
        DataError: A title needs a font with Chinese glyphs, and there is none.
    """
    if not panels or any(panel.heat.shape != panel.pixels.shape[:2] for panel in panels):
        raise ShapeError("there must be a panel, and every heat map must have the size of its pixels.")
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = [_HEADING + _COLUMN * min(max(_tallness(panel), _FLATTEST), _TALLEST) for panel in panels]
    encoded = io.BytesIO()
    with _fonts_for("".join(panel.title for panel in panels)):
        figure = Figure(figsize=(3 * _COLUMN + 0.9, sum(rows)), dpi=dpi)
        axes = figure.subplots(len(panels), 3, squeeze=False, height_ratios=rows)
        for row, panel in zip(axes, panels, strict=True):
            _draw(row, panel)
        top = 1 - _HEADING / sum(rows)
        figure.subplots_adjust(left=0.01, right=0.99, top=top, bottom=0.01, wspace=0.16, hspace=_HEADING / max(rows))
        canvas: Any = FigureCanvasAgg(figure)  # its print_png has no annotations
        canvas.print_png(encoded, metadata={"Software": "clipfast"})
    return encoded.getvalue()


@contextmanager
def _fonts_for(text: str) -> Iterator[None]:
    """Draw with the usual font, and where the text holds Chinese with a Chinese one for what that lacks."""
    from matplotlib import font_manager, rc_context

    families = ["DejaVu Sans"]
    if needs_chinese(text):
        path = chinese_font()
        if path is None:
            raise DataError(f"A figure has Chinese text. {NO_CHINESE_FONT}")
        families.append(f"clipfast {path}")  # a name of its own: families of one name may be several files
        known = font_manager.fontManager.ttflist
        if families[-1] not in {font.name for font in known}:
            known.append(font_manager.FontEntry(fname=str(path), name=families[-1], weight=400))
    with rc_context({"font.family": families}):
        yield


def _draw(row: Sequence[Axes], panel: LocalisationPanel) -> None:
    left, top, right, bottom = panel.extent
    extent = (left, right, bottom, top)
    for axis, heading in zip(row, (panel.title, "similarity", "ground truth and boxes"), strict=True):
        axis.imshow(panel.pixels, extent=extent)
        axis.set_title(heading, fontsize=9)
        axis.set_axis_off()
    _outline(row[0], panel.truths, _TRUTH, "solid")
    heat = row[1].imshow(panel.heat, extent=extent, cmap="jet", alpha=_OPACITY)
    scale = row[1].inset_axes((1.02, 0, 0.04, 1))  # beside the map, which stays as large as the images
    row[1].figure.colorbar(heat, cax=scale).ax.tick_params(labelsize=7)
    _outline(row[2], panel.truths, _TRUTH, "solid")
    _outline(row[2], panel.found, _FOUND, "dashed")
    for box, score in zip(panel.found, panel.scores, strict=True):
        row[2].text(
            box[0], box[1], f"{score:z.2f}", color=_FOUND, fontsize=7, va="bottom", clip_on=True,
            bbox={"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.6},
        )  # fmt: skip


def _outline(axis: Any, boxes: Doubles, colour: str, style: str) -> None:
    from matplotlib.patches import Rectangle

    for x1, y1, x2, y2 in boxes.tolist():
        axis.add_patch(
            Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=colour, linestyle=style, linewidth=1.5)
        )


def _tallness(panel: LocalisationPanel) -> float:
    left, top, right, bottom = panel.extent
    return (bottom - top) / (right - left)
