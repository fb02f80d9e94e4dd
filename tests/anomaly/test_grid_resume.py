"""Tests of clipfast.anomaly.grid: what is there is kept, and what was stopped goes on."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from clipfast.anomaly.grid import TIMINGS_NAME, recompute, run_grid
from clipfast.anomaly.grid.directory import GridDirectory
from clipfast.anomaly.grid.records import GridResults, read_results
from clipfast.errors import DataError
from reference.anomaly_stubs import JointStub
from reference.grid_cases import classes, contents, request

pytestmark = pytest.mark.usefixtures("unflushed")

SLOW_RUN = """
import os, sys, time
from pathlib import Path
os.fsync = lambda handle: None
sys.path.insert(0, sys.argv[2])
from clipfast.anomaly.grid import encode, judge, run_grid
from reference.anomaly_stubs import JointStub
from reference.grid_cases import classes, request

def slowly(write):
    def wait(*arguments):
        write(*arguments)
        time.sleep(0.1)
    return wait

encode.write_cell_branches = slowly(encode.write_cell_branches)
judge.write_cell = slowly(judge.write_cell)
run_grid(JointStub(), classes(), Path(sys.argv[1]), request())
"""


@pytest.mark.parametrize("seen", ["branches/felt", "cells/denim"])
def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(seen: str, whole: Path, tmp_path: Path) -> None:
    """A real process, killed while it encodes, and while it judges."""
    tests = Path(__file__).resolve().parent.parent
    command = [sys.executable, "-c", SLOW_RUN, str(tmp_path / "grid"), str(tests)]
    with subprocess.Popen(command, cwd=tests.parent) as process:
        until = time.monotonic() + 120
        while not any((tmp_path / "grid" / seen).glob("*")) and process.poll() is None and time.monotonic() < until:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    (tmp_path / "grid" / seen / ".shots1_seed0.json.abc.tmp").write_bytes(b"half")
    os.utime(tmp_path / "grid" / seen / ".shots1_seed0.json.abc.tmp", (1, 1))
    at_kill = contents(tmp_path / "grid")

    assert process.returncode == -signal.SIGKILL
    assert "grid_results.json" not in at_kill
    run_grid(JointStub(), classes(), tmp_path / "grid", request())
    assert contents(tmp_path / "grid") == contents(whole)


def test_only_half_written_files_of_the_grid_are_swept(tmp_path: Path) -> None:
    """What is another's stays, wherever it lies."""
    own = ("cells/felt/.shots1_seed0.json.k2_j9abc.tmp", "truth/.felt.npz.k2_j9abc.tmp", ".grid.json.k2_j9abc.tmp")
    others = (
        "mine/.draft.tmp",
        ".draft.tmp",
        "cells/felt/.draft.tmp",
        "mine/cells/felt/.shots1_seed0.json.abc.tmp",
    )
    for name in (*own, *others):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    GridDirectory(tmp_path).sweep(before=time.time() + 9)
    assert [name for name in (*own, *others) if (tmp_path / name).exists()] == list(others)


def test_a_full_disk_is_one_sentence_and_the_rest_can_go_on(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever write it is that fails: the plan, a truth, a manifest, raw scores, figures, results, timings."""
    written = [0]
    for fails_at in (1, 3, 9, 20, 33, 42):

        def full(handle: int, fails_at: int = fails_at) -> None:
            written[0] += 1
            if written[0] >= fails_at:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        written[0] = 0
        directory = tmp_path / str(fails_at)
        with monkeypatch.context() as patch:
            patch.setattr("clipfast.storage.os.fsync", full)
            with pytest.raises(DataError, match=r"the disk is full: \d+ of \d+ cells are finished"):
                run_grid(JointStub(), classes(), directory, request())
        assert not list(directory.rglob("*.tmp"))
        assert set(contents(directory)) < set(contents(whole)) or fails_at == 42
        run_grid(JointStub(), classes(), directory, request())
        assert contents(directory) == contents(whole)


def test_a_finished_grid_encodes_nothing_again(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a cell that was lost is judged from its maps."""
    before = contents(whole)
    (whole / "cells/felt/shots2_seed0.json").unlink()

    def fail(*arguments: Any) -> None:
        raise AssertionError("nothing may be fitted")

    monkeypatch.setattr("clipfast.anomaly.grid.encode.encode_cells", fail)
    run_grid(JointStub(), classes(), whole, request())
    assert contents(whole) == before


def test_test_images_are_encoded_once_for_all_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever shots, seeds and tasks there are."""
    seen: list[bytes] = []
    encode = JointStub.encode_joint

    def watch(self: JointStub, images: Any) -> Any:
        listed = list(images)
        seen.extend(image.tobytes() for image in listed)
        return encode(self, listed)

    monkeypatch.setattr(JointStub, "encode_joint", watch)
    data = classes(["denim", "felt"])
    run_grid(JointStub(), data, tmp_path, request(shots=(1, 2, 4), seeds=(0, 1)))

    for each in data.values():
        assert [seen.count(np.asarray(one.image).tobytes()) for one in each.test] == [1] * len(each.test)


def test_more_shots_seeds_and_tasks_join_what_is_there(whole: Path, tmp_path: Path) -> None:
    """A grid that grew is one that was asked for at once."""
    run_grid(JointStub(), classes(), tmp_path, request(shots=(2,), seeds=(1,), tasks=("cls",)))
    first = read_results(tmp_path)
    run_grid(JointStub(), classes(), tmp_path, request())

    assert first.tasks == ("cls",)
    assert [(cell.shots, cell.pixel) for cell in first.cells] == [(2, None)] * 3
    assert contents(tmp_path) == contents(whole)


@pytest.mark.parametrize("keep_maps", [True, False])
@pytest.mark.parametrize("order", [("cls", "seg"), ("seg", "cls")])
def test_a_task_alone_keeps_the_figures_of_the_other(
    order: tuple[Any, Any], keep_maps: bool, whole: Path, tmp_path: Path
) -> None:
    """One task after the other ends as both at once."""
    for task in order:
        run_grid(JointStub(), classes(), tmp_path, request(tasks=(task,), keep_maps=keep_maps))
    assert _without_masks(read_results(tmp_path)) == _without_masks(read_results(whole))
    assert not keep_maps or contents(tmp_path) == contents(whole)


def test_recompute_without_masks_keeps_figures_of_pixels_and_names_the_cells(whole: Path, tmp_path: Path) -> None:
    """The other classes are judged again; figures that are of other scores are not kept."""
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    (tmp_path / "truth" / "felt.npz").unlink()
    done = recompute(tmp_path)
    assert done.results.tasks == ("cls", "seg")
    assert {cell.class_name for cell in done.missing} == {"felt"}
    assert _without_masks(done.results) == _without_masks(read_results(whole))
    stale = next((tmp_path / "cells" / "felt").glob("*.json"))
    text = json.loads(stale.read_text())
    stale.write_text(json.dumps(text | {"branches": "0" * 64}))
    with pytest.raises(DataError, match="felt"):
        recompute(tmp_path)


def _without_masks(results: GridResults) -> GridResults:
    """Everything but the count of empty masks, which is not known without them."""
    return msgspec.structs.replace(
        results,
        classes=tuple(msgspec.structs.replace(each, empty_masks=None, lost_masks=None) for each in results.classes),
    )


def test_recompute_needs_nothing_but_the_directory(whole: Path) -> None:
    """And gives the same bytes, also where cells were lost."""
    before = contents(whole)
    for lost in ("cells/felt/shots1_seed0.json", "cells/denim/shots2_seed1.json", "grid_results.json"):
        (whole / lost).unlink()
    done = recompute(whole)

    assert done.missing == ()
    assert contents(whole) == before
    assert {"grid", "recompute"} <= json.loads((whole / TIMINGS_NAME).read_text()).keys()


def test_without_maps_figures_stay_and_cannot_be_computed_again(whole: Path, tmp_path: Path) -> None:
    """Neither maps nor masks are left; a further run of the same has nothing to do."""
    for _ in range(2):
        run_grid(JointStub(), classes(), tmp_path, request(keep_maps=False))
        there = contents(tmp_path)
        assert {name.partition("/")[0] for name in there} == {"cells", "grid.json", "grid_results.json", "support"}
    assert there["cells/felt/shots2_seed0.json"] == contents(whole)["cells/felt/shots2_seed0.json"]
    with pytest.raises(DataError, match="no branch maps of all classes"):
        recompute(tmp_path)
