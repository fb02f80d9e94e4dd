"""Tests of clipfast.anomaly.grid and of what it is made of, with the stand-in model."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from clipfast.anomaly import (
    MODES,
    AnomalyDetector,
    AnomalyOptions,
    GateCase,
    MemoryOptions,
    choose_shots,
    fit_gate,
    fuse_images,
    fuse_pixels,
)
from clipfast.anomaly.grid import TIMINGS_NAME, recompute, run_grid
from clipfast.anomaly.grid.directory import GridDirectory
from clipfast.anomaly.grid.inspection import inspect_grid
from clipfast.anomaly.grid.records import CellResult, GridOptions, GridResults, read_results
from clipfast.datasets.inspection import InspectionClass
from clipfast.errors import ArtifactError, DataError, FingerprintError, ShapeError
from clipfast.report.branches import write_branch_report
from reference import naive_ranking
from reference.anomaly_stubs import JointStub, PatchStub
from reference.grid_cases import CLASSES, OPTIONS, classes, contents, request, sample

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


@pytest.fixture(scope="module", autouse=True)
def unflushed() -> Iterator[None]:
    """Nothing here loses power, so nothing needs to reach the disk: flushing takes most of the time of a small grid."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda handle: None)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A grid that ran through."""
    directory = tmp_path_factory.mktemp("whole")
    run_grid(JointStub(), classes(), directory, request())
    return directory


@pytest.fixture(scope="module")
def results(whole: Path) -> GridResults:
    """What it found."""
    return read_results(whole)


def fitted(name: str, shots: int, seed: int) -> AnomalyDetector:
    """The detector of a cell, made without the grid."""
    images = {one.key.removeprefix(f"{name}/"): one.image for one in classes()[name].train}
    chosen = [images[path.as_posix()] for path in choose_shots(images, shots, seed=seed)]
    options = AnomalyOptions(size_hw=OPTIONS.size_hw, sigma=OPTIONS.sigma, seed=seed, shots_seed=seed)
    return AnomalyDetector.fit(JointStub(), chosen, class_name=name, options=options)


def cell_of(results: GridResults, name: str, shots: int, seed: int) -> CellResult:
    """One cell."""
    (cell,) = results.select(class_name=name, shots=shots, seed=seed)
    return cell


@pytest.mark.parametrize(("name", "shots", "seed"), [("felt", 1, 0), ("linen", 2, 1)])
def test_figures_are_those_of_a_detector_and_scikit_learn(
    name: str, shots: int, seed: int, results: GridResults
) -> None:
    """Every mode at both levels: fitted, fused and judged one by one, the gate by the other classes' detectors."""
    metrics = pytest.importorskip("sklearn.metrics")
    cell = cell_of(results, name, shots, seed)
    test = classes()[name].test
    labels = np.array([one.is_anomalous for one in test], np.int64)
    masks = np.stack([np.zeros((36, 48)) if one.mask is None else np.asarray(one.mask) for one in test])
    masks = masks[:, 1::2, 1::2].astype(np.int64)  # nearest: (i + 0.5) * 2 = 2 i + 1
    cases = []
    for other in CLASSES:
        detector = fitted(other, shots, seed)
        maps = detector.branch_maps([one.image for one in classes()[other].test])
        if other == name:
            mine, raw = detector, maps.resized(OPTIONS.size_hw, OPTIONS.sigma)
        else:
            cases.append(GateCase(detector.calibration.apply(maps), labels))
    calibration = replace(mine.calibration, gate=fit_gate(cases))

    assert cell.image is not None
    assert cell.pixel is not None
    assert list(cell.image.modes) == list(cell.pixel.modes) == list(MODES)
    assert sorted(s.sha256 for s in cell.support) == sorted(s.sha256 for s in mine.manifest.shots)
    for mode in MODES:
        fused = fuse_images(raw, calibration, mode, labels)
        np.testing.assert_allclose(cell.scores[mode], fused, rtol=1e-6, atol=1e-7)
        pixels = fuse_pixels(raw, calibration, mode, masks)
        for found, truth, scores in ((cell.image, labels, fused), (cell.pixel, masks.ravel(), pixels.ravel())):
            figures = found.modes[mode]
            precision, recall, _ = metrics.precision_recall_curve(truth, scores)
            best = (2 * precision * recall / np.maximum(precision + recall, 1e-12)).max()
            assert figures.auroc == pytest.approx(metrics.roc_auc_score(truth, scores), abs=1e-6)
            assert figures.average_precision == pytest.approx(metrics.average_precision_score(truth, scores), abs=1e-6)
            assert figures.f1_max == pytest.approx(best, abs=1e-6)
        if mode in ("semantic", "gate"):
            naive = naive_ranking.aupro(masks.tolist(), pixels.tolist(), 0.3)
            assert cell.pixel.modes[mode].aupro == pytest.approx(naive, abs=1e-6)


def test_the_oracle_bounds_and_the_branches_are_apart(results: GridResults) -> None:
    """No mode of the raw branches ranks above the oracle; the two branches differ somewhere."""
    levels = [level for cell in results.cells for level in (cell.image, cell.pixel) if level is not None]

    for level in levels:
        assert level.modes["oracle"].auroc >= max(level.modes[m].auroc for m in ("semantic", "memory", "max"))
        assert level.modes["memory"] == level.modes["memory_only"]
    assert any(level.semantic != level.memory for level in levels)
    assert any(level.modes["memory"].auroc < 1 for level in levels)


def test_summary_is_mean_and_sample_deviation_over_seeds(results: GridResults) -> None:
    """By class, and of the mean over classes."""
    at = {(row.class_name, row.shots, row.level, row.mode): row.figures for row in results.summary}
    by_seed = {
        name: [cell_of(results, name, 1, seed).pixel.modes["gate"].aupro for seed in (0, 1)]  # type: ignore[union-attr]
        for name in CLASSES
    }

    felt = at["felt", 1, "pixel", "gate"]["aupro"]
    assert (felt.mean, felt.std) == pytest.approx((np.mean(by_seed["felt"]), np.std(by_seed["felt"], ddof=1)))  # type: ignore[arg-type]
    over = np.mean(list(by_seed.values()), axis=0)  # type: ignore[arg-type]
    every = at[None, 1, "pixel", "gate"]["aupro"]
    assert (every.mean, every.std, every.seeds) == pytest.approx((over.mean(), over.std(ddof=1), 2))
    assert "aupro" not in at["felt", 1, "image", "gate"]


def test_manifests_say_which_images_were_the_support(whole: Path) -> None:
    """Path, SHA-256 and seed; fewer shots are part of more."""
    two = json.loads((whole / "support/felt/shots2_seed1.json").read_text())
    one = json.loads((whole / "support/felt/shots1_seed1.json").read_text())

    assert (two["seed"], two["shots"], len(two["images"])) == (1, 2, 2)
    assert one["images"][0] in two["images"]
    assert all(image["path"].startswith("felt/train/good/") and len(image["sha256"]) == 64 for image in two["images"])


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
        results, classes=tuple(msgspec.structs.replace(each, empty_masks=None) for each in results.classes)
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


def test_a_memory_alone_leaves_out_what_needs_texts(tmp_path: Path) -> None:
    """A model without texts: the memory's figures are there, the others say why not."""
    found = run_grid(PatchStub(), classes(), tmp_path, request(shots=(2,), seeds=(0,)))
    level = found.cells[0].pixel

    assert level is not None
    assert {run.next for run in inspect_grid(tmp_path).runs} == {"nothing"}
    assert set(level.modes) == {"auto", "memory", "memory_only"} | ({"routed"} & set(level.modes))
    assert level.omitted["semantic"] == "the text branch did not run"


def test_one_class_has_no_gate(tmp_path: Path) -> None:
    """A gate that had learned on the class itself would be a leak."""
    (cell,) = run_grid(JointStub(), classes(["felt"]), tmp_path, request(shots=(2,), seeds=(0,))).cells

    assert cell.image is not None
    assert "learned_gate" not in cell.image.modes
    assert "other classes" in cell.image.omitted["learned_gate"]


def test_a_gate_has_not_seen_test_images_that_classes_share(tmp_path: Path) -> None:
    """As if the others had never had them; and there is no gate where nothing but damaged images would be left."""
    data = classes()
    shared = tuple(replace(one, key=f"felt/shared/{i}") for i, one in enumerate(data["denim"].test[:2]))
    alone = run_grid(JointStub(), data, tmp_path / "a", request(shots=(2,), seeds=(0,)))
    data["felt"] = replace(data["felt"], test=(*data["felt"].test, *shared))
    both = run_grid(JointStub(), data, tmp_path / "b", request(shots=(2,), seeds=(0,)))
    scores = [cell_of(found, "denim", 2, 0).scores["learned_gate"] for found in (alone, both)]
    assert scores[0] == scores[1]

    kinds = {name: replace(data["denim"], name=name) for name in ("global", "local")}
    nominal, spots = data["denim"].test[:3], data["denim"].test[3:]
    kinds["local"] = replace(kinds["local"], test=(*nominal, *spots[:2]))
    kinds["global"] = replace(kinds["global"], test=(*nominal, *spots[2:]))
    for cell in run_grid(JointStub(), kinds, tmp_path / "c", request(shots=(2,), seeds=(0,), tasks=("cls",))).cells:
        assert cell.image is not None
        assert "is tested on" in cell.image.omitted["learned_gate"]
    assert "Classes of stub share test images (global and local 3), so" in branch_report_of(tmp_path / "c")


def branch_report_of(directory: Path) -> str:
    """Write the report and return it."""
    write_branch_report([read_results(directory)], directory)
    return (directory / "branch_report.md").read_text(encoding="utf-8")


# Bad input


def changed(name: str, **parts: Any) -> dict[str, InspectionClass]:
    """The data set with a class that is another one."""
    data = classes()
    return data | {name: replace(data[name], **parts)}


def test_a_class_without_damaged_images_has_no_figures_and_says_so(tmp_path: Path) -> None:
    """Its scores are there; the other classes' figures and the means over them are, too."""
    data = classes()
    data["felt"] = replace(data["felt"], test=data["felt"].test[:3])
    found = run_grid(JointStub(), data, tmp_path, request(shots=(2,), seeds=(0,)))
    felt = cell_of(found, "felt", 2, 0)

    assert felt.image is not None
    assert felt.pixel is not None
    assert (felt.image.modes, felt.pixel.modes, felt.image.anomalous) == ({}, {}, 0)
    assert "got 0 positives among 3 items" in (felt.image.undefined or "")
    assert "none of 3 does" in (felt.pixel.undefined or "")
    assert len(felt.scores["memory"]) == 3
    denim, linen = (cell_of(found, name, 2, 0).image for name in ("denim", "linen"))
    (mean,) = [r for r in found.summary if (r.class_name, r.level, r.mode) == (None, "image", "memory")]
    assert denim is not None
    assert linen is not None
    assert mean.figures["auroc"].mean == np.mean([denim.modes["memory"].auroc, linen.modes["memory"].auroc])


@pytest.mark.parametrize("tasks", [("cls", "seg"), ("cls",)])
def test_a_class_without_test_images_has_no_figures_and_says_so(tasks: tuple[Any, ...], tmp_path: Path) -> None:
    """The other classes are judged."""
    asked = request(shots=(2,), seeds=(0,), tasks=tasks)
    found = run_grid(JointStub(), changed("felt", test=()), tmp_path, asked)
    felt, linen = (cell_of(found, name, 2, 0) for name in ("felt", "linen"))

    assert felt.image is not None
    assert (felt.image.modes, felt.image.anomalous, felt.image.intact) == ({}, 0, 0)
    assert felt.image.undefined
    assert felt.pixel is None or (felt.pixel.modes == {} and felt.pixel.undefined)
    assert linen.image is not None
    assert linen.image.modes
    assert recompute(tmp_path).results == found


def test_empty_masks_are_counted_and_leave_pixels_undefined(tmp_path: Path) -> None:
    """Images are judged all the same; one mask that is left makes figures."""
    test = classes()["felt"].test
    blank = tuple(replace(one, mask=np.zeros((36, 48), np.uint8)) if one.is_anomalous else one for one in test)
    found = run_grid(JointStub(), changed("felt", test=blank), tmp_path / "a", request(shots=(2,), seeds=(0,)))
    felt = cell_of(found, "felt", 2, 0)

    assert felt.image is not None
    assert felt.pixel is not None
    assert felt.image.modes["memory"].auroc > 0
    assert felt.pixel.undefined is not None
    assert [each.empty_masks for each in found.classes] == [0, 3, 0]
    partly = run_grid(
        JointStub(), changed("felt", test=(*blank[:5], test[5])), tmp_path / "b", request(shots=(2,), seeds=(0,))
    )
    assert cell_of(partly, "felt", 2, 0).pixel.modes["memory"].aupro is not None  # type: ignore[union-attr]


def test_a_mask_of_another_size_stops_it_before_anything_is_encoded(tmp_path: Path) -> None:
    """By the sentence that names it."""
    from PIL import Image

    from clipfast.datasets.mvtec import read_mvtec
    from reference.grid_cases import write_mvtec_folders

    root = write_mvtec_folders(tmp_path / "data", classes())
    mask = next((root / "felt/ground_truth/spot").iterdir())
    Image.new("L", (48, 35)).save(mask)
    with pytest.raises(DataError, match=f"{mask.name} must have the size of its image, 48 x 36; got 48 x 35"):
        run_grid(JointStub(), read_mvtec(root), tmp_path / "grid", request())
    assert not (tmp_path / "grid/branches").exists()


def test_missing_masks_are_named_and_images_can_be_judged_without(tmp_path: Path) -> None:
    """With the task that needs none."""
    test = tuple(replace(one, mask=None) for one in classes()["felt"].test)
    with pytest.raises(DataError, match=r"felt/test/spot/1060 is damaged and has no mask.*--tasks cls"):
        run_grid(JointStub(), changed("felt", test=test), tmp_path, request())
    found = run_grid(JointStub(), changed("felt", test=test), tmp_path, request(tasks=("cls",)))

    assert found.tasks == ("cls",)


def test_more_shots_than_intact_images_are_refused(tmp_path: Path) -> None:
    """With the class and the numbers; an image that is there twice counts once."""
    with pytest.raises(DataError, match="6 shots of denim need as many intact images to choose from; there are 5"):
        run_grid(JointStub(), classes(), tmp_path, request(shots=(1, 6)))
    train = classes()["felt"].train
    twice = (*train[:4], replace(train[3], key="felt/train/good/copy"))
    with pytest.raises(DataError, match="5 shots of felt need as many intact images to choose from; there are 4"):
        run_grid(JointStub(), changed("felt", train=twice), tmp_path, request(shots=(5,)))
    assert not (tmp_path / "grid.json").exists()


def test_a_support_image_among_the_test_images_is_refused(tmp_path: Path) -> None:
    """By content, whatever it is called."""
    data = classes()["felt"]
    leaked = replace(data.train[0], key="felt/test/good/renamed")
    with pytest.raises(DataError, match=r"felt/test/good/renamed of the test images of felt is felt/train/good"):
        run_grid(JointStub(), changed("felt", test=(*data.test, leaked)), tmp_path, request(shots=(5,)))


def test_leaks_and_contradictions_are_found_whichever_support_is_chosen(tmp_path: Path) -> None:
    """Any training image among the test images, and one image with two truths; a copy is counted and reported."""
    felt = classes()["felt"]
    for one in felt.train:
        leak = (*felt.test, replace(one, key="felt/test/good/copy"))
        with pytest.raises(DataError, match=f"felt/test/good/copy of the test images of felt is {one.key}"):
            run_grid(JointStub(), changed("felt", test=leak), tmp_path, request(shots=(1,), seeds=(0,)))
    both = (*felt.test, replace(felt.test[0], key="felt/test/spot/copy", label="spot", mask=felt.test[5].mask))
    with pytest.raises(DataError, match=f"felt/test/spot/copy and {felt.test[0].key} are one image, once spot"):
        run_grid(JointStub(), changed("felt", test=both), tmp_path, request())
    twice = (*felt.test, replace(felt.test[0], key="felt/test/good/copy"))
    run_grid(JointStub(), changed("felt", test=twice), tmp_path, request(shots=(1,), seeds=(0,), tasks=("cls",)))
    assert "felt of stub has 7 test images, of which 1 are copies" in branch_report_of(tmp_path)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (OPTIONS, DataError),
        (msgspec.structs.replace(OPTIONS, aupro_limit=2.0), ShapeError),
        (msgspec.structs.replace(OPTIONS, sigma=-1.0), ShapeError),
    ],
)
def test_what_cannot_go_on_is_refused_before_the_directory_is_claimed(
    options: GridOptions, error: type[Exception], tmp_path: Path
) -> None:
    """A name that texts cannot hold, and options out of range: the same folder can be used for the mended request."""
    data = classes(["denim", "felt", "zip_ü" if error is DataError else "linen"])
    with pytest.raises(error):
        run_grid(JointStub(), data, tmp_path, request(shots=(1,), seeds=(0,), tasks=("cls",), options=options))
    assert not list(tmp_path.iterdir())
    if error is DataError:
        run_grid(JointStub(), data, tmp_path, request(shots=(1,), seeds=(0,), tasks=("cls",), called={"zip_ü": "zip"}))


class OtherStub(JointStub):
    """Another model."""

    name = "other"


@pytest.mark.parametrize(
    ("model", "data", "options", "message"),
    [
        # what differs, and the sentence that says it
        (OtherStub, {}, OPTIONS, r"made by another model: stub fp32 .* there, other fp32 .* now"),
        (JointStub, {}, msgspec.structs.replace(OPTIONS, sigma=2.0), "options.sigma is 1.0 there and 2.0 now"),
        (
            JointStub,
            {},
            msgspec.structs.replace(OPTIONS, memory=MemoryOptions(coreset=0.5)),
            "options.memory.coreset is 1.0 there and 0.5 now",
        ),
        (JointStub, {"wool": None}, OPTIONS, "now there are the classes wool, too"),
        (JointStub, {"felt": "pool"}, OPTIONS, "2 intact images of felt differ, first felt/train/good/0009"),
        (JointStub, {"felt": "mask"}, OPTIONS, "the masks of felt differ"),
    ],
)
def test_stale_cells_are_refused_with_what_differs(
    model: type[JointStub], data: dict[str, str | None], options: Any, message: str, whole: Path
) -> None:
    """And nothing of the directory is changed."""
    before, given = contents(whole), classes([*CLASSES, *(name for name, part in data.items() if part is None)])
    if data.get("felt") == "pool":
        given["felt"] = replace(given["felt"], train=(*given["felt"].train[1:], sample("felt", "train/good", 9)))
    if data.get("felt") == "mask":
        test = given["felt"].test
        whole_mask = replace(test[-1], mask=np.ones((36, 48), np.uint8))
        given["felt"] = replace(given["felt"], test=(*test[:-1], whole_mask))
    kind = FingerprintError if model is OtherStub else DataError
    with pytest.raises(kind, match=message):
        run_grid(model(), given, whole, request(options=options))
    assert contents(whole) == before


@pytest.mark.parametrize("kind", ["cells", "branches"])
def test_files_of_another_grid_are_refused(kind: str, whole: Path, tmp_path: Path) -> None:
    """Copied into the directory; damaged ones, too."""
    other = msgspec.structs.replace(OPTIONS, sigma=2.0)
    run_grid(JointStub(), classes(), tmp_path, request(options=other))
    suffix = {"cells": "json", "branches": "npz"}[kind]
    name = f"{kind}/felt/shots1_seed0.{suffix}"
    (tmp_path / "cells/felt/shots1_seed0.json").unlink()
    (tmp_path / name).write_bytes(contents(whole)[name])
    with pytest.raises(ArtifactError, match="of a grid with other data, options or model"):
        run_grid(JointStub(), classes(), tmp_path, request(options=other))
    (tmp_path / name).write_bytes(contents(whole)[name][:-1])
    with pytest.raises(ArtifactError, match=r"shots1_seed0"):
        run_grid(JointStub(), classes(), tmp_path, request(options=other))


@pytest.mark.parametrize("asked", [{"shots": ()}, {"shots": (0,)}, {"seeds": (-1,)}, {"tasks": ("all",)}])
def test_requests_that_make_no_sense(asked: dict[str, Any]) -> None:
    """Nothing, or what cannot be."""
    with pytest.raises(DataError, match="shots"):
        request(**asked)
