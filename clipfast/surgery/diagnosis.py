"""Why the figures of an evaluation are as they are: rules over its own numbers, each with the remedy at hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from clipfast.surgery.localise_options import LocaliseOptions
from clipfast.surgery.localise_records import Records
from clipfast.surgery.localise_results import PathScores, QualityRow, Scores
from clipfast.surgery.paths import PATHS

__all__ = ["Finding", "diagnose"]

_SMALL_PATCHES = 2.0  # objects below this many patches along a side are blurred into their surroundings
_MANY_BOXES = 2.0  # boxes for each ground truth
_WEAK_EFFECT = 0.5  # of the map's own standard deviation
_FEW_IMAGES = 30
_FLAT = 1e-6  # a map of less spread is rounding
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that the numbers say.

    Attributes:
        code: Name of the rule.
        path: Of which path; None of all.
        says: What the numbers are and what follows from them.
        remedy: What this library offers against it.
        numbers: The numbers themselves.
    """

    code: str
    path: str | None
    says: str
    remedy: str
    numbers: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class _Case:
    """What a rule looks at: one path."""

    path: str
    scores: PathScores
    records: Records
    options: LocaliseOptions

    def scored_row(self) -> QualityRow | None:
        """Return the row of the quality table that is scored; None where only boxes were."""
        return next((row for row in self.scores.quality if row.percentile == self.options.percentile), None)


def diagnose(records: Records, scores: Scores, options: LocaliseOptions) -> tuple[Finding, ...]:
    """Apply every rule, the general ones first.

    Args:
        records: Of the evaluation.
        scores: Its figures.
        options: What was asked for.

    Returns:
        Findings; one with code "sound" if no rule applies.
    """
    found = [finding for rule in _GENERAL for finding in rule(records, options)]
    for path, each in scores.paths.items():
        case = _Case(path, each, records, options)
        found += [finding for rule in _RULES for finding in rule(case)]
    return tuple(found) or (
        Finding("sound", None, "No rule of the diagnosis applies.", "Compare paths by the tables above."),
    )


def _few_images(records: Records, _: LocaliseOptions) -> Iterator[Finding]:
    if records.images < _FEW_IMAGES:
        yield Finding(
            "few_images",
            None,
            f"{records.images} images: resamples of so few are much alike, so intervals are too narrow.",
            f"Evaluate {_FEW_IMAGES} images or more (raise --limit).",
            {"images": records.images},
        )


def _small_objects(records: Records, _: LocaliseOptions) -> Iterator[Finding]:
    sides = records.truth_sides[~records.truths.spared()]
    sides = sides[~np.isnan(sides)]
    if not len(sides):
        return
    middle = float(np.median(sides))
    share = float((sides < _SMALL_PATCHES).mean())
    if middle < _SMALL_PATCHES:
        yield Finding(
            "small_objects",
            None,
            f"The median ground truth is {middle:.1f} patches wide and {share:.0%} are below {_SMALL_PATCHES:g}: "
            "a map of patches cannot draw their outline.",
            "Export the model with a larger input (clipfast export --image-size), take one with smaller patches "
            "(B/16, L/14), or read the image in sliding windows (clipfast.surgery).",
            {"median_patches": middle, "share_below": share},
        )


def _same_words(records: Records, _: LocaliseOptions) -> Iterator[Finding]:
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


def _same_maps(records: Records, _: LocaliseOptions) -> Iterator[Finding]:
    for one, other in combinations(records.paths, 2):
        pair = records.paths[one].response, records.paths[other].response
        shown = len(records.map_image) and pair[0]["spread"].max() > _FLAT  # flat maps are all alike, and said so
        if shown and all(np.array_equal(pair[0][k], pair[1][k], equal_nan=True) for k in pair[0]):
            yield Finding(
                "same_maps",
                None,
                f"{one} and {other} give the same numbers in every map: one of them is not what its name says.",
                "Check the model: paths are different streams of its dense graph (clipfast verify).",
            )


def _flat(case: _Case) -> Iterator[Finding]:
    held = case.records.paths[case.path].response
    least = _FLAT if case.path in PATHS else 0.0  # the scale of other maps, such as Grad-CAM's, is not known
    flat = int(np.count_nonzero(held["spread"] <= least)) if held else 0
    if flat:
        count = len(held["spread"])
        competing = case.path == "standard" and case.records.alike
        yield Finding(
            "flat_maps",
            case.path,
            f"{flat} of {count} maps are the same everywhere: they show no place, and boxes of them are chance.",
            (
                "Feature surgery takes away what all texts share, which is all of them here: name the classes by other "
                "words (--phrase CLASS=WORDS), or take --paths vv_vv."
                if competing
                else "Look at these images (are they blank?), and name the classes by words the model knows (--phrase)."
            ),
            {"flat": flat, "maps": count},
        )


def _unreachable(case: _Case) -> Iterator[Finding]:
    row = case.scored_row()
    if row is None:
        return
    # A box that was refined may reach what no box of the percentile does: it is a true positive then.
    reached = [each.iou for each in case.scores.thresholds if each.true_positives]
    missed = [t for t in case.options.iou_thresholds if row.max_iou < t and t not in reached]
    if not missed or case.options.box_source != "percentile":
        return
    best = max(case.scores.quality, key=lambda each: each.max_iou)
    other = f"; percentile {best.percentile:g} reaches {best.max_iou:.3f}" if best.percentile != row.percentile else ""
    yield Finding(
        "unreachable",
        case.path,
        f"No box reaches IoU {min(missed):g}: the highest at percentile {row.percentile:g} is {row.max_iou:.3f}{other}."
        f" mAP at {', '.join(f'{t:g}' for t in missed)} can be nothing but 0.",
        "Score lower thresholds too (--iou 0.1,0.3), fuse several percentiles (--boxes multi), or let --tune choose "
        "percentile, path and geometry on a training split.",
        {"max_iou": row.max_iou, "best_max_iou": best.max_iou},
    )


def _inverted(case: _Case) -> Iterator[Finding]:
    response = case.scores.response
    if response is None or response.contrast.value is None:
        return
    numbers = {"contrast": response.contrast.value, "inverted_share": response.inverted_share or 0.0}
    plain = PATHS[case.path].stream == "plain" if case.path in PATHS else False
    if response.verdict == "inverted":
        yield Finding(
            "inverted",
            case.path,
            f"The background responds more than the ground truth ({response.background:.3f} against "
            f"{response.inside_mean:.3f}; {response.inverted_share:.0%} of the maps): the map is the wrong way round, "
            f"{'as plain CLIP tokens are known to be' if plain else 'for these words'}.",
            (
                "Take value-value tokens with feature surgery (--paths standard), or a preset such as clearclip."
                if plain
                else "Surgery is not the cure here: name the classes by words the model knows (--phrase, --prompt), or "
                "take a model of this domain. Do not turn the map round without a training split that shows it helps."
            ),
            numbers,
        )
    elif response.effect is None or response.effect < _WEAK_EFFECT:
        yield Finding(
            "weak_response",
            case.path,
            f"Inside and background differ by {response.contrast.value:+.4f}, {response.effect or 0:.2f} of the map's "
            "own standard deviation: the model hardly sees these objects by these words.",
            "Name the classes by words the model knows (--phrase CLASS=WORDS, --prompt), compare paths, or teach it "
            "where things are (examples/finetune_localisation.py).",
            numbers,
        )


def _fragmented(case: _Case) -> Iterator[Finding]:
    row, records = case.scored_row(), case.records
    if row is None or case.options.box_source != "percentile":  # the row counts boxes of a percentile
        return
    truths = float(records.map_truths.mean())
    if row.boxes >= _MANY_BOXES * truths:
        yield Finding(
            "fragmented",
            case.path,
            f"{row.boxes:.1f} boxes a map for {truths:.1f} ground truths: most are false positives.",
            "Raise --min-size, keep the morphology (--morphology close_open), raise --percentile, or fuse levels "
            "(--boxes multi).",
            {"boxes_per_map": row.boxes, "truths_per_map": truths},
        )
    elif row.boxes * _MANY_BOXES <= truths:
        yield Finding(
            "merged",
            case.path,
            f"{row.boxes:.1f} boxes a map for {truths:.1f} ground truths: neighbours become one box.",
            "Raise --percentile, take --morphology none, or a larger input so that gaps are patches.",
            {"boxes_per_map": row.boxes, "truths_per_map": truths},
        )


def _area_mismatch(case: _Case) -> Iterator[Finding]:
    row = case.scored_row()
    if row is None:
        return
    areas = case.records.paths[case.path].response["area"]
    covered = float(np.median(areas))
    ratio = min(covered, row.activated) / max(covered, row.activated, 1e-12)
    if ratio < 0.5 and covered > 0:
        yield Finding(
            "area_mismatch",
            case.path,
            f"Ground truths cover {covered:.1%} of a map (median), and the percentile marks {row.activated:.1%}: "
            f"a mask of that size overlaps them by IoU {ratio:.2f} at best.",
            f"Try --percentile {100 * (1 - covered):.0f}, or --tune.",
            {"truth_share": covered, "activated": row.activated},
        )


def _right_place_wrong_extent(case: _Case) -> Iterator[Finding]:
    row, pointing = case.scored_row(), case.scores.pointing
    if row is None or pointing is None or pointing.value is None or row.truth_iou.value is None:
        return
    if pointing.value >= 0.6 and row.truth_iou.value < 0.3:
        yield Finding(
            "right_place_wrong_extent",
            case.path,
            f"The peak hits in {pointing.value:.0%} of the maps, but boxes overlap by {row.truth_iou.value:.2f} only: "
            "the place is right, the extent is not.",
            "Tune percentile and minimum size (--tune), fuse levels (--boxes multi), move boxes onto regions of the "
            "image (--boxes snapped), or learn from a training split how they should move (--refine SPLIT).",
            {"pointing": pointing.value, "truth_iou": row.truth_iou.value},
        )


_GENERAL: tuple[Callable[[Records, LocaliseOptions], Iterator[Finding]], ...] = (
    _few_images,
    _small_objects,
    _same_words,
    _same_maps,
)
_RULES: tuple[Callable[[_Case], Iterator[Finding]], ...] = (
    _flat,
    _inverted,
    _unreachable,
    _area_mismatch,
    _fragmented,
    _right_place_wrong_extent,
)
