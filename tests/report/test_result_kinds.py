"""Result directories of evaluate, of a grid and of diagnose, compared sample by sample."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clipfast.diagnostics import diagnose
from clipfast.errors import DataError
from clipfast.report.compare import ComparedMetric, ComparisonOfRuns, compare_results
from clipfast.report.diagnosis import DiagnosisReport
from clipfast.report.results import load_result
from diagnostics.samples import clustered


def _evaluation(ranks: list[int], names: str = "abcd") -> dict[str, Any]:
    return {
        "kind": "evaluate",
        "samples": [{"id": name, "sha256": name * 2} for name in names],
        "phases": [{"name": "+CLIP", "top": {"1": {}, "3": {}}, "ranks": ranks}],
    }


def _grid(aurocs: list[float], label: str = "good") -> dict[str, Any]:
    def cell(seed: int, auroc: float) -> dict[str, Any]:
        modes = {"memory": {"auroc": auroc, "aupro": None}}
        return {
            "class_name": "lace", "shots": 1, "seed": seed, "image": {"modes": modes},
            "pixel": {"modes": {}} if seed else None,
        }  # fmt: skip

    return {
        "kind": "anomaly_grid",
        "pixels": "all",
        "classes": [{"name": "lace", "samples": [["a.png", "00", label]]}],
        "cells": [cell(seed, value) for seed, value in enumerate(aurocs)],
    }


def _write(folder: Path, name: str, content: dict[str, Any]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(content))
    return folder


def _compared(first: Path, second: Path) -> tuple[ComparisonOfRuns, dict[str, ComparedMetric]]:
    found = compare_results(load_result(first), load_result(second), resamples=200)
    return found, {row.metric: row for row in found.rows}


def test_evaluations_are_compared_by_the_ranks_of_their_pictures(tmp_path: Path) -> None:
    """Rank 0 is not found: never right, and 0 in MRR."""
    first = _write(tmp_path / "a", "evaluation_results.json", _evaluation([1, 2, 0, 4]))
    found, rows = _compared(first, _write(tmp_path / "b", "evaluation_results.json", _evaluation([1, 1, 3, 0])))

    assert (found.kind, found.samples) == ("evaluate", 4)
    assert (rows["top1"].first, rows["top1"].second) == (0.25, 0.5)
    assert (rows["top3"].first, rows["top3"].second) == (0.5, 0.75)
    assert rows["mrr"].first == pytest.approx((1 + 1 / 2 + 1 / 4) / 4)
    assert rows["top1"].p_value is not None


def test_grids_are_compared_by_their_cells(tmp_path: Path) -> None:
    """The difference is the mean over cells; cells of other test images are other samples."""
    first = _write(tmp_path / "a", "grid_results.json", _grid([0.5, 0.75]))
    found, rows = _compared(first, _write(tmp_path / "b", "grid_results.json", _grid([0.75, 1.0])))

    assert (found.samples, list(rows)) == (2, ["cls.auroc"])
    assert rows["cls.auroc"].difference == pytest.approx(0.25)
    with pytest.raises(DataError, match="2 changed"):
        _compared(first, _write(tmp_path / "c", "grid_results.json", _grid([0.5, 0.75], "hole")))
    with pytest.raises(DataError, match="1 only in the first"):
        _compared(first, _write(tmp_path / "d", "grid_results.json", _grid([0.5])))


def test_diagnoses_are_compared_by_their_judged_samples(tmp_path: Path) -> None:
    """Accuracy is that of the diagnosis, and the shares of causes are what is wrong."""
    data = clustered(300, noise=0.3)
    found = diagnose(data)
    DiagnosisReport("t", found, data).save(tmp_path / "a")
    compared, rows = _compared(tmp_path / "a", tmp_path / "a")

    assert compared.samples == found.judged
    assert rows["accuracy"].first == pytest.approx(found.accuracy.estimate)
    shares = [row.first or 0 for name, row in rows.items() if name.startswith("share: ")]
    assert np.sum(shares) == pytest.approx(found.wrong / found.judged)


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    """Other kinds, other samples, rows that are missing or named twice."""
    first = _write(tmp_path / "a", "evaluation_results.json", _evaluation([1, 2, 0, 4]))
    with pytest.raises(DataError, match="must be of one kind"):
        _compared(first, _write(tmp_path / "b", "grid_results.json", _grid([0.5])))
    with pytest.raises(DataError, match="1 only in the first"):
        _compared(first, _write(tmp_path / "c", "evaluation_results.json", _evaluation([1, 2, 0, 4], "abce")))
    for wrong in (_evaluation([1, 2]), _evaluation([1, 2, 0, 4], "aabc"), {"kind": "evaluate", "samples": []}):
        with pytest.raises(DataError, match="each"):
            load_result(_write(tmp_path / "d", "evaluation_results.json", wrong))


def test_patches_of_one_photo_are_resampled_together(tmp_path: Path) -> None:
    """Six patches of three photos say what three pictures say; told apart, they would say more."""
    ranks = [1, 1, 2, 2, 2, 2], [1, 1, 1, 1, 1, 1]
    runs: dict[str, list[int | None]] = {"grouped": [0, 0, 1, 1, 2, 2], "apart": [None] * 6, "alone": [0] * 6}
    rows = {}
    for name, photos in runs.items():
        folders = []
        for at, each in enumerate(ranks):
            content = _evaluation(each, "abcdef")
            for sample, photo in zip(content["samples"], photos, strict=True):
                sample.update({} if photo is None else {"photo": photo})
            folders.append(_write(tmp_path / f"{name}{at}", "evaluation_results.json", content))
        rows[name] = _compared(*folders)[1]["top1"]
    three = [
        _write(tmp_path / f"three{at}", "evaluation_results.json", _evaluation(each[::2], "abc"))
        for at, each in enumerate(ranks)
    ]
    twin = _compared(*three)[1]["top1"]
    assert (rows["grouped"].low, rows["grouped"].high) == pytest.approx((twin.low, twin.high))
    assert rows["grouped"].p_value == twin.p_value == 0.25  # 2 / 2**3
    assert rows["grouped"].difference == rows["apart"].difference == pytest.approx(2 / 3)
    assert rows["apart"].low is not None
    assert rows["grouped"].low is not None
    assert rows["apart"].low > rows["grouped"].low
    assert rows["alone"].p_value is None  # one photo has no spread to tell of
