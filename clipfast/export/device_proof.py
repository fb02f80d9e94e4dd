"""The gate of GPU graphs, as far as a machine without a GPU can hold it.

Every graph is checked as a file (`device_checks`), run by ONNX Runtime on the CPU, and compared with the reference. In
fp16 that run proves validity only, because the CPU computes in fp32; the figures that are recorded come from the same
modules in PyTorch in fp16. `make gpu-check` repeats the gate on the GPU itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from clipfast.artifact import Artifact, Flavour, Manifest, Parity, Peak, Precision, graph_key, head_of
from clipfast.export import parity
from clipfast.export.device_checks import HalfSession, check_graph, largest_value, require_safe
from clipfast.export.device_graphs import DEVICE_FLAVOURS, DeviceFlavour, plan_device_graphs
from clipfast.export.options import ExportOptions
from clipfast.export.plan import plan_graphs
from clipfast.export.weights import LoadedModel
from clipfast.runtime.device_session import fit_feeds
from clipfast.runtime.parity import require
from clipfast.runtime.provider_options import ShapeProfile
from clipfast.runtime.session import Session, available_cores, open_packaged

__all__ = ["device_kinds", "half_peaks", "kind_of", "only_kind", "prove_device_graphs"]

_SAMPLES = 4


def device_kinds(options: ExportOptions) -> tuple[tuple[DeviceFlavour, Precision], ...]:
    """Return which kinds of GPU graphs an export makes: of one provider in every precision, or fp16 of all."""
    flavours = DEVICE_FLAVOURS if options.engine == "none" else (options.engine,)
    precisions = [p for p in options.precisions if p != "int8" and (options.engine != "none" or p != "fp32")]
    return tuple((flavour, precision) for precision in precisions for flavour in flavours)


def kind_of(key: str) -> tuple[Precision, Flavour]:
    """Return precision and flavour of a graph's name.

    >>> kind_of("embed.fp16.cuda"), kind_of("text")
    (('fp16', 'cuda'), ('fp32', 'fused'))
    """
    flavours: tuple[Flavour, ...] = ("fused", *DEVICE_FLAVOURS)
    precisions: tuple[Precision, ...] = ("fp32", "fp16", "int8")
    head = head_of(key)
    return next((p, f) for p in precisions for f in flavours if graph_key(head, p, f) == key)


def only_kind(manifest: Manifest, precision: str, flavour: Flavour) -> Manifest:
    """Return the manifest with the graphs of one kind alone."""
    graphs = {
        key: spec for key, spec in manifest.graphs.items() if (spec.precision, spec.flavour) == (precision, flavour)
    }
    return msgspec.structs.replace(manifest, graphs=graphs)


def half_peaks(manifest: Manifest, source: LoadedModel, options: ExportOptions) -> tuple[Peak, ...]:
    """Return the largest value inside every head on sample inputs, in fp32.

    Raises:
        ParityError: A value is too large for fp16.
    """
    feeds = parity.sample_inputs(manifest, _SAMPLES, alpha=0.5, seed=options.seed)
    plans = plan_graphs(source, options, flavour="plain")
    peaks = tuple(largest_value(plan, feeds, head) for head, plan in plans.items())
    require_safe(peaks)
    return peaks


def prove_device_graphs(
    artifact: Artifact, source: LoadedModel, options: ExportOptions, flavour: DeviceFlavour, precision: Precision
) -> tuple[Parity, ...]:
    """Check, run and compare all graphs of one kind.

    Returns:
        One row per graph, output and batch size.

    Raises:
        ParityError: A graph is not valid, or outside the limits of its precision.
    """
    manifest = only_kind(artifact.manifest, precision, flavour)
    for spec in manifest.graphs.values():
        check_graph(artifact.path / spec.files[0], flavour, ShapeProfile().batches)

    def on_cpu(key: str) -> Session:
        spec = manifest.graphs[key]
        return open_packaged(artifact.verified(spec.files)[0], spec.outputs, threads=available_cores())

    rows = parity.measure(manifest, source, _fitted(manifest, on_cpu), seed=options.seed)
    require(rows, precision)
    if precision == "fp32":
        return rows
    plans = plan_device_graphs(source, options, flavour, precision, attention="plain")
    rows = parity.measure(
        manifest, source, _fitted(manifest, lambda key: HalfSession(plans[head_of(key)])), seed=options.seed
    )
    require(rows, precision)
    return rows


def _fitted(manifest: Manifest, open_graph: Callable[[str], Session]) -> Callable[[str], Session]:
    shapes: dict[str, tuple[int | None, ...]] = {
        "pixels": (None, *manifest.image.size_hw, 3),
        "alpha": (None, 1),
        "ids": (None, manifest.tokenizer.context_length),
    }
    return lambda key: _Fitted(open_graph(key), shapes)


class _Fitted:
    """Takes the inputs of ordinary graphs."""

    def __init__(self, inner: Session, shapes: Mapping[str, tuple[int | None, ...]]) -> None:
        self._inner, self._shapes = inner, shapes

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return every output by name."""
        return self._inner.run(fit_feeds({name: np.asarray(value) for name, value in feeds.items()}, self._shapes))
