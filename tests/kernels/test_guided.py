"""The guided filter equals its definition, keeps constants, and follows edges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipfast.errors import ShapeError
from clipfast.kernels.guided import guided_filter
from clipfast.types import Floats
from reference import naive_guided

sizes = st.integers(1, 9)


def picture(seed: int, *shape: int) -> Floats:
    """Draw random values in [0, 1]."""
    return np.random.default_rng(seed).random(shape, np.float32)


@settings(deadline=None, max_examples=40)
@given(
    height=sizes,
    width=sizes,
    radius=st.integers(1, 12),
    eps=st.sampled_from([1e-6, 1e-3, 0.5]),
    colour=st.booleans(),
    seed=st.integers(0, 99),
)
def test_any_picture_equals_the_window_by_window_definition(
    height: int, width: int, radius: int, eps: float, colour: bool, seed: int
) -> None:
    """Every size, windows larger than the picture among them, grey and colour."""
    values = picture(seed, height, width)
    guide = picture(seed + 1, height, width, *([3] if colour else []))
    expected = naive_guided.guided_filter(values.astype(np.float64), guide.astype(np.float64), radius, eps)

    np.testing.assert_allclose(guided_filter(values, guide, radius=radius, eps=eps), expected, atol=2e-6)


def test_without_edges_it_is_a_box_mean_twice() -> None:
    """A flat guide explains nothing: what is left is the mean of the means."""
    values = picture(0, 8, 11)
    expected = naive_guided.box_mean(naive_guided.box_mean(values.astype(np.float64), 2), 2)

    np.testing.assert_allclose(guided_filter(values, np.full((8, 11), 0.5, np.float32), radius=2), expected, atol=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.1, -3e5, 1e-30])
def test_a_constant_map_stays_constant(value: float) -> None:
    """Bit for bit, whatever the guide shows."""
    constant = np.full((2, 9, 7), value, np.float32)

    assert (guided_filter(constant, picture(1, 9, 7, 3), radius=3) == constant).all()


def test_it_is_linear_in_the_maps() -> None:
    """Scaling and shifting a map scales and shifts its result: thresholds at percentiles stay where they are."""
    values, guide = picture(2, 12, 10), picture(3, 12, 10)
    once = guided_filter(values, guide, radius=2)

    np.testing.assert_allclose(guided_filter(4 * values - 7, guide, radius=2), 4 * once - 7, atol=3e-6)


@pytest.mark.parametrize("channel", [None, 0, 2])  # a grey guide; an edge that only red or only blue shows
def test_a_blurred_step_moves_to_the_edge_of_the_guide(channel: int | None) -> None:
    """A ramp over an edge becomes steeper there than it was, and the far sides keep their values."""
    step = np.repeat(np.where(np.arange(32) < 16, 0.0, 1.0)[None], 24, axis=0).astype(np.float32)
    ramp = np.repeat(np.clip((np.arange(32) - 11.5) / 8, 0, 1)[None], 24, axis=0).astype(np.float32)
    guide = step
    if channel is not None:
        guide = np.full((24, 32, 3), 0.5, np.float32)
        guide[..., channel] = step
    found = guided_filter(ramp, guide, radius=4, eps=1e-4)

    assert found[12, 16] - found[12, 15] > 3 * (ramp[12, 16] - ramp[12, 15])
    assert found[12, 2] == pytest.approx(0.0, abs=1e-3)
    assert found[12, 29] == pytest.approx(1.0, abs=1e-3)


def test_maps_are_filtered_one_by_one() -> None:
    """Leading axes are kept, none too, and no map depends on the others."""
    maps, guide = picture(4, 2, 3, 6, 5), picture(5, 6, 5)
    found = guided_filter(maps, guide, radius=1)

    assert found.dtype == np.float32
    assert (found[1, 2] == guided_filter(maps[1, 2], guide, radius=1)).all()
    assert guided_filter(maps[:0], guide, radius=1).shape == (0, 3, 6, 5)


@pytest.mark.parametrize(
    ("maps", "guide", "radius", "eps", "message"),
    [
        (picture(0, 4), picture(0, 4), 1, 0.1, r"maps must be \(..., h, w\)"),  # one axis
        (picture(0, 0, 4), picture(0, 0, 4), 1, 0.1, "not empty"),  # no row
        (picture(0, 4, 5), picture(0, 5, 4), 1, 0.1, r"guide must be \(4, 5\)"),  # axes swapped
        (picture(0, 4, 5), picture(0, 4, 5, 2), 1, 0.1, r"got \(4, 5, 2\)"),  # two channels
        (picture(0, 4, 5), picture(0, 4, 5), 0, 0.1, "radius must be 1"),
        (picture(0, 4, 5), picture(0, 4, 5), 1, 1e-9, "eps 1e-06 or more"),
        (np.full((4, 5), np.nan, np.float32), picture(0, 4, 5), 1, 0.1, "must be finite"),
        (picture(0, 4, 5), np.full((4, 5), np.inf, np.float32), 1, 0.1, "must be finite"),
    ],
)
def test_what_cannot_be_filtered_is_refused(maps: Floats, guide: Floats, radius: int, eps: float, message: str) -> None:
    """Expected and got are in the message."""
    with pytest.raises(ShapeError, match=message):
        guided_filter(maps, guide, radius=radius, eps=eps)
