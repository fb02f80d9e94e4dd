"""One export from start to end: load, wrap, convert, write beside the goal, prove, and only then put in place."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path

import msgspec
import numpy as np
import torch
from torch import nn

from clipfast import __version__
from clipfast.artifact import (
    SCHEMA_VERSION,
    Artifact,
    FileSpec,
    GraphSpec,
    Manifest,
    ModelSpec,
    SourceSpec,
    TokenizerSpec,
)
from clipfast.errors import ArtifactError, DataError
from clipfast.export import parity
from clipfast.export.compact import compact_graph, snap_to_int8
from clipfast.export.convert import to_graph, write_graphs
from clipfast.export.graphs import DenseHead, EmbedHead, TextTower, VisionTower
from clipfast.export.options import ExportOptions
from clipfast.export.tokenizer import open_clip_bpe_path, tokenizer_json
from clipfast.export.weights import LoadedModel, hash_state, load_model
from clipfast.storage import sha256_file

__all__ = ["export"]

_TOKENIZER_FILE = "tokenizer.json"
_INPUTS = {"embed": ("pixels",), "dense": ("pixels", "alpha"), "text": ("ids",)}
_OUTPUTS = {"embed": ("embedding",), "dense": ("embedding", "qk", "vv", "mixed"), "text": ("embedding",)}
_STEPS = 6


def export(options: ExportOptions, out: Path, *, progress: Callable[[str, int, int], None] | None = None) -> Artifact:
    """Build an artifact folder and prove it.

    Args:
        options: What to export.
        out: The folder to make; an artifact already there is replaced whole, anything else is left alone.
        progress: Called as `progress(what, done, total)` before each step.

    Returns:
        The artifact, opened, with its parity figures in the manifest.

    Raises:
        ParityError: A graph does not reproduce the reference; `out` is untouched.
        ArtifactError: `out` holds something else, or the checkpoint cannot be used.
        DataError: The model cannot be exported.
    """
    _require_replaceable(out)
    tell = progress or (lambda *_: None)
    tell("loading weights", 0, _STEPS)
    source = load_model(options.architecture, options.pretrained, activation=options.activation, seed=options.seed)
    if options.compact:
        snap_to_int8(source.model)
        source = _rehashed(source)
    layers = len(source.model.visual.transformer.resblocks)
    if options.surgery_depth > layers:
        raise DataError(f"surgery_depth must be at most {layers}, the model's blocks; got {options.surgery_depth}.")
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        graphs = _write_graphs(source, options, folder, tell)
        (folder / _TOKENIZER_FILE).write_bytes(tokenizer_json(open_clip_bpe_path()))
        artifact = Artifact(folder, _manifest(source, options, graphs, folder))
        tell("proving parity", 5, _STEPS)
        rows = parity.measure(artifact, source, seed=options.seed)
        parity.require(rows)
        artifact.manifest = msgspec.structs.replace(artifact.manifest, parity=rows)
        artifact.write_manifest()
        _put_in_place(folder, out)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    tell("done", _STEPS, _STEPS)
    return Artifact.open(out)


def _write_graphs(
    source: LoadedModel, options: ExportOptions, folder: Path, tell: Callable[[str, int, int], None]
) -> dict[str, GraphSpec]:
    quick = source.activation == "quick_gelu"
    tower = VisionTower(source.model.visual, source.image, quick_gelu=quick)
    h, w = source.image.size_hw
    pixels = torch.zeros(2, h, w, 3, dtype=torch.uint8)
    ids = torch.zeros(2, 5, dtype=torch.int64)
    modules: dict[str, tuple[nn.Module, list[torch.Tensor], list[dict[int, str] | None]]] = {
        "embed": (EmbedHead(tower), [pixels], [{0: "n"}]),
        "dense": (DenseHead(tower, options.surgery_depth), [pixels, torch.tensor(0.5)], [{0: "n"}, None]),
        "text": (TextTower(source.model, quick_gelu=quick), [ids], [{0: "t", 1: "l"}]),
    }
    models = {}
    for step, (name, (module, inputs, dynamic)) in enumerate(modules.items(), start=1):
        tell(f"converting {name}", step, _STEPS)
        models[name] = to_graph(module, inputs, names=(_INPUTS[name], _OUTPUTS[name]), dynamic=dynamic)
        if options.compact:
            compact_graph(models[name])
    tell("writing", 4, _STEPS)
    vision = {name: model for name, model in models.items() if name != "text"}
    files = write_graphs(vision, folder, "vision.weights") | write_graphs(
        {"text": models["text"]}, folder, "text.weights"
    )
    return {name: GraphSpec(files=files[name], inputs=_INPUTS[name], outputs=_OUTPUTS[name]) for name in modules}


def _manifest(source: LoadedModel, options: ExportOptions, graphs: Mapping[str, GraphSpec], folder: Path) -> Manifest:
    model, visual = source.model, source.model.visual
    blocks = visual.transformer.resblocks
    bias = getattr(model, "logit_bias", None)
    return Manifest(
        schema_version=SCHEMA_VERSION,
        name=source.architecture,
        source=SourceSpec(
            architecture=source.architecture, checkpoint=source.checkpoint, weights_sha256=source.weights_sha256
        ),
        model=ModelSpec(
            activation=source.activation,
            embed_dim=visual.proj.shape[1],
            width=visual.proj.shape[0],
            heads=blocks[0].attn.num_heads,
            layers=len(blocks),
            patch_size=visual.patch_size[0],
            grid_hw=tuple(visual.grid_size),
            surgery_depth=options.surgery_depth,
            text_width=model.token_embedding.weight.shape[1],
            text_layers=len(model.transformer.resblocks),
            logit_scale=float(model.logit_scale.detach().exp()),
            logit_bias=None if bias is None else float(bias.detach()),
        ),
        image=source.image,
        tokenizer=TokenizerSpec(
            file=_TOKENIZER_FILE,
            context_length=model.positional_embedding.shape[0],
            vocab_size=model.token_embedding.weight.shape[0],
            known_tokens=_known_tokens(model.token_embedding.weight.detach().numpy()),
        ),
        graphs=dict(graphs),
        files={
            path.name: FileSpec(bytes=path.stat().st_size, sha256=sha256_file(path))
            for path in sorted(folder.iterdir())
        },
        parity=(),
        made_with={"clipfast": __version__}
        | {name: metadata.version(name) for name in ("torch", "open_clip_torch", "onnx-ir", "onnxruntime")},
        notice=options.notice,
    )


def _known_tokens(table: np.ndarray) -> tuple[int, ...] | None:
    """Ids whose row differs from the one shared by unknown words; None where the rows are all different."""
    _, first, count = np.unique(table, axis=0, return_inverse=True, return_counts=True)
    if count.max() * 2 < len(table):
        return None
    return tuple(int(i) for i in np.flatnonzero(first.reshape(-1) != count.argmax()))


def _rehashed(source: LoadedModel) -> LoadedModel:
    from dataclasses import replace

    return replace(source, weights_sha256=hash_state(source.model.state_dict()))


def _require_replaceable(out: Path) -> None:
    if out.exists() and not (out / "manifest.json").is_file() and (not out.is_dir() or any(out.iterdir())):
        raise ArtifactError(f"{out} is there and is no artifact. Name a new folder, or empty this one.")


def _put_in_place(folder: Path, out: Path) -> None:
    """Rename the finished folder over the old one; the old one is gone only when the new one is there."""
    folder.chmod(0o755)  # mkdtemp makes 0700
    if out.exists():
        old = Path(tempfile.mkdtemp(prefix=f".{out.name}.old.", dir=out.parent))
        out.rename(old / "artifact")
        folder.rename(out)
        shutil.rmtree(old)
    else:
        folder.rename(out)
