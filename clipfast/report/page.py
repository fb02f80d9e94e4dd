"""A self-contained HTML page from elements, so that every text is escaped and nothing is fetched."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from xml.etree import ElementTree as ET  # elements are built here, nothing is parsed

from clipfast.storage import atomic_write

__all__ = ["Page"]

_STYLE = """
body { font: 16px/1.5 system-ui, "Noto Sans CJK SC", "Microsoft YaHei", "PingFang SC", sans-serif; color: #222; }
body { margin: 2rem auto; max-width: 66rem; padding: 0 1rem; }
h1, h2, h3 { line-height: 1.2; } h2 { margin-top: 2.5rem; border-bottom: 2px solid #ddd; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { border: 1px solid #ccc; padding: .25rem .6rem; text-align: left; vertical-align: top; }
th { background: #f4f4f4; } .note { color: #666; } .lead { font-size: 1.15rem; }
.yes { background: #fbe3d6; } .no { background: #e3f1e3; } .open { background: #eee; } .figure { background: #e5eefa; }
figure { display: inline-block; margin: .4rem; max-width: 13rem; vertical-align: top; }
figcaption { font-size: .8rem; overflow-wrap: anywhere; }
img { max-width: 100%; image-rendering: auto; } svg { max-width: 100%; height: auto; }
"""
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


class Page:
    """Collects parts and writes them."""

    def __init__(self, title: str, *, language: str = "en") -> None:
        self.root = ET.Element("html", {"lang": language})
        head = ET.SubElement(self.root, "head")
        ET.SubElement(head, "meta", {"charset": "utf-8"})
        ET.SubElement(head, "meta", {"http-equiv": "Content-Security-Policy", "content": _POLICY})
        ET.SubElement(head, "meta", {"name": "viewport", "content": "width=device-width"})
        ET.SubElement(head, "link", {"rel": "icon", "href": "data:,"})  # or browsers ask for one and report an error
        ET.SubElement(head, "title").text = title
        ET.SubElement(head, "style").text = _STYLE
        self.body = ET.SubElement(self.root, "body")
        ET.SubElement(self.body, "h1").text = title

    def heading(self, text: str, level: int = 2) -> None:
        """Start a section."""
        ET.SubElement(self.body, f"h{level}").text = text

    def paragraph(self, text: str, kind: str = "") -> None:
        """Add a paragraph; `kind` is a class of the style."""
        ET.SubElement(self.body, "p", {"class": kind} if kind else {}).text = text

    def bullets(self, lines: Iterable[str]) -> None:
        """Add a list."""
        listed = ET.SubElement(self.body, "ul")
        for line in lines:
            ET.SubElement(listed, "li").text = line

    def table(self, headings: Sequence[str], rows: Iterable[Sequence[str]], kinds: Sequence[str] = ()) -> None:
        """Add a table; `kinds` are classes of its rows."""
        table = ET.SubElement(self.body, "table")
        top = ET.SubElement(ET.SubElement(table, "thead"), "tr")
        for heading in headings:
            ET.SubElement(top, "th").text = heading
        inside = ET.SubElement(table, "tbody")
        for at, cells in enumerate(rows):
            row = ET.SubElement(inside, "tr", {"class": kinds[at]} if at < len(kinds) else {})
            for cell in cells:
                ET.SubElement(row, "td").text = cell

    def chart(self, chart: ET.Element) -> None:
        """Add a chart of `report.svg`."""
        ET.SubElement(self.body, "div").append(chart)

    def picture(self, data_uri: str, caption: str) -> None:
        """Add an image given as a data URI, with a caption."""
        figure = ET.SubElement(self.body, "figure")
        ET.SubElement(figure, "img", {"src": data_uri, "alt": caption})
        ET.SubElement(figure, "figcaption").text = caption

    def text(self) -> str:
        """Return the page."""
        return "<!doctype html>\n" + ET.tostring(self.root, encoding="unicode", method="html")

    def save(self, path: Path) -> None:
        """Write the page, atomically."""
        with atomic_write(path) as temporary:
            temporary.write_text(self.text(), encoding="utf-8", errors="xmlcharrefreplace")
