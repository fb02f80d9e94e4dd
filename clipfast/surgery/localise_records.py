"""What an evaluation of localisation keeps of each map: a few numbers and its boxes, never the map."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipfast.datasets.box_records import BoxReport
from clipfast.metrics.detection_data import Detections, GroundTruths
from clipfast.surgery.response import RESPONSE_FIELDS
from clipfast.types import Ints

__all__ = ["FIT_FIELDS", "MapMeasures", "PathRecords", "Records", "RecordsBuilder", "SampleRecord"]

Doubles = NDArray[np.float64]

FIT_FIELDS = ("peak_iou", "top_iou", "box_iou")
"""IoU of the box around the map's peak with the ground truth that it fits best; the same of the scored box with the
highest score; and the sum over ground truths of the highest IoU of any scored box."""


@dataclass(frozen=True, slots=True, eq=False)
class MapMeasures:
    """Of one map and the boxes of its class.

    Attributes:
        response: In the order of `RESPONSE_FIELDS`, (7,).
        best_iou: Highest IoU of any box with any ground truth, by percentile, (k,).
        truth_iou: Sum over ground truths of the highest IoU of any box, by percentile, (k,).
        boxes: How many, by percentile, (k,).
        activated: Share of pixels at or above the percentile, (k,).
        fit: How boxes fit that are no matter of a percentile, in the order of `FIT_FIELDS`, (3,).
    """

    response: Doubles
    best_iou: Doubles
    truth_iou: Doubles
    boxes: Doubles
    activated: Doubles
    fit: Doubles


@dataclass(frozen=True, slots=True, eq=False)
class SampleRecord:
    """Of one image.

    Attributes:
        id: Of the sample.
        digest: SHA-256 of the image's bytes and its boxes.
        classes: Names of the classes whose maps were measured, (m,).
        truth_boxes: Boxes of the image in original pixels, (g, 4); `truth_labels` and `difficult` beside them.
        truth_labels: Class of each.
        difficult: Which nobody has to find, (g,).
        truth_sides: Geometric mean of each box's sides in patches of the model, (g,).
        measures: By path, one for each of `classes`.
        found: By path, boxes in original pixels (d, 4), scores (d,), and classes.
    """

    id: str
    digest: str
    classes: tuple[str, ...]
    truth_boxes: Doubles
    truth_labels: tuple[str, ...]
    difficult: NDArray[np.bool_]
    truth_sides: Doubles
    measures: dict[str, list[MapMeasures]]
    found: dict[str, tuple[Doubles, Doubles, tuple[str, ...]]]


@dataclass(frozen=True, slots=True, eq=False)
class PathRecords:
    """Of all maps of one path: rows as in `Records.map_image`.

    Attributes:
        response: By the names of `RESPONSE_FIELDS`, (k,) each.
        best_iou: (k, percentiles).
        truth_iou: (k, percentiles), sums over ground truths.
        boxes: (k, percentiles).
        activated: (k, percentiles).
        fit: By the names of `FIT_FIELDS`, (k,) each.
        detections: Boxes that are scored; images by number.
    """

    response: dict[str, Doubles]
    best_iou: Doubles
    truth_iou: Doubles
    boxes: Doubles
    activated: Doubles
    fit: dict[str, Doubles]
    detections: Detections


@dataclass(frozen=True, slots=True, eq=False)
class Records:
    """Of a whole evaluation; images are numbered in the order of the data set.

    Attributes:
        ids: Of the images, (n,).
        digests: SHA-256 of each image and its boxes, (n,).
        map_image: Image of each map, (k,).
        map_class: Class of each map, (k,).
        map_truths: Ground truths that count for each map, (k,).
        truths: Ground truths of all images; images by number.
        truth_sides: Geometric mean of each ground truth's sides in patches, (g,); NaN where no model ran.
        paths: By path.
        alike: Groups of classes whose words are the same to the model, and so their maps.
        unread: Images that could not be read and were left out.
    """

    ids: tuple[str, ...]
    digests: tuple[str, ...]
    map_image: Ints
    map_class: tuple[str, ...]
    map_truths: Doubles
    truths: GroundTruths
    truth_sides: Doubles
    paths: dict[str, PathRecords]
    alike: tuple[tuple[str, ...], ...] = ()
    unread: BoxReport = field(default_factory=BoxReport)

    @property
    def images(self) -> int:
        """How many images."""
        return len(self.ids)


@dataclass(slots=True)
class RecordsBuilder:
    """Gathers the records of images as they come."""

    paths: tuple[str, ...]
    percentiles: int
    alike: tuple[tuple[str, ...], ...] = ()
    unread: BoxReport = field(default_factory=BoxReport)
    samples: list[SampleRecord] = field(default_factory=list)

    def add(self, sample: SampleRecord) -> None:
        """Keep one image's numbers."""
        self.samples.append(sample)

    def build(self) -> Records:
        """Join all images."""
        maps = [(at, name) for at, sample in enumerate(self.samples) for name in sample.classes]
        counts = [
            sum(label == name and not spared for label, spared in zip(s.truth_labels, s.difficult, strict=True))
            for s in self.samples
            for name in s.classes
        ]
        return Records(
            ids=tuple(sample.id for sample in self.samples),
            digests=tuple(sample.digest for sample in self.samples),
            map_image=np.array([at for at, _ in maps], np.int64),
            map_class=tuple(name for _, name in maps),
            map_truths=np.array(counts, np.float64),
            truths=GroundTruths(
                _images([len(s.truth_labels) for s in self.samples]),
                _names([label for s in self.samples for label in s.truth_labels]),
                _rows([s.truth_boxes for s in self.samples]),
                np.concatenate([np.zeros(0, np.bool_), *(s.difficult for s in self.samples)]),
            ),
            truth_sides=np.concatenate([np.zeros(0), *(s.truth_sides for s in self.samples)]),
            paths={path: self._path(path) for path in self.paths},
            alike=self.alike,
            unread=self.unread,
        )

    def _path(self, path: str) -> PathRecords:
        measured = [each for sample in self.samples for each in sample.measures.get(path, ())]
        responses = np.array([each.response for each in measured]).reshape(-1, len(RESPONSE_FIELDS))
        fits = np.array([each.fit for each in measured]).reshape(-1, len(FIT_FIELDS))
        found = [sample.found[path] for sample in self.samples]
        tables = {
            name: np.array([getattr(each, name) for each in measured]).reshape(len(measured), self.percentiles)
            for name in ("best_iou", "truth_iou", "boxes", "activated")
        }
        return PathRecords(
            response={name: responses[:, at].copy() for at, name in enumerate(RESPONSE_FIELDS)},
            fit={name: fits[:, at].copy() for at, name in enumerate(FIT_FIELDS)},
            detections=Detections(
                _images([len(scores) for _, scores, _ in found]),
                _names([name for _, _, names in found for name in names]),
                _rows([boxes for boxes, _, _ in found]),
                np.concatenate([np.zeros(0), *(scores for _, scores, _ in found)]),
            ),
            **tables,
        )


def _images(counts: list[int]) -> Ints:
    return np.repeat(np.arange(len(counts)), counts)


def _names(names: list[str]) -> NDArray[Any]:
    return np.array(names) if names else np.zeros(0, "U1")


def _rows(parts: list[Doubles]) -> Doubles:
    return np.concatenate([np.zeros((0, 4)), *parts])
