"""Options that several commands of `clipfast bank` take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["BankFile", "BatchOption", "MaxPixelsOption", "OutFile"]

BankFile = Annotated[Path, typer.Option("--bank", envvar="CLIPFAST_BANK", help="The bank: a file or a folder.")]
OutFile = Annotated[
    Path,
    typer.Option("--out", envvar="CLIPFAST_BANK", help="The bank to write: a file (bank.npz) or a folder (bank/)."),
]
BatchOption = Annotated[int, typer.Option("--batch-size", min=1, help="Photos encoded together.")]
MaxPixelsOption = Annotated[int | None, typer.Option("--max-pixels", min=1, help="Refuse larger photos.")]
