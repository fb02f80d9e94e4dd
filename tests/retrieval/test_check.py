"""Tests of clipfast.retrieval.check and what it rests on: photos, copies, leave-one-out."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from clipfast.datasets.fabricworld import render
from clipfast.datasets.fabricworld.noise import blur
from clipfast.errors import DataError, ShapeError
from clipfast.retrieval import BankModel, PhotoLimits, References, check_folder, check_references, leave_one_out
from clipfast.retrieval.check import PROBLEMS, BankCheck
from clipfast.retrieval.copies import equal_copies, near_copies
from clipfast.retrieval.looks import look_of
from clipfast.retrieval.photos import photo_facts
from clipfast.retrieval.references import NO_PHOTO
from clipfast.runtime.clip import Clip
from clipfast.runtime.images import load_image
from clipfast.types import Floats, Images, Pixels

MODEL = BankModel("a" * 64, "fp32", "none")


class FolderEncoder:
    """Stands in for a model: the mean colour as a unit row."""

    name = "folder"
    precision = "fp32"

    def fingerprint(self, output: str = "embedding") -> str:
        return "a" * 64

    def encode_images(self, images: Images) -> Floats:
        listed: list[Any] = images if isinstance(images, list) else [images]
        rows = np.array([np.asarray(load_image(image).convert("RGB"), float).mean(axis=(0, 1)) for image in listed]) + 1
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def save(path: Path, pixels: Pixels) -> None:
    """Write a picture without loss."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def cloth(seed: int, *, colour: str = "red", fabric: str = "denim", size: int = 224) -> Pixels:
    """Draw a piece of cloth."""
    return render(seed, fabric=fabric, colour=colour, size=size).image


def blurred(pixels: Pixels, sigma: float) -> Pixels:
    """Blur a picture."""
    soft: Pixels = np.clip(blur(pixels.astype(float), sigma), 0, 255).astype(np.uint8)
    return soft


def lit(pixels: Pixels, light: float) -> Pixels:
    """Take a picture in other light."""
    changed: Pixels = np.clip(pixels * float(light), 0, 255).astype(np.uint8)
    return changed


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two good fabrics of three photos."""
    for number in range(3):
        save(tmp_path / "f" / "denim" / f"{number}.png", cloth(number))
        save(tmp_path / "f" / "羊毛" / f"{number}.png", cloth(50 + number, colour="blue", fabric="tweed"))
    return tmp_path / "f"


def found(check: BankCheck) -> set[tuple[str, str]]:
    """Return kind and place of every problem."""
    return {(problem.kind, problem.path or problem.fabric) for problem in check.problems}


def test_a_good_folder_has_no_problem(folder: Path) -> None:
    """Sharp, well-lit, different photos: nothing to say, everything checked, every photo measured."""
    steps: list[tuple[int, int]] = []
    check = check_folder(FolderEncoder(), folder, progress=lambda *step: steps.append(step))
    assert check.problems == ()
    assert check.counts == {"denim": 3, "羊毛": 3}
    assert check.checked == tuple(kind for kind in PROBLEMS if kind != "evaluated")
    assert check.unchecked == ()
    assert check.leave_one_out.accuracy == 1.0
    assert [photo.path for photo in check.photos][::3] == ["denim/0.png", "羊毛/0.png"]
    assert steps[-1] == (6, 6)


def test_each_problem_is_named_with_its_place(folder: Path) -> None:
    """One photo of every kind of problem, and each is told by kind, fabric, path and a figure."""
    good = cloth(7)
    save(folder / "denim" / "small.png", cloth(20, size=120))
    save(folder / "denim" / "soft.png", blurred(cloth(21), 4))
    save(folder / "denim" / "dark.png", lit(cloth(22), 0.1))
    save(folder / "denim" / "burnt.png", lit(cloth(23), 6))
    save(folder / "denim" / "a.png", good)
    (folder / "denim" / "b.png").write_bytes((folder / "denim" / "a.png").read_bytes())
    Image.fromarray(good).save(folder / "denim" / "c.jpg", quality=80)
    (folder / "denim" / "broken.jpg").write_text("no image")
    (folder / "empty").mkdir()
    save(folder / "lone" / "1.png", cloth(9, colour="green"))
    check = check_folder(FolderEncoder(), folder)
    kinds = found(check)
    assert {
        ("few", "empty"),
        ("few", "lone"),
        ("small", "denim/small.png"),
        ("blurred", "denim/soft.png"),
        ("light", "denim/dark.png"),
        ("light", "denim/burnt.png"),
        ("equal", "denim/b.png"),
        ("similar", "denim/c.jpg"),
        ("unreadable", "denim/broken.jpg"),
    } <= kinds
    assert {path for kind, path in kinds if kind in {"blurred", "similar", "equal"}} == {
        "denim/soft.png",
        "denim/c.jpg",
        "denim/b.png",
    }
    details = {(p.kind, p.path or p.fabric): p.detail for p in check.problems}
    assert details["few", "empty"] == "0 photos; 3-5 are recommended"
    assert details["few", "lone"] == "1 photo; 3-5 are recommended"
    assert details["small", "denim/small.png"].startswith("120 x 120 pixels")
    assert "too dark" in details["light", "denim/dark.png"]
    assert details["equal", "denim/b.png"] == "the same as denim/a.png"
    assert details["similar", "denim/c.jpg"].startswith("nearly the same as denim/a.png")
    assert check.leave_one_out.alone == ("lone",)
    assert check.counts["empty"] == 0


def test_limits_are_the_callers(folder: Path) -> None:
    """Other limits find other problems, and wrong ones are refused."""
    check = check_folder(FolderEncoder(), folder, limits=PhotoLimits(few=4, small_side=300))
    assert {kind for kind, _ in found(check)} == {"few", "small"}
    for wrong in ({"few": 0}, {"clipped": 1.5}, {"small_side": 0}):
        with pytest.raises(ShapeError, match=f"{next(iter(wrong))} must be a"):
            PhotoLimits(**wrong)


def test_folder_without_photos_is_an_error(tmp_path: Path) -> None:
    """No folder, or nothing readable in it, is an error and not a clean report."""
    with pytest.raises(DataError, match="No folder at"):
        check_folder(FolderEncoder(), tmp_path / "none")
    with pytest.raises(DataError, match="No embeddings collected"):
        check_folder(FolderEncoder(), tmp_path)


def test_photo_that_cannot_be_measured_is_unreadable(folder: Path) -> None:
    """A photo that an encoder takes and nobody can scale to a picture is named."""
    Image.new("F", (300, 300)).save(folder / "denim" / "float.tif")
    check = check_folder(FolderEncoder(), folder)
    assert ("unreadable", "denim/float.tif") in found(check)
    assert len(check.photos) == 6


# ---- photos


def test_sharpness_does_not_depend_on_light_or_size() -> None:
    """Half the light, or twice the pixels, leaves more than half of the figure, and blur takes most of it."""
    sharp = photo_facts("a/b", Image.fromarray(cloth(3))).sharpness
    dim = photo_facts("a/b", Image.fromarray(lit(cloth(3), 0.5))).sharpness
    large = Image.fromarray(cloth(3)).resize((448, 448), Image.Resampling.BICUBIC)
    assert dim == pytest.approx(sharp, rel=0.33)
    assert photo_facts("a/b", large).sharpness == pytest.approx(sharp, rel=0.5)
    assert photo_facts("a/b", Image.fromarray(blurred(cloth(3), 2))).sharpness < sharp / 4


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1", "RGBA", "CMYK", "LA", "I;16"])
def test_every_mode_is_measured(mode: str) -> None:
    """Grey, palette, alpha and 16-bit photos have figures like any other."""
    base = Image.fromarray(cloth(4))
    image = (
        Image.fromarray(np.asarray(base.convert("L")).astype(np.uint16) << 8) if mode == "I;16" else base.convert(mode)
    )
    facts = photo_facts("a/b", image)
    assert 0 <= facts.p05 <= facts.mean <= facts.p95 <= 255
    assert facts.size_hw == (224, 224)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (3, 500), (900, 40), (31, 33)])
def test_tiny_and_narrow_photos_are_measured(width: int, height: int) -> None:
    """There is a figure for every size; one colour alone has no hash."""
    facts = photo_facts("a/b", Image.new("RGB", (width, height), (90, 120, 60)))
    assert facts.size_hw == (height, width)
    assert (facts.sharpness, facts.phash) == (0.0, None)


@pytest.mark.parametrize(("light", "word"), [(0.08, "too dark"), (1.0, ""), (8.0, "clipped")])
def test_light_is_judged(folder: Path, light: float, word: str) -> None:
    """A twelfth of the light is too dark, eight times as much is clipped, and as it is nothing is wrong."""
    save(folder / "denim" / "x.png", lit(cloth(31), light))
    details = [p.detail for p in check_folder(FolderEncoder(), folder).problems if p.kind == "light"]
    assert [detail.startswith(word) for detail in details] == [True] * bool(word)


def test_bright_paper_is_too_bright(folder: Path) -> None:
    """A photo with nothing but light greys is too bright, without being clipped."""
    save(folder / "denim" / "x.png", np.random.default_rng(0).integers(225, 250, (224, 224, 3), dtype=np.uint8))
    (problem,) = [p for p in check_folder(FolderEncoder(), folder).problems if p.kind == "light"]
    assert problem.detail.startswith("too bright")


# ---- copies


def test_near_copies_name_the_nearest_earlier_photo() -> None:
    """Photos of one folder are compared by the rule of the evaluation set: cut and smaller copies, no other cloths."""
    one, other = Image.fromarray(cloth(3)), Image.fromarray(cloth(4))
    small = one.resize((150, 150), Image.Resampling.BICUBIC)
    photos = {
        "a/1": one,
        "a/2": other,
        "a/3": one.crop((4, 4, 220, 220)),
        "b/1": small,
        "b/2": Image.new("L", (64, 64)),
    }
    found = near_copies(list(photos), [look_of(image) for image in photos.values()])
    assert [(copy.path, copy.of) for copy in found] == [("a/3", "a/1"), ("b/1", "a/1")]
    assert near_copies([], []) == ()


def test_equal_copies_compare_files_and_imported_vectors() -> None:
    """Equal checksums are copies; without a photo, equal vectors are; both may cross fabrics."""
    rows = np.eye(3, dtype=np.float32)[[0, 1, 2, 2]]
    refs = References(rows, ["a", "a", "b", "b"], ["a/1", "a/2", "b/1", "b/2"], ["1" * 64, "1" * 64, *[NO_PHOTO] * 2])
    assert [(copy.path, copy.of) for copy in equal_copies(refs)] == [("a/2", "a/1"), ("b/2", "b/1")]


# ---- leave-one-out


def unit(rows: Any) -> Floats:
    """Normalise rows."""
    array = np.asarray(rows, dtype=np.float64)
    return np.asarray(array / np.linalg.norm(array, axis=-1, keepdims=True), dtype=np.float32)


def references(fabrics: list[str], rows: Floats) -> References:
    """Return references with made-up paths and checksums."""
    paths = [f"{fabric}/{number:03}.jpg" for number, fabric in enumerate(fabrics)]
    return References(rows, fabrics, paths, [f"{number:064x}" for number in range(1, len(fabrics) + 1)])


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 9999), count=st.integers(1, 150))
def test_leave_one_out_equals_one_loop(seed: int, count: int) -> None:
    """Accuracy and every count equal a loop over photos, beyond one block of queries too."""
    rng = np.random.default_rng(seed)
    refs = references([f"f{n}" for n in rng.integers(0, 8, count)], unit(rng.standard_normal((count, 12))))
    wrong: dict[tuple[str, str], int] = {}
    right = asked = 0
    for row, fabric in enumerate(refs.fabrics):
        if refs.fabrics.count(fabric) == 1:
            continue
        others = [other for other in range(count) if other != row]
        best = max(others, key=lambda other: float(refs.embeddings[row].astype(float) @ refs.embeddings[other]))
        asked += 1
        right += refs.fabrics[best] == fabric
        if refs.fabrics[best] != fabric:
            wrong[fabric, refs.fabrics[best]] = wrong.get((fabric, refs.fabrics[best]), 0) + 1
    result = leave_one_out(refs)
    assert wrong == {(c.fabric, c.taken_for): len(c.photos) for c in result.confusions}
    assert (asked, right / asked if asked else None) == (result.asked, result.accuracy)
    assert all(c.of == refs.fabrics.count(c.fabric) for c in result.confusions)


def test_confusions_are_sorted_and_name_photos() -> None:
    """Most photos first; the photos are named; a bank of lone photos has no accuracy."""
    angles = np.deg2rad([0, 80, 100, 82, 98, 3])
    rows = unit(np.stack([np.cos(angles), np.sin(angles)], axis=1))
    result = leave_one_out(references(["a", "a", "a", "b", "b", "c"], rows))
    assert [(c.fabric, c.taken_for, c.photos, c.of) for c in result.confusions] == [
        ("a", "b", ("a/001.jpg", "a/002.jpg"), 3),
        ("b", "a", ("b/003.jpg", "b/004.jpg"), 2),
        ("a", "c", ("a/000.jpg",), 3),
    ]
    assert result.alone == ("c",)
    lone = leave_one_out(references(["a", "b"], rows[:2]))
    assert (lone.accuracy, lone.asked, lone.confusions, lone.alone) == (None, 0, (), ("a", "b"))


def test_bank_file_says_what_it_cannot_check() -> None:
    """Of vectors alone counts, equal rows and confusions are told, and the rest is said to be unchecked."""
    rows = unit([[1, 0], [0, 1], [1, 0.1], [1, 0], [0, 1]])
    fabrics = ["a", "a", "b", "b", "b"]
    paths = ["a/imported_001", "a/imported_002", "b/1.jpg", "b/2.jpg", "b/3.jpg"]
    check = check_references(
        References(rows, fabrics, paths, [NO_PHOTO, NO_PHOTO, *("123"[i] * 64 for i in range(3))]), MODEL
    )
    assert check.checked == ("few", "equal", "confused")
    assert check.photos == ()
    assert "holds no pixels" in check.unchecked[0]
    assert check.unchecked[1].startswith("2 of 5 rows were imported as vectors")
    assert {("few", "a"), ("confused", "a"), ("confused", "b")} == found(check)
    assert check.model == MODEL


# ---- the whole, with a real model


def test_fabricworld_folder_with_mini(mini: Clip, tmp_path: Path) -> None:
    """Rendered fabrics checked by the embedded model: a blurred copy under another fabric is found in three ways."""
    kinds_of_cloth = {"gingham": "red", "lace": "white", "denim": "blue"}
    for fabric, colour in kinds_of_cloth.items():
        for number in range(4):
            save(tmp_path / fabric / f"{number}.png", cloth(10 + number, fabric=fabric, colour=colour))
    clean = check_folder(mini, tmp_path)
    assert clean.leave_one_out.asked == 12
    assert clean.leave_one_out.accuracy == 1.0
    assert clean.problems == ()
    assert clean.counts == check_folder(mini, tmp_path, batch_size=5).counts
    soft = blurred(np.asarray(load_image(tmp_path / "gingham" / "1.png")), 3)
    Image.fromarray(soft).save(tmp_path / "lace" / "wrong.jpg")
    kinds = found(check_folder(mini, tmp_path))
    assert {("blurred", "lace/wrong.jpg"), ("similar", "lace/wrong.jpg"), ("confused", "lace")} <= kinds
