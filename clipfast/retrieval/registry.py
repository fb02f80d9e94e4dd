"""Which head, bank and α are in use, which were, and why: a folder that only grows, and one small file that points.

    data/models/history.jsonl   one event a line: who, when, what, figures; only ever appended to
    data/models/<kind>-<12 digits of its sha256>.npz|.json   copies of what was compared or promoted; never changed
    data/models/current.json    what is in use; replaced as a whole

Everything is written under a lock, and the pointer last, after what it points to is on disk: a reader or a crash sees
the state before or after, nothing between. Every line holds the checksum of the line before, so that a history that was
edited is noticed.
"""

from __future__ import annotations

import getpass
import hashlib
import os
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from clipfast.artifact import Sha256
from clipfast.errors import ArtifactError, DataError
from clipfast.retrieval.promotion import Gain
from clipfast.storage import atomic_write, locked, require_format, sha256_file, sync_folder

__all__ = ["KINDS", "Current", "Event", "Kind", "Registry", "default_registry_path"]

Kind = Literal["head", "bank", "alpha"]
Action = Literal["compare", "promote", "rollback"]
KINDS: dict[Kind, str] = {"head": ".npz", "bank": ".npz", "alpha": ".json"}

FORMAT_VERSION = 1
_FIRST = "0" * 64
_DIGITS = 12
_MAX_BYTES = 256 << 20

Name = Annotated[str, msgspec.Meta(pattern=r"^(head|bank|alpha)-[0-9a-f]{12}$")]


class Event(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """One line of the history.

    Attributes:
        before: Checksum of the line before.
        action: What was done.
        kind: Of what.
        version: Of what is compared, promoted or gone back to.
        sha256: Checksum of its file.
        who: Who did it.
        when: When, ISO 8601 with its offset.
        present: What was in use; None where nothing was.
        eval_version: Of the evaluation set that was looked at.
        gain: What was found there.
        samples: Labelled samples at that time, where that was said.
        note: Why, where somebody said so.
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


class Current(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is in use.

    Attributes:
        versions: By kind.
        generation: Grows with every change.
        format: Version of the file.
    """

    versions: dict[Kind, Name]
    generation: int = 0
    format: int = FORMAT_VERSION


@dataclass(frozen=True, slots=True)
class Registry:
    """A folder of versions. Safe for several threads and processes at once.

    Attributes:
        root: The folder; made when first written to.
        who: Whose name the history gets.
    """

    root: Path
    who: str = ""

    def history(self) -> list[Event]:
        """Read all that happened, oldest first.

        Raises:
            ArtifactError: A line is none, or the history was edited.
        """
        return [event for event, _ in self._lines()]

    def current(self) -> Current:
        """Read what is in use.

        Raises:
            ArtifactError: The pointer cannot be read.
        """
        if not self.pointer.is_file():
            return Current(versions={})
        try:
            text = self.pointer.read_text(encoding="utf-8")
            require_format(text, FORMAT_VERSION, self.pointer, remedy="Promote again.")
            return msgspec.json.decode(text, type=Current)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ArtifactError(f"{self.pointer} does not say what is in use: {error}. Promote again.") from error

    @property
    def pointer(self) -> Path:
        """The file that says what is in use."""
        return self.root / "current.json"

    def file(self, version: str) -> Path:
        """Return a version's file, after checking that it is what was put in.

        Raises:
            DataError: There is no such version.
            ArtifactError: Its file was changed or is gone.
        """
        found = self._sha256_of(version)
        path = self._place(version)
        if not path.is_file() or sha256_file(path) != found:
            raise ArtifactError(f"{path} is gone, or was changed after it was put there. Put it back, or take another.")
        return path

    def in_use(self, kind: Kind) -> Path | None:
        """Return the file of what is in use, or None where nothing was promoted."""
        version = self.current().versions.get(kind)
        return None if version is None else self.file(version)

    def known_gain(self, kind: Kind, sha256: str, eval_version: str) -> Gain | None:
        """Return what was found of a candidate against what is in use now: the same look again costs nothing."""
        present = self.current().versions.get(kind)
        same = [
            event.gain
            for event in self.history()
            if (event.kind, event.sha256, event.eval_version, event.present) == (kind, sha256, eval_version, present)
        ]
        return next((gain for gain in reversed(same) if gain is not None), None)

    def next_look(self, eval_version: str) -> int:
        """Return the number that the next look at an evaluation set has, from 1."""
        looks = [event.gain.look for event in self.history() if event.eval_version == eval_version and event.gain]
        return max(looks, default=0) + 1

    def look(
        self, kind: Kind, file: Path, eval_version: str, measure: Callable[[int], Gain], *, samples: int | None = None
    ) -> Gain:
        """Compare a candidate with what is in use, and write that down; asked again, answer from the history.

        Args:
            kind: What the file is.
            file: The candidate.
            eval_version: Of the evaluation set.
            measure: Called with the number of the look; compares the two.
            samples: Labelled samples at this time.

        Raises:
            DataError: The evaluation set is spent.
        """
        with self._writing():
            sha256 = sha256_file(file)
            if (found := self.known_gain(kind, sha256, eval_version)) is not None:
                return found
            gain = measure(self.next_look(eval_version))
            version = self._keep(kind, file, sha256)
            self._append(self._event("compare", version, sha256), gain=gain, eval_version=eval_version, samples=samples)
            return gain

    def promote(
        self,
        kind: Kind,
        file: Path,
        *,
        gain: Gain | None,
        eval_version: str | None,
        note: str | None,
        samples: int | None = None,
    ) -> str:
        """Put a candidate to use; returns its version.

        Args:
            kind: What the file is.
            file: The candidate.
            gain: What `look` found; None for the first of its kind, and where `note` says why without one.
            eval_version: Of the evaluation set.
            note: Why, where the gain does not say so.
            samples: Labelled samples at this time.

        Raises:
            DataError: The gain is not proven, or there is none although something is in use.
        """
        with self._writing():
            present = self.current().versions.get(kind)
            if gain is not None and not gain.proven and note is None:
                raise DataError(
                    f"The gain is not proven: {100 * gain.interval.estimate:+.1f} points "
                    f"({100 * gain.interval.low:+.1f} to {100 * gain.interval.high:+.1f}) includes 0, with "
                    f"{gain.better} photos better and {gain.worse} worse. Keep what is in use, and label more."
                )
            if gain is None and present is not None and note is None:
                raise DataError(f"{present} is in use; what replaces it must be compared first, on an evaluation set.")
            sha256 = sha256_file(file)
            version = self._keep(kind, file, sha256)
            event = self._event("promote", version, sha256)
            self._append(event, gain=gain, eval_version=eval_version, samples=samples, note=note)
            self._point(kind, version)
            return version

    def rollback(self, kind: Kind, *, to: str | None = None, note: str | None = None) -> str:
        """Go back to what was in use before, or to a version by name; returns it.

        Raises:
            DataError: There is nothing to go back to.
            ArtifactError: Its file was changed or is gone.
        """
        with self._writing():
            target = to or self._before(kind)
            if not target.startswith(f"{kind}-"):
                raise DataError(f"{target} is no {kind}. Versions are named {kind}-…; see clipfast models list.")
            self.file(target)
            self._append(self._event("rollback", target, self._sha256_of(target)), note=note)
            self._point(kind, target)
            return target

    def _before(self, kind: Kind) -> str:
        """Return the version that was in use before the present one: each rollback goes one further back."""
        used: list[str] = []
        for event in self.history():
            if event.kind != kind:
                continue
            if event.action == "promote" and used[-1:] != [event.version]:
                used.append(event.version)
            elif event.action == "rollback":
                while used and used[-1] != event.version:
                    used.pop()
                used = used or [event.version]
        if len(used) < 2:
            raise DataError(f"There is no {kind} to go back to: {len(used)} was in use so far.")
        return used[-2]

    def _sha256_of(self, version: str) -> str:
        found = next((event.sha256 for event in self.history() if event.version == version), None)
        if found is None:
            known = sorted({event.version for event in self.history()})
            shown = ", ".join(known[-5:]) or "none yet"
            raise DataError(f"No version {version!r} in {self.root}. The last known: {shown}.")
        return found

    def _place(self, version: str) -> Path:
        suffix = next((end for kind, end in KINDS.items() if version.startswith(f"{kind}-")), "")
        return self.root / f"{version}{suffix}"

    def _writing(self) -> AbstractContextManager[None]:
        return locked(self.root / ".lock")

    def _keep(self, kind: Kind, file: Path, sha256: str) -> str:
        version = f"{kind}-{sha256[:_DIGITS]}"
        target = self._place(version)
        if not target.is_file() or sha256_file(target) != sha256:
            with atomic_write(target) as temporary:
                shutil.copyfile(file, temporary)
                if sha256_file(temporary) != sha256:
                    raise DataError(f"{file} changed while it was copied. Try again.")
        return version

    def _event(self, action: Action, version: str, sha256: str) -> Event:
        lines = self._lines()
        kind = next(kind for kind in KINDS if version.startswith(f"{kind}-"))
        return Event(
            before=lines[-1][1] if lines else _FIRST,
            action=action,
            kind=kind,
            version=version,
            sha256=sha256,
            who=self.who or _user(),
            when=datetime.now(UTC).astimezone().isoformat(timespec="seconds"),
            present=self.current().versions.get(kind),
        )

    def _append(
        self,
        event: Event,
        *,
        gain: Gain | None = None,
        eval_version: str | None = None,
        samples: int | None = None,
        note: str | None = None,
    ) -> None:
        event = msgspec.structs.replace(event, gain=gain, eval_version=eval_version, samples=samples, note=note)
        data = msgspec.json.encode(event) + b"\n"
        path = self.root / "history.jsonl"
        whole = sum(len(line) for line in self._raw())
        with path.open("r+b" if path.exists() else "wb") as file:
            file.seek(whole)
            file.truncate()  # what a crash left of a line that was never acknowledged
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        sync_folder(self.root)

    def _point(self, kind: Kind, version: str) -> None:
        now = self.current()
        after = Current(versions={**now.versions, kind: version}, generation=now.generation + 1)
        with atomic_write(self.pointer) as temporary:
            temporary.write_bytes(msgspec.json.encode(after) + b"\n")
        sync_folder(self.root)

    def _raw(self) -> list[bytes]:
        path = self.root / "history.jsonl"
        if not path.is_file():
            return []
        if path.stat().st_size > _MAX_BYTES:
            raise ArtifactError(f"{path} is larger than {_MAX_BYTES:,} bytes; that is no history.")
        return [line for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]

    def _lines(self) -> list[tuple[Event, str]]:
        """Return events with the checksums of their lines; a last line without its end was never acknowledged."""
        found: list[tuple[Event, str]] = []
        before = _FIRST
        for number, line in enumerate(self._raw(), start=1):
            try:
                event = msgspec.json.decode(line, type=Event)
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise ArtifactError(f"{self.root}/history.jsonl, line {number}, is no event: {error}.") from error
            if event.before != before:
                raise ArtifactError(
                    f"{self.root}/history.jsonl was edited: line {number} does not follow the line before. Put the "
                    "old file back, or begin a new folder."
                )
            before = hashlib.sha256(line).hexdigest()
            found.append((event, before))
        return found


def default_registry_path() -> Path:
    """Return the folder of versions: `CLIPFAST_MODELS`, else `data/models`."""
    return Path(os.environ.get("CLIPFAST_MODELS") or "data/models")


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user without a name, as in containers
        return "unknown"
