"""Weights of the voices, fitted on labelled patches that are not evaluated on."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import msgspec
import numpy as np

from clipfast import learning
from clipfast.arguments import require_type
from clipfast.errors import ArtifactError, DataError
from clipfast.retrieval.attributes import extract_attributes
from clipfast.retrieval.confidence import Judge, answer_features, fit_confidence
from clipfast.retrieval.evalset import EvalSet
from clipfast.retrieval.fusion import Fit, Voices, entries_of, require_share
from clipfast.retrieval.fusionfile import CurvePoint, FittedFusion, default_fusion_path
from clipfast.retrieval.grouping import photo_groups
from clipfast.retrieval.head import LinearHead
from clipfast.retrieval.heldout import Kept, leave_out
from clipfast.retrieval.labelled import LabelledRows, encode_labelled, list_patches
from clipfast.retrieval.looks import SURE_BITS, nearly
from clipfast.retrieval.openset import fit_openset, openset_views
from clipfast.retrieval.recommend import rule_scores
from clipfast.retrieval.rules import RuleSet
from clipfast.retrieval.voices import Doubles, Voice, smoothed_temperature
from clipfast.types import Floats, Ints

__all__ = ["CurvePoint", "FittedFusion", "default_fusion_path", "fit_fusion", "with_alpha"]

_ALPHAS = tuple(round(step / 20, 2) for step in range(21))
_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
_LEAST_PROB = 1e-4
MIN_SAMPLES = 10


@dataclass(frozen=True, slots=True, eq=False)
class _Validation:
    """Labelled rows that neither the evaluation set nor the bank holds, and what the voices say of them."""

    labels: tuple[str, ...]
    rules: Voice
    bank: Voice
    head: Voice | None
    photos: tuple[int, ...]


def with_alpha(voices: Voices, alpha: float | Literal["fit"], fitted: FittedFusion | None = None) -> Voices:
    """Return the voices with another α; `fit` takes all of what was fitted, here or in `default_fusion_path`.

    What was fitted says how sure an answer is only with its own α, head and rules, see `Voices.fit`.

    Raises:
        ShapeError: `alpha` is outside [0, 1].
        ArtifactError: Nothing was fitted, or it was fitted with another model or other rules.
    """
    require_type("voices", voices, Voices, "Voices(bank)")
    if not isinstance(alpha, str) or alpha != "fit":
        require_share("alpha", alpha)
        return replace(voices, fusion=replace(voices.fusion, alpha=float(alpha)))
    found = FittedFusion.load(default_fusion_path()) if fitted is None else fitted
    require_type("fitted", found, FittedFusion, "FittedFusion.load(path)")
    if found.fingerprint != voices.bank.model.fingerprint:
        raise ArtifactError(
            "The fitted weights belong to another model than the bank: "
            f"{found.fingerprint[:16]}… and {voices.bank.model.fingerprint[:16]}…. Fit them again: clipfast fuse fit",
            code="weights_of_other_model",
        )
    if voices.rules is not None and found.rules != voices.rules.name:
        raise ArtifactError(
            f"The weights were fitted with the rules {found.rules}; these are {voices.rules.name}. Fit them again.",
            code="other_rules",
            fitted=found.rules,
            rules=voices.rules.name,
        )
    judge = found.judge
    if _others_weigh(voices, found):
        judge = msgspec.structs.replace(judge, confidence=None)
    fit = Fit(found.fusion(), voices.head, voices.rules, frozenset(found.fitted_on), found.seen)
    return replace(voices, fusion=fit.fusion, judge=judge, fit=fit)


def _others_weigh(voices: Voices, found: FittedFusion) -> bool:
    """Whether a voice that has weight is missing, or another than at the fit: the confidence is not of its answers."""
    rules = None if voices.rules is None else voices.rules.sha256
    head = None if voices.head is None else voices.head.sha256
    share = (1 - found.alpha) * (found.fusion().head_share if head or found.head_sha256 else 0.0)
    return (found.alpha > 0 and rules != found.rules_sha256) or (share > 0 and head != found.head_sha256)


def fit_fusion(
    voices: Voices,
    folder: str | os.PathLike[str],
    *,
    exclude: EvalSet | None = None,
    not_copies: Sequence[str | os.PathLike[str]] = (),
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> FittedFusion:
    """Fit temperatures, α and the head's share on the patches of a folder that nothing is evaluated on.

    Each voice's temperature first, by itself; then the α and share of a grid with the highest mean reciprocal rank, of
    equals that with the lowest loss. Order is what the weights are for, so a measure of order decides, and this one
    moves with nearly every patch, where top-1 jumps with single ones. The head was trained on these patches, so it is
    asked by cross-fitting: heads of the same strength, each without the fold that it answers for.

    Args:
        voices: Bank with its clip, rules, and a head if there is one.
        folder: `<fabric_id>/<patch>`.
        exclude: The evaluation set.
        not_copies: Files that are declared to be no copies of evaluation pictures, see `clipfast.retrieval.declared`.
        seed: Of the folds.
        progress: Called with (done, total) files.

    Raises:
        DataError: Fewer than 10 patches are left, or an evaluation image is among them under another name.
        ArtifactError: The voices have no rules, or the bank no model.
        MissingExtraError: There is a head, and scikit-learn is not installed.
    """
    rules, clip = require_type("voices", voices, Voices, "Voices(bank)").rules, voices.bank.clip
    if rules is None or clip is None:
        raise ArtifactError("Fitting needs rules, and a bank that knows its model: FabricBank.load(path, clip=clip).")
    rows = encode_labelled(clip, folder, progress=progress)
    count = len(rows.references)
    parted = Kept(tuple(range(count)), ()) if exclude is None else leave_out(rows, exclude, not_copies)
    kept = list(parted.rows)
    known, looks = voices.bank.references.digests, voices.bank.references.marks.looks
    digests = rows.digests_by_row()
    fresh = [
        row
        for row in kept
        if known.isdisjoint(digests[row])  # neither it nor the photo that it was cut from
        and not any(bits <= SURE_BITS for _, bits in nearly(rows.looks[row], looks))
    ]
    groups = photo_groups(
        [rows.photos[row] for row in fresh], [rows.references.sha256[r] for r in fresh], [rows.looks[r] for r in fresh]
    )
    photo_of = dict(zip(fresh, groups.tolist(), strict=True))
    held, head_voice = _cross_fitted(rows, photo_of, voices.head, seed)
    if len(held) < MIN_SAMPLES:
        sentence = (
            f"Too few patches to fit on: {len(held)} of {count} are left ({count - len(kept)} are in the evaluation "
            f"set, {len(kept) - len(fresh)} in the bank); at least {MIN_SAMPLES} are needed. Label more, or take "
            f"alpha={voices.fusion.alpha} as it is."
        )
        raise DataError(sentence, code="too_few_patches", left=len(held), count=count, least=MIN_SAMPLES)
    validation = _Validation(
        tuple(rows.references.fabrics[row] for row in held),
        _rules_voice(folder, rows, held, rules),
        replace(voices, fusion=replace(voices.fusion, bank_temperature=1.0)).bank_voice(_rows_of(rows, held)),
        head_voice,
        tuple(photo_of[row] for row in held),
    )
    return msgspec.structs.replace(
        _fit(voices, validation, rules),
        samples=len(held),
        counts=dict(sorted(Counter(validation.labels).items())),
        excluded=count - len(kept),
        in_bank=len(kept) - len(fresh),
        not_held_out=len(fresh) - len(held),
        fitted_on=rows.digests(fresh),
        seen=rows.seen(fresh, parted.declared),
        eval_version=None if exclude is None else exclude.version,
    )


def _fit(voices: Voices, found: _Validation, rules: RuleSet) -> FittedFusion:
    owners = voices.owners
    entries = entries_of((found.rules, found.bank, found.head), owners)
    labels = [owners.get(label, label) for label in found.labels]
    truth = np.array([entries.index(label) if label in entries else -1 for label in labels])
    calibrated = [_calibrated(voice, labels, owners) for voice in (found.rules, found.bank)]
    probs = [voice.probs(entries, owners) for voice in (*calibrated, found.head) if voice is not None]
    best_share: float = 0.0
    curve: tuple[CurvePoint, ...] = ()
    for share in _SHARES if found.head is not None else (0.0,):
        points = tuple(_point(alpha, share, probs, truth) for alpha in _ALPHAS)
        if not curve or _merit(_best(points)) > _merit(_best(curve)):
            best_share, curve = share, points
    best = _best(curve)
    return FittedFusion(
        alpha=best.alpha,
        head_share=None if found.head is None else best_share,
        rules_temperature=calibrated[0].temperature,
        bank_temperature=calibrated[1].temperature,
        curve=curve,
        samples=len(labels),
        excluded=0,
        in_bank=0,
        not_held_out=0,
        rules=rules.name,
        rules_sha256=rules.sha256,
        head_sha256=None if voices.head is None else voices.head.sha256,
        fitted_on=(),
        fingerprint=voices.bank.model.fingerprint,
        eval_version=None,
        judge=_judge(probs, (best.alpha, best_share), truth, found),
    )


def _judge(probs: Sequence[Doubles], weights: tuple[float, float], truth: Ints, found: _Validation) -> Judge:
    """Fit confidence and none-of-these on the answers that the chosen weights give."""
    fused = _pooled(probs, *weights)
    names = found.bank.names
    held = [at for at, label in enumerate(found.labels) if label in names]
    owner = np.array([names.index(found.labels[at]) for at in held], np.int64)
    views = openset_views(found.bank.scores[held], owner) if len(names) > 1 else []
    features = answer_features(fused, found.bank.scores)
    right = fused.argmax(axis=1) == truth
    return Judge(
        confidence=fit_confidence(features, right, photos=found.photos),
        openset=fit_openset(views, photos=[found.photos[at] for at in held] if views else None),
    )


def _pooled(probs: Sequence[Doubles], alpha: float, share: float) -> Doubles:
    """Return the voices' weighted mean, (n, c); the head's probabilities are the third, where there is a head."""
    weights = (alpha, (1 - alpha) * (1 - share), (1 - alpha) * share)
    scores = np.zeros_like(probs[0])
    for weight, part in zip(weights, probs, strict=False):
        scores += weight * part
    return scores


def _merit(point: CurvePoint) -> tuple[float, float]:
    return point.mrr, -point.loss


def _best(points: Sequence[CurvePoint]) -> CurvePoint:
    return max(points, key=_merit)


def _point(alpha: float, share: float, probs: Sequence[Doubles], truth: Ints) -> CurvePoint:
    scores = _pooled(probs, alpha, share)
    known = truth >= 0
    own = np.where(known, scores[np.arange(len(truth)), truth], 0.0)
    before = (scores > own[:, None]).sum(axis=1)  # of equals the right one is first, for every α alike
    return CurvePoint(
        alpha=alpha,
        top1=float((known & (before < 1)).mean()),
        top5=float((known & (before < 5)).mean()),
        mrr=float(np.where(known, 1 / (1 + before), 0.0).mean()),
        loss=float(-np.log(np.maximum(own, _LEAST_PROB)).mean()),
    )


def _calibrated(voice: Voice, labels: Sequence[str], owners: dict[str, str]) -> Voice:
    """Return the voice with the temperature that fits the rows whose fabric it knows; of families the best member."""
    names = [owners.get(name, name) for name in voice.names]
    groups = list(dict.fromkeys(names))
    best = np.stack([voice.scores[:, [n == group for n in names]].max(axis=1) for group in groups], axis=1)
    rows = [at for at, label in enumerate(labels) if label in groups]
    if not rows or len(groups) < 2:
        return replace(voice, temperature=1.0)
    truth = np.array([groups.index(labels[at]) for at in rows])
    return replace(voice, temperature=smoothed_temperature(truth, best[rows]))


def _cross_fitted(
    rows: LabelledRows, photo_of: Mapping[int, int], head: LinearHead | None, seed: int
) -> tuple[list[int], Voice | None]:
    """Return the rows that may be fitted on, of those whose photos are given, and what heads say that saw none."""
    if head is None:
        return list(photo_of), None
    names = [str(name) for name in head.classes]
    labels = rows.references.fabrics
    mine = [row for row in photo_of if labels[row] in names]
    present = sorted({labels[row] for row in mine})
    if len(present) < 2:
        return [], None
    truth = np.array([present.index(labels[row]) for row in mine], np.int64)
    groups = np.unique([photo_of[row] for row in mine], return_inverse=True)[1].astype(np.int64)
    folds = learning.grouped_folds(truth, groups, folds=5, seed=seed)
    strength = 1.0 if head.report is None else head.report.strength
    found = learning.cross_fit_logistic(_rows_of(rows, mine), truth, folds, strengths=(strength,))
    held = np.flatnonzero(folds != learning.ALWAYS_TRAIN)
    scores = found.logits[held] / head.temperature
    return [mine[at] for at in held], Voice(tuple(present), scores, 1.0)


def _rules_voice(folder: str | os.PathLike[str], rows: LabelledRows, held: Sequence[int], rules: RuleSet) -> Voice:
    paths = {patch.key: patch.path for patch in list_patches(folder)}
    scores = [list(rule_scores(extract_attributes(paths[rows.references.paths[at]]), rules).values()) for at in held]
    return Voice(tuple(rules.rules), np.array(scores), 1.0)


def _rows_of(rows: LabelledRows, numbers: Sequence[int]) -> Floats:
    return np.ascontiguousarray(rows.references.embeddings[list(numbers)])
