"""`clipfast compare`: two result directories on the same samples."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clipfast.cli.console import JsonOption, note, out, print_json

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def compare(
    *,
    first: Annotated[Path, typer.Argument(metavar="DIR_A", help="A directory that an evaluation wrote.")],
    second: Annotated[Path, typer.Argument(metavar="DIR_B", help="Another, on the same samples.")],
    systems: Annotated[
        str | None,
        typer.Option("--systems", help="One of each, such as standard,vv_vv; default: those of equal names."),
    ] = None,
    metrics: Annotated[str | None, typer.Option("--metrics", help="Only these, such as map@0.5,pointing.")] = None,
    resamples: Annotated[int, typer.Option("--resamples", min=100, help="Of the bootstrap over samples.")] = 1000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the bootstrap.")] = 0,
    json: JsonOption = False,
) -> None:
    """Compare DIR_B with DIR_A by paired tests; directories of different samples are refused."""
    from rich.table import Table

    from clipfast.report.compare import compare_results
    from clipfast.report.results import load_result
    from clipfast.report.tables import number, with_ends

    pair = None
    if systems is not None:
        names = [name.strip() for name in systems.split(",")]
        if len(names) != 2:
            raise typer.BadParameter(f"must be two names with a comma between; got {systems!r}", param_hint="--systems")
        pair = (names[0], names[1])
    wanted = None if metrics is None else [metric.strip() for metric in metrics.split(",")]
    found = compare_results(
        load_result(first), load_result(second), systems=pair, metrics=wanted, resamples=resamples, seed=seed
    )
    if json:
        print_json(found)
        return
    table = Table(title=f"{second} less {first}: {found.kind}, {found.samples} samples")
    for heading in ("system", "metric", "first", "second", "second - first", "p", "p (Holm)"):
        table.add_column(heading, justify="left" if heading in {"system", "metric"} else "right", no_wrap=True)
    moved = [row for row in found.rows if row.first != row.second]
    for row in moved:
        table.add_row(
            row.system,
            row.metric,
            number(row.first),
            number(row.second),
            with_ends(row.difference, row.low, row.high),
            number(row.p_value),
            number(row.p_holm),
        )
    out.print(table)
    if same := len(found.rows) - len(moved):
        out.print(f"{same} figures are the same in both; --json has them too")
    for setting, one, other in found.settings:
        out.print(f"setting {setting}: {one} / {other}")
    for where, only in ((first, found.only_first), (second, found.only_second)):
        if only:
            note(f"only in {where}: {', '.join(only)}")
