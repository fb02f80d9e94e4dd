"""The texts of a heat map: checked once, embedded once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from clipfast.errors import DataError
from clipfast.surgery.options import MapOptions
from clipfast.types import Floats, TextEncoder

__all__ = ["TextRows", "checked_texts", "embed_texts"]


@dataclass(frozen=True, slots=True)
class TextRows:
    """Texts as unit rows.

    Attributes:
        rows: The texts that get maps, then the labels that they are only compared with, (t + l, e).
        wanted: How many get maps, t.
        redundant: The text that is subtracted, (e,), if one was asked for.
        empty: The row of "", (e,): what a single text is compared with.
    """

    rows: Floats
    wanted: int
    redundant: Floats | None
    empty: Floats

    @property
    def directions(self) -> Floats:
        """What tokens are compared with, (t, e): the texts, less the redundant one."""
        texts = self.rows[: self.wanted]
        return texts if self.redundant is None else texts - self.redundant


def checked_texts(texts: Sequence[str] | str) -> list[str]:
    """Return texts as a list.

    Raises:
        DataError: None, a blank one, one that is no string, or one twice (case and spaces aside, which the tokenizer
            does not see).
    """
    if not isinstance(texts, Iterable):
        raise DataError(f"texts must be a string or a list of strings; got {type(texts).__name__}.")
    names = [texts] if isinstance(texts, str) else list(texts)
    if not names:
        raise DataError("heatmaps needs at least one text; got none.")
    seen: dict[str, str] = {}
    for name in names:
        if not isinstance(name, str) or not name.strip():
            raise DataError(f"texts must be strings with words in them; got {name!r}.")
        if (key := _folded(name)) in seen:
            raise DataError(
                f"texts must differ; got {seen[key]!r} and {name!r}. Equal texts have equal maps: ask once."
            )
        seen[key] = name
    return names


def embed_texts(clip: TextEncoder, names: Sequence[str], options: MapOptions, *, bare: bool = False) -> TextRows:
    """Embed checked texts, the labels that are not among them, and what is subtracted.

    Args:
        clip: Embeds and remembers texts.
        names: Of `checked_texts`.
        options: Templates, redundant text and labels.
        bare: Whether the templates are left out.
    """
    known = {_folded(name) for name in names}
    labels = [label for label in checked_texts(options.labels) if _folded(label) not in known] if options.labels else []
    templates = None if bare else options.templates
    extra = [""] if options.redundant is None else ["", options.redundant]
    rows = clip.encode_texts([*names, *labels, *extra], templates)
    count = len(names) + len(labels)
    redundant = None if options.redundant is None else rows[count + 1]
    return TextRows(rows[:count], len(names), redundant, rows[count])


def _folded(text: str) -> str:
    return " ".join(text.split()).lower()
