"""Choose percentile, path, geometry, morphology, smallest size and box source on images that are not scored.

Each geometry is one forward an image; every other choice reuses its maps, and the smallest size only drops boxes. All
settings are tried, so the result does not depend on an order of search.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from clipfast.arguments import Span, require_known, require_names, require_numbers, require_type
from clipfast.datasets.box_records import BoxSample, BoxSet
from clipfast.errors import DataError, ImageError
from clipfast.metrics.detection import voc_average_precision_score
from clipfast.metrics.detection_data import Detections, GroundTruths
from clipfast.runtime.batching import batches
from clipfast.runtime.session import available_cores
from clipfast.surgery.box_sources import ImageRegions, scored_boxes
from clipfast.surgery.boxes import Boxes, BoxOptions, Morphology, boxes_at
from clipfast.surgery.geometry import GeometryName
from clipfast.surgery.heatmap import unit_range
from clipfast.surgery.localise_options import BoxSource, LocaliseOptions
from clipfast.surgery.map_stream import SampleMaps, stream_maps
from clipfast.surgery.paths import Path
from clipfast.types import Floats, TokenEncoder

__all__ = ["Choice", "SearchSpace", "Tuning", "tune"]

_log = logging.getLogger(__name__)

Doubles = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """What is tried; every combination is.

    Raises:
        DataError: A geometry, morphology or box source is unknown.
        ShapeError: A number is of another type, or out of range.
    """

    percentiles: tuple[float, ...] = (70.0, 75.0, 80.0, 85.0, 90.0, 95.0, 97.0, 98.0, 99.0)
    geometries: tuple[GeometryName, ...] = ("squash", "letterbox")
    morphologies: tuple[Morphology, ...] = ("close_open", "none")
    min_sizes: tuple[int, ...] = (1, 6, 12)
    box_sources: tuple[BoxSource, ...] = ("percentile", "multi")

    def __post_init__(self) -> None:
        require_numbers("percentiles", self.percentiles, Span(0, 100))
        require_numbers("min_sizes", self.min_sizes, Span(0))
        for name, table in (("geometries", GeometryName), ("morphologies", Morphology), ("box_sources", BoxSource)):
            for each in require_names(name, getattr(self, name)):
                require_known(f"each of {name}", each, get_args(table))


@dataclass(frozen=True, slots=True)
class Choice:
    """One setting; percentile and morphology (0 and "none") do not matter where boxes come from elsewhere."""

    path: Path
    geometry: GeometryName
    box_source: BoxSource
    percentile: float
    morphology: Morphology
    min_size: int

    def applied(self, options: LocaliseOptions) -> LocaliseOptions:
        """Return options with this setting; all their paths are kept, so that they can be compared."""
        boxes = replace(options.boxes, min_size_hw=(self.min_size, self.min_size))
        if self.box_source == "percentile":
            boxes = replace(boxes, morphology=self.morphology)
            options = replace(options, percentile=self.percentile)
        return replace(
            options, box_source=self.box_source, boxes=boxes, maps=replace(options.maps, geometry=self.geometry)
        )


@dataclass(frozen=True, slots=True)
class Tuning:
    """What was found.

    Attributes:
        chosen: The best setting.
        best: Its mAP on the training images, mean over the IoU thresholds.
        default: The same of the settings that the options came with, by the path that is best with them.
        tried: How many settings.
        images: How many training images.
        ranking: The best ten and their mAP.
    """

    chosen: Choice
    best: float
    default: float
    tried: int
    images: int
    ranking: tuple[tuple[Choice, float], ...]

    def as_json(self, source: str) -> dict[str, Any]:
        """Return plain values; `source` says where the training images come from."""
        return {
            "source": source,
            "images": self.images,
            "tried": self.tried,
            "objective": "mAP, mean over the IoU thresholds",
            "chosen": asdict(self.chosen),
            "best": self.best,
            "default": self.default,
            "ranking": [{**asdict(choice), "map": value} for choice, value in self.ranking],
        }


def tune(
    clip: TokenEncoder,
    data: BoxSet,
    options: LocaliseOptions,
    space: SearchSpace | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Tuning:
    """Try every setting on training images.

    Args:
        clip: The model.
        data: Images that are not scored afterwards: the caller sees to it (`split_by_source`). What cannot be read is
            left out.
        options: Paths, thresholds, prompts; and the settings that are compared with what is found.
        space: What is tried.
        progress: Called with images done and in all, over all geometries.

    Raises:
        DataError: No training image has a box that counts.
    """
    require_type("options", options, LocaliseOptions, "LocaliseOptions(...)")
    tried = SearchSpace() if space is None else require_type("space", space, SearchSpace, "SearchSpace(...)")
    texts = options.texts(data.classes)
    default = _default_choices(options)
    found: dict[Choice, list[tuple[Doubles, Doubles, list[str]]]] = {}
    unread: set[str] = set()

    def left_out(sample: BoxSample, error: ImageError) -> None:
        if sample.id not in unread:
            _log.warning("nothing is tuned on %s: %s", sample.id, error)
        unread.add(sample.id)

    done, total = 0, len(data) * len(tried.geometries)
    with ThreadPoolExecutor(available_cores(), thread_name_prefix="clipfast-tune") as pool:
        for geometry in dict.fromkeys([*tried.geometries, options.geometry]):
            framed = replace(options, maps=replace(options.maps, geometry=geometry))
            stream = stream_maps(clip, data.samples, texts, framed, unreadable=left_out)
            for group in batches(stream, options.maps.batch_size):
                job = _Job(geometry, data.classes, framed, tried, default)
                for boxes in pool.map(job.boxes, group):
                    for choice, each in boxes.items():
                        found.setdefault(choice, []).append(each)
                    done += 1
                    if progress is not None:
                        progress(min(done, total), total)
    samples = [sample for sample in data.samples if sample.id not in unread]
    truths = _truths(samples)
    if truths.spared().all():
        raise DataError(f"at least one of {len(samples)} training images must have a box that counts; none has.")
    scores = {choice: _mean_precision(truths, each, options) for choice, each in found.items()}
    ranking = sorted(scores.items(), key=lambda item: -item[1])  # stable: of equals the first tried
    return Tuning(
        chosen=ranking[0][0],
        best=ranking[0][1],
        default=max(scores[choice] for choice in default),
        tried=len(scores),
        images=len(samples),
        ranking=tuple(ranking[:10]),
    )


def _default_choices(options: LocaliseOptions) -> tuple[Choice, ...]:
    single = options.box_source == "percentile"
    return tuple(
        Choice(
            path,
            options.geometry,
            options.box_source,
            options.percentile if single else 0.0,
            options.boxes.morphology if single else "none",
            max(options.boxes.min_size_hw),
        )
        for path in options.paths
    )


@dataclass(frozen=True, slots=True)
class _Job:
    """Boxes of one image under every setting of one geometry."""

    geometry: GeometryName
    classes: tuple[str, ...]
    options: LocaliseOptions
    space: SearchSpace
    default: tuple[Choice, ...]

    def boxes(self, maps: SampleMaps) -> dict[Choice, tuple[Doubles, Doubles, list[str]]]:
        sample, options = maps.sample, self.options
        labels = np.array(sample.labels, dtype=object)
        present = [name for name in self.classes if (~sample.difficult[labels == name]).any()]
        found: dict[Choice, list[tuple[str, Boxes]]] = {}
        regions = ImageRegions(maps.pixels)
        for path in options.paths:
            for choice in self._choices(path):
                found[choice] = []
            for name in self.classes if options.all_classes else present:
                heat = maps.heat(path, self.classes.index(name))
                ranked = unit_range(heat) if options.scores == "unit" else heat
                for choice, each in self._of_map(path, ranked, regions).items():
                    found[choice].append((name, each))
        return {
            choice: (
                np.concatenate([np.zeros((0, 4)), *(maps.to_image(each.xyxy) for _, each in kept)]),
                np.concatenate([np.zeros(0), *(each.scores for _, each in kept)]),
                [name for name, each in kept for _ in range(len(each))],
            )
            for choice, kept in found.items()
        }

    def _choices(self, path: Path) -> list[Choice]:
        space = self.space
        own = [choice for choice in self.default if choice.path == path and choice.geometry == self.geometry]
        if self.geometry not in space.geometries:
            return own
        single = [
            Choice(path, self.geometry, "percentile", percentile, morphology, size)
            for morphology in space.morphologies
            for percentile in space.percentiles
            for size in space.min_sizes
            if "percentile" in space.box_sources
        ]
        several = [
            Choice(path, self.geometry, source, 0.0, "none", size)
            for source in space.box_sources
            for size in space.min_sizes
            if source != "percentile"
        ]
        return list(dict.fromkeys([*own, *single, *several]))

    def _of_map(self, path: Path, heat: Floats, regions: ImageRegions) -> dict[Choice, Boxes]:
        options: BoxOptions = self.options.boxes
        wanted = self._choices(path)
        found: dict[Choice, Boxes] = {}
        for morphology in dict.fromkeys(choice.morphology for choice in wanted if choice.box_source == "percentile"):
            levels = list(dict.fromkeys(c.percentile for c in wanted if c.morphology == morphology and c.percentile))
            every = replace(options, morphology=morphology, min_size_hw=(0, 0))
            by_level = dict(zip(levels, boxes_at(heat, levels, options=every), strict=True))
            for choice in wanted:
                if choice.box_source == "percentile" and choice.morphology == morphology:
                    found[choice] = _at_least(by_level[choice.percentile], choice.min_size)
        for choice in wanted:
            if choice.box_source != "percentile":
                found[choice] = scored_boxes(heat, (), regions, choice.applied(self.options))
        return found


def _at_least(boxes: Boxes, size: int) -> Boxes:
    sides = boxes.xyxy[:, 2:] - boxes.xyxy[:, :2]
    return boxes.take(np.flatnonzero((sides >= size).all(axis=1)))


def _truths(samples: Sequence[BoxSample]) -> GroundTruths:
    known = [(sample.boxes, sample.labels, sample.difficult) for sample in samples]
    return GroundTruths.from_images(
        [boxes for boxes, _, _ in known],
        [np.array(labels) if labels else np.zeros(0, "U1") for _, labels, _ in known],
        [flags for _, _, flags in known],
    )


def _mean_precision(
    truths: GroundTruths, found: list[tuple[Doubles, Doubles, list[str]]], options: LocaliseOptions
) -> float:
    detections = Detections.from_images(
        [boxes for boxes, _, _ in found],
        [scores for _, scores, _ in found],
        [np.array(names) if names else np.zeros(0, "U1") for _, _, names in found],
    )
    return voc_average_precision_score(truths, detections, iou_thresholds=options.iou_thresholds).mean
