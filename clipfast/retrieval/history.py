"""The history of versions: one event a line, only ever appended to, each line with the checksum of the one before."""

from __future__ import annotations

import getpass
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from clipfast.artifact import Sha256
from clipfast.errors import ArtifactError
from clipfast.retrieval.promotion import Gain
from clipfast.storage import sync_folder

__all__ = ["KINDS", "Action", "Event", "History", "Kind", "Name", "used_before", "user_name"]

Kind = Literal["head", "bank", "alpha"]
Action = Literal["compare", "promote", "rollback", "retire"]
KINDS: dict[Kind, str] = {"head": ".npz", "bank": ".npz", "alpha": ".json"}

_FIRST = "0" * 64
_MAX_BYTES = 256 << 20

Name = Annotated[str, msgspec.Meta(pattern=r"^(head|bank|alpha)-[0-9a-f]{12}$")]


class Event(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """One line of the history.

    Attributes:
        before: Checksum of the line before.
        action: What was done.
        kind: Of what.
        version: Of what is compared, promoted, gone back to or taken out of use.
        sha256: Checksum of its file.
        who: Who did it.
        when: When, ISO 8601 with its offset.
        present: What was in use; None where nothing was.
        eval_version: Of the evaluation set that was looked at.
        gain: What was found there.
        samples: Labelled samples at that time, where that was said.
        note: Why, where somebody said so.
        beside: All that was in use, by kind: a gain is one beside those.
        retired: What had been taken out of use and was compared with, too; None for nothing.
        rules: Checksum of the rules that answered with them, `RuleSet.sha256`; None for none.
        pictures: First digits of the checksums of the evaluation set's pictures; in the first line of a version only.
        looks: Their looks, `look_hash` in hexadecimal digits, by which they are known when they are saved again; there,
            too.
        declared: Pictures that the candidate was made of, or that it was compared with, and that were declared to be no
            copies of evaluation pictures: their names.
    """

    before: Sha256
    action: Action
    kind: Kind
    version: Name
    sha256: Sha256
    who: str
    when: str
    present: Name | None = None
    eval_version: str | None = None
    gain: Gain | None = None
    samples: int | None = None
    note: str | None = None
    beside: dict[Kind, Name] = {}
    retired: Name | None = None
    rules: str | None = None
    pictures: tuple[str, ...] = ()
    looks: tuple[str, ...] = ()
    declared: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class History:
    """The file. Who appends holds the registry's lock.

    Attributes:
        path: Where it is; made by the first line.
    """

    path: Path

    def events(self) -> list[Event]:
        """Read all that happened, oldest first.

        Raises:
            ArtifactError: A line is none, or the history was edited.
        """
        return [event for event, _ in self._lines()]

    def end(self) -> str:
        """Return the checksum of the last line, which the next one holds; zeros where there is none."""
        lines = self._lines()
        return lines[-1][1] if lines else _FIRST

    def append(self, event: Event) -> None:
        """Add a line, and return when it is on disk."""
        data = msgspec.json.encode(event) + b"\n"
        whole = sum(len(line) for line in self._raw())
        with self.path.open("r+b" if self.path.exists() else "wb") as file:
            file.seek(whole)
            file.truncate()  # what a crash left of a line that was never acknowledged
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        sync_folder(self.path.parent)

    def _raw(self) -> list[bytes]:
        if not self.path.is_file():
            return []
        if self.path.stat().st_size > _MAX_BYTES:
            raise ArtifactError(
                f"{self.path} is larger than {_MAX_BYTES:,} bytes; that is no history.",
                code="too_large",
                path=self.path,
                most=_MAX_BYTES,
            )
        return [line for line in self.path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]

    def _lines(self) -> list[tuple[Event, str]]:
        """Return events with the checksums of their lines; a last line without its end was never acknowledged."""
        found: list[tuple[Event, str]] = []
        before = _FIRST
        for number, line in enumerate(self._raw(), start=1):
            try:
                event = msgspec.json.decode(line, type=Event)
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise ArtifactError(
                    f"{self.path}, line {number}, is no event: {error}.",
                    code="history_changed",
                    path=self.path,
                    line=number,
                ) from error
            if event.before != before:
                raise ArtifactError(
                    f"{self.path} was edited: line {number} does not follow the line before. Put the old file back, or "
                    "begin a new folder.",
                    code="history_changed",
                    path=self.path,
                    line=number,
                )
            before = hashlib.sha256(line).hexdigest()
            found.append((event, before))
        return found


def used_before(events: Sequence[Event], kind: Kind, present: str | None) -> list[str]:
    """Return the versions that one goes back through, oldest first, without the present one and what came after it."""
    used: list[str] = []
    mine = [event for event in events if event.kind == kind]
    after = [*(event.present for event in mine[1:]), present]
    for event, then in zip(mine, after, strict=False):
        if event.action == "compare" or used[-1:] == [event.version]:
            continue
        if then == event.present != event.version:
            continue  # a crash came before the pointer was written, so this was never in use
        if event.action == "retire":
            continue  # what was in use before that is the retired one, or what came before it
        if event.action == "rollback" and event.version in used:
            del used[_last(used, event.version) + 1 :]
        else:
            used.append(event.version)
    if present in used:  # else the pointer was not written any more when the history was
        del used[_last(used, present) :]
    return used


def user_name() -> str:
    """Return whose name the history gets where none is given."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user without a name, as in containers
        return "unknown"


def _last(used: list[str], version: str) -> int:
    return len(used) - 1 - used[::-1].index(version)
