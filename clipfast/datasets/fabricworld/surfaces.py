"""Fabrics that are recognised by how their surface takes light, or by what shows through."""

from __future__ import annotations

import numpy as np

from clipfast.datasets.fabricworld.cloth import Cloth, Loom, Truth
from clipfast.datasets.fabricworld.noise import Field, fraction, ramp

__all__ = ["carpet", "chiffon", "lace", "mesh", "quilted", "satin", "velvet"]


def satin(loom: Loom) -> Cloth:
    """Smooth folds with narrow highlights."""
    folds = 1.2 * loom.noise(loom.length(60, 120)) + 0.6 * loom.noise(loom.length(30, 60), loom.length(90, 200))
    gloss = np.sin(1.6 * (folds + loom.x / loom.length(60, 160))) ** 2
    return Cloth((0.62 + 0.5 * gloss) * (1 + 0.015 * loom.noise(1.5, 20)), second=np.minimum(0.5 * gloss**4, 0.6))


def velvet(loom: Loom) -> Cloth:
    """Deep pile, pressed light in some places and dark in others."""
    pressed = 0.33 * np.tanh(1.3 * loom.noise(loom.length(40, 90))) + 0.16 * loom.noise(loom.length(18, 30))
    return Cloth((0.62 + pressed) * (1 + 0.07 * loom.noise(1.6)))


def chiffon(loom: Loom) -> Cloth:
    """Thin veil with faint folds."""
    folds = loom.noise(loom.length(60, 110)) + loom.x / loom.length(40, 90)
    shade = (0.92 + 0.1 * np.sin(2.2 * folds)) * loom.sheen(2.2, 3.2, 0.05)
    return Cloth(shade, second=0.42 + 0.14 * np.sin(1.7 * folds + 1))


def carpet(loom: Loom) -> Cloth:
    """Tufts of pile."""
    return Cloth(np.clip(0.72 + 0.26 * loom.noise(loom.length(4, 7)) + 0.12 * loom.noise(2), 0.15, 1.4))


def quilted(loom: Loom) -> Cloth:
    """Padded diamonds between stitched lines."""
    period = loom.length(30, 66)
    u, v = fraction((loom.x + loom.y) / period) - 0.5, fraction((loom.x - loom.y) / period) - 0.5
    seam = np.minimum(0.5 - np.abs(u), 0.5 - np.abs(v))  # distance to the nearest line
    padding = (0.5 + 0.6 * np.sqrt(2 * seam)) * (1 + 0.03 * loom.noise(2))
    stitches = (seam < 0.025) & (fraction(loom.x / 4) < 0.6)
    return Cloth(np.where(stitches, 1.15, padding) + 0.12 * (u + v))


def mesh(loom: Loom) -> Cloth:
    """Round holes, packed like a honeycomb."""
    period = loom.length(9, 22)
    rise = 0.866  # height of an equilateral triangle: neighbouring holes are equally far apart
    v = loom.y / (rise * period)
    u = fraction(loom.x / period + 0.5 * (np.floor(v) % 2)) - 0.5
    from_centre = np.hypot(u, rise * (fraction(v) - 0.5))
    radius = loom.rng.uniform(0.27, 0.36)
    holes = 1 - ramp(from_centre, radius - 0.05, radius + 0.05)
    return Cloth(0.75 + 0.45 * ramp(from_centre, radius, 0.56), holes=holes)


def lace(loom: Loom) -> Cloth:
    """Six-petalled flowers on a fine net."""
    period = loom.length(22, 48)
    u, v = fraction(loom.x / period) - 0.5, fraction(loom.y / period) - 0.5
    from_centre = np.hypot(u, v)
    flower = (from_centre < 0.28 + 0.1 * np.cos(6 * np.arctan2(v, u))) & (from_centre > 0.07)
    pitch = 1.4 * loom.length(4, 6.5)
    net = _near_line((loom.x + loom.y) / pitch) | _near_line((loom.x - loom.y) / pitch)
    yarn = flower | net | (np.abs(from_centre - 0.46) < 0.04)
    return Cloth(1 + 0.08 * loom.noise(2), holes=loom.soften(~yarn, 0.7))


def _near_line(x: Field) -> Truth:
    near: Truth = np.abs(fraction(x) - 0.5) > 0.33
    return near
