"""Every example runs as a user would run it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
NEEDS_TORCH = {"export_your_checkpoint.py", "finetune_localisation.py"}


SMALL = {
    "fabric_copies.py": ["--per-fabric", "1", "--only", "copies"],
    "fabric_week.py": ["--fabrics", "6", "--per-fabric", "24"],
    "fabric_weeks.py": ["--fabrics", "4", "--shops", "1", "--weeks", "2", "--first", "6"],
    "fabric_study.py": ["--fabrics", "4", "--years", "2", "--banks", "1", "--others", "10"],
}
"""Arguments that make an example short; the others are short as they are."""


def _parameters() -> list[object]:
    return [
        pytest.param(path, id=path.name, marks=pytest.mark.torch if path.name in NEEDS_TORCH else ())
        for path in EXAMPLES
    ]


@pytest.mark.parametrize("path", _parameters())
def test_an_example_runs(path: Path, tmp_path: Path) -> None:
    """Exit code 0, something printed, nothing left beside it."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, str(path), *SMALL.get(path.name, ())],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_the_quickstart_answers_rightly(tmp_path: Path) -> None:
    """The first answer is the fabric that was rendered."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "quickstart.py")],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.splitlines()[0].startswith("lace: 0.")


def test_the_week_ends_with_a_decision(tmp_path: Path) -> None:
    """Every phase has its line, each comparison says whether it is proven, and promotion follows the interval."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "fabric_week.py"), *SMALL["fabric_week.py"], "--out", "kept"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    steps = ("Monday: three phases", "[5] Week 1: labelled 19", "Friday of week 1: retrained")
    for words in (*steps, "+CLIP", "+head", "McNemar p = "):
        assert words in done.stdout
    judged = [line for line in done.stdout.splitlines() if line[:1] in "✓✗" and " better than " in line]
    assert len(judged) == 4
    history = (tmp_path / "kept" / "models" / "history.jsonl").read_text(encoding="utf-8").splitlines()
    assert ("✓ Promoted head-" in done.stdout) == (len(history) == 5)
    assert ("✗ Not promoted" in done.stdout) == (len(history) == 4)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (["--fabrics", "2"], "a head needs 20 labels at first; 2 fabrics with 2 each are 4"),
        (["--fabrics", "99"], "--fabrics must be 2 to"),
        (["--first", "40"], "--first must be 2 to 30"),
        (["--fabrics", "4", "--first", "6"], "4 fabrics have 120 photos that wait"),
        (["--weeks", "53"], "--weeks 1 to 52"),
    ],
)
def test_weeks_that_cannot_be_are_refused_in_a_sentence(wrong: list[str], words: str) -> None:
    """Before anything is drawn, without a traceback."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "fabric_weeks.py"), *wrong],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
