"""Options about labels: `--labels` and `--who`, said once for every command that takes them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from clipfast.cli.option_groups import Decorator, takes
from clipfast.retrieval.labelled import LABELLED_FOLDER

__all__ = ["LabelOptions", "LabelsOption", "takes_label_options"]

LabelsOption = Annotated[Path, typer.Option("--labels", help="Folder of labels: <fabric_id>/<patch>.")]
_OPTIONS: dict[str, tuple[Any, Any]] = {  # name: (annotation, default)
    "labels": (LabelsOption, LABELLED_FOLDER),
    "who": (
        Annotated[str | None, typer.Option("--who", help="Who says so; goes into journal and side-car.")],
        None,
    ),
}


@dataclass(frozen=True, slots=True)
class LabelOptions:
    """Which folder of labels is meant, and who changes it.

    Attributes:
        labels: The folder.
        who: A person's name.
    """

    labels: Path = LABELLED_FOLDER
    who: str | None = None


def takes_label_options(*, without: tuple[str, ...] = ()) -> Decorator:
    """Give a command the options, and hand them over as its argument `given`.

    Args:
        without: Options that the command does not have, such as `who` where nothing is changed.
    """
    return takes("given", LabelOptions, {name: o for name, o in _OPTIONS.items() if name not in without})
