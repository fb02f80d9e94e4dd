"""From modules to files: ONNX graphs whose weights lie once in one external file."""

from __future__ import annotations

import hashlib
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import onnx_ir as ir
import torch
from torch import Tensor, nn

__all__ = ["OPSET", "to_graph", "write_graphs"]

OPSET = 20  # the newest in which Gelu and LayerNormalization are single nodes and every runtime of ours reads all ops
_ALIGNMENT = 4096  # pages, so that the file can be mapped
_INLINE_BYTES = 1024  # shapes and scalars stay in the graph, where optimisers look for them


def to_graph(
    module: nn.Module,
    inputs: Sequence[Tensor],
    *,
    names: tuple[Sequence[str], Sequence[str]],
    dynamic: Sequence[dict[int, str] | None],
) -> ir.Model:
    """Convert one module to an ONNX model; weights stay in memory, shared with the module.

    Args:
        module: In evaluation mode.
        inputs: Example tensors; dimensions named in `dynamic` may not be 0 or 1.
        names: Input names and output names.
        dynamic: For each input, which dimensions vary and what they are called.
    """
    dims = {name: torch.export.Dim(name) for shape in dynamic for name in (shape or {}).values()}
    shapes = tuple(None if shape is None else {at: dims[name] for at, name in shape.items()} for shape in dynamic)
    with torch.no_grad(), _quiet():
        program = torch.onnx.export(
            module.eval(),
            tuple(inputs),
            dynamo=True,
            opset_version=OPSET,
            input_names=list(names[0]),
            output_names=list(names[1]),
            dynamic_shapes=shapes,
            verbose=False,
        )
    model: ir.Model = program.model
    model.producer_name, model.producer_version = "clipfast", None
    for node in model.graph.all_nodes():
        node.metadata_props.clear()  # stack traces of this machine's files
    model.graph.metadata_props.clear()
    for value in model.graph.initializers.values():
        value.metadata_props.clear()
    return model


def write_graphs(graphs: Mapping[str, ir.Model], folder: Path, weights_name: str) -> dict[str, tuple[str, ...]]:
    """Write `NAME.onnx` for each graph, with equal large tensors stored once in `weights_name`.

    Returns:
        For each graph the files that opening it reads, the graph itself first.
    """
    at: dict[str, tuple[int, int]] = {}
    with (folder / weights_name).open("wb") as file:
        for graph in graphs.values():
            for value in graph.graph.initializers.values():
                tensor = value.const_value
                if tensor is None or tensor.nbytes < _INLINE_BYTES:
                    continue
                data = tensor.tobytes()
                key = f"{tensor.dtype.name}{tuple(tensor.shape)}{hashlib.sha256(data).hexdigest()}"
                if key not in at:
                    file.write(b"\0" * (-file.tell() % _ALIGNMENT))
                    at[key] = (file.tell(), len(data))
                    file.write(data)
                offset, length = at[key]
                value.const_value = ir.ExternalTensor(
                    weights_name,
                    offset,
                    length,
                    tensor.dtype,
                    shape=ir.Shape(list(tensor.shape.numpy())),
                    name=value.name or "",
                    base_dir=folder,
                )
    for name, graph in graphs.items():
        ir.save(graph, folder / f"{name}.onnx")
    return {name: (f"{name}.onnx", weights_name) for name in graphs}


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter logs and warns about its own internals at every call; none of it is about the user's model."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
