"""What every path must show, from PyTorch's tokens and plain NumPy; and mini's weights, read back from its graphs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clipfast.surgery.paths import PATHS
from clipfast.types import Floats
from reference import naive

if TYPE_CHECKING:
    from clipfast.artifact import Manifest
    from clipfast.export.weights import LoadedModel

CLASS_SHARE = -0.3


def path_maps(
    manifest: Manifest, source: LoadedModel, inputs: Mapping[str, NDArray[Any]], rows: Floats, bare: Floats
) -> dict[str, Floats]:
    """Maps (n, t, gh, gw) of every path whose tokens the manifest lists: `rows` with templates, `bare` without."""
    from clipfast.export import parity

    graphs = [graph for graph in ("dense", "tokens") if graph in manifest.graphs]
    known = parity.answers(manifest, source, inputs, graphs)
    embedding = _unit(known["dense"]["embedding"])
    tokens = {
        name: _unit(value)
        for graph in graphs[::-1]
        for name, value in known[graph].items()
        if name not in {"embedding", "sweep", "class_attention"}
    }
    found: dict[str, Floats] = {}
    for path, row in PATHS.items():
        if row.stream not in tokens:
            continue
        scores = tokens[row.stream] @ (bare if row.bare else rows).T
        if row.scoring == "feature surgery":
            scores = naive.feature_surgery(tokens[row.stream], embedding, rows)
        elif row.scoring == "cosine + class":
            scores = scores + CLASS_SHARE * (embedding @ rows.T)[:, None]
        n, _, t = scores.shape
        found[path] = scores.transpose(0, 2, 1).reshape(n, t, *manifest.model.grid_hw)
    return found


def mini_checkpoint(folder: Path, out: Path) -> tuple[Path, Path]:
    """Write mini's weights and config as open_clip has them, from the graphs `tokens` and `text` of its artifact.

    What the graphs fold is unfolded: mean and spread of the pixels, and the class token's place.
    """
    import json

    import torch
    from safetensors.torch import save_file

    from clipfast.artifact import Artifact

    manifest = Artifact.open(folder).manifest
    vision, text = (_constants(folder / f"{graph}.onnx") for graph in ("tokens", "text"))
    size, width = manifest.model.patch_size, manifest.model.width
    mean, std = (np.array(each, np.float64) for each in (manifest.image.mean, manifest.image.std))
    patch = vision["tower.patch_weight"].reshape(size, size, 3, width) * (255 * std)[:, None]
    shift = -(patch * (mean / std)[:, None]).sum(axis=(0, 1, 2))
    vocabulary = manifest.tokenizer.vocab_size  # each different row of the table is stored once
    row_of_token = next(each for each in text.values() if each.shape == (vocabulary,)).astype(np.int64)
    table = next(each for each in text.values() if each.ndim == 2 and len(each) == row_of_token.max() + 1)
    state = {
        "visual.conv1.weight": patch.transpose(3, 2, 0, 1),
        "visual.class_embedding": vision["tower.class_token"].ravel(),
        "visual.positional_embedding": np.concatenate([np.zeros((1, width)), vision["tower.position"][0] - shift]),
        "visual.proj": vision["tower.projection"],
        **_norm("visual.ln_pre", vision, "tower.norm_pre"),
        **_norm("visual.ln_post", vision, "tower.norm_post"),
        **_blocks("visual.transformer", vision, "tower."),
        "token_embedding.weight": table[row_of_token],
        "positional_embedding": text["position"],
        "text_projection": text["projection"],
        "logit_scale": np.array(np.log(manifest.model.logit_scale)),
        **_norm("ln_final", text, "norm_final"),
        **_blocks("transformer", text, ""),
    }
    tensors = {name: torch.from_numpy(np.array(value, np.float32, order="C")) for name, value in state.items()}
    config, weights = out / "mini.json", out / "mini.safetensors"
    config.write_text(json.dumps(json.loads(manifest.source.config)), encoding="utf-8")
    save_file(tensors, weights)
    return config, weights


def _unit(rows: Floats) -> Floats:
    out: Floats = rows / np.linalg.norm(rows, axis=-1, keepdims=True)
    return out


def _constants(graph: Path) -> dict[str, NDArray[Any]]:
    import onnx
    from onnx import numpy_helper

    held = {each.name: numpy_helper.to_array(each) for each in onnx.load(graph).graph.initializer}
    found = {}
    for name, value in held.items():
        stem = name.removesuffix(".stored")
        if not name.endswith(".scale"):
            found[stem] = value * held[f"{stem}.scale"] if stem != name and f"{stem}.scale" in held else value
    return found


def _norm(name: str, held: Mapping[str, NDArray[Any]], stem: str) -> dict[str, NDArray[Any]]:
    return {f"{name}.{part}": held[f"{stem}.{part}"] for part in ("weight", "bias")}


def _blocks(name: str, held: Mapping[str, NDArray[Any]], stem: str) -> dict[str, NDArray[Any]]:
    count = sum(key.startswith(f"{stem}blocks.") and key.endswith(".qkv.bias") for key in held)
    state: dict[str, NDArray[Any]] = {}
    for at in range(count):
        mine, theirs = f"{name}.resblocks.{at}", f"{stem}blocks.{at}"
        state |= _norm(f"{mine}.ln_1", held, f"{theirs}.norm_1") | _norm(f"{mine}.ln_2", held, f"{theirs}.norm_2")
        state[f"{mine}.attn.in_proj_weight"] = held[f"{theirs}.qkv.weight"].T
        state[f"{mine}.attn.in_proj_bias"] = held[f"{theirs}.qkv.bias"]
        for ours, part in (("attn.out_proj", "out"), ("mlp.c_fc", "up"), ("mlp.c_proj", "down")):
            state[f"{mine}.{ours}.weight"] = held[f"{theirs}.{part}.weight"].T
            state[f"{mine}.{ours}.bias"] = held[f"{theirs}.{part}.bias"]
    return state
