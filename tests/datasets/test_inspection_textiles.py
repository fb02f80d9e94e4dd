"""Tests of clipfast.datasets.textiles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clipfast.datasets.inspection import mask_of
from clipfast.datasets.textiles import read_simulated_textiles, read_tiles
from clipfast.errors import DataError, ShapeError

SHARED = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """One photo of 40 x 50 with damage in its upper left tile, and a mask beside it."""
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "images/a.png")
    mask = np.zeros((40, 50), np.uint8)
    mask[3:6, 4:9] = 255
    Image.fromarray(mask).save(tmp_path / "masks/a.png")
    return tmp_path


def test_tiles_are_cut_and_shared_out(photos: Path) -> None:
    """Four tiles of 20: one damaged, of the intact ones the first and third are the support."""
    found = read_tiles(photos / "images", photos / "masks", tile=20)["a"]

    assert [sample.key for sample in found.train] == ["a/0000_0020", "a/0020_0020"]
    assert [(sample.key, sample.label) for sample in found.test] == [("a/0000_0000", "defect"), ("a/0020_0000", "good")]
    assert mask_of(found.test[0], (20, 20)).sum() == 15
    pixels = np.asarray(Image.open(photos / "images/a.png"))
    assert np.array_equal(np.asarray(found.train[1].image), pixels[20:40, 20:40])


def test_photos_that_cannot_be_tiled_are_named(photos: Path) -> None:
    """Tiles larger than the photo, a mask that is missing, and sides that make no sense."""
    with pytest.raises(DataError, match="two intact tiles"):
        read_tiles(photos / "images", photos / "masks", tile=60)
    with pytest.raises(ShapeError, match="tile must be a whole number of 8 or more"):
        read_tiles(photos / "images", photos / "masks", tile=4)
    (photos / "masks/a.png").unlink()
    with pytest.raises(DataError, match="No mask at"):
        read_tiles(photos / "images", photos / "masks")


def test_simulated_textiles_are_two_classes() -> None:
    """Nominal images train and test, local and global ones test; no image is in both splits."""
    data = pytest.importorskip("conformal_clip_data")
    classes = read_simulated_textiles(data.textile_simulated_root(), train=400)

    assert list(classes) == ["local", "global"]
    for kind, found in classes.items():
        assert len(found.train) == 400
        assert {sample.label for sample in found.test} == {"good", kind}
        assert not {sample.key for sample in found.train} & {sample.key for sample in found.test}
    with pytest.raises(DataError, match="Lower train"):
        read_simulated_textiles(data.textile_simulated_root(), train=1000)
    with pytest.raises(ShapeError, match="train must be a whole number of 1 or more"):
        read_simulated_textiles(data.textile_simulated_root(), train=0)


@pytest.mark.shared
def test_the_factory_photos_have_tiles() -> None:
    """HSST's photos: a support and damaged tiles in most of them."""
    found = read_tiles(SHARED / "hsst_fabric/images", SHARED / "hsst_fabric/annotations", tile=128)

    assert len(found) >= 20
    assert sum(any(found[name].labels) for name in found) >= 20
