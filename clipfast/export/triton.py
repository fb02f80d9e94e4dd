"""`--triton DIR`: a model repository for NVIDIA's Triton Inference Server.

One model per head, named `MODEL_HEAD`, of the artifact's GPU graphs:

    DIR/ViT-B-32_embed/config.pbtxt
    DIR/ViT-B-32_embed/1/model.onnx/model.onnx      (onnxruntime back end: a folder, for the weights are a file)
    DIR/ViT-B-32_embed/1/model.onnx/vision.fp16.weights
    DIR/ViT-B-32_embed/1/model.plan                 (tensorrt back end: the engine that was built on this machine, and
                                                    ENGINE.txt, which says what server can load it)

Requests of several clients are put into one batch by the server (dynamic batching), and each model is warmed up before
it is called ready. Clients send uint8 pixels of the model's size and token ids: scaling on the client sends 150 KB
instead of a photo's megabytes, and stays exactly CLIP's (`examples/triton_client.py`).

With a bank, `MODEL_search` is an ensemble: pixels go through `MODEL_embed` and its embedding through `MODEL_rows`, a
product with the bank's vectors and the k largest, so that only ids and scores travel back.

No server has read such a repository yet; `triton_config` says what was checked.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from clipfast.artifact import Artifact, GraphSpec, graph_key
from clipfast.errors import ArtifactError, ShapeError
from clipfast.export.triton_config import TritonOptions, config_text, pbtxt
from clipfast.runtime.engine_cache import recorded_ingredients
from clipfast.types import Floats

__all__ = ["REPOSITORY_MARK", "write_repository"]

REPOSITORY_MARK = "clipfast.txt"
_UNIT = 1e-3


def write_repository(
    artifact: Artifact,
    folder: Path,
    options: TritonOptions,
    *,
    bank: Floats | None = None,
    engines: Mapping[str, Path] | None = None,
) -> tuple[str, ...]:
    """Write a model repository whole, replacing one that this function wrote before.

    Args:
        artifact: With GPU graphs of the back end.
        folder: The repository.
        options: How it is served.
        bank: Unit rows to search, (m, e) float32; None writes no search.
        engines: For the TensorRT back end, each head's folder of the engine cache (`EngineCache.find(...).parent`).
            Heads without one get everything but `model.plan`.

    Returns:
        Names of the models that lack their engine, to be said to the user.

    Raises:
        ArtifactError: The artifact lacks the graphs, or `folder` holds something else.
        ShapeError: The bank's rows are not unit rows of the model.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / REPOSITORY_MARK).is_file():
        raise ArtifactError(f"{folder} holds something that is no repository of clipfast. Name a new folder.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        lacking = [
            name
            for head in artifact.manifest.heads
            if (name := _write_model(artifact, head, temporary, options, (engines or {}).get(head)))
        ]
        if bank is not None:
            _write_search(artifact, temporary, options, bank)
        (temporary / REPOSITORY_MARK).write_text(f"{artifact.manifest.fingerprint()}\n", encoding="utf-8")
        temporary.chmod(0o755)
        if folder.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.old.", dir=folder.parent))
            folder.rename(old / "repository")
            temporary.rename(folder)
            shutil.rmtree(old)
        else:
            temporary.rename(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return tuple(lacking)


def _write_model(
    artifact: Artifact, head: str, folder: Path, options: TritonOptions, engine: Path | None
) -> str | None:
    """Write one head's model; return its name if its engine is missing."""
    key = graph_key(head, options.precision, "tensorrt" if options.backend == "tensorrt" else "cuda")
    if key not in artifact.manifest.graphs:
        raise ArtifactError(
            f"{artifact.path} holds no {key}; it holds {', '.join(artifact.manifest.graphs)}. Export it with "
            f"--precision {options.precision} --engine {'tensorrt' if options.backend == 'tensorrt' else 'cuda'}."
        )
    spec = artifact.manifest.graphs[key]
    name = _name(artifact, options, head)
    options = options.of_head(head)
    version = folder / name / "1"
    version.mkdir(parents=True)
    paths = artifact.verified(spec.files)
    config = config_text(name, ir.load(paths[0]), options)
    (folder / name / "config.pbtxt").write_text(config, encoding="utf-8")
    if options.backend == "tensorrt":
        plans = sorted(engine.glob("*.engine")) if engine is not None else []
        if engine is not None and len(plans) == 1:
            shutil.copyfile(plans[0], version / "model.plan")
            _write_origin(version, engine)
            return None
        _write_build_line(version, paths[0], artifact, spec, options)
        return name
    (version / "model.onnx").mkdir()
    for path, target in zip(paths, ("model.onnx", *spec.files[1:]), strict=True):
        _link(path, version / "model.onnx" / target)
    return None


def _name(artifact: Artifact, options: TritonOptions, part: str) -> str:
    return f"{options.name or artifact.manifest.name}_{part}"


def _write_origin(version: Path, engine: Path) -> None:
    """Say which server can load the plan: TensorRT refuses one of another version, and one of another GPU."""
    made = recorded_ingredients(engine)
    if made is None:
        return
    (version / "ENGINE.txt").write_text(
        f"model.plan was built by TensorRT {made.tensorrt} on {made.gpu} (compute capability {made.capability}), "
        f"driver {made.driver}.\nThe server must have the same TensorRT and such a GPU; elsewhere build it again with "
        "trtexec.\n",
        encoding="utf-8",
    )


def _write_build_line(version: Path, graph: Path, artifact: Artifact, spec: GraphSpec, options: TritonOptions) -> None:
    """Say how the engine is made on the machine that has the GPU."""
    usual = min(options.preferred, default=1)
    shapes = {
        word: ",".join(f"{name}:{'x'.join(map(str, (batch, *_rest(artifact)[name])))}" for name in spec.inputs)
        for word, batch in (("min", 1), ("opt", usual), ("max", options.max_batch))
    }
    lines = [f"--{word}Shapes={text}" for word, text in shapes.items()]
    line = " ".join(["trtexec", f"--onnx=ARTIFACT/{graph.name}", "--stronglyTyped", *lines, "--saveEngine=model.plan"])
    (version / "BUILD.txt").write_text(
        "model.plan is missing: no GPU was at hand. On the machine that serves, with the artifact there and the "
        f"trtexec of the server's own TensorRT (version 11 needs no --stronglyTyped):\n\n{line}\n",
        encoding="utf-8",
    )


def _rest(artifact: Artifact) -> dict[str, tuple[int, ...]]:
    manifest = artifact.manifest
    return {"pixels": (*manifest.image.size_hw, 3), "alpha": (1,), "ids": (manifest.tokenizer.context_length,)}


def _link(source: Path, target: Path) -> None:
    """One copy on disk where the file system allows; a symbolic link would be refused by ONNX Runtime."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _write_search(artifact: Artifact, folder: Path, options: TritonOptions, bank: Floats) -> None:
    """Write the bank as a model, and the ensemble of embed and bank."""
    manifest = artifact.manifest
    rows = _checked_rows(bank, manifest.model.embed_dim)
    k = min(options.topk, len(rows))
    embed, search, table = (_name(artifact, options, part) for part in ("embed", "search", "rows"))
    model = _rows_graph(rows, k)
    version = folder / table / "1"
    version.mkdir(parents=True)
    ir.save(model, version / "model.onnx")
    text = config_text(table, model, TritonOptions(max_batch=options.max_batch, preferred=options.preferred,
                                                   delay_us=options.delay_us, device=options.device))  # fmt: skip
    (folder / table / "config.pbtxt").write_text(text, encoding="utf-8")
    (folder / search / "1").mkdir(parents=True)
    config = {
        "name": search,
        "platform": "ensemble",
        "max_batch_size": options.max_batch,
        "input": [{"name": "pixels", "data_type": "TYPE_UINT8", "dims": [*manifest.image.size_hw, 3]}],
        "output": [
            {"name": "scores", "data_type": "TYPE_FP32", "dims": [k]},
            {"name": "rows", "data_type": "TYPE_INT64", "dims": [k]},
        ],
        "ensemble_scheduling": {
            "step": [
                _step(embed, {"pixels": "pixels"}, {"embedding": "vector"}),
                _step(table, {"embedding": "vector"}, {"scores": "scores", "rows": "rows"}),
            ]
        },
    }
    (folder / search / "config.pbtxt").write_text(pbtxt(config), encoding="utf-8")


def _checked_rows(bank: Floats, dim: int) -> Floats:
    if bank.ndim != 2 or not len(bank) or bank.shape[1] != dim or bank.dtype != np.float32:
        raise ShapeError(f"bank must be float32 rows (m, {dim}); got {bank.shape} {bank.dtype}.")
    if not np.all(np.abs(np.linalg.norm(bank, axis=1) - 1) < _UNIT):
        raise ShapeError("bank must have unit rows. Pass x / np.linalg.norm(x, axis=1, keepdims=True).")
    return bank


def _step(model: str, inputs: Mapping[str, str], outputs: Mapping[str, str]) -> dict[str, Any]:
    return {
        "model_name": model,
        "model_version": -1,
        "input_map": [{"key": key, "value": value} for key, value in inputs.items()],
        "output_map": [{"key": key, "value": value} for key, value in outputs.items()],
    }


def _rows_graph(rows: Floats, k: int) -> ir.Model:
    """`TopK(embedding @ rows^T, k)`: the k best rows of a bank, by inner product; ties in the engine's own order."""
    dim = rows.shape[1]
    query = ir.Value(name="embedding", shape=ir.Shape(["n", dim]), type=ir.TensorType(ir.DataType.FLOAT))
    table = ir.Value(name="bank", const_value=ir.tensor(rows.T.copy(), name="bank"))
    count = ir.Value(name="k", const_value=ir.tensor([k], dtype=ir.DataType.INT64, name="k"))
    for value, dtype, shape in ((table, ir.DataType.FLOAT, [dim, len(rows)]), (count, ir.DataType.INT64, [1])):
        value.type, value.shape = ir.TensorType(dtype), ir.Shape(shape)
    product = ir.node("MatMul", [query, table])
    product.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
    top = ir.node("TopK", [product.outputs[0], count], {"axis": -1, "largest": 1, "sorted": 1}, num_outputs=2)
    for value, name, dtype in zip(top.outputs, ("scores", "rows"), (ir.DataType.FLOAT, ir.DataType.INT64), strict=True):
        value.name, value.type, value.shape = name, ir.TensorType(dtype), ir.Shape(["n", k])
    graph = ir.Graph(
        [query], top.outputs, nodes=[product, top], initializers=[table, count], opset_imports={"": 20}, name="rows"
    )
    return ir.Model(graph, ir_version=10, producer_name="clipfast")
