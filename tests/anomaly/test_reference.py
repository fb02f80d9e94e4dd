"""Both branches and the five published modes against PyTorch, on features of the embedded model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from clipfast.anomaly import (
    LEGACY_TEMPERATURE,
    AnomalyDetector,
    AnomalyOptions,
    PromptOptions,
    branch_maps,
    fuse_images,
    fuse_pixels,
)
from clipfast.datasets.fabricworld import Wishes, anomaly_samples

if TYPE_CHECKING:
    from clipfast.runtime.clip import Clip

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch


@pytest.mark.parametrize("legacy", [False, True])
def test_branches_and_modes_are_those_of_the_published_method(mini: Clip, legacy: bool) -> None:
    """PromptAD's formulas in PyTorch, PatchFeatures and texts given: softmax of cosines, half of one minus the best
    cosine averaged over two blocks, harmonic and maximum on the grid, bilinear scaling."""
    functional = torch.nn.functional
    pieces = [piece.image for piece in anomaly_samples(500_000_021, good=4, each=1, wishes=Wishes(fabric="linen"))]
    options = AnomalyOptions(prompts=PromptOptions(legacy_temperature=legacy), size_hw=(224, 224), sigma=0.0)
    detector = AnomalyDetector.fit(mini, pieces[:3], class_name="linen", options=options)
    support, query = mini.encode_joint(pieces[:3]), mini.encode_joint(pieces[3:])
    prompts = detector.fitted.prompts
    assert prompts is not None
    scale = np.log(100) if legacy else mini.manifest.model.logit_scale

    def unit(rows: Any) -> Any:
        return functional.normalize(torch.from_numpy(np.asarray(rows)).double(), dim=-1)

    texts = torch.stack([unit(unit(group).mean(dim=0).numpy()) for group in (prompts.normal, prompts.abnormal)])
    shares = (scale * unit(query.vv) @ texts.T).softmax(dim=-1)[..., 1]
    image_share = (scale * unit(query.embedding) @ texts.T).softmax(dim=-1)[..., 1]
    memory = sum(
        (1 - (unit(query.patches.features[b]) @ unit(rows).reshape(-1, rows.shape[2]).T).max(dim=-1).values) / 2
        for b, rows in support.patches.features.items()
    ) / len(support.patches.features)
    raw = branch_maps(query, detector.fitted.bank, prompts)
    assert raw.semantic is not None

    n, grid = len(query.embedding), query.patches.grid_hw
    assert pytest.approx(1 / np.log(100)) == LEGACY_TEMPERATURE
    np.testing.assert_allclose(raw.semantic.pixel.reshape(n, -1), shares, atol=1e-5)
    np.testing.assert_allclose(raw.semantic.image, image_share, atol=1e-5)
    np.testing.assert_allclose(raw.memory.pixel.reshape(n, -1), memory, atol=1e-5)
    np.testing.assert_allclose(raw.memory.image, memory.max(dim=1).values, atol=1e-5)
    harmonic = 1 / (1 / (shares + 1e-8) + 1 / (memory + 1e-8))
    maximum = torch.maximum(image_share, memory.max(dim=1).values)
    np.testing.assert_allclose(fuse_pixels(raw, detector.calibration, "harmonic").reshape(n, -1), harmonic, atol=1e-5)
    np.testing.assert_allclose(fuse_images(raw, detector.calibration, "max"), maximum, atol=1e-5)
    scaled = functional.interpolate(memory.reshape(n, 1, *grid), size=(224, 224), mode="bilinear")[:, 0]
    np.testing.assert_allclose(detector.score(pieces[3:]).memory.pixel, scaled, atol=1e-5)
