"""Tests of clipfast.cli.anomaly_grid, clipfast.anomaly.grid.inspection and the tables, with a stand-in model."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from clipfast.anomaly.grid.inspection import inspect_grid
from clipfast.cli.anomaly import app
from clipfast.errors import ArtifactError, DataError
from reference.anomaly_stubs import JointStub
from reference.grid_cases import classes, contents, write_mvtec_folders

SMALL = ("--size", "24", "--sigma", "1", "--shots", "1,2", "--seeds", "0,1")


class LoadedStub(JointStub):
    """The stand-in as the command line opens it."""

    @classmethod
    def load(cls, model: str | None, **options: Any) -> LoadedStub:
        return cls()

    def __enter__(self) -> LoadedStub:
        return self

    def __exit__(self, *exception: object) -> None:
        pass


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three classes in MVTec's layout."""
    monkeypatch.setattr("clipfast.runtime.clip.Clip", LoadedStub)
    monkeypatch.setattr("os.fsync", lambda handle: None)
    write_mvtec_folders(tmp_path / "data", classes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> Result:
    """Run a command that must succeed."""
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def test_from_folders_to_results_and_tables() -> None:
    """One JSON object; for people the modes, the classes and where it went; recompute says the same again."""
    said = json.loads(run("grid", "data", *SMALL, "--out", "found", "--json").stdout)
    before = contents(Path("found"))
    shown = run("grid", "data", *SMALL, "--out", "found").stdout
    again = json.loads(run("recompute", "found", "--json").stdout)

    assert said["cells"] == 12
    assert said["pixels"].startswith("maps of 24 x 24 pixels")
    assert again == said
    assert contents(Path("found")) == before
    for words in (
        "CLS: mean over classes",
        "SEG: AUROC by class at 2 shots",
        "learned_gate",
        "linen",
        "Wrote 12 cells",
    ):
        assert words in shown


def test_inspect_says_what_it_takes() -> None:
    """Only images were judged: pixels must run again. Then all is there; then maps are gone; then they never were."""
    run("grid", "data", *SMALL, "--tasks", "cls", "--out", "found")
    text = run("inspect", "found").stdout
    assert "CLS 12/12 with figures of both branches, 12/12 can be computed again from kept maps" in text
    assert (
        "SEG 0/12 with figures of both branches, 0/12 can be computed again from kept maps, 12 were not asked" in text
    )
    assert "as before" not in text

    run("grid", "data", *SMALL, "--out", "found")
    assert "SEG 12/12 with figures of both branches, 12/12" in run("inspect", "found").stdout
    Path("found/cells/felt/shots1_seed1.json").unlink()
    Path("found/branches/denim/shots2_seed0.npz").write_bytes(b"damaged")
    state = json.loads(run("inspect", "found", "--json").stdout)
    seg = {"total": 12, "asked": True, "branches": 11, "alone": 0, "undefined": 0, "maps": 9, "run": 0}
    assert state["tasks"]["seg"] == seg
    assert [run["next"] for run in state["runs"] if run["class_name"] == "felt" and run["shots"] == 1] == [
        "nothing", "recompute"
    ] * 2  # fmt: skip
    assert "shots2_seed0.npz" in state["problems"][0]

    run("grid", "data", *SMALL, "--no-keep-maps", "--out", "bare")
    bare = inspect_grid(Path("bare")).tasks["seg"]
    assert (bare.total, bare.branches, bare.maps, bare.run) == (12, 12, 0, 0)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("grid", "nowhere"), DataError, "No folder at nowhere"),
        (("grid", "data", "--shots", "9"), DataError, "9 shots of denim need"),
        (("grid", "data", "--classes", "wool"), DataError, "holds the classes denim, felt, linen; got wool"),
        (("grid", "data", "--format", "textiles"), DataError, "textiles have no masks"),
        (("inspect", "data"), ArtifactError, "holds no grid"),
        (("recompute", "data"), ArtifactError, "holds no grid"),
    ],
)
def test_jobs_that_cannot_be_done(arguments: tuple[str, ...], error: type[Exception], message: str) -> None:
    """Each fault has its sentence."""
    with pytest.raises(error, match=message):
        CliRunner().invoke(app, list(arguments), catch_exceptions=False)


@pytest.mark.parametrize(
    "arguments",
    [("--format", "coco"), ("--shots", "one"), ("--tasks", "det"), ("--image-score", "median"), ("--kind", "fluid")],
)
def test_wrong_usage(arguments: tuple[str, ...]) -> None:
    """Exit code 2."""
    assert CliRunner().invoke(app, ["grid", "data", *arguments]).exit_code == 2


def test_inspect_tells_what_does_not_exist_from_what_is_missing(folders: Path) -> None:
    """A class without damaged images was judged, and has no figures of either branch; nothing is left to do for it."""
    for place in ("test/spot", "ground_truth/spot"):
        for path in (folders / "data/felt" / place).iterdir():
            path.unlink()
    run("grid", "data", *SMALL, "--out", "found")
    state = inspect_grid(Path("found"))

    assert [(task.branches, task.undefined, task.run) for task in state.tasks.values()] == [(8, 4, 0)] * 2
    assert {run.class_name for run in state.runs if run.undefined} == {"felt"}
    assert "SEG 8/12 with figures of both branches, 4 judged without any figure" in run("inspect", "found").stdout


def test_a_disk_that_is_full_of_reports_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """The figures are there; only what is written of them at the end is not."""

    def full(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "branch_report.md")

    monkeypatch.setattr("clipfast.report.branches.write_branch_report", full)
    with pytest.raises(DataError, match="the disk is full: 12 of 12 cells are finished"):
        CliRunner().invoke(app, ["grid", "data", *SMALL, "--out", "found"], catch_exceptions=False)
    assert Path("found/grid_results.json").is_file()
