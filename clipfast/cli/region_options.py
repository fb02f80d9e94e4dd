"""Which part of a photo is meant: `--crop`, or `--at` with `--size`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from clipfast.cli.error_messages import wrong_usage
from clipfast.cli.option_groups import Decorator, takes
from clipfast.cli.workflow_options import numbers
from clipfast.retrieval.crops import PATCH_SIZE, Region

__all__ = ["takes_region"]

_OPTIONS: dict[str, tuple[Any, Any]] = {  # name: (annotation, default)
    "crop": (Annotated[str | None, typer.Option("--crop", help="Only this box: x1,y1,x2,y2.")], None),
    "at": (Annotated[str | None, typer.Option("--at", help="Only around this point: x,y.")], None),
    "size": (
        Annotated[int, typer.Option("--size", min=1, help="With --at: pixels along each side.")],
        PATCH_SIZE,
    ),
}


def takes_region() -> Decorator:
    """Give a command the options, and hand the part over as its argument `region`."""
    return takes("region", _region, _OPTIONS)


def _region(*, crop: str | None, at: str | None, size: int) -> Region:
    if crop is not None and at is not None:
        raise wrong_usage("--crop and --at say the same thing twice; give one of them", "crop_or_at")
    if crop is not None:
        left, top, right, bottom = numbers(crop, option="--crop", count=4, what="x1,y1,x2,y2 in pixels")
        return Region(box=(left, top, right, bottom))
    if at is not None:
        x, y = numbers(at, option="--at", count=2, what="x,y in pixels")
        return Region(coords=(x, y), size=size)
    return Region()
