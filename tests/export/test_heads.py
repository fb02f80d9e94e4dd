"""Every head and preset computes its definition, and the gate notices what it must notice."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install --group test")
pytest.importorskip("open_clip", reason="needs open_clip: pip install --group test")

from clipfast.artifact import GraphSpec, Manifest
from clipfast.errors import DataError, ParityError, ShapeError
from clipfast.export import parity, pipeline
from clipfast.export.options import PRESET_NAMES, ExportOptions
from clipfast.export.plan import GraphPlan, feature_blocks, plan_graphs
from clipfast.export.token_heads import neighbour_weights
from clipfast.export.weights import LoadedModel, load_model
from clipfast.runtime.parity import require

pytestmark = pytest.mark.torch


class TorchSession:
    """Runs a plan's module by torch, in place of ONNX Runtime."""

    def __init__(self, plan: GraphPlan) -> None:
        self.plan = plan

    def run(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        with torch.no_grad():
            out = self.plan.module(*(torch.from_numpy(np.asarray(feeds[name])) for name in self.plan.inputs))
        outputs = out if isinstance(out, tuple) else (out,)
        return {name: value.numpy() for name, value in zip(self.plan.outputs, outputs, strict=True)}


def _prepared(options: ExportOptions) -> tuple[Manifest, LoadedModel, dict[str, GraphPlan]]:
    source = pipeline.load_source(options)
    plans = plan_graphs(source, options, flavour="plain")
    graphs = {
        name: GraphSpec(files=(f"{name}.onnx",), inputs=tuple(plan.inputs), outputs=plan.outputs)
        for name, plan in plans.items()
    }
    return pipeline._manifest(source, options, graphs), source, plans


def _gate(manifest: Manifest, source: LoadedModel, plans: Mapping[str, GraphPlan]) -> None:
    require(parity.measure(manifest, source, lambda graph: TorchSession(plans[graph])))


@pytest.fixture(scope="module")
def everything(tiny_config: Path) -> ExportOptions:
    """All heads, all presets, the class token's attention."""
    return ExportOptions(str(tiny_config), presets=PRESET_NAMES, class_attention=True, blocks=(1, 4, 7))


def test_every_head_and_preset_passes_the_gate(everything: ExportOptions) -> None:
    """All outputs agree with the plainly written reference far inside the limits."""
    manifest, source, plans = _prepared(everything)
    rows = parity.measure(manifest, source, lambda graph: TorchSession(plans[graph]))

    assert {row.output for row in rows} >= {*PRESET_NAMES, "plain", "class_attention", "block_1", "block_7", "vv"}
    assert max(row.max_abs_diff for row in rows) < 1e-5


def test_all_of_it_survives_the_conversion(everything: ExportOptions, tmp_path: Path) -> None:
    """The exported graphs give the same, at another image size too, and Clip finds every stream by name."""
    from clipfast.runtime.clip import Clip

    options = ExportOptions(
        everything.architecture, image_size=96, presets=PRESET_NAMES, class_attention=True, heads=("dense", "tokens")
    )
    artifact = pipeline.export(options, tmp_path / "all")
    clip = Clip.load(artifact.path, threads=1)
    pixels = parity.sample_pixels((96, 96), 2, seed=0)
    dense, presets = clip.encode_dense(pixels), clip.encode_presets(pixels)

    assert dense.grid_hw == (6, 6)
    assert dense.streams["class_attention"].shape == (2, 2, 37)
    assert np.abs(dense.streams["class_attention"].sum(axis=-1) - 1).max() < 1e-5
    assert set(presets) == {"plain", *PRESET_NAMES}
    assert presets["sweep"].shape == (2, 7, 36, 48)
    assert np.abs(presets["sweep"][:, 5] - dense.vv).max() < 1e-3  # depth 6 of the sweep is the dense head's vv
    assert (clip.encode_tokens(pixels) == presets["plain"]).all()


def _block(change: Callable[[Any], object]) -> Callable[[dict[str, GraphPlan]], None]:
    def mutate(plans: dict[str, GraphPlan]) -> None:
        change(plans["dense"].module.tower)

    return mutate


def _halved_scale(plans: dict[str, GraphPlan]) -> None:
    block = plans["embed"].module.tower.blocks[3]
    attend = block.attend
    block.attend = lambda q, k, v, heads, causal: attend(q * 0.5, k, v, heads, causal)


def _activation(kind: str) -> Callable[[dict[str, GraphPlan]], None]:
    def mutate(plans: dict[str, GraphPlan]) -> None:
        for block in plans["embed"].module.tower.blocks:
            if kind == "quick":
                block.quick_gelu = True
            else:
                block.mlp = lambda x, b=block: (
                    x + b.down(torch.nn.functional.gelu(b.up(b.norm_2(x)), approximate="tanh"))
                )

    return mutate


def _depth(plans: dict[str, GraphPlan]) -> None:
    plans["dense"].module.depth = 5


MUTATIONS: dict[str, Callable[[dict[str, GraphPlan]], None]] = {
    "a dropped bias of queries": _block(lambda t: t.blocks[2].qkv.bias.data[:64].zero_()),
    "a dropped bias of the MLP": _block(lambda t: t.blocks[4].down.bias.data.zero_()),
    "lost gamma": _block(lambda t: t.blocks[1].norm_1.weight.data.fill_(1.0)),
    "lost beta": _block(lambda t: t.norm_post.bias.data.zero_()),
    "quick GELU instead of the exact one": _activation("quick"),
    "tanh GELU instead of the exact one": _activation("tanh"),
    "a surgery depth that is one less": _depth,
    "BGR": _block(lambda t: t.patch_weight.data.copy_(t.patch_weight.data.reshape(-1, 3, 64).flip(1).reshape(-1, 64))),
    "an eps of 1e-3": _block(lambda t: setattr(t.norm_pre, "eps", 1e-3)),
    "a halved attention scale": _halved_scale,
    "swapped grid axes": _block(
        lambda t: t.position.data.copy_(t.position.data.reshape(1, 4, 4, 64).transpose(1, 2).reshape(1, 16, 64))
    ),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_the_gate_refuses_a_mutated_graph(tiny_config: Path, name: str) -> None:
    """The gate itself, run on a graph with one mistake, raises; without the mistake it passes."""
    options = ExportOptions(str(tiny_config), heads=("embed", "dense"))
    manifest, source, plans = _prepared(options)
    _gate(manifest, source, plans)
    MUTATIONS[name](plans)

    with pytest.raises(ParityError, match="differs from the PyTorch reference"):
        _gate(manifest, source, plans)


def test_positions_are_interpolated_as_open_clip_does(tiny_config: Path, tmp_path: Path) -> None:
    """Another size gives open_clip's own resized embedding, and the same checkpoint again gives the same model."""
    from open_clip.model import resize_pos_embed

    native = load_model(str(tiny_config), None)
    torch.save(native.model.state_dict(), tmp_path / "m.pt")
    large = [load_model(str(tiny_config), str(tmp_path / "m.pt"), activation="gelu", image_size=112) for _ in range(2)]
    state = {k: v.clone() for k, v in native.model.state_dict().items()}
    resize_pos_embed(state, large[0].model)
    got = large[0].model.state_dict()["visual.positional_embedding"]

    assert large[0].image.size_hw == (112, 112)
    assert torch.equal(got, state["visual.positional_embedding"])
    assert large[0].weights_sha256 == large[1].weights_sha256 != native.weights_sha256


def test_default_blocks_are_a_quarter_and_two_thirds(tiny_config: Path) -> None:
    """3 and 8 of 12 blocks, as PromptAD takes them; here 2 and 5 of 7."""
    options = ExportOptions(str(tiny_config))

    assert feature_blocks(pipeline.load_source(options), options) == (2, 5)


@pytest.mark.parametrize("blocks", [(), (0,), (3, 2), (2, 2), (8,)])  # none, too low, falling, twice, too high
def test_blocks_must_exist(tiny_config: Path, blocks: tuple[int, ...]) -> None:
    """The rule is in the message."""
    options = ExportOptions(str(tiny_config), blocks=blocks)

    with pytest.raises(DataError, match="blocks must be"):
        feature_blocks(pipeline.load_source(options), options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": ("embed", "all")}, "heads must be"),
        ({"heads": ()}, "at least one of"),
        ({"presets": ("gem", "gem")}, "presets must be"),
        ({"image_size": 8}, "image_size must be 16 to 4096"),
    ],
)
def test_options_are_checked_when_they_are_said(options: dict[str, Any], message: str) -> None:
    """Before anything is loaded."""
    with pytest.raises((DataError, ShapeError), match=message):
        ExportOptions("ViT-B-32", **options)


def test_neighbours_are_nearer() -> None:
    """NACLIP's bonus is 1 on the diagonal, falls with distance, and is 0 for the class token."""
    near = neighbour_weights((3, 4)).numpy()

    assert near.shape == (13, 13)
    assert np.allclose(np.diag(near)[1:], 1)
    assert (near[0] == 0).all()
    assert near[1, 2] == pytest.approx(np.exp(-1 / 50))
    assert near[1, 6] == pytest.approx(np.exp(-2 / 50))
