"""What every command shares: options, where output goes, progress, and the last sentence of a failure.

Results go to standard output; notes, progress and errors to standard error, so that `--json` leaves exactly one JSON
object on standard output.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console, ConsoleOptions, RenderResult
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from clipfast.errors import ClipfastError, MissingExtraError

_WIDEST = 10_000  # characters that a table is measured in


@dataclass(frozen=True, slots=True, eq=False)
class _WholeTable:
    """A table with as much room as it needs."""

    table: Table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        room = options.update(max_width=_WIDEST)
        for column in self.table.columns:
            if column.no_wrap:
                cells = (console.measure(cell, options=room) for cell in (column.header, *column.cells))
                column.min_width = max(cell.maximum for cell in cells)
        size = console.measure(self.table, options=room)
        needed = size.minimum if console.is_terminal else size.maximum
        yield from console.render(self.table, options.update(max_width=max(needed, options.max_width)))


class WholeTables(Console):
    """A console that cuts no cell of a table: half a number is another number.

    Where nobody looks (a pipe, a file), a table is as wide as it needs to be. On a terminal it is as wide as the
    terminal, or as its columns that must not wrap.
    """

    def print(self, *objects: Any, **options: Any) -> None:
        """Print, with room for every table among the objects."""
        super().print(*(_WholeTable(each) if isinstance(each, Table) else each for each in objects), **options)


out = WholeTables(highlight=False, soft_wrap=True, markup=False)
err = WholeTables(stderr=True, highlight=False, soft_wrap=True, markup=False)

JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on standard output, nothing else there.")]

EXIT_FAILED = 1
EXIT_USAGE = 2


def print_json(result: Any) -> None:
    """Write one JSON object to standard output."""
    typer.echo(msgspec.json.encode(result).decode())


def note(text: str) -> None:
    """Write a line for people to standard error."""
    err.print(text, style="dim")


def report_failure(error: ClipfastError | OSError) -> int:
    """Write the error's sentence to standard error and return the exit code."""
    if isinstance(error, OSError) and not isinstance(error, ClipfastError):
        reason = error.strerror or type(error).__name__
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        remedy = "Free some space" if full else "Check the path and its permissions"
        err.print(f"error: {error.filename or 'a file'}: {reason}. {remedy}.", style="bold red")
        return EXIT_FAILED
    err.print(f"{'错误：' if error.language == 'zh' else 'error: '}{error}", style="bold red")
    return EXIT_USAGE if isinstance(error, MissingExtraError) else EXIT_FAILED


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[[int, int], None]]:
    """Yield `progress(done, total)`, drawn on a terminal and silent elsewhere."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
