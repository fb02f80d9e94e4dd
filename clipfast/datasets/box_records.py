"""Images with boxes, whatever format they came in: the record, the report of what was wrong, and a whole data set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from clipfast.arguments import require_names
from clipfast.errors import DataError
from clipfast.types import Pixels

__all__ = ["PROBLEMS", "BoxLog", "BoxReport", "BoxSample", "BoxSet", "Doubles", "clean_boxes", "known_classes"]

Doubles: TypeAlias = NDArray[np.float64]

# What can be wrong with an annotation, and what was done about it.
PROBLEMS = {
    "clipped": "reached out of the image and were cut at its edge",
    "outside": "lay wholly outside the image and were left out",
    "degenerate": "had no area (x2 <= x1 or y2 <= y1) and were left out",
    "other_class": "were of classes not asked for and were left out",
    "no_annotation": "images had no annotation file and were left out: nobody said that they are empty",
    "same_name": "images have the name of another but for folder or suffix and were left out",
    "unreadable": "images cannot be read and were left out",
    "no_image": "annotations named an image that is not there and were left out",
    "size_differs": "annotations gave another image size than the file has; the file's was taken",
    "no_boxes": "images have an annotation without a box that counts; they stay",
}
_NAMED = 5  # examples kept of each problem


@dataclass(frozen=True, slots=True, eq=False)
class BoxSample:
    """One image and what is in it.

    Attributes:
        id: Name of the image in its data set, with forward slashes, without suffix.
        image: The file, or RGB (h, w, 3) uint8.
        size_hw: Pixels of the image as it is stored: boxes refer to it before any turn by EXIF.
        boxes: xyxy, half-open, in pixels, inside the image, (m, 4) float64.
        labels: Class of each box, (m,).
        difficult: Boxes that nobody has to find (VOC's `difficult`, COCO's `iscrowd`), (m,) bool.
    """

    id: str
    image: Path | Pixels
    size_hw: tuple[int, int]
    boxes: Doubles
    labels: tuple[str, ...]
    difficult: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class BoxReport:
    """What was wrong with the annotations.

    Attributes:
        counts: How often, by the keys of `PROBLEMS` that occurred.
        examples: The first few of each, such as "BloodImage_00338: 504 337 504 337".
    """

    counts: Mapping[str, int] = field(default_factory=dict)
    examples: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def sentences(self) -> list[str]:
        """Return one line a problem, for people."""
        return [
            f"{count} {PROBLEMS[kind]} ({'; '.join(self.examples[kind])}{', ...' if count > _NAMED else ''})"
            for kind, count in self.counts.items()
        ]

    def joined(self, other: BoxReport) -> BoxReport:
        """Return what both count.

        >>> BoxReport({"unreadable": 1}, {"unreadable": ("a",)}).joined(BoxReport()).counts
        {'unreadable': 1}
        """
        kinds = [kind for kind in PROBLEMS if kind in self.counts or kind in other.counts]
        counts = {kind: self.counts.get(kind, 0) + other.counts.get(kind, 0) for kind in kinds}
        examples = {kind: (*self.examples.get(kind, ()), *other.examples.get(kind, ()))[:_NAMED] for kind in kinds}
        return BoxReport(counts, examples)


@dataclass(slots=True)
class BoxLog:
    """Counts problems while a data set is read."""

    counts: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def add(self, problem: str, what: str) -> None:
        """Count one, a key of `PROBLEMS`."""
        self.counts[problem] = self.counts.get(problem, 0) + 1
        shown = self.examples.setdefault(problem, [])
        if len(shown) < _NAMED:
            shown.append(what)

    def report(self) -> BoxReport:
        """Return what was counted, in the order of `PROBLEMS`."""
        kinds = [kind for kind in PROBLEMS if kind in self.counts]
        return BoxReport(
            {kind: self.counts[kind] for kind in kinds}, {kind: tuple(self.examples[kind]) for kind in kinds}
        )


@dataclass(frozen=True, slots=True, eq=False)
class BoxSet:
    """A data set of boxes: an iterable of samples, and what is known of it.

    Attributes:
        format: A key of `FORMATS`.
        split: Which part, None if all of it.
        classes: Names of the classes that may occur, in the order of the data set where it has one.
        samples: In code-point order of their ids; images are read or drawn when they are used.
        report: What was wrong.
    """

    format: str
    split: str | None
    classes: tuple[str, ...]
    samples: Sequence[BoxSample]
    report: BoxReport

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[BoxSample]:
        return iter(self.samples)


def clean_boxes(sample: BoxSample, log: BoxLog, wanted: frozenset[str] | None = None) -> BoxSample:
    """Return a sample whose boxes lie in the image and have an area; what was changed is counted.

    Args:
        sample: As it was annotated; boxes may be anything finite.
        log: Counts.
        wanted: Classes asked for; None takes all.

    Raises:
        DataError: A coordinate is not finite.
    """
    height, width = sample.size_hw
    boxes = np.array(sample.boxes, np.float64).reshape(-1, 4)
    if not np.isfinite(boxes).all():
        raise DataError(f"{sample.id}: coordinates must be finite; got {boxes.tolist()}. Mend the annotation.")
    inside = np.clip(boxes, 0, [width, height, width, height])
    keep = np.zeros(len(boxes), np.bool_)
    for i, (box, cut, label) in enumerate(zip(boxes, inside, sample.labels, strict=True)):
        said = f"{sample.id}: {' '.join(f'{side:g}' for side in box)}"
        if wanted is not None and label not in wanted:
            log.add("other_class", f"{sample.id}: {label}")
        elif box[2] <= box[0] or box[3] <= box[1]:
            log.add("degenerate", said)
        elif cut[2] <= cut[0] or cut[3] <= cut[1]:
            log.add("outside", said)
        else:
            keep[i] = True
            if np.abs(cut - box).max() > 1e-6 * max(height, width):  # YOLO's rounded fractions are no mistake
                log.add("clipped", said)
    if not keep.any():
        log.add("no_boxes", sample.id)
    labels = tuple(label for label, kept in zip(sample.labels, keep, strict=True) if kept)
    return BoxSample(sample.id, sample.image, sample.size_hw, inside[keep], labels, sample.difficult[keep])


def known_classes(wanted: Sequence[str] | None, known: Sequence[str], folder: object) -> tuple[str, ...]:
    """Return the classes asked for, all if None.

    Raises:
        DataError: One is not in the data set, or is named twice.
    """
    if wanted is None:
        return tuple(known)
    wanted = require_names("classes", wanted)
    if strangers := [name for name in wanted if name not in known]:
        raise DataError(f"{folder} has the classes {', '.join(known) or '(none)'}; got {', '.join(strangers)}.")
    if len(set(wanted)) < len(wanted):
        raise DataError(f"classes must be named once; got {', '.join(wanted)}.")
    return tuple(wanted)
