"""Tests of clipfast.kernels.curves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from clipfast.errors import ShapeError
from clipfast.kernels.curves import rising_curve


@pytest.mark.parametrize("count", [1, 2, 3, 129])
@pytest.mark.parametrize("crowded", [False, True])
def test_it_is_numpys_interpolation_with_tails(count: int, crowded: bool) -> None:
    """To the bit between knots and at them, also where all but one knot lie in a thousandth of the range."""
    rng = np.random.default_rng(count)
    drawn = np.unique(rng.normal(size=count).astype(np.float32).astype(np.float64))
    knots = np.append(drawn[:-1] * 1e-4, 10.0) if crowded else drawn
    values = np.cumsum(rng.random(len(knots)))
    x = np.concatenate([rng.normal(size=5000), rng.normal(size=5000) * 1e-4, knots]).astype(np.float32)
    wide = x.astype(np.float64)
    expected = np.where(
        wide > knots[-1],
        values[-1] + (wide - knots[-1]) / 0.7,
        np.where(wide < knots[0], values[0] * np.exp((wide - knots[0]) / 0.5), np.interp(wide, knots, values)),
    ).astype(np.float32)

    found = rising_curve(x.reshape(2, -1) if len(x) % 2 == 0 else x, knots, values, (0.5, 0.7)).reshape(-1)
    inside = wide >= knots[0]
    np.testing.assert_array_equal(found[inside], expected[inside])
    np.testing.assert_allclose(found, expected, rtol=2e-7)


def test_what_is_no_number_stays_so() -> None:
    """NaN in, NaN out; infinity rises."""
    found = rising_curve(
        np.array([np.nan, np.inf, -np.inf], np.float32), np.array([0.0, 1.0]), np.array([0.5, 1.0]), (1, 1)
    )

    assert np.isnan(found[0])
    assert found[1:].tolist() == [np.inf, 0]


@pytest.mark.parametrize(
    "wrong",
    [
        {"x": np.zeros(2)},
        {"knots": np.array([1.0, 0.0])},
        {"knots": np.array([0.0, 0.0])},
        {"values": np.zeros(3)},
        {"widths": (0.0, 1.0)},
    ],
)
def test_curves_that_are_none(wrong: dict[str, Any]) -> None:
    """Wrong types, knots that do not rise, tails without width."""
    given: dict[str, Any] = {"x": np.zeros(2, np.float32), "knots": np.array([0.0, 1.0]), "values": np.zeros(2)}
    with pytest.raises(ShapeError):
        rising_curve(**({"widths": (1.0, 1.0)} | given | wrong))
