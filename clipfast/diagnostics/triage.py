"""From evidence to causes: which cause each wrong sample has, how many there are, and what to mend first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clipfast.diagnostics.features import Features
from clipfast.diagnostics.predictions import Bools, Doubles, Predictions
from clipfast.diagnostics.review import MODEL_AT_FAULT
from clipfast.diagnostics.rules import CANNOT_TELL, CAUSES, RuleTable
from clipfast.metrics.intervals import Interval, wilson_interval
from clipfast.types import Ints

__all__ = ["CauseFinding", "Evidence", "Triage", "priority", "triage"]

_EXAMPLES = 8


@dataclass(frozen=True, slots=True)
class Evidence:
    """One rule that spoke.

    Attributes:
        says: In words.
        samples: For how many samples of this cause.
    """

    says: str
    samples: int


@dataclass(frozen=True, slots=True)
class CauseFinding:
    """One cause and what follows from it.

    Attributes:
        cause: A name of `CAUSES`.
        samples: Wrong judged samples with it.
        share: Of all judged samples, with interval.
        of_errors: Of the wrong ones.
        raised: Whether the lower end of the share reaches the table's `raise_from`.
        priority: Affected share times expected gain over cost.
        gain: Share of affected samples that the fix is expected to mend.
        cost: Effort of the fix.
        fix: What to do.
        next: The experiment that would settle it.
        evidence: Rules that spoke, most frequent first.
        examples: Ids with most evidence.
    """

    cause: str
    samples: int
    share: Interval
    of_errors: float
    raised: bool
    priority: float
    gain: float
    cost: float
    fix: str
    next: str
    evidence: tuple[Evidence, ...]
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Triage:
    """Causes of all wrong judged samples.

    Attributes:
        judged: Samples judged.
        rows: The wrong ones, (w,) int64.
        causes: Number of each one's cause in `CAUSES`, -1 for cannot tell, (w,) int64.
        weights: Evidence of each for each cause, (w, causes) float64.
        findings: Raised ones first, by priority; then the others.
        undecided: Wrong samples without a cause.
    """

    judged: int
    rows: Ints
    causes: Ints
    weights: Doubles
    findings: tuple[CauseFinding, ...]
    undecided: int

    @property
    def raised(self) -> tuple[CauseFinding, ...]:
        """Findings that reach the share from which a cause is named."""
        return tuple(finding for finding in self.findings if finding.raised)

    def cause_of(self, at: int) -> str:
        """Return the name of the cause of wrong sample `at`."""
        number = int(self.causes[at])
        return CANNOT_TELL if number < 0 else CAUSES[number]


def priority(share: float, gain: float, cost: float) -> float:
    """Return affected share times expected gain over cost."""
    return share * gain / cost


def triage(predictions: Predictions, features: Features, table: RuleTable, settled: Ints | None = None) -> Triage:
    """Find the cause of each wrong judged sample.

    Args:
        predictions: Samples.
        features: Of the judged ones.
        table: Rules.
        settled: Causes that people have settled, (n,) int64 by sample: a number of `CAUSES`, -1 nothing said, -2 the
            labels and inputs are fine, so neither noise, ambiguity nor a missing modality (`MODEL_AT_FAULT`).

    Returns:
        Causes and findings; without a wrong sample, findings of 0 samples.
    """
    right = predictions.right[features.rows]
    verdicts = table.verdicts(features, right)
    causes, weights = verdicts.cause, verdicts.weights
    if settled is not None:
        causes, weights = _with_reviews(table, causes, weights, settled[features.rows])
    wrong = np.flatnonzero(~right)
    found = causes[wrong]
    findings = [
        _finding(predictions, (features, wrong, found), (verdicts.spoken, weights), (table, number))
        for number in range(len(CAUSES))
    ]
    findings.sort(key=lambda finding: (not finding.raised, -finding.priority, CAUSES.index(finding.cause)))
    return Triage(
        judged=len(features.rows),
        rows=features.rows[wrong],
        causes=found,
        weights=weights[wrong],
        findings=tuple(findings),
        undecided=int((found < 0).sum()),
    )


def _with_reviews(table: RuleTable, causes: Ints, weights: Doubles, settled: Ints) -> tuple[Ints, Doubles]:
    """Let people's word stand above the rules'."""
    mended, causes = weights.copy(), causes.copy()
    fine = np.flatnonzero(settled == MODEL_AT_FAULT)
    for name in ("noise", "ambiguity", "missing modality"):
        mended[fine, CAUSES.index(name)] = 0.0
    if len(fine):
        order = np.sort(mended[fine], axis=1)
        told = (order[:, -1] >= table.least_weight) & (order[:, -1] - order[:, -2] >= table.least_lead)
        causes[fine] = np.where(told, mended[fine].argmax(axis=1), -1)
    said = settled >= 0
    causes[said] = settled[said]
    return causes, mended


def _finding(
    predictions: Predictions,
    samples: tuple[Features, Ints, Ints],
    evidence: tuple[Bools, Doubles],
    rule: tuple[RuleTable, int],
) -> CauseFinding:
    (features, wrong, causes), (spoken, weights), (table, number) = samples, evidence, rule
    name = CAUSES[number]
    mine = wrong[causes == number]
    facts = table.causes[name]
    share = wilson_interval(len(mine), len(features.rows))
    said = [
        Evidence(each.says, int(spoken[mine, at].sum())) for at, each in enumerate(table.rules) if each.cause == name
    ]
    best = mine[np.argsort(-weights[mine, number], kind="stable")][:_EXAMPLES]
    return CauseFinding(
        cause=name,
        samples=len(mine),
        share=share,
        of_errors=len(mine) / len(wrong) if len(wrong) else 0.0,
        raised=share.low >= table.raise_from and len(mine) > 0,
        priority=priority(share.estimate, facts.gain, facts.cost),
        gain=facts.gain,
        cost=facts.cost,
        fix=facts.fix,
        next=facts.next,
        evidence=tuple(sorted((e for e in said if e.samples), key=lambda e: -e.samples)),
        examples=tuple(predictions.ids[i] for i in features.rows[best].tolist()),
    )
