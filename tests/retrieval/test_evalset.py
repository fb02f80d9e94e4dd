"""Evaluation sets: an honest split, a file that notices changes, and nothing of it in training."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from clipfast.errors import DataError, ShapeError
from clipfast.retrieval.crops import Sidecar, crop_patch, write_sidecar
from clipfast.retrieval.evalset import EvalSet, eval_set_beside, make_eval_set
from clipfast.retrieval.grouping import photo_groups, stratified_split
from clipfast.retrieval.head import LinearHead
from clipfast.retrieval.heldout import find_eval_set, leave_out, train_head
from clipfast.retrieval.labelled import encode_labelled
from clipfast.retrieval.looks import look_of
from clipfast.types import Floats, Images
from reference.copied import WAYS, cloth, jpeg

LABELS = ("cotton", "silk", "羊毛")
EACH = 8


class CornerClip:
    """Stands in for a model: the colours of the four corners as a unit row."""

    name, precision = "corners", "fp32"

    def fingerprint(self, output: str = "embedding") -> str:
        return "c" * 64

    def encode_images(self, images: Images) -> Floats:
        listed: list[Any] = images if isinstance(images, list) else [images]
        rows = np.stack([np.asarray(image.convert("RGB").resize((2, 2)), float).ravel() - 100 for image in listed])
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three fabrics of eight pictures, drawn once."""
    root = tmp_path_factory.mktemp("drawn")
    for at, label in enumerate(LABELS):
        (root / label).mkdir()
        for number in range(EACH):
            cloth(number + EACH * at).save(root / label / f"patch_{number:03}.png")
    return root


@pytest.fixture
def folder(drawn: Path, tmp_path: Path) -> Path:
    """The owner's layout, to be changed at will."""
    return Path(shutil.copytree(drawn, tmp_path / "data" / "patches" / "labeled"))


def test_the_split_is_the_owners(folder: Path) -> None:
    """Twenty per cent of each class, the same for the same seed, in a file with the promised four fields a line."""
    made = make_eval_set(folder, split=0.2, seed=42)
    assert made.report is not None
    assert made.report.counts == dict.fromkeys(LABELS, (EACH, 2))
    path = eval_set_beside(folder)
    assert path == folder.parent.parent / "eval_set.jsonl"
    made.save(path)
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert all(set(line) == {"image", "coords", "label", "sha256"} for line in lines)
    assert lines[0]["image"].startswith("patches/labeled/cotton/")
    assert lines[0]["coords"] == [112, 112]
    again = make_eval_set(folder, split=0.2, seed=42)
    assert again.samples == made.samples
    assert again.version == EvalSet.load(path).version
    assert make_eval_set(folder, seed=43).samples != made.samples


def test_the_file_may_be_written_anywhere(folder: Path, tmp_path: Path) -> None:
    """Paths are relative to the file, so samples are found from wherever it lies."""
    made = make_eval_set(folder)
    for place in (tmp_path / "e.jsonl", tmp_path / "other" / "deep" / "e.jsonl", folder / "cotton" / "e.jsonl"):
        made.save(place)
        EvalSet.load(place).verify()
    assert make_eval_set(folder).samples == made.samples


def test_patches_of_one_photo_stay_on_one_side(folder: Path) -> None:
    """Side-cars that name one photo for four patches: all four are in the set, or none."""
    photo = folder.parent / "photos" / "shirt.png"
    photo.parent.mkdir()
    big = Image.new("RGB", (900, 900))
    for number in range(4):
        patch = folder / "cotton" / f"patch_{number:03}.png"
        where = (112 + 400 * (number % 2), 112 + 400 * (number // 2))
        big.paste(Image.open(patch), (where[0] - 112, where[1] - 112))
        write_sidecar(patch, Sidecar(source="../../photos/shirt.png", coords=where, size=224))
    big.save(photo)
    sides = set()
    for seed in range(12):
        made = make_eval_set(folder, split=0.5, seed=seed)
        of_photo = [sample for sample in made.samples if sample.image.endswith("shirt.png")]
        assert len(of_photo) in (0, 4)
        sides.add(len(of_photo))
        if of_photo:
            assert {tuple(sample.coords) for sample in of_photo} == {(112, 112), (512, 112), (112, 512), (512, 512)}
            seen = np.asarray(made.crop(of_photo[0]))
            assert np.array_equal(seen, np.asarray(crop_patch(photo, of_photo[0].coords, 224)))
            rows = encode_labelled(CornerClip(), folder)
            assert set(leave_out(rows, made).excluded) >= {f"cotton/patch_{n:03}.png" for n in range(4)}
    assert sides == {0, 4}


def test_a_photo_that_is_gone_is_told(folder: Path) -> None:
    """The patch itself stands in, and the report says for which."""
    for number in range(EACH):
        patch = folder / "cotton" / f"patch_{number:03}.png"
        write_sidecar(patch, Sidecar(source=f"../{number}.png", coords=(5, 5)))
    report = make_eval_set(folder).report
    assert report is not None
    assert len(report.no_photo) == 2
    assert report.no_photo[0].startswith("cotton/")


@pytest.mark.parametrize("way", ["as JPEG of quality 85", "2 % off every side", "half the size"])
def test_near_copies_stay_on_one_side(folder: Path, way: str) -> None:
    """Every picture and its copy: whatever the seed, both are in the set or both are not."""
    for label in LABELS:
        for number in range(EACH):
            image = Image.open(folder / label / f"patch_{number:03}.png")
            WAYS[way](image).convert("RGB").save(folder / label / f"copy_{number:03}.png")
    made = make_eval_set(folder, split=0.25, seed=1)
    names = Counter(sample.image[-7:-4] + sample.label for sample in made.samples)
    assert set(names.values()) == {2}
    assert made.report is not None
    assert made.report.kept_together == 2 * EACH * len(LABELS)


def test_one_picture_with_two_labels_is_told(folder: Path) -> None:
    """One of them is wrong, so it is named."""
    WAYS["as JPEG of quality 85"](Image.open(folder / "cotton" / "patch_000.png")).save(folder / "silk" / "x.jpg")
    report = make_eval_set(folder).report
    assert report is not None
    assert report.conflicts == (("cotton/patch_000.png", "silk/x.jpg"),)


@pytest.mark.parametrize("way", [*WAYS, "the same bytes"])
def test_an_evaluation_image_planted_in_training_is_refused(folder: Path, way: str) -> None:
    """Under another name: re-encoded, resized, cut by 2 %, or the very same file, which is left out."""
    made = make_eval_set(folder)
    victim = made.file(made.samples[3])
    planted = folder / "羊毛" / "innocent.png"
    if way == "the same bytes":
        shutil.copy(victim, planted)
        assert "羊毛/innocent.png" in leave_out(encode_labelled(CornerClip(), folder), made).excluded
        return
    WAYS[way](Image.open(victim)).convert("RGB").save(planted)
    with pytest.raises(DataError, match=r"羊毛/innocent\.png is nearly the same picture as") as caught:
        train_head(CornerClip(), folder, eval_set=made)
    assert caught.match(victim.name)
    assert caught.match("judged on what it has seen")


def test_a_photograph_is_declared_to_be_no_copy(folder: Path, tmp_path: Path) -> None:
    """One file, by name or path: the head remembers it, through its file, and only of the picture that it resembles."""
    made = make_eval_set(folder, split=0.15)
    victim = made.file(made.samples[2])
    planted = folder / "羊毛" / "twin.png"
    jpeg(Image.open(victim).convert("RGB"), 85).save(planted)
    with pytest.raises(DataError, match="--not-a-copy FILE"):
        train_head(CornerClip(), folder, eval_set=made)
    for name in ("羊毛/twin.png", planted):
        head = train_head(CornerClip(), folder, eval_set=made, not_copies=[name]).head
        head.save(tmp_path / "h.npz")
        (said,) = LinearHead.load(tmp_path / "h.npz").seen.declared
        assert (said.path, said.of) == ("羊毛/twin.png", made.samples[2].sha256)
        assert said.path in head.seen.paths
    with pytest.raises(DataError, match="nearly the same picture"):
        train_head(CornerClip(), folder, eval_set=made, not_copies=["羊毛/patch_000.png"])
    with pytest.raises(DataError, match="is not among the pictures"):
        train_head(CornerClip(), folder, eval_set=made, not_copies=["羊毛/other.png"])


@pytest.mark.parametrize("turn", [None, Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_90])
def test_equal_pixels_are_copies_whatever_is_declared(folder: Path, turn: Image.Transpose | None) -> None:
    """The same bytes, the same pixels in another file, mirrored, turned: nobody can wave them through."""
    made = make_eval_set(folder, split=0.15)
    victim = made.file(made.samples[2])
    image = Image.open(victim).convert("RGB")
    (image if turn is None else image.transpose(turn)).save(folder / "羊毛" / "twin.bmp")
    with pytest.raises(DataError, match="very pixels of") as caught:
        train_head(CornerClip(), folder, eval_set=made, not_copies=["羊毛/twin.bmp"])
    assert caught.value.code == "declared_same"
    shutil.copy(victim, folder / "羊毛" / "twin.bmp")
    with pytest.raises(DataError, match="very pixels of"):
        train_head(CornerClip(), folder, eval_set=made, not_copies=["羊毛/twin.bmp"])


def test_training_leaves_the_set_out_and_says_so(folder: Path) -> None:
    """Rows are those that are not in the set; the head remembers which they were."""
    made = make_eval_set(folder, split=0.15)
    trained = train_head(CornerClip(), folder, eval_set=made)
    assert trained.head.report is not None
    assert len(trained.excluded) == len(made) == 3
    assert trained.head.report.samples == len(LABELS) * EACH - 3
    assert not set(trained.head.trained_on) & {sample.sha256 for sample in made.samples}
    with pytest.raises(DataError, match="Too few samples to train: there are 18"):
        train_head(CornerClip(), folder, eval_set=make_eval_set(folder, split=0.25))


def test_sidecars_are_no_skipped_files(folder: Path) -> None:
    """A side-car beside its patch is not reported, a stray file is."""
    write_sidecar(folder / "silk" / "patch_000.png", Sidecar(coords=(1, 1)))
    (folder / "silk" / "notes.txt").write_text("x")
    assert [item.path for item in encode_labelled(CornerClip(), folder).skipped] == ["silk/notes.txt"]


def test_the_set_beside_the_folder_is_found(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In data/ in the owner's layout, else beside the folder; in the working directory if it is about the folder."""
    assert find_eval_set(folder) is None
    made = make_eval_set(folder)
    for place in (folder.parent / "eval_set.jsonl", eval_set_beside(folder)):
        made.save(place)
        found = find_eval_set(folder)
        assert found is not None
        assert found.path == place
        place.unlink()
    monkeypatch.chdir(tmp_path)
    made.save("eval_set.jsonl")
    found = find_eval_set(folder)
    assert found is not None
    assert found.version == made.version
    assert find_eval_set(tmp_path / "elsewhere" / "x") is None


def _move(folder: Path, made: EvalSet) -> None:
    made.file(made.samples[0]).rename(folder / "elsewhere.png")


def _change(folder: Path, made: EvalSet) -> None:
    cloth(20).save(made.file(made.samples[0]))


@pytest.mark.parametrize(
    ("harm", "words"), [(_move, "was moved or removed"), (_change, "its checksum differs. It was changed")]
)
def test_moved_or_changed_images_are_named(folder: Path, harm: Callable[[Path, EvalSet], None], words: str) -> None:
    """By `verify`, by reading one, and by training."""
    made = make_eval_set(folder)
    rows = encode_labelled(CornerClip(), folder)
    harm(folder, made)
    for use in (made.verify, lambda: made.crop(made.samples[0]), lambda: leave_out(rows, made)):
        with pytest.raises(DataError, match=words) as caught:
            use()
        assert caught.match(Path(made.samples[0].image).name)


@pytest.mark.parametrize(
    "line",
    [
        "no json",
        '{"image": "a.png", "coords": [1, 2], "label": "cotton"}',  # an older tool's: no checksum
        '{"image": "a.png", "coords": [1], "label": "cotton", "sha256": "' + "0" * 64 + '"}',
        '{"image": "a.png", "coords": [1, -2], "label": "cotton", "sha256": "' + "0" * 64 + '"}',
        '{"image": "a.png", "coords": [1, 2], "label": "", "sha256": "' + "0" * 64 + '"}',
    ],
)
def test_a_bad_line_is_named_by_its_number(tmp_path: Path, line: str) -> None:
    """After a good one and an empty one it is the third."""
    good = '{"image": "a.png", "coords": [1, 2], "label": "cotton", "sha256": "' + "0" * 64 + '"}'
    path = tmp_path / "e.jsonl"
    path.write_text(f"{good}\n\n{line}\n")
    with pytest.raises(DataError, match="line 3 must be"):
        EvalSet.load(path)


def test_what_cannot_be_shared_out_is_refused(tmp_path: Path, folder: Path) -> None:
    """No file, an empty file, no folder, no patch, one patch a class, a split that is none."""
    with pytest.raises(DataError, match="clipfast evalset make"):
        EvalSet.load(tmp_path / "none.jsonl")
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(DataError, match="holds no sample"):
        EvalSet.load(tmp_path / "empty.jsonl")
    with pytest.raises(DataError, match="No folder at"):
        make_eval_set(tmp_path / "nowhere")
    (tmp_path / "few" / "cotton").mkdir(parents=True)
    with pytest.raises(DataError, match="no labelled patch"):
        make_eval_set(tmp_path / "few")
    cloth(0).save(tmp_path / "few" / "cotton" / "a.png")
    with pytest.raises(DataError, match="no class has two photos"):
        make_eval_set(tmp_path / "few")
    for split in (0.0, 1.0, -1.0, 20.0):
        with pytest.raises(ShapeError, match="above 0 and below 1"):
            make_eval_set(folder, split=split)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 15)), min_size=2, max_size=60), st.floats(0.05, 0.9))
def test_groups_are_never_parted_and_no_class_loses_all(pairs: list[tuple[int, int]], split: float) -> None:
    """Whatever the groups (each of one class, as photos are): whole groups, and something left of each class."""
    labels = [f"class {label}" for label, _ in pairs]
    groups = np.array([16 * label + group for label, group in pairs])
    rows = stratified_split(labels, groups, split=split, seed=7)
    chosen = set(groups[rows].tolist())
    assert all((group in chosen) == (at in rows) for at, group in enumerate(groups.tolist()))
    for name in set(labels):
        mine = [at for at, label in enumerate(labels) if label == name]
        taken = [at for at in mine if at in rows]
        assert len(taken) < len(mine)
        if len(set(groups[mine].tolist())) > 1:
            assert taken


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), min_size=2, max_size=40), st.floats(0.05, 0.9))
def test_photos_of_several_fabrics_leave_something_of_each(pairs: list[tuple[int, int]], split: float) -> None:
    """A shirt of two fabrics is one group of two classes: neither may lose its last photo by the other's draw."""
    labels, groups = [f"class {label}" for label, _ in pairs], np.array([group for _, group in pairs])
    chosen = set(groups[stratified_split(labels, groups, split=split, seed=7)].tolist())
    for name in set(labels):
        assert {group for label, group in zip(labels, groups.tolist(), strict=True) if label == name} - chosen


@pytest.mark.parametrize("coords", [(-5, -5), (60, 5), (5, 99999)])
def test_a_click_outside_its_photo_is_not_frozen(folder: Path, coords: tuple[int, int]) -> None:
    """The set could not be read again, or never be asked about; the side-car is named."""
    photo = folder.parents[2] / "photo.png"
    cloth(900).resize((60, 60)).save(photo)
    for number in range(EACH):
        patch = folder / LABELS[0] / f"patch_{number:03}.png"
        write_sidecar(patch, Sidecar(source=os.path.relpath(photo, patch.parent), coords=coords))
    cloth(901).save(folder / LABELS[0] / "other.png")
    with pytest.raises(DataError, match=r"patch_\d+\.json must name a place inside .*photo\.png, which has 60 x 60"):
        make_eval_set(folder, split=0.9)


def test_joining_is_transitive() -> None:
    """A photo's patches and a copy of one of them are one group, told apart from the rest."""
    looks = [look_of(cloth(at)) for at in (0, 1, 2, 3)] + [look_of(WAYS["half the size"](cloth(1)))]
    groups = photo_groups(["p", "p", None, None, None], list("abcde"), looks)
    assert groups.tolist() == [0, 0, 1, 2, 0]
    assert photo_groups([None] * 4, ["a", "b", "a", "c"], looks[:4], also=[(1, 3)]).tolist() == [0, 1, 0, 1]
