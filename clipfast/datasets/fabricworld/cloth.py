"""What a pattern draws with, and what it returns: a `Loom` in, a `Cloth` out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from clipfast.datasets.fabricworld.noise import FRAME, Field, blur, fraction, smooth_noise

__all__ = ["Cloth", "Loom", "Truth", "interlace"]

Truth: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Cloth:
    """How a fabric looks before it has a colour.

    Attributes:
        shade: Brightness of each pixel, 1 is the plain colour, (size, size).
        second: Share of the second colour, 0 to 1, (size, size) or one number.
        holes: Share of what lies behind, 0 to 1, (size, size); None for a closed fabric.
    """

    shade: Field
    second: Field | float = 0.0
    holes: Field | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Loom:
    """Coordinates of a piece of cloth, turned and slightly warped, and the randomness of its making.

    Attributes:
        rng: Where every number of the pattern comes from.
        size: Pixels along each side.
        x: Position across the warp threads in units, (size, size).
        y: Position along them in units, (size, size).
    """

    rng: np.random.Generator
    size: int
    x: Field
    y: Field

    @classmethod
    def setup(cls, rng: np.random.Generator, size: int) -> Loom:
        """Choose the angle and the warp of a piece."""
        nearly_straight = rng.random() < 0.6
        angle = np.deg2rad(rng.uniform(-12, 12) if nearly_straight else rng.uniform(0, 360))
        warp = rng.uniform(0, 2.5)
        across = (np.arange(size) + 0.5) * FRAME / size
        down = across[:, None]
        # Far from the origin: patterns look different there, and rows and columns stay positive.
        x = np.cos(angle) * across + np.sin(angle) * down + 500 + warp * smooth_noise(rng, size, 60)
        y = -np.sin(angle) * across + np.cos(angle) * down + 500 + warp * smooth_noise(rng, size, 60)
        return cls(rng, size, x, y)

    def length(self, low: float, high: float) -> float:
        """Draw a length, every doubling as likely as the next."""
        return float(np.exp(self.rng.uniform(np.log(low), np.log(high))))

    def noise(self, across: float, down: float | None = None) -> Field:
        """Draw a smooth field, (size, size)."""
        return smooth_noise(self.rng, self.size, across, down)

    def soften(self, area: Truth, sigma: float) -> Field:
        """Return an area with soft edges, `sigma` units wide."""
        return blur(area.astype(np.float64), sigma * self.size / FRAME)

    def threads(self, low: float, high: float) -> tuple[Field, Field]:
        """Draw the width of a thread; return the positions counted in threads, across and along."""
        width = self.length(low, high)
        return self.x / width, self.y / width

    def sheen(self, low: float, high: float, strength: float) -> Field:
        """Return the fine checker of a smooth plain weave, as a factor of the shade."""
        wave = 2 * np.pi / self.rng.uniform(low, high)
        return 1 + strength * np.sin(wave * self.x) * np.sin(wave * self.y)


def interlace(u: Field, v: Field, warp_on_top: Truth, relief: float) -> Field:
    """Shade crossing threads as small cylinders.

    Args:
        u: Position across the warp threads, in threads.
        v: Position across the weft threads, in threads.
        warp_on_top: Where the warp thread covers the weft thread.
        relief: How dark the gaps are, 0 to 1.
    """
    warp, weft = np.sin(np.pi * fraction(u)), np.sin(np.pi * fraction(v))
    lit = np.where(warp_on_top, warp * (0.6 + 0.4 * weft), weft * (0.6 + 0.4 * warp))
    return 1 - relief + relief * lit
