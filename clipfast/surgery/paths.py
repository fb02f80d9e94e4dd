"""The paths: from which tokens each heat map is made, how patches are scored, and what it is good for. One table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from clipfast.arguments import shown
from clipfast.errors import DataError, ShapeError
from clipfast.similarity import class_cosine, cosine_map, feature_surgery, surgery_against
from clipfast.surgery.fusion import fuse_maps
from clipfast.surgery.options import MapOptions
from clipfast.surgery.texts import TextRows
from clipfast.types import Floats

__all__ = [
    "FROM_ONE_FORWARD",
    "PATHS",
    "Path",
    "Scoring",
    "SurgeryPath",
    "checked_paths",
    "competes",
    "needs_embedding",
    "score_patches",
    "stream_of",
]

Path = Literal[
    "standard", "vv_qk", "vv_vv", "vv_mixed",
    "plain", "maskclip", "clearclip", "sclip", "naclip", "segearth", "gem", "legacy_seed",
]  # fmt: skip
Scoring = Literal["feature surgery", "cosine", "cosine + class"]


@dataclass(frozen=True, slots=True)
class SurgeryPath:
    """One row of the table.

    Attributes:
        graph: Which graph of the artifact is run.
        stream: Which of its outputs holds the tokens.
        scoring: How tokens and texts become similarities.
        good_for: One sentence for users.
        bare: Texts are taken as they are, whatever the templates.
    """

    graph: Literal["dense", "tokens"]
    stream: str
    scoring: Scoring
    good_for: str
    bare: bool = False


# Scores are mIoU as published for ViT-B/16, without training or refinement; sources in docs/heatmaps.md.
PATHS: dict[Path, SurgeryPath] = {
    "standard": SurgeryPath(
        "dense", "vv", "feature surgery",
        "CLIP Surgery as published: several texts that compete for an image; one alone is compared with an empty one.",
    ),
    "vv_qk": SurgeryPath(
        "dense", "qk", "cosine",
        "The last blocks' own attention without FFN: shows what value-value attention changes; no published score.",
    ),
    "vv_vv": SurgeryPath(
        "dense", "vv", "cosine",
        "Surgery's tokens, each text for itself: a map does not change with the other texts that are asked.",
    ),
    "vv_mixed": SurgeryPath(
        "dense", "mixed", "cosine",
        "A blend of vv_qk and vv_vv by alpha: this library's reading of the name, without a published score.",
    ),
    "plain": SurgeryPath(
        "tokens", "plain", "cosine",
        "The unmodified tower, often bright where the thing is not: for comparison (VOC20 41.8, Context59 9.2).",
    ),
    "maskclip": SurgeryPath(
        "tokens", "maskclip", "cosine",
        "The values of the last block alone: the simplest remedy, behind the later ones (VOC20 74.9, Context59 26.4).",
    ),
    "clearclip": SurgeryPath(
        "tokens", "clearclip", "cosine",
        "A first choice among the presets (VOC20 80.9, Context59 35.9) that still works on ViT-L/14.",
    ),
    "sclip": SurgeryPath(
        "tokens", "sclip", "cosine",
        "Good on ViT-B/16 (VOC20 80.4, Context59 34.2), but collapses on ViT-L/14.",
    ),
    "naclip": SurgeryPath(
        "tokens", "naclip", "cosine",
        "Near patches support each other: ahead of clearclip and sclip on streets (Cityscapes 35.5) and on ViT-L/14.",
    ),
    "segearth": SurgeryPath(
        "tokens", "segearth", "cosine + class",
        "Made for remote sensing; its class share shifts a text's whole map: it counts where texts are compared.",
    ),
    "gem": SurgeryPath(
        "tokens", "gem", "cosine",
        "Refined self-attention of queries, keys and values over several blocks (VOC20 79.9, Context59 35.9).",
    ),
    "legacy_seed": SurgeryPath(
        "tokens", "plain", "cosine",
        "For comparison only: what the system that this one replaces computed, plain tokens and the bare name.",
        bare=True,
    ),
}  # fmt: skip

FROM_ONE_FORWARD: tuple[Path, ...] = tuple(name for name, row in PATHS.items() if row.graph == "dense")
"""The four paths that one run of the `dense` graph gives."""


def checked_paths(paths: Sequence[Path] | Path, options: MapOptions) -> tuple[Path, ...]:
    """Return paths as names of the table, each once.

    Raises:
        DataError: None, an unknown one, or options that none of them uses.
    """
    if not isinstance(paths, Iterable):
        raise DataError(f"paths must be names of {', '.join(PATHS)}; got {shown(paths)}. Write a list of them.")
    given = [paths] if isinstance(paths, str) else list(paths)
    if not given:
        raise DataError(f"there must be at least one path of {', '.join(PATHS)}; got none.")
    for name in given:
        if not isinstance(name, str) or name not in PATHS:
            raise DataError(f"path must be one of {', '.join(PATHS)}; got {name!r}.")
    names = dict.fromkeys(given)
    rows = [PATHS[name] for name in names]
    if options.labels and not any(row.scoring == "feature surgery" for row in rows):
        raise DataError(f"labels are compared by the path standard only; got {', '.join(names)}. Leave them out.")
    if options.depths and not any(_reads_depths(row) for row in rows):
        raise DataError(f"depths belong to standard and vv_vv; got {', '.join(names)}. Leave them out.")
    return tuple(names)


def stream_of(path: Path, options: MapOptions) -> tuple[Literal["dense", "tokens"], str]:
    """Return the graph and the output that a path reads under these options."""
    row = PATHS[path]
    return ("tokens", "sweep") if options.depths and _reads_depths(row) else (row.graph, row.stream)


def needs_embedding(path: Path) -> bool:
    """Whether a path's scores use the whole image's embedding."""
    return PATHS[path].scoring != "cosine"


def score_patches(
    path: Path, streams: Mapping[str, Floats], embedding: Floats | None, texts: TextRows, options: MapOptions
) -> Floats:
    """Score every patch with every text.

    Args:
        path: A key of `PATHS`.
        streams: Tokens by output name, each (n, p, e); "sweep" is (n, L, p, e).
        embedding: Unit rows, (n, e), for paths that need them.
        texts: Rows of the texts, in the form that the path takes.
        options: As asked for.

    Returns:
        (n, p, t) float32.

    Raises:
        DataError: A depth that the model has not.
        ShapeError: No embedding for a path that needs it.
    """
    score = _SCORES[PATHS[path].scoring]
    graph_stream = stream_of(path, options)[1]
    tokens = streams[graph_stream]
    if embedding is None and needs_embedding(path):
        raise ShapeError(f"the path {path} needs the image's embedding; got None. Pass the rows of encode_images().")
    image = embedding if embedding is not None else np.zeros((0, tokens.shape[-1]), np.float32)  # not read
    if graph_stream != "sweep":
        return score(tokens, image, texts, options)
    if max(options.depths) > tokens.shape[1]:
        raise DataError(f"depths must be at most {tokens.shape[1]}, the model's blocks; got {tuple(options.depths)}.")
    maps = [score(tokens[:, depth - 1], image, texts, options) for depth in options.depths]
    return fuse_maps(maps, options.depth_weights)


def _reads_depths(row: SurgeryPath) -> bool:
    return row.graph == "dense" and row.stream == "vv"


def competes(path: Path) -> bool:
    """Whether a path compares texts with each other, so that its maps change with the others that are asked."""
    return PATHS[path].scoring == "feature surgery"


def _surgery(tokens: Floats, embedding: Floats, texts: TextRows, _options: MapOptions) -> Floats:
    if texts.rival is not None:
        return surgery_against(tokens, embedding, texts.rows[: texts.wanted], texts.rows[texts.wanted :], texts.rival)
    if texts.redundant is None and len(texts.rows) > 1:
        return feature_surgery(tokens, embedding, texts.rows)[..., : texts.wanted]
    redundant = texts.empty if texts.redundant is None else texts.redundant
    return feature_surgery(tokens, embedding, texts.rows[: texts.wanted], redundant=redundant)


def _cosine(tokens: Floats, _embedding: Floats, texts: TextRows, _options: MapOptions) -> Floats:
    return cosine_map(tokens, texts.directions)


def _with_class(tokens: Floats, embedding: Floats, texts: TextRows, options: MapOptions) -> Floats:
    """SegEarth-OV, segearth_segmentor.py: similarities plus lambda times those of the class token."""
    return cosine_map(tokens, texts.directions) + np.float32(options.class_share) * class_cosine(
        embedding, texts.directions
    )


_SCORES: dict[Scoring, Callable[[Floats, Floats, TextRows, MapOptions], Floats]] = {
    "feature surgery": _surgery,
    "cosine": _cosine,
    "cosine + class": _with_class,
}
