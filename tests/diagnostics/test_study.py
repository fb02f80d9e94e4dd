"""Chosen experiments on a model and a data set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clipfast.datasets.fabricworld import render
from clipfast.diagnostics.experiments import (
    EXPERIMENTS,
    StudyData,
    StudyOptions,
    compare_sets,
    fabricworld_study,
    head_ablation,
    read_study,
    relation_experiment,
    run_study,
)
from clipfast.diagnostics.experiments.heads import HeadData, cross_dataset_runs
from clipfast.diagnostics.experiments.probes import context_ablation
from clipfast.errors import DataError
from clipfast.report.experiments import read_study_result, save_study
from clipfast.runtime.clip import Clip
from clipfast.types import Floats
from diagnostics.samples import write_lines

QUICK = StudyOptions(seeds=(0, 1), scenes=2, most=4, knowledge={"denim": ["blue cloth"]})


@pytest.fixture(scope="module")
def world() -> StudyData:
    """Two fabrics, three small pictures of each in each part."""
    return fabricworld_study(0, per_class=5, fabrics=["denim", "lace"], size=64)


def test_every_experiment_is_run(world: StudyData, mini: Clip, tmp_path: Path) -> None:
    """Each gives arms with seeds and corrected tests; what was written is read again as it was."""
    seen: list[tuple[int, int]] = []
    study = run_study(mini, world, (), replace(QUICK, progress=lambda done, total: seen.append((done, total))))
    paths = save_study(tmp_path, study)

    assert [each.name for each in study.outcomes] == list(EXPERIMENTS)
    assert study.skipped == ()
    assert seen[-1] == (len(EXPERIMENTS), len(EXPERIMENTS))
    for each in study.outcomes:
        base, *others = each.result.arms
        assert base.name == each.result.baseline
        assert base.p_holm is None
        assert others
        assert all(arm.p_holm is not None and arm.p_value is not None and arm.difference for arm in others)
        assert {arm.seeds for arm in each.result.arms} == ({1} if each.name in {"localisation", "knowledge"} else {2})
    assert "other background" in [arm.name for arm in study.outcomes[4].result.arms]
    assert read_study_result(tmp_path / "experiments.json") == study
    text = (tmp_path / "experiments.md").read_text(encoding="utf-8")
    plots = [line.split("(")[-1].rstrip(")") for line in text.splitlines() if line.startswith("![")]
    assert len(plots) == len(EXPERIMENTS)
    assert all((tmp_path / plot).read_bytes().startswith(b"\x89PNG") for plot in plots)
    assert all(path.exists() for path in paths)


def test_what_the_data_lack_is_said(world: StudyData, mini: Clip) -> None:
    """Without training, other data, boxes and words most are left out with a reason; by name it is an error."""
    texts = ("",) * len(world.test)
    bare = replace(world, train=None, other=None, regions=None, objects=None, test=replace(world.test, texts=texts))
    study = run_study(mini, bare, (), replace(QUICK, knowledge=None))
    lacks = {each.name: each.lacks for each in study.skipped}

    assert [each.name for each in study.outcomes] == ["augmentation", "relation"]
    assert '"split": "train"' in lacks["cleaning"]
    assert "--other" in lacks["few-shot"]
    assert "candidates" in lacks["localisation"]
    assert "--knowledge" in lacks["knowledge"]
    assert "keyword" in lacks["context"]
    with pytest.raises(DataError, match="cleaning cannot be run on fabricworld: it fits a head"):
        run_study(mini, bare, ("cleaning",), QUICK)
    with pytest.raises(DataError, match=r"experiments are noise-injection, .*; got 'magic'"):
        run_study(mini, bare, ("magic",), QUICK)
    with pytest.raises(DataError, match="seeds must be"):
        run_study(mini, bare, ("relation",), replace(QUICK, seeds=()))


def test_a_data_set_from_json_lines(tmp_path: Path, mini: Clip) -> None:
    """Splits, domains that were not trained on, boxes in pixels; fields of predictions are passed over."""
    lines: list[dict[str, Any]] = []
    for at in range(40):
        name = ("denim", "lace")[at % 2]
        Image.fromarray(render(at, fabric=name, colour="blue", size=64).image).save(tmp_path / f"{at}.png")
        lines.append(
            {
                "id": at, "image": f"{at}.png", "text": f"a photo of {name} fabric", "label": name, "keyword": name,
                "split": "Train" if at < 20 else "test", "domain": "shop" if at < 30 else "street",
                "size_hw": [64, 64], "candidates": [[0, 0, 32, 64], [32, 0, 64, 64]], "answer": at % 2,
                "probs": {"denim": 0.5, "lace": 0.5},
            }
        )  # fmt: skip
    data = read_study(write_lines(tmp_path / "d.jsonl", lines))

    assert data.classes == ("denim", "lace")
    assert data.train is not None
    assert data.other is not None
    assert (len(data.train), len(data.test), len(data.other)) == (20, 10, 10)
    assert data.test.labels.tolist() == [at % 2 for at in range(20, 30)]
    assert data.regions is not None
    assert data.regions.candidates[0].tolist() == [[0, 0, 0.5, 1], [0.5, 0, 1, 1]]
    study = run_study(mini, data, ("cross-dataset", "few-shot", "localisation", "context", "imputation"), QUICK)
    assert len(study.outcomes) == 5
    for changed, message in (
        ({"label": "silk"}, "line 41: label must be one of denim, lace; got 'silk'"),
        ({"candidates": [[0, 0, 99, 9], [0, 0, 9, 9]]}, "line 41: candidates must be xyxy inside"),
        ({"answer": 2}, "line 41: candidates must be xyxy inside"),
        ({"colour": "red"}, "line 41: .*unknown field `colour`"),
    ):
        wrong = [{"classes": ["denim", "lace"]}, *lines[:39], {**lines[39], **changed}]
        with pytest.raises(DataError, match=message):
            read_study(write_lines(tmp_path / "w.jsonl", wrong))


def test_sets_of_different_samples_are_compared() -> None:
    """A gap that is there is found with a small p-value, none is not; p-values are corrected over the arms."""
    rng = np.random.default_rng(0)
    good, same, bad = (
        (rng.random((2, size)) < share).astype(float) for size, share in ((80, 0.9), (60, 0.9), (50, 0.3))
    )
    found = compare_sets("e", {"own": good, "like it": same, "unlike": bad}, "own")

    arm = found.arm("unlike")
    assert arm.difference is not None
    assert arm.difference.estimate == pytest.approx(bad.mean() - good.mean())
    assert arm.difference.low < arm.difference.estimate < arm.difference.high < 0
    assert (arm.p_value, arm.p_holm) == (1 / 2000, 2 / 2000)
    assert (arm.samples, found.arms[0].samples) == (50, 80)
    like = found.arm("like it").p_value
    assert like is not None
    assert like > 0.05


def _head(seed: int, move: float = 0.0) -> HeadData:
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(9).normal(size=(4, 10))
    labels = rng.integers(0, 4, 240)
    rows = (centres[labels] + 0.8 * rng.normal(size=(240, 10)) + move).astype(np.float32)
    return HeadData(rows[:120], labels[:120], rows[120:], labels[120:], 4)


def test_factors_of_a_head_are_changed_one_at_a_time() -> None:
    """Texts that say nothing are worse, and little training is no better; each arm differs in one factor."""
    images = _head(0)
    blind = np.random.default_rng(1).normal(size=(240, 6)).astype(np.float32)
    texts = HeadData(blind[:120], images.train_labels, blind[120:], images.test_labels, 4)
    found = head_ablation(images, texts)

    assert [arm.name for arm in found.arms] == [
        "baseline", "inputs = texts", "inputs = both", "training share = 0.4", "suspects = dropped", "penalty = 1.0",
        "penalty = 10.0",
    ]  # fmt: skip
    assert found.arm("inputs = texts").mean < 0.5 < found.arms[0].mean
    assert found.arm("inputs = texts").p_holm == pytest.approx(6 / 2000)
    assert found.arms[0].std is not None
    assert found.arms[0].std > 0


def test_a_moved_data_set_loses() -> None:
    """Over seeds, with the number of samples of each."""
    data, moved = _head(0), _head(5, move=2.0)
    found = cross_dataset_runs(data, moved.test[:70], moved.test_labels[:70], names=("here", "there"))

    assert [(arm.name, arm.samples, arm.seeds) for arm in found.arms] == [("here", 120, 3), ("there", 70, 3)]
    assert found.arm("there").mean < found.arms[0].mean - 0.1


def test_relations_over_seeds(mini: Clip) -> None:
    """Seeds draw other scenes; chance is the baseline; half of the undecided count."""
    found = relation_experiment(mini, scenes=3, relations=("on", "count"), seeds=(0, 1))

    assert [arm.name for arm in found.arms] == ["by chance", "on", "count"]
    assert found.arms[0].mean == 0.5
    assert all((6 * arm.mean) % 0.5 == pytest.approx(0) for arm in found.arms)


class _Signs:
    """Embeds a text by the signs that it holds."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode_texts(self, texts: Any, templates: Any = None) -> Floats:
        self.asked += list(texts)
        found = np.stack([np.bincount([ord(sign) % 97 for sign in text], minlength=97) for text in texts]) + 1e-3
        unit: Floats = (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)
        return unit

    def fingerprint(self, output: str = "embedding") -> str:
        return output


def test_half_of_a_chinese_context_is_neither_all_nor_nothing() -> None:
    """Signs are taken away one by one, as there are no spaces; order is kept and nothing is put between."""
    signs = _Signs()
    texts = ["在仓库左边的红色纽扣上面有一只猫", "在门店右边的蓝色纽扣下面有一条狗"]
    context_ablation(signs, signs.encode_texts(texts), texts, ["纽扣", "纽扣"], seeds=(0, 1, 2, 3))
    halves = [text for text in signs.asked if "纽扣" in text and text not in {*texts, "纽扣"}]

    assert len(halves) >= 7
    assert all(2 < len(text) < 16 and " " not in text for text in halves)
