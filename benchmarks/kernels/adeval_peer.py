"""ADEval 1.1 as a peer: its accumulator, made to run on today's NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["accumulator", "aupro", "auroc"]


def accumulator(low: float, high: float, *, regions: bool) -> Any:
    """ADEval's accumulator with its 1,000 strips; the range of the scores, which it must know, costs nothing here."""
    vars(np).setdefault("trapz", np.trapezoid)  # ADEval calls it by the name that NumPy has dropped
    from adeval import EvalAccumulator

    return EvalAccumulator(low, high, skip_pixel_aupro=not regions)


# Its `summary` also sums up the two other kinds of scores, which are empty here: only what is compared is asked for.
def auroc(counts: Any) -> float:
    """The area under the ROC curve of what came through `add_sample`."""
    return float(counts._auroc(counts._sample_acc))  # noqa: SLF001  # see above


def aupro(counts: Any) -> float:
    """The mean overlap of regions up to a false positive rate of 0.3."""
    return float(counts._aupro())  # noqa: SLF001  # see above
