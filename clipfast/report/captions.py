"""A diagnosis of image-text pairs: page, Markdown and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from clipfast.diagnostics.answers import share
from clipfast.diagnostics.captions import CaptionDiagnosis, Captions
from clipfast.diagnostics.keywords import KeywordFindings
from clipfast.report.markdown_sheet import MarkdownSheet
from clipfast.report.page import Page
from clipfast.report.sheet import Sheet
from clipfast.report.svg import histogram
from clipfast.storage import atomic_write

__all__ = ["keyword_sentences", "save_caption_report"]

_HEADINGS = ["id", "share of wrong pairs that fit as well", "cosine", "image", "text"]


_GROUPS = ["column", "group", "pairs", "mismatched, estimated"]


def keyword_sentences(found: KeywordFindings) -> tuple[str, ...]:
    """Say in words what was found about keywords."""
    spread = found.patches
    return (
        f"{found.pairs:,} keywords were looked for in their images: the best patch is closer to the own keyword than "
        f"to another with probability {spread.auc:.3f} (d' {spread.d_prime:.2f}).",
        f"With the whole caption instead of the keyword alone, the map moves by {100 * found.moved:.0f} % of its mass; "
        f"the peak stays in {share(found.same_peak)}. A map that never moves says that the context is not used.",
    )


def save_caption_report(
    folder: Path, title: str, found: CaptionDiagnosis, captions: Captions, keywords: KeywordFindings | None = None
) -> list[Path]:
    """Write pairs.html, pairs.md with its plots, and pairs.json, each atomically; return their paths."""
    sentences = (*found.sentences, *(keyword_sentences(keywords) if keywords else ()))
    groups = [[each.column, each.name or "(none)", f"{each.pairs:,}", share(each.ratio)] for each in found.groups]
    image_of = dict(zip(captions.ids, captions.images, strict=True))
    rows = [
        [each.id, f"{each.rank:.3f}", f"{each.cosine:z.3f}", image_of[each.id], each.text] for each in found.suspects
    ]
    page, text = Page(title), MarkdownSheet(title, "pairs_plots")
    for sheet in (page, text):
        _write(sheet, sentences, found, keywords)
        if groups:
            sheet.heading("Groups")
            sheet.table(_GROUPS, groups)
        sheet.heading("Worst pairs")
        sheet.table(_HEADINGS, rows)
    page.save(folder / "pairs.html")
    text.save(folder / "pairs.md")
    with atomic_write(folder / "pairs.json") as temporary:
        temporary.write_bytes(msgspec.json.encode(msgspec.to_builtins(found) | {"keywords": keywords}))
    return [folder / f"pairs.{kind}" for kind in ("html", "md", "json")]


def _write(sheet: Sheet, sentences: Sequence[str], found: CaptionDiagnosis, keywords: KeywordFindings | None) -> None:
    for at, line in enumerate(sentences):
        sheet.paragraph(line, "" if at else "lead")
    spread = found.distributions
    sheet.heading("Matching and shuffled pairs")
    sheet.chart(histogram(spread.edges, spread.matching, spread.shuffled, ("matching", "shuffled")))
    if keywords is not None:
        sheet.heading("Keywords in their images")
        edges, patches = keywords.patches.edges, keywords.patches
        sheet.chart(histogram(edges, patches.matching, patches.shuffled, ("own keyword", "another's")))
