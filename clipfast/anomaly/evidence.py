"""Does the text branch help? Asked of the support alone, before a weight is given to it."""

from __future__ import annotations

import numpy as np

from clipfast.anomaly.branches import BranchMaps
from clipfast.anomaly.calibration import Calibration, TextEvidence
from clipfast.metrics.ranking import auroc_score
from clipfast.types import Floats

__all__ = ["SHARES", "weigh_text"]

SHARES = (0.25, 0.5, 0.75)
"""Shares of the text branch that are tried."""

_LEAST_AUROC = 0.6
_LEAST_GAIN = 0.02


def weigh_text(intact: BranchMaps, broken: BranchMaps, calibration: Calibration) -> TextEvidence:
    """Give the text branch a share of the image score if it earns one.

    It must call intact images intact (a median share of the abnormal texts below one half), rank damaged copies above
    intact views (AUROC of 0.6 at least), and with the best of `SHARES` raise the memory's AUROC by 0.02 at least.

    Args:
        intact: Raw scores of held-out views of the support.
        broken: Raw scores of damaged copies of them, each against a memory that does not hold its own image.
        calibration: Fitted on `intact`.
    """
    if intact.semantic is None or broken.semantic is None:
        return TextEvidence(0.0, "the text branch was left out")
    labels = np.repeat([0, 1], [len(intact), len(broken)])
    raw = BranchMaps.joined([intact, broken])
    scaled = calibration.apply(raw)
    text, memory = (np.asarray(part) for part in (_text(scaled), scaled.memory.image))
    text_auroc, memory_auroc = auroc_score(labels, text), auroc_score(labels, memory)
    found = {share: auroc_score(labels, memory + share * (text - memory)) for share in SHARES}
    best = max(found, key=lambda share: (found[share], -share))
    asked = f"on {len(broken)} damaged copies of the support text ranks {text_auroc:.2f}, memory {memory_auroc:.2f}"
    middle = float(np.median(intact.semantic.image))
    if middle >= 0.5:
        return TextEvidence(
            0.0,
            f"text branch left out: it takes intact references for damaged (median {middle:.2f})",
            text_auroc,
            memory_auroc,
        )
    if text_auroc < _LEAST_AUROC or found[best] < memory_auroc + _LEAST_GAIN:
        return TextEvidence(
            0.0, f"text branch left out: {asked}, both at best {found[best]:.2f}", text_auroc, memory_auroc
        )
    return TextEvidence(
        best, f"text branch has a share of {best:.2f}: {asked}, together {found[best]:.2f}", text_auroc, memory_auroc
    )


def _text(maps: BranchMaps) -> Floats:
    if maps.semantic is None:
        raise TypeError("asked for after it was checked")
    return maps.semantic.image
