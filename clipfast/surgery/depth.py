"""The depth sweep: what the v-v maps look like when Surgery begins earlier or later in the tower."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from clipfast.arguments import require_type
from clipfast.errors import DataError
from clipfast.runtime.batching import batches
from clipfast.runtime.reading import each_image
from clipfast.surgery.evidence import ask
from clipfast.surgery.options import MapOptions
from clipfast.types import Floats, Images, TokenEncoder

__all__ = ["depth_maps"]


def depth_maps(
    clip: TokenEncoder,
    images: Images,
    texts: Sequence[str],
    path: Literal["standard", "vv_vv"] = "vv_vv",
    options: MapOptions | None = None,
) -> Floats:
    """Compute the maps of every Surgery depth, on the patch grid, from one forward.

    Depth d collects the value-value attention of the last d blocks. `MapOptions.depths` averages some of them.

    Args:
        clip: A model whose artifact was exported with `--presets sweep`.
        images: As for `heatmaps`; the maps cover what the model sees.
        texts: As for `heatmaps`.
        path: Whether texts are compared with each other ("standard") or each by itself.
        options: Templates, redundant text, labels; geometry, windows and edges have no place here.

    Returns:
        (n, L, t, gh, gw) float32, depth 1 first.

    Raises:
        ArtifactError: The artifact does not hold the sweep.
        DataError: As `heatmaps`; or options that have no place here.
    """
    options = MapOptions() if options is None else require_type("options", options, MapOptions, "MapOptions(...)")
    if options.has_windows or options.geometry is not None or options.edge_aware is not None or options.depths:
        raise DataError("depth_maps takes no geometry, windows, scales, edges or depths. Resize its maps afterwards.")
    question = ask(clip, texts, (path,), replace(options, depths=(1,)))
    parts = []
    for group in batches(each_image(images), options.batch_size):
        evidence = question.read(group)
        depths = range(1, evidence.streams["sweep"].shape[1] + 1)
        parts.append(np.stack([question.grid(path, evidence, depths=(depth,)) for depth in depths], axis=1))
    return np.concatenate(parts)
