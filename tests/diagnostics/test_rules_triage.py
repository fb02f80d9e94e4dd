"""The rule table, and what follows from it for each wrong sample."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clipfast.diagnostics import CAUSES, FEATURES, DiagnoseOptions, Predictions, RuleTable, default_rules, diagnose
from clipfast.diagnostics.features import Features, Measured, sample_features
from clipfast.diagnostics.rules import default_rules_text
from clipfast.diagnostics.triage import triage
from clipfast.errors import DataError
from diagnostics.samples import clustered


def _features(**columns: list[float]) -> Features:
    count = len(next(iter(columns.values())))
    empty = [float("nan")] * count
    return Features(np.arange(count), np.array([columns.get(name, empty) for name in FEATURES]).T)


def _table(rules: str, path: Path) -> RuleTable:
    head, _, _ = default_rules_text().partition("[[rules]]")
    path.write_text(head + rules, encoding="utf-8")
    return RuleTable.load(path)


def test_conditions_hold_veto_and_pass_over_what_is_missing(tmp_path: Path) -> None:
    """`when` needs the feature, `unless` needs it to stop a rule; quantiles are those of the right samples."""
    table = _table(
        """
        [[rules]]
        cause = "noise"
        says = "sure"
        weight = 2
        when = [{ feature = "confidence", at_least = 0.9 }]
        unless = [{ feature = "text_words", at_most = 0 }]
        [[rules]]
        cause = "alignment"
        says = "spread"
        weight = 1
        when = [{ feature = "entropy", at_least = 0.5, usual = true }]
        """,
        tmp_path / "rules.toml",
    )
    nan = float("nan")
    features = _features(
        confidence=[0.95, 0.95, 0.95, 0.5, nan] + [0.5] * 21,
        text_words=[3, 0, nan, 3, 3] + [3] * 21,
        entropy=[nan, nan, nan, 11, 9, *list(map(float, range(21)))],
    )
    right = np.arange(26) >= 5

    spoken = table.verdicts(features, right).spoken[:5]

    assert spoken[:, 0].tolist() == [True, False, True, False, False]
    assert spoken[:, 1].tolist() == [False, False, False, True, False]
    few = table.verdicts(_features(entropy=[5.0, 9.0]), np.array([True, False]))
    assert not few.spoken.any()  # one right sample says nothing of what is usual


def test_too_little_or_equal_evidence_is_no_cause(tmp_path: Path) -> None:
    """Below the least weight, and without a lead, the cause cannot be told."""
    rules = "".join(
        f"""
        [[rules]]
        cause = "{cause}"
        says = "x"
        weight = {weight}
        when = [{{ feature = "{feature}", at_least = 1 }}]
        """
        for cause, feature, weight in (
            ("noise", "confidence", 2.0),
            ("alignment", "margin", 2.0),
            ("ambiguity", "entropy", 1.0),
        )
    )
    table = _table(rules, tmp_path / "rules.toml")
    features = _features(confidence=[1, 0, 1, 0, 1], margin=[0, 1, 1, 0, 0], entropy=[0, 0, 0, 1, 0])

    found = table.verdicts(features, np.array([False, False, False, False, True])).cause

    assert [CAUSES[i] if i >= 0 else "-" for i in found.tolist()] == ["noise", "alignment", "-", "-", "-"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("version = 1", "version = 2", "version must be 1; got 2"),
        ('feature = "pair_rank"', 'feature = "pair_rang"', "feature must be one of"),
        ("at_most = 0.15", "usual = false", "needs one of at_least and at_most"),
        ('cause = "capacity"', 'cause = "luck"', "Invalid enum value 'luck'"),
        ("weight = 0.5", "weight = -1", "Expected `float` > 0"),
        ("gain = 0.8", "gain = 1.8", "Expected `float` <= 1"),
        ("[causes.capacity]", "[causes.other]", "Invalid enum value 'other'"),
        ("version = 1", "version = ", "is not a rule table"),
        ("least_lead", "least_leed", "unknown field"),
        ("at_least = 0.995, usual", "at_least = 99.5, usual", "quantile from 0 to 1"),
    ],
)
def test_a_wrong_table_is_explained(tmp_path: Path, old: str, new: str, message: str) -> None:
    """The default table with one thing wrong."""
    text = default_rules_text()
    assert old in text
    path = tmp_path / "rules.toml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")

    with pytest.raises(DataError, match=message):
        RuleTable.load(path)


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    """With the command that writes one."""
    with pytest.raises(DataError, match="clipfast diagnose rules"):
        RuleTable.load(tmp_path / "none.toml")


def test_features_of_the_document_are_all_there() -> None:
    """By the names it uses."""
    wanted = {
        "image_confidence", "text_confidence", "attention_entropy", "localization_iou", "train_freq_of_template",
        "domain_ood_score",
    }  # fmt: skip

    assert wanted <= set(FEATURES)
    assert {c.feature for rule in default_rules().rules for c in (*rule.when, *rule.unless)} <= set(FEATURES)
    assert {rule.cause for rule in default_rules().rules} == set(CAUSES)


def test_features_by_hand() -> None:
    """Shares, gains, words, frequencies, losses."""
    probs = np.array([[0.6, 0.4], [0.2, 0.8], [0.9, 0.1]])
    data = Predictions(
        tuple("abc"), ("x", "y"), np.array([0, 0, 0]), probs, texts=("two words", "", "? !"),
        columns={"split": np.array(["train", "test", "test"]), "domain": np.array(["p", "q", "p"])},
        losses=np.array([[1.0, 1.0], [1.0, 4.0], [3.0, 2.0]]),
        image_only=np.array([[0.5, 0.5], [0.2, 0.8], [np.nan, np.nan]]),
    )  # fmt: skip
    found = sample_features(data, Measured())

    assert found.rows.tolist() == [1, 2]
    assert found.column("label_share").tolist() == [0.25, 1.0]
    assert found.column("label_rank").tolist() == [2.0, 1.0]
    assert found.column("text_gain")[0] == 0.0
    assert np.isnan(found.column("text_gain")[1])
    assert found.column("image_confidence")[0] == 0.8
    assert found.column("text_words").tolist() == [0.0, 0.0]
    assert found.column("domain_seen").tolist() == [0.0, 1.0]
    assert found.column("train_freq_of_template").tolist() == [1.0, 1.0]
    assert found.column("loss_rank").tolist() == [0.5, 0.0]
    assert found.column("loss_jump").tolist() == [1.2, -0.4]
    assert np.isnan(found.column("attention_entropy")).all()


def test_wrong_labels_are_found_and_shared_out() -> None:
    """Most flipped samples are noise; shares and priorities are those of the counts; raised ones come first."""
    data = clustered(600, noise=0.2)
    found = triage(data, sample_features(data, Measured()), default_rules())
    noise = found.findings[0]

    assert noise.cause == "noise"
    assert noise.raised
    assert noise.samples > 0.7 * len(found.rows)
    assert noise.share.estimate == noise.samples / found.judged
    assert noise.priority == pytest.approx(noise.share.estimate * noise.gain / noise.cost)
    assert sum(each.samples for each in found.findings) + found.undecided == len(found.rows)
    assert noise.evidence[0].samples <= noise.samples
    assert set(noise.examples) <= set(data.ids)


def test_a_clean_set_raises_nothing() -> None:
    """No cause is named in any of ten clean sets."""
    named = [diagnose(clustered(600, seed=seed)).triage.raised for seed in range(10)]

    assert named == [()] * 10


def test_priority_follows_the_table(tmp_path: Path) -> None:
    """A cost ten times as high divides the priority by ten."""
    path = tmp_path / "rules.toml"
    path.write_text(default_rules_text().replace("cost = 1.0", "cost = 10.0", 1), encoding="utf-8")
    data = clustered(400, noise=0.2)

    cheap, dear = (
        diagnose(data, DiagnoseOptions(rules=table)).triage.findings for table in (None, RuleTable.load(path))
    )

    assert {f.cause: f.priority for f in dear}["noise"] == pytest.approx(
        {f.cause: f.priority for f in cheap}["noise"] / 10
    )
