"""Any 3 x 3 neighbourhood: against scipy's own vectors, a flood fill, scipy, OpenCV and cc3d, and bad input."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray
from scipy import ndimage

from clipfast.errors import ShapeError
from clipfast.kernels.component_structure import label_structure
from clipfast.kernels.components import Components, label_components
from reference import naive_components as naive

SCIPY_VECTORS = Path(__file__).parents[3] / "shared" / "data" / "connected_components_scipy"
STRUCTURES = [  # all that are symmetric, with a middle
    [[a, b, c], [d, 1, d], [c, b, a]] for a, b, c, d in product((0, 1), repeat=4)
]
CONNECTIVITIES: tuple[Literal[4, 8], ...] = (4, 8)
CROSS = {4: [[0, 1, 0], [1, 1, 1], [0, 1, 0]], 8: [[1, 1, 1], [1, 1, 1], [1, 1, 1]]}


def assert_same(found: Components, mask: NDArray[Any], structure: list[list[int]]) -> None:
    """Compare every field with the flood fill."""
    expected = naive.label_structure(mask, structure)
    assert found.labels.dtype == np.int32
    assert found.areas.dtype == found.boxes.dtype == np.int64
    assert found.boxes.shape == (found.count, 4)
    assert found.count == len(expected.areas)
    assert found.labels.tolist() == expected.labels
    assert found.areas.tolist() == expected.areas
    assert found.boxes.tolist() == expected.boxes
    assert found.sums is None


@pytest.mark.shared
@pytest.mark.skipif(not SCIPY_VECTORS.is_dir(), reason="../shared/data/connected_components_scipy is absent")
def test_all_vectors_of_scipy() -> None:
    """All 42 cases of three masks and fourteen structures, most of them neither 4- nor 8-connected, are reproduced."""
    inputs, structures, results = (
        np.loadtxt(SCIPY_VECTORS / f"label_{name}.txt", dtype=np.int64) for name in ("inputs", "strels", "results")
    )
    cases = list(product(inputs.reshape(-1, 7, 7), structures.reshape(-1, 3, 3)))
    assert len(cases) == 42

    for (mask, structure), expected in zip(cases, results.reshape(-1, 7, 7), strict=True):
        found = label_structure(mask, structure)
        assert found.labels.tolist() == expected.tolist()
        assert_same(found, mask, structure.tolist())


@settings(max_examples=80, deadline=None)
@given(
    mask=npst.arrays(np.bool_, npst.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=9)),
    structure=st.sampled_from(STRUCTURES),
)
def test_any_small_mask_equals_the_flood_fill(mask: NDArray[np.bool_], structure: list[list[int]]) -> None:
    """Labels, areas and boxes under any of the sixteen symmetric structures are those of the naive twin."""
    assert_same(label_structure(mask, np.array(structure)), mask, structure)


@pytest.mark.parametrize("structure", STRUCTURES, ids=str)
def test_random_masks_equal_scipy(structure: list[list[int]]) -> None:
    """Labels in scipy's order, for every structure and density."""
    rng = np.random.default_rng(17)
    for density, shape in product((0.2, 0.5, 0.8), ((31, 66), (40, 5))):
        mask = rng.random(shape) < density
        expected, count = ndimage.label(mask, structure)

        found = label_structure(mask, np.array(structure))

        assert found.count == count
        assert np.array_equal(found.labels, expected)


@pytest.mark.parametrize("connectivity", CONNECTIVITIES)
@pytest.mark.parametrize("width", [7, 63, 64, 65, 130])
def test_runs_equal_pixels_and_scipy(width: int, connectivity: Literal[4, 8]) -> None:
    """`label_components` gives what `label_structure` and scipy give for its two neighbourhoods, in one order."""
    rng = np.random.default_rng(width)
    for density in (0.1, 0.4, 0.6, 0.9):
        mask = rng.random((40, width)) < density
        expected, count = ndimage.label(mask, CROSS[connectivity])

        runs, pixels = label_components(mask, connectivity), label_structure(mask, np.array(CROSS[connectivity]))

        assert runs.count == pixels.count == count
        assert np.array_equal(runs.labels, expected)
        assert np.array_equal(pixels.labels, expected)
        assert runs.areas.tolist() == pixels.areas.tolist() == np.bincount(expected.ravel())[1:].tolist()
        assert runs.boxes.tolist() == pixels.boxes.tolist()


def assert_same_partition(one: NDArray[Any], other: NDArray[Any]) -> None:
    """Two labellings name the same sets of pixels, whatever the names."""
    pairs = np.unique(np.stack([one.ravel(), other.ravel()]), axis=1)
    assert len(np.unique(pairs[0])) == len(np.unique(pairs[1])) == pairs.shape[1]
    assert np.array_equal(one == 0, other == 0)


@pytest.mark.parametrize("connectivity", CONNECTIVITIES)
@pytest.mark.parametrize("density", [0.2, 0.5, 0.7])
def test_partition_of_opencv(density: float, connectivity: Literal[4, 8]) -> None:
    """OpenCV finds the same components, areas and boxes, in an order of its own."""
    cv2 = pytest.importorskip("cv2", reason="needs OpenCV: pip install --group bench")
    mask = np.random.default_rng(4).random((45, 129)) < density

    found = label_components(mask, connectivity)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=connectivity)

    assert found.count == count - 1  # it counts the background
    assert_same_partition(found.labels, labels)
    left, top, width, height, area = stats[1:].T
    theirs = np.stack([left, top, left + width, top + height, area], axis=1).tolist()
    assert sorted(theirs) == sorted(np.column_stack([found.boxes, found.areas]).tolist())


@pytest.mark.parametrize("connectivity", CONNECTIVITIES)
@pytest.mark.parametrize("density", [0.2, 0.5, 0.7])
def test_partition_of_cc3d(density: float, connectivity: Literal[4, 8]) -> None:
    """cc3d finds the same components."""
    cc3d = pytest.importorskip("cc3d", reason="needs connected-components-3d: pip install --group bench")
    mask = np.random.default_rng(5).random((45, 129)) < density

    found = label_components(mask, connectivity)
    labels, count = cc3d.connected_components(mask, connectivity=connectivity, return_N=True)

    assert found.count == count
    assert_same_partition(found.labels, labels)


@pytest.mark.parametrize(
    ("structure", "rows"),
    [
        ([[0, 0, 0], [0, 0, 0], [0, 0, 0]], [[1, 2], [3, 4]]),  # nothing touches, and the middle does not matter
        ([[0, 0, 0], [1, 0, 1], [0, 0, 0]], [[1, 1], [2, 2]]),
        ([[0, 1, 0], [0, 1, 0], [0, 1, 0]], [[1, 2], [1, 2]]),
        ([[1, 0, 0], [0, 1, 0], [0, 0, 1]], [[1, 2], [3, 1]]),
        ([[0, 0, 7], [0, 0, 0], [-1, 0, 0]], [[1, 2], [2, 3]]),  # any value that is not 0 marks
    ],
)
def test_directions(structure: list[list[int]], rows: list[list[int]]) -> None:
    """A full square of two by two falls apart along what the structure does not mark."""
    assert label_structure(np.ones((2, 2), dtype=bool), np.array(structure)).labels.tolist() == rows


@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (0, 0), (1, 1), (3, 2)])
def test_an_empty_mask_has_no_component(shape: tuple[int, int]) -> None:
    """Without foreground there are no areas and no boxes, whatever the size."""
    found = label_structure(np.zeros(shape, dtype=bool), np.ones((3, 3), dtype=bool))

    assert found.count == 0
    assert found.labels.shape == shape
    assert not found.labels.any()
    assert found.areas.shape == (0,)
    assert found.boxes.shape == (0, 4)


MASK = np.random.default_rng(3).random((24, 31)) < 0.5


@pytest.mark.parametrize(
    "mask",
    [
        pytest.param(MASK[::2, ::-3], id="strided, reversed"),
        pytest.param(np.broadcast_to(MASK[:1], (9, 31)), id="broadcast, read-only"),
        pytest.param(MASK.T.astype(np.uint64) << np.uint64(40), id="transposed, uint64"),
        pytest.param(MASK.astype(">u2") * 256, id="big-endian, low byte zero"),
        pytest.param(-MASK.astype(np.int8), id="negative"),
    ],
)
def test_layout_and_integer_type_do_not_matter(mask: NDArray[Any]) -> None:
    """Any layout and integer type give the components of what is not zero; the input is left alone."""
    before = mask.copy()

    assert_same(label_structure(mask, np.array(CROSS[8])), mask, CROSS[8])
    assert np.array_equal(mask, before)


FULL = np.ones((3, 3), dtype=bool)


@pytest.mark.parametrize(
    ("mask", "structure", "words"),
    [
        (MASK[0], FULL, r"mask must be bool or integer \(h, w\).*got bool \(31,\)"),
        (MASK[None], FULL, r"got bool \(1, 24, 31\)"),
        (MASK.astype(float), FULL, "got float64 .*Threshold scores first"),
        (np.broadcast_to(MASK[:1, :1], (2**16, 2**15)), FULL, r"fewer than 2\*\*31"),
        (MASK, FULL[:2], r"structure must be bool or integer \(3, 3\); got bool \(2, 3\)"),
        (MASK, FULL[None], r"got bool \(1, 3, 3\)"),
        (MASK, FULL.astype(float), "got float64"),
        (MASK, np.array([[0, 0, 0], [1, 1, 0], [0, 0, 0]]), "turned by 180 degrees; got .*the neighbour touches"),
        (MASK, np.array([[1, 0, 0], [0, 1, 0], [0, 0, 0]]), "turned by 180 degrees"),
        (MASK, np.array([[0, 0, 1], [0, 1, 0], [0, 0, 1]]), "turned by 180 degrees"),  # only mirrored
        (MASK, np.array([[0, 1, 0], [1, 1, 1], [0, 0, 0]]), "turned by 180 degrees"),
    ],
)
def test_bad_input_is_named(mask: NDArray[Any], structure: NDArray[Any], words: str) -> None:
    """The message says what must be and what came."""
    with pytest.raises(ShapeError, match=words):
        label_structure(mask, structure)


def test_lists_are_arrays() -> None:
    """Nested lists are taken, ragged ones refused."""
    assert label_structure([[1, 1]], [[0, 0, 0], [1, 1, 1], [0, 0, 0]]).count == 1
    with pytest.raises(ShapeError, match="mask must be an array, or lists"):
        label_structure([[1, 1], [1]], CROSS[4])
    with pytest.raises(ShapeError, match="structure must be an array, or lists"):
        label_structure([[1, 1]], [[1, 1], [1]])
