"""Rules: which attributes speak for which fabric, in a TOML file that a person can read and change.

::

    [[fabric]]
    id = "silk_satin"            # as the bank's folder is called
    en = "Silk Satin"
    zh = "真丝缎"
    notes_en = "Glossy face, smooth, drapes softly."
    notes_zh = "表面光亮、手感顺滑、垂感好。"
    members = ["satin"]          # further ids in the bank that this entry stands for; may be left out

    [fabric.attributes]
    sheen_score = { low = 0.6, high = 1.0, weight = 2.0 }
    pattern = { any = ["plain"] }

A score in [low, high] counts 1 and falls to 0 within `soft` (default .2) outside; a word in `any` counts 1, another
`otherwise` (default 0). A fabric's score is the weighted mean over the attributes that were measured, in [0, 1]; one
about which none of them says anything scores one half.
"""

from __future__ import annotations

import hashlib
import os
import re
import tomllib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal, TypeAlias, get_args

import msgspec

from clipfast.errors import DataError
from clipfast.retrieval.attributes import CHOICES, SCORES

__all__ = ["Condition", "Language", "Rule", "RuleSet", "RulesSource", "load_rules", "require_language"]

Language: TypeAlias = Literal["zh", "en"]
RulesSource: TypeAlias = "str | os.PathLike[str]"

RULE_SETS = ("fine", "coarse")
_MAX_BYTES = 4 << 20
_NEUTRAL = 0.5
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Name = Annotated[str, msgspec.Meta(min_length=1)]


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An unknown key is an error: it would be a rule that never acts."""


class Condition(_Strict, frozen=True):
    """What one attribute should be: a range of a score, or one of several words.

    Attributes:
        low: Lower end of the range.
        high: Upper end.
        soft: How far outside the range the count falls to 0.
        any: Words that count 1.
        otherwise: What other words count.
        weight: How much this attribute counts beside the fabric's others, above 0.
    """

    low: Share | None = None
    high: Share | None = None
    soft: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.2
    any: tuple[str, ...] | None = None
    otherwise: Share = 0.0
    weight: Annotated[float, msgspec.Meta(gt=0, le=100)] = 1.0

    def match(self, value: float | str) -> float:
        """Return how far a value fits, in [0, 1]."""
        if isinstance(value, str):
            return 1.0 if value in (self.any or ()) else self.otherwise
        low, high = self.low or 0.0, 1.0 if self.high is None else self.high
        outside = max(low - value, value - high, 0.0)
        if outside == 0:
            return 1.0
        return max(0.0, 1 - outside / self.soft) if self.soft > 0 else 0.0


class Rule(_Strict, frozen=True):
    """One fabric.

    Attributes:
        id: As the bank's folder is called.
        en: English name.
        zh: Chinese name.
        notes_en: What to know of it, in English.
        notes_zh: The same in Chinese.
        members: Further ids in the bank that this entry stands for.
        attributes: Condition by attribute.
    """

    id: Name
    en: Name
    zh: Name
    notes_en: str = ""
    notes_zh: str = ""
    members: tuple[str, ...] = ()
    attributes: dict[str, Condition] = {}

    def score(self, visual: Mapping[str, float | str]) -> float:
        """Return how well measured attributes fit, in [0, 1]."""
        known = [(rule, visual[name]) for name, rule in self.attributes.items() if name in visual]
        if not known:
            return _NEUTRAL
        return sum(rule.weight * rule.match(value) for rule, value in known) / sum(rule.weight for rule, _ in known)

    def display_name(self, lang: Language) -> str:
        """Return `棉布 Cotton` for zh, `Cotton` for en."""
        return f"{self.zh} {self.en}" if lang == "zh" else self.en

    def notes(self, lang: Language) -> str:
        """Return the notes in one language; where there are none, those in the other."""
        return (self.notes_zh or self.notes_en) if lang == "zh" else (self.notes_en or self.notes_zh)


@dataclass(frozen=True, slots=True)
class RuleSet:
    """Rules of a file, by fabric id, in the file's order.

    Attributes:
        name: `fine`, `coarse`, or the file.
        rules: By id.
    """

    name: str
    rules: Mapping[str, Rule]

    @property
    def sha256(self) -> str:
        """Checksum of what the rules say, wherever they were read from."""
        return hashlib.sha256(msgspec.json.encode(dict(self.rules))).hexdigest()


class _File(_Strict, frozen=True):
    fabric: tuple[Rule, ...]
    description: str = ""


def load_rules(source: RulesSource = "fine") -> RuleSet:
    """Read a rule file.

    Args:
        source: `fine` (single fabrics) or `coarse` (families), which clipfast brings along, or a path to a TOML file.

    Raises:
        DataError: No such file, or one that is no rule file; the message names file, line and what must be there.
    """
    if not isinstance(source, str | os.PathLike):
        raise DataError(
            f"rules_source must be {' or '.join(RULE_SETS)}, or the path of a TOML file; got {source!r}.",
            code="no_rules",
            path=source,
            known=", ".join(RULE_SETS),
        )
    name = os.fspath(source)
    if name in RULE_SETS:
        return _packaged(name)
    path = Path(name)
    if not path.is_file():
        raise DataError(
            f"rules_source must be {' or '.join(RULE_SETS)}, or a TOML file; there is none at {path}.",
            code="no_rules",
            path=path,
            known=", ".join(RULE_SETS),
        )
    if (size := path.stat().st_size) > _MAX_BYTES:
        raise DataError(
            f"{path} is {size:,} bytes; a rule file may have {_MAX_BYTES:,} at most.",
            code="too_large",
            path=path,
            most=_MAX_BYTES,
        )
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} must be UTF-8 text: {error}. Save it as UTF-8.", code="rules_not_text", path=path
        ) from error
    return _parsed(text, str(path))


def require_language(lang: str) -> Language:
    """Return a language that names and notes are there in.

    Raises:
        DataError: It is none.
    """
    if not isinstance(lang, str) or lang not in get_args(Language):
        raise DataError(f"lang must be one of {', '.join(get_args(Language))}; got {lang!r}.")
    return lang  # type: ignore[return-value]  # just checked


@lru_cache(maxsize=len(RULE_SETS))
def _packaged(name: str) -> RuleSet:
    text = (resources.files("clipfast.retrieval.rules") / f"{name}.toml").read_text(encoding="utf-8")
    return _parsed(text, name)


def _parsed(text: str, name: str) -> RuleSet:
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"{name} is not valid TOML: {error}.", code="rules_not_toml", path=name, error=error) from error
    try:
        file = msgspec.convert(data, _File)
    except msgspec.ValidationError as error:
        line, place = _entry(text, str(error))
        said = re.sub(r" - at `.*`$", "", str(error))
        raise DataError(
            f"{name}, {place}: {said}. See docs/fabric-workflow.md for what an entry holds.",
            code="bad_rules",
            path=name,
            line=line,
            error=said,
        ) from error
    for number, rule in enumerate(file.fabric):
        _check(rule, text, name, number)
    twice = [known for known, times in Counter(rule.id for rule in file.fabric).items() if times > 1]
    if twice:
        raise DataError(
            f"{name} has {twice[0]!r} twice. Join the two entries.", code="rule_twice", path=name, fabric=twice[0]
        )
    if not file.fabric:
        raise DataError(
            f"{name} holds no [[fabric]]. See docs/fabric-workflow.md for an example.", code="rules_empty", path=name
        )
    return RuleSet(name, {rule.id: rule for rule in file.fabric})


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a condition stands."""

    path: str
    line: int
    attribute: str
    fabric: str

    def __str__(self) -> str:
        return f"{self.path}, line {self.line}: {self.attribute} of fabric {self.fabric!r}"


def _check(rule: Rule, text: str, name: str, number: int) -> None:
    for attribute, condition in rule.attributes.items():
        place = _Place(name, _line(text, number, attribute), attribute, rule.id)
        if attribute not in SCORES and attribute not in CHOICES:
            raise DataError(
                f"{name}, line {place.line}: unknown attribute {attribute!r} of fabric {rule.id!r}. "
                f"Known attributes: {', '.join([*SCORES, *CHOICES])}.",
                code="unknown_attribute",
                path=name,
                line=place.line,
                attribute=attribute,
                fabric=rule.id,
                known=", ".join([*SCORES, *CHOICES]),
            )
        if attribute in SCORES:
            _check_range(condition, place)
        else:
            _check_words(condition, CHOICES[attribute], place)


def _check_range(condition: Condition, place: _Place) -> None:
    low, high = condition.low, condition.high
    if condition.any is not None or (low is None and high is None) or (low or 0.0) > (1.0 if high is None else high):
        raise DataError(
            f"{place} is a score: give low and high in [0, 1], low <= high, such as {{ low = 0.6 }}.",
            code="rule_wants_range",
            place=place,
        )


def _check_words(condition: Condition, words: tuple[str, ...], place: _Place) -> None:
    if condition.low is not None or condition.high is not None or not condition.any:
        raise DataError(
            f'{place} is a word: give any, such as {{ any = ["{words[0]}"] }}.',
            code="rule_wants_words",
            place=place,
            word=words[0],
        )
    if strangers := [word for word in condition.any if word not in words]:
        raise DataError(
            f"{place} knows no {strangers[0]!r}; it is one of {', '.join(words)}.",
            code="rule_unknown_word",
            place=place,
            word=strangers[0],
            known=", ".join(words),
        )


def _entry(text: str, error: str) -> tuple[int, str]:
    """Turn msgspec's path, such as `$.fabric[3].attributes[...]`, into a line of the file, as a number and in words."""
    found = re.search(r"`\$\.fabric\[(\d+)\](?:\.(\w+))?", error)
    if not found:
        return 1, "at the top level"
    line = _line(text, int(found[1]), found[2])
    return line, f"line {line} (fabric number {int(found[1]) + 1})"


def _line(text: str, number: int, key: str | None) -> int:
    """Return the line of a key of the fabric of that number, or of its heading."""
    lines = text.splitlines()
    headings = [at for at, line in enumerate(lines, start=1) if re.match(r"\s*\[\[\s*fabric\s*\]\]", line)]
    if number >= len(headings):
        return 1
    begin = headings[number]
    end = headings[number + 1] if number + 1 < len(headings) else len(lines) + 1
    if key is not None:
        pattern = re.compile(rf"""\s*(\[fabric\.)?(attributes\.)?["']?{re.escape(key)}["']?\s*[\]=.]""")
        for at in range(begin, end):
            if pattern.match(lines[at - 1]):
                return at
    return begin
