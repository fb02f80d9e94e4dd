"""Options that several commands take: declared once, handed to each command as one object."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from inspect import Parameter
from typing import Any

__all__ = ["Decorator", "takes"]

Decorator = Callable[[Callable[..., None]], Callable[..., None]]


def takes(
    subject: str,
    make: Callable[..., Any],
    options: Mapping[str, tuple[Any, Any]],
    *,
    around: Callable[[Any], AbstractContextManager[None]] = nullcontext,
) -> Decorator:
    """Give a command options, and hand them over as its argument `subject`. Decorators of this kind can be stacked.

    Args:
        subject: Name of the argument.
        make: Called with the options by name; what it returns is handed over.
        options: Annotation and default of each, by name.
        around: What the command runs in, made of what is handed over.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(command, eval_str=True)
        own = [p for p in signature.parameters.values() if p.name != subject]
        shared = [
            Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
            for name, (annotation, default) in options.items()
        ]

        @functools.wraps(command)
        def run(**arguments: Any) -> None:
            made = make(**{p.name: arguments.pop(p.name) for p in shared})
            with around(made):
                command(**arguments, **{subject: made})

        parameters = [*(p.replace(kind=Parameter.KEYWORD_ONLY) for p in own), *shared]
        parameters.sort(key=lambda p: p.name == "json")  # last in every help page
        run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]  # inspect reads it
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        return run

    return decorate
