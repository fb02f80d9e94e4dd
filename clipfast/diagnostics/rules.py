"""The rule table: which evidence speaks for which cause. A TOML file that anybody can read and change.

A rule speaks for its cause where all conditions under `when` hold and none under `unless` does. A condition compares
one feature (`FEATURES`) with a number: `at_least` or `at_most`. With `usual = true` the number is a quantile of the
feature among the right samples, so that it needs no unit. Where a sample lacks the feature, `when` does not hold and
`unless` does not stop the rule.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeAlias, get_args

import msgspec
import numpy as np

from clipfast.diagnostics.features import FEATURES, Features
from clipfast.diagnostics.predictions import Bools, Doubles
from clipfast.errors import DataError
from clipfast.types import Ints

__all__ = [
    "CANNOT_TELL",
    "CAUSES",
    "Cause",
    "CauseFacts",
    "Condition",
    "Rule",
    "RuleTable",
    "Verdicts",
    "default_rules",
]

Cause: TypeAlias = Literal["noise", "generalisation", "alignment", "missing modality", "ambiguity", "capacity"]
CAUSES: tuple[Cause, ...] = get_args(Cause)
CANNOT_TELL = "cannot tell"

VERSION = 1
_MAX_BYTES = 1 << 20
_DEFAULT = Path(__file__).with_name("rules.toml")
_FEWEST_USUAL = 20

Positive = Annotated[float, msgspec.Meta(gt=0, le=1000)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Condition(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One comparison of a feature with a number, or with a quantile of the right samples."""

    feature: str
    at_least: float | None = None
    at_most: float | None = None
    usual: bool = False

    def __post_init__(self) -> None:
        if self.feature not in FEATURES:
            raise ValueError(f"feature must be one of {', '.join(FEATURES)}; got {self.feature!r}")
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError(f"a condition on {self.feature} needs one of at_least and at_most")
        if self.usual and not 0 <= self.bound <= 1:
            raise ValueError(f"a usual {self.feature} is a quantile from 0 to 1; got {self.bound}")

    @property
    def bound(self) -> float:
        """The number or the quantile."""
        return self.at_least if self.at_least is not None else float(self.at_most or 0.0)

    def holds(self, features: Features, right: Bools) -> Bools:
        """Return where it holds, (s,) bool; nowhere if it compares with the usual and fewer than 20 are right."""
        values, bound = features.column(self.feature), self.bound
        if self.usual:
            usual = values[right & ~np.isnan(values)]
            if len(usual) < _FEWEST_USUAL:
                return np.zeros(len(values), bool)
            bound = float(np.quantile(usual, bound))
        with np.errstate(invalid="ignore"):
            found: Bools = values >= bound if self.at_least is not None else values <= bound
        return found


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Evidence for one cause.

    Attributes:
        cause: What it speaks for.
        says: The evidence in words.
        weight: How much.
        when: All of these must hold.
        unless: None of these may.
    """

    cause: Cause
    says: str
    weight: Positive
    when: Annotated[tuple[Condition, ...], msgspec.Meta(min_length=1)]
    unless: tuple[Condition, ...] = ()

    def speaks(self, features: Features, right: Bools) -> Bools:
        """Return for which samples it speaks, (s,) bool."""
        found = np.ones(len(features.rows), bool)
        for condition in self.when:
            found &= condition.holds(features, right)
        for condition in self.unless:
            found &= ~condition.holds(features, right)
        return found


class CauseFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What follows from a cause.

    Attributes:
        fix: What to do.
        next: The experiment that would settle it.
        gain: Share of the affected samples that the fix is expected to mend.
        cost: Effort of the fix, in any unit that is the same for all causes.
    """

    fix: str
    next: str
    gain: Share
    cost: Positive


class RuleTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A whole table.

    Attributes:
        version: Of the format.
        least_weight: A cause needs so much.
        least_lead: And so much more than the next one.
        raise_from: Share of all judged samples that a cause must affect, by the lower end of its interval.
        causes: Facts of every cause.
        rules: Evidence.
    """

    version: int
    least_weight: Positive
    least_lead: Annotated[float, msgspec.Meta(ge=0)]
    raise_from: Share
    causes: dict[Cause, CauseFacts]
    rules: Annotated[tuple[Rule, ...], msgspec.Meta(min_length=1)]

    def __post_init__(self) -> None:
        if self.version != VERSION:
            raise ValueError(f"version must be {VERSION}; got {self.version}")
        if set(self.causes) != set(CAUSES):
            raise ValueError(f"causes must be exactly {', '.join(CAUSES)}; got {', '.join(self.causes)}")

    @classmethod
    def load(cls, path: Path) -> RuleTable:
        """Read a table.

        Raises:
            DataError: The file is missing, too large, no TOML or not such a table; the message says where.
        """
        if not path.is_file():
            raise DataError(f"No rule table at {path}. Write one with: clipfast diagnose rules --out {path}")
        if path.stat().st_size > _MAX_BYTES:
            raise DataError(f"{path} is larger than {_MAX_BYTES >> 20} MB; a rule table is a short text.")
        try:
            return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), cls)
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
            raise DataError(f"{path} is not a rule table: {error}.") from error

    def verdicts(self, features: Features, right: Bools) -> Verdicts:
        """Weigh the evidence for every judged sample; see `Verdicts`."""
        spoken = np.stack([rule.speaks(features, right) for rule in self.rules], axis=1)
        weights = np.zeros((len(features.rows), len(CAUSES)))
        for number, rule in enumerate(self.rules):
            weights[:, CAUSES.index(rule.cause)] += rule.weight * spoken[:, number]
        order = np.argsort(-weights, axis=1, kind="stable")
        at = np.arange(len(weights))
        first, second = weights[at, order[:, 0]], weights[at, order[:, 1]]
        told = (first >= self.least_weight) & (first - second >= self.least_lead) & ~right
        return Verdicts(np.where(told, order[:, 0], -1), weights, spoken)


@dataclass(frozen=True, slots=True, eq=False)
class Verdicts:
    """What the rules say of each judged sample.

    Attributes:
        cause: Number of the cause in `CAUSES`; -1 cannot tell, and where the sample is right, (s,) int64.
        weights: Evidence for each cause, (s, causes) float64.
        spoken: Which rules speak, (s, rules) bool.
    """

    cause: Ints
    weights: Doubles
    spoken: Bools


def default_rules() -> RuleTable:
    """Return the table that comes with the library."""
    return RuleTable.load(_DEFAULT)


def default_rules_text() -> str:
    """Return the default table as text, to be edited."""
    return _DEFAULT.read_text(encoding="utf-8")
