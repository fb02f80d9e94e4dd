"""The texts of a heat map: checked once, embedded once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clipfast.errors import DataError
from clipfast.surgery.options import MapOptions
from clipfast.types import Floats, TextEncoder

__all__ = ["TextRows", "alike_texts", "asked_labels", "checked_texts", "embed_texts"]

# From this cosine on two names are one to the model. mini's unknown words reach 0.9975 of one or two tokens, and 1 of
# equally many; the most alike of its known names are at 0.97.
_ALIKE = 0.997


@dataclass(frozen=True, slots=True)
class TextRows:
    """Texts as unit rows.

    Attributes:
        rows: The texts that get maps, then the labels that they are only compared with, (t + l, e).
        wanted: How many get maps, t.
        redundant: The text that is subtracted, (e,), if one was asked for.
        empty: The row of "", (e,): what a single text is compared with.
        rival: Which labels each text is compared with instead of the other texts, (t, l); None compares all rows.
    """

    rows: Floats
    wanted: int
    redundant: Floats | None
    empty: Floats
    rival: NDArray[np.bool_] | None = None

    @property
    def directions(self) -> Floats:
        """What tokens are compared with, (t, e): the texts, less the redundant one."""
        texts = self.rows[: self.wanted]
        return texts if self.redundant is None else texts - self.redundant

    def only(self, chosen: Sequence[int]) -> TextRows:
        """Return some of the texts, as if no other had been asked; labels and the redundant text stay."""
        at = list(chosen)
        rows = np.concatenate([self.rows[: self.wanted][at], self.rows[self.wanted :]])
        return TextRows(rows, len(at), self.redundant, self.empty, None if self.rival is None else self.rival[at])


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

    Raises:
        DataError: A text that is compared with labels only has none but itself.
    """
    labels, rival = _labels(names, options)
    templates = None if bare else options.templates
    extra = [""] if options.redundant is None else ["", options.redundant]
    rows = clip.encode_texts([*names, *labels, *extra], templates)
    count = len(names) + len(labels)
    redundant = None if options.redundant is None else rows[count + 1]
    return TextRows(rows[:count], len(names), redundant, rows[count], rival)


def alike_texts(rows: Floats, names: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Return groups of names whose rows are the same or all but the same: so are their maps.

    Words that a model does not know all look alike to it; how many there are may leave a trace.

    Args:
        rows: Unit rows, (t, e).
        names: Of the rows.

    >>> alike_texts(np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]], np.float32), ["zebra", "star", "okapi"])
    (('zebra', 'okapi'),)
    """
    groups: list[list[int]] = []
    cosines = rows @ rows.T
    for at in range(len(rows)):
        group = next((known for known in groups if cosines[known[0], at] >= _ALIKE), None)
        if group is None:
            groups.append([at])
        else:
            group.append(at)
    return tuple(tuple(names[at] for at in group) for group in groups if len(group) > 1)


def asked_labels(names: Sequence[str], labels: Sequence[str]) -> list[str]:
    """Return the labels that are asked for as texts too (case and spaces aside).

    Texts are compared with each other in any case, so such a label changes nothing unless `rivals` is "labels".

    >>> asked_labels(["red star", "lace"], ["Lace", "felt"])
    ['Lace']
    """
    folded = {_folded(name) for name in names}
    return [label for label in labels if _folded(label) in folded]


def _labels(names: Sequence[str], options: MapOptions) -> tuple[list[str], NDArray[np.bool_] | None]:
    """Return the labels that texts are compared with, and which label is a rival of which text."""
    given = checked_texts(options.labels) if options.labels else []
    folded = [_folded(name) for name in names]
    if options.rivals == "texts":
        again = asked_labels(names, given)
        return [label for label in given if label not in again], None
    rival = np.array([[_folded(label) != name for label in given] for name in folded], np.bool_)
    if not rival.any(axis=1).all():
        lonely = names[int((~rival.any(axis=1)).argmax())]
        raise DataError(f"labels must hold something else than the text itself; {lonely!r} has no other label.")
    return given, rival


def _folded(text: str) -> str:
    return " ".join(text.split()).lower()
