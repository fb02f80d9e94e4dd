"""Curves through given points, evaluated for many numbers at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from clipfast.errors import ShapeError
from clipfast.types import Floats

__all__ = ["rising_curve"]

_CELLS = 1024

Doubles = NDArray[np.float64]


def rising_curve(x: Floats, knots: Doubles, values: Doubles, widths: tuple[float, float]) -> Floats:
    """Evaluate a curve with tails: straight lines between knots, an exponential below them, a straight line above.

    Below the first knot k it is values[0] * exp((x - k) / widths[0]), above the last values[-1] + (x - k) / widths[1].
    Between knots it is NumPy's `interp`, to the bit; a table of equal cells tells where to look.

    Args:
        x: Any shape, float32; NaN stays NaN.
        knots: Rising, each once, finite, (k,), one at least.
        values: Of the curve there, (k,).
        widths: Of the lower and the upper tail, positive.

    Returns:
        Of the shape of `x`, float32.

    Raises:
        ShapeError: The shapes or types do not fit, knots do not rise, or a width is not positive.

    >>> rising_curve(np.float32([1, 1.5, 4]), np.array([1.0, 2.0]), np.array([1.0, 3.0]), (1, 2)).tolist()
    [1.0, 2.0, 4.0]
    """
    if x.dtype != np.float32 or knots.ndim != 1 or not len(knots) or knots.shape != values.shape:
        raise ShapeError(
            f"x must be float32, knots and values (k,), k >= 1; got {x.dtype}, {knots.shape} and {values.shape}."
        )
    if not (np.diff(knots) > 0).all() or not np.isfinite(knots).all() or not min(widths) > 0:
        raise ShapeError(f"knots must rise and be finite, and widths be positive; got {knots} and {widths}.")
    flat = np.ascontiguousarray(x).reshape(-1)
    out = np.empty(len(flat), np.float32)
    span = float(knots[-1] - knots[0])
    scale = _CELLS / span if span > 0 else 0.0
    scale = scale if np.isfinite(scale) else 0.0  # knots that nearly coincide: one cell
    edges = knots[0] + (np.arange(_CELLS + 1) / scale if scale else np.zeros(_CELLS + 1))
    starts = np.searchsorted(knots, edges, "right") - 1
    slopes = np.append(np.diff(values) / np.diff(knots), 0.0)
    _evaluate(flat, out, np.stack([knots, values, slopes]), starts, np.array([scale, *widths], np.float64))
    return out.reshape(x.shape)


@njit(cache=True, nogil=True)
def _evaluate(
    x: NDArray[Any], out: NDArray[Any], points: Doubles, starts: NDArray[np.int64], measures: Doubles
) -> None:
    """Write the curve; `points` are knots, values and slopes, `measures` cells per unit and the tails' widths."""
    knots, values, slopes = points[0], points[1], points[2]
    scale, lower, upper = measures[0], measures[1], measures[2]
    low, high, top = knots[0], knots[-1], values[-1]
    last = len(knots) - 2
    for i in range(len(x)):
        at = np.float64(x[i])
        if at >= high:
            out[i] = top + (at - high) / upper
        elif not at >= low:  # NaN too
            out[i] = values[0] * np.exp((at - low) / lower)
        else:
            cell = min(int((at - low) * scale), len(starts) - 2)
            j, end = starts[cell], starts[cell + 1]
            while j < end:
                middle = (j + end + 1) // 2
                if knots[middle] <= at:
                    j = middle
                else:
                    end = middle - 1
            while knots[j] > at:  # rounding put it into the cell beside its own
                j -= 1
            while j < last and knots[j + 1] <= at:
                j += 1
            j = min(j, last)
            out[i] = slopes[j] * (at - knots[j]) + values[j]
