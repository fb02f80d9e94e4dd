"""Predictions put together from parts, the inverse of selecting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipfast.diagnostics.predictions import Boxes, Predictions
from clipfast.errors import DataError, ShapeError

__all__ = ["joined"]

_TEXTS = ("texts", "images")
_ROWS = ("losses", "attention", "image_only", "text_only", "no_context", "logits", "image_rows", "text_rows")


def joined(parts: Sequence[Predictions]) -> Predictions:
    """Put parts one after another; what one part lacks and another has becomes unknown there: "", NaN or -1.

    Losses of fewer epochs stand at the end of their row: the last one is the last epoch.

    Raises:
        DataError: There is no part, or classes differ.
        ShapeError: Maps or embeddings differ in size.
    """
    if not parts or any(part.classes != parts[0].classes for part in parts):
        raise DataError("parts must be one at least, with the same classes in the same order.")
    names = dict.fromkeys(name for part in parts for name in part.columns)  # each once, in order
    return Predictions(
        ids=tuple(name for part in parts for name in part.ids),
        classes=parts[0].classes,
        labels=np.concatenate([part.labels for part in parts]),
        probs=np.concatenate([part.probs for part in parts]),
        columns={
            name: np.concatenate([part.columns.get(name, np.full(len(part), "")) for part in parts]) for name in names
        },
        boxes=_boxes(parts, "boxes"),
        candidates=_boxes(parts, "candidates"),
        choices=_rows(parts, "choices", -1),
        **{name: _texts(parts, name) for name in _TEXTS},
        **{name: _rows(parts, name, np.nan) for name in _ROWS},
    )


def _texts(parts: Sequence[Predictions], name: str) -> Any:
    held = [getattr(part, name) for part in parts]
    if all(texts is None for texts in held):
        return None
    return tuple(text for part, texts in zip(parts, held, strict=True) for text in texts or ("",) * len(part))


def _rows(parts: Sequence[Predictions], name: str, fill: float) -> Any:
    held: list[NDArray[Any] | None] = [getattr(part, name) for part in parts]
    first = next((rows for rows in held if rows is not None), None)
    if first is None:
        return None
    shape = first.shape[1:]
    if name == "losses":
        shape = (max(rows.shape[1] for rows in held if rows is not None),)
    found = np.full((sum(map(len, parts)), *shape), fill, first.dtype)
    begin = 0
    for part, rows in zip(parts, held, strict=True):
        if rows is not None and name == "losses":
            found[begin : begin + len(part), shape[0] - rows.shape[1] :] = rows
        elif rows is not None:
            if rows.shape[1:] != shape:
                raise ShapeError(f"{name} must have one size in all parts; got {shape} and {rows.shape[1:]}.")
            found[begin : begin + len(part)] = rows
        begin += len(part)
    return found


def _boxes(parts: Sequence[Predictions], name: str) -> Boxes | None:
    begins = np.cumsum([0, *map(len, parts)]).tolist()
    held = [(begin, getattr(part, name)) for begin, part in zip(begins, parts, strict=False)]
    there = [(begin, boxes) for begin, boxes in held if boxes is not None]
    if not there:
        return None
    return Boxes(
        np.concatenate([boxes.xyxy for _, boxes in there]),
        np.concatenate([boxes.rows + begin for begin, boxes in there]),
    )
