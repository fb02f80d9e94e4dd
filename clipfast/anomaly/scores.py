"""What a detector says about images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clipfast.anomaly.branches import BranchMaps, BranchScores
from clipfast.anomaly.decision import Decision
from clipfast.errors import NotComputedError
from clipfast.types import Floats

__all__ = ["AnomalyScores"]


@dataclass(frozen=True, slots=True, eq=False)
class AnomalyScores:
    """Scores of n images; higher is more anomalous.

    Attributes:
        image: Fused by the image mode, (n,) float32.
        pixel: Fused by the pixel mode, (n, h, w) float32.
        branches: Raw scores of both branches, maps of the same size.
        decision: Thresholds, or None where the detector has none.
    """

    image: Floats
    pixel: Floats
    branches: BranchMaps
    decision: Decision | None = None

    def __len__(self) -> int:
        """How many images."""
        return len(self.image)

    @property
    def memory(self) -> BranchScores:
        """The patch memory's raw scores: `.image` (n,) and `.pixel` (n, h, w), whatever the mode."""
        return self.branches.memory

    @property
    def semantic(self) -> BranchScores:
        """The text branch's raw scores, the same two, whatever the mode.

        Raises:
            NotComputedError: The mode was memory_only.
        """
        if self.branches.semantic is None:
            raise NotComputedError(
                "the text branch was not computed: the detector's mode is memory_only. Fit it with another mode."
            )
        return self.branches.semantic

    @property
    def is_anomalous(self) -> NDArray[np.bool_]:
        """Whether each image is above the threshold, (n,) bool.

        Raises:
            NotComputedError: The detector has no threshold.
        """
        return self.image > self._decided().threshold

    @property
    def masks(self) -> NDArray[np.bool_]:
        """Which pixels are above the threshold of pixels, (n, h, w) bool.

        Raises:
            NotComputedError: The detector has no threshold.
        """
        return self.pixel > self._decided().pixel_threshold

    def _decided(self) -> Decision:
        if self.decision is None:
            raise NotComputedError("the detector has no threshold yet. Call detector.threshold(fpr=0.01), then score.")
        return self.decision
