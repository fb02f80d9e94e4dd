"""What a pattern draws with, and what it returns: a `Loom` in, a `Cloth` out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from clipfast.datasets.fabricworld.noise import FRAME, Field, blur, fraction, smooth_noise

__all__ = ["Cloth", "Loom", "Truth", "interlace"]

Truth: TypeAlias = NDArray[np.bool_]

_FINEST = 1.0  # units between the numbers of a field; finer ones cost more and show nothing


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
        rng: Where every number of the design comes from: lengths, angles, shares.
        grain: Where irregularities come from. The same generator as `rng`, except for pieces of one bolt of cloth,
            which share their design and not their irregularities.
        size: Pixels along each side.
        x: Position across the warp threads in units, (size, size).
        y: Position along them in units, (size, size).
        angle: Direction across the warp threads, in radians.
        zoom: How much larger than usual everything looks.
    """

    rng: np.random.Generator
    grain: np.random.Generator
    size: int
    x: Field
    y: Field
    angle: float
    zoom: float = 1.0

    @classmethod
    def setup(
        cls, rng: np.random.Generator, size: int, *, grain: np.random.Generator | None = None, zoom: float = 1.0
    ) -> Loom:
        """Choose the angle and the warp of a piece; one with a grain of its own begins elsewhere in the pattern."""
        nearly_straight = rng.random() < 0.6
        angle = np.deg2rad(rng.uniform(-12, 12) if nearly_straight else rng.uniform(0, 360))
        warp = rng.uniform(0, 2.5)
        # Far from the origin: patterns look different there, and rows and columns stay positive.
        begin = np.full(2, 500.0) if grain is None else 500 + grain.uniform(0, 300, 2)
        grain = rng if grain is None else grain
        across = (np.arange(size) + 0.5) * FRAME / size / zoom
        down = across[:, None]
        x = np.cos(angle) * across + np.sin(angle) * down + begin[0] + warp * smooth_noise(grain, size, 60)
        y = -np.sin(angle) * across + np.cos(angle) * down + begin[1] + warp * smooth_noise(grain, size, 60)
        return cls(rng, grain, size, x, y, float(angle), zoom)

    def length(self, low: float, high: float) -> float:
        """Draw a length, every doubling as likely as the next."""
        return float(np.exp(self.rng.uniform(np.log(low), np.log(high))))

    def noise(self, across: float, down: float | None = None) -> Field:
        """Draw a smooth field, (size, size)."""
        across, down = (max(length * self.zoom, _FINEST) for length in (across, across if down is None else down))
        return smooth_noise(self.grain, self.size, across, down)

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
