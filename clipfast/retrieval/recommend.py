"""Fabrics by rules alone: what the attributes of a picture speak for, with names and notes in two languages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from clipfast.retrieval.attributes import FabricAttributes, visual_attributes
from clipfast.retrieval.queries import require_topk
from clipfast.retrieval.rules import Language, RuleSet, RulesSource, load_rules, require_language

__all__ = ["Recommendation", "recommend_fabrics_localized", "rule_scores"]


class Recommendation(NamedTuple):
    """One fabric of an answer; unpacks as `name, score, display_name, notes`.

    Attributes:
        name: Fabric id.
        score: In [0, 1]; higher fits better.
        display_name: `棉布 Cotton` in Chinese, `Cotton` in English.
        notes: What to know of it; empty where nothing is said.
    """

    name: str
    score: float
    display_name: str
    notes: str


def recommend_fabrics_localized(
    attrs: FabricAttributes | Mapping[str, Any],
    lang: Language = "zh",
    top_k: int = 10,
    rules_source: RulesSource | RuleSet = "fine",
) -> list[Recommendation]:
    """Rank the fabrics of a rule file by how well attributes fit, best first; equals stand in the file's order.

    Args:
        attrs: What `extract_attributes` returns, or a dict such as `{"visual": {"dominant_color_name": "blue",
            "sheen_score": 0.6, "texture_complexity": 0.4}}`. Attributes that are missing do not count.
        lang: Language of names and notes, `zh` or `en`.
        top_k: How many, at least 1.
        rules_source: `fine`, `coarse`, a TOML file, or rules that were read before.

    Raises:
        DataError: An attribute, the language or the rule file is not as it must be.
        ShapeError: `top_k` is below 1.

    >>> attrs = {"visual": {"sheen_score": 0.9, "texture_complexity": 0.3, "pattern": "plain"}}
    >>> [r.display_name for r in recommend_fabrics_localized(attrs, lang="en", top_k=3)]
    ['Silk', 'Silk Satin', 'Satin']
    """
    language = require_language(lang)
    require_topk(top_k)
    rules = rules_source if isinstance(rules_source, RuleSet) else load_rules(rules_source)
    scores = rule_scores(attrs, rules)
    order = sorted(scores, key=lambda name: -scores[name])[:top_k]
    return [
        Recommendation(name, scores[name], rules.rules[name].display_name(language), rules.rules[name].notes(language))
        for name in order
    ]


def rule_scores(attrs: FabricAttributes | Mapping[str, Any], rules: RuleSet) -> dict[str, float]:
    """Return the score of every rule, in [0, 1], by fabric id in the file's order.

    Raises:
        DataError: An attribute has the wrong type or range, or none is known.
    """
    visual = visual_attributes(attrs)
    return {name: rule.score(visual) for name, rule in rules.rules.items()}
