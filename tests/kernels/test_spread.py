"""Tests of clipfast.kernels.spread."""

from __future__ import annotations

import numpy as np
import pytest

from clipfast.errors import ShapeError
from clipfast.kernels.spread import spread
from clipfast.types import Floats


def banded(rng: np.random.Generator, new: int, old: int, width: int) -> Floats:
    """Weights of which a few neighbours are not zero, zeros among them, too."""
    weights = np.zeros((new, old), np.float32)
    for row in weights:
        begin = int(rng.integers(0, old))
        row[begin : begin + width] = rng.normal(size=len(row[begin : begin + width]))
    return weights


@pytest.mark.parametrize(
    ("maps", "new", "width"),
    [
        ((3, 5, 7), (16, 40), 2),  # scaling up
        ((1, 6, 4), (3, 2), 6),  # every weight counts, and fewer pixels than cells
        ((2, 1, 1), (4, 5), 1),  # one cell
        ((0, 3, 3), (8, 8), 2),  # no map
    ],
)
def test_spread_is_two_products(maps: tuple[int, int, int], new: tuple[int, int], width: int) -> None:
    """In float64 by NumPy, to the rounding of float32."""
    rng = np.random.default_rng(0)
    cells = rng.normal(size=maps).astype(np.float32)
    rows, columns = (banded(rng, n, old, width) for n, old in zip(new, maps[1:], strict=True))
    rows[0] = 0  # a pixel that nothing reaches
    columns[:, 0] = 0  # a cell that reaches nothing
    expected = rows.astype(np.float64) @ cells.astype(np.float64) @ columns.T.astype(np.float64)

    found = spread(cells, rows, columns)
    assert found.dtype == np.float32
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_map_does_not_depend_on_its_neighbours() -> None:
    """To the last bit: alone, together, and from memory of another order."""
    rng = np.random.default_rng(1)
    cells = rng.normal(size=(4, 6, 5)).astype(np.float32)
    rows, columns = banded(rng, 30, 6, 3), banded(rng, 20, 5, 3)

    together = spread(cells, rows, columns)
    assert np.array_equal(np.concatenate([spread(cells[i : i + 1], rows, columns) for i in range(4)]), together)
    assert np.array_equal(spread(np.asfortranarray(cells), np.asfortranarray(rows), columns), together)


@pytest.mark.parametrize(
    ("maps", "rows", "columns"),
    [
        (np.zeros((2, 3), np.float32), np.zeros((4, 2), np.float32), np.zeros((4, 3), np.float32)),  # one map, bare
        (np.zeros((1, 2, 3), np.float32), np.zeros((4, 3), np.float32), np.zeros((4, 2), np.float32)),  # axes swapped
        (np.zeros((1, 2, 3)), np.zeros((4, 2), np.float32), np.zeros((4, 3), np.float32)),  # float64
        (np.zeros((1, 0, 3), np.float32), np.zeros((4, 0), np.float32), np.zeros((4, 3), np.float32)),  # no cells
    ],
)
def test_what_does_not_fit_is_refused(maps: Floats, rows: Floats, columns: Floats) -> None:
    """The sentence gives all shapes."""
    with pytest.raises(ShapeError, match=r"rows .*h, gh.* columns .*w, gw"):
        spread(maps, rows, columns)
