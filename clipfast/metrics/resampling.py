"""Resamples of whole images, and statistics of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from clipfast.errors import ShapeError, UndefinedMetricError
from clipfast.types import Ints

__all__ = [
    "Resampler",
    "Samples",
    "Statistic",
    "bootstrap_ends",
    "checked_samples",
    "evaluate",
    "require_resamples",
    "seeded",
]

Doubles = NDArray[np.float64]
Samples: TypeAlias = Sequence[NDArray[Any]]
Statistic: TypeAlias = Callable[..., Any]

# Elements of resampled arrays held at once by a statistic that takes `axis`.
_CHUNK = 4_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Resampler:
    """Draws row numbers: one array for all samples where they are paired, else one for each.

    Attributes:
        groups: Rows that are exchanged with each other only, by part; a part is resampled by itself.
    """

    groups: list[list[Ints]]

    @classmethod
    def of(cls, samples: Samples, *, paired: bool, strata: NDArray[Any] | None) -> Resampler:
        """Plan how to resample; strata only where samples are paired."""
        if strata is None:
            counts = [len(samples[0])] if paired else [len(sample) for sample in samples]
            return cls([[np.arange(count)] for count in counts])
        names = np.asarray(strata)
        if names.dtype.kind not in "biuU":  # NaN would be a group that holds nobody
            raise ShapeError(f"strata must be bool, integers or strings; got {names.dtype}. Number the groups.")
        if not paired or names.shape != (len(samples[0]),):
            raise ShapeError(
                f"strata must be ({len(samples[0])},), one an image, with paired=True; "
                f"got {names.shape} with paired={paired}."
            )
        return cls([[np.flatnonzero(names == name) for name in np.unique(names)]])

    @property
    def parts(self) -> int:
        """How many index arrays a draw has."""
        return len(self.groups)

    def all_rows(self) -> list[Ints]:
        """Return every row once."""
        return [np.arange(sum(len(rows) for rows in groups)) for groups in self.groups]

    def draws(self, seed: int, count: int) -> Iterator[list[Ints]]:
        """Give `count` resamples, the same for the same seed."""
        rng = seeded(seed)
        for _ in range(count):
            yield [
                np.concatenate([rows[rng.integers(0, len(rows), len(rows))] for rows in groups])
                for groups in self.groups
            ]

    def without_each(self, part: int) -> Iterator[list[Ints]]:
        """Return all rows but one of a part, for each of its rows: n times n - 1, so BCa of many images is slow."""
        full = self.all_rows()
        for row in range(len(full[part])):
            yield [np.delete(rows, row) if at == part else rows for at, rows in enumerate(full)]


def seeded(seed: int) -> np.random.Generator:
    """Return the generator of a seed.

    Raises:
        ShapeError: If the seed is not an integer, or negative: without one, nothing could be repeated.
    """
    if not isinstance(seed, int | np.integer) or isinstance(seed, bool) or seed < 0:
        raise ShapeError(f"seed must be an integer from 0; got {seed!r}.")
    return np.random.default_rng(int(seed))


def require_resamples(resamples: int, least: int, usual: int) -> None:
    """Refuse what is no number of resamples."""
    if not isinstance(resamples, int | np.integer) or resamples < least:
        raise ShapeError(f"resamples must be an integer, at least {least}; got {resamples!r}. {usual} are usual.")


def evaluate(statistic: Statistic, samples: Samples, draws: Iterator[list[Ints]]) -> Doubles:
    """Return the statistic of every draw, (b,) float64; where it takes `axis`, of many draws in one call."""
    several = _takes_axis(statistic)
    at_once = max(1, _CHUNK // max(1, sum(sample.size for sample in samples))) if several else 1
    results: list[Doubles] = []
    while chunk := list(islice(draws, at_once)):
        indices = [np.stack(part) for part in zip(*chunk, strict=True)]
        indices = indices * len(samples) if len(indices) == 1 else indices
        resampled = [sample[rows] for sample, rows in zip(samples, indices, strict=True)]
        try:
            found = statistic(*resampled, axis=1) if several else [statistic(*(sample[0] for sample in resampled))]
        except UndefinedMetricError as error:
            raise UndefinedMetricError(f"{_UNDEFINED} It said: {error}") from error
        results.append(_checked_results(found, len(chunk)))
    return np.concatenate(results)


_UNDEFINED = (
    "the statistic must exist for the samples and for every resample; it does not for at least one. "
    "Pass strata=labels, so that each class keeps its size, or take more images."
)


def _checked_results(found: Any, count: int) -> Doubles:
    values = np.asarray(found, dtype=np.float64)
    if values.shape != (count,):
        raise ShapeError(f"the statistic must return one number a resample, ({count},); got {values.shape}.")
    if not np.isfinite(values).all():
        raise UndefinedMetricError(f"{_UNDEFINED} It returned {values[~np.isfinite(values)][0]}.")
    return values


def _takes_axis(statistic: Statistic) -> bool:
    try:
        return "axis" in inspect.signature(statistic).parameters
    except (TypeError, ValueError):  # written in C without a signature
        return False


def bootstrap_ends(
    draws: Doubles, estimate: float, folds: list[Doubles] | None, confidence: float
) -> tuple[float, float]:
    """Return the ends of the interval: percentile without `folds`, BCa with the leave-one-out values of each part."""
    levels = np.array([(1 - confidence) / 2, (1 + confidence) / 2])
    if folds is not None and draws.min() < draws.max():  # all quantiles of equal draws are equal
        levels = _bca_levels(draws, estimate, folds, levels)
    low, high = np.quantile(draws, levels).tolist()
    return low, high


def _bca_levels(draws: Doubles, estimate: float, folds: list[Doubles], levels: Doubles) -> Doubles:
    """Return the quantiles that BCa reads instead of `levels`."""
    from scipy.special import ndtr, ndtri

    below = (np.count_nonzero(draws < estimate) + np.count_nonzero(draws <= estimate)) / (2 * len(draws))
    pulls = [(len(fold) - 1) * (fold.mean() - fold) for fold in folds]
    spread = sum(float((pull**2).sum()) / len(pull) ** 2 for pull in pulls)
    if not 0 < below < 1 or spread == 0:
        raise UndefinedMetricError(
            f"BCa needs resamples on both sides of the estimate and images that differ; of {len(draws)} resamples "
            f"{np.count_nonzero(draws < estimate)} are below and {np.count_nonzero(draws > estimate)} above "
            f"{estimate:.6g}. Take method='percentile' or more images."
        )
    acceleration = sum(float((pull**3).sum()) / len(pull) ** 3 for pull in pulls) / (6 * spread**1.5)
    bias = float(ndtri(below))
    shifted = bias + ndtri(levels)
    corrected: Doubles = ndtr(bias + shifted / (1 - acceleration * shifted))
    return corrected


def checked_samples(samples: Samples, *, paired: bool) -> list[NDArray[Any]]:
    """Return the samples as arrays of at least two rows without NaN."""
    if not samples:
        raise ShapeError("at least one sample must be given; got none.")
    rows = [np.asarray(sample) for sample in samples]
    shapes = [sample.shape for sample in rows]
    if any(len(shape) == 0 for shape in shapes):
        raise ShapeError(f"samples must be (n, ...), one row an image; got shapes {shapes}.")
    if paired and len({shape[0] for shape in shapes}) > 1:
        raise ShapeError(
            f"paired samples must have one row for each of the same images; got shapes {shapes}. "
            "With other images in each, pass paired=False."
        )
    if min(shape[0] for shape in shapes) < 2:
        raise UndefinedMetricError(f"an interval needs at least two images; got shapes {shapes}.")
    for at, sample in enumerate(rows):
        if sample.dtype.kind in "fc" and not np.isfinite(sample).all():
            raise ShapeError(f"samples must be finite; sample {at} holds NaN or infinite numbers. Remove those images.")
    return rows
