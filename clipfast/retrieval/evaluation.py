"""How good is the system? Rules, then with photos, then with a head, on pictures that nothing was made of."""

from __future__ import annotations

import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from clipfast.arguments import Span, require_numbers, require_type
from clipfast.errors import ArtifactError, DataError, ImageError, ShapeError
from clipfast.metrics import (
    Interval,
    PairedDifference,
    expected_calibration_error,
)
from clipfast.retrieval.answers import Judgement
from clipfast.retrieval.attributes import extract_attributes
from clipfast.retrieval.crops import crop_patch
from clipfast.retrieval.encode import Skipped
from clipfast.retrieval.evalset import EvalSample, EvalSet
from clipfast.retrieval.fusion import Voices, entries_of
from clipfast.retrieval.leaks import compared_photos, looks_of, require_unseen
from clipfast.retrieval.looks import look_of
from clipfast.retrieval.photowise import PhotoCounts
from clipfast.retrieval.recommend import rule_scores
from clipfast.retrieval.voices import Doubles, Voice

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Asked", "Comparison", "Doubts", "Evaluation", "Latency", "PhaseResult", "ask_all", "evaluate"]

_NEVER = 0  # rank of a fabric that is not in the answer at all
_TWO_SIDED = 0.05
RULES, CLIP, HEAD = "rules", "+CLIP", "+head"


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds from the picture's file to the ranked answer, one picture at a time."""

    p50_ms: float
    p95_ms: float


@dataclass(frozen=True, slots=True)
class PhaseResult:
    """One phase on all pictures.

    Attributes:
        name: `rules`, `+CLIP` or `+head`; each has what those before it have. Without rules, `+CLIP` is the bank alone.
        top: Share of the pictures whose fabric is among the first k, by k, with Wilson's interval.
        mrr: Mean of 1 / rank (0 where the fabric is not in the answer), with a bootstrap interval over photos.
        per_class: Right at the first place, and how many, by fabric.
        confusions: (fabric, answered instead, how often), most frequent first.
        latency: Of one picture.
        ranks: Rank of the right fabric for each picture, from 1; 0 where it is not in the answer.
    """

    name: str
    top: dict[int, Interval]
    mrr: Interval
    per_class: dict[str, tuple[int, int]]
    confusions: tuple[tuple[str, str, int], ...]
    latency: Latency
    ranks: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Top-1 of a phase less that of another, on the same pictures. Patches of one photo are not independent.

    Attributes:
        better: The later phase.
        than: The earlier one.
        gain: Paired bootstrap over photos: difference of the share of patches with its interval.
        mcnemar: McNemar's exact test over photos: each counts for the phase that answers more of its patches right.
    """

    better: str
    than: str
    gain: PairedDifference
    mcnemar: PairedDifference

    @property
    def proven(self) -> bool:
        """Whether the later phase is shown to be better: by the exact test, one-sided at 2.5 %.

        Not by the bootstrap: where few pictures changed, its interval is too narrow. All of four changed pictures may
        fall to one side by chance, and it never has 0 in it then.
        """
        return self.mcnemar.difference > 0 and self.mcnemar.p_value <= _TWO_SIDED


@dataclass(frozen=True, slots=True)
class Doubts:
    """What the last phase thinks of its own answers.

    Attributes:
        confidence: Mean of the confidences.
        calibration_error: Expected calibration error of the confidences (10 bins).
        calibrated: False where nothing was fitted, so that the first fabric's share stands for a confidence.
        uncertain: Answers with a confidence below one half, or none of these.
        known: Pictures of fabrics that the bank holds.
        refused: How many of those were answered "none of these": false refusals.
        strange: Pictures of other fabrics.
        noticed: How many of those were answered so.
        confidences: Of each picture.
    """

    confidence: float
    calibration_error: float
    calibrated: bool
    uncertain: int
    known: int
    refused: int
    strange: int
    noticed: int
    confidences: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
        total: Pictures of the set.
        errors: Those that could not be read, and why.
        phases: In order.
        comparisons: Each phase with the one before it, and the last with the first.
        unknown: Fabrics of the set that neither bank nor rules know: they can never be right.
        eval_version: Of the set.
        asked: Pictures that could be asked about, in the order of the ranks.
        doubts: What the last phase thinks of its own answers.
        owners: Number of the photo that each of those is a patch of.
        declared: Pictures of bank, head or weights that look like one of the set and were declared to be no copies:
            their names, and the set's picture.
    """

    total: int
    errors: tuple[Skipped, ...]
    phases: tuple[PhaseResult, ...]
    comparisons: tuple[Comparison, ...]
    unknown: tuple[str, ...]
    eval_version: str
    doubts: Doubts
    asked: tuple[EvalSample, ...] = ()
    owners: tuple[int, ...] = ()
    declared: tuple[tuple[str, str], ...] = ()

    @property
    def photos(self) -> int:
        """How many independent photos were asked about: intervals and comparisons count these."""
        return len(set(self.owners))

    @property
    def processed(self) -> int:
        """How many pictures could be asked about."""
        return self.total - len(self.errors)


@dataclass(slots=True)
class Asked:
    """What was answered, picture by picture.

    Attributes:
        asked: Pictures that could be asked about.
        answers: Of each phase, in that order.
        judged: What the last phase thinks of each.
        errors: Pictures that could not be read.
        photos: Number of each asked picture's photo, see `EvalSet.groups`.
        declared: As in `Evaluation`.
    """

    asked: list[EvalSample] = field(default_factory=list)
    answers: dict[str, _Answers] = field(default_factory=dict)
    judged: list[Judgement] = field(default_factory=list)
    errors: list[Skipped] = field(default_factory=list)
    photos: list[int] = field(default_factory=list)
    declared: list[tuple[str, str]] = field(default_factory=list)

    @property
    def right(self) -> list[bool]:
        """Whether the last phase's first answer was right, of each picture that could be asked about."""
        return [rank == 1 for rank in list(self.answers.values())[-1].ranks]


@dataclass(slots=True)
class _Answers:
    """Answers of one phase, in the order of the pictures."""

    ranks: list[int] = field(default_factory=list)
    firsts: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def evaluate(
    eval_set: EvalSet,
    voices: Voices,
    *,
    ks: Sequence[int] = (1, 3, 5),
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Ask about every picture of an evaluation set, phase by phase. Nothing is fitted here.

    The bank's photos are compared with the set's pictures where they lie in `voices.photos`, by the rule of `clipfast
    bank build`. Of the others, and of what head and weights were made of, only hashes were kept: within 2 of 64 bits
    they are refused, and up to 6 there is a warning.

    Args:
        eval_set: The pictures.
        voices: Bank with its clip; rules and head where there are any.
        ks: Which top-k, each at least 1.
        seed: Of the bootstrap.
        progress: Called with (done, total) pictures.

    Raises:
        DataError: A picture was moved or changed, is in the bank, was trained or fitted on (or nearly the same one is,
            as far as looks were kept), or none can be read.
        ArtifactError: The bank does not know its model.
        ShapeError: A k is below 1.
    """
    if not require_numbers("ks", ks, Span(1, whole=True)):
        raise ShapeError("ks must be whole numbers of at least 1, such as (1, 3, 5); got none.")
    found = ask_all(eval_set, voices, progress=progress)
    asked, answers, judged, errors = found.asked, found.answers, found.judged, found.errors
    owners = voices.owners
    labels = [owners.get(sample.label, sample.label) for sample in asked]
    photos = PhotoCounts.of(found.photos)
    results = _Results(labels, photos, ks, seed)
    phases = tuple(results.phase(name, given) for name, given in answers.items())
    known = {*voices.bank.references.names, *(voices.rules.rules if voices.rules else ())}
    known |= {owners.get(name, name) for name in known}
    return Evaluation(
        total=len(eval_set),
        errors=tuple(errors),
        phases=phases,
        comparisons=results.comparisons(phases),
        unknown=tuple(sorted({label for label in labels if label not in known})),
        eval_version=eval_set.version,
        asked=tuple(asked),
        owners=tuple(photos.owner.tolist()),
        declared=tuple(found.declared),
        doubts=_doubts(judged, phases[-1], [sample.label in voices.bank.references.names for sample in asked]),
    )


def ask_all(eval_set: EvalSet, voices: Voices, *, progress: Callable[[int, int], None] | None = None) -> Asked:
    """Ask about every picture in every phase, without summing up; see `evaluate`, which raises the same."""
    require_type("eval_set", eval_set, EvalSet, "EvalSet.load(path)")
    if require_type("voices", voices, Voices, "Voices(bank)").bank.clip is None:
        raise ArtifactError("The bank must know its model to be asked with pictures: FabricBank.load(path, clip=clip).")
    if not eval_set.samples:
        raise DataError(
            "The evaluation set holds no sample. Make it again: clipfast evalset make",
            code="empty_eval_set",
            path=eval_set.path,
        )
    eval_set.verify()
    require_unseen(eval_set, voices)
    compared = compared_photos(eval_set, voices)
    found = Asked(declared=[(each.path, each.image) for each in compared.declared])
    known_looks = looks_of(voices, compared.compared)
    for done, (sample, photo) in enumerate(zip(eval_set.samples, eval_set.groups(), strict=True), start=1):
        try:
            picture, judgement = _ask(eval_set, sample, voices, found.answers)
            found.judged.append(judgement)
            found.asked.append(sample)
            found.photos.append(photo)
            looks = [look_of(crop_patch(picture, sample.coords, sample.size))]
            if min(sample.size, *picture.size) < max(picture.size):  # only a part of it is asked about
                looks.append(look_of(picture))
            for known in known_looks:
                for look in looks:
                    known.see(look, sample.image, sample.digests)
        except (ImageError, ShapeError) as error:
            found.errors.append(Skipped(sample.image, str(error)))
        if progress:
            progress(done, len(eval_set))
    if not found.asked:
        first = found.errors[0]
        raise DataError(
            f"No picture of the evaluation set can be read; the first: {first.path}: {first.reason}",
            code="no_eval_picture",
            path=first.path,
            reason=first.reason,
        )
    for known in known_looks:
        known.require_none()
        found.declared.extend(known.waved.items())
        if doubts := known.doubts():
            warnings.warn(doubts, stacklevel=3)
    return found


def _ask(
    eval_set: EvalSet, sample: EvalSample, voices: Voices, answers: dict[str, _Answers]
) -> tuple[Image.Image, Judgement]:
    """Answer one picture in every phase, and return it; a phase's time is what it and those before it needed."""
    clip, owners = voices.bank.clip, voices.owners
    if clip is None:
        raise ArtifactError("The bank does not know its model.")
    begun = time.perf_counter()
    picture = eval_set.picture(sample)
    image = crop_patch(picture, sample.coords, sample.size)
    rules: Voice | None = None
    found: dict[str, tuple[tuple[str, ...], Doubles, float]] = {}
    if voices.rules is not None:
        scores = rule_scores(extract_attributes(image), voices.rules)
        rules = voices.rules_voice(tuple(scores), np.array([list(scores.values())]))
        entries = entries_of((rules,), owners)
        found[RULES] = entries, rules.scores, time.perf_counter() - begun
    row = clip.encode_images(image)
    bank = voices.bank_voice(row)
    found[CLIP] = *voices.fuse(rules, bank, None), time.perf_counter() - begun
    if (head := voices.head_voice(row)) is not None:
        found[HEAD] = *voices.fuse(rules, bank, head), time.perf_counter() - begun
    label = owners.get(sample.label, sample.label)
    for name, (entries, scores_of, seconds) in found.items():
        order = [entries[at] for at in np.argsort(-scores_of[0], kind="stable")]
        answer = answers.setdefault(name, _Answers())
        answer.ranks.append(order.index(label) + 1 if label in order else _NEVER)
        answer.firsts.append(order[0])
        answer.seconds.append(seconds)
    return picture, voices.judged(scores_of, bank)[0]  # of the last phase


def _doubts(judged: Sequence[Judgement], last: PhaseResult, held: Sequence[bool]) -> Doubts:
    probs = np.array([judgement.confidence for judgement in judged])
    refused, known = np.array([judgement.none for judgement in judged]), np.array(held)
    right = (np.array(last.ranks) == 1).astype(np.int64)
    return Doubts(
        confidence=float(probs.mean()),
        calibration_error=expected_calibration_error(right, np.stack([1 - probs, probs], axis=1), bins=10),
        calibrated=all(judgement.calibrated for judgement in judged),
        uncertain=sum(judgement.uncertain for judgement in judged),
        known=int(known.sum()),
        refused=int((refused & known).sum()),
        strange=int((~known).sum()),
        noticed=int((refused & ~known).sum()),
        confidences=tuple(probs.tolist()),
    )


@dataclass(frozen=True, slots=True)
class _Results:
    """Sums answers up: their right labels, their photos, which top-k, and the bootstrap's seed."""

    labels: Sequence[str]
    photos: PhotoCounts
    ks: Sequence[int]
    seed: int

    def phase(self, name: str, found: _Answers) -> PhaseResult:
        """Sum up one phase."""
        ranks, names, labels = np.array(found.ranks), np.array(self.labels), self.labels
        right = ranks == 1
        inverse = np.divide(1.0, ranks, out=np.zeros(len(ranks)), where=ranks > 0)
        wrong = Counter((label, first) for label, first in zip(labels, found.firsts, strict=True) if label != first)
        p50, p95 = (1e3 * np.percentile(found.seconds, [50, 95])).tolist()
        return PhaseResult(
            name,
            {k: self.photos.share((ranks >= 1) & (ranks <= k)) for k in self.ks},
            self.photos.mean(inverse, self.seed),
            {label: (int(right[names == label].sum()), int((names == label).sum())) for label in sorted(set(labels))},
            tuple((*pair, count) for pair, count in sorted(wrong.items(), key=lambda item: (-item[1], item[0]))),
            Latency(p50, p95),
            tuple(found.ranks),
        )

    def comparisons(self, phases: Sequence[PhaseResult]) -> tuple[Comparison, ...]:
        """Compare each phase with the one before it, and the last with the first; one photo compares nothing."""
        pairs = [(phases[at + 1], phases[at]) for at in range(len(phases) - 1)]
        if len(phases) > 2:
            pairs.append((phases[-1], phases[0]))
        return tuple(self._compared(later, earlier) for later, earlier in pairs if self.photos.count > 1)

    def _compared(self, later: PhaseResult, earlier: PhaseResult) -> Comparison:
        one, other = np.array(later.ranks) == 1, np.array(earlier.ranks) == 1
        gain, mcnemar = self.photos.gain(one, other, self.seed), self.photos.mcnemar(one, other)
        return Comparison(later.name, earlier.name, gain, mcnemar)
