"""A grid on the stand-in model that ran through."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from clipfast.anomaly.grid import run_grid
from clipfast.anomaly.grid.records import GridResults, read_results
from reference.anomaly_stubs import JointStub
from reference.grid_cases import classes, request


@pytest.fixture(scope="module")
def unflushed() -> Iterator[None]:
    """Nothing here loses power, so nothing needs to reach the disk: flushing takes most of the time of a small grid."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda handle: None)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, unflushed: None) -> Path:
    """A grid that ran through."""
    directory = tmp_path_factory.mktemp("whole")
    run_grid(JointStub(), classes(), directory, request())
    return directory


@pytest.fixture(scope="module")
def results(whole: Path) -> GridResults:
    """What it found."""
    return read_results(whole)
