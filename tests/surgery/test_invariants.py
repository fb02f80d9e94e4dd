"""The ten invariants of CLIP Surgery and its relatives: each must hold for what a user calls, not only for a formula.

Numbers in the names are those of the design document's list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from clipfast.datasets.fabricworld import render
from clipfast.errors import DataError, ShapeError
from clipfast.kernels import sweep_percentiles
from clipfast.prompts import SURGERY
from clipfast.runtime.clip import Clip
from clipfast.similarity import feature_surgery
from clipfast.surgery import FROM_ONE_FORWARD, MapOptions, heatmaps, heatmaps_by_path
from clipfast.types import Floats, Pixels

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = ["denim", "linen", "a red star", "lace"]


@pytest.fixture(scope="module")
def pictures() -> list[Pixels]:
    """Five scenes."""
    return [render(seed, objects=2).image for seed in range(700, 705)]


def unit(rows: Floats) -> Floats:
    """Divide by lengths."""
    out: Floats = rows / np.linalg.norm(rows, axis=-1, keepdims=True)
    return out


def test_1_the_class_token_is_the_image_embedding(mini: Clip, pictures: list[Pixels]) -> None:
    """The side paths do not disturb the ordinary one: every graph gives the same embedding, alone and in a batch."""
    expected = mini.encode_images(pictures)

    assert np.abs(mini.encode_dense(pictures).embedding - expected).max() < 1e-5
    assert np.abs(mini.encode_dense(pictures[2]).embedding - expected[2]).max() < 1e-5
    assert np.abs(mini.encode_joint(pictures).embedding - expected).max() < 1e-5


@pytest.mark.torch
def test_1_plain_tokens_are_open_clips(tiny: Clip, tiny_config: Path) -> None:
    """The path `plain` reads what open_clip's own visual tower gives, projected."""
    import torch

    from clipfast.export.parity import sample_pixels
    from clipfast.export.reference import normalised
    from clipfast.export.weights import load_model

    source = load_model(str(tiny_config), None, image_size=96)
    pixels = sample_pixels((96, 96), 3, seed=5)
    visual = source.model.visual
    visual.output_tokens = True
    with torch.no_grad():
        pooled, tokens = visual(normalised(torch.from_numpy(pixels), source.image))
        expected = tokens @ visual.proj  # open_clip gives them normed and not projected

    assert np.abs(unit(tiny.encode_tokens(pixels)) - unit(expected.numpy())).max() < 1e-4
    assert np.abs(tiny.encode_images(pixels) - unit(pooled.numpy())).max() < 1e-4


def test_2_the_blend_meets_both_streams(mini: Clip, pictures: list[Pixels]) -> None:
    """`vv_mixed` with alpha 1 is `vv_qk`, with alpha 0 `vv_vv`; between them it is neither."""
    ends = {
        alpha: heatmaps_by_path(mini, pictures, TEXTS, options=MapOptions(alpha=alpha)) for alpha in (0.0, 0.5, 1.0)
    }

    assert np.abs(ends[1.0]["vv_mixed"] - ends[1.0]["vv_qk"]).max() < 1e-5
    assert np.abs(ends[0.0]["vv_mixed"] - ends[0.0]["vv_vv"]).max() < 1e-5
    assert np.abs(ends[0.5]["vv_mixed"] - ends[0.5]["vv_vv"]).max() > 1e-3


def test_3_scores_sum_to_zero(mini: Clip, pictures: list[Pixels]) -> None:
    """Of texts that are compared with each other; with labels, of texts and labels together."""
    alone = heatmaps(mini, pictures, TEXTS)
    some = heatmaps(mini, pictures, TEXTS[:2], options=MapOptions(labels=TEXTS[2:]))

    assert np.abs(alone.sum(axis=1)).max() < 1e-5
    assert np.abs(some - alone[:, :2]).max() < 1e-6


def test_4_equal_texts_leave_nothing(mini: Clip, pictures: list[Pixels]) -> None:
    """Rows that are the same share everything."""
    dense, row = mini.encode_dense(pictures), mini.encode_texts(["denim"], SURGERY)

    assert np.abs(feature_surgery(dense.vv, dense.embedding, np.repeat(row, 4, axis=0))).max() < 1e-6


@pytest.mark.parametrize("path", FROM_ONE_FORWARD)
def test_5_the_order_of_texts_has_no_meaning(mini: Clip, pictures: list[Pixels], path: Any) -> None:
    """Other order, the same maps in that order."""
    order = [2, 0, 3, 1]
    base = heatmaps(mini, pictures, TEXTS, path)

    assert np.abs(heatmaps(mini, pictures, [TEXTS[i] for i in order], path) - base[:, order]).max() < 1e-5


def test_6_batches_equal_loops(mini: Clip, pictures: list[Pixels]) -> None:
    """Five images together, one by one, and in batches of two: the same maps of every path."""
    paths = (*FROM_ONE_FORWARD, "plain", "legacy_seed")
    together = heatmaps_by_path(mini, pictures, TEXTS, paths)
    by_two = heatmaps_by_path(mini, iter(pictures), TEXTS, paths, options=MapOptions(batch_size=2))
    for path in paths:
        alone = np.concatenate([heatmaps(mini, picture, TEXTS, path) for picture in pictures])

        assert np.abs(together[path] - alone).max() < 1e-5
        assert np.abs(together[path] - by_two[path]).max() < 1e-5


def test_7_depth_is_from_1(tmp_path: Path) -> None:
    """Without a replaced block there is no side path."""
    from clipfast.export.options import ExportOptions

    with pytest.raises(ShapeError, match="surgery_depth must be 1 or more"):
        ExportOptions("ViT-B-32", surgery_depth=0)


@pytest.mark.torch
def test_7_depth_is_at_most_the_blocks(tiny_config: Path, tmp_path: Path) -> None:
    """All seven blocks may be replaced, not eight."""
    from clipfast.export.options import ExportOptions
    from clipfast.export.pipeline import export

    deep = export(ExportOptions(str(tiny_config), surgery_depth=7, heads=("dense", "text")), tmp_path / "deep")

    assert deep.manifest.model.surgery_depth == 7
    with pytest.raises(DataError, match="surgery_depth must be at most 7"):
        export(ExportOptions(str(tiny_config), surgery_depth=8), tmp_path / "deeper")


@pytest.mark.torch
def test_8_identity_attention_is_maskclip(tiny: Clip, tiny_config: Path) -> None:
    """One replaced block whose attention is the identity, without residual and FFN: out(v), normed and projected."""
    import torch

    from clipfast.export.parity import sample_pixels
    from clipfast.export.reference_tokens import block_tokens
    from clipfast.export.weights import load_model

    source = load_model(str(tiny_config), None, image_size=96)
    pixels = sample_pixels((96, 96), 2, seed=6)
    visual = source.model.visual
    last, width = visual.transformer.resblocks[-1], visual.ln_post.normalized_shape[0]
    with torch.no_grad():
        u = last.ln_1(block_tokens(source.model, torch.from_numpy(pixels), source.image)[-2])
        v = u @ last.attn.in_proj_weight[2 * width :].T + last.attn.in_proj_bias[2 * width :]
        identity = torch.eye(v.shape[1])
        expected = visual.ln_post(last.attn.out_proj(identity @ v))[:, 1:] @ visual.proj

    assert np.abs(unit(tiny.encode_presets(pixels)["maskclip"]) - unit(expected.numpy())).max() < 1e-4


@pytest.mark.torch
def test_9_attention_rows_sum_to_their_number(tiny: Clip, tiny_config: Path) -> None:
    """With values of one, what comes out is the sum of a row: 1, and as many as there are softmaxes in a sum."""
    import torch

    from clipfast.export.graphs import VisionTower
    from clipfast.export.parity import sample_pixels
    from clipfast.export.token_heads import PRESETS, neighbour_weights
    from clipfast.export.weights import load_model

    source = load_model(str(tiny_config), None)
    tower = VisionTower(source.model.visual, source.image, quick_gelu=False, flavour="plain")
    with torch.no_grad():
        x = tower.tokens(torch.from_numpy(sample_pixels(source.image.size_hw, 2, seed=7)))
        last = tower.blocks[-1]
        q, k, v = last.split(x)
        ones = torch.ones_like(v)
        near = neighbour_weights(tower.grid_hw)
        sums = {name: attend(last, q, k, ones, near) for name, attend in PRESETS.items()}
    rows = {"maskclip": 1, "clearclip": 1, "sclip": 2, "naclip": 1, "segearth": 3}

    assert {name: pytest.approx(total.numpy(), abs=1e-5) for name, total in sums.items()} == {
        name: np.full(sums[name].shape, count) for name, count in rows.items()
    }
    pixels = sample_pixels((96, 96), 2, seed=8)
    assert np.abs(tiny.encode_dense(pixels).streams["class_attention"].sum(-1) - 1).max() < 1e-5


def test_10_boxes_of_percentiles_ignore_scale_and_shift(mini: Clip, pictures: list[Pixels]) -> None:
    """A positive affine map of a heat map moves thresholds with it: the same components at the same percentiles."""
    heat = heatmaps(mini, pictures[0], TEXTS, "vv_vv", (56, 56))[0, 2]
    steps = np.rint(heat * 2**14) / 2**14  # so that scale and shift round nothing
    percentiles = [75, 85, 95]
    once, again = (sweep_percentiles(scores.astype(np.float64), percentiles) for scores in (steps, 4 * steps - 3))

    assert once.counts.tolist() == again.counts.tolist()
    assert (once.boxes == again.boxes).all()
    assert once.counts.sum() >= 3
