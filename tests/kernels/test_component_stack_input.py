"""What a caller may pass to labelling of stacks: layouts, empty stacks, scores that are not finite, mistakes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from clipfast.errors import ShapeError
from clipfast.kernels import component_stripes
from clipfast.kernels.components import label_components, label_stack
from clipfast.kernels.stripes import share_out, threads_to_use

RNG = np.random.default_rng(2)
MASKS = RNG.random((3, 11, 70)) < 0.5
SCORES = RNG.normal(size=MASKS.shape)


def frozen(values: NDArray[Any]) -> NDArray[Any]:
    """Return a read-only copy."""
    copy = values.copy()
    copy.setflags(write=False)
    return copy


@pytest.mark.parametrize(
    ("masks", "scores"),
    [
        pytest.param(np.asfortranarray(MASKS), np.asfortranarray(SCORES), id="column order"),
        pytest.param(MASKS.transpose(2, 0, 1), SCORES.transpose(2, 0, 1), id="transposed"),
        pytest.param(MASKS[::-1, ::2, ::-3], SCORES[::-1, ::2, ::-3], id="strided, reversed"),
        pytest.param(frozen(MASKS), frozen(SCORES), id="read-only"),
        pytest.param(
            np.broadcast_to(MASKS[:1], (4, 11, 70)), np.broadcast_to(SCORES[0, 0], (4, 11, 70)), id="broadcast"
        ),
        pytest.param(MASKS.astype(np.uint64) << 60, SCORES.astype(">f8"), id="uint64, big-endian scores"),
        pytest.param(-MASKS.astype(np.int8), SCORES.astype(np.float32)[..., ::-1], id="int8, reversed float32"),
    ],
)
def test_layout_and_type_do_not_matter(masks: NDArray[Any], scores: NDArray[Any]) -> None:
    """Any layout, flags and byte order give the bits that plain arrays give; the inputs are left alone."""
    before = masks.copy(), scores.copy()
    plain_masks = np.ascontiguousarray(masks != 0)
    plain_scores = np.ascontiguousarray(scores.astype(scores.dtype.newbyteorder("=")))

    found, plain = label_stack(masks, scores=scores), label_stack(plain_masks, scores=plain_scores)

    for name in ("labels", "offsets", "areas", "boxes", "sums"):
        assert getattr(found, name).tobytes() == getattr(plain, name).tobytes(), name
    assert np.array_equal(masks, before[0])
    assert np.array_equal(scores, before[1])


@pytest.mark.parametrize("shape", [(0, 4, 5), (3, 0, 5), (3, 4, 0), (0, 0, 0), (3, 4, 5)])
@pytest.mark.parametrize("threads", [None, 1, 3])
def test_stacks_without_a_component(shape: tuple[int, int, int], threads: int | None) -> None:
    """No masks, no rows, no columns or no foreground: nothing is found, and every field has its shape and type."""
    found = label_stack(np.zeros(shape, dtype=bool), scores=np.full(shape, np.nan), threads=threads)

    assert len(found) == shape[0]
    assert found.labels.shape == shape
    assert found.labels.dtype == np.int32
    assert not found.labels.any()
    assert found.offsets.tolist() == [0] * (shape[0] + 1)
    assert found.counts.tolist() == [0] * shape[0]
    assert found.areas.shape == (0,)
    assert found.boxes.shape == (0, 4)
    assert found.sums is not None
    assert found.means is not None
    assert found.sums.shape == found.means.shape == (0,)
    assert [found[at].count for at in range(len(found))] == [0] * shape[0]


def test_masks_without_components_between_others() -> None:
    """Empty masks at the start, in the middle and at the end have no rows; the others are numbered from 1."""
    masks = np.zeros((7, 2, 3), dtype=np.uint8)
    masks[1, 0, 0] = masks[1, 1, 2] = masks[4, 1, 1] = 1

    found = label_stack(masks, scores=np.arange(42).reshape(masks.shape))

    assert found.offsets.tolist() == [0, 0, 2, 2, 2, 3, 3, 3]
    assert found.labels[1].tolist() == [[1, 0, 0], [0, 0, 2]]
    assert found.labels[4].tolist() == [[0, 0, 0], [0, 1, 0]]
    assert found.boxes.tolist() == [[0, 0, 1, 1], [2, 1, 3, 2], [1, 1, 2, 2]]
    assert found.sums is not None
    assert found.sums.tolist() == [6, 11, 28]


def test_masks_that_touch_in_memory_stay_apart() -> None:
    """The last row of a mask does not touch the first of the next, in any stripes."""
    masks = np.ones((4, 3, 5), dtype=bool)

    for stripe in (1, 5, 10, 15, 31, 2**19):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(component_stripes, "_STRIPE", stripe)
            found = label_stack(masks)
        assert (found.labels == 1).all()
        assert found.areas.tolist() == [15] * 4
        assert found.boxes.tolist() == [[0, 0, 5, 3]] * 4


def test_items_are_views_from_either_end() -> None:
    """A negative index counts from the end, and nothing is copied."""
    found = label_stack(MASKS, scores=SCORES)

    assert np.array_equal(found[-1].labels, found.labels[2])
    assert found[-3].areas.tolist() == found[0].areas.tolist() == found.areas[: found.offsets[1]].tolist()
    for name in ("labels", "areas", "boxes", "sums"):
        assert np.shares_memory(getattr(found[1], name), getattr(found, name))
    assert found[1].means is not None
    assert len(found) == 3
    with_no_scores = label_stack(MASKS)[0]
    assert with_no_scores.sums is None
    assert with_no_scores.means is None


@pytest.mark.parametrize("at", [3, -4, 10**9])
def test_no_such_mask(at: int) -> None:
    """An index out of range is an IndexError, not another mask."""
    with pytest.raises(IndexError):
        label_stack(MASKS)[at]


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite(value: float, kind: Any) -> None:
    """Under the background they are not read; under the foreground they are refused, one pixel among many."""
    masks = np.ones((2, 5, 66), dtype=bool)
    masks[1, 2, 64] = False
    scores = np.ones(masks.shape, kind)
    scores[1, 2, 64] = value

    found = label_stack(masks, scores=scores)
    assert found.sums is not None
    assert found.sums.tolist() == [330, 329]

    masks[1, 2, 64] = True
    with pytest.raises(ShapeError, match="finite under the foreground"):
        label_stack(masks, scores=scores)
    with pytest.raises(ShapeError, match="finite under the foreground"):
        label_components(masks[1], scores=scores[1])


def test_sums_that_float64_cannot_hold_are_refused() -> None:
    """Finite scores whose sum overflows are refused, and so are infinities that cancel."""
    mask = np.ones((1, 4), dtype=bool)

    for scores in ([1e308, 1e308, 0, 0], [np.inf, 0, 0, -np.inf]):
        with np.errstate(all="ignore"), pytest.raises(ShapeError, match="so must their sums"):
            label_components(mask, scores=np.array([scores]))


@pytest.mark.parametrize(
    ("masks", "options", "words"),
    [
        (np.zeros((2, 3), dtype=bool), {}, r"masks must be \(n, h, w\); got \(2, 3\). Pass a single mask"),
        (np.zeros((1, 2, 3, 1), dtype=bool), {}, r"got \(1, 2, 3, 1\)"),
        (np.zeros((1, 2, 3)), {}, "bool or integer; got float64. Threshold it first"),
        (MASKS, {"connectivity": 6}, r"one of \[4, 8\]; got 6"),
        (MASKS, {"scores": SCORES[:2]}, r"mask's shape \(3, 11, 70\); got float64 \(2, 11, 70\)"),
        (MASKS, {"scores": SCORES[0]}, r"got float64 \(11, 70\)"),  # would broadcast
        (MASKS, {"scores": SCORES.transpose(0, 2, 1)}, r"\(3, 70, 11\)"),  # as many pixels
        (MASKS, {"scores": SCORES.astype(complex)}, "real numbers .* got complex128"),
        (MASKS, {"scores": SCORES.astype(str)}, "got <U"),
        (MASKS, {"threads": 0}, "threads must be at least 1; got 0"),
        (MASKS, {"threads": -2}, "got -2"),
        (np.zeros((0, 2, 3), dtype=bool), {"threads": 0}, "threads must be at least 1"),  # though nothing is to do
        (np.broadcast_to(MASKS[:1, :1, :1], (2, 2**15, 2**15)), {}, r"fewer than 2\*\*31 pixels"),
    ],
)
def test_bad_input_is_named(masks: NDArray[Any], options: dict[str, Any], words: str) -> None:
    """The message says what must be and what came."""
    with pytest.raises(ShapeError, match=words):
        label_stack(masks, **options)


def test_bad_scores_of_a_single_mask_are_named() -> None:
    """A single mask is checked as a stack is."""
    with pytest.raises(ShapeError, match=r"mask's shape \(11, 70\); got float64 \(70, 11\)"):
        label_components(MASKS[0], scores=SCORES[0].T)
    with pytest.raises(ShapeError, match="Pass many of one size to label_stack"):
        label_components(MASKS)


def test_lists_are_arrays() -> None:
    """Nested lists are taken, as masks and as scores; ragged ones are refused."""
    mask, scores = [[1, 1, 0]], [[0.5, 1, 7]]
    ragged: Any = [[0.5], [1, 7]]

    for found in (label_components(mask, scores=scores), label_stack([mask], scores=[scores])[0]):
        assert found.sums is not None
        assert found.sums.tolist() == [1.5]
    with pytest.raises(ShapeError, match="mask must be an array, or lists whose rows have one length"):
        label_components([[1], [1, 0]])
    with pytest.raises(ShapeError, match="scores must be an array, or lists"):
        label_components(mask, scores=ragged)
    with pytest.raises(ShapeError, match="masks must be an array, or lists"):
        label_stack([mask, [[1]]])


@pytest.mark.parametrize(("asked", "stripes", "used"), [(3, 9, 3), (9, 3, 3), (1, 9, 1), (5, 0, 1), (None, 1, 1)])
def test_threads_never_outnumber_stripes(asked: int | None, stripes: int, used: int) -> None:
    """What has one stripe starts no thread."""
    assert threads_to_use(asked, stripes) == used


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize("count", [0, 1, 7, 8])
def test_every_stripe_is_worked_on_once(threads: int, count: int) -> None:
    """However many threads share them."""
    done: list[int] = []

    with share_out(threads) as for_each:
        for_each(done.append, count)

    assert sorted(done) == list(range(count))


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("bad", [0, 1, 5])
def test_an_error_in_any_stripe_reaches_the_caller(threads: int, bad: int) -> None:
    """No thread swallows it."""

    def work(stripe: int) -> None:
        if stripe == bad:
            raise ShapeError("stripe")

    with pytest.raises(ShapeError, match="stripe"), share_out(threads) as for_each:
        for_each(work, 6)
