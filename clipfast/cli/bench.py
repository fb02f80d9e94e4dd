"""`clipfast bench`: your own figures, stage by stage, one request at a time and several."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from clipfast.cli.clip_options import ClipOptions, takes_clip_options
from clipfast.cli.console import JsonOption, err, out, print_json, progress_bar
from clipfast.cli.stages import Latency, example_photo, measure, stages
from clipfast.errors import DataError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

_BUSY = 0.3  # load for each core, beyond which figures say more about the neighbours


@app.command()
@takes_clip_options()
def bench(
    *,
    image: Annotated[Path | None, typer.Option(help="A photo of yours; default: a rendered one.")] = None,
    size: Annotated[str, typer.Option(help="Width x height of the rendered photo.")] = "1920x1080",
    clients: Annotated[str, typer.Option(help="How many call at a time, such as 1,4.")] = "1,4",
    rounds: Annotated[int, typer.Option(min=5, help="Timed calls of each stage.")] = 50,
    clip_options: ClipOptions,
    json: JsonOption = False,
) -> None:
    """Measure every stage of a query on this machine."""
    from clipfast.cli.info import system_facts

    numbers = _numbers(clients, "--clients", ",")
    photo = image.read_bytes() if image is not None else example_photo(_size(size))
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    clip = clip_options.load()
    clip.warm_up()
    todo = list(stages(clip, photo))
    found: list[Latency] = []
    with progress_bar("Measuring") as progress:
        for done, (stage, number) in enumerate((stage, number) for stage in todo for number in numbers):
            progress(done, len(todo) * len(numbers))
            found.append(measure(stage, clients=number, rounds=rounds))
    facts = system_facts()
    busy = load > _BUSY * facts["cores"]
    if json:
        print_json(
            {
                "model": clip.name,
                "provider": clip.provider,
                "precision": clip.precision,
                "threads": clip.threads,
                "photo": {"source": image.as_posix() if image else f"rendered, {size}", "bytes": len(photo)},
                "load_before": load,
                "busy": busy,
                "stages": found,
                "system": facts,
            }
        )
    else:
        title = f"{clip.name}, {clip.provider}, {clip.precision}, {clip.threads} threads"
        _show(found, f"{title}; photo: {image or 'rendered, ' + size}, {len(photo) / 1e3:,.0f} kB")
    if busy:
        err.print(
            f"The machine was busy before the start (load {load:.1f} on {facts['cores']} cores): "
            "these figures are too high. Measure again when it is quiet.",
            style="bold yellow",
        )


def _show(found: list[Latency], title: str) -> None:
    table = Table(title=title)
    for heading in ("stage", "clients", "min ms", "p50 ms", "p95 ms", "a second"):
        table.add_column(heading, justify="left" if heading == "stage" else "right")
    last = ""
    for row in found:
        name, last = (row.stage if row.stage != last else ""), row.stage
        table.add_row(
            name,
            str(row.clients),
            f"{row.min_ms:.2f}",
            f"{row.p50_ms:.2f}",
            f"{row.p95_ms:.2f}",
            f"{row.per_second:,.0f}",
        )
    out.print(table)


def _size(text: str) -> tuple[int, int]:
    numbers = _numbers(text, "--size", "x")
    if len(numbers) != 2 or not all(32 <= number <= 8192 for number in numbers):
        raise DataError(f"--size must be width x height, each 32 to 8192, such as 1920x1080; got {text!r}.")
    return numbers[0], numbers[1]


def _numbers(text: str, option: str, separator: str) -> list[int]:
    try:
        numbers = [int(number) for number in text.split(separator)]
    except ValueError as error:
        raise DataError(f"{option} must be numbers with {separator!r} between them; got {text!r}.") from error
    if not all(1 <= number <= 8192 for number in numbers):
        raise DataError(f"{option} must be numbers from 1 to 8192; got {text!r}.")
    return numbers
