"""Heat maps of a data set, image by image, in bounded memory: one forward gives all paths."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias, TypeVar

import numpy as np

from clipfast.datasets.box_records import BoxSample, Doubles
from clipfast.errors import DataError, ImageError
from clipfast.provenance import digest
from clipfast.runtime.batching import batches, prefetch
from clipfast.runtime.images import load_pixels
from clipfast.runtime.session import available_cores
from clipfast.surgery.evidence import Question, ask
from clipfast.surgery.geometry import Geometry, fit_geometry, scaled_rgb, squash
from clipfast.surgery.localise_options import LocaliseOptions
from clipfast.surgery.paths import Path as PathName
from clipfast.surgery.paths import competes
from clipfast.surgery.upsample import EdgeAware, edge_aware, resize_maps
from clipfast.surgery.views import window_maps
from clipfast.types import Floats, ImageSource, Pixels, TokenEncoder

__all__ = ["FurtherMaps", "SampleMaps", "Unreadable", "sample_digest", "stream_maps"]

Read = TypeVar("Read")
Unreadable: TypeAlias = Callable[[BoxSample, ImageError], None]
"""Told of an image that cannot be read, and why; it is then left out."""

FurtherMaps: TypeAlias = Callable[[Pixels, Floats], Floats]
"""Maps from elsewhere: pixels that the model takes (n, h, w, 3) and unit rows of texts (t, e) give (n, t, gh, gw)."""

_FINEST = 512  # longer side of maps that are put together from windows


@dataclass(frozen=True, slots=True, eq=False)
class SampleMaps:
    """One image as the model sees it, and its maps.

    Attributes:
        sample: The image and its boxes.
        digest: SHA-256 of its bytes and its boxes.
        pixels: What the model sees of the image, without bars, (h, w, 3) uint8.
        plan: How pixels of the image become those of the model.
        origin_xy: Where `pixels` begins in what the model takes: behind the bars of a letterbox.
        patch_hw: Size of a patch of the model, in `pixels`.
        maps: By path, raw similarity, (t, gh, gw) on the patch grid, or finer where windows were looked at. NaN for
            classes that were not asked about: where `rivals` is "image", those that are not there.
        edges: How maps follow the edges of `pixels` when they are laid over them; None is plain bilinear.
    """

    sample: BoxSample
    digest: str
    pixels: Pixels
    plan: Geometry
    origin_xy: tuple[int, int]
    patch_hw: tuple[float, float]
    maps: Mapping[str, Floats]
    edges: EdgeAware | None = None

    def heat(self, path: str, text: int) -> Floats:
        """Return one map over `pixels`, (h, w) float32, bilinear or along edges."""
        (left, top), (height, width) = self.origin_xy, self.pixels.shape[:2]
        whole = resize_maps(self.maps[path][text], self.plan.model_hw)
        laid = np.ascontiguousarray(whole[top : top + height, left : left + width])
        return laid if self.edges is None else edge_aware(laid, self.pixels, self.edges, patch=self.patch_hw[0])

    def to_pixels(self, boxes: Doubles) -> Doubles:
        """Return boxes of the image, (m, 4), in `pixels`; parts that the model does not see lie outside."""
        moved: Doubles = self.plan.to_model(boxes) - np.tile(self.origin_xy, 2)
        return moved

    def to_image(self, boxes: Doubles) -> Doubles:
        """Return boxes in `pixels`, (m, 4), in the image."""
        return self.plan.to_original(boxes + np.tile(self.origin_xy, 2))


@dataclass(frozen=True, slots=True, eq=False)
class _Framed:
    sample: BoxSample
    digest: str
    plan: Geometry
    taken: Pixels


def stream_maps(
    clip: TokenEncoder,
    samples: Iterable[BoxSample],
    texts: Sequence[str],
    options: LocaliseOptions,
    further: Mapping[str, FurtherMaps] | None = None,
    *,
    unreadable: Unreadable | None = None,
) -> Iterator[SampleMaps]:
    """Compute the maps of every sample, all paths from one forward.

    Images are read as they are stored, without a turn by EXIF: that is what boxes refer to.

    Args:
        clip: The model.
        samples: Images with boxes; read `2 * batch_size` ahead.
        texts: What to look for.
        options: Paths, and how maps are made.
        further: Maps that the model's graphs do not give, by name.
        unreadable: Told of images that cannot be read, which are then left out; None makes the first an error.

    Raises:
        DataError: No text, an unknown path or geometry, or further maps together with windows.
        ArtifactError: The artifact does not hold what a path reads.
        ImageError: An image cannot be read.
        ShapeError: An image has another size than when its annotation was read.
    """
    question = ask(clip, texts, options.paths, options.maps)
    if options.maps.has_windows and further:
        raise DataError(f"{', '.join(further)} cannot be made of windows. Leave the scales out.")
    if options.maps.has_windows:
        look = partial(_windowed, question, options, texts)
        yield from _readable((_tried(look, sample) for sample in samples), unreadable)
        return
    size = options.maps.batch_size
    rows = clip.encode_texts(texts, options.maps.templates) if further else np.zeros((0, 0), np.float32)
    frame = partial(_tried, partial(_framed, question, options))
    ahead = prefetch(frame, samples, workers=available_cores(), ahead=2 * size)
    for group in batches(_readable(ahead, unreadable), size):
        frames = np.stack([each.taken for each in group])
        there = None if options.rivals == "dataset" else [_rows_there(each.sample, texts, options) for each in group]
        grids: dict[str, Floats] = {str(path): maps for path, maps in _grids(question, frames, there).items()}
        grids |= {name: make(frames, rows) for name, make in (further or {}).items()}
        for at, each in enumerate(group):
            yield _seen(each, {path: maps[at] for path, maps in grids.items()}, options.maps.edge_aware)


def _tried(read: Callable[[BoxSample], Read], sample: BoxSample) -> tuple[BoxSample, Read | ImageError]:
    """Read an image, or return why it cannot be read: one image must not stop those that are read ahead."""
    try:
        return sample, read(sample)
    except ImageError as error:
        return sample, error


def _readable(tried: Iterable[tuple[BoxSample, Read | ImageError]], unreadable: Unreadable | None) -> Iterator[Read]:
    for sample, found in tried:
        if not isinstance(found, ImageError):
            yield found
        elif unreadable is None:
            raise ImageError(f"{sample.id}: {found}") from found
        else:
            unreadable(sample, found)


def _rows_there(sample: BoxSample, texts: Sequence[str], options: LocaliseOptions) -> list[int]:
    """Return the numbers of the texts whose classes are in an image, difficult ones too."""
    said = {options.text_of(label) for label in sample.labels}
    return [at for at, text in enumerate(texts) if text in said]


def _grids(question: Question, frames: Pixels, there: Sequence[Sequence[int]] | None) -> dict[PathName, Floats]:
    """Return the maps of a batch; where it is said which texts are there, only these compete for an image."""
    if there is None:
        return question.grids(frames)
    evidence = question.read(frames)
    found: dict[PathName, Floats] = {}
    for path in question.paths:
        if not competes(path):
            found[path] = question.grid(path, evidence)
            continue
        maps = np.full((len(frames), question.count, *evidence.grid_hw), np.nan, np.float32)
        for at, rows in enumerate(there):
            if rows:
                maps[at, rows] = question.only(rows).grid(path, evidence.of(at))[0]
        found[path] = maps
    return found


def _source(sample: BoxSample) -> bytes | Pixels:
    return sample.image.read_bytes() if isinstance(sample.image, Path) else sample.image


def _framed(question: Question, options: LocaliseOptions, sample: BoxSample) -> _Framed:
    source = _source(sample)
    image = load_pixels(source, max_pixels=question.tower.max_pixels, exif="ignore")
    plan = fit_geometry(options.geometry, sample.size_hw, question.tower.manifest.image)
    return _Framed(sample, sample_digest(sample, source), plan, plan.apply(image))


def _windowed(question: Question, options: LocaliseOptions, texts: Sequence[str], sample: BoxSample) -> SampleMaps:
    """Put the maps of one image together from windows, over the whole of it."""
    source = _source(sample)
    image = load_pixels(source, max_pixels=question.tower.max_pixels, exif="ignore")
    shrink = min(1.0, _FINEST / max(sample.size_hw))
    height, width = (max(1, round(side * shrink)) for side in sample.size_hw)
    given: ImageSource = image
    maps: dict[str, Floats]
    if options.rivals == "dataset":
        maps = {path: found[0] for path, found in window_maps(question, given, (height, width)).items()}
    else:
        maps = {path: np.full((question.count, height, width), np.nan, np.float32) for path in question.paths}
        if rows := _rows_there(sample, texts, options):
            for path, found in window_maps(question.only(rows), given, (height, width)).items():
                maps[path][rows] = found[0]
    pixels, plan = scaled_rgb(image, (height, width)), squash(sample.size_hw, (height, width))
    return SampleMaps(
        sample, sample_digest(sample, source), pixels, plan, (0, 0), _window_patch(question, sample, shrink), maps
    )


def _window_patch(question: Question, sample: BoxSample, shrink: float) -> tuple[float, float]:
    """Return the size of the smallest patches, those of the smallest windows."""
    options, manifest = question.options, question.tower.manifest
    whole, input_side = min(sample.size_hw), max(manifest.image.size_hw)
    side = options.windows.side if options.windows is not None and options.windows.side is not None else input_side
    smallest = whole / max(options.scales) if options.scales else min(side, whole)
    patch = smallest * shrink / max(manifest.model.grid_hw)
    return patch, patch


def _seen(framed: _Framed, maps: Mapping[str, Floats], edges: EdgeAware | None) -> SampleMaps:
    """Cut the bars off: they belong to no image, and would take part in percentiles and means."""
    plan = framed.plan
    (top, left), (scaled_h, scaled_w), (height, width) = plan.offset_yx, plan.scaled_hw, plan.model_hw
    y1, x1 = max(top, 0), max(left, 0)
    y2, x2 = min(top + scaled_h, height), min(left + scaled_w, width)
    rows, columns = next(iter(maps.values())).shape[-2:]
    patch_hw = (height / rows, width / columns)
    seen = framed.taken[y1:y2, x1:x2]
    return SampleMaps(framed.sample, framed.digest, seen, plan, (x1, y1), patch_hw, maps, edges)


def sample_digest(sample: BoxSample, source: bytes | Pixels) -> str:
    """Return the SHA-256 of an image's bytes (of pixels, where there is no file), its boxes and their classes."""
    data = source if isinstance(source, bytes) else np.ascontiguousarray(source).tobytes()
    flags = sample.difficult.astype(np.uint8).tobytes()
    return digest([data, sample.boxes.astype("<f8").tobytes(), *sample.labels, flags])
