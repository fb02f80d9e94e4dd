"""Two result directories on the same samples: what differs, by how much, and whether by chance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipfast.errors import DataError, UndefinedMetricError
from clipfast.metrics.image_series import image_weights, series_difference
from clipfast.metrics.multiple import holm_adjusted
from clipfast.report.results import ResultDirectory
from clipfast.report.tables import markdown_table, number, with_ends

__all__ = ["ComparedMetric", "ComparisonOfRuns", "compare_results"]

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class ComparedMetric:
    """One figure of both runs.

    Attributes:
        system: What was measured, such as a path; two names where the runs were asked to be compared across.
        metric: Such as "map@0.5".
        first: Of the first directory; None where it does not exist.
        second: Of the second.
        difference: Second less first.
        low: Lower end of its interval.
        high: Upper end.
        p_value: Of the paired bootstrap over samples.
        p_holm: Adjusted over the systems of the same metric.
    """

    system: str
    metric: str
    first: float | None
    second: float | None
    difference: float | None
    low: float | None
    high: float | None
    p_value: float | None
    p_holm: float | None


@dataclass(frozen=True, slots=True)
class ComparisonOfRuns:
    """Two runs on the same samples.

    Attributes:
        kind: Of both.
        samples: How many.
        rows: Every figure that both have.
        only_first: Figures that only the first has, `system/metric`.
        only_second: Figures that only the second has.
        settings: Settings that differ: name ("maps.geometry"), first, second.
    """

    kind: str
    samples: int
    rows: tuple[ComparedMetric, ...]
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    settings: tuple[tuple[str, Any, Any], ...]

    def markdown(self) -> str:
        """Return the table of differences."""
        return markdown_table(
            ["system", "metric", "first", "second", "second - first", "p", "p (Holm)"],
            [
                [
                    row.system, row.metric, number(row.first), number(row.second),
                    with_ends(row.difference, row.low, row.high), number(row.p_value), number(row.p_holm),
                ]
                for row in self.rows
            ],
            left=2,
        )  # fmt: skip


def compare_results(
    first: ResultDirectory,
    second: ResultDirectory,
    *,
    systems: tuple[str, str] | None = None,
    metrics: Sequence[str] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> ComparisonOfRuns:
    """Compare every figure that both runs have, on the same resampled samples; patches of one photo go together.

    Args:
        first: One run.
        second: Another, on the same samples.
        systems: One system of each, such as ("standard", "vv_vv"); None compares those of equal names.
        metrics: Only these; None takes all.
        resamples: Of the bootstrap, at least 100.
        seed: Of the bootstrap.

    Raises:
        DataError: Kinds or samples differ, a system or metric is unknown, or nothing is common.
    """
    _require_same(first, second)
    pairs = _pairs(first, second, systems)
    owners = _owners(first)
    photos = int(owners.max(initial=-1)) + 1
    weights = image_weights(photos, resamples, seed)[:, owners] if photos > 1 else None
    least = 2.0 ** max(1 - photos, -1000)  # with so many photos no exact test could give less
    rows: list[ComparedMetric] = []
    for one, other in pairs:
        name = one if one == other else f"{one} / {other}"
        shared = [metric for metric in first.series[one] if metric in second.series[other]]
        rows += [
            _compared(name, metric, (first.series[one][metric], second.series[other][metric]), weights, least)
            for metric in shared
            if metrics is None or metric in metrics
        ]
    found = {row.metric for row in rows}
    if not rows or (metrics is not None and set(metrics) - found):
        strangers = "" if metrics is None else f"; got {', '.join(name for name in metrics if name not in found)}"
        known = sorted({metric for each in first.series.values() for metric in each})
        raise DataError(f"the two must share a metric; metrics of {first.folder} are {', '.join(known)}{strangers}.")
    names = [
        {f"{system}/{metric}" for system, each in run.series.items() for metric in each} for run in (first, second)
    ]
    return ComparisonOfRuns(
        first.kind,
        len(first.samples),
        tuple(_with_holm(rows)),
        tuple(sorted(names[0] - names[1])),
        tuple(sorted(names[1] - names[0])),
        _different_settings(first, second),
    )


def _require_same(first: ResultDirectory, second: ResultDirectory) -> None:
    if first.kind != second.kind:
        raise DataError(f"both must be of one kind; {first.folder} is {first.kind}, {second.folder} is {second.kind}.")
    if list(first.samples.items()) == list(second.samples.items()):
        return
    missing = [name for name in first.samples if name not in second.samples]
    further = [name for name in second.samples if name not in first.samples]
    changed = [name for name, sha in first.samples.items() if second.samples.get(name, sha) != sha]
    said = [
        f"{len(names)} {what} ({', '.join(names[:_SHOWN])}{', ...' if len(names) > _SHOWN else ''})"
        for what, names in (("only in the first", missing), ("only in the second", further), ("changed", changed))
        if names
    ]
    raise DataError(
        f"paired tests need the same samples in both; {'; '.join(said) or 'their order differs'}. "
        "Evaluate both on one split, with the same classes and limit."
    )


def _owners(run: ResultDirectory) -> NDArray[np.int64]:
    """Number the photo of each sample, (n,), where an evaluation says it; else each sample is its own."""
    listed = run.content["samples"] if run.kind == "evaluate" else [{}] * len(run.samples)
    said = [sample.get("photo") for sample in listed]
    numbers: dict[str, int] = {}
    keys = [f"sample {at}" if photo is None else f"photo {photo}" for at, photo in enumerate(said)]
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)


def _pairs(first: ResultDirectory, second: ResultDirectory, systems: tuple[str, str] | None) -> list[tuple[str, str]]:
    if systems is None:
        common = [(name, name) for name in first.series if name in second.series]
        if not common:
            raise DataError(
                f"the two must share a system; {first.folder} has {', '.join(first.series)}, {second.folder} has "
                f"{', '.join(second.series)}. Name one of each."
            )
        return common
    for name, run in zip(systems, (first, second), strict=True):
        if name not in run.series:
            raise DataError(f"{run.folder} has {', '.join(run.series)}; got {name!r}.")
    return [systems]


def _compared(name: str, metric: str, pair: tuple[Any, Any], weights: Any, least: float) -> ComparedMetric:
    values = [float(each.at(np.ones((1, each.images)))[0]) for each in pair]
    one, other = (None if np.isnan(value) else value for value in values)
    if weights is None or one is None or other is None:
        difference = None if one is None or other is None else other - one
        return ComparedMetric(name, metric, one, other, difference, None, None, None, None)
    try:
        found = series_difference(pair[1], pair[0], weights)
    except UndefinedMetricError:
        return ComparedMetric(name, metric, one, other, other - one, None, None, None, None)
    ends = found.interval
    low, high = (ends.low, ends.high) if ends is not None else (None, None)
    return ComparedMetric(name, metric, one, other, found.difference, low, high, max(found.p_value, least), None)


def _with_holm(rows: list[ComparedMetric]) -> list[ComparedMetric]:
    """Adjust p-values over the systems of each metric."""
    families: dict[str, list[int]] = {}
    for at, row in enumerate(rows):
        if row.p_value is not None:
            families.setdefault(row.metric, []).append(at)
    adjusted = list(rows)
    for members in families.values():
        values = holm_adjusted(np.array([rows[at].p_value for at in members], np.float64)).tolist()
        for at, value in zip(members, values, strict=True):
            adjusted[at] = replace(rows[at], p_holm=value)
    return adjusted


def _different_settings(first: ResultDirectory, second: ResultDirectory) -> tuple[tuple[str, Any, Any], ...]:
    one, other = (dict(_leaves(run.content.get("settings") or {})) for run in (first, second))
    names = sorted(set(one) | set(other))
    return tuple((name, one.get(name), other.get(name)) for name in names if one.get(name) != other.get(name))


def _leaves(settings: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each setting by its name with dots: of nested ones, only what differs is worth a line."""
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value
