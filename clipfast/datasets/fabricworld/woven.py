"""Fabrics that are recognised by how their threads cross."""

from __future__ import annotations

import numpy as np

from clipfast.datasets.fabricworld.cloth import Cloth, Loom, interlace
from clipfast.datasets.fabricworld.noise import fraction

__all__ = ["burlap", "canvas", "corduroy", "denim", "knit", "linen", "plain_weave", "tweed", "twill"]


def plain_weave(loom: Loom) -> Cloth:
    """One over, one under."""
    u, v = loom.threads(3.5, 8)
    return Cloth(interlace(u, v, (np.floor(u) + np.floor(v)) % 2 < 1, 0.6))


def canvas(loom: Loom) -> Cloth:
    """Two over, two under in both directions, coarse yarn."""
    u, v = loom.threads(4, 8)
    shade = interlace(u, v, (np.floor(u / 2) + np.floor(v / 2)) % 2 < 1, 0.5)
    return Cloth(shade * (1 + 0.05 * loom.noise(3)))


def twill(loom: Loom) -> Cloth:
    """Two over, two under, one further each row: diagonal ribs."""
    u, v = loom.threads(3, 6)
    shade = interlace(u, v, (np.floor(u) - np.floor(v)) % 4 < 2, 0.3)
    return Cloth(shade * (0.78 + 0.3 * np.sin(np.pi * fraction((u - v) / 4))))


def denim(loom: Loom) -> Cloth:
    """Steep twill of dyed warp and pale weft, unevenly faded."""
    u, v = loom.threads(2.5, 5)
    step = (np.floor(u) - np.floor(v)) % 3
    weft = (step < 1) * loom.rng.uniform(0.7, 1) * (1 + 0.3 * loom.noise(2))
    pale = 0.55 * weft + 0.12 * loom.noise(2.5, 30) + 0.1 * loom.noise(40)
    return Cloth(interlace(u, v, step > 0, 0.35), second=np.clip(pale, 0, 0.8))


def linen(loom: Loom) -> Cloth:
    """Plain weave of slubby yarn: threads wander and change in thickness."""
    width = loom.length(3.5, 7)
    u = loom.x / width + 0.25 * loom.noise(2 * width, 200)
    v = loom.y / width + 0.25 * loom.noise(200, 2 * width)
    shade = interlace(u, v, (np.floor(u) + np.floor(v)) % 2 < 1, 0.45)
    shade = shade * (1 + 0.13 * loom.noise(40, 2.5) + 0.13 * loom.noise(2.5, 40) + 0.05 * loom.noise(2))
    return Cloth(shade, second=0.12 + 0.1 * loom.noise(30, 3))


def burlap(loom: Loom) -> Cloth:
    """Very coarse, loose plain weave with gaps between the yarns."""
    width = loom.length(8, 15)
    u = loom.x / width + 0.18 * loom.noise(1.5 * width, 90)
    v = loom.y / width + 0.18 * loom.noise(90, 1.5 * width)
    shade = interlace(u, v, (np.floor(u) + np.floor(v)) % 2 < 1, 0.5) * (1 + 0.14 * loom.noise(2.2))
    gaps = (np.abs(fraction(u) - 0.5) > 0.36) & (np.abs(fraction(v) - 0.5) > 0.36)
    return Cloth(shade, holes=0.9 * loom.soften(gaps, 0.8))


def tweed(loom: Loom) -> Cloth:
    """Rough twill whose slant turns every eight threads, with flecks of another yarn."""
    u, v = loom.threads(4, 7)
    slant = np.where(np.floor(u / 8) % 2 < 1, 1, -1)
    on_top = (np.floor(u) - np.floor(v) * slant) % 4 < 2
    flecks = loom.noise(2) > 0.9
    return Cloth(interlace(u, v, on_top, 0.3) * (1 + 0.16 * loom.noise(2.2)), second=0.3 * on_top + 0.7 * flecks)


def corduroy(loom: Loom) -> Cloth:
    """Raised ribs of cut pile along the warp."""
    rib = np.sin(np.pi * fraction(loom.x / loom.length(9, 26)))
    return Cloth((0.35 + 0.7 * rib**0.8) * (1 + 0.09 * loom.noise(2, 4)))


def knit(loom: Loom) -> Cloth:
    """Columns of V-shaped stitches."""
    width = loom.length(10, 24)
    side = np.abs(2 * fraction(loom.x / width) - 1)
    row = np.sin(np.pi * fraction((loom.y - 0.6 * width * side) / (0.75 * width)))
    leg = np.sqrt(np.abs(np.sin(np.pi * side)))
    return Cloth((0.4 + 0.65 * row * (0.45 + 0.55 * leg)) * (1 + 0.06 * loom.noise(2)))
