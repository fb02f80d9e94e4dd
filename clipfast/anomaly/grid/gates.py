"""The learned gate of a grid: for each class one that has seen the other classes only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from clipfast.anomaly.branches import BranchMaps
from clipfast.anomaly.calibration import Calibration
from clipfast.anomaly.gate import GateCase, LearnedGate, fit_gate
from clipfast.errors import DataError
from clipfast.types import Ints

__all__ = ["FoundGate", "gates_of_others"]


@dataclass(frozen=True, slots=True, eq=False)
class FoundGate:
    """A gate, or why there is none."""

    gate: LearnedGate | None
    why: str | None = None


def gates_of_others(
    maps: Mapping[str, BranchMaps],
    calibrations: Mapping[str, Calibration],
    labels: Mapping[str, Ints],
    tested: Mapping[str, Sequence[str]],
) -> dict[str, FoundGate]:
    """Learn a gate for each class on the images of all others of the same number of shots and the same seed.

    Images that the class has in its own test set, too, are left out of the others': their labels are what the gate is
    judged by.

    Args:
        maps: Raw scores by class.
        calibrations: From each class's support.
        labels: 0 intact, 1 anomalous, by class; classes that have one of them only teach nothing.
        tested: SHA-256 of the pixels of the test images, by class.
    """
    cases = {
        name: GateCase(calibrations[name].apply(each), labels[name])
        for name, each in maps.items()
        if each.semantic is not None and len(np.unique(labels[name])) == 2
    }
    found = {}
    for name in maps:
        own = set(tested[name])
        others = [
            left
            for key, case in cases.items()
            if key != name and (left := _without(case, [each in own for each in tested[key]])) is not None
        ]
        if not others:
            known = [key for key in cases if key != name]
            shared = f" besides those that {name} is tested on" if known else ""
            found[name] = FoundGate(
                None, f"a gate learns on other classes with intact and damaged images{shared}; there are none"
            )
            continue
        try:
            found[name] = FoundGate(fit_gate(others))
        except DataError as error:
            found[name] = FoundGate(None, str(error))
    return found


def _without(case: GateCase, barred: list[bool]) -> GateCase | None:
    """A case without some of its images; None where the others are all intact or all damaged."""
    if not any(barred):
        return case
    rows = np.flatnonzero(~np.array(barred, bool))
    if len(np.unique(case.labels[rows])) < 2:
        return None
    return GateCase(case.maps.taken(rows), case.labels[rows])
