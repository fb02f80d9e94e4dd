"""What each kind of result directory says about every sample: the table that `load_result` reads.

A kind is a file name and a reader of its JSON. A reader gives the samples (SHA-256 by id, in order) and the figures of
each by system and metric, in the same order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from clipfast.errors import DataError
from clipfast.metrics.image_series import ImageSeries, RatioSeries

__all__ = ["JSON_KINDS", "SampleFigures", "read_figures"]

_ROWS = {"anomaly_grid": "cells", "diagnose": "judged_samples"}  # where the rows are, if not under "samples"
_CELL_FIGURES = ("auroc", "average_precision", "aupr", "f1_max", "aupro")


@dataclass(frozen=True, slots=True, eq=False)
class SampleFigures:
    """Samples of a result and their figures.

    Attributes:
        samples: SHA-256 by id, in order.
        series: By system and metric.
    """

    samples: Mapping[str, str]
    series: Mapping[str, Mapping[str, ImageSeries]]


def _evaluation(content: Mapping[str, Any]) -> SampleFigures:
    """Ranks of each picture, by phase: right at the first k places, and 1 / rank."""
    samples = {str(each["id"]): str(each["sha256"]) for each in content["samples"]}
    series: dict[str, dict[str, ImageSeries]] = {}
    for phase in content["phases"]:
        ranks = np.array(phase["ranks"], np.int64)
        found = ranks > 0
        metrics = {f"top{k}": _mean(found & (ranks <= int(k))) for k in phase["top"]}
        metrics["mrr"] = _mean(np.divide(1.0, ranks, out=np.zeros(len(ranks)), where=found))
        series[str(phase["name"])] = dict(metrics)
    return SampleFigures(samples, series)


def _grid(content: Mapping[str, Any]) -> SampleFigures:
    """Figures of each cell (class, shots, seed), by mode; a metric is named by its task."""
    tested = {each["name"]: _sha256([each["samples"], content["pixels"]]) for each in content["classes"]}
    cells = content["cells"]
    samples = {
        f"{each['class_name']}/{each['shots']} shots/seed {each['seed']}": tested[each["class_name"]] for each in cells
    }
    held: dict[str, dict[str, list[float]]] = {}
    for at, cell in enumerate(cells):
        for task, level in (("cls", cell["image"]), ("seg", cell["pixel"])):
            for mode, figures in (level or {"modes": {}})["modes"].items():
                for name in _CELL_FIGURES:
                    if figures.get(name) is not None:
                        row = held.setdefault(mode, {}).setdefault(f"{task}.{name}", [np.nan] * len(cells))
                        row[at] = float(figures[name])
    return SampleFigures(
        samples, {mode: {name: _mean(row) for name, row in metrics.items()} for mode, metrics in held.items()}
    )


def _diagnosis(content: Mapping[str, Any]) -> SampleFigures:
    """Whether each judged sample is right, and which cause a wrong one has: shares of the judged."""
    rows = content["judged_samples"]
    samples = {str(each["id"]): _sha256(each["label"]) for each in rows}
    metrics: dict[str, ImageSeries] = {"accuracy": _mean([each["cause"] is None for each in rows])}
    for cause in [*(each["cause"] for each in content["triage"]["findings"]), "cannot tell"]:
        metrics[f"share: {cause}"] = _mean([each["cause"] == cause for each in rows])
    return SampleFigures(samples, {"model": metrics})


def _mean(values: Any) -> RatioSeries:
    """One value a sample; NaN does not count."""
    held = np.array(values, np.float64)
    return RatioSeries.of(held, np.arange(len(held)), len(held))


def _sha256(value: Any) -> str:
    return hashlib.sha256(msgspec.json.encode(value)).hexdigest()


JSON_KINDS: Mapping[str, tuple[str, Callable[[Mapping[str, Any]], SampleFigures]]] = {
    "evaluate": ("evaluation_results.json", _evaluation),
    "anomaly_grid": ("grid_results.json", _grid),
    "diagnose": ("diagnosis.json", _diagnosis),
}
"""Kinds whose JSON holds a row for each sample: file, and how it is read."""


def read_figures(kind: str, content: Mapping[str, Any], path: Path) -> SampleFigures:
    """Read the samples and figures of a result of one of `JSON_KINDS`.

    Raises:
        DataError: Something is missing or of another shape, or names occur twice.
    """
    rows: Sequence[Any] = content.get(_ROWS.get(kind, "samples")) or ()
    try:
        found = JSON_KINDS[kind][1](content)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path} must hold a row for each sample: {error!r}. Run the command again.") from error
    counts = {each.images for metrics in found.series.values() for each in metrics.values()}
    if not found.samples or len(found.samples) != len(rows) or counts - {len(rows)}:
        raise DataError(
            f"{path} must hold figures of each of its {len(rows)} samples, once; got {len(found.samples)} names and "
            f"{sorted(counts)} figures. Run the command again."
        )
    return found
