"""Sentences of a report on two branches. Each is made from a test, so that none says more than the numbers do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations

from clipfast.anomaly.grid.records import ClassRecord
from clipfast.metrics import wilson_interval
from clipfast.report.branch_approximation import Approximation
from clipfast.report.branch_rows import WeakShare
from clipfast.report.branch_tests import BranchTest, ModeTest
from clipfast.report.tables import percent

__all__ = [
    "SIGNIFICANT",
    "approximation_sentence",
    "mode_sentences",
    "share_sentence",
    "sharing_sentences",
    "test_sentence",
]

SIGNIFICANT = 0.05
_SHOWN = 3


def test_sentence(test: BranchTest) -> str:
    """Say what a test of two figures found."""
    means = f"{percent(test.first_mean)} against {percent(test.second_mean)}"
    if test.p_holm is None or test.low is None or test.high is None:
        return f"{_capital(test.first)}: {means}; nothing can be tested with {_classes(test.classes)}."
    if not test.differing:
        return f"{_capital(test.first)} and {test.second} are the same in each of {_classes(test.classes)}: {means}."
    between = f"{_points(test.difference)} [{_points(test.low)}, {_points(test.high)}]"
    tail = f"over {_classes(test.classes)}, p {_p(test.p_holm)} after Holm"
    if test.p_holm > SIGNIFICANT:
        reach = "; so few classes cannot reach significance" if _out_of_reach(test) else ""
        return (
            f"No difference is shown between {test.first} and {test.second}: {means}, {between} points {tail}{reach}."
        )
    way = "higher" if test.difference > 0 else "lower"
    return f"{_capital(test.first)} is {way} than {test.second}: {means}, {between} points {tail}."


def share_sentence(share: WeakShare) -> str:
    """Say how often the text branch is the weaker one, and what that says about classes in general."""
    what = "images" if share.task == "cls" else "pixels"
    found = wilson_interval(share.classes_semantic_weak, share.classes)
    counted = f"{share.semantic_weak} of {share.rows} rows ({percent(share.semantic_weak / share.rows)})"
    general = (
        f"by class {share.classes_semantic_weak} of {share.classes}, [{percent(found.low)}, {percent(found.high)}]"
    )
    if found.low > 0.5:
        verdict = "it is the weaker one for most classes"
    elif found.high < 0.5:
        verdict = "the memory is the weaker one, or as good, for most classes"
    else:
        verdict = "which branch is weaker for most classes is open"
    return f"On {what} the text branch is weaker in {counted}; {general}: {verdict}."


def sharing_sentences(dataset: str, classes: Sequence[ClassRecord]) -> list[str]:
    """Say which classes share test images, so that they are no independent units, and which have one twice."""
    tested = [(each.name, {sample.pixels for sample in each.samples}) for each in classes]
    sentences = [
        f"{each.name} of {dataset} has {len(each.samples)} test images, of which {len(each.samples) - len(different)} "
        "are copies of others; each counts, so intervals over images are too narrow."
        for each, (_, different) in zip(classes, tested, strict=True)
        if len(different) < len(each.samples)
    ]
    pairs = [
        f"{first} and {second} {len(mine & theirs)}"
        for (first, mine), (second, theirs) in combinations(tested, 2)
        if mine & theirs
    ]
    if pairs:
        more = f", and {len(pairs) - _SHOWN} pairs more" if len(pairs) > _SHOWN else ""
        sentences.append(
            f"Classes of {dataset} share test images ({', '.join(pairs[:_SHOWN])}{more}), so tests over classes count "
            "what is partly one observation as two; their p-values are too small and their intervals too narrow."
        )
    return sentences


def mode_sentences(tests: Iterable[ModeTest]) -> list[str]:
    """Say which modes differ from the memory alone, by task."""
    sentences = []
    groups: dict[str, list[ModeTest]] = {}
    for each in tests:
        if each.mode != "oracle":
            groups.setdefault(each.task, []).append(each)
    for task, mine in groups.items():
        what = "images" if task == "cls" else "pixels"
        sure = [one for one in mine if one.test.p_holm is not None and one.test.p_holm <= SIGNIFICANT]
        above = [one.mode for one in sure if one.test.difference > 0]
        below = [one.mode for one in sure if one.test.difference < 0]
        if above:
            sentences.append(f"On {what} better than the memory alone: {', '.join(above)}.")
        if below:
            sentences.append(f"On {what} worse than the memory alone: {', '.join(below)}.")
        same = [one.mode for one in mine if not one.test.differing]
        if same:
            sentences.append(f"On {what} the same as the memory alone: {', '.join(same)}.")
        unsure = [one for one in mine if one.mode not in (*above, *below, *same)]
        beyond = [one.mode for one in unsure if _out_of_reach(one.test)]
        open_modes = [one.mode for one in unsure if one.mode not in beyond]
        if open_modes:
            sentences.append(f"On {what} no difference from the memory alone is shown for {', '.join(open_modes)}.")
        if beyond:
            most = max(one.test.classes for one in unsure)
            sentences.append(
                f"On {what} {_classes(most)} cannot show a difference from the memory alone beside so many tests, "
                f"whatever it is: {', '.join(beyond)}."
            )
    return sentences


def approximation_sentence(found: Sequence[Approximation]) -> str:
    """Say how far the earlier approximation is off."""
    errors = [100 * each.error for each in found]
    wrong = sum(each.names_the_other for each in found)
    return (
        f"The approximation is off by {sum(errors) / len(errors):.1f} points on average and {max(errors):.1f} at most "
        f"(the worse branch of each of {len(found)} cells), and calls the wrong branch weaker in {wrong} of "
        f"{len(found)}."
    )


def _out_of_reach(test: BranchTest) -> bool:
    """Whether no outcome of the test could have been significant, even if the signs of all classes agreed."""
    return test.least is None or test.least > SIGNIFICANT


def _points(value: float) -> str:
    return f"{100 * value:+z.1f}"


def _p(value: float) -> str:
    return f"= {value:.3f}" if value >= 0.001 else "< 0.001"


def _classes(count: int) -> str:
    return f"{count} class" if count == 1 else f"{count} classes"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
