"""The table of shapes: names in English and Chinese, and outlines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from clipfast.datasets.fabricworld.noise import Field

__all__ = ["SHAPES", "Shape"]


@dataclass(frozen=True, slots=True)
class Shape:
    """A shape.

    Attributes:
        name: English name.
        zh: Chinese name.
        outline: Corners inside the unit circle, y downwards, (corners, 2).
        room: Radius of the largest circle around the centre that the shape covers whole; 0 where the centre is open.
    """

    name: str
    zh: str
    outline: Field
    room: float = 0.0


def _polar(radii: Field) -> Field:
    """Return corners at equal angles, the first straight up, then clockwise."""
    angles = np.arange(len(radii)) * 2 * np.pi / len(radii)
    return np.stack([radii * np.sin(angles), -radii * np.cos(angles)], axis=1)


def _heart() -> Field:
    angles = np.arange(72) * 2 * np.pi / 72
    across = 16 * np.sin(angles) ** 3
    up = 13 * np.cos(angles) - 5 * np.cos(2 * angles) - 2 * np.cos(3 * angles) - np.cos(4 * angles)
    return np.stack([across, -up], axis=1) / 17.1


_ARM = 0.32  # half the width of an arm of the cross
_CIRCLE = _polar(np.ones(72))
_CROSS_CORNER = np.array([(-_ARM, -1), (_ARM, -1), (_ARM, -_ARM)])
_QUARTER = np.array([(0, 1), (-1, 0)])  # turns a row of corners clockwise, y downwards
_CROSS = np.concatenate([_CROSS_CORNER @ np.linalg.matrix_power(_QUARTER, turns) for turns in range(4)])

SHAPES: Mapping[str, Shape] = MappingProxyType(
    {
        shape.name: shape
        for shape in (
            Shape("button", "纽扣", _CIRCLE, room=0.95),
            Shape("patch", "补丁", np.array([(-0.75, -0.65), (0.75, -0.65), (0.75, 0.65), (-0.75, 0.65)]), room=0.62),
            Shape("star", "星形", _polar(np.tile([1.0, 0.42], 5))),
            Shape("ring", "圆环", _CIRCLE),
            Shape("triangle", "三角形", _polar(np.ones(3)), room=0.48),
            Shape("cross", "十字形", 0.95 * _CROSS),
            Shape("heart", "心形", _heart()),
            Shape("flower", "花形", _polar(0.72 + 0.28 * np.cos(5 * np.arange(72) * 2 * np.pi / 72)), room=0.43),
        )
    }
)
