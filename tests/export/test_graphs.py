"""Our modules compute what open_clip computes, and each part of the weights matters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install --group test")
pytest.importorskip("open_clip", reason="needs open_clip: pip install --group test")

from clipfast.export import reference
from clipfast.export.graphs import TextTower, VisionTower
from clipfast.export.heads import DenseHead, EmbedHead
from clipfast.export.parity import sample_ids, sample_pixels
from clipfast.export.weights import LoadedModel, hash_state, load_model

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def source(tiny_config: Path) -> LoadedModel:
    """A tiny model with seeded weights that all matter."""
    return load_model(str(tiny_config), None)


def _unit(x: object) -> np.ndarray:
    array = np.asarray(x, np.float64)
    rows: np.ndarray = array / np.linalg.norm(array, axis=-1, keepdims=True)
    return rows


def _pixels(source: LoadedModel, batch: int = 3) -> object:
    return torch.from_numpy(sample_pixels(source.image.size_hw, batch, seed=1))


@pytest.mark.parametrize("quick", [False, True])  # exact GELU, and OpenAI's
@pytest.mark.parametrize("batch", [1, 5])
def test_embed_head_equals_open_clip(tiny_config: Path, quick: bool, batch: int) -> None:
    """Pixels as uint8 with folded normalisation, class token alone in the last block: the same embedding."""
    source = load_model(str(tiny_config), None, activation="quick_gelu" if quick else "gelu")
    tower = VisionTower(source.model.visual, source.image, quick_gelu=quick, flavour="plain")
    pixels = _pixels(source, batch)
    expected = reference.image_embedding(source.model, pixels, source.image)

    assert np.abs(EmbedHead(tower)(pixels).numpy() - expected.numpy()).max() < 2e-6


@pytest.mark.parametrize("depth", [1, 3, 6, 7])  # the last block; some; the default; all of them
def test_dense_head_equals_the_definition(source: LoadedModel, depth: int) -> None:
    """Embedding, both streams and their blend equal the plainly written reference at every depth."""
    tower = VisionTower(source.model.visual, source.image, quick_gelu=False, flavour="plain")
    pixels, alpha = _pixels(source), 0.3
    got = DenseHead(tower, depth)(pixels, torch.tensor(alpha))
    qk, vv = reference.surgery_streams(source.model, pixels, source.image, depth=depth)
    expected = reference.surgery_tokens(source.model, (qk, vv, alpha * qk + (1 - alpha) * vv))

    assert np.abs(got[0].numpy() - reference.image_embedding(source.model, pixels, source.image).numpy()).max() < 2e-6
    for tokens, wanted in zip(got[1:], expected, strict=True):
        assert np.abs(_unit(tokens) - _unit(wanted)).max() < 5e-6


def test_text_tower_equals_open_clip_at_any_padding(source: LoadedModel) -> None:
    """Rows trimmed to the longest text give what open_clip gives at full length."""
    ids = sample_ids(77, 49408, 5, seed=3)
    expected = reference.text_embedding(source.model, torch.from_numpy(ids)).numpy()
    tower = TextTower(source.model, quick_gelu=False, flavour="plain")
    longest = int((ids != 0).sum(axis=1).max())

    for length in (longest, 77):
        assert np.abs(tower(torch.from_numpy(ids[:, :length])).numpy() - expected).max() < 2e-6


@pytest.fixture
def outliers(tiny_config: Path) -> LoadedModel:
    """A tiny model with a few channels as trained CLIPs have them: gains up to 30, shifts up to 10, and a dead one."""
    source = load_model(str(tiny_config), None)
    for name, parameter in source.model.named_parameters():
        if ".ln_1." in name or ".ln_2." in name:
            with torch.no_grad():
                parameter[5:9] = torch.linspace(15, 30, 4) if name.endswith("weight") else torch.linspace(-10, 10, 4)
                parameter[9] = 0.0
    return source


def test_folded_norms_change_nothing_at_outliers(outliers: LoadedModel) -> None:
    """With gains and shifts in the products behind the norms, embedding, streams and texts are as near as before."""
    pixels, ids = _pixels(outliers, 4), torch.from_numpy(sample_ids(77, 49408, 4, seed=3))
    tower = VisionTower(outliers.model.visual, outliers.image, quick_gelu=False, flavour="plain")
    text = TextTower(outliers.model, quick_gelu=False, flavour="plain")
    streams = reference.surgery_streams(outliers.model, pixels, outliers.image, depth=6)
    expected = [
        reference.image_embedding(outliers.model, pixels, outliers.image),
        *reference.surgery_tokens(outliers.model, streams),
        reference.text_embedding(outliers.model, ids),
    ]

    def furthest() -> np.ndarray:
        dense = DenseHead(tower, 6)(pixels, torch.tensor(0.5))
        got = (dense[0], dense[1], dense[2], text(ids))
        embedding = np.abs(EmbedHead(tower)(pixels).numpy() - expected[0].numpy()).max()
        return np.array([embedding, *(np.abs(_unit(a) - _unit(b)).max() for a, b in zip(got, expected, strict=True))])

    before, state = furthest(), hash_state(outliers.model.state_dict())
    for block in (*tower.blocks, *text.blocks):
        block.fold_norms()
    after = furthest()

    for block in (*tower.blocks, *text.blocks):
        for norm in (block.norm_1, block.norm_2):
            assert (norm.weight == 1).all()
            assert (norm.bias == 0).all()
    assert after.max() < 2e-5
    assert (after < 3 * before + 1e-6).all()
    assert hash_state(outliers.model.state_dict()) == state  # the model itself is as it was


def test_repeated_table_rows_are_stored_once(source: LoadedModel) -> None:
    """A table in which most words share one row becomes a small table and a map, with the same result."""
    with torch.no_grad():
        source.model.token_embedding.weight[100:49_000] = source.model.token_embedding.weight[99]
    tower = TextTower(source.model, quick_gelu=False, flavour="plain")
    ids = torch.from_numpy(sample_ids(77, 49408, 4, seed=5))

    assert len(tower.table) == 49408 - 48_900
    assert np.abs(tower(ids).numpy() - reference.text_embedding(source.model, ids).numpy()).max() < 2e-6


def test_seeded_weights_are_seeded(tiny_config: Path) -> None:
    """The same seed gives the same weights, another seed others."""
    hashes = [load_model(str(tiny_config), None, seed=seed).weights_sha256 for seed in (0, 0, 1)]

    assert hashes[0] == hashes[1] != hashes[2]


def test_every_tensor_of_the_seeded_weights_matters(tiny_config: Path) -> None:
    """Setting any parameter to its neutral value (bias 0, gamma 1, weight 0) moves some output by over 1e-4."""
    source = load_model(str(tiny_config), None)
    pixels, ids = _pixels(source, 2), torch.from_numpy(sample_ids(77, 49408, 2, seed=3))

    def outputs() -> np.ndarray:
        image = reference.image_embedding(source.model, pixels, source.image)
        return np.concatenate([image.numpy(), reference.text_embedding(source.model, ids).numpy()], axis=1)

    base = outputs()
    silent = []
    for name, parameter in source.model.named_parameters():
        if name == "logit_scale":
            continue
        kept = parameter.detach().clone()
        neutral = 1.0 if (".ln_" in name or "ln_final" in name) and name.endswith("weight") else 0.0
        with torch.no_grad():
            parameter.fill_(neutral)
            moved = np.abs(outputs() - base).max()
            parameter.copy_(kept)
        if not moved > 1e-4:
            silent.append(name)

    assert silent == []


def _swap_gelu(tower: VisionTower) -> None:
    for block in tower.blocks:
        block.quick_gelu = True


MUTATIONS: list[tuple[str, Callable[[VisionTower], object]]] = [
    ("a dropped bias", lambda t: t.blocks[2].qkv.bias.data.zero_()),
    ("lost gamma", lambda t: t.blocks[1].norm_1.weight.data.fill_(1.0)),
    ("lost beta", lambda t: t.blocks[1].norm_2.bias.data.zero_()),
    ("a wrong eps", lambda t: setattr(t.norm_pre, "eps", 1e-3)),
    (
        "BGR instead of RGB",
        lambda t: t.patch_weight.data.copy_(t.patch_weight.reshape(-1, 3, 64).flip(1).reshape(-1, 64)),
    ),
    ("the other GELU", _swap_gelu),
]


@pytest.mark.parametrize(("what", "mutate"), MUTATIONS, ids=[m[0] for m in MUTATIONS])
def test_a_mutated_tower_is_outside_the_gate(
    tiny_config: Path, what: str, mutate: Callable[[VisionTower], object]
) -> None:
    """Each of these mistakes moves the embedding beyond the gate's limit."""
    source = load_model(str(tiny_config), None)
    tower = VisionTower(source.model.visual, source.image, quick_gelu=False, flavour="plain")
    mutate(tower)
    pixels = _pixels(source)
    expected = reference.image_embedding(source.model, pixels, source.image).numpy()

    assert np.abs(EmbedHead(tower)(pixels).numpy() - expected).max() > 1e-4


def test_the_hash_covers_names_shapes_and_values(source: LoadedModel) -> None:
    """A changed number changes the hash; the storage type does not."""
    state = source.model.state_dict()
    changed = dict(state)
    changed["ln_final.bias"] = state["ln_final.bias"] + 1e-3
    same = {name: value.double() for name, value in state.items()}

    assert hash_state(state) == hash_state(same) != hash_state(changed)
