"""Where people have settled enough causes, a classifier may say what rules say of the samples that nobody looked at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clipfast.diagnostics.cause_classifier import FEWEST, CauseClassifier
from clipfast.diagnostics.features import Features
from clipfast.diagnostics.predictions import Bools
from clipfast.diagnostics.review import MODEL_AT_FAULT
from clipfast.diagnostics.rules import CAUSES, RuleTable
from clipfast.metrics.intervals import Interval, wilson_interval
from clipfast.types import Ints

__all__ = ["LearnedCauses", "learn_causes"]

_FAULT = "model at fault"  # the verdict "fine": which of the model's faults it is stays with the rules
_OF_MODEL = tuple(CAUSES.index(name) for name in ("generalisation", "alignment", "capacity"))
_LEAST_PROB = 0.5


@dataclass(frozen=True, slots=True)
class LearnedCauses:
    """A classifier of people's verdicts beside the rules.

    Attributes:
        kinds: What it tells apart; "model at fault" is people's "fine".
        verdicts: On how many wrong samples it was fitted.
        accuracy: Share of these that it tells rightly, each by a fit without it.
        rules_accuracy: Share that the rules tell rightly.
        used: Whether it is better than the rules, so that it is taken for samples without a verdict.
        told: Samples without a verdict of which it is sure, at a probability of one half or more.
    """

    kinds: tuple[str, ...]
    verdicts: int
    accuracy: Interval
    rules_accuracy: Interval
    used: bool
    told: int


def learn_causes(
    features: Features, right: Bools, table: RuleTable, settled: Ints
) -> tuple[LearnedCauses | None, Ints]:
    """Fit a classifier where two kinds of verdicts have ten wrong samples each.

    Args:
        features: Of the judged samples, s.
        right: Whether their answers are, (s,).
        table: Rules, to be compared with.
        settled: What people said, (n,) by sample, as `apply_verdicts` gives it.

    Returns:
        What it is worth, and `settled` with its word added where it is better than the rules; None and `settled` as it
        was where there are too few verdicts.
    """
    own = settled[features.rows]
    seen = np.flatnonzero((own != -1) & ~right)
    kind_of = {int(at): _kind(int(own[at])) for at in seen}
    counts = {kind: sum(each == kind for each in kind_of.values()) for kind in set(kind_of.values())}
    if sum(count >= FEWEST for count in counts.values()) < 2:
        return None, settled
    fitted = CauseClassifier.fit(features, {int(features.rows[at]): kind for at, kind in kind_of.items()})
    kept = [at for at, kind in kind_of.items() if kind in fitted.causes]
    said = table.verdicts(features, right).cause
    hits = sum(_kind(-2 if int(said[at]) in _OF_MODEL else int(said[at])) == kind_of[at] for at in kept)
    by_rules = wilson_interval(hits, len(kept))
    used = fitted.accuracy.estimate > by_rules.estimate
    probs = fitted.probs(features)
    asked = np.flatnonzero((own == -1) & ~right & (probs.max(axis=1) >= _LEAST_PROB))
    found = settled.copy()
    if used:
        numbers = np.array([MODEL_AT_FAULT if kind == _FAULT else CAUSES.index(kind) for kind in fitted.causes])
        found[features.rows[asked]] = numbers[probs[asked].argmax(axis=1)]
    return LearnedCauses(fitted.causes, len(kept), fitted.accuracy, by_rules, used, len(asked)), found


def _kind(settled: int) -> str:
    return _FAULT if settled == MODEL_AT_FAULT else CAUSES[settled] if settled >= 0 else ""
