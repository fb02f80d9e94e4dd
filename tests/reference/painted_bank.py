"""A stand-in for a model that sees the mean colour, and a folder of plain pictures."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from clipfast.retrieval import FabricBank, References
from clipfast.retrieval.encode import BuildReport
from clipfast.runtime.images import load_image
from clipfast.types import Floats, Images

__all__ = ["COLOURS", "ColourEncoder", "floats", "paint", "painted_folder", "references", "report_of", "unit"]


COLOURS = {"cotton": (200, 30, 30), "silk": (30, 200, 30), "羊毛": (30, 30, 200)}


class ColourEncoder:
    """Stands in for a model: the mean colour, centred, as a unit row."""

    name = "colour"

    def __init__(self, fingerprint: str = "a" * 64, precision: str = "fp32") -> None:
        self._fingerprint = fingerprint
        self.precision = precision
        self.calls: list[int] = []

    def fingerprint(self, output: str = "embedding") -> str:
        return self._fingerprint

    def encode_images(self, images: Images) -> Floats:
        listed: list[Any] = images if isinstance(images, list) else [images]
        self.calls.append(len(listed))
        means = [np.asarray(load_image(image).convert("RGB"), dtype=float).mean(axis=(0, 1)) for image in listed]
        rows = np.c_[np.array(means) - 100, np.full(len(means), 20)]
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def paint(path: Path, colour: tuple[int, int, int], shift: int = 0, side: int = 8) -> None:
    """Write a plain image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    red, green, blue = colour
    Image.new("RGB", (side, side), (red + shift, green, blue + 2 * shift)).save(path)


def painted_folder(tmp_path: Path) -> Path:
    """Three fabrics of three photos, one with a Chinese name, suffixes in several cases."""
    for fabric, colour in COLOURS.items():
        for number, suffix in enumerate((".png", ".PNG", ".bmp")):
            paint(tmp_path / "fabrics" / fabric / f"ref_{number}{suffix}", colour, 6 * number)
    return tmp_path / "fabrics"


def report_of(bank: FabricBank) -> BuildReport:
    """Return the report that a build leaves."""
    assert bank.report is not None
    return bank.report


def unit(rows: Any) -> Floats:
    """Normalise rows."""
    array = np.asarray(rows, dtype=np.float64)
    return np.asarray(array / np.linalg.norm(array, axis=-1, keepdims=True), dtype=np.float32)


def floats(rows: Any) -> Floats:
    """Return rows as float32."""
    return np.array(rows, dtype=np.float32)


def references(fabrics: list[str], rows: Floats) -> References:
    """Return references with made-up paths."""
    return References(rows, fabrics, [f"{f}/{i:03}.jpg" for i, f in enumerate(fabrics)], ["0" * 64] * len(fabrics))
