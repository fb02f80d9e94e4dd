"""References added to a fitted detector, or removed from it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from clipfast.anomaly.branches import BranchMaps
from clipfast.anomaly.calibration import Holdout
from clipfast.anomaly.fitting import ONE_REFERENCE, Fitted
from clipfast.anomaly.leaveout import LeaveOut
from clipfast.anomaly.memory import MemoryBank
from clipfast.anomaly.pictures import Viewer
from clipfast.anomaly.support import SupportEncoder, bank_features, hold_out, read_support
from clipfast.errors import DataError
from clipfast.types import Images, PatchEncoder

__all__ = ["REMOVED", "added", "removed"]

REMOVED = "references were removed: held-out scores of the others still know them, and are too low; fit again"
_ADDED = "references were added: held-out scores of the others do not know them; fit again for exact ones"


def added(clip: PatchEncoder, fitted: Fitted, images: Images) -> Fitted:
    """Remember further references; see `AnomalyDetector.add`."""
    options = fitted.options
    viewer = Viewer(clip, whole_image=options.whole_image)
    support = read_support(viewer, images)
    first = len(fitted.bank.references)
    encoder = SupportEncoder(clip, viewer, fitted.prompts is not None, options.progress)
    encoder.expect(support, options.memory, first, damage=False)
    given = bank_features(encoder, support, options.memory)

    def grown(gone: Collection[int]) -> MemoryBank:
        patches, references, owners = given.without(gone)
        return fitted.bank.added(patches, references, owners) if references else fitted.bank

    bank = grown(())
    new = hold_out(encoder, support, LeaveOut(bank, grown, first), fitted.prompts, None).intact
    old = fitted.holdout
    holdout = Holdout(
        BranchMaps.joined([old.maps, new.maps]),
        np.concatenate([old.owners, new.owners]),
        np.concatenate([old.original, new.original]),
    )
    notes = tuple(line for line in _changed(fitted, _ADDED) if line != ONE_REFERENCE)
    return replace(fitted, bank=bank, holdout=holdout, notes=notes)


def removed(fitted: Fitted, name: str) -> Fitted:
    """Forget a reference; see `AnomalyDetector.remove`."""
    bank = fitted.bank.removed(name)
    left = [i for i, reference in enumerate(fitted.bank.references) if reference in bank.references]
    keep = np.isin(fitted.holdout.owners, left)
    if np.count_nonzero(keep) < 2:
        raise DataError("too few held-out scores would be left to calibrate with. Fit a detector without that image.")
    old = fitted.holdout
    owners = np.searchsorted(left, old.owners[keep]).astype(np.int64)
    holdout = Holdout(old.maps.taken(keep), owners, old.original[keep])
    return replace(fitted, bank=bank, holdout=holdout, notes=_changed(fitted, REMOVED))


def _changed(fitted: Fitted, note: str) -> tuple[str, ...]:
    return (*(line for line in fitted.notes if line != note), note)
