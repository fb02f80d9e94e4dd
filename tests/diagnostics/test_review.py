"""Samples for people, and what their verdicts say."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from clipfast.diagnostics import CAUSES, diagnose
from clipfast.diagnostics.review import (
    VERDICTS,
    apply_verdicts,
    plan_review,
    read_verdicts,
    review_size,
    write_review,
)
from clipfast.errors import DataError, ShapeError
from diagnostics.samples import clustered


def test_the_size_gives_the_interval() -> None:
    """As many as the precision asks for, never more than there are; the interval is then that wide."""
    from clipfast.metrics import wilson_interval

    count = review_size(0.05, population=10**9)
    found = wilson_interval(round(0.2 * count), count)

    assert (found.high - found.low) / 2 == pytest.approx(0.05, abs=0.002)
    assert review_size(0.05, population=40) <= 40
    assert review_size(0.05, population=0) == 0
    with pytest.raises(ShapeError, match="half_width"):
        review_size(0, population=10)


def test_a_plan_is_random_and_repeats() -> None:
    """From the strata asked for, without repeats, equal for equal seeds."""
    data = clustered(400, noise=0.3)
    plan = plan_review(data, wrong=20, right=10, seed=1)
    rows = [item.row for item in plan]

    assert [item.stratum for item in plan] == ["wrong"] * 20 + ["right"] * 10
    assert len(set(rows)) == 30
    assert not data.right[rows[:20]].any()
    assert data.right[rows[20:]].all()
    assert data.judged[rows].all()
    assert plan == plan_review(data, wrong=20, right=10, seed=1) != plan_review(data, wrong=20, right=10, seed=2)


def _filled(path: Path, verdicts: dict[str, str], columns: tuple[str, ...] = ("id", "verdict")) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(verdicts.items())
    return path


def test_export_fill_in_import(tmp_path: Path) -> None:
    """What is written can be filled in and read; formulas are disarmed; empty verdicts are skipped."""
    from dataclasses import replace

    data = clustered(200, noise=0.3)
    data = replace(data, texts=tuple(f"=cmd({i})" for i in range(200)))
    items = plan_review(data, wrong=5, right=0, seed=0)
    write_review(tmp_path / "r.csv", data, items, {items[0].row: "noise"})
    text = (tmp_path / "r.csv").read_text(encoding="utf-8-sig")
    rows = list(csv.DictReader(text.splitlines()))

    assert [row["id"] for row in rows] == [data.ids[item.row] for item in items]
    assert rows[0]["cause"] == "noise"
    assert all(row["text"].startswith("'=cmd") for row in rows)
    assert read_verdicts(tmp_path / "r.csv", data) == {}
    (tmp_path / "r.csv").write_text(text.replace(",noise,,", ",noise,Mismatch,"), encoding="utf-8-sig")
    assert read_verdicts(tmp_path / "r.csv", data) == {items[0].row: "mismatch"}


def test_wrong_files_are_explained(tmp_path: Path) -> None:
    """Unknown verdicts, samples and columns; a sample twice; no file."""
    data = clustered(20)
    with pytest.raises(DataError, match="line 2: verdict must be one of mismatch"):
        read_verdicts(_filled(tmp_path / "a.csv", {"s1": "bad"}), data)
    with pytest.raises(DataError, match="line 2: there is no sample 'zz'"):
        read_verdicts(_filled(tmp_path / "b.csv", {"zz": "fine"}), data)
    with pytest.raises(DataError, match="must have the columns id and verdict"):
        read_verdicts(_filled(tmp_path / "c.csv", {"s1": "fine"}, ("id", "word")), data)
    (tmp_path / "d.csv").write_text("id,verdict\ns11,fine\ns11,fine\n")
    with pytest.raises(DataError, match="line 3: sample 's11' has a verdict already"):
        read_verdicts(tmp_path / "d.csv", data)
    with pytest.raises(DataError, match="review export"):
        read_verdicts(tmp_path / "none.csv", data)


def test_verdicts_change_ratio_rule_and_causes() -> None:
    """Counted by hand: the 20 % rule, the ratio of all, settled causes and the ones that remain."""
    data = clustered(400, noise=0.3)
    wrong = np.flatnonzero(data.judged & ~data.right)
    right = np.flatnonzero(data.judged & data.right)
    verdicts = dict.fromkeys(wrong[:15].tolist(), "wrong label") | dict.fromkeys(wrong[15:25].tolist(), "fine")
    verdicts |= {int(wrong[25]): "ambiguous", int(wrong[26]): "unsure"}

    result, settled = apply_verdicts(data, verdicts)

    assert result.noise_of_wrong is not None
    assert result.noise_of_wrong.estimate == pytest.approx(15 / 26)
    assert result.noise_first
    assert result.sure
    assert (result.reviewed, result.unsure, result.right_looked_at) == (26, 1, 0)
    assert result.noise_of_all is not None
    assert result.noise_of_all.estimate == pytest.approx(15 / 26 * len(wrong) / 200)
    assert CAUSES[int(settled[wrong[0]])] == "noise"
    found = diagnose(data, verdicts=verdicts)
    cause = dict(
        zip(found.triage.rows.tolist(), map(found.triage.cause_of, range(len(found.triage.rows))), strict=True)
    )
    assert {cause[row] for row in wrong[:15].tolist()} == {"noise"}
    assert "noise" not in {cause[row] for row in wrong[15:25].tolist()}
    assert cause[int(wrong[25])] == "ambiguity"
    assert found.review == result

    with_right, _ = apply_verdicts(data, verdicts | dict.fromkeys(right[:20].tolist(), "fine"))
    assert with_right.noise_of_all is not None
    assert with_right.noise_of_all.high > result.noise_of_all.high  # nobody had looked at right ones before
    few, _ = apply_verdicts(data, {int(wrong[0]): "fine", int(wrong[1]): "mismatch"})
    assert not few.sure
    assert few.more > 0


def test_names_that_are_formulas_and_samples_that_are_not_judged(tmp_path: Path) -> None:
    """A name is disarmed like any text and found again; a training sample has no verdict."""
    from dataclasses import replace

    data = clustered(40, noise=0.5)
    data = replace(data, ids=tuple(f"=s{i}" for i in range(40)))
    items = plan_review(data, wrong=1, right=0, seed=0)
    write_review(tmp_path / "r.csv", data, items)
    text = (tmp_path / "r.csv").read_text(encoding="utf-8-sig")

    assert f"\n'=s{items[0].row}," in text
    (tmp_path / "r.csv").write_text(text.rstrip("\n,") + ",,fine,\n", encoding="utf-8")
    assert read_verdicts(tmp_path / "r.csv", data) == {items[0].row: "fine"}
    with pytest.raises(DataError, match="line 2: sample '=s1' is of the training split"):
        read_verdicts(_filled(tmp_path / "t.csv", {"=s1": "fine"}), data)


def test_enough_verdicts_teach_what_rules_do_not_know(tmp_path: Path) -> None:
    """People who call everything the opposite of the rules are followed; too few, and the rules decide."""
    data = clustered(1200, noise=0.3)
    plain = diagnose(data)
    wrong = np.flatnonzero(data.judged & ~data.right)
    ranks = dict(zip(plain.of_samples.rows.tolist(), plain.of_samples.column("label_rank").tolist(), strict=True))
    said = {row: "missing" if ranks[row] >= 5 else "fine" for row in wrong.tolist()}
    seen = dict(list(said.items())[:100])

    found = diagnose(data, verdicts=seen)
    few = diagnose(data, verdicts=dict(list(said.items())[:8]))

    assert few.learned is None
    assert found.learned is not None
    assert found.learned.kinds == ("missing modality", "model at fault")
    assert found.learned.used
    assert found.learned.verdicts == 100
    assert found.learned.rules_accuracy.estimate < 0.2
    assert found.learned.accuracy.estimate > 0.8
    cause = {row: found.triage.cause_of(at) for at, row in enumerate(found.triage.rows.tolist())}
    unseen = [row for row in wrong.tolist() if row not in seen]
    hits = [(cause[row] == "missing modality") == (said[row] == "missing") for row in unseen]
    assert np.mean(hits) > 0.8
    assert {cause[row] for row in seen if seen[row] == "missing"} == {"missing modality"}


def test_rules_that_do_as_well_stay(tmp_path: Path) -> None:
    """A classifier of what the rules say themselves cannot be better, and is not used."""
    data = clustered(1200, noise=0.3)
    plain = diagnose(data).triage
    told = {row: plain.cause_of(at) for at, row in enumerate(plain.rows.tolist())}
    word = {"noise": "wrong label", "ambiguity": "ambiguous", "missing modality": "missing"}
    verdicts = {row: word[cause] for row, cause in told.items() if cause in word}
    kept = dict(list(verdicts.items())[::2])

    found = diagnose(data, verdicts=kept)

    assert found.learned is None or not found.learned.used
    assert {row: found.triage.cause_of(at) for at, row in enumerate(found.triage.rows.tolist())} == told


def test_every_cause_of_a_verdict_exists() -> None:
    """Verdicts settle known causes or none."""
    assert {cause for cause in VERDICTS.values() if cause} <= set(CAUSES)
