"""Faults planted into a real system, the embedded model's, are named; the study goes on where it was interrupted."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from clipfast.diagnostics import diagnose
from clipfast.runtime.clip import Clip

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))

from diagnostics.samples import clustered
from planted.study import Case, run_all, table
from planted.world import FAULTS, World, WorldSize

if TYPE_CHECKING:
    from clipfast.diagnostics import Predictions


@pytest.fixture(scope="module")
def world(mini: Clip, tmp_path_factory: pytest.TempPathFactory) -> World:
    """Clean questions, rendered once; another seed than those on which the rules were set."""
    size, folder = WorldSize(train=200, test=200, most=0.2), tmp_path_factory.mktemp("encoded")
    fresh = World(mini, 500_001_000, size, folder)
    again = World(mini, 500_001_000, size, folder)  # from the file
    assert all(
        np.array_equal(getattr(fresh.seen[name], part), getattr(again.seen[name], part))
        for name in fresh.seen
        for part in ("cosines", "embeddings", "boxes")
    )
    return again


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_a_fifth_of_the_samples_is_named_first(world: World, fault: str) -> None:
    """Each of the five causes, by the first finding that is raised."""
    found = diagnose(world.planted((fault, 0.2)))

    assert [finding.cause for finding in found.triage.raised][:1] == [fault]


def test_nothing_is_named_without_a_fault(world: World) -> None:
    """A clean set raises no cause, though some answers are wrong."""
    found = diagnose(world.planted())

    assert found.wrong > 0
    assert found.triage.raised == ()


def test_planted_noise_lies_in_the_interval(world: World) -> None:
    """The share of wrong labels that was planted."""
    found = diagnose(world.planted(("noise", 0.2))).label_noise

    assert found is not None
    assert found.ratio.low <= 0.2 <= found.ratio.high


def test_two_faults_at_once_take_different_samples(world: World) -> None:
    """Each is named, and no sample has both."""
    found = diagnose(world.planted(("noise", 0.2), ("missing modality", 0.2)))

    assert {finding.cause for finding in found.triage.raised} == {"noise", "missing modality"}
    with pytest.raises(ValueError, match=r"shares must be 0 to 0.2; got \[0.3\]"):
        world.planted(("noise", 0.3))


def test_the_study_goes_on_where_it_was_interrupted(tmp_path: Path) -> None:
    """A finished run is read, another setting is not; the table counts runs."""
    made: list[int] = []

    def cases(seed: int) -> list[Case]:
        def make() -> Predictions:
            made.append(seed)
            return clustered(300, noise=0.3, seed=seed)

        return [Case("noise", 0.3, ("noise",), 0.3, make)]

    path = tmp_path / "runs.jsonl"
    first = list(run_all([(1, lambda: cases(1))], ["a"], path))
    both = list(run_all([(1, lambda: cases(1)), (2, lambda: cases(2))], ["a"], path))
    other = list(run_all([(1, lambda: cases(1))], ["b"], path))

    assert made == [1, 2, 1]
    assert both[0] == first[0] == other[0]
    assert "| noise | 30% | 2 | 100 % " in table(both)
