"""The learned gate of a grid: for each class one that has seen the other classes only."""

from __future__ import annotations

from collections.abc import Mapping
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
    maps: Mapping[str, BranchMaps], calibrations: Mapping[str, Calibration], labels: Mapping[str, Ints]
) -> dict[str, FoundGate]:
    """Learn a gate for each class on the images of all others of the same number of shots and the same seed.

    Args:
        maps: Raw scores by class.
        calibrations: From each class's support.
        labels: 0 intact, 1 anomalous, by class; classes that have one of them only teach nothing.
    """
    cases = {
        name: GateCase(calibrations[name].apply(each), labels[name])
        for name, each in maps.items()
        if each.semantic is not None and len(np.unique(labels[name])) == 2
    }
    found = {}
    for name in maps:
        others = [case for key, case in cases.items() if key != name]
        if not others:
            found[name] = FoundGate(
                None, "a gate learns on other classes with intact and damaged images; there are none"
            )
            continue
        try:
            found[name] = FoundGate(fit_gate(others))
        except DataError as error:
            found[name] = FoundGate(None, str(error))
    return found
