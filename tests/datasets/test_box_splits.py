"""Training images and images to be scored: whole sources go to one side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clipfast.datasets.box_records import BoxReport, BoxSample, BoxSet
from clipfast.datasets.box_splits import several_sources, split_by_source
from clipfast.errors import DataError


def _set(names: list[str]) -> BoxSet:
    nothing = np.zeros((0, 4)), (), np.zeros(0, np.bool_)
    return BoxSet("voc", None, ("cat",), [BoxSample(n, Path(n), (8, 8), *nothing) for n in names], BoxReport())


def test_frames_of_one_video_stay_together() -> None:
    """Names that differ in their last number are one source."""
    names = [f"{video}-{frame:03}" for video in ("DJI_1", "DJI_2", "MOS", "street") for frame in range(5)]
    training, rest = split_by_source(_set(names), 0.5, seed=3)
    sides = [{sample.id.rsplit("-", 1)[0] for sample in side} for side in (training, rest)]

    assert sides[0] & sides[1] == set()
    assert sorted(sample.id for side in (training, rest) for sample in side) == sorted(names)
    assert (len(training), len(rest)) == (10, 10)
    assert [s.id for s in training] == [s.id for s in split_by_source(_set(names), 0.5, seed=3)[0]]


def test_one_source_is_drawn_image_by_image() -> None:
    """No source is left out of either side."""
    training, rest = split_by_source(_set([f"cell_{i}" for i in range(9)]), 0.5, seed=0)

    assert (len(training), len(rest)) == (4, 5)
    assert not several_sources(_set(["cell_1", "cell_2"]))
    assert several_sources(_set(["cell_1", "tissue_1"]))


@pytest.mark.parametrize(("names", "share"), [(["a"], 0.5), (["a", "b"], 0.0), (["a", "b"], 1.0)])
def test_nothing_to_split(names: list[str], share: float) -> None:
    """One image, or a share that leaves a side empty."""
    with pytest.raises(DataError, match="a split needs two images"):
        split_by_source(_set(names), share, seed=0)
