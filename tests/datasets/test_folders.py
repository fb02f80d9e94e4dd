"""Tests of clipfast.datasets.folders."""

import os
import sys
import unicodedata
from pathlib import Path

import pytest

from clipfast.datasets.folders import FabricImage, iter_fabric_images, list_fabrics, scan_fabrics
from clipfast.errors import DataError


def make(root: Path, *names: str) -> None:
    """Create empty files; listing looks at names only."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_lists_every_suffix_in_any_case(tmp_path: Path) -> None:
    """Seven suffixes count in any case, and Chinese names are names."""
    files = ["a.jpg", "b.JPEG", "c.Png", "d.webp", "e.BMP", "f.tif", "g.TIFF", "正面.JPG"]
    make(tmp_path, *(f"真丝缎/{name}" for name in files))
    assert {"真丝缎": files} == {fabric: [p.name for p in paths] for fabric, paths in list_fabrics(tmp_path).items()}


def test_order_is_that_of_code_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fabrics and photos are sorted by name, whichever order the file system gives."""
    make(tmp_path, "wool/2.jpg", "wool/10.jpg", "Cotton/b.jpg", "Cotton/B.jpg", "棉/1.jpg", "linen/1.jpg")
    expected = list_fabrics(tmp_path)
    names = [(fabric, path.name) for fabric, paths in expected.items() for path in paths]
    assert sorted(names) == names
    original = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda self: iter(sorted(original(self), reverse=True)))
    assert list(expected.items()) == list(list_fabrics(tmp_path).items())


def test_decomposed_names_are_composed(tmp_path: Path) -> None:
    """A name as macOS stores it is the same fabric and key as elsewhere, and both spellings are one fabric."""
    apart = unicodedata.normalize("NFD", "é")
    make(tmp_path, f"{apart}/{apart}.jpg", "é/z.jpg")
    found = list(iter_fabric_images(tmp_path))
    assert [image.key for image in found] == ["é/z.jpg", "é/é.jpg"]
    assert {"é"} == {image.fabric for image in found}


def test_passes_over_by_rule_and_reports(tmp_path: Path) -> None:
    """Hidden entries and files at the top are ignored with a reason; files that are no photos are unusable."""
    make(tmp_path, "cotton/a.jpg", "cotton/.DS_Store", "cotton/notes.txt", "cotton/old/b.jpg", ".git/x.jpg", "top.jpg")
    (tmp_path / "empty").mkdir()
    folder = scan_fabrics(tmp_path)
    assert {"cotton": [tmp_path / "cotton/a.jpg"], "empty": []} == folder.fabrics
    assert [(item.name, item.reason) for item in folder.ignored] == [
        (".git", "hidden"),
        ("cotton/.DS_Store", "hidden"),
        ("top.jpg", "a file beside the fabric folders"),
    ]
    assert [item.name for item in folder.unusable] == ["cotton/notes.txt", "cotton/old"]
    assert "not an image by its name" in folder.unusable[0].reason


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege on Windows")
def test_links_that_lead_back_are_not_followed(tmp_path: Path) -> None:
    """A link to the folder, to its parent or to itself is passed over; a link to a photo or a fabric is read."""
    root = tmp_path / "fabrics"
    make(tmp_path, "elsewhere/b.jpg", "fabrics/cotton/a.jpg", "fabrics/stray.jpg")
    (root / "loop").symlink_to(root)
    (root / "up").symlink_to(tmp_path)
    (root / "self").symlink_to(root / "self")
    (root / "silk").symlink_to(tmp_path / "elsewhere")
    (root / "cotton/broken.jpg").symlink_to(root / "nothing.jpg")
    folder = scan_fabrics(root)
    assert [FabricImage("cotton", root / "cotton/a.jpg"), FabricImage("silk", root / "silk/b.jpg")] == list(
        iter_fabric_images(root)
    )
    assert [item.name for item in folder.ignored] == ["loop", "self", "stray.jpg", "up"]
    assert [(i.name, i.reason) for i in folder.unusable] == [("cotton/broken.jpg", "a broken link, or not a file")]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux stores names that are not text")
def test_names_that_are_not_text_are_reported(tmp_path: Path) -> None:
    """A name that is not UTF-8 cannot be stored in a bank, so it is reported in a form that can be printed."""
    make(tmp_path, "cotton/a.jpg")
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/cotton/\xff.jpg")).touch()
    except OSError:
        pytest.skip("this file system stores text only")
    (item,) = scan_fabrics(tmp_path).unusable
    assert (item.name.encode(), item.reason) == (b"cotton/\\udcff.jpg", "its name is not UTF-8")


def test_missing_folder_is_named(tmp_path: Path) -> None:
    """A folder that is not there, or is a file, is an error with the expected layout."""
    make(tmp_path, "file")
    for name in ("nothing", "file"):
        with pytest.raises(DataError, match=rf"{name}\. Expected layout: .*fabric_id"):
            list_fabrics(tmp_path / name)
