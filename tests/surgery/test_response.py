"""Responses to ground truths: by hand, against a naive twin, at the edges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipfast.errors import ShapeError
from clipfast.surgery.response import inside_mask, map_response


def test_by_hand() -> None:
    """A 2 x 2 map: one pixel inside."""
    found = map_response(np.array([[1.0, 2.0], [3.0, 6.0]]), np.array([[1.0, 1.0, 2.0, 2.0]]))

    assert (found.inside_mean, found.inside_max, found.background_mean, found.area) == (6.0, 6.0, 2.0, 0.25)
    assert found.energy == 5 / 8  # less the minimum: 5 of 0 + 1 + 2 + 5
    assert found.pointing == 1.0
    assert found.spread == pytest.approx(np.std([1, 2, 3, 6]))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000))
def test_equals_the_naive_twin(seed: int) -> None:
    """Pixel by pixel, with boxes that overlap, reach out, are difficult or smaller than a pixel."""
    rng = np.random.default_rng(seed)
    height, width, count = (int(n) for n in rng.integers((2, 2, 1), (9, 9, 4)))
    heat = rng.normal(size=(height, width)).astype(np.float32)
    corners = rng.uniform(-2, 8, (count, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(0.1, 5, (count, 2))], axis=1)
    difficult = rng.random(count) < 0.3
    inside, taken = set(), set()
    for box, spared in zip(boxes.tolist(), difficult.tolist(), strict=True):
        pixels = _pixels(box, height, width)
        taken |= pixels
        inside |= set() if spared else pixels
    every = {(y, x) for y in range(height) for x in range(width)}
    found = map_response(heat, boxes, difficult)

    assert found.area == pytest.approx(len(inside) / len(every))
    if inside:
        assert found.inside_mean == pytest.approx(np.mean([heat[at] for at in sorted(inside)]), abs=1e-6)
        assert found.inside_max == max(heat[at] for at in inside)
        peak = min(every, key=lambda at: (-heat[at], at))
        assert found.pointing == (peak in inside)
        shifted = {at: float(heat[at]) - float(heat.min()) for at in every}
        assert found.energy == pytest.approx(sum(shifted[at] for at in inside) / sum(shifted.values()), abs=1e-5)
    else:
        assert np.isnan([found.inside_mean, found.inside_max, found.energy, found.pointing]).all()
    if every - taken:
        assert found.background_mean == pytest.approx(np.mean([heat[at] for at in sorted(every - taken)]), abs=1e-6)
    else:
        assert np.isnan(found.background_mean)


def _pixels(box: list[float], height: int, width: int) -> set[tuple[int, int]]:
    x1, y1, x2, y2 = max(box[0], 0), max(box[1], 0), min(box[2], width), min(box[3], height)
    if x1 >= x2 or y1 >= y2:
        return set()
    columns = [x for x in range(width) if x1 <= x + 0.5 < x2] or [min(int((x1 + x2) / 2), width - 1)]
    rows = [y for y in range(height) if y1 <= y + 0.5 < y2] or [min(int((y1 + y2) / 2), height - 1)]
    return {(y, x) for y in rows for x in columns}


def test_a_constant_map_says_nothing() -> None:
    """No NaN: energy is the share of the area, the first pixel is the peak."""
    found = map_response(np.full((4, 4), 0.3), np.array([[2.0, 2.0, 4.0, 4.0]]))

    assert (found.energy, found.pointing, found.spread) == (0.25, 0.0, 0.0)
    assert found.inside_mean == pytest.approx(found.background_mean)


def test_tolerance_reaches_beside_the_box() -> None:
    """The peak at (0, 0) is 2.5 pixels left of a box that begins at 3."""
    heat = np.zeros((6, 6))
    heat[0, 0] = 1
    boxes = np.array([[3.0, 0.0, 5.0, 2.0]])

    assert [map_response(heat, boxes, tolerance=reach).pointing for reach in (0, 2.4, 2.5, 15)] == [0, 0, 1, 1]


def test_a_box_over_everything_leaves_no_background() -> None:
    """NaN, not a mean of nothing."""
    found = map_response(np.arange(4.0).reshape(2, 2), np.array([[-1.0, -1.0, 3.0, 3.0]]))

    assert np.isnan(found.background_mean)
    assert (found.energy, found.area) == (1.0, 1.0)


def test_energy_is_kept_by_an_affine_change() -> None:
    """The shift takes the level away, the ratio the scale."""
    heat = np.random.default_rng(0).normal(size=(8, 8))
    boxes = np.array([[1.0, 2.0, 5.0, 6.0]])

    assert map_response(3 * heat + 7, boxes).energy == pytest.approx(map_response(heat, boxes).energy)


def test_shapes_are_checked() -> None:
    """Maps of several texts, boxes that are none, a negative tolerance."""
    for heat, boxes, tolerance in (
        (np.zeros((2, 2, 2)), np.zeros((1, 4)), 0.0),
        (np.zeros((2, 2)), np.zeros((1, 3)), 0.0),
        (np.zeros((2, 2)), np.zeros((1, 4)), -1.0),
    ):
        with pytest.raises(ShapeError, match="heat must be"):
            map_response(heat, boxes, tolerance=tolerance)
    assert not inside_mask(np.array([[5.0, 5.0, 9.0, 9.0]]), (4, 4)).any()
