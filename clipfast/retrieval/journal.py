"""The journal of a folder of labels: one event a line, only ever appended to, each line with a checksum.

    {"sum":"6f0c…","event":{"op":"add","n":1,"key":"cotton/patch_001.png",…}}

`sum` is the start of the SHA-256 over the sum of the line before and the bytes of the event, so a line that was
changed, taken out or put elsewhere is noticed. A line is written with one call and flushed to the disk before anything
follows from it. What stands after the last whole line was never acknowledged: it is passed over by readers, and cut
off by the next who writes.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from clipfast.artifact import Sha256
from clipfast.errors import DataError
from clipfast.retrieval.crops import Region, Sidecar
from clipfast.storage import sync_folder

__all__ = ["Added", "EvalEdit", "Event", "Journal", "Moved", "Passed", "Picked", "QueueItem", "Queued", "Undone"]

Picked = Literal["uncertain", "none_of_these", "random"]
Prob = Annotated[float, msgspec.Meta(ge=0, le=1)]

_FIRST = "0" * 16
_MAX_BYTES = 1 << 30


class QueueItem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A part of a photo that waits for its label.

    Attributes:
        id: Twelve digits that follow from photo and region.
        photo: The photo: relative to the labels' folder, or absolute.
        sha256: Checksum of the photo's file when it was looked at.
        region: Which part.
        confidence: Probability that the first answer is right, in [0, 1].
        answers: Fabrics with their shares, best first.
        picked: Why it waits.
        model: Which model answered.
    """

    id: str
    photo: str
    sha256: Sha256
    region: Region
    confidence: Prob
    answers: tuple[tuple[str, Prob], ...]
    picked: Picked
    model: str | None = None


class EvalEdit(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the evaluation set whose fabric was renamed: what it said before and after."""

    sha256: Sha256
    coords: tuple[int, int]
    image: tuple[str, str]
    label: tuple[str, str]

    @property
    def back(self) -> EvalEdit:
        """The edit that takes this one back."""
        return EvalEdit(sha256=self.sha256, coords=self.coords, image=self.image[::-1], label=self.label[::-1])


class _Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="op"):
    n: Annotated[int, msgspec.Meta(ge=1)]
    when: str
    who: str | None = None


class Added(_Event, frozen=True, kw_only=True, omit_defaults=True, tag="add"):
    """A patch was labelled: its key `label/file`, checksum, side-car, and the id of the part that it was cut from."""

    key: str
    sha256: Sha256
    sidecar: Sidecar
    item: str | None = None
    held_out: bool = False


class Moved(_Event, frozen=True, kw_only=True, omit_defaults=True, tag="move"):
    """A label was renamed, or merged into another: which keys became which."""

    kind: Literal["rename", "merge"]
    labels: tuple[str, str]
    moves: tuple[tuple[str, str], ...]
    edits: tuple[EvalEdit, ...] = ()


class Undone(_Event, frozen=True, kw_only=True, omit_defaults=True, tag="undo"):
    """An earlier event was taken back, by these moves."""

    of: int
    moves: tuple[tuple[str, str], ...] = ()
    edits: tuple[EvalEdit, ...] = ()


class Queued(_Event, frozen=True, kw_only=True, omit_defaults=True, tag="queue"):
    """Parts of photos wait for labels."""

    items: tuple[QueueItem, ...]


class Passed(_Event, frozen=True, kw_only=True, omit_defaults=True, tag="pass"):
    """Nobody can tell what an item is; it waits no more."""

    item: str


Event = Added | Moved | Undone | Queued | Passed


class _Line(msgspec.Struct, frozen=True):
    sum: str
    event: msgspec.Raw


@dataclass(slots=True)
class Journal:
    """Events in the order in which they happened. Writers hold the folder's lock; readers need none.

    Attributes:
        path: The file; it need not be there.
        torn: Bytes after the last whole line, as of the last `read`.
    """

    path: Path
    torn: bytes = field(default=b"", init=False)
    _events: list[Event] = field(default_factory=list, init=False)
    _end: int = field(default=0, init=False)
    _sum: str = field(default=_FIRST, init=False)

    def read(self) -> list[Event]:
        """Return all events; of a file that has grown only what is new is read.

        Raises:
            DataError: A line that others follow was changed or is of a later version; the message has its number.
        """
        size = self.path.stat().st_size if self.path.is_file() else 0
        if size > _MAX_BYTES:
            raise DataError(
                f"{self.path} is {size:,} bytes; a journal may have {_MAX_BYTES:,} at most.",
                code="too_large",
                path=self.path,
                most=_MAX_BYTES,
            )
        if size < self._end:
            self._events, self._end, self._sum = [], 0, _FIRST
        self.torn = b""
        if size == self._end:
            return list(self._events)
        with self.path.open("rb") as file:
            file.seek(self._end)
            data = file.read()
        begin = 0
        while begin < len(data):
            end = data.find(b"\n", begin) + 1
            found = self._decoded(data[begin:end]) if end else None
            if found is None:
                self._require_last(data, begin, end)
                self.torn = data[begin:]
                break
            self._events.append(found)
            begin = end
        self._end += begin
        return list(self._events)

    def append(self, event: Event) -> None:
        """Write one event to the disk, after cutting off what an interrupted writer left. Call `read` before.

        Raises:
            DataError: The event could not be read back, such as one with a confidence above 1; nothing is written.
        """
        try:
            body = msgspec.json.encode(event)
            msgspec.json.decode(body, type=Event)
        except (msgspec.ValidationError, UnicodeEncodeError) as error:
            raise DataError(
                f"the journal cannot hold this: {error}. Nothing was written; mend the value.",
                code="journal_cannot_hold",
                error=error,
            ) from error
        total = _chained(self._sum, body)
        line = msgspec.json.encode(_Line(total, msgspec.Raw(body))) + b"\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = not self.path.exists()
        with self.path.open("ab") as file:
            file.truncate(self._end)
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        if fresh:
            sync_folder(self.path.parent)
        self._events.append(event)
        self._end, self._sum, self.torn = self._end + len(line), total, b""

    def _decoded(self, line: bytes) -> Event | None:
        """Return the event of a line and go on to its sum; None where it is none or its sum is wrong."""
        try:
            found = msgspec.json.decode(line, type=_Line)
            if found.sum != _chained(self._sum, bytes(found.event)):
                return None
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return None
        try:
            event: Event = msgspec.json.decode(found.event, type=Event)
        except msgspec.ValidationError as error:
            raise DataError(
                f"{self.path}, line {len(self._events) + 1} is whole, but this clipfast does not know it ({error}). "
                "Update clipfast.",
                code="journal_newer",
                path=self.path,
                line=len(self._events) + 1,
            ) from error
        self._sum = found.sum
        return event

    def _require_last(self, data: bytes, begin: int, end: int) -> None:
        """Take what stands last and is no line for an interrupted write; a whole line with a wrong sum never is one."""
        if end and (data[end:].strip(b"\0 \r\n") or _is_line(data[begin:end])):
            raise DataError(
                f"{self.path}, line {len(self._events) + 1} was changed after it was written, or a line before it was "
                "taken out: its checksum does not match. Put a copy of the file back; without one, move it away: the "
                "patches and their side-cars stay, what is lost is undo and the queue.",
                code="journal_changed",
                path=self.path,
                line=len(self._events) + 1,
            )


def _is_line(line: bytes) -> bool:
    try:
        msgspec.json.decode(line, type=_Line)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return False
    return True


def _chained(before: str, body: bytes) -> str:
    return hashlib.sha256(before.encode() + body).hexdigest()[:16]
