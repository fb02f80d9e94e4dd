"""A tiny model with everything that heat maps can read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from clipfast.runtime.clip import Clip


@pytest.fixture(scope="session")
def tiny_folder(tiny_config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny ViT of 96 x 96 pixels with every preset, the sweep and the class row; for tests marked torch."""
    from clipfast.export.options import PRESET_NAMES, ExportOptions
    from clipfast.export.pipeline import export

    options = ExportOptions(
        str(tiny_config),
        image_size=96,
        presets=PRESET_NAMES,
        class_attention=True,
        heads=("embed", "dense", "tokens", "text"),
    )
    return export(options, tmp_path_factory.mktemp("maps") / "tiny").path


@pytest.fixture(scope="session")
def tiny(tiny_folder: Path) -> Iterator[Clip]:
    """It, opened."""
    from clipfast.runtime.clip import Clip

    with Clip.load(tiny_folder, threads=1) as clip:
        yield clip
