"""What int8 costs in answers, and whether that is little enough."""

from __future__ import annotations

import msgspec
import numpy as np

from clipfast.artifact import Int8Figures
from clipfast.datasets.fabricworld import FABRICS
from clipfast.errors import UndefinedMetricError
from clipfast.export.int8_images import LabelledScenes
from clipfast.metrics.ranking import auroc_score
from clipfast.runtime.clip import Clip
from clipfast.similarity import cosine_map
from clipfast.types import Floats, Pixels

__all__ = ["LIMITS", "judge", "reasons_against"]

# figure: (limit, whether larger is better, what it is called)
LIMITS = {
    "class_cosine": (0.99, True, "mean cosine of class tokens with fp32"),
    "worst_class_cosine": (0.97, True, "smallest cosine of class tokens with fp32"),
    "same_neighbour": (0.95, True, "images whose nearest neighbour stays, or is as near within 0.002"),
    "zero_shot_loss": (0.01, False, "loss of zero-shot accuracy"),
    "map_auroc_loss": (0.005, False, "loss of the patch maps' AUROC"),
}
_TIE = 0.002  # in cosine: which of two copies comes first is no error


def judge(fp32: Clip, int8: Clip, images: Pixels, scenes: LabelledScenes | None) -> Int8Figures:
    """Measure int8 beside fp32.

    Args:
        fp32: The model.
        int8: The same with int8 graphs; texts are fp32 in both.
        images: Unlabelled, that served no choice, (n, h, w, 3).
        scenes: With labels; None leaves out what needs them. Figures for which the artifact has no graph are None.
    """
    heads = fp32.manifest.heads
    figures = Int8Figures(images=len(images))
    if "embed" in heads:
        before, after = fp32.encode_images(images), int8.encode_images(images)
        cosines = (before * after).sum(axis=1)
        figures = msgspec.structs.replace(
            figures,
            class_cosine=float(cosines.mean()),
            worst_class_cosine=float(cosines.min()),
            same_neighbour=same_neighbour(before, after),
        )
        if scenes is not None and "text" in heads:
            exact, rounded = (zero_shot_accuracy(clip, scenes) for clip in (fp32, int8))
            figures = msgspec.structs.replace(
                figures, zero_shot_fp32=exact, zero_shot_int8=rounded, zero_shot_loss=exact - rounded
            )
    if "dense" in heads and scenes is not None and "text" in heads:
        exact, rounded = (map_auroc(clip, scenes) for clip in (fp32, int8))
        figures = msgspec.structs.replace(
            figures, map_auroc_fp32=exact, map_auroc_int8=rounded, map_auroc_loss=exact - rounded
        )
    return figures


def reasons_against(figures: Int8Figures) -> tuple[str, ...]:
    """Return one phrase for each limit that is missed, with figure and limit; none if all are kept."""
    reasons = []
    for name, (limit, larger, what) in LIMITS.items():
        value = getattr(figures, name)
        if value is None:
            continue
        kept = value >= limit if larger else value <= limit  # NaN keeps neither
        if not kept:
            reasons.append(f"{what} is {value:.4f} ({'at least' if larger else 'at most'} {limit:g})")
    return tuple(reasons)


def same_neighbour(before: Floats, after: Floats) -> float:
    """Return the share of images whose nearest other image by int8 rows is the one by fp32 rows, or as near.

    >>> rows = np.float32([[1, 0], [0.8, 0.6], [0, 1]])
    >>> same_neighbour(rows, rows)
    1.0
    """
    exact, rounded = before @ before.T, after @ after.T
    for matrix in (exact, rounded):
        np.fill_diagonal(matrix, -np.inf)
    at = np.arange(len(exact))
    return float((exact[at, rounded.argmax(axis=1)] >= exact.max(axis=1) - _TIE).mean())


def zero_shot_accuracy(clip: Clip, scenes: LabelledScenes) -> float:
    """Return the share of cloths whose fabric is found among all fabrics by its name."""
    names = list(FABRICS)
    texts = clip.encode_texts([f"a photo of {name} fabric" for name in names])
    found = (clip.encode_images(scenes.classes) @ texts.T).argmax(axis=1)
    return float(np.mean([names[at] == fabric for at, fabric in zip(found, scenes.fabrics, strict=True)]))


def map_auroc(clip: Clip, scenes: LabelledScenes) -> float:
    """Return the mean AUROC of patches inside an object's box over those outside, on the value-value path."""
    tokens = clip.encode_dense(scenes.scenes).vv
    found = []
    for image, (names, inside) in enumerate(zip(scenes.names, scenes.inside, strict=True)):
        texts = clip.encode_texts([f"a photo of {name}" for name in names])
        maps = cosine_map(tokens[image : image + 1], texts)[0]
        for column, patches in enumerate(inside):
            try:
                found.append(auroc_score(patches, np.ascontiguousarray(maps[:, column])))
            except UndefinedMetricError:  # an object so small that no patch centre lies in it
                continue
    return float(np.mean(found)) if found else float("nan")
