"""A stand-in for a model that sees colours only, and patches whose fabrics differ by colour."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np
from PIL import Image

from clipfast.runtime.images import load_image
from clipfast.types import Floats, Images

COLOURS = {"cotton": (190, 60, 60), "linen": (60, 180, 60), "silk_satin": (60, 60, 190)}


class ColourClip:
    """The mean colour as a unit row."""

    name, threads, embed_dim = "colour", 1, 3

    def __init__(self, precision: str = "fp32") -> None:
        self.precision = precision

    @classmethod
    def load(cls, model: str | None, **options: Any) -> Self:
        return cls(options.get("precision", "fp32"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def fingerprint(self, output: str = "embedding") -> str:
        return "a" * 64

    def encode_images(self, images: Images) -> Floats:
        listed: list[Any] = images if isinstance(images, list) else [images]
        pixels = (np.asarray(load_image(image).convert("RGB"), float) for image in listed)
        rows = np.stack([each.mean(axis=(0, 1)) for each in pixels]) - 100
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def draw(path: Path, fabric: str, seed: int, *, noise: float = 30, size: int = 224) -> None:
    """Save a patch near its fabric's colour, with a coarse pattern of its own."""
    rng = np.random.default_rng([seed, len(fabric)])
    cells = np.array(COLOURS[fabric]) + rng.normal(0, noise, 3) + rng.normal(0, 30, (6, 6, 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(cells, 0, 255).astype(np.uint8)).resize((size, size)).save(path)
