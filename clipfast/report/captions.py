"""A diagnosis of image-text pairs: page, Markdown and JSON."""

from __future__ import annotations

from pathlib import Path

import msgspec

from clipfast.diagnostics.answers import share
from clipfast.diagnostics.captions import CaptionDiagnosis, Captions
from clipfast.diagnostics.keywords import KeywordFindings
from clipfast.report.page import Page
from clipfast.report.svg import histogram
from clipfast.report.tables import markdown_table
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
    """Write pairs.html, pairs.md and pairs.json, each atomically; return their paths."""
    sentences = (*found.sentences, *(keyword_sentences(keywords) if keywords else ()))
    groups = [[each.column, each.name or "(none)", f"{each.pairs:,}", share(each.ratio)] for each in found.groups]
    image_of = dict(zip(captions.ids, captions.images, strict=True))
    rows = [
        [each.id, f"{each.rank:.3f}", f"{each.cosine:z.3f}", image_of[each.id], each.text] for each in found.suspects
    ]
    page = Page(title)
    for at, line in enumerate(sentences):
        page.paragraph(line, "" if at else "lead")
    spread = found.distributions
    page.chart(histogram(spread.edges, spread.matching, spread.shuffled, ("matching", "shuffled")))
    if keywords is not None:
        page.heading("Keywords in their images")
        edges, patches = keywords.patches.edges, keywords.patches
        page.chart(histogram(edges, patches.matching, patches.shuffled, ("own keyword", "another's")))
    if groups:
        page.heading("Groups")
        page.table(_GROUPS, groups)
    page.heading("Worst pairs")
    page.table(_HEADINGS, rows)
    text = "\n".join(
        [
            f"# {title}",
            "",
            *[f"{line}\n" for line in sentences],
            *(["## Groups", "", markdown_table(_GROUPS, groups), ""] if groups else []),
            "## Worst pairs",
            "",
            markdown_table(_HEADINGS, rows),
            "",
        ]
    )
    paths = [folder / name for name in ("pairs.html", "pairs.md", "pairs.json")]
    page.save(paths[0])
    for path, content in zip(
        paths[1:],
        (text.encode(), msgspec.json.encode(msgspec.to_builtins(found) | {"keywords": keywords})),
        strict=True,
    ):
        with atomic_write(path) as temporary:
            temporary.write_bytes(content)
    return paths
