"""`--not-a-copy FILE`: photographs that are taken for copies of evaluation pictures and are none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clipfast.cli.console import out
from clipfast.cli.messages import Speaker

if TYPE_CHECKING:
    from clipfast.retrieval.declared import Declared

__all__ = ["NotACopyOption", "PhotosOption", "names_of", "show_declared"]

NotACopyOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--not-a-copy",
        help="This file is another photograph than the evaluation picture that it looks like; may be repeated. It is "
        "written down. Equal files and equal pixels stay refused.",
    ),
]
PhotosOption = Annotated[
    Path,
    typer.Option(
        "--photos",
        help="Where the bank's photos lie: those that are there are compared with the set by pixels.",
    ),
]


def names_of(files: Sequence[Path] | None) -> tuple[str, ...]:
    """Return the files as names, `fabric/file`."""
    return tuple(file.as_posix() for file in files or ())


def show_declared(say: Speaker, declared: Sequence[Declared]) -> None:
    """Write one line for every photograph that was declared to be no copy."""
    for each in declared:
        out.print(say("declared", path=each.path, image=each.image), style="yellow")
