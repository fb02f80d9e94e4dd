"""The owner's procedure, box by box, each answered from the data or with what is missing for an answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from clipfast.diagnostics import answers
from clipfast.diagnostics.answers import Answer, Said
from clipfast.diagnostics.diagnosis import Diagnosis
from clipfast.diagnostics.review import NOISE_RULE

__all__ = ["CheckItem", "checklist"]


@dataclass(frozen=True, slots=True)
class CheckItem:
    """One box.

    Attributes:
        part: Of the procedure.
        question: What it asks.
        answer: "yes" and "no" of a question, "figure" where a number is asked for, "open" where the data do not say.
        says: The answer in a sentence, with its numbers; of "open", what is missing.
    """

    part: str
    question: str
    answer: Answer
    says: str


def checklist(found: Diagnosis) -> tuple[CheckItem, ...]:
    """Answer every box of the procedure."""
    return tuple(CheckItem(part, question, *answer(found)) for part, question, answer in _BOXES)


def _figure(answer: Callable[[Diagnosis], Said]) -> Callable[[Diagnosis], Said]:
    """Give the numbers of an answer where the procedure asks for a figure and not for yes or no."""

    def said(found: Diagnosis) -> Said:
        known, text = answer(found)
        return ("open" if known == "open" else "figure"), text

    return said


_STEP, _GAP, _AMBIGUOUS, _PLACE = "Step by step", "Semantic gap", "Ambiguity", "Space and relations"
_LOST, _NEW, _NOISE, _DESIGN, _LIST, _RULES = (
    "Missing modality", "Generalisation", "Noise", "Design", "Figures", "What to do first",
)  # fmt: skip

_BOXES: tuple[tuple[str, str, Callable[[Diagnosis], Said]], ...] = (
    (_STEP, "1. Do errors gather in groups?", answers.answer_groups),
    (
        _STEP,
        f"2. Are {100 * NOISE_RULE:.0f} % or more of the wrong samples mismatched, when people look?",
        answers.answer_review,
    ),
    (_STEP, "3. Is it good on training samples and worse on new ones?", answers.answer_training),
    (_STEP, "4. Does it get worse in new domains?", answers.answer_domains),
    (_STEP, "5a. Is its confidence off: surer, or less sure, than it is right?", answers.answer_unsure),
    (_STEP, "5b. Is it unsure where it is wrong, with flat probabilities or spread attention?", answers.answer_flat),
    (_STEP, "5c. Does it look at the wrong place?", answers.answer_looked),
    (_GAP, "Do matching images and texts lie too close to shuffled ones?", answers.answer_pairs),
    (_GAP, "Do clusters of images and texts agree with the classes?", answers.answer_clusters),
    (_AMBIGUOUS, "Does it need the words around the keyword?", answers.answer_context),
    (_AMBIGUOUS, "Is the right answer among the first few when the first is wrong?", answers.answer_top_k),
    (_PLACE, "Does the attention miss the answer's box?", answers.answer_looked),
    (_PLACE, "Does it find the right box among candidates?", answers.answer_choice),
    (_LOST, "Does image or text alone do as well as both?", answers.answer_ablation),
    (_NEW, "How large is the gap from training to new samples?", _figure(answers.answer_training)),
    (_NEW, "Is accuracy lower where training samples are few?", answers.answer_coverage),
    (_NOISE, "Are losses extreme, or do they jump?", answers.answer_losses),
    (_NOISE, "Which training samples do harm?", answers.answer_influence),
    (_NOISE, "What share of the data is mismatched?", answers.answer_noise),
    (_DESIGN, "Are conclusions safe?", answers.answer_design),
    (_LIST, "Accuracy and F1 by type of question", answers.answer_types),
    (_LIST, "Localisation and attention-box IoU", _figure(answers.answer_looked)),
    (_LIST, "Top-k inclusion", _figure(answers.answer_top_k)),
    (_LIST, "Calibration and predictive entropy", answers.answer_calibration),
    (_LIST, "Drop from training to new domains", _figure(answers.answer_domains)),
    (_LIST, "Noise ratio", answers.answer_noise),
    (_RULES, "Mismatch above 20 %: clean the data?", answers.answer_rule_noise),
    (_RULES, "Good in training, bad on new data: pretrain or augment?", answers.answer_rule_generalisation),
    (_RULES, "Attention and IoU low: spatial alignment?", answers.answer_rule_alignment),
    (_RULES, "Right answer in the first few but not first: ambiguity?", answers.answer_rule_ambiguity),
)
