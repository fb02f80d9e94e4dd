"""Simulated textile images of the PyPI package conformal-clip-data (MIT) go through bank and query."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from clipfast.datasets.fabricworld import render
from clipfast.errors import DataError
from clipfast.retrieval import FabricBank
from clipfast.runtime.clip import Clip, ImageOptions

data = pytest.importorskip("conformal_clip_data", reason="needs conformal-clip-data: pip install --group test")


def _photos(folder: Path, count: int) -> list[Path]:
    found = sorted(p for p in folder.iterdir() if p.suffix.lower() in {".png", ".jpg", ".jpeg", ".tif", ".bmp"})
    return found[:count]


@pytest.fixture(scope="module")
def bank_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three kinds of texture, four references each, in the owner's layout."""
    root = tmp_path_factory.mktemp("textiles")
    for kind, folder in (
        ("正常 nominal", data.nominal_dir()),
        ("local", data.local_dir()),
        ("global", data.global_dir()),
    ):
        (root / kind).mkdir()
        for i, photo in enumerate(_photos(Path(str(folder)), 4)):
            (root / kind / f"ref_{i}{photo.suffix}").write_bytes(photo.read_bytes())
    return root


def test_textiles_are_banked_saved_and_found(mini: Clip, bank_folder: Path, tmp_path: Path) -> None:
    """Build, save, load, and find each reference again as its own nearest; new images get an answer."""
    FabricBank.build(mini, bank_folder).save(tmp_path / "bank.npz")
    bank = FabricBank.load(tmp_path / "bank.npz", clip=mini)

    assert bank.fabrics == {"global": 4, "local": 4, "正常 nominal": 4}
    for photo in sorted(bank_folder.rglob("ref_*")):
        (best,) = bank.search(photo, topk=1)
        assert best.score == pytest.approx(1.0, abs=1e-4)
    fresh = _photos(Path(str(data.nominal_dir())), 8)[-1]
    ranked = bank.rank(fresh, topk=3)
    assert {r.id for r in ranked} == set(bank.fabrics)
    assert ranked[0].score >= ranked[1].score >= ranked[2].score


def test_a_raised_limit_holds_for_a_real_model(tmp_path: Path) -> None:
    """A photo above the default limit gets in when the limit is raised, also with a real Clip behind it."""
    (tmp_path / "big").mkdir()
    Image.new("L", (10_000, 9_500), 90).save(tmp_path / "big" / "scan.png")
    clip = Clip.load("mini", threads=1)

    assert len(FabricBank.build(clip, tmp_path, max_pixels=200_000_000)) == 1
    with pytest.raises(DataError, match="at most 89,478,485 pixels"):
        FabricBank.build(clip, tmp_path)


def test_the_bank_reads_photos_as_its_clip_does(tmp_path: Path) -> None:
    """With EXIF orientation ignored, or applied, a photo is its own nearest neighbour."""
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "lace").mkdir()
    Image.fromarray(render(2, fabric="lace").image[:120]).save(tmp_path / "lace" / "a.jpg", exif=exif)
    for option in ("apply", "ignore"):
        clip = Clip.load("mini", threads=1, images=ImageOptions(exif=option))
        bank = FabricBank.build(clip, tmp_path)

        assert bank.rank(tmp_path / "lace" / "a.jpg")[0].score == pytest.approx(1.0, abs=1e-5)


def test_two_photos_of_one_name_are_both_kept(mini: Clip, tmp_path: Path) -> None:
    """Cameras in two folders both begin at IMG_0001; the same photo twice is skipped."""
    for number in (1, 2):
        (tmp_path / str(number)).mkdir()
        Image.fromarray(render(number, fabric="lace").image).save(tmp_path / str(number) / "IMG_0001.png")
    bank = FabricBank.build(mini, _folder_of(tmp_path / "start"))
    report = bank.add([tmp_path / "1" / "IMG_0001.png", tmp_path / "2" / "IMG_0001.png"], "lace")

    assert bank.fabrics["lace"] == 2
    assert report.skipped == ()


def _folder_of(root: Path) -> Path:
    (root / "denim").mkdir(parents=True)
    Image.fromarray(render(3, fabric="denim").image).save(root / "denim" / "a.png")
    return root
