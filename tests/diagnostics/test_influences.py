"""Influence of training samples: exact, in the report, and what is said where it cannot be had."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clipfast.diagnostics import diagnose
from clipfast.diagnostics.checklist import checklist
from clipfast.diagnostics.influences import influence_lacks, training_influences
from clipfast.diagnostics.ridge import RidgeHead
from clipfast.report.diagnosis import DiagnosisReport
from clipfast.types import Ints
from diagnostics.samples import clustered


def test_influences_are_those_of_refitted_heads() -> None:
    """Of every training sample: the mean squared error on judged ones without it, less that with all."""
    data = clustered(60, classes=3)
    found = training_influences(data)
    assert found is not None
    assert data.image_rows is not None
    train, judged = np.flatnonzero(data.in_training), np.flatnonzero(data.judged)

    def error(rows: Ints) -> float:
        assert data.image_rows is not None
        head = RidgeHead.fit(data.image_rows[rows], data.labels[rows], 3, penalty=0.1)
        return float(((np.eye(3)[data.labels[judged]] - head.scores(data.image_rows[judged])) ** 2).sum(axis=1).mean())

    assert found.error == pytest.approx(error(train))
    assert found.rows.tolist() == train.tolist()
    assert found.values == pytest.approx([error(np.delete(train, at)) - error(train) for at in range(30)], abs=1e-9)
    assert [each.influence for each in found.worst] == sorted(found.values[found.values < 0].tolist())[:20]
    assert found.harmful == int((found.values < 0).sum())


def test_wrong_training_labels_are_the_worst(tmp_path: Path) -> None:
    """In the report, in its JSON and in a line for each training sample."""
    data = clustered(400)
    labels = data.labels.copy()
    labels[:10] = (labels[:10] + 1) % 8
    data = replace(data, labels=labels)
    found = diagnose(data)
    paths = DiagnosisReport("t", found, data).save(tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "influence.jsonl").read_text(encoding="utf-8").splitlines()]
    plain = json.loads((tmp_path / "diagnosis.json").read_text(encoding="utf-8"))["influences"]

    wrong = [each for each in lines if int(each["id"][1:]) < 10]
    assert sum(each in wrong for each in lines[:10]) >= 8  # by chance it would be one
    assert all(each["prefers"] != each["label"] for each in wrong)
    assert len(lines) == plain["training"] == 200
    assert [each["id"] for each in plain["worst"]] == [each["id"] for each in lines[:20]]
    assert "values" not in plain
    assert tmp_path / "influence.jsonl" in paths
    for name in ("diagnosis.html", "diagnosis.md"):
        assert "Most harmful" in (tmp_path / name).read_text(encoding="utf-8")


def test_what_influences_lack_is_said(tmp_path: Path) -> None:
    """Embeddings, a training split, enough samples; text embeddings do as well."""
    data = clustered(100)
    blind = replace(data, image_rows=None)
    alone = replace(data, columns={})
    few = data.select(np.arange(45, 100))

    for each, words in ((blind, "embeddings"), (alone, "training split"), (few, "10 training samples of two classes")):
        assert words in influence_lacks(each)
        found = diagnose(each)
        item = next(item for item in checklist(found) if item.question == "Which training samples do harm?")
        assert found.influences is None
        assert item.answer == "open"
        assert words in item.says
        assert words in found.missing["influence"]
    DiagnosisReport("t", diagnose(blind), blind).save(tmp_path)
    assert "It cannot be said which training samples do harm" in (tmp_path / "diagnosis.md").read_text(encoding="utf-8")
    assert not (tmp_path / "influence.jsonl").exists()
    text = training_influences(replace(blind, text_rows=data.image_rows))
    assert text is not None
    assert text.features == "texts"
