"""A bank, labelled patches and voices of four fabrics that differ by colour."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clipfast.retrieval import BankModel, FabricBank, References
from clipfast.retrieval.fusion import Voices
from clipfast.retrieval.recommend import Recommendation
from clipfast.retrieval.rules import load_rules
from reference import colour_clip
from reference.colour_clip import ColourClip

__all__ = ["BASE", "COLOURS", "ColourClip", "colour_bank", "colour_voices", "labelled_folder", "patch", "scores"]


COLOURS = colour_clip.COLOURS | {"sku_77": (150, 150, 40)}


def patch(fabric: str, seed: int, *, noise: float = 55.0) -> Image.Image:
    """Draw a patch near its fabric's colour, with a coarse pattern of its own, so that patches are no near copies."""
    rng = np.random.default_rng([seed, len(fabric)])
    colour = np.array(COLOURS[fabric]) + rng.normal(0, noise, 3)
    cells = colour + rng.normal(0, 30, (6, 6, 1))
    return Image.fromarray(np.clip(cells, 0, 255).astype(np.uint8)).resize((64, 64), Image.Resampling.BICUBIC)


def colour_bank() -> FabricBank:
    """Three references of each of four fabrics; one of them has no rule."""
    clip = ColourClip()
    names = [name for name in COLOURS for _ in range(3)]
    rows = clip.encode_images([patch(name, at, noise=15) for at, name in enumerate(names)])
    paths = [f"{name}/{at}.png" for at, name in enumerate(names)]
    references = References(rows, names, paths, [f"{at:064x}" for at in range(len(names))])
    return FabricBank(references, BankModel.of(clip), clip=clip)


def labelled_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve labelled patches of each fabric."""
    root = tmp_path_factory.mktemp("labelled") / "labeled"
    for at, name in enumerate(COLOURS):
        (root / name).mkdir(parents=True)
        for number in range(12):
            patch(name, 100 + 20 * at + number).save(root / name / f"patch_{number:03}.png")
    return root


def colour_voices(bank: FabricBank) -> Voices:
    """Bank and the fine rules."""
    return Voices(bank, rules=load_rules("fine"))


BASE = [
    Recommendation("linen", 0.9, "亚麻布 Linen", "透气"),
    Recommendation("velvet", 0.8, "丝绒 Velvet", ""),
    Recommendation("cotton", 0.5, "棉布 Cotton", "日常"),
]


def scores(results: list[Recommendation]) -> dict[str, float]:
    """Return scores by name."""
    return {result.name: result.score for result in results}
