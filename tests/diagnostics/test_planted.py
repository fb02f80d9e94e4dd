"""Faults planted into a real system, the embedded model's, are named; the script of the study runs."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from clipfast.diagnostics import diagnose
from clipfast.runtime.clip import Clip

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "diagnose_planted.py"
FAULTS = ("noise", "generalisation", "alignment", "missing modality", "ambiguity")


@pytest.fixture(scope="module")
def study() -> ModuleType:
    """The example as a module."""
    spec = importlib.util.spec_from_file_location("diagnose_planted", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def world(study: ModuleType, mini: Clip) -> Any:
    """Clean questions, rendered once; another seed than those on which the rules were set."""
    return study.World(mini, 1000, train=150, test=200)


# The rules were set with an earlier embedded model. This one is sure of itself on the planted tasks, and these two are
# not raised any more; a strict mark, so that it goes as soon as they are.
NOT_RAISED = pytest.mark.xfail(reason="the rules wait to be set again, on the present mini", strict=True)


@pytest.mark.parametrize(
    "fault",
    [pytest.param(f, marks=NOT_RAISED) if f in {"generalisation", "ambiguity"} else f for f in FAULTS],
)
def test_a_fault_in_a_fifth_of_the_samples_is_named_first(world: Any, fault: str) -> None:
    """Each of the five causes, by the first finding that is raised."""
    found = diagnose(world.planted(fault, 0.2))

    assert [finding.cause for finding in found.triage.raised][:1] == [fault]


def test_nothing_is_named_without_a_fault(world: Any) -> None:
    """A clean set raises no cause, though some answers are wrong."""
    found = diagnose(world.planted("", 0.2))

    assert found.wrong > 0
    assert found.triage.raised == ()


def test_planted_noise_lies_in_the_interval(world: Any) -> None:
    """The share of wrong labels that was planted."""
    found = diagnose(world.planted("noise", 0.2)).label_noise

    assert found is not None
    assert found.ratio.low <= 0.2 <= found.ratio.high
