"""A linear head behind its image graph: one ONNX file from pixels to class probabilities, proven against NumPy.

Needs onnx_ir and no PyTorch. The file stands alone: the image graph's weights are copied into it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipfast.artifact import Artifact
from clipfast.errors import ArtifactError, MissingExtraError, ParityError, ShapeError
from clipfast.export.sample_inputs import sample_pixels
from clipfast.runtime.session import Session, open_packaged, open_session
from clipfast.storage import atomic_write
from clipfast.types import Floats

__all__ = ["HEAD_OUTPUTS", "MAX_PROBABILITY_DIFF", "ClassifierSpec", "HeadParity", "write_head_graph"]

HEAD_OUTPUTS = ("probabilities", "embedding")
MAX_PROBABILITY_DIFF = 1e-5
_BATCHES = (1, 5)
_MAX_BYTES = (2 << 30) - (16 << 20)  # of one protobuf file, less what the graph itself takes


@dataclass(frozen=True, slots=True, eq=False)
class ClassifierSpec:
    """What is put behind the embedding: softmax(embedding @ weights.T + bias).

    Attributes:
        classes: Names, in the order of the rows.
        weights: (c, e) float32, divided by the temperature.
        bias: (c,) float32, divided by the temperature.
    """

    classes: tuple[str, ...]
    weights: Floats
    bias: Floats


@dataclass(frozen=True, slots=True)
class HeadParity:
    """How far the file's probabilities are from NumPy's.

    Attributes:
        max_abs_diff: Largest difference of a probability, over batches of 1 and 5 seeded pictures.
        images: How many pictures.
    """

    max_abs_diff: float
    images: int


def write_head_graph(artifact: Artifact, head: ClassifierSpec, out: Path, *, threads: int = 1) -> HeadParity:
    """Write the graph, and prove it before it is put in place.

    Input `pixels` is uint8 (b, h, w, 3) as for the image graph; outputs are `probabilities` (b, c) and `embedding`
    (b, e). The classes are in the file's metadata, as JSON under `clipfast.classes`, beside `clipfast.fingerprint`.

    Args:
        artifact: Holds the image graph `embed`.
        head: What to put behind it.
        out: The .onnx file.
        threads: Of the proof.

    Raises:
        ShapeError: The head does not fit the artifact's embeddings.
        ParityError: The file does not give the probabilities that NumPy gives; `out` is untouched.
        ArtifactError: The artifact holds no image graph, or weights too large for one file.
        MissingExtraError: onnx_ir is not installed.
    """
    width, count = artifact.manifest.model.embed_dim, len(head.classes)
    if head.weights.shape != (count, width) or head.bias.shape != (count,):
        raise ShapeError(
            f"a head of {count} classes for {artifact.manifest.name} must have weights ({count}, {width}) and bias "
            f"({count},); got {head.weights.shape} and {head.bias.shape}."
        )
    image_graph = open_session(artifact, "embed", provider="cpu", precision="fp32", threads=threads)
    with atomic_write(out) as temporary:
        _write(artifact, head, temporary)
        found = _measure(artifact, head, image_graph, open_packaged(temporary, HEAD_OUTPUTS, threads=threads))
        if not found.max_abs_diff <= MAX_PROBABILITY_DIFF:  # written so that NaN fails too
            raise ParityError(
                f"{out} gives probabilities {found.max_abs_diff:.2e} away from NumPy's (limit "
                f"{MAX_PROBABILITY_DIFF:.0e}). Do not use it; please report the model and the versions in use.",
                code="head_graph_differs",
                path=out,
                diff=found.max_abs_diff,
            )
    return found


def _write(artifact: Artifact, head: ClassifierSpec, path: Path) -> None:
    ir = _onnx_ir()
    files = artifact.verified(artifact.manifest.graphs["embed"].files)
    if (total := sum(file.stat().st_size for file in files)) > _MAX_BYTES:
        raise ArtifactError(
            f"{artifact.path} has image weights of {total:,} bytes; one ONNX file may hold {_MAX_BYTES:,}. "
            "Use the head in NumPy: LinearHead.load(path).predict_proba(embeddings).",
            code="head_graph_too_large",
            path=artifact.path,
            size=total,
            most=_MAX_BYTES,
        )
    model = ir.load(files[0])
    ir.external_data.load_to_model(model)  # beside the new file there would be no weights
    graph = model.graph
    embedding = next(value for value in graph.outputs if value.name == "embedding")
    weights = _constant(ir, graph, "head.weights", np.ascontiguousarray(head.weights.T))
    bias = _constant(ir, graph, "head.bias", head.bias)
    product = ir.node("MatMul", [embedding, weights])
    total_logits = ir.node("Add", [product.outputs[0], bias])
    probabilities = ir.node("Softmax", [total_logits.outputs[0]], {"axis": -1})
    output = probabilities.outputs[0]
    output.name, output.type = HEAD_OUTPUTS[0], ir.TensorType(ir.DataType.FLOAT)
    output.shape = ir.Shape([embedding.shape[0] if embedding.shape is not None else "batch", len(head.classes)])
    graph.extend([product, total_logits, probabilities])
    graph.outputs[:] = [output, embedding]
    graph.name = "classifier"
    model.metadata_props["clipfast.classes"] = json.dumps(list(head.classes), ensure_ascii=False)
    model.metadata_props["clipfast.fingerprint"] = artifact.manifest.fingerprint()
    ir.save(model, path)


def _constant(ir: Any, graph: Any, name: str, array: NDArray[np.float32]) -> Any:
    value = ir.Value(name=name, const_value=ir.tensor(array, name=name))
    value.type, value.shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape(array.shape)
    graph.register_initializer(value)
    return value


def _measure(artifact: Artifact, head: ClassifierSpec, image_graph: Session, folded: Session) -> HeadParity:
    worst = 0.0
    for batch in _BATCHES:
        pixels = sample_pixels(artifact.manifest.image.size_hw, batch, seed=batch)
        embedding = image_graph.run({"pixels": pixels})["embedding"].astype(np.float64)
        logits = embedding @ head.weights.T.astype(np.float64) + head.bias
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        wanted = shares / shares.sum(axis=1, keepdims=True)
        got = folded.run({"pixels": pixels})["probabilities"]
        worst = float(np.maximum(worst, np.abs(got - wanted).max()))  # keeps NaN
    return HeadParity(worst, sum(_BATCHES))


def _onnx_ir() -> Any:
    try:
        import onnx_ir
    except ImportError as error:
        raise MissingExtraError.of("onnx_ir", extra="cpu,export") from error
    return onnx_ir
