"""What flows into the products of a graph, seen on calibration images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir

from clipfast.runtime.session import available_cores, open_packaged
from clipfast.types import Floats, Pixels

__all__ = ["Observed", "merged", "observe"]

_KEPT_ROWS = 512  # rows of a product's input that are kept to judge ranges by


@dataclass(frozen=True, slots=True, eq=False)
class Observed:
    """The input of one product.

    Attributes:
        low: Smallest value by channel, (c,).
        high: Largest value by channel, (c,).
        rows: Some of the rows, evenly spaced, (m, c).
    """

    low: Floats
    high: Floats
    rows: Floats


def merged(parts: Sequence[Observed]) -> Observed:
    """Put together what several images, or several graphs, showed of one place.

    >>> one, two = (Observed(np.float32([x]), np.float32([x]), np.float32([[x]])) for x in (1, 3))
    >>> merged([one, two]).low, merged([one, two]).rows.shape
    (array([1.], dtype=float32), (2, 1))
    """
    return Observed(
        np.min([part.low for part in parts], axis=0),
        np.max([part.high for part in parts], axis=0),
        np.concatenate([part.rows for part in parts]),
    )


def observe(path: Path, names: Sequence[str], batches: Iterable[Pixels]) -> dict[str, Observed]:
    """Run a vision graph with some of its inner values as outputs, and keep what they were.

    Args:
        path: The ONNX file; a temporary one is written beside it, because both read the same weights.
        names: Of inner fp32 values, (n, tokens, c).
        batches: Pixels, each (n, h, w, 3) uint8.
    """
    model = ir.load(path)
    graph = model.graph
    inner = {value.name: value for node in graph for value in node.outputs}
    outputs = {value.name: value for value in graph.outputs}
    graph.outputs.extend(inner[name] for name in names if name not in outputs)
    temporary = path.with_name(f".{path.name}.observed")
    takes_alpha = any(value.name == "alpha" for value in graph.inputs)
    parts: dict[str, list[Observed]] = {name: [] for name in names}
    groups = list(batches)
    share = max(1, _KEPT_ROWS // max(1, len(groups)))
    try:
        ir.save(model, temporary)
        session = open_packaged(temporary, names, threads=available_cores())
        for pixels in groups:
            feeds = {"pixels": pixels} | ({"alpha": np.asarray(0.5, np.float32)} if takes_alpha else {})
            for name, value in session.run(feeds).items():
                rows = value.reshape(-1, value.shape[-1])
                at = np.linspace(0, len(rows) - 1, min(share, len(rows))).astype(np.int64)
                parts[name].append(Observed(rows.min(axis=0), rows.max(axis=0), rows[at]))
    finally:
        temporary.unlink(missing_ok=True)
    return {name: merged(found) for name, found in parts.items()}
