"""A diagnosis of image-text pairs: page, Markdown and JSON."""

from __future__ import annotations

from pathlib import Path

import msgspec

from clipfast.diagnostics.captions import CaptionDiagnosis, Captions
from clipfast.report.page import Page
from clipfast.report.svg import histogram
from clipfast.report.tables import markdown_table
from clipfast.storage import atomic_write

__all__ = ["save_caption_report"]

_HEADINGS = ["id", "share of wrong pairs that fit as well", "cosine", "image", "text"]


def save_caption_report(folder: Path, title: str, found: CaptionDiagnosis, captions: Captions) -> list[Path]:
    """Write pairs.html, pairs.md and pairs.json, each atomically; return their paths."""
    image_of = dict(zip(captions.ids, captions.images, strict=True))
    rows = [
        [each.id, f"{each.rank:.3f}", f"{each.cosine:z.3f}", image_of[each.id], each.text] for each in found.suspects
    ]
    page = Page(title)
    for at, line in enumerate(found.sentences):
        page.paragraph(line, "" if at else "lead")
    spread = found.distributions
    page.chart(histogram(spread.edges, spread.matching, spread.shuffled, ("matching", "shuffled")))
    page.heading("Worst pairs")
    page.table(_HEADINGS, rows)
    text = "\n".join(
        [
            f"# {title}",
            "",
            *[f"{line}\n" for line in found.sentences],
            "## Worst pairs",
            "",
            markdown_table(_HEADINGS, rows),
            "",
        ]
    )
    paths = [folder / name for name in ("pairs.html", "pairs.md", "pairs.json")]
    page.save(paths[0])
    for path, content in zip(paths[1:], (text.encode(), msgspec.json.encode(found)), strict=True):
        with atomic_write(path) as temporary:
            temporary.write_bytes(content)
    return paths
