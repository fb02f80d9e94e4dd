"""Points are those of CLIP Surgery's definition: which cells, where, and in which order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from clipfast.errors import ShapeError
from clipfast.surgery import points


def naive_points(
    grid: NDArray[Any], size_hw: tuple[int, int], t: float, down_sample: int
) -> tuple[list[list[int]], list[int]]:
    """The definition, cell by cell: shrink bilinearly with half-pixel centres, scale, rank, place."""
    rows, columns = grid.shape[0] // down_sample, grid.shape[1] // down_sample
    cells = [_bilinear(grid, (r + 0.5) * grid.shape[0] / rows - 0.5, (c + 0.5) * grid.shape[1] / columns - 0.5)
             for r in range(rows) for c in range(columns)]  # fmt: skip
    low, high = min(cells), max(cells)
    count = min(sum((cell - low) / (high - low) >= t for cell in cells), len(cells) // 2)
    ranked = sorted(range(len(cells)), key=lambda cell: cells[cell])
    found = []
    for cell in ranked[-count:] + ranked[:count]:
        x = min((cell % columns + 0.5) * size_hw[1] / columns, size_hw[1] - 1)
        y = min((cell // columns + 0.5) * size_hw[0] / rows, size_hw[0] - 1)
        found.append([int(x), int(y)])
    return found, [1] * count + [0] * count


def _bilinear(grid: NDArray[Any], y: float, x: float) -> float:
    height, width = grid.shape
    y, x = min(max(y, 0.0), height - 1.0), min(max(x, 0.0), width - 1.0)
    y0, x0 = int(y), int(x)
    y1, x1 = min(y0 + 1, height - 1), min(x0 + 1, width - 1)
    top = float(grid[y0, x0]) * (1 - x + x0) + float(grid[y0, x1]) * (x - x0)
    bottom = float(grid[y1, x0]) * (1 - x + x0) + float(grid[y1, x1]) * (x - x0)
    return top * (1 - y + y0) + bottom * (y - y0)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("grid_hw", "size_hw", "t", "down_sample"),
    [
        ((14, 14), (224, 224), 0.8, 2),  # as published, ViT-B/16 at 224
        ((7, 7), (480, 640), 0.8, 2),  # an odd grid, another shape of image
        ((32, 32), (512, 512), 0.6, 2),
        ((9, 6), (90, 61), 0.5, 1),  # not square, not shrunk
        ((14, 14), (10, 5), 0.1, 3),  # more points than half of the cells asked for; an image smaller than the grid
    ],
)
def test_points_are_their_definition(
    seed: int, grid_hw: tuple[int, int], size_hw: tuple[int, int], t: float, down_sample: int
) -> None:
    """Coordinates, labels and order, for squares and others."""
    grid = np.random.default_rng(seed).normal(size=grid_hw).astype(np.float32)
    found = points(grid, size_hw, threshold=t, down_sample=down_sample)
    xy, labels = naive_points(grid, size_hw, t, down_sample)

    assert found.xy.tolist() == xy
    assert found.labels.tolist() == labels
    assert len(found) == len(labels)
    assert (found.xy >= 0).all()
    assert (found.xy < np.array(size_hw[::-1])).all()


def test_without_a_size_points_lie_on_the_map() -> None:
    """Pixels of the map itself."""
    heat = np.zeros((8, 8))
    heat[2:4, 4:6] = 1.0

    assert points(heat).xy.tolist()[0] == [5, 3]


def test_the_scale_of_the_map_does_not_count() -> None:
    """Not even where float32 cannot hold it."""
    grid = np.random.default_rng(0).integers(0, 1000, (10, 12)) / 1024
    expected = points(grid, (100, 120)).xy.tolist()

    assert points(grid * 2.0**1000, (100, 120)).xy.tolist() == expected
    assert points((grid - 0.5) * 3.5 * 2.0**1023, (100, 120)).xy.tolist() == expected


@pytest.mark.parametrize("grid", [np.full((6, 6), 2.5), np.array([[1.0, 2.0]])])
def test_maps_without_a_choice_give_no_points(grid: NDArray[Any]) -> None:
    """A constant map, where the original divides 0 by 0, and one that shrinks to a single cell."""
    found = points(grid, (50, 50))

    assert found.xy.shape == (0, 2)
    assert found.labels.shape == (0,)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"threshold": 0.0}, "threshold must be a number above 0"),
        ({"threshold": 1.1}, "threshold must be a number above 0"),
        ({"down_sample": 0}, "down_sample must be a whole number of 1 or more"),
        ({"size_hw": (0, 5)}, "size_hw must be two whole numbers"),
    ],
)
def test_wrong_arguments_are_told(wrong: dict[str, Any], message: str) -> None:
    """Each by its name."""
    with pytest.raises(ShapeError, match=message):
        points(np.eye(4), **wrong)
