"""The owner's project folder, with a stand-in for the model."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from reference.fabric_commands import draw_layout, stand_in


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """References and labelled patches of three fabrics, drawn once."""
    root = tmp_path_factory.mktemp("drawn") / "data"
    draw_layout(root)
    return root


@pytest.fixture
def layout(drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in the owner's project folder."""
    shutil.copytree(drawn, tmp_path / "data")
    stand_in(monkeypatch, tmp_path)
    return tmp_path
