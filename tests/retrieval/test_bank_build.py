"""How a bank is built and changed: what is read, skipped, reported, added and removed."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clipfast.errors import DataError, ImageError
from clipfast.retrieval import FabricBank
from clipfast.types import Floats, ImageEncoder, Images
from reference.painted_bank import COLOURS, ColourEncoder, paint, painted_folder, report_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return three fabrics of three photos."""
    return painted_folder(tmp_path)


@pytest.fixture
def bank(folder: Path) -> FabricBank:
    """Return the bank of the folder."""
    return FabricBank.build(ColourEncoder(), folder)


def test_build_reads_every_fabric(bank: FabricBank) -> None:
    """Three fabrics of three photos, in order, with checksums, and a query of each colour finds its fabric."""
    assert dict.fromkeys(sorted(COLOURS), 3) == bank.fabrics == report_of(bank).counts
    assert bank.references.embeddings.shape == (9, 4)
    assert "羊毛/ref_1.PNG" in bank.references.paths
    assert all(len(sha256) == 64 for sha256 in bank.references.sha256)
    for fabric, colour in COLOURS.items():
        assert fabric == bank.rank(Image.new("RGB", (3, 3), colour))[0].id
    assert isinstance(bank.clip, ImageEncoder)


@pytest.mark.parametrize("batch_size", [1, 2, 4, 9, 100])
def test_build_does_not_depend_on_the_batch(folder: Path, tmp_path: Path, batch_size: int) -> None:
    """Any batch size gives the same file; batches are as large as asked for, and progress ends at the total."""
    clip, seen = ColourEncoder(), list[tuple[int, int]]()
    FabricBank.build(ColourEncoder(), folder).save(tmp_path / "a.npz")
    built = FabricBank.build(clip, folder, batch_size=batch_size, progress=lambda *step: seen.append(step))
    built.save(tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert min(batch_size, 9) == max(clip.calls)
    assert [(done, 9) for done in range(1, 10)] == seen


def test_build_skips_and_names_damaged_files(folder: Path) -> None:
    """A truncated image, a text named .jpg, an empty file and a .txt are skipped with a reason and counted."""
    buffer = io.BytesIO()
    Image.effect_noise((64, 64), 50).convert("RGB").save(buffer, "JPEG")
    (folder / "cotton" / "broken.JPG").write_bytes(buffer.getvalue()[:-900])
    (folder / "silk" / "text.jpg").write_text("no image")
    (folder / "silk" / "empty.jpg").touch()
    (folder / "silk" / "notes.txt").touch()
    (folder / "bare").mkdir()
    clean = FabricBank.build(ColourEncoder(), folder)
    report = report_of(clean)
    assert [s.path for s in report.skipped] == [
        "cotton/broken.JPG",
        "silk/empty.jpg",
        "silk/notes.txt",
        "silk/text.jpg",
    ]
    assert all(skipped.reason and skipped.path not in skipped.reason for skipped in report.skipped)
    assert "truncated" in report.skipped[0].reason
    assert report.counts == {"bare": 0, "cotton": 3, "silk": 3, "羊毛": 3}
    assert len(clean) == 9


@pytest.mark.parametrize("name", ["broken.jpg", "notes.txt"])
def test_strict_build_fails_at_the_first_bad_file(folder: Path, name: str) -> None:
    """With strict, the bad file is an error that names it."""
    (folder / "silk" / name).write_text("no image")
    with pytest.raises(ImageError, match=rf"^silk/{name}: .*image"):
        FabricBank.build(ColourEncoder(), folder, strict=True)


def test_image_that_the_encoder_refuses_spoils_no_batch(folder: Path) -> None:
    """When the encoder itself refuses one image, the others of its batch are encoded."""

    class Fussy(ColourEncoder):
        def encode_images(self, images: Images) -> Floats:
            if isinstance(images, list) and (9, 9) in [image.size for image in images]:
                raise ImageError("no squares of nine")
            return super().encode_images(images)

    paint(folder / "silk" / "nine.png", (1, 2, 3), side=9)
    report = report_of(FabricBank.build(Fussy(), folder))
    assert [(s.path, s.reason) for s in report.skipped] == [("silk/nine.png", "no squares of nine")]
    assert dict.fromkeys(sorted(COLOURS), 3) == report.counts
    with pytest.raises(ImageError, match="nine"):
        FabricBank.build(Fussy(), folder, strict=True)


def test_large_photo_is_refused_by_a_limit_that_can_be_raised(folder: Path) -> None:
    """A photo above max_pixels is skipped with its size; a higher limit takes it."""
    paint(folder / "silk" / "large.png", (1, 2, 3), side=40)
    skipped = report_of(FabricBank.build(ColourEncoder(), folder, max_pixels=1599)).skipped
    assert [s.path for s in skipped] == ["silk/large.png"]
    assert "1,599" in skipped[0].reason
    assert report_of(FabricBank.build(ColourEncoder(), folder, max_pixels=1600)).skipped == ()


def test_memory_bounds_a_batch_of_large_photos(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch ends early when its pixels would take too much memory."""
    monkeypatch.setattr("clipfast.retrieval.encode._PIXELS_PER_BATCH", 130)  # two photos of 8 x 8
    clip = ColourEncoder()
    FabricBank.build(clip, folder)
    assert clip.calls == [2, 2, 2, 2, 1]


def test_empty_folder_shows_the_expected_layout(tmp_path: Path) -> None:
    """Nothing to read, or nothing readable, is "No embeddings collected" with the layout and the first reason."""
    with pytest.raises(DataError, match=r"^No embeddings collected: .*data/fabrics/<fabric_id>/<photo>\.jpg"):
        FabricBank.build(ColourEncoder(), tmp_path)
    (tmp_path / "cotton").mkdir()
    (tmp_path / "cotton" / "bad.jpg").write_text("x")
    with pytest.raises(DataError, match=r"^No embeddings collected: .*1 skipped; the first: cotton/bad\.jpg"):
        FabricBank.build(ColourEncoder(), tmp_path)


def test_repeated_and_small_photos_are_kept_and_reported(bank: FabricBank, folder: Path) -> None:
    """The same file twice stays in the bank and is reported; so are photos below 224 pixels."""
    (folder / "silk" / "again.png").write_bytes((folder / "silk" / "ref_0.png").read_bytes())
    paint(folder / "silk" / "large.png", (1, 2, 3), side=224)
    report = report_of(FabricBank.build(ColourEncoder(), folder))
    assert report.repeated == ("silk/ref_0.png",)
    assert report.counts["silk"] == 5
    assert len(report.small) == 10
    assert "silk/large.png" not in report.small


def test_add_and_remove_give_the_bank_that_build_gives(bank: FabricBank, folder: Path, tmp_path: Path) -> None:
    """Photos added by folder, list and layout, and others removed: the file equals that of a fresh build."""
    paint(tmp_path / "new" / "x.png", (90, 90, 90))
    paint(tmp_path / "new" / "y.png", (120, 90, 90))
    bank.search(np.eye(4, dtype=np.float32)[0])  # an index of before must not be used afterwards
    assert bank.add(tmp_path / "new", fabric_id="linen").counts == {"linen": 2}
    assert bank.remove("silk/ref_0.png") == 1
    assert bank.remove("羊毛") == 3
    paint(folder / "cotton" / "more.png", (180, 40, 40))
    assert bank.add([folder / "cotton" / "more.png"], "cotton").counts["cotton"] == 1
    assert bank.search(folder / "cotton" / "more.png", 1)[0].path == "cotton/more.png"
    (folder / "silk" / "ref_0.png").unlink()
    for path in (folder / "羊毛").iterdir():
        path.unlink()
    (tmp_path / "new").rename(folder / "linen")
    bank.save(tmp_path / "changed.npz")
    FabricBank.build(ColourEncoder(), folder).save(tmp_path / "fresh.npz")
    assert (tmp_path / "changed.npz").read_bytes() == (tmp_path / "fresh.npz").read_bytes()


def test_adding_again_replaces_and_says_so(bank: FabricBank, folder: Path) -> None:
    """Adding the same layout again keeps the size; a photo that changed has its new vector."""
    paint(folder / "silk" / "ref_0.png", (200, 200, 30))
    report = bank.add(folder)
    assert (len(bank), len(report.replaced)) == (9, 9)
    assert bank.search(Image.new("RGB", (2, 2), (200, 200, 30)), 1)[0].path == "silk/ref_0.png"


def test_images_without_a_name_are_named_by_content(bank: FabricBank) -> None:
    """PIL images, arrays and bytes are added under fabric/hash; the same one again changes nothing."""
    image = Image.new("RGB", (5, 5), (9, 9, 9))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    report = bank.add([image, np.asarray(image), buffer.getvalue(), io.BytesIO(buffer.getvalue())], "linen")
    assert (report.counts["linen"], len(report.skipped)) == (2, 2)
    assert [s.reason for s in report.skipped] == ["a photo of that name and content came before it"] * 2
    names = [path for path in bank.references.paths if path.startswith("linen/")]
    assert all(len(name) == len("linen/") + 16 for name in names)
    assert len(bank.add([image, buffer.getvalue()], "linen").replaced) == 2
    assert bank.add(np.zeros((2, 2, 3), np.uint8), "linen").counts == {"linen": 1}
    assert bank.fabrics["linen"] == 3


def test_photos_of_one_name_from_two_folders_do_not_vanish_silently(bank: FabricBank, tmp_path: Path) -> None:
    """The second IMG_1.png of one call gets a name of its own; the same file twice is skipped."""
    paint(tmp_path / "a" / "IMG_1.png", (1, 1, 1))
    paint(tmp_path / "b" / "IMG_1.png", (2, 2, 2))
    report = bank.add([tmp_path / f"{folder}/IMG_1.png" for folder in "abb"], "linen")
    names = [path for path in bank.references.paths if "IMG_1" in path]
    assert names[0][:12] == "linen/IMG_1-"
    assert names[1] == "linen/IMG_1.png"
    assert [skipped.path for skipped in report.skipped] == [names[0]]


@pytest.mark.parametrize("fabric_id", ["", " ", ".hidden", "a/b", "a\\b", "a\nb"])
def test_add_refuses_what_is_no_folder_name(bank: FabricBank, fabric_id: str) -> None:
    """A fabric id must do as a folder's name."""
    with pytest.raises(DataError, match="fabric_id must be a folder name"):
        bank.add(Image.new("RGB", (2, 2)), fabric_id)


def test_add_without_a_fabric_or_a_photo_is_refused(bank: FabricBank, tmp_path: Path) -> None:
    """Photos need a fabric id, an unreadable photo is named, and the bank stays as it was."""
    with pytest.raises(DataError, match=r"fabric_id must name the fabric"):
        bank.add([Image.new("RGB", (2, 2))])
    with pytest.raises(DataError, match=r"linen/nothing\.jpg: No such file"):
        bank.add(tmp_path / "nothing.jpg", "linen")
    assert len(bank) == 9


def test_remove_of_unknown_lists_what_is_known(bank: FabricBank) -> None:
    """An unknown name lists the fabrics; the last fabric cannot be removed."""
    with pytest.raises(DataError, match=r"named 'linen'\. The bank's fabrics: cotton, silk, 羊毛\."):
        bank.remove("linen")
    bank.remove("cotton")
    bank.remove("silk")
    with pytest.raises(DataError, match="all that the bank holds"):
        bank.remove("羊毛")
    assert bank.fabrics == {"羊毛": 3}
