"""Races whose figures are kept: on a quiet machine, row by row, with all that they were measured on.

A row that was measured beside others is not kept, and the row of the run before stays where it was.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks import history
from benchmarks.quiet import LIMIT, Watch, others_share, wait_until_quiet
from benchmarks.race import Case, race

__all__ = ["read", "run", "store"]


def run(case: Case, *, rounds: int | None = None, patience: float | None = 600.0) -> dict[str, Any]:
    """Wait until others leave the machine alone, then race; `others` is the share of the cores' time they took.

    Args:
        case: What is raced.
        rounds: Instead of the case's own.
        patience: Seconds to wait, after which the program ends; None races whatever the load.
    """
    if patience is not None and not wait_until_quiet(seconds=5.0, patience=patience):
        sys.exit(f"The machine stayed busy for {patience:.0f} s; {case.name} was not measured.")
    watch = Watch.now()
    result = race(case, rounds=rounds)
    result["others"] = others_share(watch)
    return result


def read(path: Path) -> dict[str, Any]:
    """Return what is stored: "machine", "cases" by name, and whatever else a suite keeps beside them."""
    stored: dict[str, Any] = {"machine": {}, "cases": {}}
    if path.is_file():
        stored |= json.loads(path.read_text(encoding="utf-8"))
    return stored


def store(path: Path, name: str, result: dict[str, Any], machine: dict[str, Any], log: Path = history.HISTORY) -> bool:
    """Keep a row, and append it to the history; say so and keep the older one if others took too much of the time."""
    if result["others"] > LIMIT:
        sys.stdout.write(f"NOT SAVED: others took {result['others']:.0%} of the cores' time.\n")
        return False
    stored = read(path)
    stored["machine"] = machine
    stored["cases"][name] = result
    history.append(name, result, machine, log)
    path.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
    return True
