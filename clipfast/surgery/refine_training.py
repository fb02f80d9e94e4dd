"""Box refiners of a whole training split: one for each path, all from one forward an image, in bounded memory."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from clipfast.artifact import require_fingerprint
from clipfast.datasets.box_records import BoxSample, BoxSet
from clipfast.errors import DataError, FingerprintError, ImageError
from clipfast.runtime.batching import batches
from clipfast.runtime.session import available_cores
from clipfast.surgery.box_sources import ImageRegions, scored_boxes
from clipfast.surgery.heatmap import unit_range
from clipfast.surgery.localise_options import LocaliseOptions
from clipfast.surgery.map_stream import SampleMaps, stream_maps
from clipfast.surgery.paths import PATHS
from clipfast.surgery.refine import BoxRefiner, RefinerLessons, RefinerOptions, RefinerSample
from clipfast.types import TokenEncoder

__all__ = ["fit_refiners", "require_refiners"]

_log = logging.getLogger(__name__)


def fit_refiners(
    clip: TokenEncoder,
    training: BoxSet,
    options: LocaliseOptions,
    *,
    learning: RefinerOptions | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, BoxRefiner]:
    """Learn how the boxes of each path should move, from the boxes of the source that will be refined.

    Args:
        clip: The model.
        training: Images that are not scored afterwards: the caller sees to it. What cannot be read teaches nothing.
        options: Paths, box source and how maps are made, as the evaluation will have them.
        learning: What is learned from.
        progress: Called with images done and in all.

    Returns:
        A refiner for each path of `options.paths`.

    Raises:
        DataError: A path has fewer than 50 boxes that overlap a ground truth, or they lie on fewer than 20 maps.
    """
    chosen = RefinerOptions() if learning is None else learning
    lessons: dict[str, RefinerLessons] = {path: RefinerLessons(chosen) for path in options.paths}
    unread: list[str] = []

    def left_out(sample: BoxSample, error: ImageError) -> None:
        unread.append(sample.id)
        _log.warning("no box is learned from %s: %s", sample.id, error)

    stream = stream_maps(clip, training.samples, options.texts(training.classes), options, unreadable=left_out)
    done = 0
    with ThreadPoolExecutor(available_cores(), thread_name_prefix="clipfast-refine") as pool:
        for group in batches(stream, options.maps.batch_size):
            for found in pool.map(lambda maps: _lessons_of(maps, training.classes, options), group):
                for path, samples in found.items():
                    for sample in samples:
                        lessons[path].add(sample)
                done += 1
                if progress is not None:
                    progress(done + len(unread), len(training))
    return {path: _fitted(clip, path, lessons[path]) for path in options.paths}


def require_refiners(clip: TokenEncoder, refiners: Mapping[str, BoxRefiner]) -> None:
    """Check that refiners are of this model and of the paths that they are given for.

    Raises:
        FingerprintError: One is not.
    """
    for path, refiner in refiners.items():
        if refiner.path != path:
            raise FingerprintError(f"The refiner of {path} was fitted for {refiner.path} maps. Fit one for {path}.")
        require_fingerprint(refiner.fingerprint, clip.fingerprint(_stream(path)), what=f"The refiner of {path}")


def _fitted(clip: TokenEncoder, path: str, lessons: RefinerLessons) -> BoxRefiner:
    try:
        return lessons.fit(fingerprint=clip.fingerprint(_stream(path)), path=path)
    except DataError as error:
        raise DataError(f"no refiner of {path}: {error}") from error


def _stream(path: str) -> str:
    """Which output of the model a path reads: what a refiner's fingerprint is of."""
    return PATHS[path].stream if path in PATHS else path


def _lessons_of(maps: SampleMaps, classes: tuple[str, ...], options: LocaliseOptions) -> dict[str, list[RefinerSample]]:
    """Return, for each path, the map of each class that is there with its boxes and its ground truths."""
    sample = maps.sample
    labels = np.array(sample.labels, dtype=object)
    counted = {name: (labels == name) & ~sample.difficult for name in classes}
    regions = ImageRegions(maps.pixels)
    found: dict[str, list[RefinerSample]] = {path: [] for path in options.paths}
    for path, samples in found.items():
        for name in (each for each in classes if counted[each].any()):
            heat = maps.heat(path, classes.index(name))
            ranked = unit_range(heat) if options.scores == "unit" else heat
            boxes = scored_boxes(ranked, (), regions, options)
            samples.append(RefinerSample(ranked, boxes.xyxy, maps.to_pixels(sample.boxes[counted[name]])))
    return found
