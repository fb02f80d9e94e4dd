"""What a line of PREDICTIONS.jsonl and of CAPTIONS.jsonl may hold; every error names the file and the line."""

from __future__ import annotations

import gc
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Protocol, TypeAlias, TypeVar

import msgspec

from clipfast.errors import DataError

__all__ = [
    "MAX_LINES",
    "MAX_LINE_BYTES",
    "CaptionRecord",
    "Header",
    "PredictionRecord",
    "collection_held",
    "read_chunks",
    "read_header",
]

MAX_LINES = 2_000_000
MAX_LINE_BYTES = 16 << 20
_PART_BYTES = 4 << 20
_PART_LINES = 4096
_HEADER = re.compile(rb'\s*\{\s*"classes"\s*:')

Box: TypeAlias = tuple[float, float, float, float]
Row: TypeAlias = list[float] | dict[str, float]
Name: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An optional first line: the names of the classes, in the order of the lists of probabilities."""

    classes: list[Name]


class PredictionRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One prediction. Only `id`, `label` and one of `probs` and `scores` must be there.

    Attributes:
        id: Unique name of the sample.
        label: The true class: a name, or its number from 0.
        probs: Probabilities, a list in the order of the classes or an object by name; they sum to 1.
        scores: Instead of `probs`: logits; softmax turns them into probabilities.
        image: Path of the image, relative to the file.
        text: The question or caption.
        split: Such as "train", "val", "test".
        domain: Where the sample comes from.
        question_type: Such as "count" or "where".
        template: The question without its particulars.
        difficulty: A name of a level.
        loss: Training loss, of the last epoch or one number an epoch.
        attention: Weights of the patches that the model used, rows of the grid; or the path of a .npy (gh, gw).
        boxes: Where the answer is, xyxy; in pixels with `size_hw`, otherwise as shares of width and height.
        size_hw: Height and width of the image in pixels.
        candidates: Boxes among which the model may choose, in the units of `boxes`.
        chosen: Number of the candidate that the model chose.
        answer: Number of the candidate that is right.
        image_only_probs: Probabilities when the text was taken away.
        text_only_probs: Probabilities when the image was taken away.
        no_context_probs: Probabilities when the words around the keyword were taken away.
        groups: Further names to group by.
    """

    id: str | int
    label: str | int
    probs: Row | None = None
    scores: Row | None = None
    image: str | None = None
    text: str | None = None
    split: str | None = None
    domain: str | None = None
    question_type: str | None = None
    template: str | None = None
    difficulty: str | None = None
    loss: float | list[float] | None = None
    attention: str | list[list[float]] | None = None
    boxes: list[Box] | None = None
    size_hw: tuple[int, int] | None = None
    candidates: list[Box] | None = None
    chosen: int | None = None
    answer: int | None = None
    image_only_probs: Row | None = None
    text_only_probs: Row | None = None
    no_context_probs: Row | None = None
    groups: dict[str, str] = {}


class CaptionRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One pair of an image and a text.

    Attributes:
        id: Unique name of the pair.
        text: The caption.
        image: Path of the image, relative to the file; needed where a model embeds it.
        keyword: The word of the caption that is to be found in the image.
        split: Such as "train".
        groups: Further names to group by.
    """

    id: str | int
    text: str
    image: str | None = None
    keyword: str | None = None
    split: str | None = None
    groups: dict[str, str] = {}


class _Record(Protocol):
    @property
    def id(self) -> str | int: ...


_R = TypeVar("_R", bound=_Record)


def read_header(path: Path) -> Header | None:
    """Return the first line if it names the classes; None if it is a sample.

    Raises:
        DataError: There is no file or no line in it, or the line is too long or names no classes.
    """
    number, line = next(_lines(path), (0, b""))
    if not number:
        raise DataError(f"{path} holds no line. Write one JSON object a sample; docs/diagnostics.md shows the fields.")
    header: Header | None = None
    if _HEADER.match(line):
        header = _decoded(msgspec.json.Decoder(Header), line, path, number)
    return header


def read_chunks(
    path: Path, kind: type[_R], *, progress: Callable[[int, int], None] | None = None
) -> Iterator[list[tuple[int, _R]]]:
    """Read a JSON-lines file piece by piece: as objects, all samples at once would need many times their arrays.

    Args:
        path: The file; empty lines are skipped, and a first line that names the classes (`read_header`).
        kind: What its lines are.
        progress: Called with (done, total) bytes.

    Yields:
        Some hundreds of records with their line numbers from 1.

    Raises:
        DataError: A line is no JSON of this kind, an id occurs twice, a line or the file is too long, or there is none.
    """
    decoder = msgspec.json.Decoder(kind)
    first_line: dict[str, int] = {}
    done, total = 0, path.stat().st_size if path.is_file() else 0
    for part in _parts(path):
        found = [(number, _decoded(decoder, line, path, number)) for number, line in part]
        for number, record in found:
            name = str(record.id)
            if first_line.setdefault(name, number) != number:
                raise DataError(
                    f"{path}, line {number}: id {name!r} is in line {first_line[name]} already. Ids are unique."
                )
        done += sum(len(line) for _, line in part)
        if progress:
            progress(min(done, total), total)
        yield found
    if not first_line:
        raise DataError(
            f"{path} holds no sample. Write one JSON object a sample; docs/diagnostics.md shows the fields."
        )


def _parts(path: Path) -> Iterator[list[tuple[int, bytes]]]:
    """Give lines without the header, some at a time."""
    part: list[tuple[int, bytes]] = []
    size, begun = 0, False
    for number, line in _lines(path):
        if not begun:
            begun = True
            if _HEADER.match(line):
                continue
        part.append((number, line))
        size += len(line)
        if size >= _PART_BYTES or len(part) >= _PART_LINES:
            yield part
            part, size = [], 0
    if part:
        yield part


@contextmanager
def collection_held() -> Iterator[None]:
    """Hold cyclic garbage collection while records come and go.

    They have no cycles, and it would walk their lists of numbers again and again: over half of the time of reading.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    if not path.is_file():
        raise DataError(f"No file at {path}. Name a JSON-lines file, one object a sample.")
    with path.open("rb") as file:
        number = 0
        while line := file.readline(MAX_LINE_BYTES + 1):
            number += 1
            if len(line) > MAX_LINE_BYTES:
                raise DataError(f"{path}, line {number} is longer than {MAX_LINE_BYTES:,} bytes. One sample a line.")
            if number > MAX_LINES:
                raise DataError(f"{path} has more than {MAX_LINES:,} lines. Take a random part of it.")
            if line.strip():
                yield number, line.removeprefix(b"\xef\xbb\xbf")


def _decoded(decoder: msgspec.json.Decoder[Any], line: bytes, path: Path, number: int) -> Any:
    try:
        return decoder.decode(line)
    except msgspec.ValidationError as error:
        hint = " Columns of your own go under `groups`." if "unknown field" in str(error) else ""
        raise DataError(f"{path}, line {number}: {error}.{hint}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"{path}, line {number} is not one JSON object ({error}).") from error
