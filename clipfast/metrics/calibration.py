"""How far stated confidence is from what comes true: reliability, calibration errors, Brier, log loss.

Input is (n, c) probabilities whose rows sum to 1, or (n,) probabilities of class 1 for two classes, which mean the same
as the two columns `[1 - p, p]`. The confidence of a row is its largest probability and its prediction that class; the
first of equals, so p = 0.5 predicts class 0.

Binning, wherever bins are asked for:

- `equal_width`: bin b holds (b / bins, (b + 1) / bins], closed on the right; the first bin also holds 0. Compared in
  float64: a float32 0.2 is slightly more than 1/5 and falls into the bin above.
- `equal_mass`: rows are sorted by confidence and cut where `bins` parts of equal size would end. Equal confidences are
  never separated: a cut among them moves up to their end, so there may be fewer bins, and order does not matter.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any, Literal, SupportsIndex, TypeAlias

import numpy as np
from numpy.typing import NDArray

from clipfast.errors import ShapeError, UndefinedMetricError
from clipfast.kernels.array_inputs import as_array
from clipfast.types import Ints

__all__ = [
    "ReliabilityTable",
    "adaptive_calibration_error",
    "brier_error",
    "expected_calibration_error",
    "maximum_calibration_error",
    "negative_log_likelihood_error",
    "reliability_table",
]

Doubles = NDArray[np.float64]
Binning: TypeAlias = Literal["equal_width", "equal_mass"]


@dataclass(frozen=True, slots=True, eq=False)
class ReliabilityTable:
    """Confidence beside accuracy, bin by bin: what a reliability diagram shows.

    Attributes:
        edges: Bounds of the bins, ascending, (b + 1,) float64; bin i is (edges[i], edges[i + 1]].
        counts: Rows in each bin, (b,) int64.
        confidence: Mean confidence of each bin, (b,) float64; NaN where it is empty.
        accuracy: Share of right predictions in each bin, (b,) float64; NaN where it is empty.
    """

    edges: Doubles
    counts: Ints
    confidence: Doubles
    accuracy: Doubles

    def gaps(self) -> Doubles:
        """Return |accuracy - confidence| of each bin, (b,) float64; NaN where it is empty."""
        return np.abs(self.accuracy - self.confidence)

    def expected_error(self) -> float:
        """Return the mean gap of a row."""
        there = self.counts > 0
        return float((self.gaps()[there] * self.counts[there]).sum() / self.counts.sum())


def reliability_table(
    labels: NDArray[Any], probs: NDArray[Any], *, bins: SupportsIndex = 15, binning: Binning = "equal_width"
) -> ReliabilityTable:
    """Sort predictions into bins by their confidence.

    Args:
        labels: True classes, (n,) integers, 0 <= label < c.
        probs: Probabilities, (n, c) with rows that sum to 1, or (n,) of class 1.
        bins: How many bins, at least 1; `equal_mass` may return fewer.
        binning: See the module's text.

    Returns:
        Edges, counts, mean confidence and accuracy per bin.

    Raises:
        ShapeError: If shapes or types differ from these, a probability is not finite or not in [0, 1], a row does not
            sum to 1, a label is out of range, or `bins` or `binning` is unknown.
        UndefinedMetricError: If there is no row.

    >>> table = reliability_table(np.array([1, 1, 0, 0]), np.array([0.95, 0.85, 0.2, 0.7]), bins=5)
    >>> table.counts.tolist(), table.accuracy.tolist()
    ([0, 0, 0, 2, 2], [nan, nan, nan, 0.5, 1.0])
    """
    rows, truth = checked_probs(labels, probs)
    parts = _checked_bins(bins)
    if binning not in _EDGES:
        raise ShapeError(f"binning must be one of {sorted(_EDGES)}; got {binning!r}.")
    confidence = rows.max(axis=1)
    right = rows.argmax(axis=1) == truth
    edges = _EDGES[binning](confidence, parts)
    places = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, len(edges) - 2)
    counts = np.bincount(places, minlength=len(edges) - 1)
    there = np.where(counts > 0, counts, np.nan)
    return ReliabilityTable(
        edges=edges,
        counts=counts,
        confidence=np.bincount(places, weights=confidence, minlength=len(counts)) / there,
        accuracy=np.bincount(places, weights=right, minlength=len(counts)) / there,
    )


def expected_calibration_error(labels: NDArray[Any], probs: NDArray[Any], *, bins: SupportsIndex = 15) -> float:
    """Return ECE: the mean gap between confidence and accuracy over bins of equal width (Guo et al., ICML 2017).

    Of the most probable class, for two classes as well; an ECE of P(class 1) alone is another number. It is biased
    upwards where rows are few: give it with a bootstrap interval. Arguments and errors as in `reliability_table`.

    >>> float(round(expected_calibration_error(np.array([1, 1, 0, 0]), np.array([0.95, 0.85, 0.2, 0.7])), 3))
    0.275
    """
    return reliability_table(labels, probs, bins=bins).expected_error()


def maximum_calibration_error(labels: NDArray[Any], probs: NDArray[Any], *, bins: SupportsIndex = 15) -> float:
    """Return MCE: the largest gap of any bin of equal width that is not empty, however few rows it holds.

    Arguments and errors as in `reliability_table`.
    """
    return float(np.nanmax(reliability_table(labels, probs, bins=bins).gaps()))


def adaptive_calibration_error(labels: NDArray[Any], probs: NDArray[Any], *, bins: SupportsIndex = 15) -> float:
    """Return the mean gap of a row over bins of equal mass: each bin weighs as much as it holds rows.

    Of the most probable class. The ACE of Nixon et al. (CVPR workshops 2019) averages its ranges equally, and over
    classes too; the weights differ where bins do not hold equally many rows, as equal confidences stay together.
    Arguments and errors as in `reliability_table`.
    """
    return reliability_table(labels, probs, bins=bins, binning="equal_mass").expected_error()


def brier_error(labels: NDArray[Any], probs: NDArray[Any]) -> float:
    """Return the mean squared distance of the probabilities from what came true.

    From (n,) it is (p - y)², in [0, 1]; from (n, c) the sum over all columns (Brier, 1950), in [0, 2]: two columns give
    twice the value of their second alone. Arguments and errors as in `reliability_table`.

    >>> brier_error(np.array([1, 1]), np.array([0.75, 0.5]))
    0.15625
    """
    rows, truth = checked_probs(labels, probs)
    if np.ndim(probs) == 1:
        return float(np.square(rows[:, 1] - truth).mean())
    rows[np.arange(len(rows)), truth] -= 1.0
    return float(np.square(rows).sum(axis=1).mean())


def negative_log_likelihood_error(labels: NDArray[Any], probs: NDArray[Any]) -> float:
    """Return the mean of -ln p(true class): log loss.

    Nothing is clipped: one true class of probability 0 makes it infinite. Arguments and errors as in
    `reliability_table`.

    >>> round(negative_log_likelihood_error(np.array([1, 1]), np.array([0.5, 0.25])), 4)
    1.0397
    """
    rows, truth = checked_probs(labels, probs)
    with np.errstate(divide="ignore"):  # ln 0 = -inf is the answer
        return float(-np.log(rows[np.arange(len(rows)), truth]).mean()) + 0.0  # which makes -0.0 a plain 0


def checked_probs(labels: NDArray[Any], probs: NDArray[Any]) -> tuple[Doubles, Ints]:
    """Return probabilities as an own float64 (n, c) copy, and labels as int64."""
    given = as_array("probs", probs)
    rows = two_columns("probs", given)
    if given.ndim == 1:
        rows[:, 0] = 1.0 - rows[:, 1]
    truth = checked_classes(labels, *rows.shape)
    if ((rows < 0) | (rows > 1)).any():
        row = int(np.flatnonzero(((rows < 0) | (rows > 1)).any(axis=1))[0])
        raise ShapeError(
            f"probs must be in [0, 1]; got {given[row].tolist()} in row {row}. From logits: apply_temperature(logits)."
        )
    # The rounding of a softmax over a thousand classes stays far below this.
    allowed = 1e-2 if given.dtype == np.float16 else 1e-4
    sums = rows.sum(axis=1)
    if (np.abs(sums - 1.0) > allowed).any():
        row = int(np.abs(sums - 1.0).argmax())
        raise ShapeError(
            f"rows of probs must sum to 1 within {allowed:g}; row {row} sums to {sums[row]:.6g}. "
            "Divide by the sum, or from logits: apply_temperature(logits)."
        )
    return rows, truth


def two_columns(what: str, values: NDArray[Any]) -> Doubles:
    """Return an own float64 (n, c) copy of (n, c) or of (n,), which becomes the second of two columns beside 0."""
    if values.dtype.kind not in "iuf":
        raise ShapeError(f"{what} must be numbers; got {values.dtype}.")
    if values.ndim not in {1, 2} or (values.ndim == 2 and values.shape[1] < 2):
        raise ShapeError(f"{what} must be (n, c) with c >= 2, or (n,) for class 1 of two; got {values.shape}.")
    if len(values) == 0:
        raise UndefinedMetricError(f"{what} must hold at least one row; got {values.shape}. There is nothing to judge.")
    rows = np.zeros((len(values), 2)) if values.ndim == 1 else np.array(values, dtype=np.float64, order="C")
    if values.ndim == 1:
        rows[:, 1] = values
    if not np.isfinite(rows).all():
        row = int(np.flatnonzero(~np.isfinite(rows).all(axis=1))[0])
        raise ShapeError(f"{what} must be finite; got {values[row].tolist()} in row {row}. Remove or mend that row.")
    return rows


def checked_classes(labels: NDArray[Any], count: int, classes: int) -> Ints:
    """Return labels as int64 (n,)."""
    truth = as_array("labels", labels)
    if truth.shape != (count,):
        raise ShapeError(f"labels must be ({count},), one a row; got {truth.shape}.")
    if truth.dtype.kind not in "biu":
        raise ShapeError(f"labels must be integers; got {truth.dtype}. Pass class numbers from 0.")
    if truth.min() < 0 or truth.max() >= classes:
        raise ShapeError(
            f"labels must be in 0 ... {classes - 1}; got {truth.min()} ... {truth.max()}. Number the classes from 0."
        )
    return truth.astype(np.int64)


def _checked_bins(bins: SupportsIndex) -> int:
    """Return how many bins are wanted, of Python's or NumPy's integers."""
    try:
        parts = 0 if isinstance(bins, bool) else operator.index(bins)
    except TypeError:
        parts = 0
    if parts < 1:
        raise ShapeError(f"bins must be an integer from 1; got {bins!r}.")
    return parts


def _equal_width(_confidence: Doubles, bins: int) -> Doubles:
    return np.arange(bins + 1) / bins


def _equal_mass(confidence: Doubles, bins: int) -> Doubles:
    """Return edges of which each is the largest confidence of its bin, so that equal ones stay together."""
    ascending = np.sort(confidence)
    ends = (np.arange(1, bins + 1) * len(ascending) + bins - 1) // bins - 1  # last row of each part
    return np.concatenate([[0.0], np.unique(ascending[ends])])


_EDGES = {"equal_width": _equal_width, "equal_mass": _equal_mass}
