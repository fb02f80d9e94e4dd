"""The console of every command: what a pipe, a file and a narrow terminal get of a table."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from rich.table import Table

import clipfast
from clipfast.cli.console import WholeTables, out

FIGURE = "0.123 [0.100, 0.200]"


def _printed(*, terminal: bool) -> str:
    table = Table(title="wide")
    for at in range(8):
        table.add_column(f"figure {at}", justify="right", no_wrap=True)
    table.add_column("remark")
    table.add_row(*[FIGURE] * 8, "words that may go on in the next line " * 4)
    held = io.StringIO()
    console = WholeTables(file=held, width=80, force_terminal=terminal, soft_wrap=True, markup=False, highlight=False)
    console.print("before", table)
    return re.sub(r"\x1b\[[0-9;]*m", "", held.getvalue())


@pytest.mark.parametrize("terminal", [False, True])
def test_no_figure_is_cut(terminal: bool) -> None:
    """Eight intervals in 80 columns, piped and on a terminal."""
    text = _printed(terminal=terminal)

    assert text.startswith("before")
    assert text.count(FIGURE) == 8
    assert "…" not in text


def test_words_wrap_on_a_terminal_only() -> None:
    """In a pipe a row is a line."""
    assert _printed(terminal=False).count("next line") == 4
    assert len(_printed(terminal=False).splitlines()) < 8 < len(_printed(terminal=True).splitlines())


def test_there_is_one_home_of_consoles() -> None:
    """A second console would cut its tables."""
    makers = [
        path.name
        for path in Path(clipfast.__file__).parent.rglob("*.py")
        if "rich.console" in path.read_text(encoding="utf-8")
    ]

    assert isinstance(out, WholeTables)
    assert makers == ["console.py"]
