"""People look at some samples: how many for a given interval, which ones, and what their verdicts say."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from types import MappingProxyType

import numpy as np

from clipfast.diagnostics.predictions import Predictions
from clipfast.diagnostics.rules import CAUSES, Cause
from clipfast.errors import DataError, ShapeError
from clipfast.metrics.intervals import Interval, wilson_interval
from clipfast.storage import atomic_write
from clipfast.types import Ints

__all__ = [
    "MODEL_AT_FAULT",
    "NOISE_RULE",
    "VERDICTS",
    "ReviewItem",
    "ReviewResult",
    "apply_verdicts",
    "plan_review",
    "read_verdicts",
    "review_size",
    "write_review",
]

NOISE_RULE = 0.2
"""From this share of mismatches among reviewed wrong samples, noise comes first (the owner's procedure)."""

VERDICTS: Mapping[str, Cause | None] = MappingProxyType(
    {
        "mismatch": "noise",  # image and text do not belong together
        "wrong label": "noise",
        "ambiguous": "ambiguity",  # several answers are right
        "missing": "missing modality",  # image or text does not hold what is needed
        "fine": None,  # inputs and label are right: the model is at fault
        "unsure": None,
    }
)
"""What a reviewer may say, and the cause that it settles."""

MODEL_AT_FAULT = -2
"""Of a sample that is "fine": neither noise nor ambiguity nor a missing modality, but which fault, nobody said."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what spreadsheets compute
_MAX_BYTES = 256 << 20
_COLUMNS = ("id", "stratum", "image", "text", "label", "predicted", "confidence", "cause", "verdict", "note")


def review_size(half_width: float, *, population: int, expected: float = NOISE_RULE, confidence: float = 0.95) -> int:
    """Return how many samples to look at for an interval of a share that is so wide to each side.

    From the normal approximation with the correction for a finite population; never more than there are.

    Raises:
        ShapeError: A share or the confidence is not in (0, 1), or the population is negative.

    >>> review_size(0.08, population=100_000), review_size(0.08, population=100)
    (96, 50)
    """
    if not 0 < half_width < 1 or not 0 < expected < 1 or not 0 < confidence < 1 or population < 0:
        raise ShapeError(
            "half_width, expected and confidence must be in (0, 1), the population at least 0; got "
            f"{half_width!r}, {expected!r}, {confidence!r}, {population!r}."
        )
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    plain = z * z * expected * (1 - expected) / half_width**2
    return min(population, math.ceil(plain / (1 + (plain - 1) / population))) if population else 0


@dataclass(frozen=True, slots=True)
class ReviewItem:
    """A sample to look at.

    Attributes:
        row: Its number.
        stratum: "wrong" or "right": whether the model's answer differs from the label.
    """

    row: int
    stratum: str


def plan_review(predictions: Predictions, *, wrong: int, right: int, seed: int) -> tuple[ReviewItem, ...]:
    """Draw wrong and right judged samples at random, in random order, as many as asked for or there are.

    Only a random choice can be extended to all: suspects, looked at first, would say nothing of the rest.
    """
    rng = np.random.default_rng(seed)
    found = []
    for stratum, rows, count in (
        ("wrong", np.flatnonzero(predictions.judged & ~predictions.right), wrong),
        ("right", np.flatnonzero(predictions.judged & predictions.right), right),
    ):
        found += [ReviewItem(row, stratum) for row in rng.permutation(rows)[:count].tolist()]
    return tuple(found)


def write_review(
    path: Path, predictions: Predictions, items: Sequence[ReviewItem], causes: Mapping[int, str] | None = None
) -> None:
    """Write a CSV with one sample a line and an empty column `verdict` to be filled in with one of `VERDICTS`.

    A text that a spreadsheet would take for a formula gets a ' before it.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    predicted = predictions.predicted
    for item in items:
        row = item.row
        cells = [
            predictions.ids[row],
            item.stratum,
            predictions.images[row] if predictions.images else "",
            predictions.texts[row] if predictions.texts else "",
            predictions.classes[int(predictions.labels[row])],
            predictions.classes[int(predicted[row])],
            f"{predictions.probs[row].max():.3f}",
            (causes or {}).get(row, ""),
            "",
            "",
        ]
        writer.writerow([f"'{cell}" if cell.startswith(_FORMULA) else cell for cell in cells])
    with atomic_write(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8-sig")  # so that Excel shows Chinese


def read_verdicts(path: Path, predictions: Predictions) -> dict[int, str]:
    """Read the verdicts of a filled-in CSV; lines without one are skipped.

    Returns:
        Verdict by sample number.

    Raises:
        DataError: The file is missing or too large, lacks a column, names an unknown sample or verdict, one that is
            not judged, or one twice.
    """
    if not path.is_file():
        raise DataError(f"No file at {path}. Write one with: clipfast diagnose review export")
    if path.stat().st_size > _MAX_BYTES:
        raise DataError(f"{path} is larger than {_MAX_BYTES >> 20} MB; verdicts are a short list.")
    row_of, judged = {name: row for row, name in enumerate(predictions.ids)}, predictions.judged
    found: dict[int, str] = {}
    try:
        reader = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig")))
        lines = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is no CSV in UTF-8 ({error}).") from error
    if reader.fieldnames is None or not {"id", "verdict"} <= set(reader.fieldnames):
        raise DataError(f"{path} must have the columns id and verdict; it has {reader.fieldnames}.")
    for number, line in enumerate(lines, start=2):
        name, verdict = line["id"] or "", (line["verdict"] or "").strip().lower()
        if name not in row_of and name.startswith(tuple(f"'{sign}" for sign in _FORMULA)):
            name = name[1:]  # as `write_review` wrote it
        if not verdict:
            continue
        if verdict not in VERDICTS:
            raise DataError(f"{path}, line {number}: verdict must be one of {', '.join(VERDICTS)}; got {verdict!r}.")
        if name not in row_of:
            raise DataError(f"{path}, line {number}: there is no sample {name!r} among the predictions.")
        if not judged[row_of[name]]:
            raise DataError(
                f"{path}, line {number}: sample {name!r} is of the training split, which is not judged. Remove the "
                "line."
            )
        if row_of[name] in found:
            raise DataError(f"{path}, line {number}: sample {name!r} has a verdict already. Keep one.")
        found[row_of[name]] = verdict
    return found


@dataclass(frozen=True, slots=True)
class ReviewResult:
    """What people found.

    Attributes:
        reviewed: Samples with a verdict, without "unsure".
        unsure: Samples that nobody could judge.
        counts: Samples by verdict.
        noise_of_wrong: Share of mismatches and wrong labels among the wrong samples looked at; None if none was.
        noise_of_all: The same of all judged samples; where no right sample was looked at, they count as clean, so it is
            a lower bound. None if no wrong sample was looked at.
        right_looked_at: How many right samples were.
        noise_first: Whether `noise_of_wrong` reaches 20 %.
        sure: Whether the interval lies on one side of 20 %.
        more: How many more wrong samples to look at for an interval of 5 % to each side.
    """

    reviewed: int
    unsure: int
    counts: dict[str, int]
    noise_of_wrong: Interval | None
    noise_of_all: Interval | None
    right_looked_at: int
    noise_first: bool
    sure: bool
    more: int


def apply_verdicts(predictions: Predictions, verdicts: Mapping[int, str]) -> tuple[ReviewResult, Ints]:
    """Estimate noise from verdicts on samples that were drawn at random.

    Returns:
        The estimates, and the settled cause of each sample for `triage`, (n,) int64.
    """
    settled = np.full(len(predictions), -1, np.int64)
    right = predictions.right
    tally = {stratum: [0, 0] for stratum in (False, True)}  # noisy, looked at; by whether the answer is right
    for row, verdict in verdicts.items():
        cause = VERDICTS[verdict]
        settled[row] = CAUSES.index(cause) if cause is not None else (MODEL_AT_FAULT if verdict == "fine" else -1)
        if verdict != "unsure":
            tally[bool(right[row])][0] += cause == "noise"
            tally[bool(right[row])][1] += 1
    wrong = wilson_interval(*tally[False]) if tally[False][1] else None
    judged = predictions.judged
    share_wrong = float((judged & ~right).sum() / max(judged.sum(), 1))
    overall = None
    if wrong is not None:
        clean = Interval(0.0, 0.0, 0.0, 0.95, "assumed")
        known = wilson_interval(*tally[True]) if tally[True][1] else clean
        overall = _weighted(((share_wrong, wrong), (1 - share_wrong, known)))
    counts = {name: sum(verdict == name for verdict in verdicts.values()) for name in VERDICTS}
    needed = review_size(0.05, population=int((judged & ~right).sum()), expected=0.2)
    result = ReviewResult(
        reviewed=tally[False][1] + tally[True][1],
        unsure=counts["unsure"],
        counts=counts,
        noise_of_wrong=wrong,
        noise_of_all=overall,
        right_looked_at=tally[True][1],
        noise_first=wrong is not None and wrong.estimate >= NOISE_RULE,
        sure=wrong is not None and not wrong.low < NOISE_RULE <= wrong.high,
        more=max(0, needed - tally[False][1]),
    )
    return result, settled


def _weighted(parts: Sequence[tuple[float, Interval]]) -> Interval:
    """Return a weighted sum of shares; its ends add in squares (Zou and Donner, Statistics in Medicine 2008)."""
    estimate = sum(weight * part.estimate for weight, part in parts)
    down = math.sqrt(sum((weight * (part.estimate - part.low)) ** 2 for weight, part in parts))
    up = math.sqrt(sum((weight * (part.high - part.estimate)) ** 2 for weight, part in parts))
    return Interval(estimate, max(0.0, estimate - down), min(1.0, estimate + up), 0.95, "wilson by stratum")
