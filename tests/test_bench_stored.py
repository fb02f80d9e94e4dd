"""Races are kept only from a quiet machine, row by row, with peers at their best and everybody's CPU time counted."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
MACHINE = {"cpu": "x", "cores": 2, "versions": {}, "kernels": ""}


@pytest.fixture(scope="module")
def benchmarks() -> Iterator[SimpleNamespace]:
    """The modules, which are no part of the package."""
    sys.path.insert(0, str(ROOT))
    try:
        yield SimpleNamespace(
            **{
                name: importlib.import_module(f"benchmarks.{name}")
                for name in ("blas", "history", "race", "render", "stored")
            }
        )
    finally:
        sys.path.remove(str(ROOT))


def _result(milliseconds: float, others: float) -> dict[str, Any]:
    return {"contenders": {"clipfast": {"rounds_ms": [milliseconds]}}, "ratios": {}, "others": others}


def test_a_row_measured_beside_others_leaves_the_one_before(
    benchmarks: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Once, such a row vanished from the whole file, and documents went on to claim it."""
    path, log = tmp_path / "some.json", tmp_path / "history.jsonl"
    path.write_text(json.dumps({"machine": {}, "cases": {}, "beside": 7}))
    assert benchmarks.stored.store(path, "a", _result(1.0, 0.01), MACHINE, log)
    assert benchmarks.stored.store(path, "b", _result(2.0, 0.01), MACHINE, log)
    assert not benchmarks.stored.store(path, "a", _result(9.0, 0.06), MACHINE, log)
    found = json.loads(path.read_text())

    assert "NOT SAVED: others took 6%" in capsys.readouterr().out
    assert [found["cases"][name]["contenders"]["clipfast"]["rounds_ms"] for name in "ab"] == [[1.0], [2.0]]
    assert (found["beside"], found["machine"]) == (7, MACHINE)
    assert {name: len(runs) for name, runs in benchmarks.history.read(log).items()} == {"a": 1, "b": 1}


def test_a_busy_machine_is_not_measured(benchmarks: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The race is not even begun."""
    monkeypatch.setattr(benchmarks.stored, "wait_until_quiet", lambda **_: False)
    case = benchmarks.race.Case("a", {"clipfast": pytest.fail}, lambda _: {})

    with pytest.raises(SystemExit, match="stayed busy for 3 s; a was not measured"):
        benchmarks.stored.run(case, patience=3.0)


def test_processes_that_a_contender_starts_count(benchmarks: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fresh process took 400 ms and, by the parent's clock, 1 ms of CPU."""
    monkeypatch.setattr(benchmarks.race, "_PAUSE", 0.0)
    work = [sys.executable, "-S", "-c", "import time\nwhile time.process_time() < .15: pass"]
    case = benchmarks.race.Case("a", {"clipfast": lambda: subprocess.run(work, check=True)}, lambda _: {}, rounds=1)

    assert benchmarks.race.race(case)["contenders"]["clipfast"]["cpu_ms"] > 140


@pytest.mark.parametrize(
    ("vendor", "flags", "before", "after"),
    [
        ("AuthenticAMD", "avx512f avx512dq avx512bw avx512vl", "Haswell", "SkylakeX"),
        ("AuthenticAMD", "avx2", "Haswell", "Haswell"),
        ("GenuineIntel", "avx512f avx512dq avx512bw avx512vl", None, None),
    ],
)
def test_openblas_takes_what_the_cpu_has(
    benchmarks: SimpleNamespace,
    vendor: str,
    flags: str,
    before: str | None,
    after: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Peers that multiply with it are raced at their best, whatever the environment forces on them."""
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    monkeypatch.setenv("OPENBLAS_L2_SIZE", "512")
    if before is not None:
        monkeypatch.setenv("OPENBLAS_CORETYPE", before)

    assert benchmarks.blas.choose_kernels(f"vendor_id : {vendor}\nflags : {flags}\n") == after


def test_own_figures_of_a_busy_moment_leave_those_before(benchmarks: SimpleNamespace) -> None:
    """The README's own table, from a run of pytest-benchmark."""
    stats = {"min": 1.0, "median": 2.0, "data": [1.0, 2.0, 3.0], "rounds": 3}
    raw = {
        "machine_info": {"machine": "x", "python_version": "3"},
        "benchmarks": [
            {"name": name, "stats": stats, "extra_info": {"others": others}}
            for name, others in (("a", 0.2), ("b", 0.0))
        ],
    }
    found = benchmarks.render.keep(raw, {"benchmarks": {"a": {"median_ms": 7.0}}})["benchmarks"]

    assert (found["a"], found["b"]["median_ms"]) == ({"median_ms": 7.0}, 2000.0)
