"""When what is trained: stages of crop sizes and a learning rate, both by the clock, so that a leg ends on time."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """A part of the leg.

    Attributes:
        share: Of the leg's time.
        grid: Patches along each side of a crop.
        images: In a batch.
    """

    share: float
    grid: int
    images: int


# Small crops first: a step on 7 x 7 patches costs a third of one on 14 x 14 and shows the same threads.
STAGES = (Stage(0.5, 7, 128), Stage(0.15, 10, 80), Stage(0.35, 14, 48))
PEAK, FLOOR = 1e-3, 1e-5
_WARM_UP = 60.0  # seconds, or a twentieth of a short leg


@dataclass(frozen=True)
class Leg:
    """One leg of training, in seconds.

    Attributes:
        seconds: How long it lasts.
        peak: The largest learning rate.
    """

    seconds: float
    peak: float = PEAK

    def stage(self, elapsed: float) -> Stage:
        """Return the stage at a time.

        >>> Leg(100).stage(0).grid, Leg(100).stage(60).grid, Leg(100).stage(99).grid
        (7, 10, 14)
        """
        end = 0.0
        for stage in STAGES:
            end += stage.share * self.seconds
            if elapsed < end:
                return stage
        return STAGES[-1]

    def rate(self, elapsed: float) -> float:
        """Return the learning rate at a time: a short warm-up, then half a cosine.

        >>> leg = Leg(6000)
        >>> leg.rate(0) < leg.rate(60) > leg.rate(3000) > leg.rate(6000)
        True
        """
        warm_up = min(_WARM_UP, self.seconds / 20)
        falling = 0.5 + 0.5 * math.cos(math.pi * min(1.0, elapsed / self.seconds))
        return max(FLOOR, self.peak * min(1.0, (elapsed + 1e-9) / warm_up) * falling)
