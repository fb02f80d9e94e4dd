"""A report in Markdown, with its plots as PNG and its pictures as JPEG in a folder beside it."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from copy import deepcopy
from pathlib import Path
from xml.etree import ElementTree as ET  # elements are built here, nothing is parsed

from clipfast.report.fonts import NO_CHINESE_FONT, drawable
from clipfast.report.svg_png import png_of
from clipfast.report.tables import markdown_table
from clipfast.storage import atomic_write

__all__ = ["MarkdownSheet"]

_MARKUP = str.maketrans({"<": "&lt;", "[": "\\[", "\n": " ", "\r": " "})


class MarkdownSheet:
    """Collects parts and writes them; see `Sheet`.

    Args:
        title: The first line.
        folder: Name of the folder of plots and pictures, beside the file.
    """

    def __init__(self, title: str, folder: str) -> None:
        self.folder = folder
        self.lines = [f"# {_plain(title)}", ""]
        self.files: dict[str, bytes] = {}
        self._section = "plot"

    def heading(self, text: str, level: int = 2) -> None:
        """Start a section."""
        self._section = text
        self.lines += [f"{'#' * level} {_plain(text)}", ""]

    def paragraph(self, text: str, kind: str = "") -> None:  # noqa: ARG002  (Markdown has no classes)
        """Add a paragraph."""
        self.lines += [_plain(text), ""]

    def bullets(self, lines: Iterable[str]) -> None:
        """Add a list."""
        self.lines += [*(f"- {_plain(line)}" for line in lines), ""]

    def table(self, headings: Sequence[str], rows: Iterable[Sequence[str]], kinds: Sequence[str] = ()) -> None:  # noqa: ARG002  (likewise)
        """Add a table."""
        cells = [[_plain(cell) for cell in row] for row in rows]
        self.lines += [markdown_table(headings, cells, left=len(headings)), ""]

    def chart(self, chart: ET.Element) -> None:
        """Add a plot as PNG; names that no font at hand can draw are numbered in it, and written below."""
        drawn, names = _numbered(chart)
        self._add(png_of(drawn), f"{self._section}: {chart.get('aria-label', 'plot')}", "png")
        if names:
            listed = "; ".join(f"#{at} {name}" for at, name in enumerate(names, start=1))
            self.lines += [f"{_plain(listed)}. {NO_CHINESE_FONT}", ""]

    def picture(self, data_uri: str, caption: str) -> None:
        """Add a picture with its caption below."""
        self._add(base64.b64decode(data_uri.partition(",")[2]), caption, "jpg")
        self.lines += [_plain(caption), ""]

    def text(self) -> str:
        """Return the report."""
        return "\n".join(self.lines).rstrip() + "\n"

    def save(self, path: Path) -> list[Path]:
        """Write the report and its folder, which is emptied first of what an earlier report left there.

        Returns:
            The file, and the folder if there is anything in it.
        """
        beside = path.parent / self.folder
        for old in beside.glob("[0-9][0-9][0-9]-*.*"):
            if old.is_file():
                old.unlink()
        for name, content in self.files.items():
            with atomic_write(beside / name) as temporary:
                temporary.write_bytes(content)
        with atomic_write(path) as temporary:
            temporary.write_text(self.text(), encoding="utf-8", errors="xmlcharrefreplace")
        return [path, *([beside] if self.files else [])]

    def _add(self, content: bytes, caption: str, suffix: str) -> None:
        word = re.sub(r"[^a-z0-9]+", "-", self._section.lower()).strip("-")[:40] or "plot"
        name = f"{len(self.files) + 1:03}-{word}.{suffix}"
        self.files[name] = content
        self.lines += [f"![{_plain(caption).replace(']', ' ')}]({self.folder}/{name})", ""]


def _numbered(chart: ET.Element) -> tuple[ET.Element, list[str]]:
    """Return a chart in which texts that cannot be drawn are numbers, and these texts."""
    drawn = deepcopy(chart)
    names: list[str] = []
    for each in drawn.iter("text"):
        text = each.text or ""
        if not drawable(text.replace("…", "")):  # the sign of a cut name is in every font
            names.append(text)
            each.text = f"#{len(names)}"
    return drawn, names


def _plain(text: str) -> str:
    return text.translate(_MARKUP)
