"""NMS and merged boxes: against loops and torchvision, and what must hold for any boxes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from clipfast.kernels.boxes import merge_boxes, non_maximum_suppression
from clipfast.kernels.overlap import box_iou
from reference import naive_boxes as naive

OFFSETS: tuple[Literal[0, 1], ...] = (0, 1)


@dataclass(frozen=True)
class Scene:
    """Boxes, scores and classes, with ties, boxes without area and equal boxes."""

    boxes: NDArray[Any]
    scores: NDArray[np.float64]
    classes: NDArray[np.int64] | None
    threshold: float
    offset: Literal[0, 1]

    @property
    def lists(self) -> tuple[list[list[float]], list[float], float, list[int] | None, int]:
        """What the twins take."""
        classes = None if self.classes is None else self.classes.tolist()
        return self.boxes.astype(float).tolist(), self.scores.tolist(), self.threshold, classes, self.offset

    def suppress(self) -> list[int]:
        """What is kept."""
        kept = non_maximum_suppression(
            self.boxes, self.scores, self.threshold, classes=self.classes, pixel_offset=self.offset
        )
        assert kept.dtype == np.int64
        return list(kept.tolist())


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    """Up to twelve boxes on a small grid, whole or in tenths."""
    count = draw(st.integers(0, 12))
    rows = draw(st.lists(st.lists(st.integers(0, 6), min_size=4, max_size=4), min_size=count, max_size=count))
    pairs = np.sort(np.array(rows, np.int64).reshape(-1, 2, 2), axis=1).reshape(-1, 4)
    boxes = draw(st.sampled_from([pairs, pairs / 10 + 0.1]))
    scores = draw(st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.7, 1.0]), min_size=count, max_size=count))
    classes = draw(st.none() | st.lists(st.integers(-1, 2), min_size=count, max_size=count))
    return Scene(
        boxes,
        np.array(scores),
        None if classes is None else np.array(classes, np.int64),
        draw(st.sampled_from([0.0, 0.25, 1 / 3, 0.5, 0.7, 1.0])),
        draw(st.sampled_from(OFFSETS)),
    )


# --- against the twins ---------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(scene=scenes())
def test_any_boxes_are_kept_as_the_loops_keep_them(scene: Scene) -> None:
    """The kept boxes and their order are the naive twin's, ties and thresholds that are met exactly included."""
    assert scene.suppress() == naive.nms(*scene.lists)[0]


@settings(max_examples=150, deadline=None)
@given(scene=scenes())
def test_any_boxes_are_merged_as_the_loops_merge_them(scene: Scene) -> None:
    """Clusters are the naive twin's; merged boxes are its weighted means, inside what the coordinates span."""
    found = merge_boxes(scene.boxes, scene.scores, scene.threshold, classes=scene.classes, pixel_offset=scene.offset)

    expected = naive.merge(*scene.lists)
    assert found.best.dtype == found.cluster.dtype == np.int64
    assert found.boxes.dtype == found.scores.dtype == np.float64
    assert found.boxes.shape == (len(found.best), 4)
    assert found.best.tolist() == expected.best == scene.suppress()
    assert found.scores.tolist() == expected.scores
    assert found.cluster.tolist() == expected.cluster
    np.testing.assert_allclose(found.boxes, np.array(expected.boxes).reshape(-1, 4), rtol=1e-12)
    for at, box in enumerate(found.boxes):
        members = scene.boxes[found.cluster == at]
        assert (members.min(axis=0) <= box).all()
        assert (box <= members.max(axis=0)).all()


# --- what must hold ------------------------------------------------------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(scene=scenes(), by=st.integers(-(10**6), 10**6))
def test_what_holds_for_any_suppression(scene: Scene, by: int) -> None:
    """Kept boxes come by falling score, overlap no more than allowed and are kept again; every other overlaps one."""
    kept = scene.suppress()

    assert len(set(kept)) == len(kept)
    assert kept == sorted(kept, key=lambda at: (-scene.scores[at], at))
    classes = np.zeros(len(scene.boxes), np.int64) if scene.classes is None else scene.classes
    rivals = box_iou(scene.boxes, scene.boxes, pixel_offset=scene.offset) > scene.threshold
    rivals &= classes[:, None] == classes
    np.fill_diagonal(rivals, val=False)
    assert not rivals[np.ix_(kept, kept)].any()
    for at in set(range(len(scene.boxes))) - set(kept):
        assert any(rivals[at, better] and scene.scores[better] >= scene.scores[at] for better in kept)
    again = Scene(scene.boxes[kept], scene.scores[kept], classes[kept], scene.threshold, scene.offset)
    assert again.suppress() == list(range(len(kept)))
    if scene.boxes.dtype == np.int64:
        moved = Scene(scene.boxes + by, scene.scores, scene.classes, scene.threshold, scene.offset)
        assert moved.suppress() == kept


@settings(max_examples=60, deadline=None)
@given(scene=scenes().filter(lambda scene: scene.classes is not None))
def test_classes_are_suppressed_each_alone(scene: Scene) -> None:
    """With classes, what is kept is what each class alone keeps."""
    assert scene.classes is not None
    alone: list[int] = []
    for kind in set(scene.classes.tolist()):
        rows = np.flatnonzero(scene.classes == kind)
        one = Scene(scene.boxes[rows], scene.scores[rows], None, scene.threshold, scene.offset)
        alone += rows[one.suppress()].tolist()

    assert sorted(scene.suppress()) == sorted(alone)


# --- small drawings ------------------------------------------------------------------------------------------------

SQUARE = [0.0, 0, 2, 2]
HALF = [0.0, 0, 2, 4]  # overlaps SQUARE by exactly a half
CHAIN = np.array([[0.0, 0, 10, 1], [4, 0, 14, 1], [8, 0, 18, 1]])  # neighbours overlap by 6 of 14, the ends by 2 of 18


@pytest.mark.parametrize(
    ("boxes", "scores", "threshold", "kept"),
    [
        ([SQUARE, HALF], [0.5, 0.6], 0.5, [1, 0]),  # equal to the threshold stays
        ([SQUARE, HALF], [0.5, 0.6], np.nextafter(0.5, 0), [1]),
        ([SQUARE, SQUARE], [0.5, 0.5], 1.0, [0, 1]),  # nothing overlaps by more than 1
        ([SQUARE, SQUARE], [0.5, 0.5], 0.99, [0]),  # of equal scores the first goes first
        ([SQUARE, SQUARE, SQUARE], [0.5, 0.6, 0.6], 0.5, [1]),
        (CHAIN, [0.9, 0.8, 0.7], 0.4, [0, 2]),  # what is dropped drops nobody
        (CHAIN, [0.8, 0.9, 0.7], 0.4, [1]),
        (CHAIN, [0.7, 0.8, 0.9], 0.0, [2]),
        ([[1, 1, 1, 1], [1, 1, 1, 1]], [0.3, 0.2], 0.0, [0, 1]),  # boxes without area overlap nothing
        ([SQUARE, [2, 0, 4, 2]], [0.3, 0.2], 0.0, [0, 1]),  # boxes that touch do not overlap
        ([SQUARE, SQUARE], [-0.3, -0.2], 0.5, [1]),  # scores may be negative
    ],
)
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_rules_of_suppression(boxes: Any, scores: list[float], threshold: float, kept: list[int], kind: Any) -> None:
    """Thresholds that are met, ties and chains, in both types."""
    assert non_maximum_suppression(np.array(boxes, kind), np.array(scores), threshold).tolist() == kept


def test_threshold_between_two_float32_is_not_rounded_up() -> None:
    """An overlap of float32 that is greater than the threshold by less than a step of float32 is dropped."""
    boxes = np.array([[0, 0, 1, 1], [0, 0, 1, 3]], np.float32)
    overlap = float(box_iou(boxes, boxes)[0, 1])
    scores = np.array([0.9, 0.8])

    assert non_maximum_suppression(boxes, scores, float(np.nextafter(overlap, 0))).tolist() == [0]
    assert non_maximum_suppression(boxes, scores, overlap).tolist() == [0, 1]
    assert non_maximum_suppression(boxes, scores, float(np.nextafter(overlap, 1))).tolist() == [0, 1]


def test_offset_measures_the_last_pixel() -> None:
    """Boxes that share their border overlap only if the last pixel is inside."""
    boxes, scores = np.array([[0, 0, 1, 1], [1, 0, 2, 1]]), np.array([1.0, 0.5])

    assert non_maximum_suppression(boxes, scores, 0.3).tolist() == [0, 1]
    assert non_maximum_suppression(boxes, scores, 0.3, pixel_offset=1).tolist() == [0]


@pytest.mark.torch
@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 0.7, 1.0])
def test_torchvision_keeps_the_same(threshold: float, kind: Any) -> None:
    """Crowded random boxes without ties: the same indices in the same order, with and without classes."""
    torch, ops = pytest.importorskip("torch"), pytest.importorskip("torchvision.ops")
    rng = np.random.default_rng(13)
    low = rng.random((150, 2)) * 12
    boxes = np.concatenate([low, low + 0.5 + rng.random((150, 2)) * 6], axis=1).astype(kind)
    scores, classes = rng.permutation(150).astype(kind) / 150, rng.integers(0, 4, 150)
    tensors = torch.from_numpy(boxes), torch.from_numpy(scores)

    kept = non_maximum_suppression(boxes, scores, threshold)
    by_class = non_maximum_suppression(boxes, scores, threshold, classes=classes)

    assert kept.tolist() == ops.nms(*tensors, threshold).tolist()
    alone = [np.flatnonzero(classes == one) for one in range(4)]
    theirs = [rows[ops.nms(tensors[0][rows], tensors[1][rows], threshold).numpy()] for rows in alone]
    assert by_class.tolist() == sorted(np.concatenate(theirs), key=lambda at: -scores[at])


@pytest.mark.parametrize(
    ("boxes", "scores", "merged", "cluster"),
    [
        ([SQUARE, HALF], [0.1, 0.3], [[0, 0, 2, 3.5]], [0, 0]),
        ([SQUARE, HALF], [0.0, 0.3], [HALF], [0, 0]),  # a score of 0 has no weight
        ([SQUARE, HALF], [0.0, 0.0], [[0, 0, 2, 3]], [0, 0]),  # unless all are 0
        ([SQUARE, HALF, [9, 9, 9, 9]], [1e-320, 1e-320, 0], [[0, 0, 2, 3], [9, 9, 9, 9]], [0, 0, 1]),  # subnormal
        ([SQUARE, HALF], [1e308, 1e308], [[0, 0, 2, 3]], [0, 0]),  # whose sum overflows
        (CHAIN, [0.6, 0.8, 0.2], [[3, 0, 13, 1]], [0, 0, 0]),
        (CHAIN, [0.9, 0.3, 0.8], [[1, 0, 11, 1], CHAIN[2]], [0, 0, 1]),  # the middle goes to the better end
        (CHAIN, [0.7, 0.3, 0.9], [[7, 0, 17, 1], CHAIN[0]], [1, 0, 0]),
    ],
)
def test_rules_of_merging(boxes: Any, scores: list[float], merged: list[list[float]], cluster: list[int]) -> None:
    """Weights, scores of 0 and who goes where."""
    found = merge_boxes(np.array(boxes), np.array(scores), 0.4)

    np.testing.assert_allclose(found.boxes, merged, rtol=1e-8)
    assert found.cluster.tolist() == cluster
    assert found.scores.tolist() == [scores[at] for at in found.best]
