"""What the data answer to each box of the owner's procedure: yes, no, a figure, or what is missing for an answer."""

from __future__ import annotations

from typing import Literal, TypeAlias

from clipfast.diagnostics.diagnosis import Diagnosis
from clipfast.diagnostics.groups import GroupTable
from clipfast.diagnostics.modalities import Ablation
from clipfast.metrics.intervals import Interval

__all__ = [
    "Answer",
    "Said",
    "answer_ablation",
    "answer_calibration",
    "answer_choice",
    "answer_clusters",
    "answer_context",
    "answer_coverage",
    "answer_design",
    "answer_domains",
    "answer_flat",
    "answer_groups",
    "answer_influence",
    "answer_looked",
    "answer_losses",
    "answer_noise",
    "answer_pairs",
    "answer_review",
    "answer_rule_alignment",
    "answer_rule_ambiguity",
    "answer_rule_generalisation",
    "answer_rule_noise",
    "answer_top_k",
    "answer_training",
    "answer_types",
    "answer_unsure",
    "share",
]

Answer: TypeAlias = Literal["yes", "no", "figure", "open"]
Said: TypeAlias = tuple[Answer, str]
"""An answer and what it says, in a sentence."""

_LOW_ACCURACY = 0.9
_SURE_GAP = 0.05
_FEW = 30
_FEWEST_WRONG = 10


def share(interval: Interval | None) -> str:
    """Write a share with its interval.

    >>> share(Interval(0.5, 0.4, 0.6, 0.95, "wilson"))
    '50.0 % [40.0, 60.0]'
    """
    if interval is None:
        return "unknown"
    return f"{100 * interval.estimate:.1f} % [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def _open(found: Diagnosis, *fields: str) -> Said:
    lacking = [name for name in fields if name in found.missing]
    return "open", f"The data lack {' and '.join(lacking)}." if lacking else "There are too few samples for that."


def answer_groups(found: Diagnosis) -> Said:
    """Do errors gather in groups?"""
    tables = [table for table in found.groups if table.groups > 1]
    if not found.wrong:
        return "no", "No judged sample is wrong."
    if not tables:
        return _open(found, "domain", "question_type", "template")
    worst = max(tables, key=lambda table: table.share_in_worse)
    if worst.share_in_worse == 0:
        columns = ", ".join(table.column for table in tables)
        return "open" if found.judged < _FEW else "no", f"No group of {columns} is clearly worse than the others."
    names = ", ".join(_named(worst))
    return (
        "yes",
        f"{100 * worst.share_in_worse:.0f} % of the errors lie in groups of {worst.column} that are worse: {names}.",
    )


def _named(table: GroupTable) -> list[str]:
    return [f"{row.name or '(none)'} ({share(row.error_rate)})" for row in table.rows if row.worse][:4]


def answer_review(found: Diagnosis) -> Said:
    """What did people find?"""
    if found.review is None or found.review.noise_of_wrong is None:
        hint = "Nobody has looked yet: clipfast diagnose review export, fill in, then --review."
        if found.label_noise is not None:
            hint += f" Without looking, the estimated share of wrong labels is {share(found.label_noise.ratio)} of all."
        return "open", hint
    result = found.review
    tail = "" if result.sure else f" The interval holds 20 %: look at {result.more} more to be sure."
    text = f"{share(result.noise_of_wrong)} of the wrong samples looked at are mismatched or wrongly labelled.{tail}"
    return ("yes" if result.noise_first else "no"), text


def answer_training(found: Diagnosis) -> Said:
    """Is training better than new samples?"""
    if found.train_accuracy is None:
        return _open(found, "split")
    train, test = found.train_accuracy, found.accuracy
    text = f"Training {share(train)}, judged {share(test)}."
    if train.high < test.low:
        return "no", f"{text} Training samples are worse than new ones: look at the training labels."
    if train.low > test.high:
        return "yes", f"{text} New samples are worse than training samples."
    if train.high < _LOW_ACCURACY:
        return "no", f"{text} Training samples fail as well: noise or capacity, not generalisation."
    return "no", f"{text} The two do not differ clearly."


def answer_domains(found: Diagnosis) -> Said:
    """Is accuracy lost in new domains or far from the training data?"""
    drops = [drop for drop in found.drops if drop.known != "train"]
    if not drops:
        return _open(found, "domain", "image embeddings")
    said = [
        f"{drop.known} {share(drop.known_accuracy)}, {drop.new} {share(drop.new_accuracy)}: "
        f"{100 * abs(drop.drop):.1f} points {'lost' if drop.drop >= 0 else 'won'}"
        + ("" if drop.apart else ", not clearly")
        for drop in drops
    ]
    return ("yes" if any(drop.apart and drop.drop > 0 for drop in drops) else "no"), "; ".join(said) + "."


def answer_unsure(found: Diagnosis) -> Said:
    """Is the confidence off?"""
    row = found.calibration.overall
    gap = row.confidence - row.accuracy
    temperature = found.calibration.temperature
    text = (
        f"ECE {row.ece.estimate:.3f} [{row.ece.low:.3f}, {row.ece.high:.3f}], MCE {row.mce:.3f}, ACE {row.ace:.3f}; "
        f"mean confidence {row.confidence:.3f}, accuracy {row.accuracy:.3f}"
        + (f"; best temperature {temperature:.2f}." if temperature is not None else "; no temperature is best.")
    )
    if row.samples < _FEW:
        return "open", f"{text} {_FEW} samples or more are needed to judge that."
    if abs(gap) >= _SURE_GAP:
        return "yes", f"{text} It is too {'sure' if gap > 0 else 'unsure'}."
    return ("no" if row.ece.estimate < 2 * _SURE_GAP else "yes"), text


def answer_flat(found: Diagnosis) -> Said:
    """Are probabilities flat where it is wrong?"""
    right, wrong = found.entropy
    where = (
        ""
        if found.localisation is None or found.localisation.mean_entropy is None
        else (f" Mean entropy of the attention is {found.localisation.mean_entropy:.2f}.")
    )
    if wrong is None:
        return "no", f"No judged sample is wrong; mean predictive entropy {right or 0:.2f}.{where}"
    text = f"Mean predictive entropy (of 1) {wrong:.2f} where wrong, {_plain(right)} where right.{where}"
    return ("open" if found.judged < _FEW else "yes" if wrong > 0.6 else "no"), text


def answer_calibration(found: Diagnosis) -> Said:
    """Give calibration and entropy."""
    return "figure", f"{answer_unsure(found)[1]} {answer_flat(found)[1]}"


def answer_looked(found: Diagnosis) -> Said:
    """Does it look beside the answer?"""
    place = found.localisation
    if place is None or place.pointing is None:
        return _open(found, "attention", "boxes")
    text = (
        f"The peak lies in the answer in {share(place.pointing)}; where right {share(place.pointing_if_right)}, where "
        f"wrong {share(place.pointing_if_wrong)}. Mean IoU of attention and answer {place.mean_iou or 0:.2f}, IoU of "
        f"at least 0.5 in {share(place.iou_half)}; {100 * (place.mean_inside or 0):.0f} % of the attention is inside."
    )
    before, after = place.pointing_if_right, place.pointing_if_wrong
    elsewhere = after is not None and (after.high < 0.5 or (before is not None and after.high < before.low))
    return ("yes" if elsewhere else "no"), text


def answer_pairs(found: Diagnosis) -> Said:
    """Do pairs lie too close to shuffled ones?"""
    if found.pairs is None:
        return _open(found, "image embeddings", "text embeddings")
    pairs = found.pairs
    text = (
        f"Matching pairs {pairs.mean_matching:.3f}, shuffled {pairs.mean_shuffled:.3f}: AUC {pairs.auc:.3f}, d' "
        f"{pairs.d_prime:.2f}, overlap {100 * pairs.overlap:.0f} %."
    )
    if found.pair_noise is not None:
        text += f" Estimated share of mismatched pairs: {share(found.pair_noise.ratio)}."
    return ("yes" if pairs.auc < 0.8 else "no"), text


def answer_clusters(found: Diagnosis) -> Said:
    """Give the agreement of clusters."""
    same = found.agreement
    if same is None or same.clusters < 2:
        return _open(found, "image embeddings", "text embeddings")
    parts = [
        f"{name} {value:.2f}"
        for name, value in (
            ("images with labels: NMI", same.image_nmi),
            ("ARI", same.image_ari),
            ("texts with labels: NMI", same.text_nmi),
            ("images with texts: NMI", same.image_text_nmi),
        )
        if value is not None
    ]
    return "figure", f"{same.clusters} clusters; {', '.join(parts)}."


def answer_context(found: Diagnosis) -> Said:
    """Does it need the context?"""
    part = found.modalities.no_context
    if part is None:
        return _open(found, "no_context_probs")
    text = (
        f"Accuracy {share(part.full)} with, {share(part.without)} without the words around the keyword: {_lost(part)}."
    )
    if part.lost.low > 0:
        return "yes", text
    return ("no", text) if _as_good(part) else ("open", f"{text} More samples are needed to tell.")


def _lost(part: Ablation) -> str:
    low, high = 100 * part.lost.low, 100 * part.lost.high
    return f"{100 * part.lost.estimate:.1f} points lost [{low:.1f}, {high:.1f}]"


def _as_good(part: Ablation) -> bool:
    """Whether so little is lost without the part that it does as well."""
    return part.samples >= _FEW and part.lost.high < _SURE_GAP


def answer_top_k(found: Diagnosis) -> Said:
    """Is the label among the first few?"""
    top = found.top_k
    listed = ", ".join(f"top-{k} {share(part)}" for k, part in zip(top.ks, top.inclusion, strict=True))
    if not found.wrong:
        return "no", f"{listed}. No judged sample is wrong."
    few = [at for at, chance in enumerate(top.by_chance) if 0 < chance <= 0.5]
    if not few:
        return "open", f"{listed}. With so few classes, being among the first few says nothing."
    k, rescued, chance = top.ks[few[-1]], top.rescued[few[-1]], top.by_chance[few[-1]]
    text = (
        f"{listed}. Of the wrong ones, {share(rescued)} have the label among the first {k}; by chance it would be "
        f"{100 * chance:.0f} %."
    )
    if rescued is not None and rescued.low > 0.5:
        return "yes", text
    return ("open", f"{text} More wrong samples are needed to tell.") if found.wrong < _FEWEST_WRONG else ("no", text)


def answer_choice(found: Diagnosis) -> Said:
    """Give the share of right boxes."""
    place = found.localisation
    if place is None or place.choice_accuracy is None:
        return _open(found, "candidates")
    return "figure", f"The right box is chosen in {share(place.choice_accuracy)}."


def answer_ablation(found: Diagnosis) -> Said:
    """Does one modality suffice?"""
    parts = found.modalities
    alone = [
        (name, part) for name, part in (("Image", parts.image_only), ("Text", parts.text_only)) if part is not None
    ]
    if not alone:
        return _open(found, "image_only_probs", "text_only_probs")
    text = " ".join(
        f"{name} alone {share(part.without)}, with both {share(part.full)}: {_lost(part)}." for name, part in alone
    )
    if parts.single_suffices is not None:
        text += f" One of them alone suffices in {share(parts.single_suffices)}."
    if any(_as_good(part) for _, part in alone):
        return "yes", text
    if all(part.lost.low > 0 for _, part in alone):
        return "no", text
    return "open", f"{text} More samples are needed to tell."


def answer_coverage(found: Diagnosis) -> Said:
    """Is accuracy lower where training samples are few?"""
    table = found.frequency
    if table is None:
        return _open(found, "split")
    bands = "; ".join(
        f"{low}-{high} training samples: {share(part)}"
        for (low, high), part in zip(table.bounds, table.accuracy, strict=True)
    )
    rising = len(table.accuracy) > 1 and table.accuracy[0].high < table.accuracy[-1].low
    return ("yes" if rising else "no"), f"By {table.column}: {bands}."


def answer_losses(found: Diagnosis) -> Said:
    """Give the losses."""
    rows = {row.feature: row for row in found.features}
    if "loss_rank" not in rows:
        return _open(found, "loss")
    parts = [
        f"{rows[name].meaning}: {_plain(rows[name].right)} where right, {_plain(rows[name].wrong)} where wrong"
        for name in ("loss_rank", "loss_jump")
        if name in rows
    ]
    return "figure", f"Medians; {'; '.join(parts)}."


def _plain(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f}"


def answer_influence(found: Diagnosis) -> Said:
    """Name the training samples that do harm."""
    each = found.influences
    if each is None:
        return "open", f"It cannot be said {found.missing['influence']}."
    names = ", ".join(f"{worst.id} ({worst.label}, rather {worst.prefers})" for worst in each.worst[:4])
    return "figure", (
        f"A linear head on {each.features} would be better without {each.harmful:,} of {each.training:,} training "
        f"samples; the worst: {names or 'none'}."
    )


def answer_types(found: Diagnosis) -> Said:
    """Give accuracy and F1 by type of question."""
    table = next((table for table in found.groups if table.column == "question_type"), None)
    if table is None:
        return _open(found, "question_type")
    rows = []
    for row in table.rows[:6]:
        rate, f1 = row.error_rate, row.macro_f1
        right = Interval(1 - rate.estimate, 1 - rate.high, 1 - rate.low, rate.confidence, rate.method)
        said = f"{row.name or '(none)'}: accuracy {share(right)}"
        rows.append(said + (f", macro F1 {f1.estimate:.3f} [{f1.low:.3f}, {f1.high:.3f}]" if f1 else ""))
    more = f"; {table.groups - 6} more types are in the tables below" if table.groups > 6 else ""
    return "figure", "; ".join(rows) + more + "."


def answer_noise(found: Diagnosis) -> Said:
    """Give the share of mismatches."""
    if found.review is not None and found.review.noise_of_all is not None:
        rest = "" if found.review.right_looked_at else " at least, as no right sample was looked at"
        return "figure", f"{share(found.review.noise_of_all)} of all judged samples by people's verdicts{rest}."
    if found.label_noise is None:
        return "open", "The model is sure in fewer than 20 samples: look at some, clipfast diagnose review export."
    parts = ", ".join(f"{name} {share(part)}" for name, part in found.label_noise.parts.items())
    return "figure", f"Wrong labels, estimated without looking: {share(found.label_noise.ratio)} ({parts})."


def answer_rule_noise(found: Diagnosis) -> Said:
    """Clean the data first?"""
    answer, text = answer_review(found)
    if answer == "yes":
        return "yes", f"{text} Clean the data first."
    return answer, text


def answer_rule_generalisation(found: Diagnosis) -> Said:
    """Pretrain or augment first?"""
    train, domains = answer_training(found), answer_domains(found)
    if "yes" in {train[0], domains[0]}:
        blamed = any(finding.cause == "generalisation" for finding in found.triage.raised)
        if blamed or (found.novelty is None and "domain" in found.missing):
            return "yes", "Accuracy is lost on new samples: cross-dataset test, then pretraining or augmentation."
        return "no", (
            "Accuracy is lost on new samples, but few of the wrong ones are unlike the training data: look at the "
            "causes above first."
        )
    if {train[0], domains[0]} == {"open"}:
        return "open", f"{train[1]} {domains[1]}"
    return "no", "No clear loss from training to new samples."


def answer_rule_alignment(found: Diagnosis) -> Said:
    """Align regions first?"""
    answer, text = answer_looked(found)
    return (
        answer,
        text if answer != "yes" else "Attention misses the answer where it is wrong: localisation probe next.",
    )


def answer_rule_ambiguity(found: Diagnosis) -> Said:
    """Add context or labels first?"""
    answer, text = answer_top_k(found)
    return answer, text if answer != "yes" else f"{text} Ambiguity: more context, or several labels."


def answer_design(_: Diagnosis) -> Said:
    """Say what makes conclusions safe."""
    return "figure", (
        "Intervals: Wilson for shares, bootstrap over samples elsewhere; groups corrected for their number. "
        "Experiments (clipfast.diagnostics.experiments) change one factor at a time, repeat over seeds, and correct "
        "by Holm."
    )
