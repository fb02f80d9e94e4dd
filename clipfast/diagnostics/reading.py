"""From PREDICTIONS.jsonl to arrays: classes, probabilities, attention, boxes, embeddings."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipfast.diagnostics.predictions import MAX_NUMBERS, Boxes, Doubles, Predictions, class_numbers
from clipfast.diagnostics.records import Header, PredictionRecord, Row, read_records
from clipfast.errors import DataError
from clipfast.types import Floats, Ints

__all__ = ["read_embeddings", "read_predictions"]

_COLUMNS = ("split", "domain", "question_type", "template", "difficulty")
_SUM_TOLERANCE = 1e-3
_MAX_GRID = 256
_MAX_EPOCHS = 10_000
_MAX_EMBEDDING_BYTES = 8 << 30

Lines = list[tuple[int, PredictionRecord]]


def read_predictions(path: Path, *, embeddings: Path | None = None) -> Predictions:
    """Read predictions and check every line.

    Args:
        path: JSON lines; fields as in `PredictionRecord`.
        embeddings: A .npz with `ids` (n,), and `image` or `text` or both, (n, e); of the same samples in any order.

    Raises:
        DataError: A line is wrong; the message says where, what must be, what came and what to do.
    """
    header, lines = read_records(path, PredictionRecord)
    reader = _Reader(path, lines, _classes(path, header, lines))
    ids = tuple(str(record.id) for _, record in lines)
    image_rows, text_rows = read_embeddings(embeddings, ids) if embeddings else (None, None)
    probs, logits = reader.own_probs()
    return Predictions(
        ids=ids,
        classes=tuple(reader.numbers),
        labels=reader.labels(),
        probs=probs,
        texts=reader.names(lambda record: record.text),
        images=reader.names(lambda record: record.image),
        columns=reader.columns(),
        losses=reader.losses(),
        attention=reader.attention(),
        boxes=reader.boxes("boxes"),
        candidates=reader.boxes("candidates"),
        choices=reader.choices(),
        image_only=reader.other_probs("image_only_probs"),
        text_only=reader.other_probs("text_only_probs"),
        no_context=reader.other_probs("no_context_probs"),
        logits=logits,
        image_rows=image_rows,
        text_rows=text_rows,
    )


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


def _classes(path: Path, header: Header | None, lines: Lines) -> dict[str, int]:
    """Return the number of each class, from the header, the names in the data, or the length of the lists."""
    if header is not None:
        numbers = class_numbers(header.classes)
        if len(numbers) != len(header.classes) or len(numbers) < 2:
            raise DataError(f"{path}, line 1: classes must be two different names or more; got {header.classes[:5]}.")
        return numbers
    number, first = lines[0]
    row = first.probs if first.probs is not None else first.scores
    if row is None:
        raise DataError(f"{path}, line {number}: a sample needs `probs` or `scores`; it has neither.")
    if isinstance(row, list):
        return class_numbers([str(at) for at in range(len(row))])
    names: set[str] = set()
    for _, record in lines:
        given = record.probs if record.probs is not None else record.scores
        names |= set(given) if isinstance(given, dict) else set()
    return class_numbers(sorted(names))


class _Reader:
    """Turns the records of one file into arrays, field by field."""

    def __init__(self, path: Path, lines: Lines, numbers: dict[str, int]) -> None:
        self.path, self.lines, self.numbers = path, lines, numbers
        if len(numbers) < 2:
            raise DataError(
                f"{path}: there must be two classes or more; got {sorted(numbers)}. Give every class a value."
            )
        if len(lines) * len(numbers) > MAX_NUMBERS:
            raise DataError(
                f"{path}: {len(lines):,} samples of {len(numbers):,} classes are too many. Take a random part of them."
            )

    def fail(self, number: int, sentence: str) -> DataError:
        return DataError(f"{self.path}, line {number}: {sentence}")

    def labels(self) -> Ints:
        found = np.empty(len(self.lines), np.int64)
        for at, (number, record) in enumerate(self.lines):
            label = record.label
            known = self.numbers.get(str(label), -1)
            if isinstance(label, int):
                if known not in {-1, label}:
                    raise self.fail(
                        number, f"label {label} can be read in two ways: as the class named {str(label)!r} and as "
                        f'class number {label}. Write the name, "label": "{label}".'
                    )  # fmt: skip
                known = label
            if not 0 <= known < len(self.numbers):
                names = ", ".join(list(self.numbers)[:8])
                raise self.fail(
                    number, f"label must be one of {names}{', ...' if len(self.numbers) > 8 else ''}, or a number "
                    f"below {len(self.numbers)}; got {label!r}. With lists of probabilities, name the classes in a "
                    'first line: {"classes": [...]}.'
                )  # fmt: skip
            found[at] = known
        return found

    def own_probs(self) -> tuple[Doubles, Doubles | None]:
        """Return probabilities, and the scores that they were made of where scores were given."""
        values = np.zeros((len(self.lines), len(self.numbers)))
        scored = np.zeros(len(self.lines), bool)
        for at, (number, record) in enumerate(self.lines):
            if (record.probs is None) == (record.scores is None):
                what = "neither" if record.probs is None else "both"
                raise self.fail(number, f"a sample needs one of `probs` and `scores`; it has {what}.")
            scored[at] = record.probs is None
            row = record.probs if record.probs is not None else record.scores
            assert row is not None  # noqa: S101  # said above; for the type checker
            values[at] = self.row(number, row, fill=-np.inf if scored[at] else 0.0)
            if scored[at] and not np.isfinite(values[at].max()):
                raise self.fail(
                    number, "scores must hold a finite number for one class at least. Give logits by class."
                )
        logits: Doubles | None = None
        if scored.any():
            logits = np.where(scored[:, None], values, np.nan)
            weights = np.exp(values[scored] - values[scored].max(axis=1, keepdims=True))
            values[scored] = weights / weights.sum(axis=1, keepdims=True)
        return self.summing_to_1(values, np.arange(len(values)), "probs"), logits

    def other_probs(self, name: str) -> Doubles | None:
        rows = [(at, number, getattr(record, name)) for at, (number, record) in enumerate(self.lines)]
        there = [(at, number, row) for at, number, row in rows if row is not None]
        if not there:
            return None
        values = np.full((len(self.lines), len(self.numbers)), np.nan)
        for at, number, row in there:
            values[at] = self.row(number, row, fill=0.0)
        return self.summing_to_1(values, np.array([at for at, _, _ in there]), name)

    def row(self, number: int, given: Row, *, fill: float) -> NDArray[Any]:
        if isinstance(given, list):
            if len(given) != len(self.numbers):
                raise self.fail(number, f"there are {len(self.numbers)} classes; got {len(given)} values.")
            return np.array(given)
        values = np.full(len(self.numbers), fill)
        for name, value in given.items():
            if name not in self.numbers:
                raise self.fail(number, f"class {name!r} is not among the classes of the first line.")
            values[self.numbers[name]] = value
        return values

    def summing_to_1(self, values: Doubles, rows: Ints, name: str) -> Doubles:
        held = values[rows]
        sums = held.sum(axis=1)
        wrong = (held < 0).any(axis=1) | ~(np.abs(sums - 1) <= _SUM_TOLERANCE)
        if wrong.any():
            at = int(np.flatnonzero(wrong)[0])
            raise self.fail(
                self.lines[int(rows[at])][0],
                f"{name} must be at least 0 and sum to 1; they sum to {sums[at]:.6g}, the smallest is "
                f"{held[at].min():.6g}. Name every class, divide by the sum, or give logits as `scores`.",
            )
        values[rows] = held / sums[:, None]
        return values

    def names(self, get: Callable[[PredictionRecord], str | None]) -> tuple[str, ...] | None:
        found = [get(record) for _, record in self.lines]
        return None if all(name is None for name in found) else tuple(name or "" for name in found)

    def columns(self) -> dict[str, NDArray[Any]]:
        own = sorted({name for _, record in self.lines for name in record.groups})
        clash = set(own) & {*_COLUMNS, "class"}
        if clash:
            raise DataError(f"{self.path}: groups may not be named {sorted(clash)}; these have fields of their own.")
        found: dict[str, NDArray[Any]] = {}
        for name in (*_COLUMNS, *own):
            values = [
                (record.groups.get(name) if name in own else getattr(record, name)) or "" for _, record in self.lines
            ]
            if any(values):
                found[name] = np.array(values, dtype=np.str_)
        return found

    def losses(self) -> Doubles | None:
        given = [record.loss for _, record in self.lines]
        rows = [loss if isinstance(loss, list) else [] if loss is None else [loss] for loss in given]
        epochs = max(map(len, rows))
        if epochs == 0:
            return None
        if epochs > _MAX_EPOCHS or epochs * len(rows) > MAX_NUMBERS:
            raise DataError(f"{self.path}: {epochs:,} losses of a sample are too many. Give the last hundred.")
        values = np.full((len(rows), epochs), np.nan)
        for at, row in enumerate(rows):
            values[at, epochs - len(row) :] = row
        return values

    def attention(self) -> Floats | None:
        there = [(at, n, record.attention) for at, (n, record) in enumerate(self.lines) if record.attention is not None]
        if not there:
            return None
        maps: Floats | None = None
        for at, number, given in there:
            one = self.grid(number, given)
            if maps is None:
                if len(self.lines) * one.size > MAX_NUMBERS:
                    raise DataError(f"{self.path}: {len(self.lines):,} maps of {one.size} patches are too many.")
                maps = np.full((len(self.lines), *one.shape), np.nan, np.float32)
            if one.shape != maps.shape[1:]:
                raise self.fail(number, f"attention must be {maps.shape[1:]}, as in the lines before; got {one.shape}.")
            maps[at] = one
        return maps

    def grid(self, number: int, given: str | list[list[float]]) -> Floats:
        if isinstance(given, str):
            file = self.path.parent / given
            if not file.is_file() or file.stat().st_size > 8 * _MAX_GRID**2 + 4096:
                raise self.fail(number, f"no .npy of a map of at most {_MAX_GRID} x {_MAX_GRID} patches at {file}.")
            try:
                one = np.load(file, allow_pickle=False)
            except (ValueError, OSError, EOFError) as error:
                raise self.fail(number, f"{file} is no readable .npy ({error}).") from error
        else:
            if len({len(row) for row in given}) != 1:
                raise self.fail(number, "rows of attention must have one length.")
            one = np.array(given)
        if (
            not isinstance(one, np.ndarray)
            or one.ndim != 2
            or one.dtype.kind not in "iuf"
            or not 2 <= one.size <= _MAX_GRID**2
        ):
            raise self.fail(number, f"attention must be (gh, gw) numbers, 2 to {_MAX_GRID} x {_MAX_GRID} of them.")
        if not np.isfinite(one).all() or (one < 0).any() or one.sum() <= 0:
            raise self.fail(
                number, "attention must be finite, at least 0, and not 0 everywhere. Shift or clip the map."
            )
        return one.astype(np.float32)

    def boxes(self, name: str) -> Boxes | None:
        xyxy: list[tuple[float, ...]] = []
        rows: list[int] = []
        for at, (number, record) in enumerate(self.lines):
            height, width = record.size_hw or (1, 1)
            if height < 1 or width < 1:
                raise self.fail(number, f"size_hw must be positive; got {record.size_hw}.")
            for x1, y1, x2, y2 in getattr(record, name) or ():
                box = (x1 / width, y1 / height, x2 / width, y2 / height)
                if not (0 <= box[0] < box[2] <= 1 + 1e-6 and 0 <= box[1] < box[3] <= 1 + 1e-6):
                    raise self.fail(
                        number, f"{name} must be xyxy with x1 < x2 and y1 < y2 inside the image; got "
                        f"{[x1, y1, x2, y2]}. Give `size_hw` with pixels, or shares of width and height."
                    )  # fmt: skip
                xyxy.append(box)
                rows.append(at)
        return Boxes(np.array(xyxy).reshape(-1, 4), np.array(rows, np.int64)) if rows else None

    def choices(self) -> Ints | None:
        found = np.full((len(self.lines), 2), -1, np.int64)
        for at, (number, record) in enumerate(self.lines):
            count = len(record.candidates or ())
            for side, value in enumerate((record.chosen, record.answer)):
                if value is not None and (value < 0 or 0 < count <= value):
                    raise self.fail(
                        number, f"chosen and answer must number one of the {count} candidates; got {value}."
                    )
                found[at, side] = -1 if value is None else value
        return found if (found >= 0).any() else None
