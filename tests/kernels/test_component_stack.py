"""Stacks of masks and sums of scores: against one flood fill a mask, in stripes, on threads, and bad input."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray
from scipy import ndimage

from clipfast.kernels import component_runs, component_stripes
from clipfast.kernels.bits import pack_rows, words_per_row
from clipfast.kernels.components import ComponentStack, label_components, label_stack
from reference import naive_components as naive
from reference.drawings import DRAWINGS, drawing

CONNECTIVITIES: tuple[Literal[4, 8], ...] = (4, 8)
WIDTHS = [1, 2, 15, 16, 17, 63, 64, 65, 127, 128, 129]  # around vectors of 16 and words of 64


@contextmanager
def stripes_of(pixels: int) -> Iterator[None]:
    """Cut masks into stripes of so many pixels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(component_stripes, "_STRIPE", pixels)
        yield


def assert_same(found: ComponentStack, masks: NDArray[Any], connectivity: int, scores: NDArray[Any] | None) -> None:
    """Compare every field with one flood fill a mask."""
    expected = naive.stack(masks, connectivity, scores)
    assert found.labels.dtype == np.int32
    assert found.areas.dtype == found.boxes.dtype == found.offsets.dtype == np.int64
    assert found.labels.shape == masks.shape
    assert found.boxes.shape == (len(found.areas), 4)
    assert found.labels.tolist() == [one.labels for one in expected]
    assert found.counts.tolist() == [len(one.areas) for one in expected]
    assert found.offsets.tolist() == [sum(len(one.areas) for one in expected[:at]) for at in range(len(masks) + 1)]
    assert found.areas.tolist() == [area for one in expected for area in one.areas]
    assert found.boxes.tolist() == [box for one in expected for box in one.boxes]
    if scores is None:
        assert found.sums is None
        assert found.means is None
    else:
        sums = np.array([total for one in expected for total in one.sums])
        assert found.sums is not None
        assert found.means is not None
        assert found.sums.dtype == found.means.dtype == np.float64
        np.testing.assert_allclose(found.sums, sums, rtol=1e-13, atol=1e-13)
        np.testing.assert_allclose(found.means, sums / found.areas, rtol=1e-13, atol=1e-13)


def assert_equal(one: ComponentStack, other: ComponentStack) -> None:
    """Compare two results bit for bit."""
    for name in ("labels", "offsets", "areas", "boxes", "sums"):
        left, right = getattr(one, name), getattr(other, name)
        assert left.dtype == right.dtype
        assert left.shape == right.shape
        assert left.tobytes() == right.tobytes(), name


def one_of(found: ComponentStack, at: int) -> ComponentStack:
    """A stack of one mask out of a stack of many."""
    one = found[at]
    return ComponentStack(one.labels[None], np.array([0, one.count]), one.areas, one.boxes, one.sums)


# --- against the twin ----------------------------------------------------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(
    masks=npst.arrays(np.bool_, npst.array_shapes(min_dims=3, max_dims=3, min_side=0, max_side=8)),
    connectivity=st.sampled_from(CONNECTIVITIES),
    stripe=st.sampled_from([1, 9, 40, 2**19]),
    threads=st.sampled_from([1, 2, 3, 8]),
    seed=st.integers(0, 3),
)
def test_any_small_stack_equals_a_flood_fill_a_mask(
    masks: NDArray[np.bool_], connectivity: Literal[4, 8], stripe: int, threads: int, seed: int
) -> None:
    """Any stack, in any stripes and on any threads, gives what the twin gives."""
    scores = np.random.default_rng(seed).normal(size=masks.shape)

    with stripes_of(stripe):
        found = label_stack(masks, connectivity, scores=scores, threads=threads)

    assert_same(found, masks, connectivity, scores)


@pytest.mark.parametrize("stripe", [1, 300, 2**19])
@pytest.mark.parametrize("width", WIDTHS)
def test_drawings_of_any_width(width: int, stripe: int) -> None:
    """Columns, chessboards, combs, snakes and spirals of widths around whole words equal the flood fill."""
    masks = np.stack([drawing(name, 9, width) for name in DRAWINGS])

    for connectivity in CONNECTIVITIES:
        with stripes_of(stripe):
            found = label_stack(masks, connectivity, threads=2)
        assert_same(found, masks, connectivity, None)


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("columns", (7, 7)),
        ("chessboard", (59, 1)),
        ("comb up", (1, 1)),
        ("comb down", (1, 1)),
        ("snake", (1, 1)),
        ("spiral", (1, 1)),
    ],
)
@pytest.mark.parametrize("stripe", [13, 26, 39, 2**19])  # one, two and three rows, and all
def test_counts_that_a_reader_can_check(name: str, counts: tuple[int, int], stripe: int) -> None:
    """A snake and a spiral are one component however they are cut."""
    with stripes_of(stripe):
        found = tuple(label_components(drawing(name, 9, 13), one).count for one in CONNECTIVITIES)

    assert found == counts


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("density", [0.2, 0.5, 0.8])
def test_random_stacks_of_any_width(width: int, density: float) -> None:
    """Random masks and scores of widths around whole words, in stripes of two rows or of two masks."""
    rng = np.random.default_rng(width)
    masks, scores = rng.random((4, 6, width)) < density, rng.random((4, 6, width))

    for stripe in (2 * width, 13 * width):
        with stripes_of(stripe):
            assert_same(label_stack(masks, 8, scores=scores, threads=3), masks, 8, scores)


@pytest.mark.parametrize(("rows", "width"), [(1, 1), (1, 15), (1, 17), (3, 5), (5, 3), (16, 1), (2, 64), (4, 65)])
def test_nothing_beyond_a_stripe_is_written(rows: int, width: int) -> None:
    """Runs are written in whole vectors, yet what lies behind the stripe in memory stays as it is."""
    memory = np.full(rows * width + 64, -7, np.int32)
    words = np.empty((rows, words_per_row(width)), np.uint64)
    pack_rows(np.ones((rows, width), dtype=bool), words)
    values, labels = np.array([5], np.int32), np.zeros(rows, np.int32)

    component_runs.write(words, values, labels, memory[: rows * width].reshape(rows, width))

    assert memory.tolist() == [5] * (rows * width) + [-7] * 64


# --- one order of sums ---------------------------------------------------------------------------------------------

RNG = np.random.default_rng(5)
MASKS = RNG.random((5, 23, 67)) < 0.6
SCORES: dict[str, NDArray[Any]] = {
    "float64": RNG.normal(size=MASKS.shape) * 10.0 ** RNG.integers(-8, 9, MASKS.shape),
    "float32": RNG.normal(size=MASKS.shape).astype(np.float32),
    "float16": RNG.normal(size=MASKS.shape).astype(np.float16),
    "uint8": RNG.integers(0, 256, MASKS.shape).astype(np.uint8),
    "int16": RNG.integers(-(2**15), 2**15, MASKS.shape).astype(np.int16),
    "int64": RNG.integers(-(2**40), 2**40, MASKS.shape),
    "big-endian float32": RNG.normal(size=MASKS.shape).astype(">f4"),
    "bool": RNG.random(MASKS.shape) < 0.5,
}


@pytest.mark.parametrize("kind", SCORES)
def test_scores_of_every_type_are_summed_in_float64(kind: str) -> None:
    """Sums and means of any real type are those of exact addition up to float64's last bits."""
    scores = SCORES[kind]
    found = label_stack(MASKS, scores=scores)

    if kind != "float64":
        assert_same(found, MASKS, 8, scores)
    magnitude = [total for one in naive.stack(MASKS, 8, np.abs(scores.astype(float))) for total in one.sums]
    exact = [total for one in naive.stack(MASKS, 8, scores) for total in one.sums]
    assert found.sums is not None
    assert (np.abs(found.sums - exact) <= 1e-14 * np.array(magnitude)).all()
    if scores.dtype.kind in "biu":  # whole numbers below 2**53 are exact in any order
        assert found.sums.tolist() == exact


def test_float32_is_not_summed_in_float32() -> None:
    """A large score does not swallow small ones: 2**24 + 1 is not a float32."""
    scores = np.ones((1, 10), np.float32)
    scores[0, 0] = 2**24

    found = label_components(np.ones((1, 10), dtype=bool), scores=scores)

    assert found.sums is not None
    assert found.sums.tolist() == [2**24 + 9]


@pytest.mark.parametrize("stripe", [1, 67 * 4, 67 * 23, 67 * 60, 2**19])
@pytest.mark.parametrize("kind", ["float64", "float32", "uint8", "int64"])
def test_alone_or_in_a_stack_every_bit_is_the_same(kind: str, stripe: int) -> None:
    """`label_stack` of many, of one, and `label_components` give the same bits, in any stripes."""
    scores = SCORES[kind]
    with stripes_of(stripe):
        found = label_stack(MASKS, scores=scores)
        for at in range(len(MASKS)):
            alone = label_components(MASKS[at], scores=scores[at])
            one = found[at]
            assert one.count == alone.count == found.counts[at]
            for name in ("labels", "areas", "boxes", "sums", "means"):
                assert getattr(one, name).tobytes() == getattr(alone, name).tobytes(), name
            assert_equal(label_stack(MASKS[[at]], scores=scores[[at]]), one_of(found, at))


@pytest.mark.parametrize("threads", [2, 3, 8, None])
@pytest.mark.parametrize("stripe", [67, 67 * 5, 67 * 23, 67 * 50])
def test_threads_change_no_bit(threads: int | None, stripe: int) -> None:
    """One, two, three and eight threads give one result, whether stripes are rows, whole masks or several masks."""
    scores = SCORES["float64"]
    with stripes_of(stripe):
        one = label_stack(MASKS, 4, scores=scores, threads=1)
        assert_equal(label_stack(MASKS, 4, scores=scores, threads=threads), one)

    assert one.labels.tolist() == label_stack(MASKS, 4).labels.tolist()


def test_a_mask_of_several_true_stripes() -> None:
    """A mask larger than four stripes equals scipy's labels and bincount's sums, alone, in a stack and on threads."""
    compiled = hasattr(component_runs.scan, "py_func")  # not with NUMBA_DISABLE_JIT=1
    side, stripe = (1500, component_stripes._STRIPE) if compiled else (90, 2**11)
    rng = np.random.default_rng(11)
    masks, scores = rng.random((2, side, side)) < 0.55, rng.random((2, side, side), dtype=np.float32)
    assert side * side > 3 * stripe

    with stripes_of(stripe):
        found = label_stack(masks, 4, scores=scores, threads=3)
        assert_equal(label_stack(masks, 4, scores=scores, threads=1), found)
        alone = label_components(masks[1], 4, scores=scores[1], threads=2)

    labels, count = ndimage.label(masks[1])
    assert found[1].count == alone.count == count
    assert np.array_equal(found.labels[1], labels)
    assert np.array_equal(alone.labels, labels)
    assert alone.areas.tolist() == np.bincount(labels.ravel())[1:].tolist()
    assert alone.boxes.tolist() == [[x.start, y.start, x.stop, y.stop] for y, x in ndimage.find_objects(labels)]
    assert alone.sums is not None
    assert found[1].sums is not None
    assert found[1].sums.tobytes() == alone.sums.tobytes()
    np.testing.assert_allclose(alone.sums, np.bincount(labels.ravel(), scores[1].ravel())[1:], rtol=1e-12)
