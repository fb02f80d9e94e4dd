"""What earlier runs measured, and whether a new one is slower: `python -m benchmarks.history [--case TEXT]`.

Every row that a race stores is also appended to `benchmarks/results/history.jsonl`. Two runs are compared by their
extremes: a case counts as slower only if its fastest new round is slower than its slowest old round, by more than
`--limit`; single medians of the same code drift further than that. Runs on other machines are not compared. Exits with
1 if any case is slower.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

__all__ = ["HISTORY", "Verdict", "append", "compare", "read"]

HISTORY = Path(__file__).resolve().parent / "results" / "history.jsonl"
OURS = "clipfast"


@dataclass(frozen=True)
class Verdict:
    """One case, against the run before.

    Attributes:
        case: Its name.
        old_ms: Slowest round of the run before; None without one on an equal machine.
        new_ms: Fastest round of the last run.
        ratio: Median of the last run over that of the run before; None without one.
        word: What that means.
    """

    case: str
    old_ms: float | None
    new_ms: float
    ratio: float | None
    word: Literal["first", "slower", "faster", "as before"]


def append(case: str, result: dict[str, Any], machine: dict[str, Any], path: Path = HISTORY) -> None:
    """Add what one race gave: our rounds, the ratios to peers, and what it was measured on."""
    line = {
        "case": case,
        "rounds_ms": [round(ms, 4) for ms in result["contenders"][OURS]["rounds_ms"]],
        "ratios": {peer: round(ratio["ratio"], 4) for peer, ratio in result["ratios"].items()},
        "machine": {"cpu": machine["cpu"], "cores": machine["cores"]},
        "versions": machine["versions"],
    }
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line, ensure_ascii=False) + "\n")


def read(path: Path = HISTORY) -> dict[str, list[dict[str, Any]]]:
    """Return the runs of each case, oldest first."""
    runs: dict[str, list[dict[str, Any]]] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        run = json.loads(line)
        runs.setdefault(run["case"], []).append(run)
    return runs


def compare(runs: list[dict[str, Any]], *, limit: float) -> Verdict:
    """Hold the last run of a case against the one before it on an equal machine.

    Args:
        runs: Oldest first, at least one.
        limit: How many times slower than the slowest old round the fastest new one must be to count.
    """
    last = runs[-1]
    new = min(last["rounds_ms"])
    before = [run for run in runs[:-1] if run["machine"] == last["machine"]]
    if not before:
        return Verdict(last["case"], None, new, None, "first")
    old = before[-1]["rounds_ms"]
    ratio = _median(last["rounds_ms"]) / _median(old)
    if new > limit * max(old):
        return Verdict(last["case"], max(old), new, ratio, "slower")
    faster = max(last["rounds_ms"]) * limit < min(old)
    return Verdict(last["case"], max(old), new, ratio, "faster" if faster else "as before")


def _median(values: list[float]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def main() -> None:
    """Print one line a case."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.history", description="Is anything slower than before?")
    parser.add_argument("--case", default="", help="only cases whose name holds this text")
    parser.add_argument("--limit", type=float, default=1.1, help="times slower than the slowest old round")
    chosen = parser.parse_args()
    verdicts = [compare(runs, limit=chosen.limit) for case, runs in read().items() if chosen.case in case]
    for verdict in verdicts:
        change = "" if verdict.ratio is None else f", median x {verdict.ratio:.3f}"
        sys.stdout.write(f"{verdict.word:9} {verdict.new_ms:10.3f} ms at best{change}  {verdict.case}\n")
    sys.exit(any(verdict.word == "slower" for verdict in verdicts))


if __name__ == "__main__":
    main()
