"""How each kind of damage lies and looks: an outline in units around its centre, and what it does to the picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from clipfast.datasets.fabricworld.noise import Field, blur, fraction, ramp, smooth_noise
from clipfast.datasets.fabricworld.raster import thick_line

__all__ = ["Outlines", "Patch", "Site"]

Outlines: TypeAlias = list[Field]

_STAINS_ON_LIGHT = ((70, 45, 15), (40, 30, 28), (120, 20, 30), (150, 120, 40), (30, 40, 70))
_STAINS_ON_DARK = ((190, 185, 170), (200, 180, 120), (170, 170, 180))


@dataclass(frozen=True, slots=True, eq=False)
class Site:
    """The cloth that is damaged.

    Attributes:
        rng: Where shape and strength come from.
        kind: Name of the defect.
        angle: Direction across the warp threads, in radians.
        dark: Whether the cloth's colour is a dark one; decided by its name, not by pixels.
        dye: RGB levels of the cloth's first colour, (3,).
    """

    rng: np.random.Generator
    kind: str
    angle: float
    dark: bool
    dye: Field

    def along_threads(self) -> float:
        """Choose one of the two directions of the threads."""
        return self.angle + float(self.rng.integers(2)) * np.pi / 2


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """The part of a picture around a defect.

    Attributes:
        image: The whole picture, (size, size, 3).
        window: Rows and columns of the part.
        cover: How much of each of its pixels the outline covers, (h, w) in 0..1.
        scale: Pixels in a unit.
    """

    image: Field
    window: tuple[slice, slice]
    cover: Field
    scale: float

    def noise(self, rng: np.random.Generator, spacing: float) -> Field:
        """Draw a smooth field of the whole picture and return the part, (h, w)."""
        return smooth_noise(rng, len(self.image), spacing)[self.window]

    def soft(self, sigma: float) -> Field:
        """Return the cover with soft edges, `sigma` units wide."""
        return blur(self.cover, max(sigma * self.scale, 0.3))

    def mix(self, colour: Field, share: Field) -> None:
        """Paint a colour (3,) or (h, w, 3) over the part, by shares (h, w)."""
        part = self.image[self.window]
        self.image[self.window] = np.clip(part + (colour - part) * share[..., None], 0, 255)

    def shade(self, factor: Field) -> None:
        """Multiply the part by factors (h, w)."""
        self.image[self.window] = np.clip(self.image[self.window] * factor[..., None], 0, 255)


def _blob(rng: np.random.Generator, radius: float, stretch: float) -> Outlines:
    """Return one irregular round outline."""
    angles = np.arange(48) * 2 * np.pi / 48
    radii = np.ones(48)
    for harmonic in range(2, 7):
        radii += 0.52 / harmonic * rng.normal() * np.cos(harmonic * angles + rng.uniform(0, 2 * np.pi))
    radii = radius * np.clip(radii, 0.45, 1.7)
    turn = rng.uniform(0, 2 * np.pi)
    x, y = radii * np.cos(angles) * stretch, radii * np.sin(angles)
    return [np.stack([x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)], axis=1)]


def _wander(rng: np.random.Generator, direction: float, length: float, bend: float, step: float) -> Field:
    """Return the points of a line that bends by chance, beginning at the centre, (points, 2)."""
    directions = direction + np.cumsum(rng.normal(0, bend, max(2, int(length / step))))
    steps = step * np.stack([np.cos(directions), np.sin(directions)], axis=1)
    return np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)])


def hole(site: Site) -> Outlines:
    """A small irregular opening."""
    return _blob(site.rng, site.rng.uniform(6, 19), site.rng.uniform(0.8, 1.5))


def paint_hole(site: Site, patch: Patch) -> None:
    """Show what lies behind, and fray the rim."""
    behind = site.rng.uniform(120, 220, 3) if site.dark else site.rng.uniform(0, 40, 3)
    rim = patch.soft(2) * (1 - patch.cover)
    patch.shade(1 + 0.4 * rim * (1 + patch.noise(site.rng, 2)))
    patch.mix(behind, patch.cover)


def stain(site: Site) -> Outlines:
    """A spot, larger than a hole."""
    return _blob(site.rng, site.rng.uniform(11, 36), site.rng.uniform(0.8, 1.4))


def paint_stain(site: Site, patch: Patch) -> None:
    """Let the weave show through a colour with soft edges."""
    liquids = _STAINS_ON_DARK if site.dark else _STAINS_ON_LIGHT
    colour = np.array(liquids[int(site.rng.integers(len(liquids)))], dtype=np.float64)
    share = site.rng.uniform(0.4, 0.75) * patch.soft(site.rng.uniform(1.5, 4))
    patch.mix(colour, np.clip(share * (1 + 0.15 * patch.noise(site.rng, 8)), 0, 1))


def scratch(site: Site) -> Outlines:
    """A long thin line."""
    line = _wander(site.rng, site.rng.uniform(0, 2 * np.pi), site.rng.uniform(35, 120), 0.05, 6)
    return thick_line(line, float(site.rng.integers(1, 4)))


def paint_scratch(site: Site, patch: Patch) -> None:
    """Bright on dark cloth, dark or bright on light cloth."""
    bright = site.dark or site.rng.random() < 0.4
    level = site.rng.uniform(190, 255) if bright else site.rng.uniform(15, 70)
    patch.mix(np.full(3, level), patch.cover * site.rng.uniform(0.6, 0.95))


def thread_pull(site: Site) -> Outlines:
    """A drawn thread along the weave, its loose end curling."""
    rng = site.rng
    drawn = _wander(rng, site.along_threads(), rng.uniform(40, 110), 0.02, 6)
    curl = _wander(rng, rng.uniform(0, 2 * np.pi), rng.uniform(22, 64), 0.75, 2)
    return thick_line(drawn, float(rng.integers(2, 4))) + thick_line(curl, 2.2)


def paint_thread_pull(site: Site, patch: Patch) -> None:
    """A thread of another brightness above a shadow."""
    patch.shade(1 - 0.45 * patch.soft(2.5))
    yarn = np.clip(site.dye * 1.5 + 50, 0, 255) if site.dark else site.dye * 0.55
    patch.mix(yarn, patch.cover * site.rng.uniform(0.6, 0.95))


def missing_stitches(site: Site) -> Outlines:
    """A narrow bar along the threads."""
    length, width = site.rng.uniform(22, 60), site.rng.uniform(5, 12)
    direction = site.along_threads()
    half = np.array([np.cos(direction), np.sin(direction)]) * length / 2
    return thick_line(np.stack([-half, half]), width)


def paint_missing_stitches(site: Site, patch: Patch) -> None:
    """Gaps at even distances, darker than the cloth or, in a dark one, brighter."""
    part = patch.image[patch.window]
    smooth = blur(part, max(4 * patch.scale, 0.3))
    gaps = np.clip(smooth * 1.6 + 45, 0, 255) if site.dark else smooth * site.rng.uniform(0.3, 0.55)
    rows, columns = (np.arange(each.start, each.stop) + 0.5 for each in patch.window)
    along = (np.cos(site.angle) * columns[None] + np.sin(site.angle) * rows[:, None]) / patch.scale
    across = (np.cos(site.angle) * rows[:, None] - np.sin(site.angle) * columns[None]) / patch.scale
    pitch = site.rng.uniform(6, 10)
    open_here = np.maximum(_gaps(along, pitch), _gaps(across, pitch))
    patch.mix(gaps, patch.cover * (0.15 + 0.8 * open_here))


def _gaps(position: Field, pitch: float) -> Field:
    phase = fraction(position / pitch)
    return ramp(phase, 0.2, 0.35) * (1 - ramp(phase, 0.85, 1.0))


def faint_mark(site: Site) -> Outlines:
    """A worn or pressed place."""
    return _blob(site.rng, site.rng.uniform(8, 28), site.rng.uniform(0.7, 1.6))


def paint_faint_mark(site: Site, patch: Patch) -> None:
    """A little lighter or darker, without an edge."""
    strength = site.rng.uniform(0.08, 0.2)
    lighter = site.dark or site.rng.random() < 0.5
    patch.shade(1 + (1.5 * strength if lighter else -strength) * patch.soft(site.rng.uniform(1, 3)))


def weave_fault(site: Site) -> Outlines:
    """A small area that was woven wrongly."""
    return _blob(site.rng, site.rng.uniform(9, 26), site.rng.uniform(0.7, 1.8))


def paint_weave_fault(site: Site, patch: Patch) -> None:
    """Keep the mean and disturb the texture: flattened or exaggerated, with threads of uneven thickness."""
    part = patch.image[patch.window]
    mean = blur(part, max(5 * patch.scale, 0.3))
    relief = site.rng.uniform(0.1, 0.4) if site.rng.random() < 0.6 else site.rng.uniform(1.6, 2.2)
    rough = site.rng.uniform(0.04, 0.1) * patch.noise(site.rng, site.rng.uniform(2, 4))
    changed = np.clip((mean + (part - mean) * relief) * (1 + rough[..., None]), 0, 255)
    patch.mix(changed, patch.soft(0.7))
