"""How many looks were taken at pictures before, under whatever version, order, label, or file."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from clipfast.retrieval.history import Event
from clipfast.retrieval.looks import Look, repeats

__all__ = ["looks_before"]


def looks_before(events: Sequence[Event], eval_version: str, pictures: frozenset[str], looks: Sequence[Look]) -> int:
    """Count the looks at an evaluation set and at all that share a picture with it.

    Args:
        events: The history.
        eval_version: Of the set.
        pictures: First digits of its pictures' checksums.
        looks: Of its pictures, by which those are known that were saved again.
    """
    known = {event.eval_version: set(event.pictures) for event in events if event.pictures}
    mine = known.get(eval_version, set()) | pictures
    same = {eval_version, *(version for version, theirs in known.items() if theirs & mine)}
    kept = {event.eval_version: event.looks for event in events if event.looks and event.eval_version not in same}
    for version, hashes in kept.items():
        if repeats(looks, np.array([int(each, 16) for each in hashes], np.uint64)):
            same.add(version)
    counted = {(event.eval_version, event.gain.look) for event in events if event.gain and event.eval_version in same}
    return max([len(counted), *(look for _, look in counted)])
