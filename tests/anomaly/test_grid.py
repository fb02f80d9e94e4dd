"""Tests of clipfast.anomaly.grid: figures, gates and records, with the stand-in model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clipfast.anomaly import (
    MODES,
    AnomalyDetector,
    AnomalyOptions,
    GateCase,
    choose_shots,
    fit_gate,
    fuse_images,
    fuse_pixels,
)
from clipfast.anomaly.grid import run_grid
from clipfast.anomaly.grid.inspection import inspect_grid
from clipfast.anomaly.grid.records import GridResults
from reference import naive_ranking
from reference.anomaly_stubs import JointStub, PatchStub
from reference.grid_cases import CLASSES, OPTIONS, branch_report_of, cell_of, classes, request

pytestmark = pytest.mark.usefixtures("unflushed")


def fitted(name: str, shots: int, seed: int) -> AnomalyDetector:
    """The detector of a cell, made without the grid."""
    images = {one.key.removeprefix(f"{name}/"): one.image for one in classes()[name].train}
    chosen = [images[path.as_posix()] for path in choose_shots(images, shots, seed=seed)]
    options = AnomalyOptions(size_hw=OPTIONS.size_hw, sigma=OPTIONS.sigma, seed=seed, shots_seed=seed)
    return AnomalyDetector.fit(JointStub(), chosen, class_name=name, options=options)


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
