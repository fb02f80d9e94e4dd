"""A tiny model with graphs for GPU providers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from clipfast.artifact import Artifact


@pytest.fixture(scope="session")
def half(tiny_config: Path, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """A tiny ViT with every head and preset, in fp16 for both providers."""
    from clipfast.export.options import PRESET_NAMES, ExportOptions
    from clipfast.export.pipeline import export

    options = ExportOptions(str(tiny_config), presets=PRESET_NAMES, class_attention=True, precisions=("fp32", "fp16"))
    return export(options, tmp_path_factory.mktemp("half") / "tiny")
