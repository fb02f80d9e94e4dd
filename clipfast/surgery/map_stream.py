"""Heat maps of a data set, image by image, in bounded memory: one forward gives all paths."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from clipfast.artifact import Manifest
from clipfast.datasets.box_records import BoxSample, Doubles
from clipfast.errors import DataError
from clipfast.provenance import digest
from clipfast.runtime.batching import batches, prefetch
from clipfast.runtime.images import load_pixels
from clipfast.surgery.geometry import Geometry, fit_geometry
from clipfast.surgery.heatmap import PATHS, resize_maps
from clipfast.surgery.localise_options import LocaliseOptions
from clipfast.types import DenseEncoder, Floats, Pixels

__all__ = ["MapEncoder", "SampleMaps", "sample_digest", "stream_maps"]


class MapEncoder(DenseEncoder, Protocol):
    """A dense encoder that says what it takes and how many cores it may use; `Clip` is one."""

    manifest: Manifest
    threads: int


@dataclass(frozen=True, slots=True, eq=False)
class SampleMaps:
    """One image as the model sees it, and its maps.

    Attributes:
        sample: The image and its boxes.
        digest: SHA-256 of its bytes and its boxes.
        pixels: What the model sees of the image, without bars, (h, w, 3) uint8.
        plan: How pixels of the image become those of the model.
        origin_xy: Where `pixels` begins in what the model takes: behind the bars of a letterbox.
        maps: By path, raw similarity on the patch grid, (t, gh, gw).
    """

    sample: BoxSample
    digest: str
    pixels: Pixels
    plan: Geometry
    origin_xy: tuple[int, int]
    maps: Mapping[str, Floats]

    def heat(self, path: str, text: int) -> Floats:
        """Return one map over `pixels`, (h, w) float32, bilinear."""
        (left, top), (height, width) = self.origin_xy, self.pixels.shape[:2]
        whole = resize_maps(self.maps[path][text], self.plan.model_hw)
        return np.ascontiguousarray(whole[top : top + height, left : left + width])

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
    clip: MapEncoder, samples: Iterable[BoxSample], texts: Sequence[str], options: LocaliseOptions
) -> Iterator[SampleMaps]:
    """Compute the maps of every sample, all paths from one forward.

    Images are read as they are stored, without a turn by EXIF: that is what boxes refer to.

    Args:
        clip: The model.
        samples: Images with boxes; read `2 * batch_size` ahead.
        texts: What to look for.
        options: Paths, templates, geometry and batch size.

    Raises:
        DataError: No text, an unknown path or geometry, or an image of another size than its annotation was read for.
        ImageError: An image cannot be read.
    """
    if not texts:
        raise DataError("heat maps need at least one text; got none.")
    if strangers := [path for path in options.paths if path not in PATHS]:
        raise DataError(f"paths must be of {', '.join(PATHS)}; got {', '.join(strangers)}.")
    rows = clip.encode_texts([*texts, ""], options.templates)
    frame = _framer(clip.manifest, options)
    ahead = prefetch(frame, samples, workers=clip.threads, ahead=2 * options.batch_size)
    for group in batches(ahead, options.batch_size):
        dense = clip.encode_dense(np.stack([each.taken for each in group]))
        maps = {path: _on_grid(PATHS[path](dense, rows[:-1], rows[-1]), dense.grid_hw) for path in options.paths}
        for at, each in enumerate(group):
            yield _seen(each, {path: found[at] for path, found in maps.items()})


def _on_grid(scores: Floats, grid_hw: tuple[int, int]) -> Floats:
    """Turn scores (n, p, t) into maps (n, t, gh, gw)."""
    n, _, t = scores.shape
    return scores.transpose(0, 2, 1).reshape(n, t, *grid_hw)


def _framer(manifest: Manifest, options: LocaliseOptions) -> Callable[[BoxSample], _Framed]:
    def frame(sample: BoxSample) -> _Framed:
        source = sample.image.read_bytes() if isinstance(sample.image, Path) else sample.image
        image = load_pixels(source, exif="ignore")
        plan = fit_geometry(options.geometry, sample.size_hw, manifest.image)
        return _Framed(sample, sample_digest(sample, source), plan, plan.apply(image))

    return frame


def _seen(framed: _Framed, maps: Mapping[str, Floats]) -> SampleMaps:
    """Cut the bars off: they belong to no image, and would take part in percentiles and means."""
    plan = framed.plan
    (top, left), (scaled_h, scaled_w), (height, width) = plan.offset_yx, plan.scaled_hw, plan.model_hw
    y1, x1 = max(top, 0), max(left, 0)
    y2, x2 = min(top + scaled_h, height), min(left + scaled_w, width)
    return SampleMaps(framed.sample, framed.digest, framed.taken[y1:y2, x1:x2], plan, (x1, y1), maps)


def sample_digest(sample: BoxSample, source: bytes | Pixels) -> str:
    """Return the SHA-256 of an image's bytes (of pixels, where there is no file), its boxes and their classes."""
    data = source if isinstance(source, bytes) else np.ascontiguousarray(source).tobytes()
    flags = sample.difficult.astype(np.uint8).tobytes()
    return digest([data, sample.boxes.astype("<f8").tobytes(), *sample.labels, flags])
