"""Rules about fabrics: `fine.toml` and `coarse.toml` beside this file, or a file of the user's own."""

from clipfast.retrieval.rules.ruleset import (
    Condition,
    Language,
    Rule,
    RuleSet,
    RulesSource,
    load_rules,
    require_language,
)

__all__ = ["Condition", "Language", "Rule", "RuleSet", "RulesSource", "load_rules", "require_language"]
