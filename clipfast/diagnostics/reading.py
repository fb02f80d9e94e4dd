"""From PREDICTIONS.jsonl to arrays: classes first, then samples piece by piece; embeddings from a file beside it."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipfast.diagnostics.joining import joined
from clipfast.diagnostics.predictions import Predictions, class_numbers
from clipfast.diagnostics.record_arrays import RecordArrays
from clipfast.diagnostics.records import PredictionRecord, collection_held, read_chunks, read_header
from clipfast.errors import DataError
from clipfast.types import Floats, Ints

__all__ = ["read_embeddings", "read_predictions"]

_MAX_EMBEDDING_BYTES = 8 << 30


def read_predictions(
    path: Path, *, embeddings: Path | None = None, progress: Callable[[int, int], None] | None = None
) -> Predictions:
    """Read predictions and check every line.

    Args:
        path: JSON lines; fields as in `PredictionRecord`.
        embeddings: A .npz with `ids` (n,), and `image` or `text` or both, (n, e); of the same samples in any order.
        progress: Called with (done, total) bytes of `path`.

    Raises:
        DataError: A line is wrong; the message says where, what must be, what came and what to do.
    """
    with collection_held():
        arrays = RecordArrays(path, _classes(path))
        found = joined([arrays.predictions(lines) for lines in read_chunks(path, PredictionRecord, progress=progress)])
    if embeddings is None:
        return found
    image_rows, text_rows = read_embeddings(embeddings, found.ids)
    return replace(found, image_rows=image_rows, text_rows=text_rows)


def read_embeddings(path: Path, ids: Sequence[str]) -> tuple[Floats | None, Floats | None]:
    """Read image and text embeddings in the order of `ids`, as unit rows.

    Raises:
        DataError: The file is missing, too large, holds no `ids`, not these ids, or rows that are not numbers.
    """
    if not path.is_file():
        raise DataError(f"No file at {path}. Write a .npz with ids, and image or text.")
    try:
        with zipfile.ZipFile(path) as members:
            size = sum(member.file_size for member in members.infolist())
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is not a readable .npz of plain arrays ({error}).") from error
    if size > _MAX_EMBEDDING_BYTES:
        raise DataError(f"{path} holds more than {_MAX_EMBEDDING_BYTES >> 30} GB. Take fewer samples.")
    try:
        with np.load(path, allow_pickle=False) as archive:
            held = {name: np.asarray(archive[name]) for name in ("ids", "image", "text") if name in archive.files}
    except (ValueError, OSError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is not a readable .npz of plain arrays ({error}).") from error
    if "ids" not in held or len(held) < 2:
        raise DataError(f"{path} must hold `ids` and `image` or `text`; it holds {sorted(held) or 'none of them'}.")
    named = held["ids"].astype(str).ravel().tolist()
    place = {name: row for row, name in enumerate(named)}
    if len(place) != len(named):
        twice = next(name for row, name in enumerate(named) if place[name] != row)
        raise DataError(f"{path}: ids must be unique; {twice!r} is there more than once. Keep one row an id.")
    lacking = [name for name in ids if name not in place]
    if lacking:
        raise DataError(f"{path} lacks {len(lacking)} of {len(ids)} ids, such as {lacking[0]!r}. Embed every sample.")
    order = np.array([place[name] for name in ids], np.int64)
    for name in held.keys() - {"ids"}:
        rows = held[name]
        if rows.ndim != 2 or rows.dtype.kind != "f" or len(rows) != len(named) or not np.isfinite(rows).all():
            raise DataError(
                f"{path}: {name} must be finite floats ({len(named)}, e), one row an id; got {rows.dtype} {rows.shape}."
            )
    image, text = (_unit(held[name], order) if name in held else None for name in ("image", "text"))
    return image, text


def _unit(rows: NDArray[Any], order: Ints) -> Floats:
    picked = rows[order].astype(np.float32)
    norms = np.linalg.norm(picked, axis=1, keepdims=True)
    unit: Floats = picked / np.maximum(norms, np.finfo(np.float32).tiny)
    return unit


def _classes(path: Path) -> dict[str, int]:
    """Return the number of each class, from the header, the length of the lists, or the names in all of the data."""
    header = read_header(path)
    if header is not None:
        numbers = class_numbers(header.classes)
        if len(numbers) != len(header.classes) or len(numbers) < 2:
            raise DataError(f"{path}, line 1: classes must be two different names or more; got {header.classes[:5]}.")
        return numbers
    names: set[str] = set()
    for lines in read_chunks(path, PredictionRecord):
        for number, record in lines:
            row = record.probs if record.probs is not None else record.scores
            if row is None and not names:
                raise DataError(f"{path}, line {number}: a sample needs one of `probs` and `scores`; it has neither.")
            if isinstance(row, list) and not names:
                return class_numbers([str(at) for at in range(len(row))])
            names.update(row if isinstance(row, dict) else ())
    return class_numbers(sorted(names))
