"""What a report is written on: a page in HTML and one in Markdown take the same parts in the same order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol
from xml.etree import ElementTree as ET  # elements are built here, nothing is parsed

__all__ = ["Sheet"]


class Sheet(Protocol):
    """Collects the parts of a report."""

    def heading(self, text: str, level: int = 2) -> None:
        """Start a section."""

    def paragraph(self, text: str, kind: str = "") -> None:
        """Add a paragraph; `kind` is a class of the page's style."""

    def bullets(self, lines: Iterable[str]) -> None:
        """Add a list."""

    def table(self, headings: Sequence[str], rows: Iterable[Sequence[str]], kinds: Sequence[str] = ()) -> None:
        """Add a table; `kinds` are classes of its rows."""

    def chart(self, chart: ET.Element) -> None:
        """Add a chart of `report.svg`."""

    def picture(self, data_uri: str, caption: str) -> None:
        """Add a JPEG given as a data URI, with a caption."""
