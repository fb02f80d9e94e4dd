"""Records of PREDICTIONS.jsonl as arrays, some hundreds at a time, field by field.

Where a field has one form in all records of a piece, its numbers go into an array at once; otherwise, and to name the
line that is wrong, they are looked at one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipfast.diagnostics.predictions import MAX_NUMBERS, Boxes, Doubles, Predictions
from clipfast.diagnostics.records import PredictionRecord, Row
from clipfast.errors import DataError
from clipfast.types import Floats, Ints

__all__ = ["RecordArrays"]

_COLUMNS = ("split", "domain", "question_type", "template", "difficulty")
_SUM_TOLERANCE = 1e-3
_MAX_GRID = 256
_MAX_EPOCHS = 10_000

Lines = Sequence[tuple[int, PredictionRecord]]


class RecordArrays:
    """Turns the records of one file into arrays, piece by piece.

    Args:
        path: The file, for messages and for the maps beside it.
        numbers: Number of each class.

    Raises:
        DataError: There are fewer than two classes.
    """

    def __init__(self, path: Path, numbers: dict[str, int]) -> None:
        self.path, self.numbers = path, numbers
        self.lines: Lines = ()
        self.samples = 0
        self.grid_hw: tuple[int, ...] | None = None
        if len(numbers) < 2:
            raise DataError(
                f"{path}: there must be two classes or more; got {sorted(numbers)}. Give every class a value."
            )

    def predictions(self, lines: Lines) -> Predictions:
        """Return the next records as arrays.

        Raises:
            DataError: A record is wrong; the message names its line.
        """
        self.lines, self.samples = lines, self.samples + len(lines)
        if self.samples * len(self.numbers) > MAX_NUMBERS:
            raise DataError(
                f"{self.path}: {self.samples:,} samples of {len(self.numbers):,} classes are too many. Take a random "
                "part of them."
            )
        probs, logits = self._own_probs()
        return Predictions(
            ids=tuple(str(record.id) for _, record in lines),
            classes=tuple(self.numbers),
            labels=self._labels(),
            probs=probs,
            texts=self._names(lambda record: record.text),
            images=self._names(lambda record: record.image),
            columns=self._columns(),
            losses=self._losses(),
            attention=self._attention(),
            boxes=self._boxes("boxes"),
            candidates=self._boxes("candidates"),
            choices=self._choices(),
            image_only=self._other_probs("image_only_probs"),
            text_only=self._other_probs("text_only_probs"),
            no_context=self._other_probs("no_context_probs"),
            logits=logits,
        )

    def _fail(self, number: int, sentence: str) -> DataError:
        return DataError(f"{self.path}, line {number}: {sentence}")

    def _labels(self) -> Ints:
        found = np.empty(len(self.lines), np.int64)
        for at, (number, record) in enumerate(self.lines):
            label = record.label
            known = self.numbers.get(str(label), -1)
            if isinstance(label, int):
                if known not in {-1, label}:
                    raise self._fail(
                        number, f"label {label} can be read in two ways: as the class named {str(label)!r} and as "
                        f'class number {label}. Write the name, "label": "{label}".'
                    )  # fmt: skip
                known = label
            if not 0 <= known < len(self.numbers):
                names = ", ".join(list(self.numbers)[:8])
                raise self._fail(
                    number, f"label must be one of {names}{', ...' if len(self.numbers) > 8 else ''}, or a number "
                    f"below {len(self.numbers)}; got {label!r}. With lists of probabilities, name the classes in a "
                    'first line: {"classes": [...]}.'
                )  # fmt: skip
            found[at] = known
        return found

    def _own_probs(self) -> tuple[Doubles, Doubles | None]:
        """Return probabilities, and the scores that they were made of where scores were given."""
        rows: list[tuple[int, Row]] = []
        scored = np.zeros(len(self.lines), bool)
        for at, (number, record) in enumerate(self.lines):
            row = record.scores if record.probs is None else record.probs
            if row is None or (record.probs is not None and record.scores is not None):
                what = "neither" if row is None else "both"
                raise self._fail(number, f"a sample needs one of `probs` and `scores`; it has {what}.")
            scored[at] = record.probs is None
            rows.append((number, row))
        if not scored.any():
            return self._summing_to_1(self._rows(rows, fill=0.0), np.arange(len(rows)), "probs"), None
        values = np.zeros((len(rows), len(self.numbers)))
        for part, fill in ((scored, -np.inf), (~scored, 0.0)):
            chosen = np.flatnonzero(part).tolist()
            values[part] = self._rows([rows[at] for at in chosen], fill=fill)
        lost = scored & ~np.isfinite(values.max(axis=1))
        if lost.any():
            raise self._fail(
                rows[int(np.flatnonzero(lost)[0])][0],
                "scores must hold a finite number for one class at least. Give logits by class.",
            )
        logits: Doubles = np.where(scored[:, None], values, np.nan)
        weights = np.exp(values[scored] - values[scored].max(axis=1, keepdims=True))
        values[scored] = weights / weights.sum(axis=1, keepdims=True)
        return self._summing_to_1(values, np.arange(len(values)), "probs"), logits

    def _other_probs(self, name: str) -> Doubles | None:
        given = [(at, number, getattr(record, name)) for at, (number, record) in enumerate(self.lines)]
        there = [at for at, _, row in given if row is not None]
        if not there:
            return None
        values = np.full((len(self.lines), len(self.numbers)), np.nan)
        values[there] = self._rows([(number, row) for _, number, row in given if row is not None], fill=0.0)
        return self._summing_to_1(values, np.array(there), name)

    def _rows(self, given: Sequence[tuple[int, Row]], *, fill: float) -> Doubles:
        """Return rows with one number a class; classes that an object does not name get `fill`."""
        width, shape = len(self.numbers), (len(given), len(self.numbers))
        if all(type(row) is list and len(row) == width for _, row in given):
            return np.fromiter(chain.from_iterable(row for _, row in given), np.float64, len(given) * width).reshape(
                shape
            )
        values = np.full(shape, fill)
        for at, (number, row) in enumerate(given):
            if isinstance(row, list):
                if len(row) != width:
                    raise self._fail(number, f"there are {width} classes; got {len(row)} values.")
                values[at] = row
                continue
            try:
                places = [self.numbers[name] for name in row]
            except KeyError as error:
                raise self._fail(
                    number, f"class {error.args[0]!r} is not among the classes of the first line."
                ) from error
            values[at, places] = list(row.values())
        return values

    def _summing_to_1(self, values: Doubles, rows: Ints, name: str) -> Doubles:
        held = values[rows]
        sums = held.sum(axis=1)
        wrong = (held < 0).any(axis=1) | ~(np.abs(sums - 1) <= _SUM_TOLERANCE)
        if wrong.any():
            at = int(np.flatnonzero(wrong)[0])
            raise self._fail(
                self.lines[int(rows[at])][0],
                f"{name} must be at least 0 and sum to 1; they sum to {sums[at]:.6g}, the smallest is "
                f"{held[at].min():.6g}. Name every class, divide by the sum, or give logits as `scores`.",
            )
        values[rows] = held / sums[:, None]
        return values

    def _names(self, get: Callable[[PredictionRecord], str | None]) -> tuple[str, ...] | None:
        found = [get(record) for _, record in self.lines]
        return None if all(name is None for name in found) else tuple(name or "" for name in found)

    def _columns(self) -> dict[str, NDArray[Any]]:
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

    def _losses(self) -> Doubles | None:
        given = [record.loss for _, record in self.lines]
        rows = [loss if isinstance(loss, list) else [] if loss is None else [loss] for loss in given]
        epochs = max(map(len, rows))
        if epochs == 0:
            return None
        if epochs > _MAX_EPOCHS or epochs * self.samples > MAX_NUMBERS:
            raise DataError(f"{self.path}: {epochs:,} losses of a sample are too many. Give the last hundred.")
        values = np.full((len(rows), epochs), np.nan)
        for at, row in enumerate(rows):
            values[at, epochs - len(row) :] = row
        return values

    def _attention(self) -> Floats | None:
        there = [(at, n, record.attention) for at, (n, record) in enumerate(self.lines) if record.attention is not None]
        if not there:
            return None
        if self.grid_hw is None:
            self.grid_hw = self._grid(*there[0][1:]).shape
        size = self.grid_hw[0] * self.grid_hw[1]
        if self.samples * size > MAX_NUMBERS:
            raise DataError(f"{self.path}: {self.samples:,} maps of {size} patches are too many.")
        maps = np.full((len(self.lines), *self.grid_hw), np.nan, np.float32)
        maps[[at for at, _, _ in there]] = self._grids(there)
        return maps

    def _grids(self, there: Sequence[tuple[int, int, str | list[list[float]]]]) -> Floats:
        """Return maps, (k, gh, gw)."""
        assert self.grid_hw is not None  # noqa: S101  # set by the only caller; for the type checker
        high, wide = self.grid_hw
        given = [one for _, _, one in there]
        if all(type(one) is list and len(one) == high for one in given) and _widths(given) == {wide}:
            numbers = chain.from_iterable(chain.from_iterable(given))
            maps = np.fromiter(numbers, np.float64, len(given) * high * wide).reshape(-1, high, wide)
            if np.isfinite(maps).all() and (maps >= 0).all() and (maps.sum(axis=(1, 2)) > 0).all():
                return maps.astype(np.float32)
        found = []
        for _, number, one in there:
            found.append(self._grid(number, one))
            if found[-1].shape != self.grid_hw:
                raise self._fail(
                    number, f"attention must be {self.grid_hw}, as in the lines before; got {found[-1].shape}."
                )
        return np.stack(found)

    def _grid(self, number: int, given: str | list[list[float]]) -> Floats:
        if isinstance(given, str):
            file = self.path.parent / given
            if not file.is_file() or file.stat().st_size > 8 * _MAX_GRID**2 + 4096:
                raise self._fail(number, f"no .npy of a map of at most {_MAX_GRID} x {_MAX_GRID} patches at {file}.")
            try:
                one = np.load(file, allow_pickle=False)
            except (ValueError, OSError, EOFError) as error:
                raise self._fail(number, f"{file} is no readable .npy ({error}).") from error
        else:
            if len({len(row) for row in given}) != 1:
                raise self._fail(number, "rows of attention must have one length.")
            one = np.array(given)
        if (
            not isinstance(one, np.ndarray)
            or one.ndim != 2
            or one.dtype.kind not in "iuf"
            or not 2 <= one.size <= _MAX_GRID**2
        ):
            raise self._fail(number, f"attention must be (gh, gw) numbers, 2 to {_MAX_GRID} x {_MAX_GRID} of them.")
        if not np.isfinite(one).all() or (one < 0).any() or one.sum() <= 0:
            raise self._fail(
                number, "attention must be finite, at least 0, and not 0 everywhere. Shift or clip the map."
            )
        return one.astype(np.float32)

    def _boxes(self, name: str) -> Boxes | None:
        xyxy: list[tuple[float, ...]] = []
        rows: list[int] = []
        for at, (number, record) in enumerate(self.lines):
            height, width = record.size_hw or (1, 1)
            if height < 1 or width < 1:
                raise self._fail(number, f"size_hw must be positive; got {record.size_hw}.")
            for x1, y1, x2, y2 in getattr(record, name) or ():
                box = (x1 / width, y1 / height, x2 / width, y2 / height)
                if not (0 <= box[0] < box[2] <= 1 + 1e-6 and 0 <= box[1] < box[3] <= 1 + 1e-6):
                    raise self._fail(
                        number, f"{name} must be xyxy with x1 < x2 and y1 < y2 inside the image; got "
                        f"{[x1, y1, x2, y2]}. Give `size_hw` with pixels, or shares of width and height."
                    )  # fmt: skip
                xyxy.append(box)
                rows.append(at)
        return Boxes(np.array(xyxy).reshape(-1, 4), np.array(rows, np.int64)) if rows else None

    def _choices(self) -> Ints | None:
        found = np.full((len(self.lines), 2), -1, np.int64)
        for at, (number, record) in enumerate(self.lines):
            count = len(record.candidates or ())
            for side, value in enumerate((record.chosen, record.answer)):
                if value is not None and (value < 0 or 0 < count <= value):
                    raise self._fail(
                        number, f"chosen and answer must number one of the {count} candidates; got {value}."
                    )
                found[at, side] = -1 if value is None else value
        return found if (found >= 0).any() else None


def _widths(maps: Sequence[Any]) -> set[int]:
    """Return the lengths of all rows of all maps."""
    return set(map(len, chain.from_iterable(maps)))
