"""The owner's functions and keys: exact, in per cent, and the old approximation under its own name."""

from __future__ import annotations

import numpy as np
import pytest

from clipfast.anomaly import (
    BranchMaps,
    BranchScores,
    approximate_branch_aurocs,
    branch_metadata,
    metric_cal_img_modular,
    metric_cal_pix_modular,
)
from clipfast.errors import DataError, NotComputedError, ShapeError, UndefinedMetricError

sklearn = pytest.importorskip("sklearn.metrics", reason="needs scikit-learn for the exact values")


def _maps(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    masks = (rng.random((5, 8, 9)) < 0.2).astype(np.uint8)
    semantic, memory = (rng.random(masks.shape, np.float32).round(2) + masks * weight for weight in (0.1, 0.4))
    return masks, semantic.astype(np.float32), memory.astype(np.float32)


def test_pixel_figures_equal_scikit_learns() -> None:
    """Every key of the source document, to rounding, from each branch's own maps."""
    masks, semantic, memory = _maps(0)
    both = {"semantic_scores": semantic, "memory_scores": memory}
    fused = np.maximum(semantic, memory)

    found = metric_cal_pix_modular(fused, masks, both, "max")

    wanted = [100 * sklearn.roc_auc_score(masks.ravel(), each.ravel()) for each in (fused, semantic, memory)]
    assert found["p_roc"] == pytest.approx(wanted[0], abs=1e-10)
    assert found["p_roc_semantic"] == found["semantic_auroc"] == pytest.approx(wanted[1], abs=1e-10)
    assert found["p_roc_memory"] == found["memory_auroc"] == pytest.approx(wanted[2], abs=1e-10)
    assert found["gap"] == pytest.approx(abs(wanted[1] - wanted[2]), abs=1e-10)
    assert found["fusion_gain"] == pytest.approx(wanted[0] - max(wanted[1:]), abs=1e-10)


def test_image_figures_take_the_highest_patch_of_the_memory() -> None:
    """Maps give the memory's scores; metadata alone does, too; without metadata there is only i_roc."""
    _, semantic, memory = _maps(1)
    labels, texts = np.array([0, 1, 0, 1, 1]), semantic.mean(axis=(1, 2))
    peaks = memory.reshape(5, -1).max(axis=1)
    both = {"semantic_scores": texts, "memory_scores": memory}

    found = metric_cal_img_modular(texts, labels, memory, both, "memory")

    assert found["i_roc"] == found["i_roc_memory"] == pytest.approx(100 * sklearn.roc_auc_score(labels, peaks))
    assert found["i_roc_semantic"] == pytest.approx(100 * sklearn.roc_auc_score(labels, texts))
    assert metric_cal_img_modular(peaks, labels, metadata=both)["i_roc_memory"] == found["i_roc_memory"]
    assert set(metric_cal_img_modular(texts, labels)) == {"i_roc"}


def test_metadata_comes_from_branch_maps() -> None:
    """Images and pixels of both branches; without the text branch there is nothing to compare."""
    _, semantic, memory = _maps(2)
    branches = [BranchScores.of(each.max(axis=(1, 2)), each) for each in (semantic, memory)]

    assert branch_metadata(BranchMaps(*branches), "pixel")["memory_scores"] is memory
    assert branch_metadata(BranchMaps(*branches), "image")["semantic_scores"].shape == (5,)
    with pytest.raises(NotComputedError):
        branch_metadata(BranchMaps(None, branches[1]), "image")


def test_the_approximation_is_far_off_where_scales_differ() -> None:
    """A useless branch with large numbers gets the fused AUROC, a perfect one with small numbers a tenth of it."""
    labels = [0, 0, 1, 1]
    both = {"semantic_scores": [0.5, 0.5, 0.5, 0.5], "memory_scores": [0.01, 0.02, 0.08, 0.09]}
    found = metric_cal_img_modular(both["memory_scores"], labels, metadata=both)
    guessed = approximate_branch_aurocs(found["i_roc"], 0.5, 0.05)

    assert (found["i_roc_semantic"], found["i_roc_memory"]) == (50, 100)
    assert guessed == pytest.approx((100, 10))


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda m, s: metric_cal_pix_modular(s, m, score_mode="best"), DataError, "harmonic"),  # unknown mode
        (lambda m, s: metric_cal_pix_modular(s, m, {"semantic_scores": s}), DataError, "memory_scores"),  # one branch
        (lambda m, s: metric_cal_pix_modular(s[:, :4], m), ShapeError, "shape of gt_masks"),  # masks of another size
        (lambda m, s: metric_cal_pix_modular(s, 0 * m), UndefinedMetricError, "."),  # empty masks
        (lambda m, s: metric_cal_img_modular(s[:, 0, 0], np.ones(5, int)), UndefinedMetricError, "."),  # one label
        (lambda m, s: approximate_branch_aurocs(0.9, 0.0, 0.0), ShapeError, "not both 0"),
        (lambda m, s: approximate_branch_aurocs(0.9, -0.1, 0.5), ShapeError, "not negative"),
    ],
)
def test_bad_input_is_refused(call: object, error: type[Exception], says: str) -> None:
    """Each with a sentence."""
    masks, semantic, _ = _maps(3)
    assert callable(call)
    with pytest.raises(error, match=says):
        call(masks, semantic)
