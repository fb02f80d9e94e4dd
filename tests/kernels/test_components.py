"""Connected components: against a flood fill, scipy's own vectors, and the inputs a caller may get wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from clipfast.errors import ShapeError
from clipfast.kernels import Components, label_components
from reference import naive

SCIPY_VECTORS = Path(__file__).parents[3] / "shared" / "data" / "connected_components_scipy"
STRUCTURES: dict[Literal[4, 8], list[list[int]]] = {
    4: [[0, 1, 0], [1, 1, 1], [0, 1, 0]],
    8: [[1, 1, 1], [1, 1, 1], [1, 1, 1]],
}
CONNECTIVITIES: tuple[Literal[4, 8], ...] = (4, 8)


def assert_same(found: Components, mask: NDArray[Any], connectivity: Literal[4, 8]) -> None:
    """Compare every field with the flood fill."""
    labels, areas, boxes = naive.label_components(mask, connectivity)
    assert found.labels.dtype == np.int32
    assert found.areas.dtype == found.boxes.dtype == np.int64
    assert found.boxes.shape == (found.count, 4)
    assert found.count == len(areas)
    assert found.labels.tolist() == labels.tolist()
    assert found.areas.tolist() == areas
    assert found.boxes.tolist() == boxes


@settings(max_examples=60, deadline=None)
@given(
    mask=npst.arrays(np.bool_, npst.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=12)),
    connectivity=st.sampled_from(CONNECTIVITIES),
)
def test_any_small_mask_equals_the_flood_fill(mask: NDArray[np.bool_], connectivity: Literal[4, 8]) -> None:
    """Labels, areas and boxes of any mask are those of the naive twin."""
    assert_same(label_components(mask, connectivity), mask, connectivity)


@pytest.mark.parametrize("connectivity", CONNECTIVITIES)
@pytest.mark.parametrize("density", [0.1, 0.4, 0.6, 0.9])
def test_random_masks_equal_the_flood_fill(density: float, connectivity: Literal[4, 8]) -> None:
    """Masks with long chains of joins agree with the naive twin, at every density."""
    mask = np.random.default_rng(7).random((53, 71)) < density

    assert_same(label_components(mask, connectivity), mask, connectivity)


@pytest.mark.parametrize(
    ("rows", "connectivity", "count"),
    [
        (["#.#", ".#.", "#.#"], 4, 5),  # a quincunx touches by corners only
        (["#.#", ".#.", "#.#"], 8, 1),
        (["#.#.#", "#.#.#", "#####"], 4, 1),  # three runs that meet in the last row
        (["#####", "....#", "###.#", "#...#", "#####"], 4, 1),  # a spiral: joined long after it was begun
        (["#.", "##", ".#"], 4, 1),
        ([".#", "#."], 4, 2),
        ([".#", "#."], 8, 1),  # a run that touches the one above only at its right end
    ],
)
def test_connectivity_of_small_drawings(rows: list[str], connectivity: Literal[4, 8], count: int) -> None:
    """Corners join with connectivity 8 only."""
    mask = np.array([[cell == "#" for cell in row] for row in rows])

    found = label_components(mask, connectivity)

    assert found.count == count
    assert_same(found, mask, connectivity)


def scipy_cases() -> list[tuple[NDArray[np.int64], Literal[4, 8], NDArray[np.int64]]]:
    """Read the cases whose structuring element is one of our two connectivities."""
    inputs, structures, results = (
        np.loadtxt(SCIPY_VECTORS / f"label_{name}.txt", dtype=np.int64) for name in ("inputs", "strels", "results")
    )
    pairs = [
        (block, structure) for block in inputs.reshape(-1, 7, 7) for structure in structures.reshape(-1, 3, 3).tolist()
    ]
    return [
        (block, connectivity, expected)
        for (block, structure), expected in zip(pairs, results.reshape(-1, 7, 7), strict=True)
        for connectivity in CONNECTIVITIES
        if structure == STRUCTURES[connectivity]
    ]


@pytest.mark.shared
@pytest.mark.skipif(not SCIPY_VECTORS.is_dir(), reason="../shared/data/connected_components_scipy is absent")
def test_scipy_vectors() -> None:
    """Every vector of scipy.ndimage.label with a 4- or 8-connected structuring element is reproduced exactly."""
    cases = scipy_cases()

    assert {connectivity for _, connectivity, _ in cases} == {4, 8}
    for block, connectivity, expected in cases:
        assert label_components(block, connectivity).labels.tolist() == expected.tolist()


@pytest.mark.parametrize("shape", [(5, 7), (0, 4), (4, 0), (0, 0), (1, 1)])
def test_an_empty_mask_has_no_component(shape: tuple[int, int]) -> None:
    """Without foreground there are no areas and no boxes, whatever the size."""
    found = label_components(np.zeros(shape, dtype=bool))

    assert found.count == 0
    assert found.labels.shape == shape
    assert not found.labels.any()
    assert found.areas.shape == (0,)
    assert found.boxes.shape == (0, 4)


@pytest.mark.parametrize("connectivity", CONNECTIVITIES)
def test_a_full_mask_is_one_component(connectivity: Literal[4, 8]) -> None:
    """All foreground is one component as large as the mask."""
    found = label_components(np.ones((6, 9), dtype=np.uint8), connectivity)

    assert found.count == 1
    assert found.areas.tolist() == [54]
    assert found.boxes.tolist() == [[0, 0, 9, 6]]
    assert (found.labels == 1).all()


def frozen(mask: NDArray[Any]) -> NDArray[Any]:
    """Return a read-only copy."""
    copy = mask.copy()
    copy.setflags(write=False)
    return copy


MASK = np.random.default_rng(3).random((24, 31)) < 0.5


@pytest.mark.parametrize(
    "mask",
    [
        pytest.param(np.asfortranarray(MASK), id="column order"),
        pytest.param(MASK.T, id="transposed"),
        pytest.param(MASK[::2, ::-3], id="strided, reversed"),
        pytest.param(frozen(MASK), id="read-only"),
        pytest.param(np.broadcast_to(MASK[:1], (9, 31)), id="broadcast"),
        pytest.param(MASK.astype(np.uint8) * 255, id="uint8 255"),
        pytest.param(-MASK.astype(np.int64), id="negative int64"),
        pytest.param(MASK.astype(">u2") * 256, id="big-endian, low byte zero"),
    ],
)
def test_layout_and_integer_type_do_not_matter(mask: NDArray[Any]) -> None:
    """Any layout, any flags and any integer type give the components of what is not zero; the input is left alone."""
    before = mask.copy()

    assert_same(label_components(mask), mask, 8)
    assert np.array_equal(mask, before)


@pytest.mark.parametrize(
    ("mask", "connectivity", "words"),
    [
        (np.zeros(5, dtype=bool), 8, r"must be \(h, w\); got \(5,\)"),
        (np.zeros((2, 3, 1), dtype=bool), 8, r"got \(2, 3, 1\)"),
        (np.zeros((2, 3), dtype=np.float32), 8, "got float32. Threshold it first"),
        (np.zeros((2, 3), dtype=bool), 6, r"one of \[4, 8\]; got 6"),
    ],
)
def test_bad_input_is_named(mask: NDArray[Any], connectivity: Any, words: str) -> None:
    """The message says what must be and what came."""
    with pytest.raises(ShapeError, match=words):
        label_components(mask, connectivity)
