"""Parity figures as a table for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from clipfast.artifact import Parity

__all__ = ["parity_table"]


def parity_table(name: str, rows: Sequence[Parity]) -> Table:
    """One row per graph, output and batch size."""
    table = Table(title=f"Parity of {name} with PyTorch, on unit rows")
    for heading in ("graph", "output", "batch", "max |diff|", "1 - min cosine"):
        table.add_column(heading, justify="left" if heading in {"graph", "output"} else "right")
    for row in rows:
        gap = f"{max(0.0, 1 - row.min_cosine):.1e}"
        table.add_row(row.graph, row.output, str(row.batch), f"{row.max_abs_diff:.1e}", gap)
    return table
