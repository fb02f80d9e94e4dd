"""Rules, bank and head together: each voice calibrated to probabilities, then averaged by weights.

With weights α for the rules, (1 - α)(1 - β) for the bank and (1 - α) β for the head,

    score(fabric) = α p_rules + (1 - α) [(1 - β) p_bank + β p_head],

a linear opinion pool (Stone, 1961). p = softmax(score / T) over the fabrics that the voice knows and 0 for the others,
with the voice's own temperature T: `clipfast fuse fit` finds them, and α and β, on labelled patches; without it the
rules' is a constant, and the bank's comes from asking every reference photo for its fabric among the others. Scores of
all fabrics sum to 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from clipfast.arguments import Span, require_number, shown
from clipfast.errors import DataError, ShapeError
from clipfast.retrieval.answers import Answer, Judgement
from clipfast.retrieval.bank import FabricBank
from clipfast.retrieval.confidence import Judge, asked_temperature, bank_judge
from clipfast.retrieval.declared import SeenPictures
from clipfast.retrieval.head import LinearHead
from clipfast.retrieval.queries import one_query, require_topk
from clipfast.retrieval.recommend import Recommendation
from clipfast.retrieval.references import References
from clipfast.retrieval.rules import Language, RuleSet, load_rules, require_language
from clipfast.retrieval.scoring import class_scores
from clipfast.retrieval.voices import Doubles, Voice
from clipfast.types import Floats, ImageSource

__all__ = [
    "DEFAULT_ALPHA",
    "DEFAULT_HEAD_SHARE",
    "DEFAULT_RULES_TEMPERATURE",
    "Fit",
    "Fusion",
    "Voices",
    "bank_temperature",
    "fuse_with_clip",
    "require_share",
]

DEFAULT_ALPHA = 0.7
DEFAULT_HEAD_SHARE = 0.5
DEFAULT_RULES_TEMPERATURE = 0.15
"""Measured on fabricworld with the fine rules; `clipfast fuse fit` measures it on your own patches."""


@dataclass(frozen=True, slots=True)
class Fusion:
    """Weights and temperatures of the voices.

    Attributes:
        alpha: Weight of the rules, in [0, 1].
        head_share: The head's share of what the rules leave, in [0, 1]; only where there is a head.
        rules_temperature: Of rule scores, above 0.
        bank_temperature: Of cosines, above 0; None asks the bank itself, see `bank_temperature`.
    """

    alpha: float = DEFAULT_ALPHA
    head_share: float = DEFAULT_HEAD_SHARE
    rules_temperature: float = DEFAULT_RULES_TEMPERATURE
    bank_temperature: float | None = None

    def __post_init__(self) -> None:
        require_share("alpha", self.alpha)
        require_share("head_share", self.head_share)
        for value in (self.rules_temperature, 1.0 if self.bank_temperature is None else self.bank_temperature):
            require_number("temperatures", value, Span(0, above=True))


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """What weights and a judge were fitted with.

    Attributes:
        fusion: The weights.
        head: The head, or None.
        rules: The rules, or None.
        seen: Checksums of the patches that it was fitted on, and of their photos: it cannot be judged by them.
        pictures: Names and looks of those patches.
    """

    fusion: Fusion
    head: LinearHead | None
    rules: RuleSet | None
    seen: frozenset[str] = frozenset()
    pictures: SeenPictures = field(default_factory=SeenPictures)


@dataclass(frozen=True, slots=True, eq=False)
class Voices:
    """Who is asked.

    Attributes:
        bank: Reference photos.
        head: A head trained on embeddings of the same model, or None.
        rules: Names, notes, and which fabrics an entry stands for.
        fusion: How they are weighed.
        judge: Confidence and none-of-these of fused answers, as `clipfast fuse fit` found them. None: none-of-these as
            the bank finds it by itself, and the first fabric's share in place of a confidence.
        photos: Folder where the bank's photos lie, `fabric/file`: where they are there, an evaluation compares them
            with its pictures, and not only their hashes.
        not_copies: Names `fabric/file` of the bank or the head that an evaluation takes for no copies of its pictures.
        fit: What the judge was fitted with. Its confidence is of answers with those weights, that head and those rules:
            with others the first fabric's share is said instead, and not called calibrated. None: it is believed.
    """

    bank: FabricBank
    head: LinearHead | None = None
    rules: RuleSet | None = None
    fusion: Fusion = field(default_factory=Fusion)
    judge: Judge | None = None
    fit: Fit | None = None
    photos: Path | None = None
    not_copies: tuple[str, ...] = ()

    @property
    def owners(self) -> dict[str, str]:
        """The rules' entry that a fabric belongs to, where that is another than itself."""
        rules = {} if self.rules is None else self.rules.rules
        return {member: name for name, rule in rules.items() for member in rule.members if member not in rules}

    def bank_voice(self, rows: Floats) -> Voice:
        """Ask the bank: class scores of unit rows, (n, e)."""
        references = self.bank.references
        temperature = self.fusion.bank_temperature or bank_temperature(references)
        return Voice(references.names, class_scores(rows, references).astype(np.float64), temperature)

    def head_voice(self, rows: Floats) -> Voice | None:
        """Ask the head, if there is one: its calibrated logits of unit rows, (n, e)."""
        if self.head is None:
            return None
        return Voice(tuple(str(name) for name in self.head.classes), self.head.logits(rows), 1.0)

    def rules_voice(self, names: Sequence[str], scores: Doubles) -> Voice:
        """Make a voice of rule scores, (n, k) in [0, 1]."""
        return Voice(tuple(names), scores, self.fusion.rules_temperature)

    def fuse(self, rules: Voice | None, bank: Voice, head: Voice | None) -> tuple[tuple[str, ...], Doubles]:
        """Return the entries and their fused scores, (n, c) in [0, 1]; without rules α counts as 0."""
        entries = entries_of((rules, bank, head), self.owners)
        alpha = 0.0 if rules is None else self.fusion.alpha
        share = 0.0 if head is None else self.fusion.head_share
        weights = (alpha, (1 - alpha) * (1 - share), (1 - alpha) * share)
        fused = np.zeros((len(bank.scores), len(entries)))
        for weight, voice in zip(weights, (rules, bank, head), strict=True):
            if voice is not None:
                fused += weight * voice.probs(entries, self.owners)
        return entries, fused

    def judged(self, fused: Doubles, bank: Voice) -> list[Judgement]:
        """Judge fused answers, (n, c), by them and by what the bank says."""
        judge = self.judge or bank_judge(self.bank.references)
        if self.judge is None or not self._as_fitted():
            judge = msgspec.structs.replace(judge, confidence=None)
        return judge.judge(fused, bank.scores)

    def _as_fitted(self) -> bool:
        """Whether answers are weighed as the judge saw them; a voice without weight may be another."""
        fit = self.fit
        if fit is None:
            return True
        alphas = [_weight(fit.rules, fit.fusion.alpha), _weight(self.rules, self.fusion.alpha)]
        shares = [_weight(fit.head, fit.fusion.head_share), _weight(self.head, self.fusion.head_share)]
        if alphas[0] != alphas[1] or (alphas[0] < 1 and shares[0] != shares[1]):
            return False
        same_rules = alphas[0] == 0 or (
            self.rules == fit.rules and self.fusion.rules_temperature == fit.fusion.rules_temperature
        )
        same_head = shares[0] == 0 or alphas[0] == 1 or self.head is fit.head
        return same_rules and same_head and self.fusion.bank_temperature == fit.fusion.bank_temperature


def fuse_with_clip(  # the first five are the owner's signature
    patch_img: ImageSource,
    base_results: Iterable[tuple[str, float, str, str]],
    lang: Language = "zh",
    alpha: float | Literal["fit"] = DEFAULT_ALPHA,
    topk: int = 5,
    *,
    voices: Voices | None = None,
) -> Answer[Recommendation]:
    """Rank fabrics by rules and photos together, best first.

    The list also has `.confidence` and `.none_of_these`, see `clipfast.retrieval.confidence`.

    Both voices are made probabilities before they are added; see this module's text. A fabric of the rules that the
    bank does not hold is listed and scored by the rules alone, α times their probability; one of the bank without a
    rule by its photos alone.

    Args:
        patch_img: The patch.
        base_results: What `recommend_fabrics_localized` returned for it; fabrics with a rule that are not among them
            count as if they had scored 0.
        lang: Language of names and notes.
        alpha: Weight of the rules, in [0, 1]: 1 is rules alone, 0 photos alone. `fit` takes weights and temperatures
            that `clipfast fuse fit` found (`CLIPFAST_FUSION`, else data/fusion.json).
        topk: How many, at least 1.
        voices: Bank, head, rules and weights; None takes the default bank and the rules `fine`.

    Raises:
        ShapeError: `alpha` is outside [0, 1], or `topk` below 1.
        ArtifactError: The bank is missing, or there is nothing fitted though `alpha` is `fit`.
        ImageError: The patch cannot be read.
    """
    from clipfast.retrieval.fused import with_alpha

    language = require_language(lang)
    require_topk(topk)
    if not isinstance(alpha, str) or alpha != "fit":
        require_share("alpha", alpha)
    asked = with_alpha(_default_voices() if voices is None else voices, alpha)
    given = _base(base_results)
    rows = one_query(patch_img, asked.bank.references.dim, asked.bank.clip)
    unnamed = [] if asked.rules is None or not given else [n for n in asked.rules.rules if n not in given]
    scores = np.array([[*(item.score for item in given.values()), *(0.0 for _ in unnamed)]])
    rules = asked.rules_voice([*given, *unnamed], scores) if given else None
    bank = asked.bank_voice(rows)
    entries, fused = asked.fuse(rules, bank, asked.head_voice(rows))
    held = {asked.owners.get(name, name) for name in asked.bank.references.names}
    listed = [at for at, entry in enumerate(entries) if entry in given or entry in held]
    listed.sort(key=lambda at: -fused[0, at])
    results = [_named(entries[at], float(fused[0, at]), given, asked.rules, language) for at in listed[:topk]]
    judged = asked if given else replace(asked, rules=None)
    return Answer(results, lambda: judged.judged(fused, bank)[0])


def bank_temperature(references: References) -> float:
    """Return the temperature at which a bank's cosines are probabilities: every photo is asked for among the others.

    Of large banks 512 are asked with, evenly spaced. Rows that were cut from the same photo do not answer; fabrics of
    one photo cannot be asked for, and where all are, the temperature is .05.
    """
    return asked_temperature(references)


def require_share(name: str, value: object) -> None:
    """Check a weight.

    Raises:
        ShapeError: It is no number in [0, 1].
    """
    if isinstance(value, bool) or not isinstance(value, int | float | np.floating) or not 0 <= value <= 1:
        extra = " or 'fit'" if name == "alpha" else ""
        code = "bad_alpha" if name == "alpha" else "bad_share"
        raise ShapeError(f"{name} must be a number in [0, 1]{extra}; got {value!r}.", code=code, name=name, got=value)


def entries_of(voices: Iterable[Voice | None], owners: Mapping[str, str]) -> tuple[str, ...]:
    """Return all that the voices tell apart, in the order in which they name it."""
    names = (owners.get(name, name) for voice in voices if voice is not None for name in voice.names)
    return tuple(dict.fromkeys(names))


def _default_voices() -> Voices:
    from clipfast.retrieval.default import default_bank

    return Voices(default_bank(), rules=load_rules("fine"))


def _base(base_results: Iterable[tuple[str, float, str, str]]) -> dict[str, Recommendation]:
    given: dict[str, Recommendation] = {}
    if not isinstance(base_results, Iterable):
        raise DataError(f"base_results must be a list of tuples; got {shown(base_results)}. Pass [] for no rules.")
    for item in base_results:
        try:
            found = Recommendation(*item)
        except TypeError as error:
            raise DataError(
                f"base_results must be tuples (name, score, display_name, notes); got {item!r}. "
                "Pass what recommend_fabrics_localized() returned."
            ) from error
        require_share("a score of base_results", found.score)
        given[found.name] = found
    return given


def _weight(voice: object | None, weight: float) -> float:
    return 0.0 if voice is None else weight


def _named(
    name: str, score: float, given: Mapping[str, Recommendation], rules: RuleSet | None, lang: Language
) -> Recommendation:
    if name in given:
        return given[name]._replace(score=score)
    rule = None if rules is None else rules.rules.get(name)
    if rule is None:
        return Recommendation(name, score, name, "")
    return Recommendation(name, score, rule.display_name(lang), rule.notes(lang))
