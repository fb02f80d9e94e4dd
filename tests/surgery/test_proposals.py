"""Region proposals: what they are made of, that they follow edges, and what a map makes of them."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from clipfast.datasets.fabricworld import render
from clipfast.errors import MissingExtraError, ShapeError
from clipfast.kernels import box_iou, label_components
from clipfast.surgery import Boxes, FusionOptions, ProposalOptions, propose, score_proposals, snap_boxes
from clipfast.types import Pixels

pytest.importorskip("skimage", reason="needs scikit-image (extra proposals)")
FEW = ProposalOptions(superpixels=40)


def picture(*boxes: tuple[int, int, int, int], size: int = 96) -> Pixels:
    """Red rectangles on grey."""
    image = np.full((size, size, 3), 120, np.uint8)
    for x1, y1, x2, y2 in boxes:
        image[y1:y2, x1:x2] = (200, 30, 30)
    return image


def test_a_proposal_is_the_union_of_its_superpixels() -> None:
    """Boxes and areas are those of the pixels, every region is connected, and the last is the whole image."""
    image = render(5, objects=2, size=96).image
    found = propose(image, options=FEW)
    count = found.members.shape[1]

    assert len(found) == 2 * count - 1
    assert found.members[:count].tolist() == np.eye(count, dtype=bool).tolist()
    assert found.members[-1].all()
    for members, box, area in zip(found.members, found.boxes, found.areas, strict=True):
        mask = members[found.superpixels]
        rows, columns = np.nonzero(mask)

        assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert area == mask.sum()
        assert label_components(mask, connectivity=4).count == 1


def test_joins_form_a_tree() -> None:
    """Each superpixel is in some regions that lie in each other, and no two regions cross."""
    found = propose(render(6, objects=1, size=96).image, options=FEW)
    shared = found.members.astype(int) @ found.members.T
    sizes = found.members.sum(axis=1)

    assert ((shared == 0) | (shared == np.minimum.outer(sizes, sizes))).all()
    assert len(np.unique(found.members, axis=0)) == len(found)


def test_plain_objects_are_among_the_proposals() -> None:
    """Boxes of rectangles, to a pixel or two."""
    truth = [(10, 12, 40, 36), (55, 50, 80, 90)]
    found = propose(picture(*truth), options=ProposalOptions(superpixels=60, smoothing=1))

    assert box_iou(np.array(truth, float), found.boxes.astype(float)).max(axis=1).min() > 0.85


def test_the_same_image_gives_the_same_regions() -> None:
    """Nothing is drawn at random."""
    image = render(7, objects=2, size=64).image
    one, other = propose(image, options=FEW), propose(image, options=FEW)

    assert np.array_equal(one.superpixels, other.superpixels)
    assert np.array_equal(one.members, other.members)


def test_a_map_chooses_the_proposal_under_it() -> None:
    """The blurred spot of a map becomes the object's own box; the other object, where nothing is said, is not first."""
    truth = [(10, 12, 40, 36), (55, 50, 80, 90)]
    y, x = np.mgrid[:96, :96]
    heat = np.exp(-((x - 67) ** 2 + (y - 70) ** 2) / (2 * 13.0**2))
    found = score_proposals(heat, propose(picture(*truth), options=ProposalOptions(superpixels=60, smoothing=1)))

    assert box_iou(np.array(truth[1:], float), found.xyxy[:1])[0, 0] > 0.8
    assert (np.diff(found.scores) <= 0).all()


def test_snapping_moves_corners_and_keeps_scores() -> None:
    """A box beside the edge goes to it; a box of nothing known stays."""
    truth = np.array([[55.0, 50.0, 80.0, 90.0]])
    heat = np.zeros((96, 96))
    heat[50:90, 55:80] = 1.0
    rough = Boxes(np.array([[51.0, 44.0, 84.0, 85.0], [0.0, 94.0, 2.0, 96.0]]), np.array([0.9, 0.2]))
    regions = propose(picture((55, 50, 80, 90)), options=ProposalOptions(superpixels=60, smoothing=1))
    snapped = snap_boxes(rough, heat, regions)

    assert box_iou(truth, snapped.xyxy[:1])[0, 0] > max(0.85, box_iou(truth, rough.xyxy[:1])[0, 0])
    assert snapped.xyxy[1].tolist() == rough.xyxy[1].tolist()
    assert snapped.scores.tolist() == rough.scores.tolist()
    assert len(snap_boxes(Boxes.none(), heat, regions)) == 0


def test_a_constant_map_scores_nothing() -> None:
    """It stands out nowhere."""
    assert len(score_proposals(np.ones((64, 64)), propose(picture(size=64), options=FEW))) == 0


def test_small_regions_are_left_out_if_asked() -> None:
    """The smallest size of `FusionOptions` holds for proposals too."""
    heat = np.zeros((96, 96))
    heat[20:30, 20:30] = 1
    found = score_proposals(
        heat, propose(picture((20, 20, 30, 30)), options=FEW), options=FusionOptions(min_size_hw=(12, 12))
    )

    assert all(x2 - x1 >= 12 and y2 - y1 >= 12 for x1, y1, x2, y2 in found.xyxy)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((8, 8), np.uint8), "image must be uint8"),
        (np.zeros((8, 8, 3)), "image must be uint8"),
        (np.zeros((1, 5000, 3), np.uint8), "Scale it down"),
    ],
)
def test_wrong_images_are_told(image: NDArray[Any], message: str) -> None:
    """Grey, floats, and too large."""
    with pytest.raises(ShapeError, match=message):
        propose(image)


def test_wrong_maps_are_told() -> None:
    """A map of another size belongs to another image."""
    regions = propose(picture(size=64), options=FEW)
    with pytest.raises(ShapeError, match="the image's size"):
        score_proposals(np.eye(32), regions)
    with pytest.raises(ShapeError, match="least_iou must be a number from 0 to 1"):
        snap_boxes(Boxes.none(), np.eye(64), regions, least_iou=2)


@pytest.mark.parametrize("wrong", [{"superpixels": 1}, {"compactness": 0.0}, {"smoothing": -1.0}])
def test_wrong_options_are_told(wrong: dict[str, Any]) -> None:
    """Each by its name."""
    with pytest.raises(ShapeError, match=next(iter(wrong))):
        ProposalOptions(**wrong)


def test_without_scikit_image_the_pip_line_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is named."""
    monkeypatch.setitem(sys.modules, "skimage.segmentation", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'clipfast\[proposals\]'"):
        propose(picture(size=64))
