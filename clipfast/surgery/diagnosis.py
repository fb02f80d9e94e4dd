"""Why the figures of an evaluation are as they are: rules over its own numbers, each with the remedy at hand.

Remedies come from `remedies`: what the run shows to help, then what it did not try.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from clipfast.metrics.image_series import image_weights
from clipfast.surgery.localise_options import LocaliseOptions
from clipfast.surgery.localise_records import Records
from clipfast.surgery.localise_results import QualityRow, Scores
from clipfast.surgery.paths import PATHS
from clipfast.surgery.remedies import FLAT, WEAK_EFFECT, Case, remedy

__all__ = ["Finding", "diagnose"]

_SMALL_PATCHES = 2.0  # objects below this many patches along a side are blurred into their surroundings
_MANY_BOXES = 2.0  # boxes for each ground truth
_MISMATCH = 0.5  # of areas: a mask overlaps what it should cover by no more
_FEW_IMAGES = 30
_SHOWN = 5
_LOWEST_IOU = 0.05  # of a threshold that is worth a name
_WORDS = "other words for the classes (--phrase CLASS=WORDS, --prompt)"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that the numbers say.

    Attributes:
        code: Name of the rule.
        path: Of which path; None of all.
        says: What the numbers are and what follows from them.
        remedy: What the run shows to help against it, and what it did not try.
        numbers: The numbers themselves.
    """

    code: str
    path: str | None
    says: str
    remedy: str
    numbers: Mapping[str, float] = field(default_factory=dict)


def diagnose(records: Records, scores: Scores, options: LocaliseOptions, *, tuned: bool = False) -> tuple[Finding, ...]:
    """Apply every rule, the general ones first.

    Args:
        records: Of the evaluation.
        scores: Its figures.
        options: What was asked for.
        tuned: Whether the settings were chosen on a training split: then that is no remedy any more.

    Returns:
        Findings; one with code "sound" if no rule applies.
    """
    weights = image_weights(records.images, options.resamples, options.seed) if records.images > 1 else None
    cases = [Case(path, scores, records, options, tuned, weights) for path in scores.paths]
    found = [finding for rule in _GENERAL for finding in rule(cases)]
    for case in cases:
        rules = (_flat,) if case.says_nothing else _RULES
        found += [finding for rule in rules for finding in rule(case)]
    return tuple(found) or (
        Finding("sound", None, "No rule of the diagnosis applies.", "Compare paths by the tables above."),
    )


def _few_images(cases: list[Case]) -> Iterator[Finding]:
    images = cases[0].records.images
    if images < _FEW_IMAGES:
        yield Finding(
            "few_images",
            None,
            f"{images} images: resamples of so few are much alike, so intervals are too narrow.",
            f"Evaluate {_FEW_IMAGES} images or more (a higher --limit, where the data set has them).",
            {"images": images},
        )


def _small_objects(cases: list[Case]) -> Iterator[Finding]:
    records, maps = cases[0].records, cases[0].options.maps
    sides = records.truth_sides[~records.truths.spared()]
    sides = sides[~np.isnan(sides)]
    if not len(sides):
        return
    middle = float(np.median(sides))
    share = float((sides < _SMALL_PATCHES).mean())
    if middle >= _SMALL_PATCHES:
        return
    untried = ["a larger input (clipfast export --image-size)", "smaller patches (B/16, L/14)"]
    untried += [] if maps.has_windows else ["windows (--scales 1,2)"]
    seen = any(case.responds() for case in cases)
    yield Finding(
        "small_objects",
        None,
        f"The median ground truth is {middle:.1f} patches wide and {share:.0%} are below {_SMALL_PATCHES:g}: "
        "a map of patches cannot draw their outline.",
        (
            remedy([], untried)
            if seen
            else "Nothing that was tried in this run helps, and finer maps will not: no path responds to these objects "
            "by these words. First the words, or a model of this domain."
        ),
        {"median_patches": middle, "share_below": share},
    )


def _same_words(cases: list[Case]) -> Iterator[Finding]:
    records = cases[0].records
    if not records.alike:
        return
    groups = [f"{', '.join(g[:_SHOWN])}{', ...' if len(g) > _SHOWN else ''}" for g in records.alike[:_SHOWN]]
    several = sum(map(len, records.alike))
    yield Finding(
        "same_words",
        None,
        f"{several} classes have the map of another, because their words are all but the same to this model: "
        f"{'; '.join(groups)}. Words that a model does not know all look alike, and their maps say nothing.",
        "Name these classes by words the model knows (--phrase CLASS=WORDS), or take a model with a full vocabulary: "
        "the embedded mini knows the few hundred words of its own world.",
        {"classes": several, "groups": len(records.alike)},
    )


def _same_maps(cases: list[Case]) -> Iterator[Finding]:
    records = cases[0].records
    for one, other in combinations(records.paths, 2):
        pair = records.paths[one].response, records.paths[other].response
        shown = len(records.map_image) and pair[0]["spread"].max() > FLAT  # flat maps are all alike, and said so
        if shown and all(np.array_equal(pair[0][k], pair[1][k], equal_nan=True) for k in pair[0]):
            yield Finding(
                "same_maps",
                None,
                f"{one} and {other} give the same numbers in every map: one of them is not what its name says.",
                "Check the model: paths are different streams of its dense graph (clipfast verify).",
            )


def _flat(case: Case) -> Iterator[Finding]:
    flat, count = case.flat(case.path), len(case.records.map_class)
    if not flat:
        return
    competing = case.path == "standard" and case.records.alike
    clear = [path for path in case.others if not case.flat(path)]
    why = " Feature surgery takes away what all texts share, which is all of them here." if competing else ""
    yield Finding(
        "flat_maps",
        case.path,
        f"{flat} of {count} maps are the same everywhere: they show no place, and boxes of them are chance.{why}",
        remedy(
            [f"{', '.join(clear)} {'has' if len(clear) == 1 else 'have'} no flat map (--paths {','.join(clear)})"]
            if clear
            else [],
            [_WORDS] if competing else [_WORDS, "a look at these images: are they blank?"],
        ),
        {"flat": flat, "maps": count},
    )


def _unreachable(case: Case) -> Iterator[Finding]:
    row, options = case.scored, case.options
    if row is None or options.box_source != "percentile":
        return
    # A box that was refined may reach what no box of the percentile does: it is a true positive then.
    reached = [each.iou for each in case.scores.thresholds if each.true_positives]
    missed = [t for t in options.iou_thresholds if row.max_iou < t and t not in reached]
    if not missed:
        return
    yield Finding(
        "unreachable",
        case.path,
        f"No box reaches IoU {min(missed):g}: the highest at percentile {row.percentile:g} is {row.max_iou:.3f}. "
        f"mAP at {', '.join(f'{t:g}' for t in missed)} can be nothing but 0.",
        case.other_cuts(_reaching(case, row, min(missed)), ["--boxes multi, which fuses many levels"]),
        {"max_iou": row.max_iou, "best_max_iou": max(each.max_iou for each in case.scores.quality)},
    )


def _reaching(case: Case, scored: QualityRow, wanted: float) -> list[str]:
    """Return what reached an IoU in this run: another percentile, another path, the box around the peak."""
    best = max(case.scores.quality, key=lambda each: each.max_iou)
    shown = [f"--percentile {best.percentile:g} reaches {best.max_iou:.3f}"] if best.max_iou >= wanted else []
    rows = [(row.max_iou, path) for path in case.others if (row := case.row_of(path)) is not None]
    highest, path = max(rows, default=(0.0, ""))
    shown += [f"{path} reaches {highest:.3f} (--paths {path})"] if highest >= wanted else []
    peak = float(case.records.paths[case.path].fit["peak_iou"].max())
    shown += [f"the box around the peak, at 0.6 of the map's range, reaches {peak:.3f}"] if peak >= wanted else []
    lower = np.floor(scored.max_iou / _LOWEST_IOU + 1e-9) * _LOWEST_IOU
    if lower > 0 and scored.max_iou < min(case.options.iou_thresholds) and case.responds():
        shown.append(f"boxes reach lower thresholds (--iou {lower:g})")
    return shown


def _inverted(case: Case) -> Iterator[Finding]:
    response = case.scores.response
    if response is None or response.contrast.value is None:
        return
    numbers = {"contrast": response.contrast.value, "inverted_share": response.inverted_share or 0.0}
    clear = [path for path in case.others if case.responds(path)]
    verb = "is" if len(clear) == 1 else "are"
    shown = (
        [f"{', '.join(clear)} {verb} clearly higher inside than beside (--paths {','.join(clear)})"] if clear else []
    )
    plain = case.path in PATHS and PATHS[case.path].stream == "plain"
    value_value = [path for path in ("standard", "vv_vv") if path not in case.run.paths]
    untried = [f"value-value tokens (--paths {','.join(value_value)})"] if plain and value_value else []
    untried += [_WORDS, "a model of this domain"]
    if response.verdict == "inverted":
        yield Finding(
            "inverted",
            case.path,
            f"The background responds more than the ground truth ({response.background:z.3g} against "
            f"{response.inside_mean:z.3g}; {response.inverted_share:.0%} of the maps): the map is the wrong way round, "
            f"{'as plain CLIP tokens are known to be' if plain else 'for these words'}.",
            f"{remedy(shown, untried)} Do not turn the map round without a training split that shows it helps.",
            numbers,
        )
    elif response.effect is None or response.effect < WEAK_EFFECT:
        yield Finding(
            "weak_response",
            case.path,
            f"Inside and background differ by {response.contrast.value:+z.4f}, {response.effect or 0.0:z.2f} of the "
            "map's own standard deviation: the model hardly sees these objects by these words.",
            remedy(shown, [*untried, "teaching it where things are (examples/finetune_localisation.py)"]),
            numbers,
        )


def _fragmented(case: Case) -> Iterator[Finding]:
    row, records, options = case.scored, case.records, case.options
    if row is None or options.box_source != "percentile":  # the row counts boxes of a percentile
        return
    truths = float(records.map_truths.mean())
    cleaned = options.boxes.morphology == "close_open"
    numbers = {"boxes_per_map": row.boxes, "truths_per_map": truths}
    if row.boxes >= _MANY_BOXES * truths:
        untried = [f"--min-size above {max(options.boxes.min_size_hw)}", "--boxes multi"]
        yield Finding(
            "fragmented",
            case.path,
            f"{row.boxes:.1f} boxes a map for {truths:.1f} ground truths: most are false positives.",
            case.other_cuts(
                case.better_percentile(lambda each: each.boxes < row.boxes),
                untried if cleaned else [*untried, "--morphology close_open"],
            ),
            numbers,
        )
    elif 0 < row.boxes * _MANY_BOXES <= truths:
        yield Finding(
            "merged",
            case.path,
            f"{row.boxes:.1f} boxes a map for {truths:.1f} ground truths: neighbours become one box.",
            case.other_cuts(
                case.better_percentile(lambda each: each.boxes > row.boxes),
                [*(["--morphology none"] if cleaned else []), "a larger input, so that gaps are patches"],
            ),
            numbers,
        )


def _area_mismatch(case: Case) -> Iterator[Finding]:
    row = case.scored
    # Where maps do not respond, or boxes come from elsewhere, the percentile is not what is wrong.
    if row is None or case.options.box_source != "percentile" or not case.responds():
        return
    covered = float(np.median(case.records.paths[case.path].response["area"]))
    ratio = _overlap(covered, row)
    if not 0 < ratio < _MISMATCH:
        return
    nearer = [each for each in case.scores.quality if _overlap(covered, each) > ratio]
    shown = case.better_percentile(lambda each: each in nearer)
    if nearer and not shown:
        return  # masks of a fitting area were measured, and fit no better
    yield Finding(
        "area_mismatch",
        case.path,
        f"Ground truths cover {covered:.1%} of a map (median), and the percentile marks {row.activated:.1%}: "
        f"a mask of that size overlaps them by IoU {ratio:.2f} at best.",
        case.other_cuts(shown, [] if nearer else [f"--percentile {100 * (1 - covered):.4g}"]),
        {"truth_share": covered, "activated": row.activated},
    )


def _overlap(covered: float, row: QualityRow) -> float:
    """Return the highest IoU that a mask of a row's size can have with what covers that share of a map."""
    return min(covered, row.activated) / max(covered, row.activated, 1e-12)


def _right_place_wrong_extent(case: Case) -> Iterator[Finding]:
    pointing, fit, source = case.scores.pointing, case.scores.fit, case.options.box_source
    if pointing is None or pointing.value is None or fit is None or fit.every.value is None:
        return
    if pointing.value < 0.6 or fit.every.value >= 0.3:
        return
    shown = case.better_percentile() if source == "percentile" else []
    shown += case.better_path("box_iou", "IoU by ground truth")
    untried = [f"--boxes {name}" for name in ("multi", "snapped") if name != source]
    yield Finding(
        "right_place_wrong_extent",
        case.path,
        f"The peak hits in {pointing.value:.0%} of the maps, but boxes overlap by {fit.every.value:.2f} only: "
        "the place is right, the extent is not.",
        case.other_cuts(shown, [*untried, "--refine SPLIT, which learns how boxes should move"]),
        {"pointing": pointing.value, "truth_iou": fit.every.value},
    )


_GENERAL: tuple[Callable[[list[Case]], Iterator[Finding]], ...] = (
    _few_images,
    _small_objects,
    _same_words,
    _same_maps,
)
_RULES: tuple[Callable[[Case], Iterator[Finding]], ...] = (
    _flat,
    _inverted,
    _unreachable,
    _area_mismatch,
    _fragmented,
    _right_place_wrong_extent,
)
