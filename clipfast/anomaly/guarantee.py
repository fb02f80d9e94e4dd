"""When does the conformal place of a threshold guarantee a rate of false alarms?"""

from __future__ import annotations

from clipfast.anomaly.changes import REMOVED
from clipfast.anomaly.fitting import Fitted

__all__ = ["why_not_guaranteed"]

_PLAIN = ("memory", "memory_only", "semantic", "max", "harmonic")
"""Modes whose raw scores rise and fall with those of the memory, and with nothing else that the support decides."""


def why_not_guaranteed(fitted: Fitted) -> str | None:
    """Return what stands against the argument of `clipfast.anomaly.decision` for a detector's image scores, or None.

    It needs held-out scores that do not know their image at all, and that could only fall had it been remembered.
    """
    memory, mode = fitted.options.memory, fitted.modes.image
    if mode not in _PLAIN:
        return f"the mode {mode} is chosen, scaled or weighed by the support"
    if mode != "semantic":
        if REMOVED in fitted.notes:
            return "a reference was removed, which held-out scores of the others still know"
        if memory.coreset < 1:
            return "a coreset of more references keeps other rows, so scores may rise with more of them"
        if memory.rows in ("centred", "standardised"):
            return f"the {memory.rows} rows are prepared by all references, so scores may rise with more of them"
        if memory.image_score in ("reweighted", "contrast"):
            return f"the image score {memory.image_score!r} may rise with more references"
    if mode not in ("memory", "memory_only") and fitted.options.learned is None and fitted.options.prompts.guided:
        return "guided prompts are chosen by the images that are held out"
    return None
