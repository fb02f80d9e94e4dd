"""Results of two runs never mix in one folder, and nothing else in it is touched."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clipfast.errors import DataError
from clipfast.report.result_files import MANIFEST, replacing_results


def _run(folder: Path, names: dict[str, str]) -> list[str]:
    with replacing_results(folder, "localize") as run:
        for name, text in {"map_results.json": "{}", **names}.items():
            (run.aside / name).parent.mkdir(parents=True, exist_ok=True)
            (run.aside / name).write_text(text)
        written = [run.aside / "map_results.json"]
    assert run.placed(written) == (folder / "map_results.json",)
    return run.sentences()


def _fail(folder: Path, name: str) -> None:
    with replacing_results(folder, "localize") as run:
        (run.aside / name).write_text("half")
        raise RuntimeError("stopped")


def _there(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_a_smaller_run_leaves_nothing_of_a_larger_one(tmp_path: Path) -> None:
    """Files and empty folders go; the user's own files and what he changed stay, and the latter is said."""
    folder = tmp_path / "results"
    assert _run(folder, {"vv_vv/sample_000.png": "a", "vv_vv/sample_001.png": "b", "gem/sample_000.png": "c"}) == []
    (folder / "notes.txt").write_text("mine")
    (folder / "vv_vv" / "sample_001.png").write_text("drawn upon")
    said = _run(folder, {"vv_vv/sample_000.png": "new"})

    assert _there(folder) == [
        MANIFEST, "map_results.json", "notes.txt", "vv_vv", "vv_vv/sample_000.png", "vv_vv/sample_001.png",
    ]  # fmt: skip
    assert (folder / "vv_vv" / "sample_000.png").read_text() == "new"
    assert said == [
        f"1 files of the run before were removed from {folder}",
        f"changed since the run before, and still in {folder}: vv_vv/sample_001.png",
    ]


def test_a_run_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    """Neither half of its files, nor a folder that was not there before."""
    folder = tmp_path / "results"
    with pytest.raises(RuntimeError, match="stopped"):
        _fail(folder, "half.png")
    assert not folder.exists()
    _run(folder, {"sample_000.png": "a"})
    before = _there(folder)
    with pytest.raises(RuntimeError, match="stopped"):
        _fail(folder, "sample_000.png")

    assert _there(folder) == before
    assert (folder / "sample_000.png").read_text() == "a"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("grid_results.json", "{}", "a result of anomaly_grid. Name another folder"),
        ("map_results.json", "{}", "do not list their files"),
        (MANIFEST, "[]", "must list the files of a run"),
        (MANIFEST, json.dumps({"kind": "poem", "files": []}), "lists results of poem"),
        (MANIFEST, json.dumps({"kind": "localize", "files": [{"path": "../a", "sha256": ""}]}), "got '../a'"),
    ],
)
def test_what_is_not_ours_is_refused_before_the_work(tmp_path: Path, name: str, text: str, message: str) -> None:
    """Results of another command, results without a list, a list that leads elsewhere."""
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message), replacing_results(tmp_path, "localize"):
        pytest.fail("the work began")

    assert _there(tmp_path) == [name]
    with pytest.raises(DataError, match="is a file"), replacing_results(tmp_path / name, "localize"):
        pytest.fail("the work began")
