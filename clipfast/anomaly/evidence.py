"""Does the text branch help? Asked of the support alone, before a weight is given to it."""

from __future__ import annotations

import math

import numpy as np

from clipfast.anomaly.branches import BranchMaps
from clipfast.anomaly.calibration import Calibration, TextEvidence
from clipfast.metrics.delong import delong_covariance

__all__ = ["NOT_TESTABLE", "SHARES", "weigh_text"]

NOT_TESTABLE = (
    'text branch left out: the damage that tests it is local, and image_score="mean" asks for changes everywhere'
)

SHARES = (0.25, 0.5, 0.75)
"""Shares of the text branch that are tried."""

_LEAST_AUROC = 0.6
_LEAST_GAIN = 0.02


def weigh_text(intact: BranchMaps, broken: BranchMaps, calibration: Calibration) -> TextEvidence:
    """Give the text branch a share of the image score if it earns one.

    It must call intact images intact (a median share of the abnormal texts below one half), rank damaged copies above
    intact views (AUROC of 0.6 at least), and with the best of `SHARES` raise the memory's AUROC by 0.02 at least and by
    more than that gain's own standard error (DeLong): with few copies a gain may be luck.

    Args:
        intact: Raw scores of held-out views of the support, two at least.
        broken: Raw scores of damaged copies of them, two at least, each against a memory without its own image.
        calibration: Fitted on `intact`.
    """
    scaled = calibration.apply(BranchMaps.joined([intact, broken]))
    if intact.semantic is None or scaled.semantic is None:
        return TextEvidence(0.0, "the text branch was left out")
    text, memory = scaled.semantic.image, scaled.memory.image
    mixed = [memory + np.float32(share) * (text - memory) for share in SHARES]
    labels = np.repeat([0, 1], [len(intact), len(broken)])
    aurocs, covariance = delong_covariance(labels, np.stack([memory, text, *mixed]))
    place = 2 + int(np.argmax(aurocs[2:]))  # of equal ones the smallest share
    gain = float(aurocs[place] - aurocs[0])
    variance = covariance[0, 0] + covariance[place, place] - 2 * covariance[0, place]
    needed = max(_LEAST_GAIN, math.sqrt(max(float(variance), 0.0)))
    found = f"on {len(broken)} damaged copies of the support text ranks {aurocs[1]:.2f}, memory {aurocs[0]:.2f}"
    found += f", both {aurocs[place]:.2f}"
    middle = float(np.median(intact.semantic.image))
    share, note = 0.0, f"text branch left out: {found}"
    if middle >= 0.5:
        note = f"text branch left out: it takes intact references for damaged (median {middle:.2f})"
    elif aurocs[1] >= _LEAST_AUROC and gain >= needed:
        share = SHARES[place - 2]
        note = f"text branch has a share of {share:.2f}: {found}"
    return TextEvidence(share, note, float(aurocs[1]), float(aurocs[0]))
