"""What the support alone says about intact scores: scales of both branches, and how far the text branch is trusted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clipfast.anomaly.branches import BranchMaps, BranchScores
from clipfast.anomaly.gate import LearnedGate
from clipfast.anomaly.options import Kind, ScaleMethod
from clipfast.anomaly.scales import Scale
from clipfast.errors import ShapeError
from clipfast.types import Ints

__all__ = ["MOST_PIXELS", "BranchScales", "Calibration", "Holdout", "TextEvidence", "fit_calibration"]

MOST_PIXELS = 1 << 19
"""Of all held-out maps together: a regular part of more is enough for 129 quantiles."""


@dataclass(frozen=True, slots=True, eq=False)
class Holdout:
    """Raw scores of intact images that the memory was not allowed to know.

    Attributes:
        maps: Both branches on the patch grid.
        owners: Number of the reference that each was a view of, (h,) int64.
        original: Whether it is the reference itself, not a view, (h,) bool. Never with one reference only.
    """

    maps: BranchMaps
    owners: Ints
    original: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class TextEvidence:
    """Whether the text branch helps, as far as the support can tell.

    Attributes:
        share: Of the text branch in the fused score of images, 0 where it is left out.
        note: Why, for people.
        text_auroc: Of the text branch on damaged copies of the support against intact views; None if not tested.
        memory_auroc: Of the memory on the same.
    """

    share: float
    note: str
    text_auroc: float | None = None
    memory_auroc: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class BranchScales:
    """The scales of one branch: of images, of pixels, and of how far maps stand out."""

    image: Scale
    pixel: Scale
    contrast: Scale

    @classmethod
    def fit(cls, scores: BranchScores, method: ScaleMethod, *, odds: bool) -> BranchScales:
        """Fit on scores whose maps have the size that will be fused."""
        step = max(1, scores.pixel.size // MOST_PIXELS)
        return cls(
            Scale.fit(scores.image, method, odds=odds),
            Scale.fit(scores.pixel.reshape(-1)[::step], method, odds=odds),
            Scale.fit(scores.contrast, method),
        )

    def apply(self, scores: BranchScores) -> BranchScores:
        """Put a branch's raw scores on the common scale."""
        return BranchScores(
            self.image.apply(scores.image), self.pixel.apply(scores.pixel), self.contrast.apply(scores.contrast)
        )


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """Everything that fusion may know, none of it from test data.

    Attributes:
        memory: Scales of the memory.
        semantic: Scales of the text branch; None where it was left out.
        evidence: How far the text branch is trusted.
        kind: Of the class.
        gate: A gate learned on other classes, or None.
    """

    memory: BranchScales
    semantic: BranchScales | None
    evidence: TextEvidence
    kind: Kind = "texture"
    gate: LearnedGate | None = None

    def apply(self, maps: BranchMaps) -> BranchMaps:
        """Put both branches on the common scale.

        Raises:
            ShapeError: The text branch is there and was not calibrated.
        """
        if maps.semantic is None:
            return BranchMaps(None, self.memory.apply(maps.memory))
        if self.semantic is None:
            raise ShapeError("this calibration knows the memory only; fit one on maps with the semantic branch.")
        return BranchMaps(self.semantic.apply(maps.semantic), self.memory.apply(maps.memory))


def fit_calibration(
    maps: BranchMaps,
    method: ScaleMethod = "cdf",
    *,
    evidence: TextEvidence | None = None,
    kind: Kind = "texture",
    gate: LearnedGate | None = None,
) -> Calibration:
    """Fit the scales on held-out intact maps, scaled and blurred as those that will be fused.

    Args:
        maps: Of intact images that the memory did not know, such as `Holdout.maps.resized(...)`.
        method: Which scale.
        evidence: How far the text branch is trusted; None leaves it out of "auto".
        kind: Of the class.
        gate: A learned gate.
    """
    return Calibration(
        BranchScales.fit(maps.memory, method, odds=False),
        None if maps.semantic is None else BranchScales.fit(maps.semantic, method, odds=True),
        evidence or TextEvidence(0.0, "the text branch was not tested"),
        kind,
        gate,
    )
