"""Figures drawn with matplotlib, an extra; nothing else imports it. Nothing here touches pyplot's global state."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clipfast.errors import MissingExtraError, ShapeError
from clipfast.types import Floats, Pixels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["LocalisationPanel", "localisation_figure", "require_matplotlib"]

Doubles = NDArray[np.float64]
_TRUTH, _FOUND = "lime", "red"
_WIDTHS = (1.0, 1.14, 1.0)  # the middle column has a colour bar
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
    """
    if not panels or any(panel.heat.shape != panel.pixels.shape[:2] for panel in panels):
        raise ShapeError("there must be a panel, and every heat map must have the size of its pixels.")
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = [_HEADING + _COLUMN * min(max(_tallness(panel), _FLATTEST), _TALLEST) for panel in panels]
    figure = Figure(figsize=(3 * _COLUMN + 0.9, sum(rows)), dpi=dpi)
    axes = figure.subplots(len(panels), 3, squeeze=False, width_ratios=_WIDTHS, height_ratios=rows)
    for row, panel in zip(axes, panels, strict=True):
        _draw(row, panel)
    top = 1 - _HEADING / sum(rows)
    figure.subplots_adjust(left=0.01, right=0.99, top=top, bottom=0.01, wspace=0.12, hspace=_HEADING / max(rows))
    encoded = io.BytesIO()
    canvas: Any = FigureCanvasAgg(figure)  # its print_png has no annotations
    canvas.print_png(encoded, metadata={"Software": "clipfast"})
    return encoded.getvalue()


def _draw(row: Sequence[Axes], panel: LocalisationPanel) -> None:
    left, top, right, bottom = panel.extent
    extent = (left, right, bottom, top)
    for axis, heading in zip(row, (panel.title, "similarity", "ground truth and boxes"), strict=True):
        axis.imshow(panel.pixels, extent=extent)
        axis.set_title(heading, fontsize=9)
        axis.set_axis_off()
    _outline(row[0], panel.truths, _TRUTH, "solid")
    heat = row[1].imshow(panel.heat, extent=extent, cmap="jet", alpha=_OPACITY)
    row[1].figure.colorbar(heat, ax=row[1], fraction=0.046, pad=0.02).ax.tick_params(labelsize=7)
    _outline(row[2], panel.truths, _TRUTH, "solid")
    _outline(row[2], panel.found, _FOUND, "dashed")
    for box, score in zip(panel.found, panel.scores, strict=True):
        row[2].text(box[0], box[1], f"{score:.2f}", color=_FOUND, fontsize=6, va="bottom", clip_on=True)


def _outline(axis: Any, boxes: Doubles, colour: str, style: str) -> None:
    from matplotlib.patches import Rectangle

    for x1, y1, x2, y2 in boxes.tolist():
        axis.add_patch(
            Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=colour, linestyle=style, linewidth=1.5)
        )


def _tallness(panel: LocalisationPanel) -> float:
    left, top, right, bottom = panel.extent
    return (bottom - top) / (right - left)
