"""Rules: the starter set, how a fabric is scored, names in two languages, and errors that name the line."""

from __future__ import annotations

from pathlib import Path

import pytest

from clipfast.datasets.fabricworld import FABRICS
from clipfast.errors import DataError, ShapeError
from clipfast.retrieval.attributes import CHOICES, SCORES
from clipfast.retrieval.recommend import recommend_fabrics_localized, rule_scores
from clipfast.retrieval.rules import load_rules

# The dictionary of the source document.
ATTRS = {"visual": {"dominant_color_name": "blue", "sheen_score": 0.6, "texture_complexity": 0.4}}

ENTRY = """\
[[fabric]]
id = "cotton"
en = "Cotton"
zh = "棉布"
notes_zh = "透气"

[fabric.attributes]
sheen_score = { low = 0.0, high = 0.4, weight = 3.0 }
pattern = { any = ["plain"], otherwise = 0.5 }

[[fabric]]
id = "silk"
en = "Silk"
zh = "真丝"
attributes.sheen_score = { low = 0.6, soft = 0.4 }
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Two fabrics."""
    path = tmp_path / "rules.toml"
    path.write_text(ENTRY, encoding="utf-8")
    return path


def test_the_starter_set_is_a_real_one() -> None:
    """At least thirty fabrics, each with both names, both notes and two conditions; all of fabricworld is there."""
    rules = load_rules("fine").rules
    assert len(rules) >= 30
    assert {fabric.id for fabric in FABRICS.values()} <= set(rules)
    assert {"cotton", "silk_satin", "linen", "wool", "polyester"} <= set(rules)  # of the source document
    for rule in rules.values():
        assert rule.notes_en
        assert any("\u4e00" <= sign <= "\u9fff" for sign in rule.zh)
        assert any("\u4e00" <= sign <= "\u9fff" for sign in rule.notes_zh)
        assert len(rule.attributes) >= 2
    assert len({rule.zh for rule in rules.values()}) == len(rules)
    assert rules["denim"].zh == FABRICS["denim"].zh


def test_families_stand_for_single_fabrics() -> None:
    """Every member of the coarse set is a fabric of the fine one, and of one family only."""
    fine, coarse = load_rules("fine").rules, load_rules("coarse").rules
    members = [member for rule in coarse.values() for member in (rule.id, *rule.members) if member in fine]
    assert len(members) == len(set(members))
    assert {member for rule in coarse.values() for member in rule.members} <= set(fine)
    assert set(members) == set(fine)


def test_the_call_of_the_source_document_works() -> None:
    """Ten tuples of name, score, display name and notes, best first, in Chinese with the English name beside."""
    results = recommend_fabrics_localized(ATTRS, lang="zh", top_k=10, rules_source="fine")
    assert len(results) == 10
    scores = []
    for name, score, display_name, notes in results:
        rule = load_rules("fine").rules[name]
        assert display_name == f"{rule.zh} {rule.en}"
        assert notes == rule.notes_zh
        scores.append(score)
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)
    assert recommend_fabrics_localized(ATTRS, lang="en")[0].display_name == load_rules().rules[results[0].name].en


def test_scores_are_weighted_means_of_matches(file: Path) -> None:
    """By hand: full within the range, falling over `soft` outside, `otherwise` for other words, weights."""
    rules = load_rules(file)
    assert rule_scores({"sheen_score": 0.3, "pattern": "plain"}, rules) == {"cotton": 1.0, "silk": pytest.approx(0.25)}
    # Cotton: .1 outside of .2 is one half, three times; stripes count one half, once. Silk: .1 outside of .4.
    found = rule_scores({"sheen_score": 0.5, "pattern": "stripes"}, rules)
    assert found == {"cotton": pytest.approx((3 * 0.5 + 0.5) / 4), "silk": pytest.approx(0.75)}
    # Nothing is known of silk's pattern, so it is one half.
    assert rule_scores({"pattern": "plain"}, rules) == {"cotton": 1.0, "silk": 0.5}


def test_a_file_of_ones_own_may_be_named(file: Path) -> None:
    """By its path; notes in the language that there is."""
    (first, *_) = recommend_fabrics_localized(ATTRS, lang="en", rules_source=file)
    assert first[0] == "silk"
    assert recommend_fabrics_localized({"sheen_score": 0.1}, lang="en", rules_source=str(file))[0].notes == "透气"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("sheen_score = { low = 0.0", "shine = { low = 0.0", r"line 8: unknown attribute 'shine' of fabric 'cotton'"),
        (
            "attributes.sheen_score = { low = 0.6",
            "attributes.shine = { low = 0.6",
            "line 15: unknown attribute 'shine'",
        ),
        ("high = 0.4, weight", "high = 4, weight", r"line \d+ \(fabric number 1\): Expected `float` <= 1"),
        (
            "low = 0.0, high = 0.4",
            "low = 0.5, high = 0.4",
            "line 8: sheen_score of fabric 'cotton' is a score: give low",
        ),
        ('any = ["plain"]', 'any = ["flowers"]', "line 9: pattern of fabric 'cotton' knows no 'flowers'; it is one of"),
        ('any = ["plain"]', "low = 0.5", "line 9: pattern of fabric 'cotton' is a word: give any"),
        ("weight = 3.0", "wieght = 3.0", "contains unknown field `wieght`"),
        ("weight = 3.0", "weight = 0", "Expected `float` > 0"),
        ('zh = "真丝"\n', "", r"line 11 \(fabric number 2\): Object missing required field `zh`"),
        ('id = "silk"', 'id = "cotton"', "has 'cotton' twice"),
        ('en = "Silk"', "en = Silk", r"not valid TOML.*line 13"),
        ("[[fabric]]", "[[fabrics]]", "at the top level: "),
    ],
)
def test_a_bad_rule_is_named_with_its_line(file: Path, old: str, new: str, words: str) -> None:
    """And an unknown attribute with those that are known."""
    file.write_text(ENTRY.replace(old, new), encoding="utf-8")
    with pytest.raises(DataError, match=words) as caught:
        load_rules(file)
    assert caught.match("rules.toml")
    if "unknown attribute" in words:
        assert caught.match(", ".join([*SCORES, *CHOICES]))


def test_other_bad_input_is_named(tmp_path: Path) -> None:
    """No such file, no text, no fabric, no language, no place."""
    with pytest.raises(DataError, match="fine or coarse, or a TOML file; there is none at medium"):
        load_rules("medium")
    (tmp_path / "latin.toml").write_bytes(b'description = "caf\xe9"')
    with pytest.raises(DataError, match="UTF-8"):
        load_rules(tmp_path / "latin.toml")
    (tmp_path / "empty.toml").write_text("fabric = []")
    with pytest.raises(DataError, match="holds no"):
        load_rules(tmp_path / "empty.toml")
    with pytest.raises(DataError, match="lang must be one of zh, en; got 'de'"):
        recommend_fabrics_localized(ATTRS, lang="de")  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="topk"):
        recommend_fabrics_localized(ATTRS, top_k=0)
    with pytest.raises(DataError, match="sheen_score must be a number"):
        recommend_fabrics_localized({"sheen_score": 7})
