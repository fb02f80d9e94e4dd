"""One export from start to end: load, wrap, convert, write beside the goal, prove, and only then put in place."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from clipfast import __version__
from clipfast.artifact import (
    MANIFEST_NAME,
    SCHEMA_VERSION,
    Artifact,
    FileSpec,
    GraphSpec,
    Manifest,
    ModelSpec,
    Peak,
    SourceSpec,
    TokenizerSpec,
    graph_key,
    head_of,
)
from clipfast.errors import ArtifactError
from clipfast.export import parity
from clipfast.export.attention_bias import fold_attention_bias
from clipfast.export.compact import compact_graph, snap_to_int8
from clipfast.export.convert import to_graph, write_graphs
from clipfast.export.device_graphs import plan_device_graphs
from clipfast.export.device_proof import device_kinds, half_peaks, kind_of, only_kind, prove_device_graphs
from clipfast.export.int8 import add_int8
from clipfast.export.options import ExportOptions
from clipfast.export.plan import GraphPlan, feature_blocks, plan_graphs
from clipfast.export.tokenizer import open_clip_bpe_path, tokenizer_json
from clipfast.export.weight_parts import cut_weights
from clipfast.export.weights import LoadedModel, hash_state, load_model
from clipfast.runtime.parity import require
from clipfast.runtime.session import available_cores, open_session
from clipfast.storage import sha256_file

__all__ = ["export", "load_source"]

_TOKENIZER_FILE = "tokenizer.json"


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
    out = out.resolve()
    if Path.cwd().is_relative_to(out):
        raise ArtifactError(f"{out} is the folder this command runs in; it cannot be replaced. Name a new folder.")
    _require_replaceable(out)
    total = _steps(options)
    tell = progress or (lambda *_: None)
    tell("loading weights", 0, total)
    source = load_source(options)
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        graphs = _convert(source, options, folder, tell)
        artifact = Artifact(folder, _manifest(source, options, graphs))
        tell("proving parity", total - 1, total)
        _prove(artifact, source, options)
        if "int8" in options.precisions:
            add_int8(artifact, calibration=options.calibration, progress=lambda what, *_: tell(what, total - 1, total))
            artifact.write_manifest()
        Artifact.open(folder)  # what no reader would accept must not replace what one does
        _put_in_place(folder, out)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    tell("done", total, total)
    return Artifact.open(out)


def load_source(options: ExportOptions) -> LoadedModel:
    """Load the model that the options name, rounded to int8 levels if they say so."""
    source = load_model(
        options.architecture,
        options.pretrained,
        activation=options.activation,
        image_size=options.image_size,
        seed=options.seed,
    )
    if not options.compact:
        return source
    snap_to_int8(source.model)
    return replace(source, weights_sha256=hash_state(source.model.state_dict()))


def _steps(options: ExportOptions) -> int:
    return len(options.heads) + 3


def _convert(
    source: LoadedModel, options: ExportOptions, folder: Path, tell: Callable[[str, int, int], object]
) -> dict[str, GraphSpec]:
    """Write every graph; what that takes in memory is free again before the proof begins."""
    plans, total = plan_graphs(source, options), _steps(options)
    models = {}
    for step, (name, plan) in enumerate(plans.items(), start=1):
        tell(f"converting {name}", step, total)
        models[name] = _to_graph(plan)
        fold_attention_bias(models[name])
        if options.compact:
            compact_graph(models[name])
        cut_weights(models[name])
    kinds = {"fp32": models}
    for flavour, precision in device_kinds(options):
        tell(f"converting for {flavour} in {precision}", total - 3, total)
        device = plan_device_graphs(source, options, flavour, precision)
        plans |= {graph_key(head, precision, flavour): plan for head, plan in device.items()}
        kinds.setdefault(precision, {}).update(
            (graph_key(head, precision, flavour), _to_graph(plan)) for head, plan in device.items()
        )
    tell("writing", total - 2, total)
    return _write(kinds, plans, folder)


def _to_graph(plan: GraphPlan) -> Any:
    return to_graph(
        plan.module, list(plan.inputs.values()), names=(list(plan.inputs), plan.outputs), dynamic=plan.dynamic
    )


def _write(
    kinds: Mapping[str, Mapping[str, Any]], plans: Mapping[str, GraphPlan], folder: Path
) -> dict[str, GraphSpec]:
    """Write the graphs of each precision, whose towers share one file of weights."""
    files: dict[str, tuple[str, ...]] = {}
    for precision, models in kinds.items():
        ending = "weights" if precision == "fp32" else f"{precision}.weights"
        vision = {name: model for name, model in models.items() if head_of(name) != "text"}
        text = {name: model for name, model in models.items() if head_of(name) == "text"}
        files |= write_graphs(vision, folder, f"vision.{ending}") if vision else {}
        files |= write_graphs(text, folder, f"text.{ending}") if text else {}
    (folder / _TOKENIZER_FILE).write_bytes(tokenizer_json(open_clip_bpe_path()))
    specs = {}
    for name, plan in plans.items():
        precision, flavour = kind_of(name)
        specs[name] = GraphSpec(
            files=files[name], inputs=tuple(plan.inputs), outputs=plan.outputs, precision=precision, flavour=flavour
        )
    return specs


def _prove(artifact: Artifact, source: LoadedModel, options: ExportOptions) -> None:
    """Measure, require, and write the reference, the file list and the manifest."""
    artifact.manifest = _with_files(artifact)
    open_graph = partial(open_session, artifact, provider="cpu", precision="fp32", threads=available_cores())
    ordinary = only_kind(artifact.manifest, "fp32", "fused")
    rows = parity.measure(ordinary, source, open_graph, seed=options.seed)
    require(rows)
    peaks: tuple[Peak, ...] = ()
    if kinds := device_kinds(options):
        peaks = half_peaks(artifact.manifest, source, options) if "fp16" in options.precisions else ()
        for flavour, precision in kinds:
            rows += prove_device_graphs(artifact, source, options, flavour, precision)
    parity.write_reference(ordinary, source, artifact.path, seed=options.seed)
    artifact.manifest = msgspec.structs.replace(_with_files(artifact), parity=rows, peaks=peaks)
    artifact.write_manifest()


def _with_files(artifact: Artifact) -> Manifest:
    files = {
        path.name: FileSpec(bytes=path.stat().st_size, sha256=sha256_file(path))
        for path in sorted(artifact.path.iterdir())
    }
    return msgspec.structs.replace(artifact.manifest, files=files)


def _manifest(source: LoadedModel, options: ExportOptions, graphs: Mapping[str, GraphSpec]) -> Manifest:
    model, visual = source.model, source.model.visual
    blocks = visual.transformer.resblocks
    bias = getattr(model, "logit_bias", None)
    return Manifest(
        schema_version=SCHEMA_VERSION,
        name=source.architecture,
        source=SourceSpec(
            architecture=source.architecture,
            checkpoint=source.checkpoint,
            weights_sha256=source.weights_sha256,
            config=source.config,
            seed=options.seed,
            compact=options.compact,
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
            feature_blocks=feature_blocks(source, options),
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
        files={},
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


def _require_replaceable(out: Path) -> None:
    """Only a new name, an empty folder, or an artifact with nothing else in it may be written over."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    try:
        files = Artifact.open(out).manifest.files
    except (ArtifactError, NotADirectoryError) as error:
        raise ArtifactError(f"{out} is there and is no artifact of this version. Name a new folder.") from error
    if strangers := sorted({path.name for path in out.iterdir()} - {MANIFEST_NAME, *files}):
        raise ArtifactError(f"{out} holds {strangers[0]!r}, which is not of the artifact. Name a new folder.")


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
