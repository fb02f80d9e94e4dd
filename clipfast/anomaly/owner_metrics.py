"""Figures of a run with both branches, under the names and in the per cent of PromptAD's modular scoring.

`metric_cal_img_modular` and `metric_cal_pix_modular` take what that framework hands around: fused scores, the truth,
and `metadata` with "semantic_scores" and "memory_scores". All figures are exact. `approximate_branch_aurocs` is what
stood in for those of pixels where maps of the branches had been thrown away; it is no AUROC, see there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clipfast.anomaly.branches import BranchMaps
from clipfast.anomaly.modes import MODES, Level, text_branch
from clipfast.errors import DataError, ShapeError
from clipfast.metrics.ranking import auroc_score

__all__ = [
    "approximate_branch_aurocs",
    "branch_metadata",
    "metric_cal_img_modular",
    "metric_cal_pix_modular",
]

_BRANCHES = ("semantic_scores", "memory_scores")


def metric_cal_img_modular(
    img_scores: ArrayLike,
    gt_list: ArrayLike,
    map_scores: ArrayLike | None = None,
    metadata: Mapping[str, Any] | None = None,
    score_mode: str = "max",
) -> dict[str, float]:
    """Judge images: AUROC of the fused scores, and of both branches where `metadata` holds them.

    Args:
        img_scores: What the mode made of both branches, (n,); it is judged as it is.
        gt_list: 0 intact, 1 anomalous, (n,).
        map_scores: Maps of the memory, (n, h, w): their maxima are then the memory's scores, and those judged where
            `score_mode` is "memory".
        metadata: With "semantic_scores" (n,) and "memory_scores" (n,) or (n, h, w); without one there are no figures of
            branches.
        score_mode: The mode of `img_scores`, a key of `MODES`.

    Returns:
        In per cent: `i_roc`; with both branches `i_roc_semantic`, `i_roc_memory`, `gap` = |semantic - memory| and
        `fusion_gain` = fused - the better branch (which the original's code called gap).

    Raises:
        DataError: An unknown mode, or metadata with one branch only.
        ShapeError: Shapes do not fit, or scores are not finite.
        UndefinedMetricError: All images are of one label.

    >>> both = {"semantic_scores": [0.2, 0.6, 0.5], "memory_scores": [0.1, 0.2, 0.4]}
    >>> metric_cal_img_modular([0.2, 0.6, 0.5], [0, 0, 1], metadata=both, score_mode="max")
    {'i_roc': 50.0, 'i_roc_semantic': 50.0, 'i_roc_memory': 100.0, 'gap': 50.0, 'fusion_gain': -50.0}
    """
    _require_mode(score_mode)
    labels = np.asarray(gt_list)
    peaks = None if map_scores is None else _peaks(map_scores)
    fused = peaks if peaks is not None and score_mode == "memory" else np.asarray(img_scores)
    branches = _branches(metadata)
    if branches is not None:
        memory = _peaks(branches[1]) if peaks is None else peaks
        branches = branches[0], memory
    return _figures("i_roc", labels, fused, branches)


def metric_cal_pix_modular(
    score_maps: ArrayLike,
    gt_masks: ArrayLike,
    metadata: Mapping[str, Any] | None = None,
    score_mode: str = "max",
) -> dict[str, float]:
    """Judge pixels: AUROC of the fused maps, and of each branch's own maps where `metadata` holds them.

    Args:
        score_maps: What the mode made of both branches, (n, h, w).
        gt_masks: 1 where damaged, else 0, of that shape.
        metadata: With "semantic_scores" and "memory_scores", of that shape.
        score_mode: The mode of `score_maps`, a key of `MODES`.

    Returns:
        In per cent: `p_roc`; with both branches `p_roc_semantic`, `p_roc_memory`, the same as `semantic_auroc` and
        `memory_auroc`, `gap` = |semantic - memory|, and `fusion_gain` = fused - the better branch.

    Raises:
        DataError: An unknown mode, or metadata with one branch only.
        ShapeError: Shapes do not fit, or scores are not finite.
        UndefinedMetricError: All pixels are of one label.
    """
    _require_mode(score_mode)
    maps, masks, branches = np.asarray(score_maps), np.asarray(gt_masks), _branches(metadata)
    for name, each in (("score_maps", maps), *zip(_BRANCHES, branches or (), strict=False)):
        if each.shape != masks.shape:
            raise ShapeError(
                f"{name} must have the shape of gt_masks, {masks.shape}; got {each.shape}. Scale the masks to the maps."
            )
    found = _figures("p_roc", masks, maps, branches)
    if branches is not None:
        found |= {"semantic_auroc": found["p_roc_semantic"], "memory_auroc": found["p_roc_memory"]}
    return found


def branch_metadata(branches: BranchMaps, level: Level) -> dict[str, NDArray[np.float32]]:
    """Return what the two functions take as `metadata`, such as of `AnomalyScores.branches`.

    Raises:
        NotComputedError: The text branch did not run.
    """
    both = text_branch(branches), branches.memory
    return {name: each.image if level == "image" else each.pixel for name, each in zip(_BRANCHES, both, strict=True)}


def approximate_branch_aurocs(max_auroc: float, semantic_mean: float, memory_mean: float) -> tuple[float, float]:
    """Return what the earlier report took for AUROCs of the branches: `max_auroc * mean / max(both means)`.

    It is no AUROC: it does not look at the truth, gives the better figure to the branch with the larger numbers, and
    changes with their scale. It is here to be shown beside the exact value, never to be used instead.

    Args:
        max_auroc: AUROC of the mode "max", in any unit.
        semantic_mean: Mean of the text branch's scores, not negative.
        memory_mean: Mean of the memory's scores, not negative.

    Returns:
        The approximation for the text branch and for the memory, in the unit of `max_auroc`.

    Raises:
        ShapeError: A mean is negative or not finite, or both are 0.

    >>> approximate_branch_aurocs(0.8, 0.5, 0.25)
    (0.8, 0.4)
    """
    larger = max(semantic_mean, memory_mean)
    if not (np.isfinite([semantic_mean, memory_mean]).all() and min(semantic_mean, memory_mean) >= 0 and larger > 0):
        raise ShapeError(
            f"means of scores must be finite, not negative, and not both 0; got {semantic_mean} and {memory_mean}."
        )
    return max_auroc * (semantic_mean / larger), max_auroc * (memory_mean / larger)


def _figures(
    key: str, labels: NDArray[Any], fused: NDArray[Any], branches: tuple[NDArray[Any], NDArray[Any]] | None
) -> dict[str, float]:
    found = {key: 100 * auroc_score(labels, fused)}
    if branches is not None:
        semantic, memory = (100 * auroc_score(labels, each) for each in branches)
        found |= {f"{key}_semantic": semantic, f"{key}_memory": memory, "gap": abs(semantic - memory)}
        found["fusion_gain"] = found[key] - max(semantic, memory)
    return found


def _branches(metadata: Mapping[str, Any] | None) -> tuple[NDArray[Any], NDArray[Any]] | None:
    held = [name for name in _BRANCHES if metadata is not None and metadata.get(name) is not None]
    if metadata is None or not held:
        return None
    if len(held) == 1:
        raise DataError(f"metadata must hold both of {', '.join(_BRANCHES)}, or none; got {held[0]} only.")
    return np.asarray(metadata[_BRANCHES[0]]), np.asarray(metadata[_BRANCHES[1]])


def _peaks(maps: Any) -> NDArray[Any]:
    """The highest score of each map; scores of images as they are."""
    values = np.asarray(maps)
    if not values.ndim or not values.size:
        raise ShapeError(f"maps must be (n, h, w), and scores of images (n,); got {values.shape}.")
    peaks: NDArray[Any] = values.reshape(len(values), -1).max(axis=1)
    return peaks


def _require_mode(score_mode: str) -> None:
    if score_mode not in MODES:
        raise DataError(f"score_mode must be one of {', '.join(MODES)}; got {score_mode!r}.")
