"""The refiner: moves are inverse, eight orientations are one, training helps on maps that it has not seen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from clipfast.datasets.fabricworld import detection_samples
from clipfast.errors import ArtifactError, DataError, FingerprintError, ShapeError
from clipfast.kernels import box_iou
from clipfast.runtime.clip import Clip
from clipfast.storage import load_sealed_npz, save_sealed_npz
from clipfast.surgery import Boxes, BoxRefiner, RefinerOptions, RefinerSample, boxes, heatmaps
from clipfast.surgery.box_profiles import moved, moves, oriented, profiles

SMALL = RefinerOptions(cells=6)


def blob(rng: np.random.Generator, size: int = 64) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A map with one rectangle of soft edges, and the rectangle's box."""
    width, height = rng.uniform(12, 30, 2)
    left, top = rng.uniform(2, size - width - 2), rng.uniform(2, size - height - 2)
    y, x = np.mgrid[:size, :size] + 0.5
    inside = np.minimum(np.minimum(x - left, left + width - x), np.minimum(y - top, top + height - y))
    heat = 1 / (1 + np.exp(-inside / 3)) + rng.normal(0, 0.01, (size, size))
    return heat, np.array([[left, top, left + width, top + height]])


def shaken(count: int, seed: int) -> Iterator[RefinerSample]:
    """Maps with boxes that are shifted and scaled at random."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        heat, truth = blob(rng)
        wrong = moved(np.repeat(truth, 3, axis=0), rng.normal(0, 0.15, (3, 4)))
        yield RefinerSample(heat, wrong, truth)


@pytest.fixture(scope="module")
def refiner() -> BoxRefiner:
    """Fitted on sixty maps."""
    return BoxRefiner.fit(shaken(60, 0), fingerprint="f" * 64, path="vv_vv", options=SMALL)


def naive_profile(values: NDArray[Any], box: list[float], cells: int, reach: float) -> NDArray[np.float64]:
    """Sample by sample, then scaled."""
    out = np.empty((cells, cells))
    for row, column in np.ndindex(cells, cells):
        x = (box[0] + box[2]) / 2 + ((column + 0.5) / cells - 0.5) * reach * (box[2] - box[0]) - 0.5
        y = (box[1] + box[3]) / 2 + ((row + 0.5) / cells - 0.5) * reach * (box[3] - box[1]) - 0.5
        x, y = min(max(x, 0), values.shape[1] - 1), min(max(y, 0), values.shape[0] - 1)
        x0, y0 = int(x), int(y)
        x1, y1 = min(x0 + 1, values.shape[1] - 1), min(y0 + 1, values.shape[0] - 1)
        out[row, column] = (
            values[y0, x0] * (x0 + 1 - x) * (y0 + 1 - y)
            + values[y0, x1] * (x - x0) * (y0 + 1 - y)
            + values[y1, x0] * (x0 + 1 - x) * (y - y0)
            + values[y1, x1] * (x - x0) * (y - y0)
        )
    scaled: NDArray[np.float64] = (out - out.mean()) / out.std()
    return scaled


def test_profiles_are_their_definition() -> None:
    """Inside, over the border, and in an affinely changed map."""
    values = np.random.default_rng(0).normal(size=(20, 31))
    corners = np.array([[3.0, 4.0, 12.5, 15.0], [-2.0, 10.0, 8.0, 20.0], [20.0, 0.0, 31.0, 20.0]])
    found = profiles(values, corners, 5, 2.0)
    for seen, box in zip(found, corners.tolist(), strict=True):
        assert np.allclose(seen, naive_profile(values, box, 5, 2.0), atol=1e-12)

    assert np.allclose(profiles(7 * values - 3, corners, 5, 2.0), found, atol=1e-12)
    assert profiles(np.ones((5, 5)), corners, 3, 1.0).tolist() == np.zeros((3, 3, 3)).tolist()
    assert profiles(np.ones((1, 1)), corners, 2, 1.0).shape == (3, 2, 2)


def test_moves_and_their_inverse() -> None:
    """What `moves` says, `moved` does."""
    rng = np.random.default_rng(1)
    low = rng.uniform(0, 50, (2, 20, 2))
    one, other = (np.concatenate([each, each + rng.uniform(1, 40, (20, 2))], axis=1) for each in low)

    assert np.allclose(moved(one, moves(one, other)), other, atol=1e-9)


def mirrored(corners: NDArray[Any], width: float = 30) -> NDArray[Any]:
    """Boxes in a picture whose left is right."""
    return np.stack([width - corners[:, 2], corners[:, 1], width - corners[:, 0], corners[:, 3]], axis=1)


def test_the_eight_orientations_are_those_of_the_picture() -> None:
    """Mirroring or turning map and boxes together gives the profiles and moves that `oriented` makes of them."""
    rng = np.random.default_rng(2)
    values = rng.normal(size=(30, 30))
    one, truth = np.array([[4.0, 6.0, 15.0, 20.0]]), np.array([[6.0, 5.0, 18.0, 24.0]])
    inputs, targets = oriented(profiles(values, one, 4, 2.0), moves(one, truth))
    found = set()
    for turned in (False, True):
        for flip_x in (False, True):
            for flip_y in (False, True):
                view, here, there = values, one, truth
                if turned:
                    view, here, there = view.T, here[:, [1, 0, 3, 2]], there[:, [1, 0, 3, 2]]
                if flip_x:
                    view, here, there = view[:, ::-1], mirrored(here), mirrored(there)
                if flip_y:
                    view = view[::-1]
                    here, there = (mirrored(each[:, [1, 0, 3, 2]])[:, [1, 0, 3, 2]] for each in (here, there))
                seen, goes = profiles(np.ascontiguousarray(view), here, 4, 2.0), moves(here, there)
                match = [
                    row
                    for row in range(8)
                    if np.allclose(inputs[row], seen.ravel()) and np.allclose(targets[row], goes[0])
                ]
                assert len(match) == 1
                found.add(match[0])

    assert found == set(range(8))


def test_boxes_of_maps_not_seen_come_closer(refiner: BoxRefiner) -> None:
    """On new maps the overlap gains about what cross-validation promised, and scores stay."""
    before, after = [], []
    for sample in shaken(40, 1):
        found = Boxes(np.asarray(sample.found), np.array([0.3, 0.2, 0.1]))
        refined = refiner.refine(sample.heatmap, found)
        before.append(box_iou(found.xyxy, sample.truths).mean())
        after.append(box_iou(refined.xyxy, sample.truths).mean())
        assert refined.scores.tolist() == found.scores.tolist()

    assert np.mean(after) > np.mean(before) + 0.1
    assert refiner.iou_after > refiner.iou_before + 0.1
    assert np.mean(after) == pytest.approx(refiner.iou_after, abs=0.05)


def test_the_solution_is_the_ridge_regressions() -> None:
    """Weights make the gradient of the penalised squares zero."""
    options = replace_ridge(SMALL, 0.05)
    fitted = BoxRefiner.fit(shaken(30, 3), fingerprint="f", path="x", options=options)
    seen, by = [], []
    for sample in shaken(30, 3):
        found, truths = np.asarray(sample.found), np.asarray(sample.truths)
        taught = box_iou(found, truths)[:, 0] >= options.least_iou
        seen.append(profiles(np.asarray(sample.heatmap), found[taught], options.cells, options.reach))
        by.append(moves(found[taught], np.repeat(truths, taught.sum(), axis=0)))
    inputs, targets = oriented(np.concatenate(seen), np.concatenate(by))
    gradient = inputs.T @ (inputs @ fitted.weights + fitted.bias - targets) + 0.05 * len(inputs) * fitted.weights

    assert np.abs(gradient).max() < 1e-6 * len(inputs)
    assert np.allclose(fitted.bias, targets.mean(axis=0))


def replace_ridge(options: RefinerOptions, ridge: float) -> RefinerOptions:
    """The same options with one strength."""
    return RefinerOptions(cells=options.cells, reach=options.reach, ridges=(ridge,))


def test_saved_and_loaded_it_does_the_same(refiner: BoxRefiner, tmp_path: Path) -> None:
    """Bit for bit; equal refiners are equal files, and plain arrays."""
    refiner.save(tmp_path / "refiner.npz")
    refiner.save(tmp_path / "again.npz")
    loaded = BoxRefiner.load(tmp_path / "refiner.npz", fingerprint="f" * 64, map_path="vv_vv")
    heat, truth = blob(np.random.default_rng(9))
    found = Boxes(truth + np.array([2.0, -3.0, 4.0, 1.0]), np.ones(1))

    assert loaded.refine(heat, found).xyxy.tolist() == refiner.refine(heat, found).xyxy.tolist()
    assert (loaded.ridge, loaded.pairs, loaded.iou_after) == (refiner.ridge, refiner.pairs, refiner.iou_after)
    assert loaded.options == refiner.options
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "refiner.npz").read_bytes()
    with np.load(tmp_path / "refiner.npz", allow_pickle=False) as arrays:
        assert set(arrays) == {"weights", "bias", "limits", "meta"}


def test_another_model_or_path_is_refused(refiner: BoxRefiner, tmp_path: Path) -> None:
    """Maps of another kind look different around the same box."""
    refiner.save(tmp_path / "refiner.npz")
    with pytest.raises(FingerprintError, match="made by another model"):
        BoxRefiner.load(tmp_path / "refiner.npz", fingerprint="0" * 64)
    with pytest.raises(FingerprintError, match="fitted for vv_vv maps; these are standard maps"):
        BoxRefiner.load(tmp_path / "refiner.npz", map_path="standard")


def test_damaged_and_foreign_files_are_refused(refiner: BoxRefiner, tmp_path: Path) -> None:
    """A changed byte, another kind of file, another shape, another version."""
    path = tmp_path / "refiner.npz"
    refiner.save(path)
    arrays = load_sealed_npz(path, kind="refiner")
    damaged = bytearray(path.read_bytes())
    damaged[200] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(ArtifactError, match="was changed"):
        BoxRefiner.load(path)
    meta = str(arrays["meta"])
    for name, changed, message in [
        ("less", {"meta": arrays["meta"]}, "not a readable refiner"),
        ("shape", arrays | {"bias": np.zeros(3)}, "must be a refiner of format"),
        ("nan", arrays | {"bias": np.full(4, np.nan)}, "bias must be finite"),
        ("version", arrays | {"meta": np.array(meta.replace('"format":1', '"format":2'))}, "got format 2"),
        (
            "options",
            arrays | {"meta": np.array(meta.replace('"cells":6', '"cells":600'))},
            "cells must be a whole",
        ),
    ]:
        save_sealed_npz(tmp_path / name, changed)
        with pytest.raises(ArtifactError, match=message):
            BoxRefiner.load(tmp_path / name)


def test_too_few_samples_are_refused() -> None:
    """Nothing can be learned from a handful, from boxes that hit nothing, or from many boxes of one map."""
    with pytest.raises(DataError, match="needs 50 boxes that overlap a truth, on 20 maps; got 9 on 3"):
        BoxRefiner.fit(shaken(3, 0), fingerprint="f", path="x")
    far = [RefinerSample(blob(np.random.default_rng(i))[0], [[0, 0, 1, 1]], [[40, 40, 60, 60]]) for i in range(60)]
    with pytest.raises(DataError, match="got 0 on 0"):
        BoxRefiner.fit(far, fingerprint="f", path="x")
    heat, truth = blob(np.random.default_rng(0))
    with pytest.raises(DataError, match="got 100 on 1"):
        BoxRefiner.fit([RefinerSample(heat, np.repeat(truth, 100, axis=0), truth)], fingerprint="f", path="x")


def test_refined_boxes_stay_in_the_map(refiner: BoxRefiner) -> None:
    """Whatever the regression says: inside, and at least a pixel wide."""
    wild = replace(refiner, bias=np.array([3.0, -3.0, 2.0, -9.0]), limits=np.array([[-9.0] * 4, [9.0] * 4]))
    heat, _ = blob(np.random.default_rng(0))
    found = wild.refine(heat, Boxes(np.array([[0.0, 0, 5, 5], [50, 50, 64, 64], [10, 10, 12, 12]]), np.ones(3)))

    assert (found.xyxy >= 0).all()
    assert (found.xyxy <= 64).all()
    assert (found.xyxy[:, 2:] - found.xyxy[:, :2] >= 1).all()


def test_nothing_to_refine(refiner: BoxRefiner) -> None:
    """No boxes, and a constant map, which says nothing of edges."""
    found = Boxes(np.array([[3.0, 3.0, 9.0, 9.0]]), np.ones(1))

    assert len(refiner.refine(np.eye(20), Boxes.none())) == 0
    assert refiner.refine(np.ones((20, 20)), found).xyxy.tolist() == found.xyxy.tolist()


@pytest.mark.parametrize(
    "wrong", [{"cells": 1}, {"reach": 0.5}, {"least_iou": 0.0}, {"ridges": ()}, {"ridges": (0.0,)}, {"folds": 1}]
)
def test_wrong_options_are_told(wrong: dict[str, Any]) -> None:
    """Each by its name."""
    with pytest.raises(ShapeError, match=next(iter(wrong))):
        RefinerOptions(**wrong)


def test_percentile_boxes_of_rendered_objects_gain(mini: Clip) -> None:
    """Fitted on pictures of some seeds, it raises the overlap on pictures of others by more than .03."""

    def samples(seed: int, count: int) -> Iterator[RefinerSample]:
        for sample in detection_samples(seed, count):
            names = sorted(set(sample.names))
            maps = heatmaps(mini, sample.image, [f"a {n}" for n in names], path="vv_vv", size_hw=(224, 224))[0]
            for name, heat in zip(names, maps, strict=True):
                yield RefinerSample(heat, boxes(heat, 90).xyxy, sample.boxes[[known == name for known in sample.names]])

    refiner = BoxRefiner.fit(samples(530_000_000, 40), fingerprint=mini.fingerprint("vv"), path="vv_vv")
    before, after = [], []
    for sample in samples(540_000_000, 20):
        found = Boxes(np.asarray(sample.found), np.zeros(len(np.asarray(sample.found))))
        if len(found):
            truths = np.asarray(sample.truths, float)
            before += box_iou(truths, found.xyxy).max(axis=1).tolist()
            after += box_iou(truths, refiner.refine(sample.heatmap, found).xyxy).max(axis=1).tolist()

    assert np.mean(after) > np.mean(before) + 0.03
