"""Fabrics that differ by colour, for tests of fusion and of evaluation."""

from __future__ import annotations

from pathlib import Path

import pytest

from clipfast.retrieval import FabricBank
from clipfast.retrieval.fusion import Voices
from reference.colour_voices import colour_bank, colour_voices, labelled_folder


@pytest.fixture(scope="module")
def bank() -> FabricBank:
    """Return three references of each of four fabrics; one of them has no rule."""
    return colour_bank()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return labelled patches of the fabrics."""
    return labelled_folder(tmp_path_factory)


@pytest.fixture
def voices(bank: FabricBank) -> Voices:
    """Return bank and rules."""
    return colour_voices(bank)
