"""Which head, bank and α are in use, which were, and why: a folder that only grows, and one small file that points.

    data/models/history.jsonl   one event a line: who, when, what, figures; only ever appended to
    data/models/<kind>-<12 digits of its sha256>.npz|.json   copies of what was compared or promoted; never changed
    data/models/current.json    what is in use; replaced as a whole

Everything is written under a lock, and the pointer last, after what it points to is on disk: a reader or a crash sees
the state before or after, nothing between. Every line holds the checksum of the line before, so that a history that was
edited is noticed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from clipfast.arguments import require_known, require_path, require_text, require_type
from clipfast.errors import ArtifactError, DataError
from clipfast.retrieval.comparisons import DIGITS, Setting, gain_found, measured_beside
from clipfast.retrieval.current import Current, read_current, write_current
from clipfast.retrieval.history import KINDS, Action, Event, History, Kind, used_before, user_name
from clipfast.retrieval.lookcount import looks_before
from clipfast.retrieval.looks import Look
from clipfast.retrieval.promotion import Gain
from clipfast.storage import atomic_write, locked, sha256_file

__all__ = ["KINDS", "Current", "Event", "Kind", "Registry", "Setting", "default_registry_path"]

NONE = "none"
"""To go back to, where a head or weights are to be taken out of use."""

_CHANGED = "What is in use changed since the candidate was measured. Compare it again."


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
        return self._history.events()

    def current(self) -> Current:
        """Read what is in use.

        Raises:
            ArtifactError: The pointer cannot be read.
        """
        return read_current(self.pointer)

    @property
    def _history(self) -> History:
        return History(self.root / "history.jsonl")

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
            raise ArtifactError(
                f"{path} is gone, or was changed after it was put there. Put it back, or take another.",
                code="version_changed",
                path=path,
            )
        return path

    def in_use(self, kind: Kind) -> Path | None:
        """Return the file of what is in use, or None where nothing was promoted."""
        version = self.current().versions.get(require_known("kind", kind, KINDS))
        return None if version is None else self.file(version)

    def retired(self, kind: Kind) -> str | None:
        """Return the version that was taken out of use last; None where one is in use, or none ever was taken out."""
        if kind in self.current().versions:
            return None
        out = [event.version for event in self.history() if event.kind == kind and event.action == "retire"]
        return out[-1] if out else None

    def needs_proof(self, kind: Kind) -> bool:
        """Tell whether a candidate must be compared: not the first bank, nor the first weights.

        Weights are put to use for what top-1 does not show, above all confidence and none-of-these. Where some were in
        use and were taken out, the next are not the first.
        """
        first = kind not in self.current().versions and self.retired(kind) is None
        return not (first and kind in ("bank", "alpha"))

    def known_gain(
        self, kind: Kind, sha256: str, eval_version: str, rules: str | None = None, retired: str | None = None
    ) -> Gain | None:
        """Return what was found of a candidate beside all that is in use now: the same look again costs nothing.

        Args:
            kind: What the candidate is.
            sha256: Checksum of its file.
            eval_version: Of the evaluation set.
            rules: Checksum of the rules; None for none.
            retired: What was taken out of use and is compared with, too.
        """
        beside = self.current().versions
        return gain_found(self.history(), (kind, sha256, eval_version), (beside, rules, retired))

    def next_look(self, eval_version: str, pictures: Collection[str] = (), looks: Sequence[Look] = ()) -> int:
        """Return the number that the next look at an evaluation set has, from 1.

        Looks are at pictures, whatever their labels and order are, and however they are saved: those at a set that
        shares a picture count, too, see `lookcount`. `pictures` and `looks` are `EvalSet.pictures` and `.looks`.
        """
        mine = frozenset(picture[:DIGITS] for picture in pictures)
        return looks_before(self.history(), eval_version, mine, looks) + 1

    def look(
        self,
        kind: Kind,
        file: Path,
        eval_version: str,
        measure: Callable[[int], Gain],
        *,
        samples: int | None = None,
        setting: Setting | None = None,
    ) -> Gain:
        """Compare a candidate with what is in use, and write that down; asked again, answer from the history.

        Nobody waits while it is measured: what is in use is compared, and the result written, under the lock. Where
        another look came in between, it is one more.

        Args:
            kind: What the file is.
            file: The candidate.
            eval_version: Of the evaluation set.
            measure: Called with the number of the look; compares the two.
            samples: Labelled samples at this time.
            setting: Rules that answer with both, and the set's pictures, by which looks are counted.

        Raises:
            DataError: The evaluation set is spent, or something else is in use than when the look began.
        """
        asked, sha256 = setting or Setting(), sha256_file(file)
        with self._writing():
            beside = self.current().versions if asked.beside is None else dict(asked.beside)
            self._require_still(beside)
            if (found := self.known_gain(kind, sha256, eval_version, asked.rules, asked.retired)) is not None:
                return found
        looks = asked.looks()
        gain = measure(self.next_look(eval_version, asked.pictures, looks))
        with self._writing():
            self._require_still(beside)
            if (found := self.known_gain(kind, sha256, eval_version, asked.rules, asked.retired)) is not None:
                return found
            gain = gain.as_look(self.next_look(eval_version, asked.pictures, looks))
            version = self._keep(kind, file, sha256)
            event = asked.noted(self._event("compare", version, sha256), self.history(), eval_version, looks)
            self._append(event, gain=gain, eval_version=eval_version, samples=samples)
            return gain

    def promote(  # noqa: PLR0913  (a file, and what goes into the history with it)
        self,
        kind: Kind,
        file: Path,
        *,
        gain: Gain | None,
        eval_version: str | None,
        note: str | None,
        samples: int | None = None,
        declared: Collection[str] = (),
    ) -> str:
        """Put a candidate to use; returns its version.

        Args:
            kind: What the file is.
            file: The candidate.
            gain: What `look` found; None for the first of its kind (one that was taken out of use was the first), and
                where `note` says why without one.
            eval_version: Of the evaluation set.
            note: Why, where the gain does not say so.
            samples: Labelled samples at this time.
            declared: Names of pictures that were declared to be no copies of evaluation pictures.

        Raises:
            DataError: The gain is not proven, or there is none although something is in use; something else is in use
                than when it was measured; or the reason is empty.
        """
        kind, file, note = require_known("kind", kind, KINDS), require_path("file", file), _reason(note)
        if gain is not None:
            require_type("gain", gain, Gain, "registry.look(...)")
        with self._writing():
            present = self.current().versions.get(kind)
            if gain is not None and not gain.proven and note is None:
                raise gain.refusal()
            retired = self.retired(kind)
            if gain is None and note is None and (present is not None or retired is not None):
                was = f"{present} is in use" if retired is None else f"{retired} was in use and was taken out"
                sentence = f"{was}; what replaces it must be compared first, on an evaluation set."
                raise DataError(sentence, code="not_compared", version=present or retired)
            sha256 = sha256_file(file)
            self._require_measured_beside(kind, sha256, gain)
            version = self._keep(kind, file, sha256)
            event = self._event("promote", version, sha256)
            event = msgspec.structs.replace(event, declared=tuple(sorted(set(declared))))
            self._append(event, gain=gain, eval_version=eval_version, samples=samples, note=note)
            self._point(kind, version)
            return version

    def _require_measured_beside(self, kind: Kind, sha256: str, gain: Gain | None) -> None:
        """Refuse a gain measured beside others than are in use now, or before one of its kind was taken out."""
        out_of_use = self.retired(kind) is not None
        measured = measured_beside(self.history(), kind, sha256, gain, retired=out_of_use)
        if gain is not None and (any(measured) or out_of_use) and self.current().versions not in measured:
            raise DataError(_CHANGED, code="measured_beside_others")

    def _require_still(self, beside: Mapping[Kind, str]) -> None:
        if self.current().versions != beside:
            raise DataError(_CHANGED, code="measured_beside_others")

    def rollback(self, kind: Kind, *, to: str | None = None, note: str | None = None) -> str:
        """Go back to what was in use before, or to a version by name; returns it.

        Args:
            kind: Of what.
            to: A version that was in use at some time, or any with a reason in `note`; "none" takes a head or weights
                out of use, with a reason in `note`; None is what was before.
            note: Why.

        Raises:
            DataError: There is nothing to go back to, or no reason is given why a version that was never in use
                is taken, or the present one is taken out.
            ArtifactError: Its file was changed or is gone.
        """
        kind, note = require_known("kind", kind, KINDS), _reason(note)
        if to is not None:
            require_text("to", to)
        with self._writing():
            if to == NONE:
                return self._retire(kind, note)
            target = to or self._before(kind)
            if not target.startswith(f"{kind}-"):
                raise DataError(
                    f"{target} is no {kind}. Versions are named {kind}-…; see clipfast models list.",
                    code="other_kind",
                    version=target,
                    kind=kind,
                )
            self.file(target)
            if note is None and not any(e.version == target and e.action != "compare" for e in self.history()):
                raise DataError(
                    f"{target} was never in use, so there is no way back to it. Promote it, which compares it first, "
                    "or say why it is taken (--note).",
                    code="never_in_use",
                    version=target,
                )
            self._append(self._event("rollback", target, self._sha256_of(target)), note=note)
            self._point(kind, target)
            return target

    def _retire(self, kind: Kind, note: str | None) -> str:
        """Take what is in use out of use: the others answer without it."""
        present = self.current().versions.get(kind)
        if kind == "bank" or present is None:
            why = "A bank must be in use; go back to another" if kind == "bank" else f"No {kind} is in use"
            raise DataError(
                f"{why}. See clipfast models list.", code="bank_needed" if kind == "bank" else "none_in_use", kind=kind
            )
        if note is None:
            raise DataError(
                f"Why is {present} taken out of use? What comes next is not compared with it. Say so: --note REASON.",
                code="retire_reason",
                version=present,
            )
        self._append(self._event("retire", present, self._sha256_of(present)), note=note)
        self._point(kind, None)
        return NONE

    def _before(self, kind: Kind) -> str:
        """Return the version that was in use before the present one: each rollback goes one further back."""
        present = self.current().versions.get(kind)
        used = used_before(self.history(), kind, present)
        if not used:
            none = kind == "bank" or present is None
            remedy = f" Take it out of use: clipfast models rollback {kind} --to none --note REASON."
            raise DataError(
                f"There is no {kind} to go back to: {int(present is not None)} was in use so far."
                f"{'' if none else remedy}",
                code="nothing_before" if none else "nothing_before_first",
                kind=kind,
            )
        return used[-1]

    def _sha256_of(self, version: str) -> str:
        found = next((event.sha256 for event in self.history() if event.version == version), None)
        if found is None:
            known = sorted({event.version for event in self.history()})
            shown = ", ".join(known[-5:]) or "none yet"
            sentence = f"No version {version!r} in {self.root}. The last known: {shown}."
            raise DataError(sentence, code="no_version", version=version, known=shown)
        return found

    def _place(self, version: str) -> Path:
        suffix = next((end for kind, end in KINDS.items() if version.startswith(f"{kind}-")), "")
        return self.root / f"{version}{suffix}"

    def _writing(self) -> AbstractContextManager[None]:
        return locked(self.root / ".lock")

    def _keep(self, kind: Kind, file: Path, sha256: str) -> str:
        version = f"{kind}-{sha256[:DIGITS]}"
        target = self._place(version)
        if not target.is_file() or sha256_file(target) != sha256:
            with atomic_write(target) as temporary:
                shutil.copyfile(file, temporary)
                if sha256_file(temporary) != sha256:
                    raise DataError(
                        f"{file} changed while it was copied. Try again.", code="changed_while_copied", path=file
                    )
        return version

    def _event(self, action: Action, version: str, sha256: str) -> Event:
        kind = next(kind for kind in KINDS if version.startswith(f"{kind}-"))
        return Event(
            before=self._history.end(),
            action=action,
            kind=kind,
            version=version,
            sha256=sha256,
            who=self.who or user_name(),
            when=datetime.now(UTC).astimezone().isoformat(timespec="seconds"),
            present=self.current().versions.get(kind),
            beside=self.current().versions,
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
        self._history.append(event)

    def _point(self, kind: Kind, version: str | None) -> None:
        now = self.current()
        others = {each: named for each, named in now.versions.items() if each != kind}
        versions = others if version is None else {**others, kind: version}
        write_current(self.pointer, Current(versions=versions, generation=now.generation + 1))


def default_registry_path() -> Path:
    """Return the folder of versions: `CLIPFAST_MODELS`, else `data/models`."""
    return Path(os.environ.get("CLIPFAST_MODELS") or "data/models")


def _reason(note: str | None) -> str | None:
    if note is not None and not require_text("note", note).strip():
        raise DataError(
            "The reason must say something: it stays in the history in place of a proof.", code="empty_reason"
        )
    return note
