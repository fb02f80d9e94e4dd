"""Bank, head and α that are in use, followed while a process runs; and a candidate measured against them."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from clipfast.arguments import require_type
from clipfast.errors import ArtifactError, ClipfastError, DataError
from clipfast.retrieval.bank import FabricBank
from clipfast.retrieval.declared import Declared
from clipfast.retrieval.evalset import EvalSet
from clipfast.retrieval.evaluation import ask_all
from clipfast.retrieval.fused import FittedFusion, with_alpha
from clipfast.retrieval.fusion import Voices
from clipfast.retrieval.head import LinearHead
from clipfast.retrieval.promotion import Gain, gain_of
from clipfast.retrieval.registry import Kind, Registry
from clipfast.retrieval.rules import RuleSet
from clipfast.storage import sha256_file
from clipfast.types import ImageEncoder

__all__ = [
    "LiveVoices",
    "declared_in",
    "declared_in_file",
    "measure_gain",
    "promoted_voices",
    "retired_voices",
    "with_candidate",
]

_Stamp = tuple[int, int, int] | None
_File = tuple[str, int, int, int]
_KINDS: tuple[Kind, Kind, Kind] = ("bank", "head", "alpha")


class LiveVoices:
    """What is in use, for a process that runs for weeks: notices a promotion or rollback, and takes the new files.

    Every call of `voices` looks at the pointer file, which takes a few microseconds, at most every `every_seconds`. A
    new version is loaded whole before it takes the old one's place, in one assignment; who still uses the old one keeps
    it. Safe from several threads. If the new version cannot be loaded, the old one stays, with a warning, and `failure`
    says why; when its file is put back, it is taken.

    Args:
        registry: Where versions are; a bank must be in use.
        clip: The encoder.
        rules: Rules, or None.
        every_seconds: How often to look, at most; 0 looks at every call.

    Attributes:
        failure: Why the newest version is not in use, or None.

    Raises:
        ArtifactError: No bank is in use, or a file is damaged or another model's.
    """

    def __init__(
        self, registry: Registry, clip: ImageEncoder, rules: RuleSet | None = None, *, every_seconds: float = 0.2
    ) -> None:
        self.failure: ClipfastError | OSError | None = None
        self._registry, self._clip, self._rules, self._every = registry, clip, rules, every_seconds
        self._pointer = require_type("registry", registry, Registry, 'Registry(Path("data/models"))').pointer
        self._lock = threading.Lock()
        self._stamp = self._look()
        self._broken: frozenset[_File] = frozenset()
        self._voices = promoted_voices(registry, clip, rules)
        self._next = time.monotonic() + every_seconds

    def voices(self) -> Voices:
        """Return bank, head, rules and weights as they are in use now."""
        now = time.monotonic()
        if now >= self._next and self._lock.acquire(blocking=False):  # one thread looks, the others go on
            try:
                self._follow()
                self._next = now + self._every
            finally:
                self._lock.release()
        return self._voices

    def _follow(self) -> None:
        stamp = self._look()
        if stamp == self._stamp and (self.failure is None or self._files() == self._broken):
            return
        files = self._files()
        try:
            self._voices = promoted_voices(self._registry, self._clip, self._rules)
            self.failure = None
        except (ClipfastError, OSError) as error:
            self.failure, self._broken = error, files
            warnings.warn(f"The version that was promoted cannot be used, the old one stays: {error}", stacklevel=3)
        self._stamp = stamp

    def _files(self) -> frozenset[_File]:
        """Return the versions' files as they are now: one that was damaged may have been put back."""
        found = set()
        for path in self._registry.root.glob("*-*"):
            with suppress(OSError):
                facts = path.stat()
                found.add((path.name, facts.st_mtime_ns, facts.st_ino, facts.st_size))
        return frozenset(found)

    def _look(self) -> _Stamp:
        try:
            found = self._pointer.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino, found.st_size


def promoted_voices(
    registry: Registry,
    clip: ImageEncoder,
    rules: RuleSet | None = None,
    *,
    candidate: tuple[Kind, Path] | None = None,
    versions: Mapping[Kind, str] | None = None,
) -> Voices:
    """Load what is in use.

    Args:
        registry: Where versions are.
        clip: The encoder.
        rules: Rules, or None.
        candidate: A kind and a file that takes the place of what is in use of that kind, which is not read.
        versions: What is in use, where that was read before: `Registry.current().versions`.

    Raises:
        ArtifactError: No bank is in use, or a file is damaged, another model's or fitted with other rules.
    """
    require_type("registry", registry, Registry, 'Registry(Path("data/models"))')
    kind, file = (None, None) if candidate is None else candidate
    now = (registry.current().versions if versions is None else versions).get  # read once: all three of one moment
    bank, head, alpha = (
        file if each == kind else None if (version := now(each)) is None else registry.file(version) for each in _KINDS
    )
    if bank is None:
        raise ArtifactError(
            f"No bank is in use in {registry.root}. Promote the first: clipfast models promote data/fabric_bank.npz",
            code="no_bank_in_use",
            folder=registry.root,
        )
    voices = Voices(FabricBank.load(bank, clip), None if head is None else LinearHead.load(head, clip), rules)
    return voices if alpha is None else with_alpha(voices, "fit", FittedFusion.load(alpha))


def with_candidate(voices: Voices, kind: Kind, file: Path, clip: ImageEncoder) -> Voices:
    """Return the voices with a file in place of what they have of its kind.

    Raises:
        ArtifactError: The file is damaged, another model's, or of another kind.
    """
    if kind == "bank":
        return replace(voices, bank=FabricBank.load(file, clip))
    if kind == "head":
        return replace(voices, head=LinearHead.load(file, clip))
    return with_alpha(voices, "fit", FittedFusion.load(file))


def retired_voices(
    registry: Registry, present: Voices, candidate: tuple[Kind, Path], clip: ImageEncoder
) -> tuple[str, Voices] | None:
    """Return what was taken out of use, by its name, and the voices with it put back, to compare a candidate with.

    None where something of the candidate's kind is in use or nothing was taken out, where the candidate is what was
    taken out, and where that could not answer any more: its file is damaged or gone, or another model's.
    """
    kind, file = candidate
    version = registry.retired(kind)
    if version is None:
        return None
    with suppress(ArtifactError):
        before = registry.file(version)
        if sha256_file(before) != sha256_file(file):
            return version, with_candidate(present, kind, before, clip)
    return None


def declared_in(voices: Voices) -> tuple[Declared, ...]:
    """Return the pictures of bank, head and weights that were declared to be no copies of evaluation pictures."""
    head = () if voices.head is None else voices.head.seen.declared
    fit = () if voices.fit is None else voices.fit.pictures.declared
    return (*voices.bank.references.marks.all_declared, *head, *fit)


def declared_in_file(kind: Kind, file: Path) -> tuple[Declared, ...]:
    """Return the same of one file.

    Raises:
        ArtifactError: The file is damaged, or of another kind.
    """
    if kind == "bank":
        return FabricBank.load(file).references.marks.all_declared
    return LinearHead.load(file).seen.declared if kind == "head" else FittedFusion.load(file).seen.declared


def measure_gain(
    present: Voices,
    candidate: Voices,
    eval_set: EvalSet,
    *,
    look: int,
    progress: Callable[[int, int], None] | None = None,
    retired: Voices | None = None,
) -> Gain:
    """Ask both about every picture of an evaluation set.

    With `retired` there are two comparisons, and the one that says less for the candidate is returned: a gain is proven
    only if both are, so the chance of a false promotion is no larger than with one.

    Args:
        present: What is in use.
        candidate: What may replace it.
        eval_set: The frozen set.
        look: Which look at it this is, see `promotion`.
        progress: Called with (done, total) pictures, once for each that is asked.
        retired: What was in use before one of `present` was taken out; None where nothing was.

    Raises:
        DataError: A picture cannot be read, was moved or changed, is in a bank or was trained on; or the set is spent.
    """
    require_type("present", present, Voices, "Voices(bank)")
    right = []
    for voices in (candidate, present) if retired is None else (candidate, present, retired):
        found = ask_all(eval_set, voices, progress=progress)
        if found.errors:
            raise DataError(
                f"{found.errors[0].path} of the evaluation set cannot be read: {found.errors[0].reason}. All must "
                "answer the same pictures: put it back, or make the set again.",
                code="eval_unreadable",
                path=found.errors[0].path,
                reason=found.errors[0].reason,
            )
        right.append(np.array(found.right))
    gains = [gain_of(before, right[0], eval_set.groups(), look=look) for before in right[1:]]
    return min(gains, key=lambda gain: gain.interval.low)
