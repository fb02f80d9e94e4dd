"""Tests of clipfast.anomaly.shots and clipfast.anomaly.pictures."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clipfast.anomaly.memory import Reference
from clipfast.anomaly.pictures import BANK_VIEWS, HELD_OUT_VIEWS, View, Viewer, read_picture
from clipfast.anomaly.shots import as_reference, check_leak, choose_shots, list_normals
from clipfast.errors import DataError, ImageError, ShapeError
from clipfast.storage import sha256_file
from reference.anomaly_stubs import PatchStub, picture

NAMES = [f"train/good/{i:03}.png" for i in range(20)]


def test_a_choice_depends_on_the_seed_and_on_nothing_else() -> None:
    """Not on the order of the list; fewer shots are part of more; seeds differ."""
    chosen = choose_shots(NAMES, 4, seed=1)

    assert choose_shots(NAMES[::-1], 4, seed=1) == chosen
    assert choose_shots(NAMES, 8, seed=1)[:4] == chosen
    assert choose_shots(NAMES, 4, seed=2) != chosen
    assert len(set(choose_shots(NAMES * 2, 20, seed=0))) == 20


def test_a_further_image_changes_one_place_at_most() -> None:
    """What was chosen stays chosen, but for one that the new image may displace."""
    before, after = choose_shots(NAMES, 5, seed=3), choose_shots([*NAMES, "train/good/new.png"], 5, seed=3)

    assert len(set(before) & set(after)) >= 4


def test_paths_count_from_the_root(tmp_path: Path) -> None:
    """Another place of the same folder gives the same choice."""
    here, there = ([tmp_path / place / name for name in NAMES] for place in ("a", "b"))
    one = choose_shots(here, 3, seed=0, root=tmp_path / "a")
    other = choose_shots(there, 3, seed=0, root=tmp_path / "b")

    assert [p.relative_to(tmp_path / "a") for p in one] == [p.relative_to(tmp_path / "b") for p in other]


def test_more_shots_than_images_are_refused() -> None:
    """K larger than the normals, and none."""
    with pytest.raises(DataError, match="21 shots need as many intact images; there are 20"):
        choose_shots(NAMES, 21, seed=0)
    with pytest.raises(ShapeError, match="1 or more"):
        choose_shots(NAMES, 0, seed=0)


@pytest.mark.parametrize("inside", ["train/good", "good", "."])
def test_intact_images_are_found_where_they_lie(inside: str, tmp_path: Path) -> None:
    """In MVTec's layout, beside defects, or in the folder itself."""
    folder = tmp_path / inside
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(1)).save(folder / "a.png")

    assert list_normals(tmp_path) == [folder / "a.png"]


def test_folders_without_images_are_refused(tmp_path: Path) -> None:
    """Empty, and missing."""
    with pytest.raises(DataError, match="holds no image"):
        list_normals(tmp_path)
    with pytest.raises(DataError, match="No folder at"):
        list_normals(tmp_path / "no")


def test_an_image_of_the_support_in_the_test_is_a_leak(tmp_path: Path) -> None:
    """A copy of the file under another name is found by its bytes, an array by its pixels."""
    for name in ("a.png", "b.png"):
        Image.fromarray(picture(ord(name[0]))).save(tmp_path / name)
    (tmp_path / "copy.png").write_bytes((tmp_path / "a.png").read_bytes())
    by_file = [Reference("a.png", sha256_file(tmp_path / "a.png"))]  # as in files that know no pixels
    by_pixels = [Reference("image 1", read_picture(picture(5)).sha256)]

    check_leak(by_file, [tmp_path / "b.png", picture(5)])
    check_leak(by_pixels, [tmp_path / "b.png", picture(6)])
    with pytest.raises(
        DataError, match=r"1 of the scored images are in the support \(.*copy.png is the reference a.png"
    ):
        check_leak(by_file, [tmp_path / "b.png", tmp_path / "copy.png"])
    with pytest.raises(DataError, match="is the reference image 1"):
        check_leak(by_pixels, [picture(6), picture(5)])


def test_another_lossless_file_of_a_picture_is_a_leak_and_a_jpeg_is_not(tmp_path: Path) -> None:
    """Compressed otherwise, in another format, with alpha, by its palette; lossy copies have other pixels."""
    levels = np.random.default_rng(0).integers(0, 4, (36, 48, 3)).astype(np.uint8) * 60
    image = Image.fromarray(levels)
    image.save(tmp_path / "a.png")
    image.save(tmp_path / "stored.png", compress_level=0)
    image.save(tmp_path / "same.bmp")
    image.convert("RGBA").save(tmp_path / "alpha.png")
    image.quantize(64).save(tmp_path / "palette.png")
    image.save(tmp_path / "lossy.jpg")
    support = [as_reference(tmp_path / "a.png")]

    for copy in ("stored.png", "same.bmp", "alpha.png", "palette.png"):
        with pytest.raises(DataError, match=rf"{copy} is the reference .*a\.png"):
            check_leak(support, [tmp_path / copy])
    with pytest.raises(DataError, match="image 1 is the reference"):
        check_leak(support, [levels])
    check_leak(support, [tmp_path / "lossy.jpg", np.ascontiguousarray(levels[::-1])])


def test_what_is_hashed_is_what_is_read(tmp_path: Path) -> None:
    """Path, bytes and open file have one identity; a missing file says so."""
    path = tmp_path / "a.png"
    Image.fromarray(picture(1)).save(path)
    data = path.read_bytes()

    assert {as_reference(source).sha256 for source in (path, str(path), data, io.BytesIO(data))} == {sha256_file(path)}
    assert read_picture(path).name == path.as_posix()
    with pytest.raises(ImageError, match="cannot be read"):
        as_reference(tmp_path / "no.png")
    (tmp_path / "broken.png").write_bytes(data[:100])
    with pytest.raises(ImageError, match=r"broken.png"):
        read_picture(tmp_path / "broken.png").load()
    kept = read_picture(path)
    Image.fromarray(picture(2)).save(path)
    with pytest.raises(ImageError, match=r"a\.png was changed while it was in use"):
        kept.load()


def test_oblong_images_are_squeezed_so_that_nothing_is_cropped_off(mini: Any) -> None:
    """A red stripe at the edge of a wide image is seen; by the model's own rule it is not."""
    wide = np.full((224, 448, 3), 90, np.uint8)
    wide[:, :40] = (255, 0, 0)
    image = Image.fromarray(wide)
    whole, cropped = Viewer(mini).see(image), Viewer(mini, whole_image=False).see(image)

    assert whole.shape == cropped.shape == (224, 224, 3)
    assert (whole[:, :15, 0] > 200).all()
    assert cropped[..., 0].max() < 120


def test_views_are_windows_in_another_light() -> None:
    """Each differs from the picture and from the others; the first view is the picture itself."""
    viewer, image = Viewer(PatchStub()), Image.fromarray(picture(1))
    seen = [viewer.see(image, view) for view in (View(), *HELD_OUT_VIEWS)]

    assert np.array_equal(seen[0], picture(1))
    assert len({pixels.tobytes() for pixels in seen}) == len(seen)
    assert View(light=1.1).lit(np.full((2, 2, 3), 100, np.uint8)).tolist() == [[[110] * 3] * 2] * 2
    slope = View(slope_yx=(0.1, 0.0)).lit(np.full((3, 2, 3), 100, np.uint8))
    assert slope[:, 0, 0].tolist() == [90, 100, 110]


def test_the_banks_views_are_the_symmetries_of_the_square() -> None:
    """Four turns, and eight with mirroring, all different."""
    square = np.arange(9).reshape(3, 3)
    for name, count in (("none", 1), ("rotations", 4), ("dihedral", 8)):
        turned = {
            np.rot90(square[:, ::-1] if mirror else square, turn).tobytes()
            for turn, mirror in BANK_VIEWS[name]  # type: ignore[index]
        }
        assert len(turned) == count
