"""Comparisons in the history: what a candidate was measured with, what was found of it, and beside what."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from clipfast.retrieval.history import Event, Kind
from clipfast.retrieval.looks import Look
from clipfast.retrieval.promotion import Gain

__all__ = ["DIGITS", "Setting", "gain_found", "measured_beside"]

DIGITS = 12
"""How many of a checksum's name a version, or a picture in the history."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What a candidate is measured with.

    Attributes:
        rules: Checksum of the rules, `RuleSet.sha256`; None for none.
        pictures: Checksums of the evaluation set's pictures, `EvalSet.pictures`.
        retired: A version that was taken out of use and that the candidate is compared with, too; None for none.
        beside: What was in use when the voices that answer were loaded, by kind; None: when the look begins.
        looks: Gives the looks of the set's pictures, `EvalSet.looks`; called when the candidate is measured.
        declared: Names of pictures that were declared to be no copies of the set's.
    """

    rules: str | None = None
    pictures: Collection[str] = ()
    retired: str | None = None
    beside: Mapping[Kind, str] | None = None
    looks: Callable[[], Sequence[Look]] = tuple
    declared: Collection[str] = ()

    def noted(self, event: Event, events: Sequence[Event], eval_version: str, looks: Sequence[Look]) -> Event:
        """Return the event with what the candidate was measured with; pictures only where the set comes first."""
        listed = any(each.pictures and each.eval_version == eval_version for each in events)
        return msgspec.structs.replace(
            event,
            rules=self.rules,
            retired=self.retired,
            pictures=() if listed else tuple(sorted({picture[:DIGITS] for picture in self.pictures})),
            looks=() if listed else tuple(sorted({f"{look.hash:016x}" for look in looks})),
            declared=tuple(sorted(set(self.declared))),
        )


def gain_found(
    events: Sequence[Event],
    candidate: tuple[Kind, str, str],
    beside: tuple[Mapping[Kind, str], str | None, str | None],
) -> Gain | None:
    """Return what was found last of a candidate; None where it was not compared.

    Args:
        events: The history.
        candidate: Its kind, the checksum of its file, and the version of the evaluation set.
        beside: What was in use, the checksum of the rules, and what was taken out of use.
    """
    same = [
        event.gain
        for event in events
        if event.action == "compare"
        and (event.kind, event.sha256, event.eval_version) == candidate
        and (event.beside, event.rules, event.retired) == beside
    ]
    return next((gain for gain in reversed(same) if gain is not None), None)


def measured_beside(
    events: Sequence[Event], kind: Kind, sha256: str, gain: Gain | None, *, retired: bool
) -> list[dict[Kind, str]]:
    """Return beside what a gain was found.

    Args:
        events: The history.
        kind: Of the candidate.
        sha256: Checksum of its file.
        gain: What was found.
        retired: Whether one of its kind was taken out of use: what was found before that does not count.
    """
    since = max((at for at, e in enumerate(events) if (e.kind, e.action) == (kind, "retire")), default=0)
    counted = events[since:] if retired else events
    return [e.beside for e in counted if e.action == "compare" and e.sha256 == sha256 and e.gain == gain]
