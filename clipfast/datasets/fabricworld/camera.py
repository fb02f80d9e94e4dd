"""Light and lens: two ways of taking a picture of a scene."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal, TypeAlias

import numpy as np

from clipfast.datasets.fabricworld.noise import FRAME, Field, blur, smooth_noise
from clipfast.types import Pixels

__all__ = ["CAMERAS", "Camera", "zoom_of"]

Camera: TypeAlias = Literal["plain", "varied"]


def zoom_of(rng: np.random.Generator, camera: str) -> float:
    """Draw how near the camera stands: always the same for "plain", from two thirds to one and a half for "varied"."""
    return 1.0 if camera == "plain" else float(np.exp(rng.uniform(-0.42, 0.42)))


def _plain(rng: np.random.Generator, image: Field) -> Pixels:
    """Light the scene from one side and take a slightly imperfect picture of it."""
    size = len(image)
    slope = _slope(size, *rng.uniform(-0.16, 0.16, 2))
    light = rng.uniform(0.82, 1.12) * slope
    light = light + 0.04 * smooth_noise(rng, size, 110)
    image = image * light[..., None] * rng.normal(1, 0.025, 3)
    grainy, grain, unsharp, sigma = rng.random(), rng.uniform(1, 6), rng.random(), rng.uniform(0.4, 0.9)
    if grainy < 0.5:
        image = image + grain * rng.standard_normal((size, size, 1))
    if unsharp < 0.3:
        image = blur(image, sigma)
    return np.clip(image, 0, 255).astype(np.uint8)


def _varied(rng: np.random.Generator, image: Field) -> Pixels:
    """A workshop's camera: uneven light, low contrast, blur, and a sensor that is noisier where it is bright."""
    size = len(image)
    mean = image.mean(axis=(0, 1))  # of each channel: a weaker weave, not a paler colour
    image = mean + (image - mean) * rng.uniform(0.5, 1.1)
    light = _slope(size, *rng.uniform(-0.4, 0.4, 2)) + 0.1 * smooth_noise(rng, size, 70)
    lamp = rng.uniform(-0.3, 1.3, 2) * size
    at = np.arange(size) + 0.5
    distance = ((at[None] - lamp[0]) ** 2 + (at[:, None] - lamp[1]) ** 2) / size**2
    light = (light + rng.uniform(0, 0.5) * (np.exp(-2 * distance) - 0.5)) * rng.uniform(0.75, 1.15)
    image = image * np.clip(light, 0.25, 1.6)[..., None] * rng.normal(1, 0.035, 3)
    if rng.random() < 0.5:
        image = blur(image, max(rng.uniform(0.4, 1.3) * size / FRAME, 0.3))
    noise = rng.standard_normal((size, size, 1)) + rng.uniform(0, 0.6) * rng.standard_normal((size, size, 3))
    image = image + rng.uniform(0.5, 8) * np.sqrt(0.25 + np.clip(image, 0, 255) / 170) * noise
    return np.clip(image, 0, 255).astype(np.uint8)


def _slope(size: int, across: float, down: float) -> Field:
    """Return light that grows from one side to the other, (size, size) around 1."""
    from_middle = (np.arange(size) + 0.5) / size * 2 - 1
    slope: Field = 1 + across * from_middle[None, :] + down * from_middle[:, None]
    return slope


# How a picture is taken, by the name of the camera.
CAMERAS: Mapping[str, Callable[[np.random.Generator, Field], Pixels]] = MappingProxyType(
    {"plain": _plain, "varied": _varied}
)
