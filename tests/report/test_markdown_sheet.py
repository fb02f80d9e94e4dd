"""Reports in Markdown, with plots beside them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clipfast.report.markdown_sheet import MarkdownSheet
from clipfast.report.svg import bar_chart, dumbbell_chart, histogram, reliability_diagram
from clipfast.report.svg_png import png_of
from clipfast.report.thumbnails import thumbnail_uri
from clipfast.types import Pixels


def _drawn(content: bytes) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(content), formats=["PNG"]).convert("RGB"))


def test_bars_end_where_they_should() -> None:
    """A bar of one half is half as long as one of 1, in its colour; white is around it."""
    picture = _drawn(png_of(bar_chart(["a", "b", "c"], [0.5, 1.0, 0.0], [None] * 3)))
    blue = (picture == (0x2F, 0x6D, 0xB3)).all(axis=2)
    lengths = [int(blue[2 * (4 + 24 * row + 12)].sum()) for row in range(3)]

    assert picture.shape == (2 * (3 * 24 + 8), 2 * 640, 3)
    assert lengths == [340, 680, 0]
    assert picture[0, 0].tolist() == [255, 255, 255]


def test_every_kind_of_chart_is_drawn() -> None:
    """Half-transparent bars, lines, dots, Chinese names and empty bins."""
    for chart in (
        histogram([0.0, 0.5, 1.0], [0.2, 0.8], [0.9, 0.1], ("matching", "shuffled")),
        reliability_diagram([0.0, 0.5, 1.0], [0.0, 0.8], [0.0, 0.7], [0, 9]),
        dumbbell_chart(["棉布", "x" * 60], [[0.6, 0.9], [0.7, 0.8]], ["one", "two"]),
    ):
        assert len(np.unique(_drawn(png_of(chart)).reshape(-1, 3), axis=0)) > 3


def test_names_without_a_font_are_numbered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Never boxes: a number in the plot, the name below it, and what to install."""
    monkeypatch.setattr("clipfast.report.markdown_sheet.drawable", str.isascii)
    sheet = MarkdownSheet("t", "plots")
    chart = bar_chart(["棉布", "felt", "丝绸"], [0.1, 0.2, 0.3], [None] * 3)
    sheet.chart(chart)

    assert "#1 棉布; #2 丝绸. No font with Chinese glyphs was found" in sheet.text()
    assert next(each.text for each in chart.iter("text")) == "棉布"


def test_a_report_shows_its_own_plots_only(tmp_path: Path) -> None:
    """Links lead to files, markup is harmless, a second report leaves nothing of the first."""
    sheet = MarkdownSheet("A <b>", "plots")
    sheet.heading("Causes & more")
    sheet.chart(bar_chart(["a"], [0.5], [(0.4, 0.6)]))
    sheet.picture(thumbnail_uri(np.zeros((8, 8, 3), np.uint8)), "a [link](x) <script>")
    sheet.table(["x"], [["a|b\nc"]])
    sheet.bullets(["one", "two"])
    path, folder = sheet.save(tmp_path / "r.md")
    text = path.read_text(encoding="utf-8")

    assert sorted(each.name for each in folder.iterdir()) == ["001-causes-more.png", "002-causes-more.jpg"]
    assert "](plots/001-causes-more.png)" in text
    assert "](plots/002-causes-more.jpg)" in text
    assert "<script>" not in text
    assert "| a\\|b c |" in text
    (folder / "mine.png").write_bytes(b"mine")
    empty = MarkdownSheet("B", "plots")
    assert empty.save(tmp_path / "r.md") == [path]
    assert [each.name for each in folder.iterdir()] == ["mine.png"]
