"""A diagnosis in a few sentences."""

from __future__ import annotations

from clipfast.diagnostics.answers import share
from clipfast.diagnostics.diagnosis import Diagnosis
from clipfast.diagnostics.learned import LearnedCauses
from clipfast.diagnostics.mismatch import NoiseEstimate

__all__ = ["summary_sentences"]


def summary_sentences(found: Diagnosis) -> tuple[str, ...]:
    """Say the result in a few sentences, the most important first."""
    verb = "is" if found.wrong == 1 else "are"
    lead = f"{found.wrong:,} of {found.judged:,} judged samples {verb} wrong: accuracy {share(found.accuracy)}."
    named = found.triage.raised
    if named:
        first = named[0]
        said = [f"First to mend: {first.cause}, which explains {share(first.share)} of the samples. {first.fix}"]
        said += [f"Then: {', '.join(finding.cause for finding in named[1:])}."] if len(named) > 1 else []
    elif found.wrong:
        said = ["No single cause affects enough samples to be named."]
    else:
        said = ["Nothing is wrong, so no cause can be named."]
    if found.wrong and found.triage.undecided:
        said.append(f"Of {found.triage.undecided:,} of the {found.wrong:,} wrong the cause cannot be told.")
    if found.label_noise is not None:
        said.append(_of_noise(found.label_noise))
    if found.review is not None and found.review.noise_of_wrong is not None:
        said.append(f"People found {share(found.review.noise_of_wrong)} of the wrong samples mismatched.")
    if found.learned is not None:
        said.append(_of_learned(found.learned))
    return (lead, *said, *found.warnings)


def _of_noise(estimate: NoiseEstimate) -> str:
    if "far" in estimate.parts:
        return f"Estimated share of wrong labels: {share(estimate.ratio)}."
    return (
        f"Share of wrong labels, with the model's own sure errors counted as such: {share(estimate.ratio)}. With fewer "
        "than six classes the two cannot be told apart: take it as the most that it can be, and let people look."
    )


def _of_learned(learned: LearnedCauses) -> str:
    text = (
        f"A classifier of {learned.verdicts:,} verdicts tells {share(learned.accuracy)} of them rightly, each without "
        f"having seen it; the rules tell {share(learned.rules_accuracy)}."
    )
    if not learned.used:
        return f"{text} The rules decide."
    return f"{text} It decides on {learned.told:,} wrong samples that nobody looked at, the rules on the others."
