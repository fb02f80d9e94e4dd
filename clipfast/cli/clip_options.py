"""`--model --provider --precision --threads`: said once, taken by every command."""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clipfast.cli.error_messages import LogLines
from clipfast.cli.option_groups import Decorator, takes

if TYPE_CHECKING:
    from clipfast.runtime.clip import Clip

__all__ = ["ClipOptions", "takes_clip_options"]

_OPTIONS: dict[str, tuple[Any, Any]] = {  # name: (annotation, default)
    "model": (
        Annotated[
            str | None,
            typer.Option(
                "--model", help="Artifact folder, mini or mini-contrastive; CLIPFAST_MODEL or mini if left out."
            ),
        ],
        None,
    ),
    "provider": (
        Annotated[
            str | None,
            typer.Option(
                "--provider",
                help="cpu, openvino, cuda, tensorrt; default cpu, but openvino for bf16, and for int8 where installed.",
            ),
        ],
        None,
    ),
    "precision": (
        Annotated[str, typer.Option("--precision", help="Precision: fp32, int8, bf16 (openvino), fp16 (GPUs).")],
        "fp32",
    ),
    "threads": (
        Annotated[int | None, typer.Option("--threads", min=1, help="Threads; default: the cores allowed.")],
        None,
    ),
}


@dataclass(frozen=True, slots=True)
class ClipOptions:
    """Which model runs, and how.

    Attributes:
        model: Artifact folder or embedded name; None is `CLIPFAST_MODEL`, else the embedded demo model.
        provider: Where the graphs run; None is the choice by precision of `Clip.load`.
        precision: Of the graphs.
        threads: Of one forward; None is as many as the process may use.
    """

    model: str | None = None
    provider: str | None = None
    precision: str = "fp32"
    threads: int | None = None

    def load(self) -> Clip:
        """Open the model; without a name it is the embedded demo model, said in one line on standard error."""
        from clipfast.runtime.clip import Clip

        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(LogLines("%(message)s"))
        logging.basicConfig(level=logging.WARNING, handlers=[handler])
        return Clip.load(self.model, provider=self.provider, precision=self.precision, threads=self.threads)


def takes_clip_options(*, without: tuple[str, ...] = ()) -> Decorator:
    """Give a command the shared options, and hand them over as its argument `clip_options`.

    Args:
        without: Options that this command has in a form of its own, such as a model that must be named.
    """
    return takes("clip_options", ClipOptions, {name: o for name, o in _OPTIONS.items() if name not in without})
