"""Run a data set of boxes through the heat maps of several paths and keep what the report needs.

Maps live for one image: bounded memory. Images are forwarded in batches, all paths from one forward; measuring takes
the cores while the next images are read. Nothing depends on the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipfast.arguments import require_type
from clipfast.datasets.box_records import BoxLog, BoxSet
from clipfast.errors import DataError, ImageError
from clipfast.runtime.batching import batches
from clipfast.runtime.session import available_cores
from clipfast.surgery.box_scores import require_map
from clipfast.surgery.box_sources import ImageRegions, scored_boxes
from clipfast.surgery.boxes import Boxes, boxes_above, rank_values
from clipfast.surgery.heatmap import unit_range
from clipfast.surgery.localise_options import LocaliseOptions
from clipfast.surgery.localise_records import MapMeasures, Records, RecordsBuilder, SampleRecord
from clipfast.surgery.map_stream import FurtherMaps, SampleMaps, stream_maps
from clipfast.surgery.peak import peak_box
from clipfast.surgery.quality import best_overlaps, shares_above
from clipfast.surgery.refine import BoxRefiner
from clipfast.surgery.refine_training import require_refiners
from clipfast.surgery.response import RESPONSE_FIELDS, map_response
from clipfast.surgery.texts import alike_texts
from clipfast.types import Floats, TokenEncoder

__all__ = ["evaluate_localisation", "measure_sample"]

_WINDOWED = 2  # images whose maps are held at once where maps are larger than a patch grid
Doubles = NDArray[np.float64]
Progress = Callable[[int, int], None]
Watch = Callable[[SampleMaps, SampleRecord], None]


def evaluate_localisation(  # noqa: PLR0913  # one argument for each thing that may join; all but two are optional
    clip: TokenEncoder,
    data: BoxSet,
    options: LocaliseOptions | None = None,
    *,
    further: Mapping[str, FurtherMaps] | None = None,
    refiners: Mapping[str, BoxRefiner] | None = None,
    watch: Watch | None = None,
    progress: Progress | None = None,
) -> Records:
    """Measure the maps and boxes of every image.

    Args:
        clip: A model with the graphs that the paths need.
        data: Images with boxes.
        options: What is asked for.
        further: Maps that the model's graphs do not give, such as Grad-CAM, by name: they are measured as paths are.
        refiners: By path, fitted on other images (`fit_refiners`): they move the boxes that are scored, not those of
            the quality table. A path without one keeps its boxes.
        watch: Called with each image's maps and numbers, in order, before the maps are let go; figures are drawn here.
        progress: Called with images done and in all.

    Raises:
        DataError: No class to look for, an unknown path, or no image with a box that counts.
        FingerprintError: A refiner was fitted for another model or another path.
        ImageError: No image can be read; a few that cannot are counted in `Records.unread` and left out.
    """
    chosen = LocaliseOptions()
    if options is not None:
        chosen = require_type("options", options, LocaliseOptions, "LocaliseOptions(...)")
    require_type("data", data, BoxSet, 'read_boxes("voc", folder)')
    if not data.classes:
        raise DataError("the data set must name a class to look for; it has none.")
    texts, known = chosen.texts(data.classes), refiners or {}
    require_refiners(clip, known)
    log = BoxLog()
    stream = stream_maps(
        clip, data.samples, texts, chosen, further,
        unreadable=lambda sample, error: log.add("unreadable", f"{sample.id}: {error}"),
    )  # fmt: skip
    builder = RecordsBuilder((*chosen.paths, *(further or {})), len(chosen.levels))
    for maps, record in _measured(stream, data.classes, chosen, known):
        builder.add(record)
        if watch is not None:
            watch(maps, record)
        if progress is not None:
            progress(len(builder.samples) + log.counts.get("unreadable", 0), len(data))
    builder.unread = log.report()
    if not builder.samples:
        raise ImageError(f"no image can be read: {'; '.join(builder.unread.sentences()) or 'there is none'}.")
    builder.alike = alike_texts(clip.encode_texts(texts, chosen.maps.templates), data.classes)  # remembered rows
    records = builder.build()
    if records.truths.spared().all():
        raise DataError(f"at least one of {records.images} images must have a box that counts; none has.")
    return records


def _measured(
    stream: Iterable[SampleMaps],
    classes: tuple[str, ...],
    options: LocaliseOptions,
    refiners: Mapping[str, BoxRefiner],
) -> Iterator[tuple[SampleMaps, SampleRecord]]:
    at_once = _WINDOWED if options.maps.has_windows else options.maps.batch_size
    with ThreadPoolExecutor(available_cores(), thread_name_prefix="clipfast-measure") as pool:
        for group in batches(stream, at_once):
            records = pool.map(lambda maps: measure_sample(maps, classes, options, refiners), group)
            yield from zip(group, records, strict=True)


def measure_sample(
    maps: SampleMaps,
    classes: tuple[str, ...],
    options: LocaliseOptions,
    refiners: Mapping[str, BoxRefiner] | None = None,
) -> SampleRecord:
    """Measure one image: each path's map of each class that is there, and the boxes of the classes looked for.

    Args:
        maps: Of the image; map `i` is that of class `i`.
        classes: Names of the classes.
        options: What is asked for.
        refiners: Of the boxes that are scored, by path.
    """
    sample = maps.sample
    labels = np.array(sample.labels, dtype=object)
    present = tuple(name for name in classes if (~sample.difficult[labels == name]).any())
    wanted = classes if options.all_classes else present
    regions = ImageRegions(maps.pixels)
    measures: dict[str, list[MapMeasures]] = {}
    found: dict[str, tuple[Doubles, Doubles, tuple[str, ...]]] = {}
    for path in maps.maps:
        rows, boxes, scores, names = [], [np.zeros((0, 4))], [np.zeros(0)], []
        for name in wanted:
            heat = maps.heat(path, classes.index(name))
            ranked = unit_range(heat) if options.scores == "unit" else heat
            values = require_map(ranked)
            cuts = rank_values(values, options.levels) if name in present else np.empty(0)
            levels = boxes_above(values, cuts, options.boxes)
            kept = scored_boxes(ranked, levels, regions, options)
            if refiners and path in refiners:
                kept = refiners[path].refine(ranked, kept)
            boxes.append(maps.to_image(kept.xyxy))
            scores.append(kept.scores)
            names += [name] * len(kept)
            if name in present:
                tables = _Boxed(levels, shares_above(values, cuts), kept)
                rows.append(_measure(heat, tables, maps, labels == name, options))
        measures[path] = rows
        found[path] = np.concatenate(boxes), np.concatenate(scores), tuple(names)
    return SampleRecord(
        sample.id,
        maps.digest,
        present,
        sample.boxes,
        sample.labels,
        sample.difficult,
        _sides_in_patches(maps),
        measures,
        found,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Boxed:
    """The boxes of one map: by percentile with the share that each marks, and those that are scored."""

    levels: tuple[Boxes, ...]
    activated: Doubles
    scored: Boxes


def _measure(
    heat: Floats, boxed: _Boxed, maps: SampleMaps, of_class: NDArray[Any], options: LocaliseOptions
) -> MapMeasures:
    sample = maps.sample
    truths, spared = sample.boxes[of_class], sample.difficult[of_class]
    response = map_response(heat, maps.to_pixels(truths), spared, tolerance=options.tolerance)
    single = [maps.to_image(each.xyxy) for each in (peak_box(heat), boxed.scored.take(slice(1)), boxed.scored)]
    levels = [maps.to_image(each.xyxy) for each in boxed.levels]
    best, total = best_overlaps([*levels, *single], truths[~spared])
    count = len(levels)
    return MapMeasures(
        np.array([getattr(response, name) for name in RESPONSE_FIELDS]),
        best[:count],
        total[:count],
        np.array([len(each) for each in levels], np.float64),
        boxed.activated,
        np.array([best[count], best[count + 1], total[count + 2]]),
    )


def _sides_in_patches(maps: SampleMaps) -> Doubles:
    """Return the geometric mean of each ground truth's sides, in patches of the model."""
    boxes = maps.to_pixels(maps.sample.boxes)
    high, wide = maps.patch_hw
    sides: Doubles = np.sqrt((boxes[:, 2] - boxes[:, 0]) / wide * (boxes[:, 3] - boxes[:, 1]) / high)
    return sides
