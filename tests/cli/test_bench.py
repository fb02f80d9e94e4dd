"""`clipfast bench`: every stage is called, timed and named; figures are consistent with each other."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from clipfast.cli.bench import app
from clipfast.cli.stages import Stage, example_photo, measure, stages
from clipfast.errors import DataError
from clipfast.runtime.clip import Clip


def test_every_client_calls_and_every_call_is_counted() -> None:
    """Eight calls of two clients beside the warm-up; at least once both are inside at the same time."""
    together, calls = threading.Barrier(2), []

    def run() -> None:
        calls.append(threading.get_ident())
        if len(calls) > 1:  # not the warm-up, which is alone
            together.wait(timeout=10)

    found = measure(Stage("both", run, items=3), clients=2, rounds=8)

    assert len(calls) == 1 + 8 == 1 + found.calls
    assert len(set(calls[1:])) == 2
    assert 0 <= found.min_ms <= found.p50_ms <= found.p95_ms
    assert found.per_second > 0


def test_a_failing_stage_fails_the_measurement() -> None:
    """A client's exception is not swallowed by its thread."""
    left = iter(range(1))

    def run() -> None:
        next(left)

    with pytest.raises(StopIteration):
        measure(Stage("breaks", run), clients=2, rounds=4)


def test_stages_follow_a_query(mini: Clip) -> None:
    """From decoding to the answer, with every graph of the artifact between."""
    names = [stage.name for stage in stages(mini, example_photo((64, 48)))]

    assert names[0] == "decode the photo"
    assert "all Surgery streams" in names
    assert names[-1] == "photo to the best 10 of 100,000"


def test_the_command_prints_one_object(tmp_path: Path) -> None:
    """A row for each stage and number of clients."""
    Image.new("RGB", (80, 60), (90, 30, 10)).save(tmp_path / "photo.jpg")
    arguments = [
        "--image",
        str(tmp_path / "photo.jpg"),
        "--rounds",
        "5",
        "--clients",
        "1,2",
        "--model",
        "mini",
        "--json",
    ]

    done = CliRunner().invoke(app, arguments)

    result = json.loads(done.stdout)
    assert result["model"] == "mini"
    assert [row["clients"] for row in result["stages"][:2]] == [1, 2]
    assert all(0 < row["min_ms"] <= row["p50_ms"] <= row["p95_ms"] for row in result["stages"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--clients", "1;4"], "--clients must be numbers"),
        (["--clients", "0"], "from 1 to 8192"),
        (["--size", "1920"], "width x height"),
        (["--size", "16x16"], "each 32 to 8192"),
    ],
)
def test_bad_numbers_are_named(arguments: list[str], said: str) -> None:
    """What must be, and what came."""
    done = CliRunner().invoke(app, arguments)

    assert isinstance(done.exception, DataError)
    assert said in str(done.exception)
