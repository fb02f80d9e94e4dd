"""`--model --provider --precision --threads`: said once, taken by every command."""

from __future__ import annotations

import functools
import inspect
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from inspect import Parameter
from typing import TYPE_CHECKING, Annotated, Any

import typer

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
        Annotated[str, typer.Option("--provider", help="Execution provider: cpu, openvino, cuda, tensorrt.")],
        "cpu",
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
_SUBJECT = "clip_options"


@dataclass(frozen=True, slots=True)
class ClipOptions:
    """Which model runs, and how.

    Attributes:
        model: Artifact folder or embedded name; None is `CLIPFAST_MODEL`, else the embedded demo model.
        provider: Where the graphs run.
        precision: Of the graphs.
        threads: Of one forward; None is as many as the process may use.
    """

    model: str | None = None
    provider: str = "cpu"
    precision: str = "fp32"
    threads: int | None = None

    def load(self) -> Clip:
        """Open the model; without a name it is the embedded demo model, said in one line on standard error."""
        from clipfast.runtime.clip import Clip

        logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
        return Clip.load(self.model, provider=self.provider, precision=self.precision, threads=self.threads)


def takes_clip_options(*, without: tuple[str, ...] = ()) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the shared options, and hand them over as its argument `clip_options`.

    Args:
        without: Options that this command has in a form of its own, such as a model that must be named.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(command, eval_str=True)
        own = [p for p in signature.parameters.values() if p.name != _SUBJECT]
        shared = [
            Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
            for name, (annotation, default) in _OPTIONS.items()
            if name not in without
        ]

        @functools.wraps(command)
        def run(**arguments: Any) -> None:
            options = ClipOptions(**{p.name: arguments.pop(p.name) for p in shared})
            command(**arguments, **{_SUBJECT: options})

        parameters = [*(p.replace(kind=Parameter.KEYWORD_ONLY) for p in own), *shared]
        parameters.sort(key=lambda p: p.name == "json")  # last in every help page
        run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]  # inspect reads it
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        return run

    return decorate
