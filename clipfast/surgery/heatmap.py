"""Heat maps: where in an image is what a text says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from clipfast.arguments import require_array, require_size_hw, require_type
from clipfast.errors import DataError
from clipfast.runtime.reading import each_image
from clipfast.surgery.evidence import Question, ask
from clipfast.surgery.options import MapOptions
from clipfast.surgery.paths import FROM_ONE_FORWARD, PATHS, Path
from clipfast.surgery.upsample import resize_maps
from clipfast.surgery.views import direct_maps, framed_maps, window_maps
from clipfast.types import DenseEncoder, Floats, Images

__all__ = ["PATHS", "Path", "heatmaps", "heatmaps_by_path", "resize_maps", "unit_range"]


def heatmaps(
    clip: DenseEncoder,
    images: Images,
    texts: Sequence[str],
    path: Path = "standard",
    size_hw: tuple[int, int] | None = None,
    options: MapOptions | None = None,
) -> Floats:
    """Compute one map per image and text.

    Args:
        clip: A model with the graph that the path reads.
        images: One image or an iterable of them. Without a geometry the maps cover what the model sees: the centre
            square, for models that crop.
        texts: Names ("denim") or phrases, different from each other; each is put into the options' templates, CLIP
            Surgery's 85 if nothing else is said. What is longer than the model's context is cut, with a log warning.
        path: A key of `PATHS`, which says what each reads and is good for. "standard" is CLIP Surgery: it compares the
            texts with each other. Most others are the plain cosine of a token stream with each text.
        size_hw: This many pixels, whatever the images' sizes; None keeps the patch grid.
        options: Templates, labels, geometry, windows, scales, depths, edges; see `MapOptions`.

    Returns:
        Similarities, (n, t, h, w) float32, higher where the text fits better; not scaled to a range (`unit_range`).
        NaN where a centre crop let the model see nothing.

    Raises:
        DataError: No text, a blank one or one twice; an unknown path; options that do not fit it.
        ArtifactError: The artifact does not hold what the path reads; the message says how to export it.

    >>> from clipfast import Clip
    >>> heatmaps(Clip.load("mini"), np.zeros((60, 90, 3), np.uint8), ["denim", "linen"]).shape
    (1, 2, 14, 14)
    """
    return heatmaps_by_path(clip, images, texts, (path,), size_hw, options)[path]


def heatmaps_by_path(
    clip: DenseEncoder,
    images: Images,
    texts: Sequence[str],
    paths: Sequence[Path] = FROM_ONE_FORWARD,
    size_hw: tuple[int, int] | None = None,
    options: MapOptions | None = None,
) -> dict[Path, Floats]:
    """Compute the maps of several paths, each graph run once an image.

    `dense` gives all of `FROM_ONE_FORWARD`, `tokens` all presets of the artifact.

    Args:
        clip: As for `heatmaps`.
        images: As for `heatmaps`; long iterables are read in batches, tokens are not kept.
        texts: As for `heatmaps`.
        paths: Keys of `PATHS`.
        size_hw: As for `heatmaps`.
        options: As for `heatmaps`; labels and depths serve the paths that use them.

    Returns:
        By path, in the order asked, what `heatmaps` returns.

    Raises:
        DataError: As for `heatmaps`.
        ArtifactError: As for `heatmaps`.
    """
    options = MapOptions() if options is None else require_type("options", options, MapOptions, "MapOptions(...)")
    size_hw = None if size_hw is None else require_size_hw("size_hw", size_hw)
    if size_hw is None and (options.has_windows or options.edge_aware is not None):
        raise DataError(
            "windows, scales and edge_aware have no patch grid to keep: say size_hw, such as the image's own size."
        )
    question = ask(clip, texts, paths, options)
    parts = list(_parts(question, images, size_hw)) or [_nothing(question, size_hw)]
    return {path: np.concatenate([part[path] for part in parts]) for path in question.paths}


def _parts(question: Question, images: Images, size_hw: tuple[int, int] | None) -> Iterator[dict[Path, Floats]]:
    """Yield the maps of batches of images, looked at as the options say."""
    sources, options = each_image(images), question.options
    if options.has_windows and size_hw is not None:
        return (window_maps(question, source, size_hw) for source in sources)
    if options.geometry is not None or options.edge_aware is not None or len(question.graphs) > 1:
        return framed_maps(question, sources, size_hw)
    return direct_maps(question, sources, size_hw)


def _nothing(question: Question, size_hw: tuple[int, int] | None) -> dict[Path, Floats]:
    """The maps of no image, in their right shape."""
    grids = question.grids([])
    return grids if size_hw is None else {path: resize_maps(maps, size_hw) for path, maps in grids.items()}


def unit_range(maps: Floats) -> Floats:
    """Scale each map (..., h, w) to [0, 1]; a constant map becomes 0 everywhere, and NaN stays NaN."""
    require_array("maps", maps, "(..., h, w)")
    low = np.fmin.reduce(maps, axis=(-2, -1), keepdims=True)
    span = np.fmax.reduce(maps, axis=(-2, -1), keepdims=True) - low
    scaled = (maps - low) / np.where(span > 0, span, 1)  # a flat map: 0 / 1
    out: Floats = scaled.astype(np.float32)
    return out
