"""Tests of clipfast.retrieval.rebuild: the same photos by another model, or a refusal that names them."""

import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clipfast.datasets.fabricworld import write_folder
from clipfast.errors import DataError
from clipfast.retrieval import BankModel, FabricBank, RebuildOptions, References, rebuild_bank
from clipfast.retrieval.references import NO_PHOTO
from clipfast.runtime.clip import Clip
from clipfast.runtime.images import load_image
from clipfast.types import Floats, Images

NAMES = ("silk", "é", "羊毛")


class ToneEncoder:
    """Stands in for a model: the mean colour, turned by the model's own number."""

    precision = "fp32"

    def __init__(self, number: int) -> None:
        self.number = number
        self.name = f"tone {number}"

    def fingerprint(self, output: str = "embedding") -> str:
        return f"{self.number:064x}"

    def encode_images(self, images: Images) -> Floats:
        listed: list[Any] = images if isinstance(images, list) else [images]
        means = [np.asarray(load_image(image).convert("RGB"), float).mean(axis=(0, 1)) for image in listed]
        rows = np.roll(np.array(means) + 1, self.number, axis=1)
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def paint(path: Path, seed: int) -> None:
    """Write a plain image in a colour of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    colour = tuple(np.random.default_rng(seed).integers(0, 256, 3).tolist())
    Image.new("RGB", (8, 8), colour).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three fabrics of four photos."""
    for fabric in NAMES:
        for number in range(4):
            paint(tmp_path / "f" / fabric / f"{number}.png", 10 * NAMES.index(fabric) + number)
    return tmp_path / "f"


@pytest.fixture
def old(folder: Path) -> FabricBank:
    """The bank of the first model."""
    return FabricBank.build(ToneEncoder(1), folder)


def test_rebuild_gives_the_bank_that_the_other_model_builds(old: FabricBank, folder: Path, tmp_path: Path) -> None:
    """The file equals that of a fresh build by the second model; nothing is left out; progress reaches its total."""
    steps: list[tuple[int, int]] = []
    bank = rebuild_bank(
        old.references, ToneEncoder(2), folder, RebuildOptions(progress=lambda *step: steps.append(step))
    )
    FabricBank.build(ToneEncoder(2), folder).save(tmp_path / "fresh.npz")
    bank.save(tmp_path / "rebuilt.npz")
    assert (tmp_path / "fresh.npz").read_bytes() == (tmp_path / "rebuilt.npz").read_bytes()
    assert bank.model == BankModel(f"{2:064x}", "fp32", "tone 2")
    assert bank.report is not None
    assert (bank.report.skipped, bank.report.counts) == ((), dict.fromkeys(sorted(NAMES), 4))
    assert steps == [(done, 24) for done in range(1, 25)]


def test_photos_that_the_bank_does_not_hold_are_not_added(old: FabricBank, folder: Path) -> None:
    """A rebuild answers for the recorded photos only."""
    paint(folder / "silk" / "new.png", 99)
    paint(folder / "linen" / "new.png", 98)
    assert rebuild_bank(old.references, ToneEncoder(2), folder).references.paths == old.references.paths


def test_names_in_another_unicode_form_are_found(old: FabricBank, folder: Path) -> None:
    """A copy of the folder from a file system that decomposes names is the same folder."""
    (folder / "é").rename(folder / unicodedata.normalize("NFD", "é"))
    assert rebuild_bank(old.references, ToneEncoder(2), folder).fabrics == dict.fromkeys(sorted(NAMES), 4)


def test_missing_changed_and_broken_photos_are_named(old: FabricBank, folder: Path) -> None:
    """By default nothing is returned, and each photo stands in the message with its reason."""
    (folder / "silk" / "0.png").unlink()
    paint(folder / "é" / "2.png", 77)
    with pytest.raises(
        DataError, match=r"2 of the bank's 12 photos .*silk/0\.png \(missing\), é/2\.png \(changed\)\. Res"
    ):
        rebuild_bank(old.references, ToneEncoder(2), folder)


def test_skip_missing_leaves_them_out(old: FabricBank, folder: Path) -> None:
    """They are in the report with their reasons, and a fabric that lost all is counted with zero."""
    paint(folder / "é" / "2.png", 77)
    for number in range(4):
        (folder / "silk" / f"{number}.png").unlink()
    bank = rebuild_bank(old.references, ToneEncoder(2), folder, RebuildOptions(skip_missing=True))
    assert bank.fabrics == {"é": 3, "羊毛": 4}
    assert bank.report is not None
    assert [(s.path, s.reason) for s in bank.report.skipped] == [
        *((f"silk/{number}.png", "missing") for number in range(4)),
        ("é/2.png", "changed"),
    ]
    assert bank.report.counts == {"silk": 0, "é": 3, "羊毛": 4}


def test_at_most_ten_are_listed(old: FabricBank, folder: Path) -> None:
    """Of twelve missing photos ten are named and two are counted."""
    for path in folder.rglob("*.png"):
        path.unlink()
    with pytest.raises(DataError, match="12 of the bank's 12 photos") as caught:
        rebuild_bank(old.references, ToneEncoder(2), folder)
    assert str(caught.value).count("(missing)") == 10
    assert " and 2 more. Restore them, name another folder (--folder)" in str(caught.value)
    with pytest.raises(DataError, match=r"None of the bank's 12 photos .*silk/0\.png \(missing\)"):
        rebuild_bank(old.references, ToneEncoder(2), folder, RebuildOptions(skip_missing=True))


def test_folder_must_be_there(old: FabricBank, tmp_path: Path) -> None:
    """A wrong folder is told as such, before every photo is called missing."""
    with pytest.raises(DataError, match="No folder at"):
        rebuild_bank(old.references, ToneEncoder(2), tmp_path / "none")


def test_photo_too_large_for_this_rebuild_is_named(old: FabricBank, folder: Path) -> None:
    """A photo that is there and unchanged but cannot be decoded under the limit is refused, or left out."""
    Image.new("RGB", (20, 20), (1, 2, 3)).save(folder / "silk" / "0.png")
    bank = FabricBank.build(ToneEncoder(1), folder)
    with pytest.raises(DataError, match=r"1 of the bank's 12 .*silk/0\.png \(must have at most 100 pixels"):
        rebuild_bank(bank.references, ToneEncoder(2), folder, RebuildOptions(max_pixels=100))
    options = RebuildOptions(max_pixels=100, skip_missing=True)
    assert len(rebuild_bank(bank.references, ToneEncoder(2), folder, options)) == 11


@pytest.mark.parametrize("skip", [False, True])
def test_photo_that_changes_under_way_is_noticed(old: FabricBank, folder: Path, skip: bool) -> None:
    """A photo exchanged between the comparison and the reading is told as changed."""

    def exchange(done: int, total: int) -> None:
        if (done, total) == (12, 24):
            paint(folder / "silk" / "3.png", 66)

    options = RebuildOptions(skip_missing=skip, progress=exchange)
    if not skip:
        with pytest.raises(DataError, match=r"silk/3\.png \(changed while it was read\)"):
            rebuild_bank(old.references, ToneEncoder(2), folder, options)
        return
    bank = rebuild_bank(old.references, ToneEncoder(2), folder, options)
    assert bank.fabrics["silk"] == 3
    assert len(bank) == 11


def test_imported_rows_cannot_be_rebuilt(folder: Path, old: FabricBank) -> None:
    """A row without a photo is refused for what it is, even where a file has its name."""
    row = np.array([[1, 0, 0]], dtype=np.float32)
    refs = old.references.merged(References(row, ["silk"], ["silk/imported_001"], [NO_PHOTO]))
    with pytest.raises(DataError, match=r"silk/imported_001 \(imported as a vector, without a photo\)"):
        rebuild_bank(refs, ToneEncoder(2), folder)
    assert len(rebuild_bank(refs, ToneEncoder(2), folder, RebuildOptions(skip_missing=True))) == 12


def test_names_that_lead_out_of_the_folder_open_nothing(folder: Path, tmp_path: Path) -> None:
    """A bank with a path of its own making reads no file outside of the folder."""
    paint(tmp_path / "secret.png", 1)
    row = np.array([[1, 0, 0]], dtype=np.float32)
    refs = References(row, ["x"], ["x/../../secret.png"], ["1" * 64])
    with pytest.raises(DataError, match=r"secret\.png \(missing\)"):
        rebuild_bank(refs, ToneEncoder(2), folder)


def test_rebuild_with_mini(mini: Clip, tmp_path: Path) -> None:
    """A bank of a stand-in becomes the embedded model's own."""
    write_folder(tmp_path, fabrics=["denim", "lace"], per_fabric=3, seed=0)
    bank = rebuild_bank(FabricBank.build(ToneEncoder(1), tmp_path).references, mini, tmp_path)
    assert bank.model == BankModel.of(mini)
    photo = tmp_path / "lace" / "ref_02.jpg"
    assert bank.search(photo, 1)[0].path == "lace/ref_02.jpg"
    np.testing.assert_allclose(FabricBank.build(mini, tmp_path).references.embeddings, bank.references.embeddings)
