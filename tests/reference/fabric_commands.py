"""Runs the commands of the fabric workflow in this process, in the owner's layout, with a stand-in for the model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from clipfast.cli.commands import app
from clipfast.errors import ClipfastError
from reference.colour_clip import COLOURS, ColourClip, draw


@dataclass(frozen=True)
class Commands:
    """Calls `clipfast`, with words that stand before all others."""

    before: tuple[str, ...] = ()
    columns: int = 160

    def invoke(self, *arguments: str) -> Result:
        """Run a command."""
        return CliRunner().invoke(app, [*self.before, *arguments], env={"COLUMNS": str(self.columns)})

    def run(self, *arguments: str) -> str:
        """Run a command that must succeed; returns standard output."""
        result = self.invoke(*arguments)
        assert result.exit_code == 0, (result.output, result.exception)
        return result.stdout

    def run_json(self, *arguments: str) -> Any:
        """Run a command with --json; standard output must be one JSON object."""
        return json.loads(self.run(*arguments, "--json"))

    def failure(self, *arguments: str) -> str:
        """Run a command that must fail with one of our errors; returns its sentence."""
        result = self.invoke(*arguments)
        assert isinstance(result.exception, ClipfastError), (result.output, result.exception)
        return str(result.exception)


def draw_layout(data: Path) -> None:
    """Draw three references and twelve labelled patches of each of three fabrics."""
    for at, fabric in enumerate(COLOURS):
        for number in range(3):
            draw(data / "fabrics" / fabric / f"ref_{number:02}.png", fabric, 900 + number, noise=9)
        for number in range(12):
            draw(data / "patches/labeled" / fabric / f"patch_{number:03}.png", fabric, 20 * at + number)


def stand_in(patch: pytest.MonkeyPatch, root: Path) -> None:
    """Work in a folder, with the stand-in and no settings of the user's."""
    patch.setattr("clipfast.runtime.clip.Clip", ColourClip)
    for name in ("CLIPFAST_BANK", "CLIPFAST_FUSION", "CLIPFAST_MODELS"):
        patch.delenv(name, raising=False)
    patch.chdir(root)
