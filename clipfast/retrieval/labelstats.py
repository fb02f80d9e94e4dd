"""How far the labels have come: counts, targets, what is new since training, and whether files and journal agree."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np

from clipfast.datasets.folders import FabricImage, scan_fabrics
from clipfast.metrics import Interval
from clipfast.retrieval.crops import read_sidecar
from clipfast.retrieval.evalguard import EvalGuard
from clipfast.retrieval.evalset import EvalSet
from clipfast.retrieval.heldout import find_eval_set
from clipfast.retrieval.journal import Picked
from clipfast.retrieval.labelled import Patch
from clipfast.retrieval.labelqueue import CLASS_TARGETS, next_total
from clipfast.retrieval.labelstate import LabelState
from clipfast.retrieval.photowise import PhotoCounts
from clipfast.storage import sha256_file

__all__ = ["RETRAIN_AFTER", "LabelStats", "label_counts", "label_stats", "new_since"]

RETRAIN_AFTER = 20
"""After so many new samples training again suggests itself."""


@dataclass(frozen=True, slots=True)
class LabelStats:
    """Figures of a folder of labelled patches.

    Attributes:
        counts: Patches of each label, those put there by hand among them.
        held_out: How many of them belong to the evaluation set, or are cut from its photos: never trained on.
        new: How many the present head has not seen, without those.
        missing: Patches of the journal that are not in the folder.
        changed: Patches whose file is not the one that was labelled.
        by_hand: How many patches are in no journal.
        waiting: How many crops wait for a label, by why they do.
        by_chance: Share of the crops picked by chance whose first answer was right, with its interval, which counts
            photos; None before the first. Only these tell how good the system is: the others were picked because it was
            unsure.
    """

    counts: dict[str, int]
    held_out: int
    new: int
    missing: tuple[str, ...]
    changed: tuple[str, ...]
    by_hand: int
    waiting: dict[Picked, int]
    by_chance: Interval | None

    @property
    def total(self) -> int:
        """All patches."""
        return sum(self.counts.values())

    @property
    def next_total(self) -> int | None:
        """How many to aim for: 20, 50, 200; None beyond."""
        return next_total(self.total)

    @property
    def lacking(self) -> dict[str, tuple[int, int]]:
        """Labels below their next target of 5 or 10: how many there are, and the target."""
        goals = {name: next((t for t in CLASS_TARGETS if count < t), None) for name, count in self.counts.items()}
        return {name: (self.counts[name], goal) for name, goal in goals.items() if goal is not None}

    @property
    def retrain(self) -> bool:
        """Whether there are 20 new samples or more."""
        return self.new >= RETRAIN_AFTER


def new_since(
    folder: str | os.PathLike[str], trained_on: Collection[str] = (), *, eval_set: EvalSet | None = None
) -> int:
    """Count the labelled patches that a head has not seen and may be trained on.

    Args:
        folder: `<fabric_id>/<patch>`.
        trained_on: Checksums that the head was trained on, `LinearHead.trained_on`; none for no head.
        eval_set: What is never trained on; None takes the one beside the folder, if there is one.

    Raises:
        DataError: No folder there, or a side-car that is none.
    """
    return sum(not held and sha256 not in trained_on for _, sha256, held in _patches(Path(folder), eval_set))


def label_counts(root: Path) -> dict[str, int]:
    """Return how many patches each label has."""
    return {name: len(paths) for name, paths in scan_fabrics(root).fabrics.items()} if root.is_dir() else {}


def label_stats(root: Path, state: LabelState, trained_on: Collection[str]) -> LabelStats:
    """Return the figures of a folder and its journal."""
    found = _patches(root, None) if root.is_dir() else []
    digests = {patch.path.relative_to(root).as_posix(): sha256 for patch, sha256, _ in found}
    picked = [item.picked for item in state.queue.values()]
    chance = {key: patch for key, patch in state.patches.items() if patch.sidecar.picked == "random"}
    right = [  # a label that was renamed since is no error
        patch.sidecar.answer in {_label(key), _label(patch.key)} for key, patch in chance.items()
    ]
    photos = [str(patch.sidecar.photo(root / key) or key) for key, patch in chance.items()]
    return LabelStats(
        counts=label_counts(root),
        held_out=sum(held for *_, held in found),
        new=sum(not held and sha256 not in trained_on for _, sha256, held in found),
        missing=tuple(sorted(key for key in state.patches if key not in digests)),
        changed=tuple(sorted(k for k, patch in state.patches.items() if digests.get(k, patch.sha256) != patch.sha256)),
        by_hand=len(digests.keys() - state.patches.keys()),
        waiting={why: picked.count(why) for why in get_args(Picked)},
        by_chance=PhotoCounts.of(photos).share(np.array(right)) if right else None,
    )


def _label(key: str) -> str:
    return key.split("/", maxsplit=1)[0]


def _patches(root: Path, eval_set: EvalSet | None) -> list[tuple[Patch, str, bool]]:
    """Return every patch with its checksum, and whether it belongs to the evaluation set."""
    held = eval_set or find_eval_set(root)
    guard = None if held is None else EvalGuard(held)
    found = []
    for fabric, paths in scan_fabrics(root).fabrics.items():
        for path in paths:
            patch = Patch(fabric, path, FabricImage(fabric, path).key, read_sidecar(path))
            sha256 = sha256_file(path)
            found.append((patch, sha256, guard is not None and guard.holds(sha256, patch.photo)))
    return found
