"""A graph as OpenVINO likes it: what is read is the file that ONNX Runtime runs, what is compiled suits OpenVINO."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["fix_rows", "separate_projections", "unpack_weights"]

_MOVES = ("Reshape", "Transpose")  # between a projection and its attention: they move values and change none


def fix_rows(model: Any, rows: int) -> None:
    """Say how many rows every input has; texts keep any length."""
    shapes = {}
    for value in model.inputs:
        shape = value.get_partial_shape()
        if len(shape):
            shape[0] = rows
        shapes[value.get_any_name()] = shape
    model.reshape(shapes)


def unpack_weights(model: Any) -> None:
    """Multiply weights in compact storage, int8 levels and scales, out now.

    OpenVINO would compute products of a single row with them in int8: an embedding was off by .016.
    """
    from openvino import passes

    manager = passes.Manager()
    manager.register_pass(passes.ConstantFolding())
    manager.run_passes(model)


def separate_projections(model: Any) -> int:
    """Give queries, keys and values a product and a bias each, in place; return how many products were divided.

    ONNX Runtime is quickest with one product, a Split, and biases that its attention adds. OpenVINO copies what it
    splits and adds biases in three passes of their own, but adds them within a product for nothing: ViT-B/32 takes
    6 % less time. Every sum has the same terms in the same order, so fp32 and int8 answers stay the same bit for bit.
    """
    divided = 0
    for split in [node for node in model.get_ordered_ops() if node.get_type_name() == "Split"]:
        divided += _separate(split)
    if divided:
        model.validate_nodes_and_infer_types()
    return divided


def _separate(split: Any) -> bool:
    """Divide the product before a Split, if it is a projection whose only reader is the Split."""
    from openvino import opset13

    source, bias = split.input_value(0).get_node(), None
    if source.get_type_name() == "Add" and _only_reader(source):
        bias, source = source.input_value(1).get_node(), source.input_value(0).get_node()
    if source.get_type_name() != "MatMul" or not _only_reader(source) or not _splits_columns(split):
        return False
    parts = len(split.outputs())
    weights = _columns(source.input_value(1).get_node(), parts)
    if weights is None or source.get_attributes()["transpose_b"]:
        return False
    later: list[list[Any]] = [[] for _ in range(parts)]  # Adds behind the Split
    if bias is not None:
        biases = _columns(bias, parts)
    else:
        later = [_sums_behind(output) for output in split.outputs()]
        biases = [_common_bias(sums) for sums in later] if all(later) else None
    if biases is None or any(one is None for one in biases):
        return False
    for output, weight, one in zip(split.outputs(), weights, biases, strict=True):
        product = opset13.matmul(source.input_value(0), weight, False, False)
        _redirect(output, opset13.add(product, one).output(0))
    for add in (add for sums in later for add in sums):
        _redirect(add.output(0), add.input_value(0))
    return True


def _splits_columns(split: Any) -> bool:
    axis, rank = _constant(split.input_value(1).get_node()), split.get_output_partial_shape(0).rank
    return axis is not None and rank.is_static and int(axis) in (-1, rank.get_length() - 1)


def _only_reader(node: Any) -> bool:
    return len(node.output(0).get_target_inputs()) == 1


def _redirect(old: Any, new: Any) -> None:
    for reader in list(old.get_target_inputs()):
        reader.replace_source_output(new)


def _sums_behind(output: Any) -> list[Any]:
    """Return the Adds that every path of this output comes to by moves alone; none if one path does otherwise."""
    found = []
    for reader in output.get_target_inputs():
        node = reader.get_node()
        if node.get_type_name() == "Add":
            found.append(node)
            continue
        more = _sums_behind(node.output(0)) if node.get_type_name() in _MOVES else []
        if not more:
            return []
        found += more
    return found


def _common_bias(sums: list[Any]) -> Any | None:
    """Return the constant that all of these sums add, as a row; None if they do not agree."""
    from openvino import opset13

    rows = [_constant(add.input_value(1).get_node()) for add in sums]
    first = rows[0]
    if first is None or any(row is None or not np.array_equal(row, first) for row in rows):
        return None
    return opset13.constant(np.ascontiguousarray(first.reshape(-1)))


def _constant(node: Any) -> NDArray[Any] | None:
    if node.get_type_name() != "Constant":
        return None
    data: NDArray[Any] = node.get_data()
    return data


def _columns(node: Any, parts: int) -> list[Any] | None:
    """Return the columns of a constant in equal parts, also of int8 levels with their scales; None if it is neither."""
    from openvino import opset13

    data = _constant(node)
    if data is not None:
        if data.ndim == 0 or data.shape[-1] == 1:  # one scale or zero point for all columns
            return [node] * parts
        if data.shape[-1] % parts:
            return None
        return [opset13.constant(np.ascontiguousarray(one)) for one in np.split(data, parts, axis=-1)]
    inputs = [value.get_node() for value in node.input_values()]
    kind = node.get_type_name()
    if kind == "Reshape" and (whole := _constant(inputs[0])) is not None and node.get_output_partial_shape(0).is_static:
        return _columns(opset13.constant(np.ascontiguousarray(whole.reshape(list(node.get_output_shape(0))))), parts)
    if kind == "Convert":
        levels = _columns(inputs[0], parts)
        kept = node.get_output_element_type(0)
        return None if levels is None else [opset13.convert(one, kept.to_string()) for one in levels]
    if kind in ("Multiply", "Subtract"):
        left, right = (_columns(one, parts) for one in inputs)
        make = opset13.multiply if kind == "Multiply" else opset13.subtract
        return None if left is None or right is None else [make(a, b) for a, b in zip(left, right, strict=True)]
    return None
