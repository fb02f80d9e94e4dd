"""The history of races tells slower from noise."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
MACHINE = {"cpu": "x", "cores": 2, "versions": {"numpy": "2"}}


@pytest.fixture(scope="module")
def history() -> ModuleType:
    """The module, which is no part of the package."""
    sys.path.insert(0, str(ROOT))
    try:
        return importlib.import_module("benchmarks.history")
    finally:
        sys.path.remove(str(ROOT))


def _run(history: ModuleType, path: Path, rounds: list[float], machine: dict[str, Any] = MACHINE) -> None:
    result = {
        "contenders": {"clipfast": {"rounds_ms": rounds}, "peer": {"rounds_ms": [9.0]}},
        "ratios": {"peer": {"ratio": 2.0, "low": 1.9, "high": 2.1}},
    }
    history.append("case", result, machine, path)


@pytest.mark.parametrize(
    ("rounds", "word"),
    [
        ([10.5, 11.0, 12.0], "as before"),  # the median is slower, but the rounds overlap
        ([13.0, 13.1, 13.2], "as before"),  # slower than all, by less than the limit
        ([13.3, 13.4, 20.0], "slower"),
        ([8.0, 8.5, 9.0], "faster"),
        ([8.0, 8.5, 9.2], "as before"),  # faster than all, by less than the limit
    ],
)
def test_a_run_is_held_against_the_one_before(
    history: ModuleType, rounds: list[float], word: str, tmp_path: Path
) -> None:
    """By extremes: 10 to 12 ms before, limit 1.1."""
    path = tmp_path / "history.jsonl"
    _run(history, path, [1.0])
    _run(history, path, [10.0, 11.0, 12.0])
    _run(history, path, rounds)
    verdict = history.compare(history.read(path)["case"], limit=1.1)

    assert verdict.word == word
    assert verdict.old_ms == 12.0
    assert verdict.ratio == sorted(rounds)[1] / 11.0


def test_other_machines_are_not_compared(history: ModuleType, tmp_path: Path) -> None:
    """Half as many cores are no regression; peers are not judged."""
    path = tmp_path / "history.jsonl"
    _run(history, path, [1.0], {**MACHINE, "cores": 4})
    _run(history, path, [10.0])

    assert history.compare(history.read(path)["case"], limit=1.1).word == "first"
    assert history.read(tmp_path / "none.jsonl") == {}


@pytest.fixture(scope="module")
def headlines() -> ModuleType:
    """What the README compares."""
    sys.path.insert(0, str(ROOT))
    try:
        return importlib.import_module("benchmarks.headlines")
    finally:
        sys.path.remove(str(ROOT))


def test_the_best_peer_counts_and_a_miss_is_said(headlines: ModuleType, tmp_path: Path) -> None:
    """Of several settings of a peer the fastest is shown; an interval below the goal is a miss."""
    line = next(line for line in headlines.LINES if len(line[2]) > 1)
    ratios = {
        name: {"ratio": 3.0 - at, "low": 2.9 - at, "high": 3.1 - at, "must": 2.5} for at, name in enumerate(line[2][:2])
    }
    times = {name: {"median_ms": ms} for name, ms in zip(("clipfast", *line[2]), (10.0, 30.0, 20.0), strict=False)}
    (tmp_path / f"{line[0]}.json").write_text(json.dumps({"cases": {line[1]: {"contenders": times, "ratios": ratios}}}))

    (found,) = [one for one in headlines.headlines(tmp_path) if one.peer == line[4]]

    assert (found.ours_ms, found.peer_ms, found.ratio) == (10.0, 20.0, 2.0)
    assert "2.5, missed" in headlines.table([found])
    assert "<svg" in headlines.plot([found])


def test_the_readme_compares_with_what_is_stored(headlines: ModuleType) -> None:
    """Table and plot are what the script makes of the stored races."""
    found = headlines.headlines()

    assert headlines.table(found) in (ROOT / "README.md").read_text(encoding="utf-8")
    assert headlines.plot(found) == (ROOT / "docs" / "performance.svg").read_text(encoding="utf-8")
